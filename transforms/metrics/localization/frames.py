"""A map in the frame of a protocol: on its own scale, as a heatmap in [0, 1], and in 8 bits.

The same as `heatmaps.heatmap` and `box_accuracy.to_bytes`, to the bit, in fewer passes over the pixels.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.metrics.localization import box_accuracy

Floats = npt.NDArray[np.floating]


@dataclasses.dataclass(frozen=True, eq=False)
class Frame:
    """One map over the whole original image, of the frame's shape (`protocols.Protocol.frame_shape`) each.

    Attributes:
        placed: the map on its own scale, as `heatmaps.place` gives it; NaN where the model did not see the image.
        heatmap: in [0, 1].
        image: uint8, the heatmap in 8 bits.
    """

    placed: Floats
    heatmap: Floats
    image: npt.NDArray[np.uint8]


def frame(raw: Floats, source: records.Source, protocol: protocols.Protocol) -> Frame:
    """Bring one raw map ``(h, w)``, signed, over `source`'s view, into the frame of a protocol.

    A map has as many axes as its image has.
    """
    size = protocol.frame_shape(source.shape)
    shown = heatmaps.positive(raw) if protocol.rectify else raw
    placed = heatmaps.place(shown, size, source.view, source.size, protocol.interpolation)
    if placed.dtype == np.float32:
        usable, heatmap, image = _scaled(placed.reshape(-1, size[-1]), shown.flatten())
        if usable:
            return Frame(placed, heatmap.reshape(size), image.reshape(size))
    heatmap = heatmaps.scaled(placed, bool(np.isfinite(shown).all()))
    return Frame(placed, heatmap, box_accuracy.to_bytes(heatmap))


@compiled.short
def _scaled(
    placed: npt.NDArray[np.float32], cells: npt.NDArray[np.float32]
) -> tuple[bool, npt.NDArray[np.float32], npt.NDArray[np.uint8]]:
    """`Frame.heatmap` and `Frame.image`, and whether they are: not of a map that is constant, or NaN somewhere.

    Args:
        placed: `Frame.placed`, as rows.
        cells: what was placed, flat.
    """
    heatmap, image = np.empty(placed.shape, np.float32), np.empty(placed.shape, np.uint8)
    for cell in range(len(cells)):
        if not np.isfinite(cells[cell]):
            return False, heatmap, image
    # As integers that have the floats' order, a vector finds the least and the greatest: no NaN has to be looked for.
    bits = placed.view(np.int32).reshape(-1)
    least, most = np.int32(2**31 - 1), np.int32(-(2**31))
    for i in range(len(bits)):
        order = bits[i] ^ ((bits[i] >> np.int32(31)) & np.int32(2**31 - 1))
        least, most = min(least, order), max(most, order)
    ends = np.empty(2, np.int32)
    ends[0] = least ^ ((least >> np.int32(31)) & np.int32(2**31 - 1))
    ends[1] = most ^ ((most >> np.int32(31)) & np.int32(2**31 - 1))
    floats = ends.view(np.float32)
    low, span = floats[0], floats[1] - floats[0]
    if not (np.isfinite(low) and np.isfinite(span) and span > 0):
        return False, heatmap, image
    for y in range(placed.shape[0]):
        row, shares, steps = placed[y], heatmap[y], image[y]
        for x in range(placed.shape[1]):
            share = (row[x] - low) / span
            shares[x] = share
            steps[x] = np.uint8(np.int32(share * np.float32(255)))  # by way of 32 bits: vectors convert to no others
    return True, heatmap, image
