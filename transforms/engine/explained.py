"""Which classes of an image are explained, and why: from targets and the model's scores to one explanation an image."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.engine import specs

WIDEST = 16
"""Classes of an image that one pass explains at most: with the batch size it bounds the memory of head gradients."""


Reason = tuple[int, str]
"""A class id and the target for which it is explained."""


@dataclasses.dataclass(frozen=True, eq=False)
class ImageExplanation:
    """What the model said about one image.

    Attributes:
        class_ids: int64 ``(L,)``, each class once, in the order of the targets.
        targets: the reasons each class was explained.
        logits, probabilities: float32 ``(L,)``.
        ranks: int64 ``(L,)``, 1 = the model's first choice; ties go to the lower class id.
        predicted_class_id: the model's first choice.
        maps: ``(method label, layer, float32 (L, *grid))``, raw and signed; a method that was not asked to explain
            this image is left out.
        finite: whether every logit and every activation is a finite number.
        evidence: of the channels, for each class, or None.
    """

    class_ids: np.ndarray
    targets: tuple[tuple[str, ...], ...]
    logits: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray
    predicted_class_id: int
    maps: tuple[tuple[str, str, np.ndarray], ...]
    finite: bool
    evidence: records.ChannelEvidence | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class BatchMaps:
    """The maps of one method for a batch.

    Attributes:
        label, layer: names of the method and of its layer.
        maps: float32 ``(B, columns, *grid)``.
        chosen: bool ``(B,)``, the images the method was asked to explain; None for all.
    """

    label: str
    layer: str
    maps: np.ndarray
    chosen: np.ndarray | None


@dataclasses.dataclass(frozen=True)
class Columns:
    """How many classes of an image one pass explains: those that it is given, then the model's first choices.

    Attributes:
        given: columns of classes that are known before the pass.
        top: columns of the model's first choices.
        looked_up: first choices that are found by a pass of their own, to be given to the shared one.
    """

    given: int
    top: int
    looked_up: int

    @property
    def width(self) -> int:
        """Classes of an image, at most `WIDEST`."""
        return self.given + self.top

    @classmethod
    def of(cls, targets: Sequence[specs.Target], classes: int) -> Columns:
        """What the targets of a run need, of a model of so many classes."""
        given = sum(1 for t in targets if t in ("label", "labels") or isinstance(t, int))
        top = _top_count(targets, classes)
        return cls(given, top, 0) if given + top <= WIDEST else cls(WIDEST, 0, top)


def _top_count(targets: Sequence[specs.Target], classes: int) -> int:
    """How many of the model's first choices have to be explained."""
    counts = {"predicted": 1, "runner_up": 2}
    most = 0
    for target in targets:
        if isinstance(target, str):
            most = max(most, int(target[4:]) if target.startswith("top_") else counts.get(target, 0))
    return min(most, classes)


def chosen_classes(targets: Sequence[specs.Target], top: Sequence[int]) -> list[Reason]:
    """The model's first choices, the best first, that must be explained, each with its reasons."""
    return [(class_id, reason) for place, class_id in enumerate(top) for reason in _top_reasons(targets, place)]


def _top_reasons(wanted: Sequence[specs.Target], place: int) -> list[str]:
    """The targets that ask for the model's choice number `place` (from 0)."""
    reasons = []
    for target in wanted:
        if (target, place) in (("predicted", 0), ("runner_up", 1)):
            reasons.append(str(target))
        elif isinstance(target, str) and target.startswith("top_") and place < int(target[4:]):
            reasons.append(target)
    return reasons


def _reason_name(target: str | int) -> str:
    return f"class_{target}" if isinstance(target, int) else target


def given_classes(targets: Sequence[specs.Target], label_ids: Sequence[int]) -> list[Reason]:
    """The classes an image must be explained for before the model is asked, each with its reason."""
    given: list[Reason] = []
    for target in targets:
        if isinstance(target, int):
            given.append((target, f"class_{target}"))
        elif target == "label" and label_ids:
            given.append((label_ids[0], "label"))
        elif target == "labels":
            given.extend((class_id, "labels") for class_id in label_ids)
    return given


@dataclasses.dataclass(frozen=True, eq=False)
class Batch:
    """What one pass said of B images. The columns of the given classes come first, then those of the model's choices.

    Attributes:
        targets: of the run.
        given: the classes of each image that were known before, in the order of their columns.
        columns: of the pass.
        with_top: whether the model's choices are explained in this pass.
        top: int ``(B, N)``, the model's first choices, at least one.
        logits, probabilities: float32 ``(B, columns.width)``.
        ranks: int ``(B, columns.width)``.
        finite: bool ``(B,)``.
        maps: of each method.
        evidence: of each image and column, arrays ``(B, columns.width, ...)``; None where there is none.
    """

    targets: Sequence[specs.Target]
    given: Sequence[Sequence[Reason]]
    columns: Columns
    with_top: bool
    top: np.ndarray
    logits: np.ndarray
    probabilities: np.ndarray
    ranks: np.ndarray
    finite: np.ndarray
    maps: Sequence[BatchMaps]
    evidence: records.ChannelEvidence | None = None

    def image(self, i: int) -> ImageExplanation:
        """Image `i`: each class once, with every reason for it."""
        reasons: dict[int, list[str]] = {}
        column: dict[int, int] = {}
        for place, (class_id, reason) in enumerate(self.given[i]):
            reasons.setdefault(class_id, []).append(reason)
            column.setdefault(class_id, place)
        for place, class_id in enumerate(self.top[i].tolist()) if self.with_top else ():
            names = _top_reasons(self.targets, place)
            if names:
                reasons.setdefault(class_id, []).extend(names)
                column.setdefault(class_id, self.columns.given + place)
        columns = list(column.values())
        return ImageExplanation(
            class_ids=np.array(list(column), np.int64),
            targets=tuple(_in_order(r, self.targets) for r in reasons.values()),
            logits=self.logits[i, columns],
            probabilities=self.probabilities[i, columns],
            ranks=self.ranks[i, columns].astype(np.int64),
            predicted_class_id=int(self.top[i, 0]),
            maps=tuple(
                (one.label, one.layer, np.ascontiguousarray(one.maps[i, columns]))
                for one in self.maps
                if one.chosen is None or one.chosen[i]
            ),
            finite=bool(self.finite[i]),
            evidence=None if self.evidence is None else _each(self.evidence, lambda array: array[i, columns]),
        )


def _each(evidence: records.ChannelEvidence, change: Callable[[np.ndarray], np.ndarray]) -> records.ChannelEvidence:
    """`evidence` with each of its arrays changed."""
    arrays = {field.name: change(getattr(evidence, field.name)) for field in dataclasses.fields(evidence)}
    return records.ChannelEvidence(**arrays)


def _in_order(reasons: Sequence[str], targets: Sequence[specs.Target]) -> tuple[str, ...]:
    """Each reason once, in the order of the targets."""
    return tuple(sorted(set(reasons), key=list(map(_reason_name, targets)).index))


def joined(parts: list[ImageExplanation], targets: Sequence[specs.Target]) -> ImageExplanation:
    """One explanation of an image whose classes took several passes; each class once, as one pass would have it."""
    if len(parts) == 1:
        return parts[0]
    reasons: dict[int, tuple[str, ...]] = {}
    place: dict[int, tuple[int, int]] = {}
    for p, part in enumerate(parts):
        for i, class_id in enumerate(part.class_ids.tolist()):
            reasons[class_id] = reasons.get(class_id, ()) + part.targets[i]
            place.setdefault(class_id, (p, i))
    pick = list(place.values())

    def gathered(name: str) -> np.ndarray:
        return np.stack([getattr(parts[p], name)[i] for p, i in pick])

    evidence = [part.evidence for part in parts if part.evidence is not None]

    return dataclasses.replace(
        parts[-1],
        evidence=_joined_evidence(evidence, pick) if len(evidence) == len(parts) else None,
        class_ids=np.array(list(place), np.int64),
        targets=tuple(_in_order(r, targets) for r in reasons.values()),
        logits=gathered("logits"),
        probabilities=gathered("probabilities"),
        ranks=gathered("ranks"),
        maps=tuple(
            (label, layer, np.stack([parts[p].maps[m][2][i] for p, i in pick]))
            for m, (label, layer, _) in enumerate(parts[-1].maps)
        ),
    )


def _joined_evidence(
    parts: Sequence[records.ChannelEvidence], pick: Sequence[tuple[int, int]]
) -> records.ChannelEvidence:
    """The evidence of class i of part p, for each (p, i) of `pick`."""
    fields = dataclasses.fields(records.ChannelEvidence)
    arrays = {field.name: np.stack([getattr(parts[p], field.name)[i] for p, i in pick]) for field in fields}
    return records.ChannelEvidence(**arrays)
