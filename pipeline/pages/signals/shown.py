"""What is drawn of a signal: its values, the heat over all of it, its truth, and how its axes are called.

Shapes have the order of the array, ``(z, y, x)``; boxes are starts and then ends, x first, in samples of the original
signal (`records`). Heat lies in [0, 1] on a grid of any size that spans the whole signal.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from heatbeam.runs import shades
from heatbeam.transforms import records

Values = npt.NDArray[Any]
Floats = npt.NDArray[np.floating[Any]]
Pixels = npt.NDArray[np.uint8]
Box = tuple[float, ...]

LETTERS = ("z", "y", "x")
TIMES = frozenset({"time", "t", "frame", "frames"})
"""Names of the first of three axes that make a signal a clip rather than a volume."""

_COUNTED = frozenset({"", "px", "samples"})
_UNBROKEN = "\u00a0"


@dataclasses.dataclass(frozen=True, eq=False)
class Signal:
    """A signal to draw.

    Attributes:
        shape: of the original's positions, in the order of the array.
        axes: one per position axis, in the same order; see `records.plain_axes`.
        heat: in [0, 1], one axis per position axis; spans the whole signal.
        values: ``(*shape, channels)``; None where the original could not be read.
        true_boxes: intervals, boxes or cuboids of the truth.
        box: the estimated one, or None.
        channel_names: in order; empty without names.
        display: channels to show, from 0; empty for the default of the kind.
        mask: bool, of `shape`: where the truth is, sample by sample; None without masks.
    """

    shape: tuple[int, ...]
    axes: tuple[records.Axis, ...]
    heat: Floats
    values: Values | None = None
    true_boxes: tuple[Box, ...] = ()
    box: Box | None = None
    channel_names: tuple[str, ...] = ()
    display: tuple[int, ...] = ()
    mask: npt.NDArray[np.bool_] | None = None

    def __post_init__(self) -> None:
        """Refuse parts that do not belong together.

        Raises:
            ValueError: if the numbers of axes differ, or the values are of another shape.
        """
        rank = len(self.shape)
        if not 1 <= rank <= len(LETTERS) or len(self.axes) != rank or self.heat.ndim != rank:
            raise ValueError(
                f"the signal has shape {self.shape}, {len(self.axes)} axes and heat of shape {self.heat.shape};"
                " expected one, two or three axes, and as many of each"
            )
        if self.values is not None and self.values.shape[:-1] != self.shape:
            raise ValueError(f"the values have shape {self.values.shape}; expected {self.shape} and the channels")
        if self.mask is not None and self.mask.shape != self.shape:
            raise ValueError(f"the mask has shape {self.mask.shape}; expected {self.shape}")

    @property
    def kind(self) -> str:
        """How it is drawn, as `kind_of` says."""
        return kind_of(self.axes)

    @functools.cached_property
    def limits(self) -> tuple[float, float]:
        """What is drawn darkest and brightest of the values, as of `shades.limits`; 0 and 1 without values."""
        return (0.0, 1.0) if self.values is None else shades.limits(self.values)

    @property
    def letters(self) -> tuple[str, ...]:
        """The letter of each axis, in the order of the array."""
        return LETTERS[-len(self.shape) :]

    @property
    def peak(self) -> tuple[int, ...]:
        """The sample where the heat is greatest, in the order of the array; the middle of a map without evidence."""
        if not self.heat.max(initial=0) > 0:
            return tuple(size // 2 for size in self.shape)
        cell = np.unravel_index(int(self.heat.argmax()), self.heat.shape)
        return tuple(
            min(int((i + 0.5) * size / cells), size - 1)
            for i, size, cells in zip(cell, self.shape, self.heat.shape, strict=True)
        )

    def cell(self, axis: int, sample: int) -> int:
        """The cell of the heat that lies over a sample of an axis."""
        cells: int = self.heat.shape[axis]
        return min(int((sample + 0.5) * cells / self.shape[axis]), cells - 1)

    def name(self, axis: int) -> str:
        """What an axis is called: its name, or its letter."""
        return self.axes[axis].name or self.letters[axis]

    def where(self, axis: int, sample: int) -> str:
        """A sample of an axis in words: ``time 0.4 s (10 of 50)`` or ``z 12 of 32``, samples counted from 0."""
        counted = f"{sample} of {self.shape[axis]}".replace(" ", _UNBROKEN)
        if not measured(self.axes[axis]):
            return f"{self.name(axis)} {counted}"
        place = self.axes[axis].start + sample * self.axes[axis].step
        return f"{self.name(axis)} {place:.4g} {self.axes[axis].unit} ({counted})"

    def channel(self, number: int) -> str:
        """The name of a channel, or its number."""
        return self.channel_names[number] if number < len(self.channel_names) else f"channel {number}"

    def interval(self, box: Box, axis: int) -> tuple[float, float]:
        """Where a box starts and ends along an axis of the array, in samples."""
        rank = len(self.shape)
        return box[rank - 1 - axis], box[2 * rank - 1 - axis]


def kind_of(axes: Sequence[records.Axis]) -> str:
    """``series``, ``bands``, ``clip`` or ``volume``: what signals of these axes are."""
    if len(axes) < len(LETTERS):
        return ("series", "bands")[len(axes) - 1]
    return "clip" if axes[0].name.lower() in TIMES else "volume"


def measured(axis: records.Axis) -> bool:
    """Whether places along an axis are told in a unit, not as numbers of samples."""
    return axis.unit not in _COUNTED


def chosen_channels(signal: Signal, most: int) -> tuple[int, ...]:
    """The channels to draw: those of `Signal.display` that are there, else the first; at most `most`."""
    count = 0 if signal.values is None else signal.values.shape[-1]
    wanted = [i for i in signal.display if 0 <= i < count] or list(range(count))
    return tuple(wanted[:most])


def ticks(size: int, axis: records.Axis, most: int = 6) -> list[tuple[float, str]]:
    """Round places along an axis: ``(share of its length, number in the unit)``, at most `most`.

    Args:
        size: samples of the axis.
        axis: its unit, step and start.
        most: 2 or more.
    """
    length = size * axis.step
    if not (math.isfinite(length) and length > 0 and math.isfinite(axis.start)):
        return [(0.0, "0")]
    rough = length / (most - 1)
    power = 10 ** math.floor(math.log10(rough))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
    first, last = math.ceil(axis.start / step - 1e-9), math.floor((axis.start + length) / step + 1e-9)
    return [((i * step - axis.start) / length, f"{i * step:.6g}") for i in range(first, last + 1)]


def spread(count: int, size: int, always: int) -> tuple[int, ...]:
    """`count` samples in even steps over an axis, the nearest of them replaced by `always`, in order."""
    if size <= count:
        return tuple(range(size))
    even = [int((i + 0.5) * size / count) for i in range(count)]
    even[min(range(count), key=lambda i: abs(even[i] - always))] = always
    return tuple(sorted(even))


def same_unit(axes: Sequence[records.Axis]) -> bool:
    """Whether lengths of these axes may be held against each other."""
    return len({axis.unit for axis in axes}) == 1 and all(axis.step > 0 for axis in axes)
