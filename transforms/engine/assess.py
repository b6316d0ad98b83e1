"""Faithfulness, stability and sanity of the maps of a batch, measured where the model is.

Every number follows from the image, its map and the model alone: images are chosen, and noise is drawn, by hash of the
image id, so batches, shards and workers change nothing. The formulas are in `heatbeam.transforms.metrics`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from heatbeam.transforms import heatmaps, records, sampling
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.metrics import protocols, registry
from heatbeam.transforms.metrics.faithfulness import batch, measure


@dataclasses.dataclass(frozen=True)
class Assessment:
    """What to measure, and how.

    Attributes:
        metrics: keys of `registry.FAITHFULNESS`.
        sample: share of the images, chosen by hash of the id.
        protocol: how a map becomes the heatmap that masks the input.
        randomized_share: share of the weight arrays that the twin has shuffled, from the output back.
        settings: of the metrics.
    """

    metrics: tuple[str, ...]
    sample: float
    protocol: protocols.Protocol
    randomized_share: float
    settings: batch.Settings


def assess(
    engine: engines.Engine,
    images: np.ndarray,
    explanations: Sequence[records.Explanation],
    wanted: Assessment,
    others: Mapping[str, np.ndarray] | None = None,
) -> list[records.Explanation]:
    """The explanations with their scores and curves, rounded to float32 as the table keeps them.

    NaN for images outside the sample. Of a model of several inputs the explained one is changed; the others stay what
    they are for the image.

    Args:
        engine: that made the explanations.
        images: uint8 or float32 ``(N, *positions, C)`` at the model's input size.
        explanations: one per image.
        wanted: what to measure.
        others: as `inputs` of `engine.Engine.explain`.
    """
    chosen = [sampling.in_sample(e.source.image_id, wanted.sample, wanted.settings.seed) for e in explanations]
    inputs = engine.preprocess(images[chosen]) if any(chosen) else np.zeros((0, *images.shape[1:]), np.float32)
    place = np.cumsum(chosen) - 1
    labels = dict.fromkeys(m.method for e in explanations for m in e.methods)
    measured: dict[str, _Measured] = {}
    for label in labels:
        pairs = _pairs(explanations, chosen, place, label)
        if pairs.image_ids:
            measured[label] = _measure(engine, label, inputs, pairs, wanted, _rows(others, chosen))
    return [_with_scores(e, measured, wanted, number) for number, e in enumerate(explanations)]


@dataclasses.dataclass(frozen=True, eq=False)
class _Pairs:
    """Every (image, class) of one method: the row of its input, its image, class and raw map."""

    rows: np.ndarray
    numbers: list[int]
    image_ids: list[str]
    class_ids: np.ndarray
    maps: np.ndarray

    def of(self, row: int) -> _Pairs:
        """Those of one input."""
        places = np.flatnonzero(self.rows == row).tolist()
        numbers, image_ids = [self.numbers[i] for i in places], [self.image_ids[i] for i in places]
        return _Pairs(self.rows[places], numbers, image_ids, self.class_ids[places], self.maps[places])


@dataclasses.dataclass(frozen=True, eq=False)
class _Measured:
    """Scores ``name -> (pairs,)`` and curves ``name -> (pairs, points)``, with the image each pair belongs to."""

    numbers: np.ndarray
    scores: dict[str, np.ndarray]
    curves: dict[str, np.ndarray]

    @classmethod
    def joined(cls, parts: Sequence[_Measured]) -> _Measured:
        """Parts of one or more pairs each, one after the other."""
        scores, curves = (
            {name: np.concatenate([getattr(part, field)[name] for part in parts]) for name in getattr(parts[0], field)}
            for field in ("scores", "curves")
        )
        return cls(np.concatenate([part.numbers for part in parts]), scores, curves)


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


def _rows(others: Mapping[str, np.ndarray] | None, chosen: Sequence[bool]) -> Mapping[str, np.ndarray] | None:
    return None if others is None else {name: rows[chosen] for name, rows in others.items()}


def _measure(
    engine: engines.Engine,
    label: str,
    inputs: np.ndarray,
    pairs: _Pairs,
    wanted: Assessment,
    others: Mapping[str, np.ndarray] | None,
) -> _Measured:
    if not others:
        return _measure_beside(engine, label, inputs[pairs.rows], pairs, wanted, None)
    # A metric makes any number of changed copies of an image, in its own order: with what comes with one image at a
    # time, each copy is certain to have its own.
    parts = []
    for row in np.unique(pairs.rows).tolist():
        own = pairs.of(row)
        beside = {name: rows[row] for name, rows in others.items()}
        parts.append(_measure_beside(engine, label, inputs[own.rows], own, wanted, beside))
    return _Measured.joined(parts)


def _measure_beside(
    engine: engines.Engine,
    label: str,
    inputs: np.ndarray,
    pairs: _Pairs,
    wanted: Assessment,
    beside: Mapping[str, np.ndarray] | None,
) -> _Measured:
    """The numbers of some pairs; `beside` is what comes with every one of their inputs, without the batch axis."""

    def others(count: int) -> Mapping[str, np.ndarray] | None:
        return None if beside is None else {name: np.repeat(one[None], count, 0) for name, one in beside.items()}

    def explained(by: engines.Engine) -> batch.Explain:
        return lambda x, ids: _heatmaps(
            by.explain_inputs(label, x, ids, others(len(x))), x.shape[1:-1], wanted.protocol
        )

    twin = None
    if any(group.twin for group in registry.faithfulness(wanted.metrics)):
        twin = explained(engine.randomized(wanted.randomized_share, wanted.settings.seed))
    given = batch.Batch(
        predict=lambda x: engine.predict(x, others(len(x))),
        explain=explained(engine),
        explain_twin=twin,
        inputs=inputs,
        heatmaps=_heatmaps(pairs.maps, inputs.shape[1:-1], wanted.protocol),
        class_ids=pairs.class_ids,
        image_ids=pairs.image_ids,
        classes=engine.description.classes,
        settings=wanted.settings,
    )
    scores, curves = measure.measure(wanted.metrics, given)
    return _Measured(np.array(pairs.numbers), scores, curves)


def _heatmaps(maps: np.ndarray, size: tuple[int, ...], protocol: protocols.Protocol) -> np.ndarray:
    """Raw maps ``(N, *grid)`` as heatmaps ``(N, *positions)`` in [0, 1] over the model's input."""
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
            (name, _stored(found.scores[name][mine]) if found is not None and mine.any() else missing)
            for name in registry.columns(registry.faithfulness(wanted.metrics))
        )
        points = tuple((name, _stored(values[mine])) for name, values in found.curves.items()) if found else ()
        methods.append(dataclasses.replace(method, scores=scores, curves=points if mine.any() else ()))
    return dataclasses.replace(explanation, methods=tuple(methods))


def _stored(values: np.ndarray) -> np.ndarray:
    """What the table gives back: a run that takes the values from there adds up to the same numbers."""
    return values.astype(np.float32).astype(np.float64)
