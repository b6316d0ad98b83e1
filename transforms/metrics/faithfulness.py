"""Does the model depend on what the map marks? Metrics that change the input and watch the score.

The model arrives as callables, so that nothing here knows a framework:

    * `Predict`: float32 inputs (N, H, W, C), preprocessed, to scores (N, classes). Give it probabilities: the papers'
      definitions are about those; logits work where it says so.
    * `Explain`: the same inputs and class ids (N,) to heatmaps (N, H, W) in [0, 1] at the input's size, float32.

Shared contract: inputs are float32 (B, H, W, C); heatmaps are (B, H, W) in [0, 1]; class ids are (B,). Results are
float64, one per image, and NaN where the map has a NaN or a number is not defined. Nothing depends on which images
share a batch. At most `batch_size` changed inputs exist at a time. Inputs are changed *after* preprocessing: a baseline
of 0 is whatever colour the preprocessing maps to 0.

Dataset numbers are means of these: average drop, increase and gain are the means of `confidence_drop`,
`confidence_increase` and `confidence_gain`; publications print 100 times the fractions returned here.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]
Maps = npt.NDArray[np.floating[Any]]
ClassIds = npt.NDArray[np.int64]
Predict = Callable[[Inputs], npt.ArrayLike]
Explain = Callable[[Inputs, ClassIds], npt.ArrayLike]
Baseline = float | Literal["mean", "blur"]
"""What replaces pixels: one value for all, the mean colour of each image, or the image blurred as in RISE."""

BLUR_SIZE, BLUR_SIGMA = 11, 5.0

_ROUNDING = 1e-6
"""A softmax in float32 may exceed 1 by this much."""


class Curve(NamedTuple):
    """A score along removed or inserted pixels.

    Attributes:
        scores: float64 (B, points), from the unchanged start to all pixels changed.
        auc: float64 (B,), its area by the trapezoid rule over the share of changed pixels, 0 to 1.
    """

    scores: Floats
    auc: Floats


class Adcc(NamedTuple):
    """ADCC and its parts, float64 (B,) each.

    Attributes:
        adcc: harmonic mean of coherency, 1 - complexity and 1 - drop. High is good.
        coherency: (r + 1) / 2, r = Pearson's correlation of the map and the map of the masked input. High is good.
        complexity: mean of the map. Low is good.
        drop: `confidence_drop`. Low is good.
    """

    adcc: Floats
    coherency: Floats
    complexity: Floats
    drop: Floats


def checked(inputs: Inputs, heatmaps: Maps, class_ids: npt.ArrayLike, batch_size: int) -> ClassIds:
    """The class ids as int64, if all arguments of a metric fit each other.

    Raises:
        ValueError: they do not, or a heatmap leaves [0, 1].
    """
    ids = np.asarray(class_ids)
    if inputs.ndim != 4 or heatmaps.shape != inputs.shape[:3] or ids.shape != inputs.shape[:1]:
        raise ValueError(
            f"inputs {inputs.shape}, heatmaps {heatmaps.shape} and class ids {ids.shape}; expected (B, H, W, C),"
            " (B, H, W) and (B,): resize the maps to the input"
        )
    if ids.dtype.kind not in "iu" or (ids < 0).any() or batch_size < 1:
        raise ValueError(f"class ids {ids.tolist()}, batch_size {batch_size}; expected integers >= 0 and at least 1")
    if (heatmaps < 0).any() or (heatmaps > 1).any():
        raise ValueError("a heatmap has values outside [0, 1]; rectify and min-max it first")
    return ids.astype(np.int64)


def scores_of(
    predict: Predict, make: Callable[[npt.NDArray[np.int64]], Inputs], class_ids: ClassIds, batch_size: int
) -> Floats:
    """Score of class ``class_ids[i]`` for each input i that `make` gives, made and predicted in chunks.

    Args:
        predict: the model.
        make: row numbers (n,) to inputs (n, H, W, C), n at most `batch_size`.
        class_ids: (N,).
        batch_size: size of a chunk.

    Returns:
        float64 (N,).
    """
    scores = np.empty(len(class_ids))
    for start in range(0, len(class_ids), batch_size):
        rows = np.arange(start, min(start + batch_size, len(class_ids)))
        outputs = np.asarray(predict(make(rows)))
        if outputs.ndim != 2 or len(outputs) != len(rows) or outputs.shape[1] <= class_ids[rows].max():
            raise ValueError(
                f"predict gave an array of shape {outputs.shape}; expected ({len(rows)}, classes) with more than"
                f" {class_ids[rows].max()} classes"
            )
        scores[rows] = outputs[np.arange(len(rows)), class_ids[rows]]
    return scores


def maps_of(
    explain: Explain,
    make: Callable[[npt.NDArray[np.int64]], Inputs],
    class_ids: ClassIds,
    shape: tuple[int, ...],
    batch_size: int,
) -> npt.NDArray[np.float32]:
    """Heatmaps float32 `shape` = (N, H, W) of the inputs that `make` gives, made and explained in chunks."""
    maps = np.empty(shape, np.float32)
    for start in range(0, len(maps), batch_size):
        rows = np.arange(start, min(start + batch_size, len(maps)))
        some = np.asarray(explain(make(rows), class_ids[rows]))
        if some.shape != (len(rows), *shape[1:]):
            raise ValueError(f"explain gave maps of shape {some.shape}; expected {(len(rows), *shape[1:])}")
        maps[rows] = some
    return maps


def class_scores(predict: Predict, inputs: Inputs, class_ids: ClassIds, batch_size: int) -> Floats:
    """Score of one class for each of N unchanged inputs, float64 (N,)."""
    return scores_of(predict, lambda rows: inputs[rows], class_ids, batch_size)


# Average drop, increase, gain


def masked(inputs: Inputs, heatmaps: Maps, baseline: float) -> Inputs:
    """baseline + M (x - baseline): the input where the map is 1, the baseline where it is 0. float32, new."""
    shade = heatmaps[..., None].astype(np.float32)
    offset = np.float32(baseline)
    return inputs * shade if baseline == 0 else offset + shade * (inputs - offset)


def masked_scores(
    predict: Predict, inputs: Inputs, heatmaps: Maps, class_ids: npt.ArrayLike, *, baseline: float, batch_size: int
) -> tuple[Floats, Floats]:
    """(Y, O): score of the class for the input, and for the input multiplied by its map. Two passes of the model.

    Args:
        predict, inputs, heatmaps, class_ids, batch_size: as in the contract above.
        baseline: what a map of 0 leaves; 0 in the papers, in units of the preprocessed input.
    """
    ids = checked(inputs, heatmaps, class_ids, batch_size)
    before = class_scores(predict, inputs, ids, batch_size)
    after = scores_of(predict, functools.partial(_masked_rows, inputs, heatmaps, baseline), ids, batch_size)
    return before, after + undefined(heatmaps)


def _masked_rows(inputs: Inputs, heatmaps: Maps, baseline: float, rows: npt.NDArray[np.int64]) -> Inputs:
    return masked(inputs[rows], heatmaps[rows], baseline)


def confidence_drop(before: Floats, after: Floats) -> Floats:
    """max(0, Y - O) / Y: the share of the score lost when only the map is shown. 0 where Y = 0; NaN where Y < 0.

    The mean is *average drop*. Chattopadhay et al., WACV 2018, arXiv:1710.11063 (there in percent).
    """
    drop = np.divide(_loss(before, after), before, out=np.zeros_like(before), where=before != 0)
    drop[before < 0] = np.nan
    return drop


def confidence_increase(before: Floats, after: Floats) -> Floats:
    """1 where O > Y, else 0: the score rises when only the map is shown. The mean is *average increase*.

    Chattopadhay et al., WACV 2018, arXiv:1710.11063.
    """
    increase = (after > before).astype(np.float64)
    increase[np.isnan(before) | np.isnan(after)] = np.nan
    return increase


def confidence_gain(before: Floats, after: Floats) -> Floats:
    """max(0, O - Y) / (1 - Y): the share of the missing confidence won. 0 where Y = 1. The mean is *average gain*.

    For probabilities: NaN where Y is outside [0, 1]. Zhang et al., Opti-CAM, 2023, arXiv:2301.07002.
    """
    room = 1 - before
    gain = np.divide(_loss(after, before), room, out=np.zeros_like(room), where=~(room <= 0))
    gain[(before < 0) | (room < -_ROUNDING)] = np.nan
    return gain


def _loss(before: Floats, after: Floats) -> Floats:
    return np.maximum(before - after, 0)


# Deletion and insertion


def deletion(
    predict: Predict,
    inputs: Inputs,
    heatmaps: Maps,
    class_ids: npt.ArrayLike,
    *,
    steps: int,
    baseline: Baseline,
    batch_size: int,
) -> Curve:
    """Score while pixels are replaced by the baseline, strongest first. A low area is good. steps + 1 passes.

    Pixels go in the order of a stable descending sort, so equal pixels go from the top left. After step k,
    round(k * H * W / steps) of them are gone.

    Args:
        predict, inputs, heatmaps, class_ids, batch_size: as in the contract above.
        steps: of equal size; RISE's 224 pixels a step at 224 x 224 are 224 steps.
        baseline: what replaces a pixel; 0 in RISE.

    Petsiuk et al., RISE, BMVC 2018, arXiv:1806.07421.
    """
    class_ids = checked(inputs, heatmaps, class_ids, batch_size)
    return _curve(predict, inputs, reference(inputs, baseline), heatmaps, class_ids, steps, batch_size)


def insertion(
    predict: Predict,
    inputs: Inputs,
    heatmaps: Maps,
    class_ids: npt.ArrayLike,
    *,
    steps: int,
    baseline: Baseline,
    batch_size: int,
) -> Curve:
    """Score while pixels of the image are put over the baseline, strongest first. A high area is good.

    As `deletion`, the other way round; RISE starts from ``blur``. arXiv:1806.07421.
    """
    class_ids = checked(inputs, heatmaps, class_ids, batch_size)
    return _curve(predict, reference(inputs, baseline), inputs, heatmaps, class_ids, steps, batch_size)


def reference(inputs: Inputs, baseline: Baseline) -> Inputs:
    """The input with all pixels replaced: float32 like `inputs`.

    ``mean`` is the mean of each channel over the image. ``blur`` is RISE's: an 11 x 11 kernel, the Gaussian of sigma 5
    folded back at the kernel's ends, with zeros around the image.
    """
    if baseline == "mean":
        means = inputs.mean(axis=(1, 2), keepdims=True, dtype=np.float64)
        return np.broadcast_to(means, inputs.shape).astype(np.float32)
    if baseline == "blur":
        kernel = ndimage.gaussian_filter1d(np.eye(BLUR_SIZE)[BLUR_SIZE // 2], BLUR_SIGMA, mode="reflect")
        blurred = np.empty(inputs.shape, np.float32)
        for one, result in zip(inputs, blurred, strict=True):
            filtered = cv2.sepFilter2D(one, -1, kernel, kernel, borderType=cv2.BORDER_CONSTANT)
            result[...] = filtered.reshape(one.shape)
        return blurred
    if isinstance(baseline, str):
        raise ValueError(f"baseline {baseline!r}; expected a number, 'mean' or 'blur'")
    return np.full_like(inputs, baseline, dtype=np.float32)


def _curve(
    predict: Predict, start: Inputs, end: Inputs, heatmaps: Maps, class_ids: ClassIds, steps: int, batch_size: int
) -> Curve:
    count, height, width, channels = start.shape
    pixels = height * width
    if not 1 <= steps <= pixels:
        raise ValueError(f"{steps} steps over {pixels} pixels; expected 1 to as many as there are pixels")
    changed = np.rint(np.linspace(0, pixels, steps + 1)).astype(np.int32)
    # One rank per value, not per pixel, keeps the comparison and the choice below contiguous.
    order = np.repeat(ranks(heatmaps), channels, axis=1)
    start, end = (np.ascontiguousarray(one).reshape(count, -1) for one in (start, end))

    def make(rows: npt.NDArray[np.int64]) -> Inputs:
        image, step = np.divmod(rows, steps + 1)
        mixed = np.empty((len(rows), pixels * channels), np.float32)
        for place, (b, k) in enumerate(zip(image, step, strict=True)):
            mixed[place] = np.where(order[b] < changed[k], end[b], start[b])
        return mixed.reshape(-1, height, width, channels)

    scores = scores_of(predict, make, np.repeat(class_ids, steps + 1), batch_size).reshape(count, steps + 1)
    scores += undefined(heatmaps)[:, None]
    auc = ((scores[:, 1:] + scores[:, :-1]) / 2 * np.diff(changed / pixels)).sum(axis=1)
    return Curve(scores, auc)


def ranks(heatmaps: Maps) -> npt.NDArray[np.int32]:
    """Place of each pixel in the descending order, (B, H * W); equal pixels in reading order."""
    flat = heatmaps.reshape(len(heatmaps), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    places = np.empty(flat.shape, np.int32)
    np.put_along_axis(places, order, np.arange(flat.shape[1], dtype=np.int32)[None], axis=1)
    return places


# ADCC and complexity


def adcc(
    explain: Explain,
    inputs: Inputs,
    heatmaps: Maps,
    class_ids: npt.ArrayLike,
    before: Floats,
    after: Floats,
    *,
    baseline: float,
    batch_size: int,
) -> Adcc:
    """Average DCC of each image: 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)), 0 if a part is 0.

    One more explanation of each image, of the input multiplied by its map. A constant map, before or after, has
    coherency 0. The reference code divides the drop by the confidence of the first class even where another is
    explained; here it is the explained class.

    Args:
        explain: the method that made `heatmaps`, with the same resizing and scaling.
        inputs, heatmaps, class_ids, batch_size: as in the contract above.
        before, after: from `masked_scores` of probabilities, with the same baseline.
        baseline: what a map of 0 leaves.

    Poppi et al., CVPRW 2021, arXiv:2104.10252.
    """
    class_ids = checked(inputs, heatmaps, class_ids, batch_size)
    shown = functools.partial(_masked_rows, inputs, heatmaps, baseline)
    again = maps_of(explain, shown, class_ids, heatmaps.shape, batch_size)
    coherency = (_pearson(heatmaps, again) + 1) / 2
    complexity = np.abs(heatmaps).mean(axis=(1, 2), dtype=np.float64)
    drop = confidence_drop(before, after)
    parts = np.stack([coherency, 1 - complexity, 1 - drop])
    inverses = np.divide(1, parts, out=np.full_like(parts, np.inf), where=~(parts <= 0))
    return Adcc(3 / inverses.sum(axis=0), coherency, complexity, drop)


def _pearson(first: Maps, second: Maps) -> Floats:
    """Correlation over the pixels of each pair; -1 (coherency 0) where one is constant, NaN where one has a NaN."""
    a, b = (maps.reshape(len(maps), -1).astype(np.float64) for maps in (first, second))
    varied = (np.ptp(a, axis=1) != 0) & (np.ptp(b, axis=1) != 0)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    ratio: Floats = np.divide((a * b).sum(axis=1), spread, out=np.full(len(a), -1.0), where=varied & (spread != 0))
    return ratio.clip(-1, 1)


def complexity_entropy(heatmaps: Maps, *, epsilon: float) -> Floats:
    """-sum p ln(p + epsilon), p = |M| / sum |M|, in nats: ln(pixels) for a uniform map. NaN for a map of zeros.

    Args:
        heatmaps: (B, H, W), of any sign.
        epsilon: 0 for the entropy; Xplique has 1e-8, which lowers it by up to 1e-8 times the pixels.

    Bhatt et al., IJCAI 2020, arXiv:2005.00631.
    """
    size = np.abs(heatmaps.reshape(len(heatmaps), -1).astype(np.float64))
    total = size.sum(axis=1, keepdims=True)
    share = size / np.where(total == 0, np.nan, total)
    logarithm = np.log(share + epsilon, out=np.zeros_like(share), where=~(share == 0))
    entropy: Floats = -(share * logarithm).sum(axis=1) + 0.0
    return entropy


def sparseness_gini(heatmaps: Maps) -> Floats:
    """Gini index of |M|: 2 sum i x_(i) / (n sum x) - (n + 1) / n, x ascending, i from 1. NaN for a map of zeros.

    0 for a uniform map, 1 - 1/n for a single pixel. Chalasani et al., ICML 2020, arXiv:1810.06583.
    """
    size = np.sort(np.abs(heatmaps.reshape(len(heatmaps), -1).astype(np.float64)), axis=1)
    count = size.shape[1]
    total = size.sum(axis=1)
    weighted = (size * np.arange(1, count + 1)).sum(axis=1)
    gini: Floats = 2 * weighted / (count * np.where(total == 0, np.nan, total)) - (count + 1) / count
    return gini


def undefined(heatmaps: Maps) -> Floats:
    """0 for a finite map, NaN for one with a NaN, (B,)."""
    return np.where(np.isfinite(heatmaps).all(axis=(1, 2)), 0.0, np.nan)
