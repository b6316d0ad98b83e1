"""The four columns in which a table of explanations keeps its raw maps, written and read in one place.

``heatmap`` holds the cells of a map row by row from the top left, as 16-bit steps or as float32, and

    map = heatmap * heatmap_scale,  in float32, (heatmap_height, heatmap_width)

The scale of a map stored as float32 is 1. The rule of the steps is `heatmaps.quantize`'s.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from heatbeam.transforms import heatmaps
from heatbeam.transforms.tables import schemas

Maps = npt.NDArray[np.float32]
Ints = npt.NDArray[np.int64]

COLUMNS = ("heatmap", "heatmap_scale", "heatmap_height", "heatmap_width")
"""What a map takes, in the order of the table."""


class StoredMaps:
    """The maps of the rows of a table.

    Args:
        table: with `COLUMNS`.

    Attributes:
        sizes: int64 ``(R, 2)``, height and width of each row's map.
    """

    def __init__(self, table: pa.Table):
        self._cells = schemas.whole(table["heatmap"])
        self._scales = schemas.whole(table["heatmap_scale"]).to_numpy(zero_copy_only=False)
        sides = [schemas.whole(table[name]).to_numpy(zero_copy_only=False) for name in COLUMNS[2:]]
        self.sizes: Ints = np.column_stack(sides).astype(np.int64)

    def by_size(self) -> Iterator[Ints]:
        """The rows of each size of map, sizes in rising order."""
        for size in np.unique(self.sizes, axis=0):
            yield np.flatnonzero((self.sizes == size).all(axis=1))

    def cells(self, rows: Ints | slice) -> npt.NDArray[Any]:
        """The cells of N rows whose maps have one size, as they are stored: int16 or float32 ``(N, h, w)``.

        Args:
            rows: their numbers, or a slice without a step; N >= 1.
        """
        if isinstance(rows, slice):
            first = rows.start
            lists = self._cells.slice(first, rows.stop - first)
        else:
            first = rows[0]
            lists = self._cells.take(pa.array(rows))
        height, width = self.sizes[first].tolist()
        stored: npt.NDArray[Any] = lists.flatten().to_numpy(zero_copy_only=False)
        return stored.reshape(len(lists), height, width)

    def maps(self, rows: Ints | slice) -> Maps:
        """The raw maps of N rows whose maps have one size, signed: float32 ``(N, h, w)``; `rows` as of `cells`."""
        return heatmaps.dequantize(self.cells(rows), self._scales[rows])

    def each(self) -> list[Maps]:
        """The raw map of every row, float32 ``(h, w)``, of any size."""
        return [self.maps(slice(row, row + 1))[0] for row in range(len(self.sizes))]


def raw_map(row: Mapping[str, Any]) -> Maps:
    """The raw map of a row of ``explanations``, at the resolution of the target layer.

    Example::

        >>> row = {"heatmap": [-2, 4], "heatmap_scale": 0.25, "heatmap_height": 1, "heatmap_width": 2}
        >>> raw_map(row).tolist()
        [[-0.5, 1.0]]

    Args:
        row: plain Python values, at least `COLUMNS`.

    Returns:
        float32 ``(heatmap_height, heatmap_width)``, signed, in the method's own units.
    """
    cells = np.array(row["heatmap"], np.float32).reshape(row["heatmap_height"], row["heatmap_width"])
    return heatmaps.dequantize(cells, row["heatmap_scale"])


def heatmap(row: Mapping[str, Any], size: tuple[int, int] | None = None) -> npt.NDArray[np.floating[Any]]:
    """The heatmap of a row of ``explanations`` over its whole image, as the metrics of the default protocol see it.

    Example::

        >>> row = {"heatmap": [-2, 4], "heatmap_scale": 0.25, "heatmap_height": 1, "heatmap_width": 2}
        >>> row |= {"image_width": 4, "image_height": 1, "view_x0": 0, "view_y0": 0, "view_x1": 4, "view_y1": 1}
        >>> heatmap(row).tolist()
        [[0.0, 0.25, 0.75, 1.0]]

    Args:
        row: plain Python values: `COLUMNS`, the size of the image and the view.
        size: ``(height, width)`` of the heatmap; that of the image by default.

    Returns:
        float32 ``size`` in [0, 1]: negative evidence dropped, bilinear, least 0 and greatest 1; 0 where the model did
        not see the image, and for a constant map.
    """
    view = (row["view_x0"], row["view_y0"], row["view_x1"], row["view_y1"])
    image_size = (row["image_width"], row["image_height"])
    return heatmaps.heatmap(raw_map(row), size or image_size[::-1], view=view, image_size=image_size)


def encoded(blocks: Sequence[npt.NDArray[np.floating[Any]]], value_type: pa.DataType) -> dict[str, Any]:
    """`COLUMNS` of maps one block behind the other.

    Args:
        blocks: ``(L, h, w)`` each, raw and signed.
        value_type: int16 or float32.

    Raises:
        ValueError: if a value is not finite.
    """
    sizes = np.array([maps.shape[1:] for maps in blocks], np.int64).reshape(-1, 2)
    sizes = np.repeat(sizes, [len(maps) for maps in blocks], axis=0)
    flat = np.concatenate([np.zeros(0, np.float32), *(maps.reshape(-1) for maps in blocks)]).astype(np.float32)
    offsets = np.concatenate([[0], np.cumsum(sizes.prod(axis=1))])
    if not np.isfinite(flat).all():
        raise ValueError("a heatmap holds NaN or infinity; it cannot be stored")
    cells: npt.NDArray[Any] = flat
    scales = np.ones(len(sizes), np.float32)
    if pa.types.is_integer(value_type):
        cells, scales = quantize(flat, offsets)
    element = pa.list_(pa.field("element", value_type, nullable=False))
    lists = pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(cells, value_type), type=element)
    return dict(zip(COLUMNS, (lists, scales, sizes[:, 0], sizes[:, 1]), strict=True))


def quantize(flat: Maps, offsets: npt.NDArray[np.integer[Any]]) -> tuple[npt.NDArray[np.int16], Maps]:
    """`heatmaps.quantize` for maps of any size that lie one behind the other.

    A map that was quantized before gets the same steps and scale again, so that ``heatmap * scale`` is that map to the
    bit.

    Args:
        flat: float32, every cell of every map, finite.
        offsets: int (R + 1,), where each map starts, and the end of the last; no map is empty.

    Returns:
        int16 like `flat`, float32 ``(R,)`` scales. ``heatmap * scale`` is within half a scale of the map.
    """
    if not len(flat):
        return np.zeros(0, np.int16), np.zeros(len(offsets) - 1, np.float32)
    scales = heatmaps.step_size(np.maximum.reduceat(np.abs(flat), offsets[:-1]))
    steps = heatmaps.steps(flat, np.repeat(scales, np.diff(offsets)))
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
