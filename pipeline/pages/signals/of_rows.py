"""A row of ``explanations`` as what is drawn of it: its map over all of the signal, its truth and its box.

`picture` is the one way from a row to pixels, whatever the number of its axes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from heatbeam.pages import map_images
from heatbeam.pages.signals import drawing, shown
from heatbeam.runs import manifests
from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.tables import axis_columns, stored_maps

_PICTURE = 2
_GRID = {1: 2048, 2: 512, 3: 96}
"""Cells a side of the heat that is drawn, at most."""


def axes_of(manifest: manifests.Manifest) -> tuple[records.Axis, ...]:
    """The axes of a run's inputs, in the order of the array; none of runs that did not get as far as to say them."""
    return manifest.conventions.axes if manifest.conventions else ()


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What a run says of its inputs that no row does.

    Attributes:
        axes: in the order of the array; empty where nothing is known of them.
        channel_names: in the order of the channels; empty without names.
        display: channels to show, from 0; empty for the default.
    """

    axes: tuple[records.Axis, ...] = ()
    channel_names: tuple[str, ...] = ()
    display: tuple[int, ...] = ()


def inputs_of(manifest: manifests.Manifest) -> Inputs:
    """What a run's manifest says of its inputs."""
    axes, array = axes_of(manifest), manifest.config.input.array
    return Inputs(axes) if array is None else Inputs(axes, array.channel_names or (), array.display or ())


def columns(names: Collection[str]) -> tuple[str, ...]:
    """What `signal` reads of a table of `names`."""
    boxes = ("true_boxes", *axis_columns.boxes(axis_columns.rank_of(names)))
    return (*stored_maps.placed_columns(names), *(name for name in boxes if name in names))


def picture(
    row: Mapping[str, Any],
    inputs: Inputs,
    original: shown.Values | None,
    longest_px: int,
    mask: npt.NDArray[np.bool_] | None = None,
) -> shown.Pixels:
    """A row drawn over its original: uint8 ``(height, width, 3)``, at most `longest_px` wide and high.

    Args:
        row: as of `signal`.
        inputs: as of `signal`.
        original: of a picture uint8 ``(height, width, 3)``, else ``(*shape, channels)``; None for the map alone.
        longest_px: pictures are scaled down to it, never up; signals are drawn as large.
        mask: of signals, as of `signal`.
    """
    size = axis_columns.size_of(row)
    if len(size) != _PICTURE:
        return drawing.picture(signal(row, inputs, original, mask), longest_px)
    return picture_of_map(stored_maps.raw_map(row), axis_columns.view_of(row), size, inputs, original, longest_px)


def picture_of_map(
    raw: shown.Floats,
    view: heatmaps.View,
    size: tuple[int, ...],
    inputs: Inputs,
    original: shown.Values | None,
    longest_px: int,
) -> shown.Pixels:
    """As `picture`, of a raw map that covers `view` of an input of `size`, without boxes."""
    if len(size) != _PICTURE:
        return drawing.picture(of_map(raw, view, size, inputs, original), longest_px)
    fit = map_images.fitted((size[0], size[1]), longest_px)
    below = None if original is None else map_images.scaled(original, fit)
    return map_images.overlay(raw, view, (size[0], size[1]), fit, below)


def signal(
    row: Mapping[str, Any],
    inputs: Inputs,
    values: shown.Values | None = None,
    mask: npt.NDArray[np.bool_] | None = None,
) -> shown.Signal:
    """What is drawn of a row.

    Args:
        row: plain Python values of ``explanations``: map, size, view; boxes where it has them.
        inputs: what the run says of them.
        values: the original, ``(*shape, channels)``; None for the map alone. Another shape than the row's is left out.
        mask: where the truth of its class is, of that shape; None without masks.
    """
    size, rank = axis_columns.size_of(row), axis_columns.rank_of(row)
    raw, view = stored_maps.raw_map(row), axis_columns.view_of(row)
    edges = [row.get(name) for name in axis_columns.boxes(rank)]
    box = tuple(float(edge) for edge in edges if edge is not None)
    whole = box if len(box) == len(edges) else None
    found = of_map(raw, view, size, inputs, values, true_boxes=true_boxes(row), box=whole)
    return found if mask is None else dataclasses.replace(found, mask=mask)


def of_map(
    raw: shown.Floats,
    view: heatmaps.View,
    size: tuple[int, ...],
    inputs: Inputs,
    values: shown.Values | None = None,
    *,
    true_boxes: tuple[shown.Box, ...] = (),
    box: shown.Box | None = None,
) -> shown.Signal:
    """As `signal`, of a raw map that covers `view` of a signal of `size`, both x first."""
    shape = tuple(size[::-1])
    grid = tuple(min(side, _GRID[len(shape)]) for side in shape)
    heat = heatmaps.heatmap(raw, grid, view=tuple(view), image_size=tuple(size))
    kept = values if values is not None and values.shape[:-1] == shape else None
    named = inputs.axes if len(inputs.axes) == len(shape) else records.plain_axes(len(shape))
    return shown.Signal(shape, named, heat, kept, true_boxes, box, inputs.channel_names, inputs.display)


def true_boxes(row: Mapping[str, Any]) -> tuple[shown.Box, ...]:
    """The true boxes of the class of a row, starts and then ends; none where there are none."""
    edges = 2 * axis_columns.rank_of(row)
    found = np.asarray(row.get("true_boxes") or (), np.float64).reshape(-1, edges)
    return tuple(tuple(one) for one in found.tolist())
