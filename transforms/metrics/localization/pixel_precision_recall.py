"""PxAP and the best IoU and F1 of heatmaps against masks, from histograms of scores that add up over images.

A histogram counts object and other pixels per score bin: bins are [0, step), [step, 2 step), ... and one bin for the
score 1. Cumulated from the top they give TP and FP at each threshold, "object where score >= threshold"::

    P_i = TP_i / (TP_i + FP_i)      R_i = TP_i / (all object pixels)
    PxAP = sum over i of P_i (R_i - R_(i-1)),  from high to low scores

Pixels of all images are pooled: this is not a mean over images. Choe et al., CVPR 2020, arXiv:2001.07437; bins and
resizing of clovaai/wsolevaluation.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.metrics.localization import scored_map

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]
Counts = npt.NDArray[np.integer]

OBJECT, OTHER = 0, 1
"""Positions on the first axis of a histogram."""


def edges(step: float) -> Floats:
    """Left edges of the bins: 0, step, ... below 1, then 1; the last bin of wsolevaluation, [2, 3], is always empty."""
    return np.append(np.arange(0, 1, step), 1.0)


def truth_masks(
    masks: Bools, ignore: Bools | None, shape: tuple[int, ...], *, coarse: bool = False
) -> tuple[Bools, Bools]:
    """The object and the pixels to score, nearest-neighbour resized (cv2.INTER_NEAREST) to the frame.

    Args:
        masks: bool ``(M, H, W)``, M >= 1, or with one or three axes behind the first; their union is the object.
        ignore: bool ``(H, W)``; pixels that must not be scored unless they are object, or None.
        shape: of the frame.
        coarse: whether a mask of which no pixel is the nearest of a cell has the cells that it lies in.

    Returns:
        object and scored, bool of `shape`.
    """
    if coarse:
        inside = np.logical_or.reduce([_nearest_or_any(mask, shape) for mask in masks], axis=0)
    else:
        inside = _nearest(np.logical_or.reduce(masks, axis=0), shape)
    if ignore is None:
        return inside, np.ones_like(inside)
    return inside, inside | ~_nearest(ignore, shape)


def _nearest_or_any(mask: Bools, shape: tuple[int, ...]) -> Bools:
    found = _nearest(mask, shape)
    if found.any():
        return found
    cells = np.argwhere(mask) * np.array(shape) // np.array(mask.shape)
    found[tuple(cells.T)] = True
    return found


def _nearest(mask: Bools, shape: tuple[int, ...]) -> Bools:
    if mask.ndim == 2:
        size = shape[::-1]
        resized: Bools = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST).astype(bool)
        return resized
    axes = zip(mask.shape, shape, strict=True)
    return mask[np.ix_(*(_nearest_samples(samples, cells) for samples, cells in axes))]


@functools.lru_cache(maxsize=256)
def _nearest_samples(samples: int, cells: int) -> npt.NDArray[np.int64]:
    """The sample that each cell shows: floor(i * samples / cells), as OpenCV rounds it; read-only."""
    step = 1 / (cells / samples)
    found: npt.NDArray[np.int64] = np.minimum(np.floor(np.arange(cells) * step).astype(np.int64), samples - 1)
    found.setflags(write=False)
    return found


def histogram(
    heatmap: npt.NDArray[np.floating], inside: Bools, scored: Bools, bin_edges: Floats
) -> npt.NDArray[np.int64]:
    """Scores of object and other pixels, counted per bin.

    Args:
        heatmap: ``(H, W)``, or of one or three axes, in [0, 1].
        inside, scored: of `truth_masks`.
        bin_edges: of `edges`.

    Returns:
        int64 ``(2, bins)``.
    """
    rows = (one.reshape(-1, heatmap.shape[-1]) for one in (heatmap, inside, scored))
    counts: npt.NDArray[np.int64] = _histogram(*rows, np.append(bin_edges, np.inf))
    return counts


@compiled.function
def _histogram(
    heatmap: npt.NDArray[np.floating], inside: Bools, scored: Bools, bounds: Floats
) -> npt.NDArray[np.int64]:
    """`histogram`; `bounds` are the edges of its bins and infinity."""
    bins = len(bounds) - 1
    counts = np.zeros((2, bins), np.int64)
    for y in range(heatmap.shape[0]):
        for x in range(heatmap.shape[1]):
            score = np.float64(heatmap[y, x])
            # A guess that is off by one at most, because a multiple of the step is not exact; then put right.
            place = int(score * (bins - 1))
            place -= score < bounds[place]
            place += score >= bounds[place + 1]
            if scored[y, x]:
                counts[OBJECT if inside[y, x] else OTHER, place] += 1
    return counts


def cumulative(counts: Counts) -> npt.NDArray[np.int64]:
    """True and false positives ``(..., 2, bins)`` when "object" means a score at or above each bin's left edge."""
    return np.cumsum(counts[..., ::-1], axis=-1, dtype=np.int64)[..., ::-1]


def precision_recall(counts: Counts) -> tuple[Floats, Floats]:
    """Precision (NaN where nothing is called object) and recall (NaN without object pixels) per bin."""
    true, false = cumulative(counts)
    called = true + false
    precision = np.divide(true, called, out=np.full(len(true), np.nan), where=called > 0)
    recall = true / true[0] if true[0] else np.full(len(true), np.nan)
    return precision, recall


def average_precision(counts: npt.NDArray[np.number]) -> Floats:
    """PxAP in [0, 1] of histograms ``(..., 2, bins)``; NaN without object pixels."""
    tallies = np.asarray(counts, np.float64)[..., ::-1]
    true, false = np.moveaxis(np.cumsum(tallies, axis=-1), -2, 0)
    called = true + false
    precision = np.divide(true, called, out=np.zeros_like(true), where=called > 0)
    objects = true[..., -1]
    # The top bin, score 1, is the second of the reference's: its first, empty one starts the sum over differences.
    gained = (precision * tallies[..., OBJECT, :]).sum(axis=-1)
    scores: Floats = np.divide(gained, objects, out=np.full_like(objects, np.nan), where=objects > 0)
    return scores


def iou_f1(counts: Counts) -> tuple[Floats, Floats]:
    """Pooled IoU = TP / (TP + FP + FN) and F1 = 2 TP / (2 TP + FP + FN) of histograms ``(..., 2, bins)``, per bin.

    NaN without object pixels.
    """
    true, false = np.moveaxis(cumulative(counts).astype(np.float64), -2, 0)
    objects = np.where(true[..., :1] > 0, true[..., :1], np.nan)  # TP + FN
    return true / (objects + false), 2 * true / (true + false + objects)


def mask_iou(heatmap: npt.NDArray[np.floating], inside: Bools, scored: Bools, threshold: float) -> float:
    """IoU of ``heatmap >= threshold`` with the object of one image; NaN if it has no object pixel."""
    called = (heatmap >= threshold) & scored
    if not inside.any():
        return float("nan")
    return float(np.count_nonzero(called & inside) / np.count_nonzero(called | inside))


def columns(one: scored_map.ScoredMap) -> dict[str, float]:
    """IoU at the protocol's fixed threshold; nothing where there are no masks."""
    if one.truth.inside is None or one.truth.scored is None:
        return {}
    threshold = one.protocol.mask_threshold
    return {"mask_iou": mask_iou(one.framed.heatmap, one.truth.inside, one.truth.scored, threshold)}
