"""Does the map stay when nothing changed, and change when everything did? Stability and sanity of explanations.

Shared contract as in the package: inputs float32 (B, *positions, C), maps (B, *grid), results float64 (B,), NaN where a
number does not exist; nothing depends on which images share a batch.

* *Sensitivity*: noise too small to see should not change a map.
* *Parameter randomization*: a twin of the model with shuffled weights knows nothing; a map that stays alike does not
  explain the model (`randomized_weights`, then `agreement` of the maps of model and twin).
* *Class independence*: the map of the label and that of a random other class (`sampling.other_class`) should differ;
  compare them with `agreement`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps, sampling
from heatbeam.transforms.metrics import map_similarity
from heatbeam.transforms.metrics.faithfulness import batch, filtering

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]
Maps = npt.NDArray[np.floating[Any]]

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
_SSIM_C1, _SSIM_C2 = 0.01**2, 0.03**2


class Sensitivity(NamedTuple):
    """Relative change of the map under noise, float64 (B,) each: the greatest and the mean over the noisy copies."""

    maximum: Floats
    average: Floats


class Agreement(NamedTuple):
    """How alike two maps are, float64 (B,) each.

    Attributes:
        spearman: rank correlation over the pixels, -1 to 1; NaN where a map is constant.
        ssim: structural similarity, -1 to 1.
        top_overlap: intersection over union of the strongest 20 % of the area; 1/9 by chance, NaN for a constant map.
    """

    spearman: Floats
    ssim: Floats
    top_overlap: Floats


def sensitivity(
    explain: batch.Explain,
    inputs: Inputs,
    maps: Maps,
    class_ids: npt.ArrayLike,
    *,
    radius: float,
    samples: int,
    seeds: Sequence[int],
    batch_size: int,
) -> Sensitivity:
    """Max-sensitivity and its average: |M(x + e) - M(x)| / |M(x)| over noisy copies, in Euclidean norm.

    e is uniform in +-radius times the image's own range (max x - min x), so that the number does not depend on the
    preprocessing; Captum's radius is absolute. |M(x)| = 0 counts as 1, as in Captum. `samples` explanations per image.

    Args:
        explain: inputs (N, *positions, C) and class ids (N,) to maps (N, *grid), the way `maps` were made.
        inputs: float32 (B, *positions, C), preprocessed.
        maps: (B, *grid), of the clean inputs.
        class_ids: (B,).
        radius: share of the image's range; Captum's default is 0.02.
        samples: number of noisy copies of each image, at least 1; Captum's default is 10.
        seeds: one per image (`sampling.image_seed`).
        batch_size: number of noisy inputs made and explained at once.

    Yeh et al., NeurIPS 2019, arXiv:1901.09392, by sampling.
    """
    ids = np.asarray(class_ids, np.int64)
    if not len(inputs) == len(maps) == len(ids) == len(seeds):
        counts = (len(inputs), len(maps), len(ids), len(seeds))
        raise ValueError(f"{counts} inputs, maps, class ids and seeds; expected as many of each")
    if radius < 0 or samples < 1 or batch_size < 1:
        raise ValueError(f"radius {radius}, samples {samples}, batch_size {batch_size}; expected >= 0, >= 1 and >= 1")
    change = np.empty(len(inputs) * samples)
    clean = maps.reshape(len(maps), -1).astype(np.float64)
    for start in range(0, len(change), batch_size):
        rows = np.arange(start, min(start + batch_size, len(change)))
        image, sample = np.divmod(rows, samples)
        noisy = np.stack([_noisy(inputs[b], seeds[b], s, radius) for b, s in zip(image, sample, strict=True)])
        again = np.asarray(explain(noisy, ids[image]))
        if again.shape != (len(rows), *maps.shape[1:]):
            raise ValueError(f"explain gave maps of shape {again.shape}; expected {(len(rows), *maps.shape[1:])}")
        change[rows] = np.linalg.norm(again.reshape(len(rows), -1) - clean[image], axis=1)
    norm = np.linalg.norm(clean, axis=1)
    relative = change.reshape(-1, samples) / np.where(norm == 0, 1, norm)[:, None]
    return Sensitivity(relative.max(axis=1), relative.mean(axis=1))


def _noisy(image: Inputs, seed: int, sample: int, radius: float) -> Inputs:
    drawn = np.random.default_rng([seed, sample]).random(image.shape, dtype=np.float32)
    return image + (2 * drawn - 1) * np.float32(radius * float(np.ptp(image)))


def randomized_weights(weights: Sequence[npt.NDArray[Any]], *, share: float, seed: int) -> list[npt.NDArray[Any]]:
    """The weights of a twin that has learnt nothing: the entries of each array shuffled over the array.

    A shuffle keeps mean and standard deviation to the bit, and variances positive, so that activations keep their
    size. Arrays of integers or booleans (counters, random states) are kept. Array i is shuffled by (seed, i) alone.

    Args:
        weights: as ``keras.Model.get_weights`` gives them: in the order of the layers, input first.
        share: of the arrays to shuffle, from the output back, above 0 to 1 (all); at least one.
        seed: of the run.

    Returns:
        New arrays, for ``set_weights`` of a clone.

    Adebayo et al., NeurIPS 2018, arXiv:1810.03292; there weights are drawn anew.
    """
    if not 0 < share <= 1:
        raise ValueError(f"a share of {share} of the weights; expected above 0, to 1")
    first = len(weights) - max(1, round(share * len(weights)))
    twin = [np.array(one) for one in weights]
    for number, one in enumerate(twin):
        if number >= first and one.dtype.kind not in "iub":
            twin[number] = np.random.default_rng([seed, number]).permutation(one.ravel()).reshape(one.shape)
    return twin


def agreement(first: Maps, second: Maps) -> Agreement:
    """How alike two heatmaps of each image are.

    Args:
        first, second: (B, *positions) in [0, 1]; of images, at least 11 x 11.
    """
    if first.shape != second.shape or first.ndim - 1 not in heatmaps.RANKS:
        raise ValueError(f"maps have shapes {first.shape} and {second.shape}; expected the same (B, *positions)")
    missing = batch.undefined(first) + batch.undefined(second)
    broken = np.isnan(missing).reshape(-1, *[1] * (first.ndim - 1))
    first, second = np.where(broken, 0, first), np.where(broken, 0, second)
    return Agreement(
        map_similarity.spearman(first, second) + missing,
        ssim(first, second) + missing,
        map_similarity.top_area_overlap(first, second, map_similarity.TOP_SHARE) + missing,
    )


def ssim(first: Maps, second: Maps) -> Floats:
    """Mean structural similarity of maps in [0, 1], over all whole Gaussian windows of 11 x 11 pixels (sigma 1.5).

    (2 m1 m2 + C1)(2 s12 + C2) / ((m1^2 + m2^2 + C1)(s1^2 + s2^2 + C2)), C1 = 0.01^2, C2 = 0.03^2.

    The window of a series has 11 samples and that of a volume 11 x 11 x 11 voxels. An axis of a series or a volume with
    fewer than 11 positions takes the greatest odd number that it has, which clips of few frames need, and an axis of
    one position none: so a volume of one slice has the number of the image.

    Args:
        first, second: (B, *positions); of images, at least 11 x 11, or one pixel high or wide.

    Wang et al., IEEE TIP 2004, eq. 13, there of images.
    """
    sizes = first.shape[1:]
    if len(sizes) == 2 and any(1 < size < SSIM_WINDOW for size in sizes):
        raise ValueError(f"maps of {sizes} pixels; SSIM needs {SSIM_WINDOW} x {SSIM_WINDOW}: resize them")
    return np.array([_ssim(a.astype(np.float64), b.astype(np.float64)) for a, b in zip(first, second, strict=True)])


def _ssim(first: Floats, second: Floats) -> float:
    mean1, mean2 = _windows(first), _windows(second)
    spread = _windows(first * first) + _windows(second * second) - mean1 * mean1 - mean2 * mean2
    covariance = _windows(first * second) - mean1 * mean2
    light = (2 * mean1 * mean2 + _SSIM_C1) / (mean1 * mean1 + mean2 * mean2 + _SSIM_C1)
    return float((light * (2 * covariance + _SSIM_C2) / (spread + _SSIM_C2)).mean())


def _windows(values: Floats) -> Floats:
    """Weighted mean of each whole window."""
    halves = [(min(SSIM_WINDOW, size) - 1) // 2 for size in values.shape]
    kernels = []
    for half in halves:
        kernel = np.exp(-(np.arange(-half, half + 1.0) ** 2) / (2 * SSIM_SIGMA**2))
        kernels.append(kernel / kernel.sum())
    inside = tuple(slice(half, size - half) for half, size in zip(halves, values.shape, strict=True))
    return filtering.separable(values[..., None], kernels)[..., 0][inside]


def measure_sensitivity(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """Greatest and mean change under noise."""
    got = sensitivity(
        one.explain, one.inputs, one.heatmaps, one.class_ids, radius=one.settings.sensitivity_radius,
        samples=one.settings.sensitivity_samples, seeds=one.seeds, batch_size=one.settings.batch_size,
    )  # fmt: skip
    return {"max_sensitivity": got.maximum, "average_sensitivity": got.average}, {}


def measure_randomization(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """Likeness of the map and that of the twin with shuffled weights."""
    if one.explain_twin is None:
        raise ValueError("randomization needs explain_twin, the method on the model with shuffled weights")
    alike = _explained_again(one.explain_twin, one.class_ids, one)
    return {"randomization_spearman": alike.spearman, "randomization_ssim": alike.ssim}, {}


def measure_class_independence(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """Likeness of the map and that of a random other class."""
    pairs = zip(one.image_ids, one.class_ids.tolist(), strict=True)
    others = [sampling.other_class(image_id, c, one.classes, one.settings.seed) for image_id, c in pairs]
    alike = _explained_again(one.explain, np.array(others, np.int64), one)
    return {"other_class_spearman": alike.spearman, "other_class_overlap": alike.top_overlap}, {}


def _explained_again(explain: batch.Explain, class_ids: batch.ClassIds, one: batch.Batch) -> Agreement:
    again = batch.maps_of(
        explain, lambda rows: one.inputs[rows], class_ids, one.heatmaps.shape, one.settings.batch_size
    )
    return agreement(one.heatmaps, again)
