"""What computes the model in a run: as set, as in the run that it goes on with, or the fastest of what is installed.

Decided once, where the job is launched, after the model has been looked into. Backends differ in the last bits of a
map, so workers do not choose for themselves, and rows of one backend are not taken over among those of another.
"""

from __future__ import annotations

import dataclasses
import datetime
import importlib.metadata
from collections.abc import Callable, Sequence
from typing import Any, cast

import tensorflow as tf

from heatbeam import config
from heatbeam.job import plan
from heatbeam.job.fitting import agreement, earlier_runs, kept_choices, work
from heatbeam.runs import manifests
from heatbeam.transforms import errors, explain
from heatbeam.transforms.engine import computing, specs
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine.compute import choice
from heatbeam.transforms.models.backends import packages

LEAST_S = 300.0
"""Seconds of work below which no trial is made."""

LEAST_KEPT_S = 60.0
"""Seconds of work below which a kept choice is not asked for either: loading the model once more costs some of them."""

SHARE = 0.05
"""What a trial may take of the work."""

_MORE = 4
"""Times the seconds of an earlier trial after which one is made again that could not try everything."""


def _silent(_text: str) -> None:
    """Say nothing."""


def engine_of(
    planned: plan.Plan,
    earlier: Sequence[earlier_runs.Source],
    tell: Callable[[str], object] = _silent,
    asked: Callable[[specs.EngineSpec], specs.EngineSpec] = lambda spec: spec,
) -> tuple[plan.Plan, engines.Engine, manifests.Compute]:
    """The plan with what computes its model, the engine of that, and how it was decided and agrees with float32.

    Args:
        planned, earlier, tell: as of `decided`.
        asked: from the specification of the run to that of the engine which the caller asks.

    Raises:
        loading.ModelError: the model is not what the configuration says, or what was set does not compute it.
        config.ConfigError: as `decided`.
    """
    engine, _ = explain.acquire_engine(asked(planned.engine_spec))
    chosen, compute = decided(planned, engine, earlier, tell)
    if chosen.engine_spec.compute != planned.engine_spec.compute:
        engine, _ = explain.acquire_engine(asked(chosen.engine_spec), engine)
    return chosen, engine, agreement.measured(chosen, engine, compute)


def decided(
    planned: plan.Plan,
    engine: engines.Engine,
    earlier: Sequence[earlier_runs.Source] = (),
    tell: Callable[[str], object] = _silent,
) -> tuple[plan.Plan, manifests.Compute]:
    """The plan with what computes its model, and how that was decided, for the manifest.

    Args:
        planned: methods and model fit.
        engine: of `planned`, warm; it may explain further classes.
        earlier: runs whose rows may be taken over, the one to take from first in front.
        tell: is told before a trial, which takes a while.

    Raises:
        config.ConfigError: the run that is gone on with needs a backend that is not installed, or can't be used here.
    """
    found = _without_trial(planned, engine, earlier) or _by_trial(planned, engine, tell)
    backend = cast(specs.Compute, found.backend)
    version = "" if backend in earlier_runs.OWN else choice.installed().get(backend, "")
    spec = dataclasses.replace(planned.engine_spec, compute=backend)
    return dataclasses.replace(planned, engine_spec=spec), found.model_copy(update={"version": version})


def _without_trial(
    planned: plan.Plan, engine: engines.Engine, earlier: Sequence[earlier_runs.Source]
) -> manifests.Compute | None:
    """What the settings, an earlier run or the place of the job say; None where that is for a trial."""
    explain, runner = planned.settings.explain, planned.settings.runner
    if explain.backend is not None:
        return manifests.Compute(backend=explain.backend, reason="as set")
    kept = _of_earlier(planned.engine_spec, engine.description.digest, earlier)
    if kept is not None:
        return kept
    further = sorted(set(choice.installed()) - set(earlier_runs.OWN))
    if not further:
        return _tensorflow("no other backend is installed")
    if all(computing.has_not(explain.precision, backend) for backend in further):
        return _tensorflow(f"of what is installed it alone computes in {explain.precision}")
    if runner.name != "direct":
        return _tensorflow(
            f"the workers of {runner.name} are other machines than this one, where a trial would be made"
        )
    if tf.config.list_physical_devices("GPU"):
        return _tensorflow("a GPU computes")
    return None


def _tensorflow(reason: str) -> manifests.Compute:
    return manifests.Compute(backend="tensorflow", reason=reason)


def _of_earlier(
    spec: specs.EngineSpec, digest: str, earlier: Sequence[earlier_runs.Source]
) -> manifests.Compute | None:
    """The backend of the first run with this model whose rows may be taken over; without it they would be useless."""
    for one in earlier:
        if one.unlike or one.digest != digest or one.precision != spec.precision:
            continue  # none of its rows is taken over
        why = _why_not(spec, cast(specs.Compute, one.backend))
        if not why:
            way = "as in the part of the run that is there" if one.resumed else f"as in {one.path}, which is reused"
            return manifests.Compute(backend=one.backend, reason=way)
        if one.resumed:
            problem = f"output.resume: {one.path} was begun with {one.backend}, and {why}"
            raise config.ConfigError([f"{problem}; or set explain.compute: tensorflow, which explains its images anew"])
    return None


def _why_not(spec: specs.EngineSpec, backend: specs.Compute) -> str:
    """Why a backend can't compute here and now, in words; empty where it can."""
    if backend not in choice.installed():
        return packages.missing(backend) or "this version does not know it"
    return computing.unfit(dataclasses.replace(spec, compute=backend))


def _by_trial(planned: plan.Plan, engine: engines.Engine, tell: Callable[[str], object]) -> manifests.Compute:
    """The fastest backend, measured now or earlier; TensorFlow where there is too little to do, or a trial failed."""
    try:
        return _measured(planned, engine, tell)
    except (engines.BatchError, engines.OutOfMemory, tf.errors.OpError) as error:  # the run takes smaller batches then
        return _tensorflow(f"the model failed on the images of a trial: {' '.join(str(error).split())[:200]}")


def _measured(planned: plan.Plan, engine: engines.Engine, tell: Callable[[str], object]) -> manifests.Compute:
    """As `_by_trial`, where the model does not fail."""
    try:
        there_is = work.estimate(planned, engine, LEAST_KEPT_S)
    except OSError as error:  # of the data: reading them is the workers' task, who say what became of them
        return _tensorflow(f"how much work there is, is not known: {errors.reason(error)}")
    seconds = there_is.seconds
    if seconds < LEAST_KEPT_S:
        most = "at most " if there_is.at_most else ""
        return _tensorflow(f"the work of {most}{_minutes(seconds)} is too little for a trial")
    facts = _facts(planned, engine)
    kept = kept_choices.find(facts)
    allowed = SHARE * seconds
    if kept is not None and kept.backend in choice.installed() and not _worth_another(kept, allowed):
        return kept.model_copy(update={"reason": f"by the trial of {kept.decided}, kept for this model and machine"})
    if seconds < LEAST_S:
        return _tensorflow(f"the work of {_minutes(seconds)} is too little for a trial")
    tell(f"compute: trying {', '.join(choice.installed())} on this model, for at most {allowed:,.0f} s")
    made = choice.choose(
        engine.spec,  # whose files are on this machine
        seconds=allowed,
        workers=planned.settings.runner.worker_count,
        whole_passes=bool(planned.settings.evaluate.faithfulness.metrics),
        loaded=engine,
    )
    found = manifests.Compute(
        backend=made.backend,
        reason="by trial",
        trials=tuple(manifests.ComputeTrial.model_validate(dataclasses.asdict(one)) for one in made.trials),
        seconds=round(made.seconds, 3),
        allowed=round(allowed, 3),
        decided=f"{datetime.datetime.now(datetime.timezone.utc):%Y-%m-%d}",
    )
    if any(one.images_per_second for one in found.trials if one.backend != "tensorflow"):  # there was time for some
        kept_choices.keep(facts, found)
    return found


def _worth_another(kept: manifests.Compute, allowed: float) -> bool:
    """Whether a trial that left something out may do so because it had far less time than one of now would have."""
    return any(one.images_per_second is None for one in kept.trials) and allowed > _MORE * (kept.allowed or 0.0)


def _minutes(seconds: float) -> str:
    return f"about {seconds / 60:,.1f} minutes" if seconds >= 6 else "some seconds"


def _facts(planned: plan.Plan, engine: engines.Engine) -> dict[str, Any]:
    """Everything on which it depends what is fastest."""
    spec, about = planned.engine_spec, engine.description
    return {
        "model": about.digest,
        "input_size": list(about.input_size),
        "target_layer": about.layer.name,
        "scores": about.scores,
        "methods": sorted({(m.method, *m.layers, m.wrapper or "") for m in spec.methods}),
        "assessed": sorted(planned.settings.evaluate.faithfulness.metrics),
        "batch": [engine.batch_size, engine.pass_size, spec.pass_batch_size],
        "threads": [spec.intra_op_threads, planned.settings.runner.worker_count],
        "targets": list(spec.targets),
        "evidence": spec.evidence,
        "precision": spec.precision,
        "constant_weights": spec.constant_weights,
        "device": kept_choices.device(),
        "versions": {name: importlib.metadata.version(name) for name in ("heatbeam", "keras")} | choice.installed(),
    }


def in_words(compute: manifests.Compute, precision: specs.Precision = "float32") -> str:
    """What computes and why, on one line; with the figures of the trial, and the agreement, where they were measured.

    >>> in_words(manifests.Compute(backend="tensorflow", reason="as set"))
    'tensorflow, as set'
    """
    said = f"{compute.backend}, {compute.reason}"
    speeds = {one.backend: one.images_per_second for one in compute.trials if one.images_per_second}
    own, base = speeds.get(compute.backend), speeds.get("tensorflow")
    if own and base and compute.backend != "tensorflow":
        differs = next(one.agreement for one in compute.trials if one.backend == compute.backend)
        near = f", maps within {differs:.0e} of the largest value" if differs is not None else ""
        said += f": {own / base:.2f} times as fast as TensorFlow ({own:,.3g} and {base:,.3g} images/s){near}"
    others = [
        f"{one.backend} {f'{one.images_per_second:,.3g} images/s' if not one.why_not else f'not: {one.why_not}'}"
        for one in compute.trials
        if one.backend not in (compute.backend, "tensorflow" if compute.backend != "tensorflow" else "")
    ]
    agrees = [] if compute.agreement is None else [compute.agreement.in_words(precision)]
    return "; ".join([said, *others, *agrees])
