"""How near what computes the model is to TensorFlow in float32: measured on the first images of the data, and told."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import tensorflow as tf

from heatbeam.job import classes, plan
from heatbeam.job.fitting import first_records
from heatbeam.runs import manifests
from heatbeam.transforms import explain
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs
from heatbeam.transforms.engine.compute import agreements, choice
from heatbeam.transforms.models import processors
from heatbeam.transforms.models.backends import packages, precisions
from heatbeam.transforms.models.files import loading

IMAGES = 16
"""How many are looked at."""

_FAILURES = (loading.ModelError, engines.BatchError, engines.OutOfMemory, tf.errors.OpError)


def measured(planned: plan.Plan, engine: engines.Engine, compute: manifests.Compute) -> manifests.Compute:
    """What computes the model, with its agreement where that is not known: of half precision in any case.

    Args:
        planned: with what computes its model.
        engine: of that, warm; it may explain further classes.
        compute: how it was decided.
    """
    spec = planned.engine_spec
    if spec.precision == "float32" and (spec.compute not in packages.CONVERTED or _tried(compute)):
        return compute
    return compute.model_copy(update={"agreement": _measured(planned, engine)})


def _tried(compute: manifests.Compute) -> bool:
    return any(one.backend == compute.backend and one.agreement is not None for one in compute.trials)


def _measured(planned: plan.Plan, engine: engines.Engine) -> manifests.ComputeAgreement:
    spec = planned.engine_spec
    if spec.xla:
        return manifests.ComputeAgreement(images=0, of="XLA would compile the model once more for it")
    images, inputs, of = _images(planned, engine)
    try:
        found = agreements.measured(engine, images, inputs, maps=spec.precision != "float32")
    except _FAILURES as error:
        why = " ".join(str(error).split())[:200]
        return manifests.ComputeAgreement(images=0, of=f"TensorFlow in float32 failed on {of}: {why}")
    return manifests.ComputeAgreement(
        images=found.images,
        of=of,
        difference=found.difference if math.isfinite(found.difference) else None,
        limit=precisions.limit(spec.precision),
        same_class=found.same_class,
        map_correlation=found.map_correlation,
    )


def _images(planned: plan.Plan, engine: engines.Engine) -> tuple[np.ndarray, Mapping[str, np.ndarray] | None, str]:
    """Images, the model's other inputs with them, and what they are: those of a trial where no record can be read."""
    try:
        named, _ = classes.resolved(planned, engine.description)
        examples, _, _ = first_records.decoded(named, engine.description, IMAGES)
    except OSError:  # to read the data is the workers' task, who say what became of them
        examples = []
    if not examples:
        return choice.trial_images(engine), None, "images of noise"
    return np.stack([one.image for one in examples]), explain.stacked_inputs(examples), "the first records"


def warnings(spec: specs.EngineSpec, compute: manifests.Compute) -> list[str]:
    """What speaks against the precision, or against the backend that was set.

    Args:
        spec: of the run.
        compute: what computes it, with the agreement.
    """
    found, said = compute.agreement, []
    if found is not None and found.is_bad:
        far = "are not finite where TensorFlow's in float32 are"
        if found.difference is not None:
            far = f"differ by {found.difference:.1e} of the largest value from TensorFlow's in float32"
        what, way = (
            (f"explain.compute: {compute.backend}", "explain.compute: tensorflow")
            if spec.precision == "float32"
            else (f"explain.precision: {spec.precision}", "explain.precision: float32")
        )
        said.append(f"{what}: class scores and activations {far}; expected at most {found.limit:g}. Set {way}")
    if spec.precision == "mixed_bfloat16" and processors.multiplies_bfloat16() is False and not _has_gpu():
        said.append(
            "explain.precision: mixed_bfloat16, and this processor has no instructions for it (avx512_bf16, amx_bf16): "
            "numbers are rounded and nothing is faster. Set explain.precision: float32"
        )
    return said


def _has_gpu() -> bool:
    return bool(tf.config.list_physical_devices("GPU"))
