"""The metrics that need the model, by the names a configuration gives them: cost, columns, and all measured at once.

`measure` shares what metrics have in common (the score of the masked input serves drop, increase, gain and ADCC) and
returns per-image columns and curves; what they mean, and their dataset means, stand in `registry`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import sampling
from heatbeam.transforms.metrics import faithfulness, road, stability

Floats = npt.NDArray[np.float64]

GROUPS: dict[str, tuple[str, ...]] = {
    "drop": ("confidence_drop", "confidence_increase", "confidence_gain"),
    "insertion": ("insertion_auc",),
    "deletion": ("deletion_auc",),
    "adcc": ("adcc", "coherency", "complexity"),
    "road": ("road", "road_morf", "road_lerf"),
    "complexity": ("complexity_entropy", "sparseness_gini"),
    "sensitivity": ("max_sensitivity", "average_sensitivity"),
    "randomization": ("randomization_spearman", "randomization_ssim"),
    "class_independence": ("other_class_spearman", "other_class_overlap"),
}
"""Name in the configuration and the columns it writes. ``insertion``, ``deletion`` and ``road`` also write curves."""


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
    deletion_baseline: faithfulness.Baseline
    insertion_baseline: faithfulness.Baseline
    road_percentiles: tuple[float, ...]
    road_noise: float
    sensitivity_radius: float
    sensitivity_samples: int
    seed: int
    batch_size: int


def passes(names: Sequence[str], settings: Settings) -> tuple[int, int]:
    """(predictions, explanations) per image and class that `measure` asks for."""
    check_names(names)
    road_passes = 1 + 2 * len(settings.road_percentiles)
    predictions = {"insertion": settings.steps + 1, "deletion": settings.steps + 1, "road": road_passes}
    explanations = {"adcc": 1, "sensitivity": settings.sensitivity_samples, "randomization": 1, "class_independence": 1}
    masking = 2 if {"drop", "adcc"} & set(names) else 0
    unique = set(names)
    return masking + sum(predictions.get(n, 0) for n in unique), sum(explanations.get(n, 0) for n in unique)


def check_names(names: Sequence[str]) -> None:
    """Raises ValueError, naming the known ones, if a name is unknown."""
    unknown = sorted(set(names) - set(GROUPS))
    if unknown:
        raise ValueError(f"unknown metrics {', '.join(unknown)}; expected some of {', '.join(GROUPS)}")


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """B maps to measure. An image that is explained for several classes comes several times.

    Attributes:
        predict: inputs (N, H, W, C) to probabilities (N, classes).
        explain: inputs and class ids (N,) to heatmaps (N, H, W) in [0, 1], as `heatmaps` were made.
        explain_twin: the same with the twin of shuffled weights (`stability.randomized_weights`), or None without
            ``randomization``.
        inputs: float32 (B, H, W, C), preprocessed.
        heatmaps: (B, H, W) in [0, 1].
        class_ids: (B,).
        image_ids: (B,); noise and the random other class depend on them, not on the batch.
        classes: number of classes of the model.
    """

    predict: faithfulness.Predict
    explain: faithfulness.Explain
    explain_twin: faithfulness.Explain | None
    inputs: faithfulness.Inputs
    heatmaps: faithfulness.Maps
    class_ids: faithfulness.ClassIds
    image_ids: Sequence[str]
    classes: int


Columns = dict[str, Floats]


def measure(names: Sequence[str], batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    """The columns of `GROUPS` for the names given, and their curves.

    Args:
        names: keys of `GROUPS`, in any order.
        batch: what to measure.
        settings: how.

    Returns:
        Columns, float64 (B,) each, and curves, float64 (B, points) each: ``insertion`` and ``deletion`` over
        ``steps + 1`` points, ``road_morf`` and ``road_lerf`` over the percentiles.
    """
    check_names(names)
    faithfulness.checked(batch.inputs, batch.heatmaps, batch.class_ids, settings.batch_size)
    if len(batch.image_ids) != len(batch.inputs):
        raise ValueError(f"{len(batch.image_ids)} image ids for {len(batch.inputs)} inputs; expected one each")
    columns: Columns = {}
    curves: Columns = {}
    if {"drop", "adcc"} & set(names):
        columns |= _masking("drop" in names, "adcc" in names, batch, settings)
    for name, group in _GROUP_FUNCTIONS.items():
        if name in names:
            more, points = group(batch, settings)
            columns |= more
            curves |= points
    return columns, curves


def _masking(drop: bool, adcc: bool, batch: Batch, settings: Settings) -> Columns:
    given = (batch.inputs, batch.heatmaps, batch.class_ids)
    baseline, size = settings.mask_baseline, settings.batch_size
    before, after = faithfulness.masked_scores(batch.predict, *given, baseline=baseline, batch_size=size)
    columns: Columns = {}
    if drop:
        columns["confidence_drop"] = faithfulness.confidence_drop(before, after)
        columns["confidence_increase"] = faithfulness.confidence_increase(before, after)
        columns["confidence_gain"] = faithfulness.confidence_gain(before, after)
    if adcc:
        parts = faithfulness.adcc(batch.explain, *given, before, after, baseline=baseline, batch_size=size)
        columns |= {"adcc": parts.adcc, "coherency": parts.coherency, "complexity": parts.complexity}
    return columns


def _insertion(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    curve = faithfulness.insertion(
        batch.predict, batch.inputs, batch.heatmaps, batch.class_ids,
        steps=settings.steps, baseline=settings.insertion_baseline, batch_size=settings.batch_size,
    )  # fmt: skip
    return {"insertion_auc": curve.auc}, {"insertion": curve.scores}


def _deletion(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    curve = faithfulness.deletion(
        batch.predict, batch.inputs, batch.heatmaps, batch.class_ids,
        steps=settings.steps, baseline=settings.deletion_baseline, batch_size=settings.batch_size,
    )  # fmt: skip
    return {"deletion_auc": curve.auc}, {"deletion": curve.scores}


def _road(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    got = road.road(
        batch.predict, batch.inputs, batch.heatmaps, batch.class_ids, percentiles=settings.road_percentiles,
        noise=settings.road_noise, seeds=_seeds(batch, settings), batch_size=settings.batch_size,
    )  # fmt: skip
    columns = {"road": got.combined, "road_morf": got.morf.mean(axis=1), "road_lerf": got.lerf.mean(axis=1)}
    return columns, {"road_morf": got.morf, "road_lerf": got.lerf}


def _complexity(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    return {
        "complexity_entropy": faithfulness.complexity_entropy(batch.heatmaps, epsilon=0.0),
        "sparseness_gini": faithfulness.sparseness_gini(batch.heatmaps),
    }, {}


def _sensitivity(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    got = stability.sensitivity(
        batch.explain, batch.inputs, batch.heatmaps, batch.class_ids, radius=settings.sensitivity_radius,
        samples=settings.sensitivity_samples, seeds=_seeds(batch, settings), batch_size=settings.batch_size,
    )  # fmt: skip
    return {"max_sensitivity": got.maximum, "average_sensitivity": got.average}, {}


def _randomization(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    if batch.explain_twin is None:
        raise ValueError("randomization needs explain_twin, the method on the model with shuffled weights")
    alike = _agreement(batch.explain_twin, batch.class_ids, batch, settings)
    return {"randomization_spearman": alike.spearman, "randomization_ssim": alike.ssim}, {}


def _class_independence(batch: Batch, settings: Settings) -> tuple[Columns, Columns]:
    pairs = zip(batch.image_ids, batch.class_ids.tolist(), strict=True)
    others = [sampling.other_class(image_id, c, batch.classes, settings.seed) for image_id, c in pairs]
    alike = _agreement(batch.explain, np.array(others, np.int64), batch, settings)
    return {"other_class_spearman": alike.spearman, "other_class_overlap": alike.top_overlap}, {}


def _agreement(
    explain: faithfulness.Explain, class_ids: faithfulness.ClassIds, batch: Batch, settings: Settings
) -> stability.Agreement:
    again = faithfulness.maps_of(
        explain, lambda rows: batch.inputs[rows], class_ids, batch.heatmaps.shape, settings.batch_size
    )
    return stability.agreement(batch.heatmaps, again)


def _seeds(batch: Batch, settings: Settings) -> list[int]:
    return [sampling.image_seed(image_id, settings.seed) for image_id in batch.image_ids]


_GROUP_FUNCTIONS = {
    "insertion": _insertion,
    "deletion": _deletion,
    "road": _road,
    "complexity": _complexity,
    "sensitivity": _sensitivity,
    "randomization": _randomization,
    "class_independence": _class_independence,
}
