"""Pictures cut out of a signal of three axes: the planes through the peak of a volume, and the frames of a clip.

A box is drawn in a slice where it holds any part of the slice's samples: sample `k` reaches from `k` to `k + 1`.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from heatbeam.pages.signals import shown
from heatbeam.runs import shades

FRAMES = 6
"""Frames of a clip that are shown at once."""

_LONGEST = 6.0
"""A slice is drawn at most so many times longer than wide."""

Rectangle = tuple[float, float, float, float]


@dataclasses.dataclass(frozen=True, eq=False)
class Slice:
    """One plane of a signal.

    Attributes:
        size: ``(width, height)`` in samples.
        ratio: width by height as drawn, by the steps of the axes where these have one unit.
        heat: in [0, 1], over all of the plane.
        pixels: uint8 ``(height, width, 3)``; None without the original.
        true_boxes: what the plane cuts of them, ``x0 y0 x1 y1`` in its samples.
        box: of the estimated one, or None.
        label: which plane it is.
        mark: whether it is the one with the greatest evidence.
        cuts: ``(x, y)``, the sample at which other planes cut this one; None if none do.
        turned: which axis goes to the right and which down, in words; empty where that is plain.
        mask: what the plane cuts of the true mask; None where it holds none of it.
    """

    size: tuple[int, int]
    ratio: float
    heat: shown.Floats
    pixels: shown.Pixels | None
    true_boxes: tuple[Rectangle, ...]
    box: Rectangle | None
    label: str
    mark: bool = False
    cuts: tuple[int, int] | None = None
    turned: str = ""
    mask: npt.NDArray[np.bool_] | None = None


def planes(signal: shown.Signal) -> list[Slice]:
    """The three planes of a volume through its peak: across z, y and x, each with the later axis to the right."""
    peak = signal.peak
    found = []
    for axis in range(3):
        down, across = (i for i in range(3) if i != axis)
        turned = f"{signal.name(across)} right, {signal.name(down)} down"
        one = cut(signal, axis, peak[axis])
        found.append(dataclasses.replace(one, cuts=(peak[across], peak[down]), turned=turned))
    return found


def frames(signal: shown.Signal, count: int = FRAMES) -> list[Slice]:
    """`count` frames of a clip in even steps, among them the one with the peak, which is marked."""
    hottest = signal.peak[0]
    blank = not signal.heat.max(initial=0) > 0
    return [
        dataclasses.replace(cut(signal, 0, k), mark=k == hottest and not blank)
        for k in shown.spread(count, signal.shape[0], hottest)
    ]


def cut(signal: shown.Signal, axis: int, sample: int) -> Slice:
    """The plane across `axis` (of the array) at a sample."""
    down, across = (i for i in range(3) if i != axis)
    height, width = signal.shape[down], signal.shape[across]
    ratio = width / height
    if shown.same_unit((signal.axes[down], signal.axes[across])):
        ratio *= signal.axes[across].step / signal.axes[down].step
    true_boxes = (rectangle(signal, box, axis, sample) for box in signal.true_boxes)
    return Slice(
        size=(width, height),
        ratio=min(max(ratio, 1 / _LONGEST), _LONGEST),
        heat=np.take(signal.heat, signal.cell(axis, sample), axis),
        pixels=None if signal.values is None else picture(signal, signal.values.take(sample, axis)),
        true_boxes=tuple(one for one in true_boxes if one is not None),
        box=None if signal.box is None else rectangle(signal, signal.box, axis, sample),
        label=signal.where(axis, sample),
        mask=_mask(signal, axis, sample),
    )


def _mask(signal: shown.Signal, axis: int, sample: int) -> npt.NDArray[np.bool_] | None:
    if signal.mask is None:
        return None
    plane = np.asarray(signal.mask.take(sample, axis))
    return plane if plane.any() else None


def rectangle(signal: shown.Signal, box: shown.Box, axis: int, sample: int) -> Rectangle | None:
    """What the plane across `axis` at a sample cuts of a box; None where it passes by."""
    start, end = signal.interval(box, axis)
    if not (start < sample + 1 and end > sample):
        return None
    down, across = (signal.interval(box, i) for i in range(3) if i != axis)
    return across[0], down[0], across[1], down[1]


def picture(signal: shown.Signal, plane: shown.Values) -> shown.Pixels:
    """A plane of values as a picture, on the scale of the whole signal: colour of three channels, else grey.

    Args:
        signal: whose `shown.Signal.limits` and channels are used.
        plane: ``(height, width, channels)``.
    """
    chosen = shades.colour_channels(plane.shape[-1], signal.display)
    return shades.bytes_of(plane[..., list(chosen)], *signal.limits)
