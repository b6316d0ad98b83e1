"""How much work a run is: passes of the model, records, and seconds of it on this machine."""

from __future__ import annotations

import dataclasses
import itertools
import time

import numpy as np

from heatbeam import config
from heatbeam.job import plan
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.metrics import registry as metrics
from heatbeam.transforms.sources import source

_MEASURED_S = 0.1
"""How long the shared pass is repeated to find its speed."""


@dataclasses.dataclass(frozen=True)
class Work:
    """What the model has to do in a run, as far as it can be told before.

    Attributes:
        images: records in the input.
        passes: forward passes for each.
        seconds_per_pass: of an image, in one thread.
        workers: threads that share the work.
        at_most: whether it takes no longer than that, and was not measured.
    """

    images: int
    passes: float
    seconds_per_pass: float
    workers: int
    at_most: bool = False

    @property
    def seconds(self) -> float:
        """Of the whole, without reading, decoding and writing."""
        return self.images * self.passes * self.seconds_per_pass / self.workers


def estimate(planned: plan.Plan, engine: engines.Engine, little: float = 0.0) -> Work:
    """The work of a run: its records times its passes at the speed of the shared pass, measured for a moment.

    Args:
        planned: the run.
        engine: warm.
        little: seconds of work of which it does not matter how much it is; nothing is measured where it takes less at
            the speed of the engine's first pass, which was traced meanwhile.
    """
    most = Work(
        images=record_count(planned.dataset),
        passes=passes(planned.engine_spec, engine, planned.settings.evaluate.faithfulness),
        seconds_per_pass=engine.first_pass_s,
        workers=planned.settings.runner.worker_count,
        at_most=True,
    )
    if most.seconds < little:
        return most
    return dataclasses.replace(most, seconds_per_pass=_seconds_per_pass(engine), at_most=False)


def passes(spec: specs.EngineSpec, engine: engines.Engine, asked: config.FaithfulnessConfig) -> float:
    """Forward passes for an image: the shared one, and those of many-pass methods and of metrics that ask the model."""
    cost = [cost_of(m, engine) for m in spec.methods]
    each = metrics.passes(metrics.faithfulness(asked.metrics), asked)
    own = sum(c.forward * m.sample for c, m in zip(cost, spec.methods, strict=True))
    # Each explanation that a metric asks for costs what the method does, and the shared pass.
    measured = sum(each.predictions + each.explanations * (1 + c.forward) for c in cost)
    return 1 + own + asked.sample * len(spec.targets) * measured


def cost_of(method: specs.MethodSpec, engine: engines.Engine) -> registry.Cost:
    """The passes of a method beyond the shared one, its wrapper's included, with the model of `engine`."""
    known = registry.get(method.method)
    channels, classes = engine.description.layer.channels, engine.description.classes
    own = known.cost(channels, classes, dict(method.options))
    if engine.model.head_is_affine and known.affine_cost is not None:
        own = known.affine_cost
    if method.wrapper is None:
        return own
    times = registry.get_wrapper(method.wrapper).cost(channels, classes, dict(method.wrapper_options)).forward
    return registry.Cost(times * (own.forward + 1), times * own.head)


def record_count(dataset: source.Dataset) -> int:
    """Records in all: exact where the format knows, else from the bytes of the shards and of the first records."""
    if dataset.count is not None:
        return dataset.count
    first = itertools.islice(dataset.in_turn(), 256)
    sizes = [len(record) + shard.overhead_bytes for shard, _, record in first if isinstance(record, bytes)]
    return round(dataset.stored_bytes / (sum(sizes) / len(sizes))) if sizes else 0


def _seconds_per_pass(engine: engines.Engine) -> float:
    """Of an image in the shared pass of a warm engine, the fastest of some: what else the machine does only adds."""
    count = engine.pass_size
    noise = np.random.default_rng(0).integers(0, 256, (count, *engine.description.input_size), dtype=np.uint8)
    images = noise.astype(np.float32) if engine.spec.float_pixels else noise
    shared_only = {method.label: np.zeros(count, bool) for method in engine.spec.methods}
    seconds: list[float] = []
    while len(seconds) < 2 or sum(seconds) < _MEASURED_S:
        started = time.perf_counter()
        engine.explain(images, [(0,)] * count, shared_only)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / count
