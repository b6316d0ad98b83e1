"""Faithfulness, stability and sanity of the maps of a batch, measured where the model is.

Every number follows from the image, its map and the model alone: images are chosen, and noise is drawn, by hash of the
image id, so batches, shards and workers change nothing. The formulas are in `transforms.metrics`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import numpy as np

from transforms import records
from transforms.methods import engine as engines
from transforms.methods import heatmaps
from transforms.metrics import faithfulness, protocols, road, sampling, stability

COLUMNS = {
    "confidence": ("confidence_drop", "confidence_increase", "confidence_gain"),
    "insertion": ("insertion_auc",),
    "deletion": ("deletion_auc",),
    "adcc": ("adcc", "coherency", "complexity"),
    "road": ("road",),
    "sensitivity": ("max_sensitivity", "average_sensitivity"),
    "randomisation": ("randomisation_spearman", "randomisation_ssim"),
    "class_independence": ("other_class_spearman", "other_class_ssim"),
}
"""The metrics that can be asked for, and the columns each one fills."""


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What to measure, and how.

    Attributes:
        metrics: keys of `COLUMNS`.
        sample: share of the images, chosen by hash of the id.
        seed: of the sample and of every draw.
        protocol: how a map becomes the heatmap that masks the input.
        steps: of insertion and deletion curves.
        deletion_baseline, insertion_baseline: what stands for a removed pixel: ``mean``, ``blur`` or a value of the
            preprocessed input.
        mask_baseline: value of the preprocessed input that a map of 0 leaves.
        percentiles: of ROAD.
        road_noise: standard deviation of ROAD's noise, in units of the preprocessed input.
        radius: of the noise of the sensitivity, relative to the image's range.
        noise_samples: noisy copies of the sensitivity.
        randomised_share: share of the weight arrays that the twin has shuffled, from the output back.
    """

    metrics: tuple[str, ...]
    sample: float
    seed: int
    protocol: protocols.Protocol
    steps: int
    deletion_baseline: faithfulness.Baseline
    insertion_baseline: faithfulness.Baseline
    mask_baseline: float
    percentiles: tuple[float, ...]
    road_noise: float
    radius: float
    noise_samples: int
    randomised_share: float


def columns(metrics: Sequence[str]) -> tuple[str, ...]:
    """The columns that `metrics` fill, in a fixed order."""
    return tuple(name for metric, names in COLUMNS.items() if metric in metrics for name in names)


def assess(
    engine: engines.Engine, images: np.ndarray, explanations: Sequence[records.Explanation], wanted: Assessment
) -> list[records.Explanation]:
    """The explanations with their scores and curves; NaN for images outside the sample.

    Args:
        engine: that made the explanations.
        images: uint8 ``(N, H, W, C)`` at the model's input size.
        explanations: one per image.
        wanted: what to measure.
    """
    chosen = [sampling.in_sample(e.source.image_id, wanted.sample, wanted.seed) for e in explanations]
    inputs = engine.preprocess(images[chosen]) if any(chosen) else np.zeros((0, *images.shape[1:]), np.float32)
    place = np.cumsum(chosen) - 1
    labels = dict.fromkeys(m.method for e in explanations for m in e.methods)
    measured: dict[str, _Measured] = {}
    for label in labels:
        pairs = _pairs(explanations, chosen, place, label)
        if pairs.image_ids:
            measured[label] = _measure(engine, label, inputs[pairs.rows], pairs, wanted)
    return [_with_scores(e, measured, wanted, number) for number, e in enumerate(explanations)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """Every (image, class) of one method: the row of its input, its image, class and raw map."""

    rows: np.ndarray
    numbers: list[int]
    image_ids: list[str]
    class_ids: np.ndarray
    maps: np.ndarray


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    """Scores ``name -> (pairs,)`` and curves ``name -> (pairs, points)``, with the image each pair belongs to."""

    numbers: np.ndarray
    scores: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]


def _pairs(
    explanations: Sequence[records.Explanation], chosen: Sequence[bool], place: np.ndarray, label: str
) -> _Pairs:
    rows, numbers, image_ids, class_ids, maps = [], [], [], [], []
    for number, one in enumerate(explanations):
        mine = next((m for m in one.methods if m.method == label), None)
        if not chosen[number] or mine is None:
            continue
        for class_id, raw in zip(one.class_ids.tolist(), mine.maps, strict=True):
            rows.append(int(place[number]))
            numbers.append(number)
            image_ids.append(one.source.image_id)
            class_ids.append(class_id)
            maps.append(raw)
    return _Pairs(np.array(rows, int), numbers, image_ids, np.array(class_ids, np.int64), np.array(maps))


def _measure(
    engine: engines.Engine, label: str, inputs: np.ndarray, pairs: _Pairs, wanted: Assessment
) -> _Measured:
    shown = _heatmaps(pairs.maps, inputs.shape[1:3], wanted.protocol)
    scores: dict[str, np.ndarray] = {}
    curves: dict[str, np.ndarray] = {}
    for names, values, lines in _metrics(engine, label, inputs, shown, pairs, wanted):
        scores |= dict(zip(names, values, strict=True))
        curves |= lines
    return _Measured(np.array(pairs.numbers), scores, curves)


_Result = tuple[tuple[str, ...], tuple[np.ndarray, ...], dict[str, np.ndarray]]


def _metrics(
    engine: engines.Engine, label: str, inputs: np.ndarray, shown: np.ndarray, pairs: _Pairs, wanted: Assessment
) -> Iterator[_Result]:
    """Each metric that is wanted: its columns, their values and its curves."""
    ids, size = pairs.class_ids, engine.spec.pass_batch_size
    seeds = [sampling.image_seed(image_id, wanted.seed) for image_id in pairs.image_ids]

    def explained(one: engines.Engine) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
        return lambda x, c: _heatmaps(one.explain_inputs(label, x, c), x.shape[1:3], wanted.protocol)

    if {"confidence", "adcc"} & set(wanted.metrics):
        before, after = faithfulness.masked_scores(
            engine.predict, inputs, shown, ids, baseline=wanted.mask_baseline, batch_size=size
        )
    if "confidence" in wanted.metrics:
        values = tuple(
            f(before, after)
            for f in (faithfulness.confidence_drop, faithfulness.confidence_increase, faithfulness.confidence_gain)
        )
        yield COLUMNS["confidence"], values, {}
    for name, function, baseline in (
        ("insertion", faithfulness.insertion, wanted.insertion_baseline),
        ("deletion", faithfulness.deletion, wanted.deletion_baseline),
    ):
        if name in wanted.metrics:
            steps = min(wanted.steps, inputs.shape[1] * inputs.shape[2])
            curve = function(engine.predict, inputs, shown, ids, steps=steps, baseline=baseline, batch_size=size)
            yield COLUMNS[name], (curve.auc,), {name: curve.scores}
    if "adcc" in wanted.metrics:
        result = faithfulness.adcc(
            explained(engine), inputs, shown, ids, before, after, baseline=wanted.mask_baseline, batch_size=size
        )
        yield COLUMNS["adcc"], (result.adcc, result.coherency, result.complexity), {}
    if "road" in wanted.metrics:
        filled = road.road(
            engine.predict,
            inputs,
            shown,
            ids,
            percentiles=wanted.percentiles,
            noise=wanted.road_noise,
            seeds=seeds,
            batch_size=size,
        )
        yield COLUMNS["road"], (filled.combined,), {}
    if "sensitivity" in wanted.metrics:
        change = stability.sensitivity(
            lambda x, c: engine.explain_inputs(label, x, c),
            inputs,
            pairs.maps,
            ids,
            radius=wanted.radius,
            samples=wanted.noise_samples,
            seeds=seeds,
            batch_size=size,
        )
        yield COLUMNS["sensitivity"], (change.maximum, change.average), {}
    if "randomisation" in wanted.metrics:
        twin = engine.randomised(wanted.randomised_share, wanted.seed)
        alike = stability.agreement(shown, explained(twin)(inputs, ids))
        yield COLUMNS["randomisation"], (alike.spearman, alike.ssim), {}
    if "class_independence" in wanted.metrics:
        classes = engine.description.classes
        others = np.array(
            [
                sampling.other_class(image_id, int(c), classes, wanted.seed)
                for image_id, c in zip(pairs.image_ids, ids, strict=True)
            ],
            np.int64,
        )
        alike = stability.agreement(shown, explained(engine)(inputs, others))
        yield COLUMNS["class_independence"], (alike.spearman, alike.ssim), {}


def _heatmaps(maps: np.ndarray, size: tuple[int, int], protocol: protocols.Protocol) -> np.ndarray:
    """Raw maps ``(N, h, w)`` as heatmaps ``(N, H, W)`` in [0, 1] over the model's input."""
    return np.stack(
        [
            heatmaps.heatmap(raw, size, rectify=protocol.rectify, interpolation=protocol.interpolation)
            for raw in maps.astype(np.float32)
        ]
    )


def _with_scores(
    explanation: records.Explanation, measured: dict[str, _Measured], wanted: Assessment, number: int
) -> records.Explanation:
    methods = []
    count = len(explanation.class_ids)
    for method in explanation.methods:
        found = measured.get(method.method)
        mine = found.numbers == number if found is not None else np.zeros(0, bool)
        missing = np.full(count, np.nan)
        scores = tuple(
            (name, found.scores[name][mine] if found is not None and mine.any() else missing)
            for name in columns(wanted.metrics)
        )
        curves = tuple((name, values[mine]) for name, values in found.curves.items()) if mine.any() and found else ()
        methods.append(dataclasses.replace(method, scores=scores, curves=curves))
    return dataclasses.replace(explanation, methods=tuple(methods))
