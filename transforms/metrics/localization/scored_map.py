"""A map, and the ground truth of the class that it is about: what the columns of localization are measured on.

Nothing is measured here that not several metrics ask for; what a map needs for one of them is found when it is first
asked for.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import kept, protocols
from heatbeam.transforms.metrics.localization import box_accuracy, boxes, frames

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """The ground truth of one class of an image. *Frame* is the shape of the image's frame, as many axes as it has.

    Attributes:
        boxes: float64 ``(N, 4)`` in pixels of the original image, N >= 1; None if the class has none.
        frame_boxes: the same in the frame.
        difficult: whether all of the class's boxes are marked difficult.
        masks: bool ``(M, H, W)``, the masks of the class at the size of the original image; None if it has none.
        inside, scored: bool *frame*, of the masks; None without masks.
        region: bool *frame*, the object: masks where there are any, filled boxes otherwise; or None.

    What else is asked of the truth for every map is found once, when it is first asked.
    """

    boxes: Floats | None = None
    frame_boxes: Floats | None = None
    difficult: bool = False
    masks: npt.NDArray[np.bool_] | None = None
    inside: Bools | None = None
    scored: Bools | None = None
    region: Bools | None = None

    @kept.Kept
    def area(self) -> float:
        """Share of the frame that the region covers; NaN without one."""
        return math.nan if self.region is None else int(np.count_nonzero(self.region)) / self.region.size

    @kept.Kept
    def pixel_ranges(self) -> list[list[int]]:
        """`boxes.pixel_ranges` of the boxes, as lists."""
        found: list[list[int]] = [] if self.boxes is None else boxes.pixel_ranges(self.boxes).tolist()
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class Framed:
    """One map in the frame of a protocol, as far as it does not depend on the ground truth.

    Attributes:
        raw: ``(h, w)``, or with as many axes as the image has, signed, over `source`'s view.
        source: of the image.
        protocol: of the frame.
    """

    raw: npt.NDArray[np.floating]
    source: records.Source
    protocol: protocols.Protocol

    @kept.Kept
    def frame(self) -> frames.Frame:
        """The map on its own scale, in [0, 1] and in 8 bits, of the frame's shape each."""
        return frames.frame(self.raw, self.source, self.protocol)

    @property
    def heatmap(self) -> npt.NDArray[np.floating]:
        """Of the frame's shape, in [0, 1]."""
        return self.frame.heatmap

    @kept.Kept
    def found(self) -> box_accuracy.LevelBoxes:
        """Its boxes at every level."""
        return box_accuracy.level_boxes(self.frame.image, hole_boxes=self.protocol.hole_boxes)

    @kept.Kept
    def evidence(self) -> npt.NDArray[np.floating]:
        """Of the frame's shape, on its own scale.

        Only what is above 0 counts: bicubic resizing overshoots below 0, and what the model did not see is NaN.
        """
        if self.protocol.rectify:
            return self.frame.placed
        source, how = self.source, self.protocol.interpolation
        size = self.frame.heatmap.shape
        return heatmaps.place(heatmaps.positive(self.raw), size, source.view, source.size, how)

    @kept.Kept
    def finite(self) -> bool:
        """Whether all cells of the raw map are."""
        return bool(np.isfinite(self.raw).all())


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredMap:
    """One map against the ground truth of its class.

    Attributes:
        framed: the map.
        source: of the image.
        truth: of the explained class.
        protocol: the conventions.
        point: pixel ``(x, y)`` of the original image where the map is strongest, x first, if it is known already.
    """

    framed: Framed
    source: records.Source
    truth: Truth
    protocol: protocols.Protocol
    point: tuple[int, ...] | None = None

    @kept.Kept
    def box_scores(self) -> tuple[float, Bools] | None:
        """IoU at the fixed threshold and hits at all of them (`box_accuracy.protocol_scores`); None without boxes."""
        if self.truth.frame_boxes is None:
            return None
        return box_accuracy.protocol_scores(self.framed.found, self.truth.frame_boxes, self.protocol)
