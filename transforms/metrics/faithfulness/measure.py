"""The metrics that need the model, by the names a configuration gives them: cost, columns, and all measured at once.

What they are, which columns and curves they write and which function measures them stands in the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import cast

from heatbeam.transforms.metrics import registry
from heatbeam.transforms.metrics.faithfulness import batch

Measure = Callable[[batch.Batch], tuple[batch.Columns, batch.Columns]]


def measure(names: Sequence[str], one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """The columns of some metrics, and their curves.

    Args:
        names: keys of `registry.FAITHFULNESS`, in any order.
        one: what to measure.

    Returns:
        Columns, float64 (B,) each, and curves, float64 (B, points) each: ``insertion`` and ``deletion`` over
        ``steps + 1`` points, ``road_morf`` and ``road_lerf`` over the percentiles.

    Raises:
        ValueError: if a name is unknown, or what is to be measured does not fit together.
    """
    wanted = registry.faithfulness(names)
    batch.checked(one.inputs, one.heatmaps, one.class_ids, one.settings.batch_size)
    if len(one.image_ids) != len(one.inputs):
        raise ValueError(f"{len(one.image_ids)} image ids for {len(one.inputs)} inputs; expected one each")
    values: batch.Columns = {}
    points: batch.Columns = {}
    for group in wanted:
        more, lines = cast(Measure, group.function)(one)
        values |= more
        points |= lines
    return values, points
