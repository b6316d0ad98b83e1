"""What a metric that needs the model is given: maps, the model, the settings; and scores and maps of changed inputs."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps as heatmaps_of
from heatbeam.transforms import sampling
from heatbeam.transforms.metrics import kept

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]
Maps = npt.NDArray[np.floating[Any]]
ClassIds = npt.NDArray[np.int64]
Predict = Callable[[Inputs], npt.ArrayLike]
"""float32 inputs (N, *positions, C), preprocessed, to scores (N, classes). Give it probabilities: the papers'
definitions are about those; logits work where it says so."""
Explain = Callable[[Inputs, ClassIds], npt.ArrayLike]
"""The same inputs and class ids (N,) to heatmaps (N, *positions) in [0, 1] at the input's size, float32."""
Baseline = float | Literal["mean", "blur"]
"""What replaces pixels: one value for all, the mean colour of each image, or the image blurred as in RISE."""

Columns = dict[str, Floats]
"""Per-image numbers by name, float64 (B,) each; or curves, float64 (B, points) each."""


@dataclasses.dataclass(frozen=True)
class Settings:
    """What changes the numbers; all of it belongs in the manifest.

    Attributes:
        mask_baseline: what a map of 0 leaves of the preprocessed input in drop, increase, gain and ADCC.
        steps: of insertion and deletion.
        deletion_baseline: a value of the preprocessed input, ``mean`` or ``blur``.
        insertion_baseline: the same.
        road_percentiles: share of the pixels ROAD keeps, in percent.
        road_noise: standard deviation, in units of the preprocessed input.
        sensitivity_radius: share of the image's range.
        sensitivity_samples: noisy copies of each image.
        seed: of everything random.
        batch_size: inputs that exist at a time.
    """

    mask_baseline: float
    steps: int
    deletion_baseline: Baseline
    insertion_baseline: Baseline
    road_percentiles: tuple[float, ...]
    road_noise: float
    sensitivity_radius: float
    sensitivity_samples: int
    seed: int
    batch_size: int


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """B maps to measure. An image that is explained for several classes comes several times.

    Attributes:
        predict: inputs (N, *positions, C) to probabilities (N, classes).
        explain: inputs and class ids (N,) to heatmaps (N, *positions) in [0, 1], as `heatmaps` were made.
        explain_twin: the same with the twin of shuffled weights (`stability.randomized_weights`), or None without
            ``randomization``.
        inputs: float32 (B, *positions, C), preprocessed.
        heatmaps: (B, *positions) in [0, 1].
        class_ids: (B,).
        image_ids: (B,); noise and the random other class depend on them, not on the batch.
        classes: number of classes of the model.
        settings: what changes the numbers.
    """

    predict: Predict
    explain: Explain
    explain_twin: Explain | None
    inputs: Inputs
    heatmaps: Maps
    class_ids: ClassIds
    image_ids: Sequence[str]
    classes: int
    settings: Settings

    @kept.Kept
    def masked_scores(self) -> tuple[Floats, Floats]:
        """`masked_scores` of the batch: two predictions an image, shared by every metric that asks for them."""
        given, baseline = (self.inputs, self.heatmaps, self.class_ids), self.settings.mask_baseline
        return masked_scores(self.predict, *given, baseline=baseline, batch_size=self.settings.batch_size)

    @property
    def seeds(self) -> list[int]:
        """Of the random numbers of each image."""
        return [sampling.image_seed(image_id, self.settings.seed) for image_id in self.image_ids]


def checked(inputs: Inputs, heatmaps: Maps, class_ids: npt.ArrayLike, batch_size: int) -> ClassIds:
    """The class ids as int64, if all arguments of a metric fit each other.

    Raises:
        ValueError: they do not, or a heatmap leaves [0, 1].
    """
    ids = np.asarray(class_ids)
    if inputs.ndim - 2 not in heatmaps_of.RANKS or heatmaps.shape != inputs.shape[:-1] or ids.shape != inputs.shape[:1]:
        raise ValueError(
            f"inputs {inputs.shape}, heatmaps {heatmaps.shape} and class ids {ids.shape}; expected (B, *positions,"
            " C) of 1 to 3 axes of positions, (B, *positions) and (B,): resize the maps to the input"
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
        make: row numbers (n,) to inputs (n, *positions, C), n at most `batch_size`.
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
    """Heatmaps float32 `shape` = (N, *positions) of the inputs that `make` gives, made and explained in chunks."""
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


def masked(inputs: Inputs, heatmaps: Maps, baseline: float) -> Inputs:
    """Baseline + M (x - baseline): the input where the map is 1, the baseline where it is 0. float32, new."""
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
    after = scores_of(predict, functools.partial(masked_rows, inputs, heatmaps, baseline), ids, batch_size)
    return before, after + undefined(heatmaps)


def masked_rows(inputs: Inputs, heatmaps: Maps, baseline: float, rows: npt.NDArray[np.int64]) -> Inputs:
    """`masked` of some rows of a batch."""
    return masked(inputs[rows], heatmaps[rows], baseline)


def undefined(heatmaps: Maps) -> Floats:
    """0 for a finite map, NaN for one with a NaN, (B,)."""
    return np.where(np.isfinite(heatmaps).all(axis=tuple(range(1, heatmaps.ndim))), 0.0, np.nan)
