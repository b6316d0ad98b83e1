"""What a run costs: passes of every method and metric, and from a few records time and bytes of the whole."""

from __future__ import annotations

import itertools
import math
from typing import Any, TextIO

from heatbeam import config
from heatbeam.job import plan
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import explained, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.metrics import registry as metrics
from heatbeam.transforms.sources import source


def write_methods(spec: specs.EngineSpec, engine: engines.Engine, stream: TextIO) -> None:
    """Say how many passes each method takes, and with which options."""
    for method in spec.methods:
        cost = cost_of(method, engine)
        options = ", ".join(f"{k}={v}" for k, v in method.options)
        stream.write(
            f"method   {method.label}: {cost.forward:g} forward passes and {cost.head:g} passes of the head beyond the "
            f"shared one{f' ({options})' if options else ''}\n"
        )


def write_metrics(asked: config.FaithfulnessConfig, stream: TextIO) -> None:
    """Say how many passes each metric takes that asks the model."""
    for group in metrics.faithfulness(asked.metrics):
        each = metrics.passes([group], asked)
        stream.write(
            f"metric   {group.name}: {each.predictions} predictions and {each.explanations} explanations of each map, "
            f"for {asked.sample:.0%} of the images\n"
        )


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


def write_estimate(
    planned: plan.Plan,
    engine: engines.Engine,
    seconds_per_image: float,
    one: explained.ImageExplanation,
    stream: TextIO,
) -> dict[str, Any]:
    """Passes, time and bytes of the full run, as far as a few records, of which `one` is the first, can tell."""
    records_total = _record_count(planned.dataset)
    spec = planned.engine_spec
    cost = [cost_of(m, engine) for m in spec.methods]
    passes = 1 + sum(c.forward * m.sample for c, m in zip(cost, spec.methods, strict=True))
    targets = len(spec.targets)
    asked = planned.settings.evaluate.faithfulness
    each = metrics.passes(metrics.faithfulness(asked.metrics), asked)
    # Each explanation that a metric asks for costs what the method does, and the shared pass.
    passes += asked.sample * targets * sum(each.predictions + each.explanations * (1 + c.forward) for c in cost)
    cell_bytes = 2 if planned.settings.output.heatmap_dtype == "int16" else 4
    minutes = records_total * seconds_per_image / planned.settings.runner.worker_count / 60
    cells = {label: math.prod(maps.shape[1:]) for label, _, maps in one.maps}  # some have the size of the image
    image_bytes = targets * sum(m.sample * (cells.get(m.label, 0) * cell_bytes + 120) for m in spec.methods)
    stream.write(
        f"estimate about {records_total:,} records, {records_total * passes:,.0f} forward passes, "
        f"{minutes:,.1f} minutes at the speed of these records, "
        f"at most {records_total * image_bytes / 1e6:,.0f} MB of heatmaps and metrics\n"
    )
    return {
        "records": records_total,
        "forward_passes": round(records_total * passes),
        "minutes": round(minutes, 2),
        "bytes": round(records_total * image_bytes),
    }


def _record_count(dataset: source.Dataset) -> int:
    """Records in all: exact where the format knows, else from the bytes of the shards and of the first records."""
    if dataset.count is not None:
        return dataset.count
    first = itertools.islice(dataset.in_turn(), 256)
    sizes = [len(record) + shard.overhead_bytes for shard, _, record in first if isinstance(record, bytes)]
    return round(dataset.stored_bytes / (sum(sizes) / len(sizes))) if sizes else 0
