"""How a data set writes boxes: units, order of the four numbers, the number of the first pixel, and where a box ends.

Inside heatbeam there is one convention: ``x0 y0 x1 y1``, in pixels of the original image, counted from 0, ends
exclusive, so that a box over a whole image is ``0 0 width height``. A convention brings a data set's boxes there in two
steps, for the size of an image is known only when it is decoded: `corners` when a record is read, `pixels` then.

Series have intervals of two numbers and volumes boxes of six (`records`): the same words mean the same there, with as
many starts, ends or sizes as there are axes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Mapping
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import errors, records

Units = Literal["fractions", "pixels", "axis"]
Order = Literal["yxyx", "xyxy", "xywh", "cxcywh"]
Origin = Literal[0, 1]
End = Literal["exclusive", "inclusive"]
UNITS: tuple[Units, ...] = ("fractions", "pixels")
"""Those that need no scale of the axes."""

ORDERS: tuple[Order, ...] = get_args(Order)
ENDS: tuple[End, ...] = get_args(End)

Boxes = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class BoxConvention:
    """What the numbers of a box mean.

    Pascal VOC's annotations number pixels from 1, and the last one is part of the box::

        >>> voc = BoxConvention("pixels", "xyxy", origin=1)
        >>> voc.pixels(voc.corners(np.array([[1.0, 1.0, 640.0, 480.0]])), (640, 480)).tolist()
        [[0.0, 0.0, 640.0, 480.0]]

    Intervals in seconds, of a signal of 250 samples a second::

        >>> beats = BoxConvention("axis", rank=1, axes=(records.Axis("time", "s", step=0.004),))
        >>> beats.corners(np.array([[0.5, 1.0]])).tolist()
        [[125.0, 250.0]]

    Attributes:
        units: ``fractions`` of the image's width and height, ``pixels`` (samples) of the original image, or those of
            its ``axis``: seconds, millimetres.
        order: ``yxyx`` and ``xyxy`` are two corners, ``xywh`` the upper left corner, width and height, ``cxcywh`` the
            middle, width and height. On one and three axes they are the same with ``x`` alone and with ``z``:
            ``zyxzyx`` in the order of the array, ``xyzxyz``, and so on.
        origin: number of the first column and row; fractions may be those of a number that starts at 1.
        end: whether the right and lower corner is the first pixel behind the box (``exclusive``) or its last one
            (``inclusive``); None for ``inclusive`` where pixels are numbered from 1, else ``exclusive``. Not for orders
            that give width and height.
        rank: position axes, 1 to 3.
        axes: in the order of the array, for units of the ``axis``.

    Raises:
        errors.UsageError: a value is none of these, or an end is given where there is a width.
    """

    units: Units = "fractions"
    order: Order = "yxyx"
    origin: Origin = 0
    end: End | None = None
    rank: int = 2
    axes: tuple[records.Axis, ...] = ()

    def __post_init__(self) -> None:
        problems = [
            f"box_{name} must be one of {', '.join(map(str, known))}; got {getattr(self, name)!r}"
            for name, known in (
                ("units", get_args(Units)),
                ("order", ORDERS),
                ("origin", (0, 1)),
                ("end", (*ENDS, None)),
            )
            if getattr(self, name) not in known
        ]  # fmt: skip
        if self.end is not None and self.has_sizes:
            problems.append(f"box_end says where corners end; box_order {self.order} gives width and height")
        if self.units == "axis" and len(self.axes) != self.rank:
            problems.append(f"box_units: axis needs the step of each of {self.rank} axes; got {len(self.axes)}")
        if any(not axis.step > 0 for axis in self.axes):
            problems.append(f"the step of an axis must be above 0; got {[axis.step for axis in self.axes]}")
        if problems:
            raise errors.UsageError("; ".join(problems))

    @property
    def has_sizes(self) -> bool:
        """Whether the last two numbers are width and height."""
        return self.order in ("xywh", "cxcywh")

    @property
    def shift_px(self) -> tuple[int, int]:
        """What is added to starts and to ends, in pixels, to count from 0 with exclusive ends."""
        inclusive = self.end == "inclusive" or (self.end is None and self.origin == 1 and not self.has_sizes)
        return -self.origin, int(inclusive) - self.origin

    @functools.cached_property
    def of_named_sides(self) -> BoxConvention:
        """That of boxes whose sides are named, which is all the order that two corners have."""
        return self if self.has_sizes else dataclasses.replace(self, order="xyxy")

    @functools.cached_property
    def array_order(self) -> tuple[int, ...]:
        """Which numbers make corners in the order of the array, ``y0 x0 y1 x1``, those ``x0 y0 x1 y1``; and back."""
        starts = tuple(range(self.rank))[::-1]
        return (*starts, *(self.rank + axis for axis in starts))

    @property
    def _scale(self) -> tuple[Boxes, Boxes]:
        """For each number of a box, where its axis starts, and its step; of units of the ``axis`` only."""
        start, step = np.array([(axis.start, axis.step) for axis in self.axes[::-1]] * 2, np.float64).T
        return start, step

    def corners(self, rows: Boxes) -> Boxes:
        """Boxes as stored, as ``x0 y0 x1 y1``, pixels numbered as they were.

        Args:
            rows: ``(N, 4)``, in general ``(N, 2 rank)``.

        Returns:
            The same shape, in fractions or in pixels: those of an axis become pixels.
        """
        found = rows
        if self.order == "yxyx":
            found = rows[:, self.array_order]
        elif self.has_sizes:
            start, size = rows[:, : self.rank], rows[:, self.rank :]
            with np.errstate(invalid="ignore", over="ignore"):  # what is not finite stays so
                if self.order == "cxcywh":
                    start = start - size / 2
                found = np.concatenate([start, start + size], axis=1)
        if self.units == "axis":
            first, step = self._scale
            with np.errstate(invalid="ignore", over="ignore"):
                found = (found - first) / step
        return found

    def pixels(self, corners: Boxes, size: tuple[int, ...]) -> Boxes:
        """What `corners` gives, in pixels from 0, ends exclusive; neither rounded nor clipped.

        Args:
            corners: float64 ``(N, 4)``.
            size: ``(width, height)`` of the image.
        """
        return pixels(corners, size, self.units != "fractions", self.shift_px)

    def as_stored(self, pixels: Boxes, size: tuple[int, ...]) -> Boxes:
        """The reverse: boxes in pixels from 0, ends exclusive, as a data set of this convention writes them.

        Args:
            pixels: float64 ``(N, 4)``, ``x0 y0 x1 y1``.
            size: ``(width, height)`` of the image.
        """
        start, end = self.shift_px
        sides = np.array([*size, *size], np.float64) if self.units == "fractions" else 1.0
        shift = np.array([start] * self.rank + [end] * self.rank, np.float64)
        return self.rows((pixels - shift) / sides)

    def rows(self, corners: Boxes) -> Boxes:
        """The reverse of `corners`."""
        if self.units == "axis":
            first, step = self._scale
            with np.errstate(invalid="ignore", over="ignore"):
                corners = corners * step + first
        if self.order == "yxyx":
            return corners[:, self.array_order]
        if self.order == "xyxy":
            return corners
        with np.errstate(invalid="ignore", over="ignore"):
            sizes = corners[:, self.rank :] - corners[:, : self.rank]
            starts = corners[:, : self.rank]
            first = starts + sizes / 2 if self.order == "cxcywh" else starts
            return np.concatenate([first, sizes], axis=1)

    def in_words(self) -> str:
        """The settings that say it, as of a configuration; those at their default are left out, but for units."""
        said = [f"box_units: {self.units}", f"box_order: {self.order}"]
        said += [f"box_origin: {self.origin}"] if self.origin else []
        said += [f"box_end: {self.end}"] if self.end else []
        return ", ".join(said)


USUAL = BoxConvention()
"""That of the TensorFlow Object Detection API and of TFDS."""


def pixels(corners: Boxes, size: tuple[int, ...], are_pixels: bool, shift_px: tuple[int, int]) -> Boxes:
    """As `BoxConvention.pixels`, by what an `EncodedExample` has of the convention."""
    sides = np.array([*size, *size], np.float64)
    start, end = shift_px
    shift = np.array([start] * len(size) + [end] * len(size), np.float64)
    with np.errstate(invalid="ignore", over="ignore"):  # what is not finite stays so
        found: Boxes = (corners if are_pixels else corners * sides) + shift
    return found


KNOWN: Mapping[str, BoxConvention] = {
    "TensorFlow Object Detection API, TFDS (default)": USUAL,
    "TensorFlow Object Detection API and TFDS of Pascal VOC": BoxConvention(origin=1),
    "Pascal VOC, its XML": BoxConvention("pixels", "xyxy", 1),
    "COCO, its JSON": BoxConvention("pixels", "xywh"),
    "torchvision, Detectron2": BoxConvention("pixels", "xyxy"),
    "YOLO, its text files": BoxConvention("fractions", "cxcywh"),
    "wsolevaluation (CUB, ILSVRC, OpenImages)": BoxConvention("pixels", "xyxy", end="inclusive"),
}
"""Conventions of well-known data sets and tools."""

_EXAMPLE_SIZE = (640, 480)
_EXAMPLE = np.array([[0.0, 0.0, 640.0, 480.0], [160.0, 120.0, 480.0, 240.0]])


def table() -> Iterator[tuple[str, ...]]:
    """A row for each of `KNOWN`: its name, the four settings, and two boxes as it writes them.

    The boxes are those of the whole of an image of 640 x 480 pixels, and of its pixels from column 160 to 479 and row
    120 to 239, counted from 0.
    """
    for name, one in KNOWN.items():
        end = "has sizes" if one.has_sizes else "inclusive" if one.shift_px[1] > one.shift_px[0] else "exclusive"
        whole, part = (
            " ".join(f"{number:.5g}" for number in row) for row in one.as_stored(_EXAMPLE, _EXAMPLE_SIZE).tolist()
        )
        yield name, one.units, one.order, str(one.origin), end, whole, part
