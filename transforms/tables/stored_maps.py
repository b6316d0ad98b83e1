"""The columns in which a table of explanations keeps its raw maps, written and read in one place.

``heatmap`` holds the cells of a map in the order of the array, x running fastest (of a picture: row by row from the top
left), as steps of 16 bits or as float32, and

    map = heatmap * heatmap_scale,  in float32, of shape heatmap_shape

The scale of a map stored as float32 is 1. The rule of the steps is `heatmaps.quantize`'s. Tables of pictures also have
``heatmap_height`` and ``heatmap_width``; those of runs before ``heatmap_shape`` have only these.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from heatbeam.transforms import heatmaps
from heatbeam.transforms.tables import axis_columns, schemas

Maps = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

_STORED = ("heatmap", "heatmap_scale")
_SHAPE = "heatmap_shape"
_SIDES = ("heatmap_height", "heatmap_width")

COLUMNS = (*_STORED, _SHAPE, *_SIDES)
"""What a map takes in tables of any rank and age; `columns` says what it takes in one."""


def columns(names: Collection[str]) -> tuple[str, ...]:
    """The columns that a map takes in a table, of those that it has.

    Args:
        names: of the table's columns.
    """
    return (*_STORED, _SHAPE) if _SHAPE in names else (*_STORED, *_SIDES)


def placed_columns(names: Collection[str]) -> tuple[str, ...]:
    """`columns`, and those that say where over its image a map lies: the size of the image and the view."""
    rank = axis_columns.rank_of(names)
    return (*axis_columns.sizes(rank), *axis_columns.views(rank), *columns(names))


class StoredMaps:
    """The maps of the rows of a table, all of one rank.

    Args:
        table: with `columns`.

    Attributes:
        shapes: int64 ``(R, rank)``, the shape of each row's map: of a picture height and width.
    """

    def __init__(self, table: pa.Table):
        self._cells = schemas.whole(table["heatmap"])
        self._scales = schemas.whole(table["heatmap_scale"]).to_numpy(zero_copy_only=False)
        self.shapes: Ints = _shapes(table)

    def by_shape(self) -> Iterator[Ints]:
        """The rows of each shape of map, shapes in rising order."""
        for shape in np.unique(self.shapes, axis=0):
            yield np.flatnonzero((self.shapes == shape).all(axis=1))

    def cells(self, rows: Ints | slice) -> npt.NDArray[Any]:
        """The cells of N rows whose maps have one shape, as they are stored: int16 or float32 ``(N, *shape)``.

        Args:
            rows: their numbers, or a slice without a step; N >= 1.
        """
        if isinstance(rows, slice):
            first = rows.start
            lists = self._cells.slice(first, rows.stop - first)
        else:
            first = rows[0]
            lists = self._cells.take(pa.array(rows))
        stored: npt.NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
        return stored.reshape(len(lists), *self.shapes[first].tolist())

    def maps(self, rows: Ints | slice) -> Maps:
        """The raw maps of N rows whose maps have one shape, signed: float32 ``(N, *shape)``; `rows` as of `cells`."""
        cells = self.cells(rows)
        return heatmaps.dequantize(cells, self._scales[rows], cells.ndim - 1)

    def each(self) -> list[Maps]:
        """The raw map of every row, float32, of any shape."""
        if len(self.shapes) and (self.shapes == self.shapes[0]).all():
            return list(self.maps(slice(0, len(self.shapes))))
        return [self.maps(slice(row, row + 1))[0] for row in range(len(self.shapes))]


def _shapes(table: pa.Table) -> Ints:
    if _SHAPE not in table.column_names:
        sides = [schemas.whole(table[name]).to_numpy(zero_copy_only=False) for name in _SIDES]
        return np.column_stack(sides).astype(np.int64)
    lists = schemas.whole(table[_SHAPE])
    axes: Ints = lists.flatten().to_numpy(zero_copy_only=False).astype(np.int64)
    return axes.reshape(len(lists), -1) if len(lists) else np.zeros((0, axis_columns.rank_of(table.column_names)), int)


def raw_map(row: Mapping[str, Any]) -> Maps:
    """The raw map of a row of ``explanations``, at the resolution of the target layer.

    Example::

        >>> row = {"heatmap": [-2, 4], "heatmap_scale": 0.25, "heatmap_shape": [1, 2]}
        >>> raw_map(row).tolist()
        [[-0.5, 1.0]]

    Args:
        row: plain Python values, at least `columns`.

    Returns:
        float32 of shape ``heatmap_shape``, signed, in the method's own units.
    """
    shape = row[_SHAPE] if _SHAPE in row else [row[side] for side in _SIDES]
    cells = np.array(row["heatmap"], np.float32).reshape(shape)
    return heatmaps.dequantize(cells, row["heatmap_scale"], cells.ndim)


def heatmap(row: Mapping[str, Any], size: tuple[int, ...] | None = None) -> npt.NDArray[np.floating[Any]]:
    """The heatmap of a row of ``explanations`` over its whole image, as the metrics of the default protocol see it.

    Example::

        >>> row = {"heatmap": [-2, 4], "heatmap_scale": 0.25, "heatmap_shape": [1, 2]}
        >>> row |= {"image_width": 4, "image_height": 1, "view_x0": 0, "view_y0": 0, "view_x1": 4, "view_y1": 1}
        >>> heatmap(row).tolist()
        [[0.0, 0.25, 0.75, 1.0]]

    Args:
        row: plain Python values: `placed_columns`.
        size: of the heatmap, in the order of the array: ``(height, width)`` of a picture's; that of the image by
            default.

    Returns:
        float32 ``size`` in [0, 1]: negative evidence dropped, linear along each axis, least 0 and greatest 1; 0 where
        the model did not see the image, and for a constant map.
    """
    view, image_size = axis_columns.view_of(row), axis_columns.size_of(row)
    return heatmaps.heatmap(raw_map(row), size or image_size[::-1], view=view, image_size=image_size)


def encoded(
    blocks: Sequence[npt.NDArray[np.floating[Any]]],
    value_type: pa.DataType,
    rank: int = 2,
    volume_steps: int = heatmaps.INT16_STEPS,
) -> dict[str, Any]:
    """The columns of maps one block behind the other.

    Args:
        blocks: ``(L, *shape)`` each, raw and signed.
        value_type: int16 or float32.
        rank: axes of a map.
        volume_steps: as of `heatmaps.most_steps`.

    Raises:
        ValueError: if a value is not finite.
    """
    shapes = np.array([maps.shape[1:] for maps in blocks], np.int64).reshape(-1, rank)
    shapes = np.repeat(shapes, [len(maps) for maps in blocks], axis=0)
    flat = np.concatenate([np.zeros(0, np.float32), *(maps.reshape(-1) for maps in blocks)]).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(shapes.prod(axis=1))])
    if not np.isfinite(flat).all():
        raise ValueError("a heatmap holds NaN or infinity; it cannot be stored")
    cells: npt.NDArray[Any] = flat
    scales = np.ones(len(shapes), np.float32)
    if pa.types.is_integer(value_type):
        most: int | list[int] = heatmaps.INT16_STEPS
        if rank == 3:
            most = [heatmaps.most_steps(maps.shape[1:], volume_steps) for maps in blocks for _ in maps]
        cells, scales = quantize(flat, offsets, most)
    found = {"heatmap": _lists(offsets, cells, value_type), "heatmap_scale": scales}
    ends = np.arange(len(shapes) + 1) * rank
    found[_SHAPE] = _lists(ends, shapes.reshape(-1), pa.int32())
    return found | (dict(zip(_SIDES, shapes.T, strict=True)) if rank == 2 else {})


def _lists(offsets: npt.NDArray[np.integer[Any]], values: npt.NDArray[Any], value_type: pa.DataType) -> pa.ListArray:
    element = pa.list_(pa.field("element", value_type, nullable=False))
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, value_type), type=element)


def quantize(
    flat: Maps, offsets: npt.NDArray[np.integer[Any]], most: int | Sequence[int] = heatmaps.INT16_STEPS
) -> tuple[npt.NDArray[np.int16], Maps]:
    """`heatmaps.quantize` for maps of any size that lie one behind the other.

    A map that was quantized before gets the same steps and scale again, so that ``heatmap * scale`` is that map to the
    bit.

    Args:
        flat: float32, every cell of every map, finite.
        offsets: int (R + 1,), where each map starts, and the end of the last; no map is empty.
        most: steps either side of 0, of all maps or of each.

    Returns:
        int16 like `flat`, float32 ``(R,)`` scales. ``heatmap * scale`` is within half a scale of the map.
    """
    if not len(flat):
        return np.zeros(0, np.int16), np.zeros(len(offsets) - 1, np.float32)
    scales = heatmaps.step_size(np.maximum.reduceat(np.abs(flat), offsets[:-1]), most)
    counts = np.diff(offsets)
    of_cells = most if isinstance(most, int) else np.repeat(most, counts)
    steps = heatmaps.steps(flat, np.repeat(scales, counts), of_cells)
    return steps, _same_scales(flat, offsets, steps, scales)


def _same_scales(flat: Maps, offsets: npt.NDArray[np.integer[Any]], steps: npt.NDArray[np.int16], scales: Maps) -> Maps:
    """`scales`, or for a map that only a neighbouring float32 gives back to the bit, that neighbour.

    32767 * scale / 32767 is another float32 than scale for 256 of the 2^23 significands (checked on all of them).
    """
    exact = steps.astype(np.float32)

    def differs(candidates: Maps) -> npt.NDArray[np.bool_]:
        return np.logical_or.reduceat(exact * np.repeat(candidates, np.diff(offsets)) != flat, offsets[:-1])

    wrong = differs(scales)
    for direction in (-np.inf, np.inf):
        if wrong.any():
            neighbours = np.nextafter(scales, np.float32(direction))
            scales = np.where(wrong & ~differs(neighbours), neighbours, scales)
    return scales
