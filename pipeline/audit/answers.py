"""Whether the model's answers have anything to do with the images: one for all of them, or no better than chance."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow.dataset as ds

from heatbeam.transforms.metrics import chance

MANY = 20
"""Images, of which nothing is known, that one class may have by accident."""

_NEARLY_ALL = 0.75

_COLUMNS = ["image_id", "shard", "record_index", "label_ids", "predicted_class_id"]


def of_run(table: ds.Dataset, classes: int) -> chance.Answers:
    """The answers of a run, each image once.

    Args:
        table: ``explanations``.
        classes: of the model.
    """
    found = chance.Answers(classes)
    last: tuple[str, str, int] | None = None
    for batch in table.to_batches(columns=_COLUMNS):
        keys = (batch[name].to_pylist() for name in ("image_id", "shard", "record_index"))
        labels, predicted = batch["label_ids"].to_pylist(), batch["predicted_class_id"].to_pylist()
        for place, key in enumerate(zip(*keys, strict=True)):
            if key != last:  # the rows of an image stand together
                found.add(labels[place], predicted[place])
            last = key
    return found


def findings(answers: chance.Answers, names: Sequence[str], *, few: bool = False) -> list[str]:
    """What is wrong with the answers, a sentence each.

    Args:
        answers: of classes, not of values.
        names: of the classes.
        few: whether these are only a few of the records: then an accuracy above that of chance is let pass.
    """
    found = []
    if len(answers.first) == 1 and _should_differ(answers):
        (only,) = answers.first
        found.append(f"the model's first choice is {names[only]} for every one of {answers.images:,} images")
    suspicious = answers.can_tell and answers.p_value > chance.LEVEL
    if suspicious and (not few or answers.hits <= answers.chance * answers.labelled):
        found.append(
            f"the model is no better than chance: {answers.hits:,} of {answers.labelled:,} first choices are right "
            f"({answers.hits / answers.labelled:.1%}), and answers that have nothing to do with the images would be in "
            f"{answers.chance:.1%} (one-sided p = {answers.p_value:.2g}): random weights, other preprocessing, or "
            "classes in another order"
        )
    return found + _beside(answers)


def _beside(answers: chance.Answers) -> list[str]:
    """That labels and classes are counted from different numbers, if the first choices say so."""
    step, hits = max(((d, answers.beside[d]) for d in (-1, 1)), key=lambda one: one[1])
    # Neighbours may be alike, as breeds of dogs are, and be confused: nearly all images, or it is not told.
    if not answers.can_tell or hits < _NEARLY_ALL * answers.labelled:
        return []
    where, change = ("plus", "lower") if step > 0 else ("minus", "higher")
    right = (
        f"{answers.hits:,} of {answers.labelled:,} first choices are the label, and {hits:,} are the label {where} 1"
    )
    return [f"the labels do not fit the model's classes: {right}: set input.label_offset one {change} than it is"]


def value_findings(table: ds.Dataset) -> list[str]:
    """What is wrong with the values of a run, a sentence each."""
    found: dict[int, tuple[float, float, int]] = {}
    for batch in table.to_batches(columns=["class_id", "logit"]):
        classes, values = (batch[name].to_numpy() for name in ("class_id", "logit"))
        for output in np.unique(classes).tolist():
            mine = values[classes == output]
            low, high, n = found.get(output, (np.inf, -np.inf, 0))
            found[output] = (min(low, mine.min()), max(high, mine.max()), n + len(mine))
    return [
        f"the model's value of output {output} is {low:.4g} for every image"
        for output, (low, high, n) in sorted(found.items())
        if n > 1 and high - low <= 1e-6 * max(1e-30, abs(high))
    ]


def _should_differ(answers: chance.Answers) -> bool:
    if answers.labelled:
        return len(answers.sets) > 1 and answers.can_tell
    return answers.images >= MANY and answers.classes > 1


def equal(scores: Sequence[np.ndarray]) -> bool:
    """Whether the model's numbers are the same for all images, of which there are several."""
    if len(scores) < 2 or len({one.shape for one in scores}) > 1:
        return False
    each = np.stack(scores).astype(np.float64)
    return bool(np.ptp(each, axis=0).max() <= 1e-6 * max(1e-30, np.abs(each).max()))
