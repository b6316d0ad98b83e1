"""Insertion and deletion: the score while pixels appear or vanish, strongest first.

Petsiuk et al., RISE, BMVC 2018, arXiv:1806.07421.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from heatbeam.transforms.metrics.faithfulness import batch, filtering

Floats = batch.Floats
Inputs = batch.Inputs
Maps = batch.Maps
ClassIds = batch.ClassIds

BLUR_SIZE, BLUR_SIGMA = 11, 5.0


class Curve(NamedTuple):
    """A score along removed or inserted pixels.

    Attributes:
        scores: float64 (B, points), from the unchanged start to all pixels changed.
        auc: float64 (B,), its area by the trapezoid rule over the share of changed pixels, 0 to 1.
    """

    scores: Floats
    auc: Floats


def deletion(
    predict: batch.Predict,
    inputs: Inputs,
    heatmaps: Maps,
    class_ids: npt.ArrayLike,
    *,
    steps: int,
    baseline: batch.Baseline,
    batch_size: int,
) -> Curve:
    """Score while pixels are replaced by the baseline, strongest first. A low area is good. steps + 1 passes.

    Pixels go in the order of a stable descending sort, so equal pixels go in reading order: from the top left, or the
    start of a series, or the first slice of a volume. After step k, round(k * pixels / steps) of them are gone.

    Args:
        predict, inputs, heatmaps, class_ids, batch_size: as in the contract of the package.
        steps: of equal size; RISE's 224 pixels a step at 224 x 224 are 224 steps.
        baseline: what replaces a pixel; 0 in RISE.

    Petsiuk et al., RISE, BMVC 2018, arXiv:1806.07421.
    """
    class_ids = batch.checked(inputs, heatmaps, class_ids, batch_size)
    return _curve(predict, inputs, reference(inputs, baseline), heatmaps, class_ids, steps, batch_size)


def insertion(
    predict: batch.Predict,
    inputs: Inputs,
    heatmaps: Maps,
    class_ids: npt.ArrayLike,
    *,
    steps: int,
    baseline: batch.Baseline,
    batch_size: int,
) -> Curve:
    """Score while pixels of the image are put over the baseline, strongest first. A high area is good.

    As `deletion`, the other way round; RISE starts from ``blur``. arXiv:1806.07421.
    """
    class_ids = batch.checked(inputs, heatmaps, class_ids, batch_size)
    return _curve(predict, reference(inputs, baseline), inputs, heatmaps, class_ids, steps, batch_size)


def reference(inputs: Inputs, baseline: batch.Baseline) -> Inputs:
    """The input with all pixels replaced: float32 like `inputs`.

    ``mean`` is the mean of each channel over the image. ``blur`` is RISE's: an 11 x 11 kernel, the Gaussian of sigma 5
    folded back at the kernel's ends, with zeros around the image. A series is blurred by it along its one axis, a
    volume along all three; an axis of one position has nothing to blur.
    """
    if baseline == "mean":
        means = inputs.mean(axis=tuple(range(1, inputs.ndim - 1)), keepdims=True, dtype=np.float64)
        return np.broadcast_to(means, inputs.shape).astype(np.float32)
    if baseline == "blur":
        kernel = ndimage.gaussian_filter1d(np.eye(BLUR_SIZE)[BLUR_SIZE // 2], BLUR_SIGMA, mode="reflect")
        kernels = [kernel if length > 1 else np.ones(1) for length in inputs.shape[1:-1]]
        blurred = np.empty(inputs.shape, np.float32)
        for one, result in zip(inputs, blurred, strict=True):
            result[...] = filtering.separable(one, kernels)
        return blurred
    if isinstance(baseline, str):
        raise ValueError(f"baseline {baseline!r}; expected a number, 'mean' or 'blur'")
    return np.full_like(inputs, baseline, dtype=np.float32)


def _curve(
    predict: batch.Predict, start: Inputs, end: Inputs, heatmaps: Maps, class_ids: ClassIds, steps: int, batch_size: int
) -> Curve:
    shape, count, channels = start.shape[1:], len(start), start.shape[-1]
    pixels = math.prod(shape[:-1])
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
        return mixed.reshape(-1, *shape)

    scores = batch.scores_of(predict, make, np.repeat(class_ids, steps + 1), batch_size).reshape(count, steps + 1)
    scores += batch.undefined(heatmaps)[:, None]
    auc = ((scores[:, 1:] + scores[:, :-1]) / 2 * np.diff(changed / pixels)).sum(axis=1)
    return Curve(scores, auc)


def ranks(heatmaps: Maps) -> npt.NDArray[np.int32]:
    """Place of each pixel in the descending order, (B, pixels); equal pixels in reading order."""
    flat = heatmaps.reshape(len(heatmaps), -1)
    order = np.argsort(-flat, axis=1, kind="stable")
    places = np.empty(flat.shape, np.int32)
    np.put_along_axis(places, order, np.arange(flat.shape[1], dtype=np.int32)[None], axis=1)
    return places


def measure_insertion(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """Area and curve of `insertion`."""
    return _measured("insertion", insertion, one.settings.insertion_baseline, one)


def measure_deletion(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """Area and curve of `deletion`."""
    return _measured("deletion", deletion, one.settings.deletion_baseline, one)


def _measured(
    name: str, formula: Callable[..., Curve], baseline: batch.Baseline, one: batch.Batch
) -> tuple[batch.Columns, batch.Columns]:
    how = {"steps": one.settings.steps, "baseline": baseline, "batch_size": one.settings.batch_size}
    curve = formula(one.predict, one.inputs, one.heatmaps, one.class_ids, **how)
    return {f"{name}_auc": curve.auc}, {name: curve.scores}
