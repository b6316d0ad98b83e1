"""Whether the boxes of a few records are what the settings say of them, or fit another convention better."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Sequence

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.sources import box_conventions, feature_map

_OUTSIDE_PX = 1.0
_LEAST_SIDE_PX = 0.999
"""A box of less than a pixel is none: fractions that are read as pixels look so."""
_WHOLE_PX = 0.02
_MOST_FIT = 0.9
_EDGES = 2
"""So many boxes at an edge of their images are evidence of how pixels are numbered."""
_SHOWN = 3


@dataclasses.dataclass(frozen=True, eq=False)
class StoredBoxes:
    """The boxes of an image.

    Attributes:
        rows: float64 ``(N, 4)``, in general ``(N, 2 rank)``, as they are stored.
        size: ``(width, height)`` of the image, x first.
    """

    rows: np.ndarray
    size: tuple[int, ...]


def convention_of(features: feature_map.FeatureMap) -> box_conventions.BoxConvention:
    """The convention of boxes; where each side has a feature, corners have no order but that of the features here."""
    given = features.box_convention
    by_sides = features.boxes is None and not given.has_sizes
    return dataclasses.replace(given, order="xyxy") if by_sides else given


def stored_boxes(
    encoded: Sequence[records.EncodedExample],
    examples: Sequence[records.Example],
    convention: box_conventions.BoxConvention,
) -> list[StoredBoxes]:
    """The boxes of records that were read by a convention, as they are stored.

    Args:
        encoded: the records.
        examples: the same, decoded.
        convention: `convention_of` the features by which they were read.
    """
    return [
        StoredBoxes(convention.rows(one.boxes), example.source.size)
        for one, example in zip(encoded, examples, strict=True)
        if one.boxes is not None and len(one.boxes)
    ]


def warnings(
    given: box_conventions.BoxConvention, boxes: Sequence[StoredBoxes], *, by_sides: bool = False
) -> Iterator[str]:
    """What speaks for another convention than the `given` one: a line for each kind of evidence.

    Args:
        given: `convention_of` the features.
        boxes: as stored.
        by_sides: whether each side has a feature of its own.
    """
    count = sum(len(one.rows) for one in boxes)
    if not count:
        return
    fitting = _fitting(given, boxes)
    better = {}
    if fitting < count:
        units_known: tuple[box_conventions.Units, ...] = (*box_conventions.UNITS, *(("axis",) if given.axes else ()))
        others = (
            box_conventions.BoxConvention(units, order, rank=given.rank, axes=given.axes)
            for units, order in itertools.product(units_known, box_conventions.ORDERS)
            if (units, order) != (given.units, given.order) and not ((by_sides or given.rank == 1) and order == "yxyx")
        )
        better = {other: _fitting(other, boxes) for other in others}
    most = max(better.values(), default=0)
    if most > fitting and most >= _MOST_FIT * count:
        best = [other for other, fits in better.items() if fits == most]
        best.sort(key=lambda other: (other.units != given.units) + (other.order != given.order))
        listed = " or ".join(f"({other.in_words()})" for other in best[:_SHOWN])
        yield (
            f"of {count} boxes {fitting} lie in their images and have an area as input says ({given.in_words()}), and "
            f"{most} do with {listed}"
        )
        return
    yield from _numbering(given, boxes)


def _fitting(convention: box_conventions.BoxConvention, boxes: Sequence[StoredBoxes]) -> int:
    """How many boxes lie in their images and have sides of at least a pixel."""
    fitting = 0
    for one in boxes:
        pixels = convention.pixels(convention.corners(one.rows), one.size)
        starts, ends = np.split(pixels, 2, axis=1)
        inside = (starts >= -_OUTSIDE_PX) & (ends <= np.array(one.size) + _OUTSIDE_PX)
        with np.errstate(invalid="ignore"):
            sides = ends - starts >= _LEAST_SIDE_PX
        fitting += int((inside & sides).all(axis=1).sum())
    return fitting


def _numbering(given: box_conventions.BoxConvention, boxes: Sequence[StoredBoxes]) -> Iterator[str]:
    """Evidence of the first and the last pixel: boxes at the edges of their images, in whole pixels."""
    plain = dataclasses.replace(given, origin=0, end=None)
    corners = [plain.pixels(plain.corners(one.rows), one.size) for one in boxes]
    starts = np.concatenate([np.split(one, 2, axis=1)[0].ravel() for one in corners])
    ends = zip((np.split(one, 2, axis=1)[1] for one in corners), boxes, strict=True)
    behind = np.concatenate([(one - np.array(of.size)).ravel() for one, of in ends])
    if not np.isfinite(starts).all() or np.abs(starts - np.rint(starts)).max() > _WHOLE_PX:
        return
    at_zero, at_one = (int((np.abs(starts - number) < _WHOLE_PX).sum()) for number in (0, 1))
    if given.origin == 1 and at_zero:
        yield f"{at_zero} edges of boxes are at column or row 0: input.box_origin: 0 fits better than 1"
    elif given.origin == 0 and at_one >= _EDGES and starts.min() > 1 - _WHOLE_PX:
        yield (
            f"no box starts at column or row 0, and {at_one} edges are at 1: input.box_origin: 1 fits better, as in "
            "Pascal VOC"
        )
    elif given.origin == 0 and not given.has_sizes:
        yield from _ends(given, behind)


def _ends(given: box_conventions.BoxConvention, behind: np.ndarray) -> Iterator[str]:
    """Evidence of the last pixel, of right and lower edges from the size of their image."""
    at_size, at_last = (int((np.abs(behind - number) < _WHOLE_PX).sum()) for number in (0, -1))
    if given.end == "inclusive" and at_size:
        yield f"{at_size} edges of boxes are behind the last pixel: input.box_end: exclusive fits better"
    elif given.end != "inclusive" and at_last >= _EDGES and behind.max() < -1 + _WHOLE_PX:
        yield (
            f"no box ends behind the last column or row, and {at_last} edges are at the last: input.box_end: inclusive "
            "fits better"
        )
