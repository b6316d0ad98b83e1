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

from heatbeam.transforms import records
from heatbeam.transforms.metrics import map_statistics, protocols, registry
from heatbeam.transforms.metrics.localization import (
    box_accuracy,
    boxes,
    frames,
    pixel_precision_recall,
    scored_map,
    top_k,
)

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

GROUPS = tuple(registry.LOCALIZATION)
"""Names of the groups of columns; `localize` measures those that it is given."""


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
        boxes: float64 ``(L, 4)``, or 2 or 6 numbers each, box of the largest contour (of series and volumes: of the
            largest component) at the protocol's ``box_threshold``, in pixels of the original image, end exclusive;
            NaN where the map gives none.
        values: ``(column, float64 (L,))`` pairs, the columns of the groups that were asked for; NaN where missing.
        health: names of the health flags of each map; none if statistics are not asked for.
        evidence: one per class.
    """

    boxes: Floats
    values: tuple[tuple[str, Floats], ...]
    health: tuple[tuple[str, ...], ...]
    evidence: tuple[Evidence, ...]


def columns(groups: Collection[str], rank: int = 2) -> tuple[str, ...]:
    """Names of the columns of `groups` for images of `rank` axes, in the order in which `localize` gives them.

    Raises:
        ValueError: for an unknown group.
    """
    return _columns(frozenset(groups), rank)


@functools.cache
def _columns(groups: frozenset[str], rank: int) -> tuple[str, ...]:
    unknown = sorted(groups - set(GROUPS))
    if unknown:
        raise ValueError(f"unknown metric groups {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")
    return registry.columns((group for name, group in registry.LOCALIZATION.items() if name in groups), rank)


def truth_of(
    ground_truth: records.GroundTruth, source: records.Source, class_id: int, protocol: protocols.Protocol
) -> scored_map.Truth:
    """The boxes and masks of one class; those without a class belong to the labels of the image."""
    found = scored_map.Truth()
    if ground_truth.boxes is not None and len(ground_truth.boxes):
        mine, own, scaled, region = boxes.of_class(
            ground_truth.boxes, ground_truth.box_class_ids, class_id, source, protocol
        )
        if len(own):
            difficult = ground_truth.box_difficult
            all_difficult = bool(difficult is not None and difficult[mine].all())
            found = scored_map.Truth(boxes=own, frame_boxes=scaled, difficult=all_difficult, region=region)
    if ground_truth.masks is not None and len(ground_truth.masks):
        mine = boxes.belongs(ground_truth.mask_class_ids, len(ground_truth.masks), class_id, source.label_ids)
        if mine.any():
            masks = ground_truth.masks[mine]
            frame = protocol.frame_shape(source.shape)
            coarse = protocol.is_coarse(source.shape)
            inside, scored = pixel_precision_recall.truth_masks(masks, ground_truth.ignore, frame, coarse=coarse)
            found = dataclasses.replace(found, masks=masks, inside=inside, scored=scored, region=inside)
    return found


def truths(
    ground_truth: records.GroundTruth, source: records.Source, class_ids: npt.ArrayLike, protocol: protocols.Protocol
) -> tuple[scored_map.Truth, ...]:
    """The ground truth of each class: the same for every method, so worth computing once per image."""
    return tuple(truth_of(ground_truth, source, class_id, protocol) for class_id in np.asarray(class_ids).tolist())


def localize(
    maps: npt.NDArray[np.floating],
    source: records.Source,
    ground_truth: records.GroundTruth,
    class_ids: npt.ArrayLike,
    ranks: npt.ArrayLike,
    protocol: protocols.Protocol,
    groups: Collection[str],
) -> Scores:
    """Measure the heatmaps of one method for one image: `truths`, `scored_map.Framed` and `measure` in one.

    Args:
        maps: ``(L, h, w)``, raw and signed, over `source`'s view, one per explained class; behind the first as many
            axes as the image has.
        source, ground_truth: of the image.
        class_ids: int ``(L,)``, the explained classes.
        ranks: int ``(L,)``, 1 = the model's first choice; 0 where classes have no order (values).
        protocol: the conventions.
        groups: names of `GROUPS` to measure.

    Raises:
        ValueError: if the shapes do not fit or a group is unknown.
    """
    found = truths(ground_truth, source, class_ids, protocol)
    framed = [scored_map.Framed(raw, source, protocol) for raw in maps]
    return measure(maps, framed, source, found, class_ids, ranks, protocol, groups)


def measure(
    maps: npt.NDArray[np.floating],
    framed: Sequence[scored_map.Framed],
    source: records.Source,
    found: Sequence[scored_map.Truth],
    class_ids: npt.ArrayLike,
    ranks: npt.ArrayLike,
    protocol: protocols.Protocol,
    groups: Collection[str],
) -> Scores:
    """`localize` with the maps `framed` and the `truths` found already; one of each per explained class."""
    ids, places = np.asarray(class_ids, np.int64).tolist(), np.asarray(ranks, np.int64).tolist()
    if maps.ndim != 1 + source.rank or {len(ids), len(places), len(framed), len(found)} != {len(maps)}:
        got = f"maps {maps.shape}, {len(framed)} frames, {len(found)} truths, {len(ids)} class ids, {len(places)} ranks"
        axes = ", ".join(("d", "h", "w")[-source.rank :])
        raise ValueError(f"{got}; expected (L, {axes}) and L of each")
    names = columns(groups, source.rank)
    statistics: dict[str, Floats] = {}
    for name, group in registry.OF_A_MAP.items():
        if name in groups:
            statistics |= group.function(maps)
    for name, group in registry.OF_A_VIEW.items():
        if name in groups:
            statistics |= group.function(framed)
    estimated = np.full((len(maps), 2 * source.rank), np.nan)
    evidence = []
    for number, (one, truth) in enumerate(zip(framed, found, strict=True)):
        if "boxes" in groups:
            estimated[number] = box_accuracy.box_at(one.found, protocol.box_threshold)
        known = {name: float(column[number]) for name, column in statistics.items()}
        scored = scored_map.ScoredMap(one, source, truth, protocol)
        evidence.append(evidence_of(scored, ids[number], places[number], groups, known))
    estimated = boxes.from_frame(estimated, source.size, protocol)
    table = np.array([[one.values.get(name, math.nan) for one in evidence] for name in names], np.float64)
    values_of = tuple(zip(names, table, strict=True))
    health = map_statistics.health(maps) if "statistics" in groups else ((),) * len(maps)
    return Scores(estimated, values_of, health, tuple(evidence))


def evidence_of(
    one: scored_map.ScoredMap, class_id: int, rank: int, groups: Collection[str], statistics: Mapping[str, float]
) -> Evidence:
    """What one map adds to the numbers of a dataset.

    Args:
        one: the map and the truth.
        class_id, rank: of the explained class.
        groups: as of `localize`.
        statistics: values that do not depend on the truth, and are handed on.
    """
    values = dict(statistics)
    for name, group in registry.OF_AN_OBJECT.items():
        if name in groups:
            values.update(group.function(one))
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if "box_hit" in finite and rank:
        finite.update(top_k.top_k(finite["box_hit"], float(rank)))
    hits = one.box_scores[1] if "boxes" in groups and one.box_scores is not None else None
    return Evidence(class_id, finite, hits, _pixels(one) if "masks" in groups else None)


def _pixels(one: scored_map.ScoredMap) -> npt.NDArray[np.int64] | None:
    """Histogram of the scores of the pixels, None without masks."""
    if one.truth.inside is None or one.truth.scored is None:
        return None
    edges = _edges(one.protocol)
    return pixel_precision_recall.histogram(one.framed.heatmap, one.truth.inside, one.truth.scored, edges)


@functools.lru_cache(maxsize=8)
def _edges(protocol: protocols.Protocol) -> Floats:
    return pixel_precision_recall.edges(protocol.threshold_step)


def boxes_at(
    raw: npt.NDArray[np.floating],
    source: records.Source,
    true_boxes: Floats,
    protocol: protocols.Protocol,
    thresholds: Sequence[float],
) -> tuple[Floats, Floats]:
    """What one map's boxes are worth at some thresholds, such as the best ones of a run.

    Args:
        raw: ``(h, w)``, raw and signed, over `source`'s view; of one or three axes if the image is.
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
    scaled = boxes.to_frame(true_boxes, source.size, protocol)
    ious = box_accuracy.level_ious(found, scaled, protocol)
    stated = box_accuracy.box_at(found, thresholds)
    return box_accuracy.iou_at(ious, thresholds), boxes.from_frame(stated, source.size, protocol)
