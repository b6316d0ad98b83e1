"""Evaluation protocols: every convention that can change a localization number, in one place.

A protocol is data. It is chosen by name, used by `localization` and written into the manifest with `as_dict`.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from heatbeam.transforms import heatmaps


@dataclasses.dataclass(frozen=True)
class Protocol:
    """The conventions of one evaluation.

    The frame is the whole original image, scaled to `frame_px` x `frame_px` (aspect ratio lost, as in wsolevaluation);
    boxes, masks and heatmaps meet there. Only the pointing game works in pixels of the original image. Series and
    volumes have a frame of as many axes as they have (`frame_shape`).

    Attributes:
        name: of the protocol.
        frame_px: side of the frame, in cells.
        frame_volume_px: side of the frame of a volume. A frame of 224^3 cells would be 45 MB a map and seconds of
            components; 64^3 are five images' cells, and the maps of networks over volumes have 4 to 16 cells a side.
        interpolation: of the map to the frame.
        rectify: whether negative evidence is dropped, before resizing. Min-max scaling is always the last step.
        threshold_step: thresholds are 0, step, 2 step, ... < 1, relative to the map's maximum (boxes) or absolute
            (pixels). The heatmap is truncated to 8 bits and foreground is strictly above int(threshold * maximum).
        iou_limits: a box is right at or above these.
        hole_boxes: whether the boundary of a hole gives a box too, when all contours count (V2).
        clip_box_end: whether a box end, one past the last pixel, is kept at most at the last pixel of the frame.
        inclusive_iou: whether both ends of a box count as inside when its area is measured.
        truncate_truth: whether true boxes are cut to integers in the frame. Ends within 0.001 px of an integer of the
            original image are that integer first, so that fractions stored in float32 do not fall below it.
        origin_box: whether a map without foreground has the box 0 0 0 0, which can hit, rather than none.
        box_threshold: of the stated box and of GT-known localization, relative to the map's maximum.
        mask_threshold: heatmap value at or above which a pixel counts as object in the per-image mask IoU.
        point_tolerance_px: a point hits if an object pixel is nearer than this (Euclidean, in samples, strictly).
    """

    name: str
    frame_px: int
    interpolation: heatmaps.Interpolation
    rectify: bool
    threshold_step: float
    iou_limits: tuple[float, ...]
    hole_boxes: bool
    clip_box_end: bool
    inclusive_iou: bool
    truncate_truth: bool
    origin_box: bool
    box_threshold: float
    mask_threshold: float
    point_tolerance_px: float
    frame_volume_px: int = 64

    def frame_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """The cells of the frame of an image, along each axis of its array.

        An image and a series have `frame_px` a side. So has a volume along the axes of more than one sample, where it
        has an axis of one, which has one cell: a volume of depth 1 is measured as the image that it is. Other volumes
        have `frame_volume_px` a side::

            >>> DEFAULT.frame_shape((480, 640)), DEFAULT.frame_shape((1, 480, 640)), DEFAULT.frame_shape((32, 48, 64))
            ((224, 224), (1, 224, 224), (64, 64, 64))

        Args:
            shape: of the original image, in samples, without channels.
        """
        if len(shape) < 3:
            return (self.frame_px,) * len(shape)
        side = self.frame_px if 1 in shape else self.frame_volume_px
        return tuple(1 if length == 1 else side for length in shape)

    def is_coarse(self, shape: tuple[int, ...]) -> bool:
        """Whether the frame has `frame_volume_px` a side: small objects may then lie between the centres of its cells.

        They keep the cells that they lie in, or a tumour of a few samples would have no cell that a map could hit.
        """
        return len(shape) == 3 and 1 not in shape

    def as_dict(self, rank: int = 2) -> dict[str, Any]:
        """Plain values for the manifest of a run over inputs of so many position axes."""
        values = dataclasses.asdict(self)
        if rank < 3:
            del values["frame_volume_px"]
        values["iou_limits"] = list(self.iou_limits)
        values["heatmap"] = ", ".join(["positive"] * self.rectify + ["resize to the frame", "min_max", "8 bits"])
        values["box_ends"] = "inclusive" if self.inclusive_iou else "exclusive"
        return values


WSOLEVALUATION = Protocol(
    name="wsolevaluation",
    frame_px=224,
    interpolation="bicubic",
    rectify=False,
    threshold_step=0.001,
    iou_limits=(0.3, 0.5, 0.7),
    hole_boxes=True,
    clip_box_end=True,
    inclusive_iou=True,
    truncate_truth=True,
    origin_box=True,
    box_threshold=0.2,
    mask_threshold=0.2,
    point_tolerance_px=15,
)
"""What clovaai/wsolevaluation does (Choe et al., CVPR 2020, arXiv:2001.07437), to the count.

Negative evidence stays: the map is min-max scaled as it is, so "no evidence" lies somewhere inside [0, 1].
"""

DEFAULT = dataclasses.replace(
    WSOLEVALUATION,
    name="default",
    interpolation="bilinear",
    rectify=True,
    hole_boxes=False,
    clip_box_end=False,
    inclusive_iou=False,
    truncate_truth=False,
    origin_box=False,
)
"""The same metrics without the accidents of an implementation.

Negative evidence is dropped first, as the papers of the CAM family define their maps (Selvaraju et al., ICCV 2017,
eq. 2): a threshold then is a share of the strongest evidence, and one strongly negative corner cannot move it. Bilinear
resizing does not overshoot, so the peak stays where a cell has it. Boxes are continuous rectangles: ends are exclusive,
areas have no +1, truth is not truncated, a hole is not an object, and a blank map has no box.
"""

TORCHRAY = dataclasses.replace(DEFAULT, name="torchray")
"""`DEFAULT`, whose pointing game is TorchRay's already (Fong et al., ICCV 2019): bilinear map at the size of the image,
first maximum row by row, disc of 15 pixels, objects marked difficult kept unless all of the class are.

TorchRay defines no box or mask metric; those are `DEFAULT`'s.
"""

PROTOCOLS = {protocol.name: protocol for protocol in (DEFAULT, WSOLEVALUATION, TORCHRAY)}


def get(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: for an unknown name.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"protocol is {name!r}; expected one of {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
