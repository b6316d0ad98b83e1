"""Everything that is measured on the heatmaps of one image: the columns of its rows, and what adds up over a dataset.

`localize` is the one entry. The conventions come from a `protocols.Protocol`; nothing here has defaults of its own.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Collection, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import (
    box_accuracy,
    boxes,
    energy,
    frames,
    map_statistics,
    pixel_precision_recall,
    pointing_game,
    protocols,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

GT_KNOWN_IOU = 0.5
"""A box at the fixed threshold is right at or above this IoU."""

STATISTICS = map_statistics.NAMES
BOX_COLUMNS = ("box_iou", "box_hit")
POINT_COLUMNS = ("pointing_hit",)
ENERGY_COLUMNS = ("energy_share", "energy_area", "energy_gain")
MASK_COLUMNS = ("mask_iou",)

GROUPS: dict[str, tuple[str, ...]] = {
    "statistics": STATISTICS,
    "boxes": BOX_COLUMNS,
    "pointing": POINT_COLUMNS,
    "energy": ENERGY_COLUMNS,
    "masks": MASK_COLUMNS,
}
"""The columns of each group of metrics; `localize` measures the groups it is given."""


@dataclasses.dataclass(frozen=True, eq=False)
class Evidence:
    """What one heatmap adds to the numbers of a dataset; input of `summary.MetricState.add`.

    Attributes:
        class_id: the explained class.
        values: name -> number, all finite; a metric without ground truth is absent.
        box_hits: bool ``(2, limits, thresholds)`` of `box_accuracy.box_hits`, or None without boxes of the class.
        pixels: int64 ``(2, bins)`` of `pixel_precision_recall.histogram`, or None without masks.
    """

    class_id: int
    values: Mapping[str, float]
    box_hits: Bools | None = None
    pixels: npt.NDArray[np.int64] | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Scores:
    """What was measured on the L heatmaps of one method for one image.

    Attributes:
        boxes: float64 ``(L, 4)``, box of the largest contour at the protocol's ``box_threshold``, in pixels of the
            original image, end exclusive; NaN where the map gives none.
        values: ``(column, float64 (L,))`` pairs, the columns of the groups that were asked for; NaN where missing.
        health: names of the health flags of each map; none if statistics are not asked for.
        evidence: one per class.
    """

    boxes: Floats
    values: tuple[tuple[str, Floats], ...]
    health: tuple[tuple[str, ...], ...]
    evidence: tuple[Evidence, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class Truth:
    """The ground truth of one class of an image.

    Attributes:
        boxes: float64 ``(N, 4)`` in pixels of the original image, N >= 1; None if the class has none.
        frame_boxes: the same in the frame.
        difficult: whether all of the class's boxes are marked difficult.
        masks: bool ``(H, W)`` masks of the class at the size of the original image; None if it has none.
        inside, scored: bool ``(frame, frame)`` of the masks; None without masks.
        region: bool ``(frame, frame)``, the object: masks where there are any, filled boxes otherwise; or None.

    What else is asked of the truth for every map is found once, when it is first asked.
    """

    boxes: Floats | None = None
    frame_boxes: Floats | None = None
    difficult: bool = False
    masks: npt.NDArray[np.bool_] | None = None
    inside: Bools | None = None
    scored: Bools | None = None
    region: Bools | None = None

    @functools.cached_property
    def area(self) -> float:
        """Share of the frame that the region covers; NaN without one."""
        return math.nan if self.region is None else int(np.count_nonzero(self.region)) / self.region.size

    @functools.cached_property
    def pixel_ranges(self) -> list[list[int]]:
        """`boxes.pixel_ranges` of the boxes, as lists."""
        found: list[list[int]] = [] if self.boxes is None else boxes.pixel_ranges(self.boxes).tolist()
        return found


def columns(groups: Collection[str]) -> tuple[str, ...]:
    """Names of the columns of `groups`, in the order in which `localize` gives them.

    Raises:
        ValueError: for an unknown group.
    """
    return _columns(frozenset(groups))


@functools.cache
def _columns(groups: frozenset[str]) -> tuple[str, ...]:
    unknown = sorted(groups - GROUPS.keys())
    if unknown:
        raise ValueError(f"unknown metric groups {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")
    return tuple(name for group, names in GROUPS.items() if group in groups for name in names)


def truth_of(
    ground_truth: records.GroundTruth, source: records.Source, class_id: int, protocol: protocols.Protocol
) -> Truth:
    """The boxes and masks of one class; those without a class belong to the labels of the image."""
    side = protocol.frame_px
    found = Truth()
    if ground_truth.boxes is not None and len(ground_truth.boxes):
        mine, own, scaled, region = boxes.of_class(
            ground_truth.boxes, ground_truth.box_class_ids, class_id, source, protocol
        )
        if len(own):
            difficult = ground_truth.box_difficult
            all_difficult = bool(difficult is not None and difficult[mine].all())
            found = Truth(boxes=own, frame_boxes=scaled, difficult=all_difficult, region=region)
    if ground_truth.masks is not None and len(ground_truth.masks):
        mine = boxes.belongs(ground_truth.mask_class_ids, len(ground_truth.masks), class_id, source.label_ids)
        if mine.any():
            masks = ground_truth.masks[mine]
            inside, scored = pixel_precision_recall.truth_masks(masks, ground_truth.ignore, side, side)
            found = dataclasses.replace(found, masks=masks, inside=inside, scored=scored, region=inside)
    return found


def truths(
    ground_truth: records.GroundTruth, source: records.Source, class_ids: npt.ArrayLike, protocol: protocols.Protocol
) -> tuple[Truth, ...]:
    """The ground truth of each class: the same for every method, so worth computing once per image."""
    return tuple(truth_of(ground_truth, source, class_id, protocol) for class_id in np.asarray(class_ids).tolist())


@dataclasses.dataclass(frozen=True, eq=False)
class Framed:
    """One map in the frame of a protocol, as far as it does not depend on the ground truth.

    Attributes:
        heatmap: ``(frame, frame)`` in [0, 1].
        found: its boxes at every level, or None if boxes are not asked for.
        evidence: ``(frame, frame)`` on its own scale, or None if energy is not asked for. Only what is above 0 counts:
            bicubic resizing overshoots below 0, and what the model did not see is NaN.
        finite: whether all cells of the raw map are.
        point: pixel ``(x, y)`` of the original image where the map is strongest, if it is known already.
    """

    heatmap: npt.NDArray[np.floating]
    found: box_accuracy.LevelBoxes | None
    evidence: npt.NDArray[np.floating] | None
    finite: bool
    point: tuple[int, int] | None = None


def framed(
    raw: npt.NDArray[np.floating], source: records.Source, protocol: protocols.Protocol, groups: Collection[str]
) -> Framed:
    """Bring one raw map ``(h, w)`` into the frame."""
    frame = frames.frame(raw, source, protocol)
    found = box_accuracy.level_boxes(frame.image, hole_boxes=protocol.hole_boxes) if "boxes" in groups else None
    evidence = None
    if "energy" in groups:
        evidence = frame.placed
        if not protocol.rectify:
            evidence = heatmaps.place(
                heatmaps.positive(raw),
                frame.heatmap.shape,
                source.view,
                (source.width, source.height),
                protocol.interpolation,
            )
    return Framed(frame.heatmap, found, evidence, bool(np.isfinite(raw).all()))


def localize(
    maps: npt.NDArray[np.floating],
    source: records.Source,
    ground_truth: records.GroundTruth,
    class_ids: npt.ArrayLike,
    ranks: npt.ArrayLike,
    protocol: protocols.Protocol,
    groups: Collection[str],
) -> Scores:
    """Measure the heatmaps of one method for one image: `truths`, `framed` and `measure` in one.

    Args:
        maps: ``(L, h, w)``, raw and signed, over `source`'s view, one per explained class.
        source, ground_truth: of the image.
        class_ids: int ``(L,)``, the explained classes.
        ranks: int ``(L,)``, 1 = the model's first choice.
        protocol: the conventions.
        groups: names of `GROUPS` to measure.

    Raises:
        ValueError: if the shapes do not fit or a group is unknown.
    """
    found = truths(ground_truth, source, class_ids, protocol)
    frames = [framed(raw, source, protocol, groups) for raw in maps]
    return measure(maps, frames, source, found, class_ids, ranks, protocol, groups)


def measure(
    maps: npt.NDArray[np.floating],
    frames: Sequence[Framed],
    source: records.Source,
    found: Sequence[Truth],
    class_ids: npt.ArrayLike,
    ranks: npt.ArrayLike,
    protocol: protocols.Protocol,
    groups: Collection[str],
) -> Scores:
    """`localize` with the maps `framed` and the `truths` found already; one of each per explained class."""
    ids, places = np.asarray(class_ids, np.int64).tolist(), np.asarray(ranks, np.int64).tolist()
    if maps.ndim != 3 or {len(ids), len(places), len(frames), len(found)} != {len(maps)}:
        got = f"maps {maps.shape}, {len(frames)} frames, {len(found)} truths, {len(ids)} class ids, {len(places)} ranks"
        raise ValueError(f"{got}; expected (L, h, w) and L of each")
    names = columns(groups)
    statistics = map_statistics.statistics(maps) if "statistics" in groups else {}
    estimated = np.full((len(maps), 4), np.nan)
    evidence = []
    for number, (raw, frame, truth) in enumerate(zip(maps, frames, found, strict=True)):
        if frame.found is not None:
            box = box_accuracy.box_at(frame.found, protocol.box_threshold)
            estimated[number] = boxes.from_frame(box, source.width, source.height, protocol)
        known = {name: float(column[number]) for name, column in statistics.items()}
        one = evidence_of(raw, frame, source, truth, (ids[number], places[number]), protocol, groups, known)
        evidence.append(one)
    values_of = tuple((name, np.array([one.values.get(name, math.nan) for one in evidence])) for name in names)
    health = map_statistics.health(maps) if "statistics" in groups else ((),) * len(maps)
    return Scores(estimated, values_of, health, tuple(evidence))


def evidence_of(
    raw: npt.NDArray[np.floating],
    frame: Framed,
    source: records.Source,
    truth: Truth,
    explained: tuple[int, int],
    protocol: protocols.Protocol,
    groups: Collection[str],
    statistics: Mapping[str, float],
) -> Evidence:
    """What one map adds to the numbers of a dataset.

    Args:
        raw: ``(h, w)``, and `frame`, the same in the frame.
        source: of the image.
        truth: of the explained class.
        explained: the class and its rank.
        protocol, groups: as of `localize`.
        statistics: values that do not depend on the truth, and are handed on.
    """
    values, hits, pixels = _against(raw, frame, source, truth, protocol, groups)
    finite = {name: value for name, value in (*statistics.items(), *values.items()) if math.isfinite(value)}
    finite.update(_top_k(finite, explained[1]))
    return Evidence(explained[0], finite, hits, pixels)


def _against(
    raw: npt.NDArray[np.floating],
    frame: Framed,
    source: records.Source,
    truth: Truth,
    protocol: protocols.Protocol,
    groups: Collection[str],
) -> tuple[dict[str, float], Bools | None, npt.NDArray[np.int64] | None]:
    """Columns, box hits and pixel histogram of one map against the ground truth of its class."""
    values: dict[str, float] = {}
    hits, pixels = None, None
    if frame.found is not None and truth.frame_boxes is not None:
        values["box_iou"], hits = box_accuracy.protocol_scores(frame.found, truth.frame_boxes, protocol)
        values["box_hit"] = float(values["box_iou"] >= GT_KNOWN_IOU)
    if "masks" in groups and truth.inside is not None and truth.scored is not None:
        scored = truth.inside, truth.scored
        pixels = pixel_precision_recall.histogram(frame.heatmap, *scored, _edges(protocol))
        values["mask_iou"] = pixel_precision_recall.mask_iou(frame.heatmap, *scored, protocol.mask_threshold)
    if frame.evidence is not None and truth.region is not None:
        share = energy.energy_share(frame.evidence, truth.region)
        gain = energy.energy_gain(share, truth.area)
        values.update({"energy_share": share, "energy_area": truth.area, "energy_gain": gain})
    if "pointing" in groups and truth.region is not None and not truth.difficult:
        values["pointing_hit"] = _pointing(raw, frame, source, truth, protocol)
    return values, hits, pixels


@functools.lru_cache(maxsize=8)
def _edges(protocol: protocols.Protocol) -> Floats:
    return pixel_precision_recall.edges(protocol.threshold_step)


def _pointing(
    raw: npt.NDArray[np.floating], frame: Framed, source: records.Source, truth: Truth, protocol: protocols.Protocol
) -> float:
    if not frame.finite:
        return 0.0
    x, y = frame.point or pointing_game.point(raw, source.view, source.width, source.height)
    if truth.masks is not None:
        return float(pointing_game.hits_masks(x, y, truth.masks, protocol.point_tolerance_px))
    if truth.boxes is None:
        return math.nan
    return float(pointing_game.hits_ranges(x, y, truth.pixel_ranges, protocol.point_tolerance_px))


def _top_k(values: Mapping[str, float], rank: int) -> dict[str, float]:
    """Localization that also asks for the class, and what is lost by asking, where the class has boxes.

    ``topK_hit``: the box is right and the class is among the first K. ``topK_gap``: the box is right, the class is not.
    """
    if "box_hit" not in values:
        return {}
    hit = values["box_hit"]
    found: dict[str, float] = {}
    for k in (1, 5):
        found[f"top{k}_hit"] = hit * (rank <= k)
        found[f"top{k}_gap"] = hit * (rank > k)
    return found


def boxes_at(
    raw: npt.NDArray[np.floating],
    source: records.Source,
    true_boxes: Floats,
    protocol: protocols.Protocol,
    thresholds: Sequence[float],
) -> tuple[Floats, Floats]:
    """What one map's boxes are worth at some thresholds, such as the best ones of a run.

    Args:
        raw: ``(h, w)``, raw and signed, over `source`'s view.
        source: of the image; its size and view are used.
        true_boxes: ``(N, 4)``, N >= 1, of the explained class, in pixels of the original image.
        protocol: the conventions.
        thresholds: in [0, 1).

    Returns:
        best IoU float64 ``(2, thresholds)``: of the largest contour, and of all contours; and the box of the largest
        contour, float64 ``(thresholds, 4)``, as `Scores.boxes`.
    """
    image = frames.frame(raw, source, protocol).image
    levels = box_accuracy.levels(int(image.max()), thresholds)
    found = box_accuracy.level_boxes(image, hole_boxes=protocol.hole_boxes, at=levels)
    scaled = boxes.to_frame(true_boxes, source.width, source.height, protocol)
    ious = box_accuracy.level_ious(found, scaled, protocol)
    stated = box_accuracy.box_at(found, thresholds)
    return box_accuracy.iou_at(ious, thresholds), boxes.from_frame(stated, source.width, source.height, protocol)
