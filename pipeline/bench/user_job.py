"""What each step of a user's own job costs, and what the model alone would."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence

import keras
import tensorflow as tf

from heatbeam import config
from heatbeam.bench import stages
from heatbeam.job import plan
from heatbeam.job.fitting import decision
from heatbeam.runners import runner_options
from heatbeam.runs import remote_files
from heatbeam.transforms import errors, explain
from heatbeam.transforms.models import weight_constants

ALL = "all"
"""In place of a step's name: all of them."""

_ROUNDS, _BATCHES = 5, 4
_QUICK_ROUNDS, _QUICK_BATCHES = 2, 1


@dataclasses.dataclass(frozen=True)
class StepCost:
    """One line of the table.

    Attributes:
        step: one of `stages.STEPS`, or `ALL`.
        ms_per_image: in one thread, in the median round.
        percent: of all steps.
        over_forward: time over a bare forward pass of the model, per image; the median of the rounds. Machines share
            cores and change their clock: what is measured in turn meets the same machine, so ratios carry over to
            another hour, and milliseconds do not.
        over_forward_least: the same in the round where it was least.
        over_forward_greatest: and where it was greatest.
    """

    step: str
    ms_per_image: float
    percent: float
    over_forward: float
    over_forward_least: float
    over_forward_greatest: float


@dataclasses.dataclass(frozen=True)
class Round:
    """Seconds per image of each step, by name, and of the model alone."""

    steps: dict[str, float]
    forward: float


@runner_options.connected(())
def measure(configured: config.RunConfig, *, quick: bool = False) -> list[StepCost]:
    """Each step of a job, and all of them, per image.

    The steps run one after another in one thread, on the first records of the input; the forward pass is measured after
    each of several rounds. Nothing is written to the configured run directory.

    Args:
        configured: the job.
        quick: fewer records and rounds.

    Raises:
        config.ConfigError: a problem of the configuration.
        loading.ModelError: the model is not what the configuration says.
        errors.UsageError: none of the first records can be decoded.
    """
    planned = plan.make(configured)
    engine, _ = explain.acquire_engine(planned.engine_spec)  # held while the steps ask for it
    planned, _ = decision.decided(planned, engine)
    rounds, batches = (_QUICK_ROUNDS, _QUICK_BATCHES) if quick else (_ROUNDS, _BATCHES)
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        first = stages.Stages(planned, folder)  # loads and compiles, so its time says nothing
        del engine
        batch = first.engine.batch_size
        first.run(batch)
        if not first.examples:
            raise errors.UsageError(f"none of the first {batch} records can be decoded; heatbeam check says why")
        forward = _forward(first)
        found = []
        for _ in range(rounds):
            gc.collect()
            steps = stages.Stages(planned, folder)
            steps.run(batch * batches)
            started = time.perf_counter()
            forward()
            alone = (time.perf_counter() - started) / len(first.examples)
            found.append(Round({name: steps.seconds[name] / steps.images for name in stages.STEPS}, alone))
    return costs(found)


def _forward(steps: stages.Stages) -> Callable[[], object]:
    """The model alone on a batch that is preprocessed already."""
    engine = steps.engine
    inputs = tf.constant(engine.preprocess(tf.stack([example.image for example in steps.examples])))
    forward = bare_forward(engine.model.keras_model, engine.model.constant_weights)
    forward(inputs)
    return lambda: tf.nest.map_structure(lambda output: output.numpy(), forward(inputs))


def bare_forward(model: keras.Model, constant_weights: bool) -> Callable[[tf.Tensor], tf.Tensor]:
    """The model alone, as one ``tf.function`` of preprocessed inputs: the limit of everything.

    Args:
        model: to run.
        constant_weights: as the engine that it is compared with has them.
    """

    def forward(inputs: tf.Tensor) -> tf.Tensor:
        with weight_constants.as_constants(model) if constant_weights else contextlib.nullcontext():
            return model(inputs, training=False)

    compiled: Callable[[tf.Tensor], tf.Tensor] = tf.function(forward, autograph=False, reduce_retracing=True)
    return compiled


def costs(rounds: Sequence[Round]) -> list[StepCost]:
    """What the rounds say of each step, and of all of them.

    Args:
        rounds: at least one.
    """
    whole = statistics.median_low([sum(each.steps.values()) for each in rounds])
    found = []
    for step in (*stages.STEPS, ALL):
        own = [each.steps[step] if step != ALL else sum(each.steps.values()) for each in rounds]
        ratios = [seconds / each.forward for seconds, each in zip(own, rounds, strict=True)]
        middle = statistics.median_low(own)
        spread = statistics.median(ratios), min(ratios), max(ratios)
        found.append(StepCost(step, 1e3 * middle, 100 * middle / whole, *spread))
    return found


def table(found: Sequence[StepCost]) -> str:
    """The costs as text, one line each."""
    lines = [f"{'step':<10} {'ms/image':>9} {'percent':>8}  over a bare forward pass (least to greatest)"]
    lines += [
        f"{one.step:<10} {one.ms_per_image:>9.3f} {one.percent:>8.1f}  "
        f"{one.over_forward:.3f} ({one.over_forward_least:.3f} to {one.over_forward_greatest:.3f})"
        for one in found
    ]
    images_per_s = 1e3 / found[-1].ms_per_image
    return "\n".join([*lines, f"{images_per_s:,.1f} images/s in one thread; the model on {device()}"]) + "\n"


def write_json(found: Sequence[StepCost], path: str) -> None:
    """The costs as a list of JSON objects, in a folder that is made where it is missing."""
    text = json.dumps([dataclasses.asdict(one) for one in found], indent=2) + "\n"
    remote_files.write(path, text.encode())


def device() -> str:
    """Name of the device that TensorFlow computes on."""
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "CPU"
    return str(tf.config.experimental.get_device_details(gpus[0]).get("device_name", "GPU"))
