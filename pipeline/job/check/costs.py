"""What a run costs: passes of every method and metric, and from a few records time and bytes of the whole."""

from __future__ import annotations

import math
from typing import Any, TextIO

from heatbeam import config
from heatbeam.job import plan
from heatbeam.job.fitting import work
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import explained, specs
from heatbeam.transforms.metrics import registry as metrics


def write_methods(spec: specs.EngineSpec, engine: engines.Engine, stream: TextIO) -> None:
    """Say how many passes each method takes, and with which options."""
    for method in spec.methods:
        cost = work.cost_of(method, engine)
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


def write_estimate(
    planned: plan.Plan,
    engine: engines.Engine,
    seconds_per_image: float,
    one: explained.ImageExplanation,
    stream: TextIO,
) -> dict[str, Any]:
    """Passes, time and bytes of the full run, as far as a few records, of which `one` is the first, can tell."""
    records_total = work.record_count(planned.dataset)
    spec = planned.engine_spec
    passes = work.passes(spec, engine, planned.settings.evaluate.faithfulness)
    targets = len(spec.targets)
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
