"""What the one-pass methods cost over the model's forward pass, and in a whole job over one of them."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from heatbeam import config
from heatbeam.bench import stages, user_job
from heatbeam.job import plan
from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.methods import registry
from tests.benchmarks import figures, models, samples, settings

METHODS_GOAL = figures.Goal(high=1.15)
TARGETS_GOAL = figures.Goal(high=1.3)
JOB_GOALS = {"ResNet50V2": figures.Goal(high=1.15), "MobileNetV2": figures.Goal(high=1.3)}

_BATCH = 16


def measure(options: settings.Options) -> list[figures.Figure]:
    """All one-pass methods for one target over a bare forward pass, five targets over one, and rows of all over one."""
    found = []
    for name in models.APPLICATIONS:
        found += _measure(name, rounds=2 if options.quick else 9)
        found.append(_job(name, images=16 if options.quick else 64, rounds=2 if options.quick else 7))
    return found


def _job(name: str, images: int, rounds: int) -> figures.Figure:
    """Every step of a job with all one-pass methods, localization included, over the same job with Grad-CAM alone."""
    methods = [method.method for method in one_pass_methods()]
    with tempfile.TemporaryDirectory(prefix="heatbeam-rows-") as folder:
        pattern = samples.write_shards(pathlib.Path(folder) / "data", samples.photos(images), 1)

        def ready(wanted: Sequence[str]) -> stages.Stages:
            text = {
                "input": {"tfrecord": pattern},
                "model": {"application": name, "arguments": {"weights": None}},
                "explain": {"methods": list(wanted), "targets": ["label"], "batch_size": _BATCH},
                "output": {"directory": f"{folder}/run"},
                "runner": {"intra_op_threads": 1},
            }
            return stages.Stages(plan.make(config.RunConfig.model_validate(text)), folder)

        every, one = ready(methods), ready(["grad_cam"])
        pairs = figures.alternate(every.run, one.run, rounds)
    return figures.cost(
        f"rows of {len(methods)} one-pass methods, {name}",
        pairs,
        JOB_GOALS[name],
        f"time of every step of a job (JPEGs, boxes, localization, Parquet) with {len(methods)} methods over Grad-CAM "
        f"alone, one thread, without Beam; {images} photos, {user_job.device()}",
        work=images,
    )


def one_pass_methods() -> tuple[specs.MethodSpec, ...]:
    """Every method that is arithmetic on one layer's activations and gradients."""
    return tuple(models.method(m.name) for m in registry.METHODS.values() if m.kind == registry.ONE_PASS)


def _measure(name: str, rounds: int) -> list[figures.Figure]:
    methods = one_pass_methods()
    source = models.application(name)
    one = engine.Engine(models.engine_spec(source, methods, ("predicted",)))
    five = engine.Engine(models.engine_spec(source, methods, ("top_5",)))
    height, width, channels = one.description.input_size
    images = np.random.default_rng(0).integers(0, 256, (_BATCH, height, width, channels), dtype=np.uint8)
    inputs = tf.constant(images / 127.5 - 1, tf.float32)
    model = one.model.keras_model
    forward = user_job.bare_forward(model, constant_weights=False)
    alike = user_job.bare_forward(model, one.model.constant_weights)
    labels = [()] * _BATCH

    def explain(which: engine.Engine) -> None:
        which.explain(images, labels, {})

    bare = figures.alternate(lambda: explain(one), lambda: forward(inputs).numpy(), rounds)
    same = figures.alternate(lambda: explain(one), lambda: alike(inputs).numpy(), rounds)
    more = figures.alternate(lambda: explain(five), lambda: explain(one), rounds)
    work = f"{_BATCH} images of {width} px, {user_job.device()}"
    variable, constant = (
        engine.Engine(models.engine_spec(source, (models.method("grad_cam"),), ("predicted",), constant_weights=chosen))
        for chosen in (False, True)
    )
    weights = figures.alternate(lambda: explain(constant), lambda: explain(variable), rounds)
    return [
        figures.speedup(
            f"constant weights, {name}",
            weights,
            None,
            f"time of Grad-CAM with weights as variables over weights as constants of the graph; {work}; by default "
            + ("constants" if one.model.constant_weights else "variables"),
            work=_BATCH,
        ),
        figures.cost(
            f"one-pass methods, {name}",
            bare,
            METHODS_GOAL,
            f"time of {len(methods)} methods for one target, NumPy in and out, over a bare tf.function forward; {work}",
            work=_BATCH,
        ),
        figures.cost(
            f"one-pass methods over a forward with their weights, {name}",
            same,
            None,
            "the same, where the bare forward has its weights as the methods' pass has them: "
            + ("constants" if one.model.constant_weights else "variables"),
            work=_BATCH,
        ),
        figures.cost(
            f"five targets, {name}",
            more,
            TARGETS_GOAL,
            f"time of {len(methods)} methods for five targets over one target; {work}",
            work=_BATCH,
        ),
    ]
