"""What the heatmaps of one image add to the numbers of a dataset. Knows no Beam."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

import numpy as np

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import protocols, slicing, value_errors
from heatbeam.transforms.metrics.localization import baselines, localization, scored_map, top_k

# Cells of a side of a baseline map; odd, so that one cell is the centre.
_BASELINE_CELLS = 15


@dataclasses.dataclass(frozen=True, eq=False)
class MapEvidence:
    """What one heatmap adds to the numbers of a dataset.

    Attributes:
        method: name of the method, a baseline's name, or `slicing.MODEL`.
        targets: why its class was explained.
        evidence: the numbers.
        curves: ``(name, values)`` pairs.
    """

    method: str
    targets: tuple[str, ...]
    evidence: localization.Evidence
    curves: tuple[tuple[str, np.ndarray], ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class ImageEvidence:
    """What one image adds to the numbers of a dataset.

    Attributes:
        image_id: of the image.
        slices: ``(feature, value)`` pairs.
        maps: one per method and explained class.
    """

    image_id: str
    slices: tuple[tuple[str, str], ...]
    maps: tuple[MapEvidence, ...]


def localize(
    explanation: records.Explanation, protocol: protocols.Protocol, groups: tuple[str, ...], with_baselines: bool
) -> tuple[records.Localization, ImageEvidence]:
    """An explanation with what is measured on its maps, and what that adds to the numbers of a dataset."""
    ids, ranks = explanation.class_ids, explanation.ranks
    source, view = explanation.source, stored_view(explanation.source.view)
    if view != source.view:  # that of a whole image is not
        source = dataclasses.replace(source, view=view)
    if source.values is not None:  # objects have no class then, and are every output's; there is no first choice
        source = dataclasses.replace(source, label_ids=tuple(ids.tolist()))
        ranks = np.zeros_like(ranks)
    scores, maps = [], list(_model_evidence(explanation))
    truths = localization.truths(explanation.ground_truth, source, ids, protocol)  # the same for every method
    for method in explanation.methods:
        framed = [scored_map.Framed(raw, source, protocol) for raw in method.maps]
        measured = localization.measure(method.maps, framed, source, truths, ids, ranks, protocol, groups)
        scores.append(records.MethodScores(method.method, measured.boxes, measured.values, measured.health))
        maps += _map_evidence(explanation, method, measured)
    if with_baselines:
        maps += _baseline_evidence(explanation, ranks, truths, protocol, groups)
    row = records.Localization(explanation, tuple(scores), _true_boxes(explanation.ground_truth, truths))
    return row, ImageEvidence(source.image_id, source.slices, tuple(maps))


def stored_view(view: heatmaps.View) -> heatmaps.View:
    """A view as the table has it, in float32: what is measured with it can be measured again from a row, to the bit."""
    return tuple(float(np.float32(edge)) for edge in view)


def _true_boxes(ground_truth: records.GroundTruth, truths: Sequence[scored_map.Truth]) -> tuple[np.ndarray | None, ...]:
    if ground_truth.boxes is None:
        return (None,) * len(truths)
    none = np.zeros((0, ground_truth.boxes.shape[1]))
    return tuple(none if truth.boxes is None else truth.boxes for truth in truths)


def _map_evidence(
    explanation: records.Explanation, method: records.MethodMaps, measured: localization.Scores
) -> Iterator[MapEvidence]:
    for i, evidence in enumerate(measured.evidence):
        extra = {name: float(values[i]) for name, values in method.scores if np.isfinite(values[i])}
        whole = dataclasses.replace(evidence, values={**evidence.values, **extra}) if extra else evidence
        curves = tuple((name, values[i]) for name, values in method.curves)
        yield MapEvidence(method.method, explanation.targets[i], whole, curves)


def _model_evidence(explanation: records.Explanation) -> Iterator[MapEvidence]:
    """Whether the model knew the labels it was explained for; of values, how far off they are."""
    if explanation.source.values is not None:
        yield from _value_evidence(explanation)
        return
    for i, class_id in enumerate(explanation.class_ids.tolist()):
        if class_id in explanation.source.label_ids:
            values = top_k.label_columns(float(explanation.ranks[i]), float(explanation.probabilities[i]))
            yield MapEvidence(slicing.MODEL, explanation.targets[i], localization.Evidence(class_id, values))


def _value_evidence(explanation: records.Explanation) -> Iterator[MapEvidence]:
    pairs = zip(explanation.logits.tolist(), explanation.true_values.tolist(), strict=True)
    for class_id, targets, (predicted, true) in zip(
        explanation.class_ids.tolist(), explanation.targets, pairs, strict=True
    ):
        if math.isfinite(true):
            values = value_errors.columns(predicted, true)
            yield MapEvidence(slicing.MODEL, targets, localization.Evidence(class_id, values))


def _baseline_evidence(
    explanation: records.Explanation,
    ranks: np.ndarray,
    truths: Sequence[scored_map.Truth],
    protocol: protocols.Protocol,
    groups: tuple[str, ...],
) -> Iterator[MapEvidence]:
    truth = explanation.ground_truth
    if truth.boxes is None and truth.masks is None:
        return
    found = baselines.evidence(
        explanation.source, truths, explanation.class_ids, ranks, protocol, groups, _BASELINE_CELLS
    )
    for name, of_classes in found.items():
        for targets, evidence in zip(explanation.targets, of_classes, strict=True):
            yield MapEvidence(name, targets, evidence)
