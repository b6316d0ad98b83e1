"""Try what can compute a model on this machine, and take the fastest of those whose numbers agree with TensorFlow's."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import computing, specs
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.models.backends import onnx_form, packages, precisions
from heatbeam.transforms.models.files import loading

AGREEMENT = precisions.limit("float32")
"""What logits and activations may differ by, of the largest value, for a float32 engine to be taken."""

_PREFERENCE = 1.03  # times as fast as TensorFlow, at least: what is nearer is noise
_ROUNDS = 7  # of each engine, in turns: what else the machine does must not hit one of them alone
_COSTS: dict[specs.Compute, float] = {"xla": 60.0}  # seconds that compiling may take, which can't be interrupted
_REFUSALS = (loading.ModelError, engines.BatchError, engines.OutOfMemory, tf.errors.OpError)
_ORDER: tuple[specs.Compute, ...] = ("onnxruntime", "openvino", "xla")  # first those that are ready soonest


@dataclasses.dataclass(frozen=True)
class Trial:
    """An engine that was tried, or why it was not.

    Attributes:
        backend: its name.
        images_per_second: of the shared pass of the run's methods, and of whole passes where they are asked for; None
            where it was not measured.
        agreement: largest difference of logits and activations from TensorFlow's in float32, of the largest value of
            each; None where it was not measured. In float32 TensorFlow's own is 0.
        why_not: why it can't be taken, in words; empty where it can.
    """

    backend: specs.Compute
    images_per_second: float | None
    agreement: float | None
    why_not: str = ""


@dataclasses.dataclass(frozen=True)
class Choice:
    """Which engine is taken.

    Attributes:
        backend: its name.
        trials: of every engine, TensorFlow first.
        seconds: that the trials took.
    """

    backend: specs.Compute
    trials: tuple[Trial, ...]
    seconds: float


installed = packages.installed


@dataclasses.dataclass(frozen=True, eq=False)
class Tried:
    """An engine made for a trial.

    Attributes:
        run: explains a batch of `batch` images, from any thread.
        batch: images of that.
        answers: float32 arrays, what the model gives for images that are the same for every engine.
    """

    run: Callable[[], object]
    batch: int
    answers: Sequence[np.ndarray]


Make = Callable[[specs.EngineSpec], Tried]


@onnx_form.conversions_kept()
def choose(
    spec: specs.EngineSpec,
    *,
    seconds: float,
    workers: int = 1,
    whole_passes: bool = False,
    loaded: engines.Engine | None = None,
    make: Make | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Choice:
    """The fastest engine for a specification, whatever its own `compute` is.

    TensorFlow is taken where nothing else is installed, fits, agrees and is faster by more than chance. In another
    precision than float32 what agrees is what is as near to float32 as that precision allows.

    Args:
        spec: of the run.
        seconds: that the trials may take; the model is loaded for TensorFlow in any case, and a conversion that was
            begun is ended.
        workers: threads of one process that explain at once.
        whole_passes: whether passes through the whole model, as metrics of faithfulness make them, count too. They do
            where a method makes them.
        loaded: the engine of `spec` by TensorFlow where it is there already, so that its model is not loaded again.
        make: what makes an engine ready; None for the real ones.
        clock: seconds.

    Raises:
        loading.ModelError: TensorFlow can't explain the model.
        engines.BatchError, engines.OutOfMemory, tf.errors.OpError: TensorFlow failed on the images of the trial.
    """
    started = clock()
    known = installed()
    reasons = {backend: _unfit(backend, spec, known) for backend in _ORDER}
    if all(reasons.values()):
        trials = [Trial("tensorflow", None, 0.0), *(Trial(b, None, None, reason) for b, reason in reasons.items())]
        return Choice("tensorflow", tuple(trials), clock() - started)
    make = make or _Engines(whole_passes, loaded)
    own = dataclasses.replace(spec, compute="tensorflow")
    ready: dict[specs.Compute, Tried] = {"tensorflow": make(own)}
    expected, limit = ready["tensorflow"].answers, precisions.limit(spec.precision)
    if spec.precision != "float32":
        expected = make(dataclasses.replace(own, precision="float32")).answers
    agreements: dict[specs.Compute, float] = {"tensorflow": agreement(expected, ready["tensorflow"].answers)}
    for backend, reason in reasons.items():
        if reason:
            continue
        spent = clock() - started
        if spent > seconds / 2 or seconds - spent < _COSTS.get(backend, 0):  # the rest is for measuring
            reasons[backend] = f"no time was left of {seconds:.0f} s to try it"
            continue
        try:
            tried = make(dataclasses.replace(spec, compute=backend))
        except _REFUSALS as error:
            reasons[backend] = _in_words(error)
            continue
        agreements[backend] = agreement(expected, tried.answers)
        if agreements[backend] <= limit:
            ready[backend] = tried
        else:
            reasons[backend] = f"its numbers differ by {agreements[backend]:.1e} of the largest, more than {limit:g}"
    speeds, failed = _speeds(ready, started + seconds, workers, clock)
    reasons |= failed
    trials = [Trial(b, speeds.get(b), agreements.get(b), reasons.get(b, "")) for b in ("tensorflow", *_ORDER)]
    return Choice(_fastest(speeds), tuple(trials), clock() - started)


def agreement(expected: Sequence[np.ndarray], found: Sequence[np.ndarray]) -> float:
    """The largest difference of arrays, of the largest value of each; infinite where some are not finite.

    >>> agreement([np.array([1.0, -4.0])], [np.array([1.0, -3.0])])
    0.25
    """
    worst = 0.0
    for one, other in zip(expected, found, strict=True):
        difference = np.abs(other.astype(np.float64) - one).max(initial=0)
        if not np.isfinite(difference):
            return float("inf")
        worst = max(worst, float(difference) / max(float(np.abs(one).max(initial=0)), 1e-30))
    return worst


def _unfit(backend: specs.Compute, spec: specs.EngineSpec, known: Mapping[specs.Compute, str]) -> str:
    """Why an engine need not be tried; empty where it may be."""
    if backend not in known:
        return packages.missing(backend) or "not installed"
    return computing.unfit(dataclasses.replace(spec, compute=backend))


def _speeds(
    ready: Mapping[specs.Compute, Tried], until: float, workers: int, clock: Callable[[], float]
) -> tuple[dict[specs.Compute, float], dict[specs.Compute, str]]:
    """Images a second of each engine: its best round, for what else the machine does only takes from it.

    Of those that failed meanwhile, as when several threads at once leave them no memory, the reasons instead.
    """
    speeds: dict[specs.Compute, float] = {}
    failed: dict[specs.Compute, str] = {}
    if len(ready) == 1:
        return speeds, failed
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for number in range(_ROUNDS):
            if number > 1 and clock() >= until:
                break
            for backend, tried in ready.items():
                if backend in failed:
                    continue
                began = clock()
                runs = [pool.submit(tried.run) for _ in range(workers)]
                concurrent.futures.wait(runs)  # all of them, for the next engine has the machine to itself
                try:
                    for done in runs:
                        done.result()
                except _REFUSALS as error:
                    if backend == "tensorflow":
                        raise
                    failed[backend] = _in_words(error)
                    continue
                speed = workers * tried.batch / max(clock() - began, 1e-9)
                speeds[backend] = max(speed, speeds.get(backend, 0.0)) if number else 0.0  # the first one warms up
    return {backend: speed for backend, speed in speeds.items() if backend not in failed}, failed


def _in_words(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _fastest(speeds: Mapping[specs.Compute, float]) -> specs.Compute:
    own = speeds.get("tensorflow", 0.0)
    faster = {backend: speed for backend, speed in speeds.items() if speed > _PREFERENCE * own}
    return max(faster, key=lambda backend: faster[backend], default="tensorflow")


class _Engines:
    """Makes the engines of one model, which is loaded once for each precision of its layers."""

    def __init__(self, whole_passes: bool, loaded: engines.Engine | None) -> None:
        self._whole_passes = whole_passes
        self._made = [] if loaded is None else [loaded]

    def __call__(self, spec: specs.EngineSpec) -> Tried:
        """An engine that has explained a batch."""
        spec = dataclasses.replace(spec, tune_batch=False)
        like = next((one for one in self._made if computing.shares_model(one.spec, spec)), None)
        if like is not None and (like.spec.compute, like.spec.precision) == (spec.compute, spec.precision):
            engine = like
        else:
            engine = engines.Engine(spec, None if like is None else like.model)
            if like is None:
                for first in self._made[:1]:
                    engine.take_weights(first)
                self._made.append(engine)
        images = trial_images(engine)
        whole = self._whole_passes or bool(engine.further)
        none_of_them = {label: np.zeros(len(images), bool) for label in engine.further}

        def run() -> None:
            engine.explain(images, [(0,)] * len(images), none_of_them)
            if whole:
                engine.scores(images)

        run()
        return Tried(run, len(images), engine.answers(images))


def trial_images(engine: engines.Engine) -> np.ndarray:
    """A batch of images, half of them noise and half smooth."""
    count, size = max(2, min(engine.spec.batch_size, 8)), engine.description.input_size
    draw = np.random.default_rng(0)
    images = draw.uniform(0, 255, (count, *size))
    for axis in range(1, len(size)):
        slope = np.linspace(0, 1, size[axis - 1]).reshape([-1 if i == axis else 1 for i in range(len(size) + 1)])
        images[::2] = images[::2].mean(axis=axis, keepdims=True) * (0.5 + slope)
    levels = np.clip(images, 0, 255)
    return levels.astype(np.float32) if engine.spec.float_pixels else np.rint(levels).astype(np.uint8)
