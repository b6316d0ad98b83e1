"""How the numbers that a model returns are to be read: as declared, or as the traced graph and the numbers prove.

Where neither tells, the reader of the configuration is asked: a class that is none is worse than a run that waits.
"""

from __future__ import annotations

import dataclasses
from typing import Literal

import numpy as np

from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.scores import output_tail

Rule = Literal["softmax", "sigmoid", "probabilities", "one_vs_rest", "as_is", "value"]
"""How the score that is explained and the probability follow from a number x of the model.

=================  ===================================  ==================
rule               score                                probability
=================  ===================================  ==================
``softmax``        x, a logit                           softmax of all x
``sigmoid``        x, a logit                           sigmoid of x
``probabilities``  log x                                x
``one_vs_rest``    log x - log(1 - x)                   x
``as_is``          x                                    x
``value``          x                                    none
=================  ===================================  ==================

The scores of probabilities are their logarithms, so that a score is a logit everywhere: its softmax or sigmoid gives
the probability back, and a head that adds up evidence is linear in it. A final softmax that can be taken off leaves
even better ones, which do not fade where the model is sure.
"""

STRIPPED = ("auto", "softmax", "sigmoid")
"""The settings with which a final softmax or sigmoid is taken off."""

_ASK = (
    "Say how to read it (model.scores): softmax or sigmoid if the numbers are logits, probabilities or one_vs_rest if "
    "they are probabilities, regression if they are values, similarity if they are an embedding"
)


@dataclasses.dataclass(frozen=True)
class Reading:
    """How a model's numbers are read.

    Attributes:
        rule: from numbers to scores and probabilities.
        words: the same for the manifest.
        warnings: what speaks against it, a sentence each.
        doubt: what is not known unless the classes have names; empty where nothing is.
    """

    rule: Rule
    words: str
    warnings: tuple[str, ...] = ()
    doubt: str = ""


def read(setting: str, activation: str | None, tail: output_tail.Tail, values: np.ndarray) -> Reading:
    """How the numbers of a model are read.

    Args:
        setting: ``model.scores``.
        activation: that was taken off the end.
        tail: what leads to the output.
        values: float32 ``(N, units)``, of a few images of noise, without the activation that was taken off.

    Raises:
        loading.ModelError: it cannot be known, or is not as declared.
    """
    values = values[np.isfinite(values).all(axis=1)].astype(np.float64)
    if setting == "similarity":
        return Reading("value", "cosine of the embedding that the model returns with the reference (model.reference)")
    if setting == "regression":
        return Reading("value", "the values that the model returns (model.scores: regression)")
    if setting == "as_is":
        return _as_is(tail, values)
    if setting in ("probabilities", "one_vs_rest"):
        return _declared_probabilities(setting, values)
    if activation is not None:
        return _stripped(setting, activation, values.shape[1])
    if setting in ("softmax", "sigmoid"):
        return _declared_logits(setting, tail, values)
    return _detected(tail, values)


def _stripped(setting: str, activation: str, units: int) -> Reading:
    found: Literal["softmax", "sigmoid"] = "sigmoid" if activation == output_tail.SIGMOID else "softmax"
    if units == 1 and found == "softmax":
        raise loading.ModelError(
            "the model ends in a softmax over one unit, which is 1 for every image; it has nothing to explain. A model "
            "of two classes ends in two units with softmax, or in one with sigmoid"
        )
    words = f"logits: the model's final {activation} was taken off"
    if setting not in ("auto", found):
        rule: Rule = "sigmoid" if setting == "sigmoid" else "softmax"
        other = f"model.scores is {setting}, but the model itself ends in a {found}: the probabilities are not its own"
        return Reading(rule, words, (other,))
    return Reading(found, words)


def _as_is(tail: output_tail.Tail, values: np.ndarray) -> Reading:
    if tail.linear and values.shape[1] > 1:
        return Reading("softmax", "logits: as the model returns them (model.scores: as_is)")
    if not _are_fractions(values):
        raise loading.ModelError(
            f"model.scores is as_is, but the model returns {_span(values)}: no probabilities. {_ASK}"
        )
    return Reading("as_is", "as the model returns them (model.scores: as_is): probabilities, explained themselves")


def _declared_probabilities(setting: str, values: np.ndarray) -> Reading:
    if not _are_fractions(values):
        raise loading.ModelError(f"model.scores is {setting}, but the model returns {_span(values)}: no probabilities")
    if setting == "one_vs_rest" or values.shape[1] == 1:
        return Reading("one_vs_rest", "log p - log(1 - p) of the probabilities that the model returns (model.scores)")
    return Reading("probabilities", "log p of the probabilities that the model returns (model.scores)")


def _declared_logits(setting: str, tail: output_tail.Tail, values: np.ndarray) -> Reading:
    if values.shape[1] > 1 and _sum_to_one(values) and not tail.linear:
        raise loading.ModelError(
            f"the model returns probabilities (each row sums to 1), and model.scores is {setting}, which takes them "
            "for logits; set model.scores: probabilities"
        )
    if tail.behind == output_tail.SIGMOID and _are_fractions(values):
        raise loading.ModelError(
            f"the model returns numbers behind a sigmoid, in [0, 1], and model.scores is {setting}, which takes them "
            "for logits; set model.scores: one_vs_rest"
        )
    return Reading("sigmoid" if setting == "sigmoid" else "softmax", "logits: as the model returns them")


def _detected(tail: output_tail.Tail, values: np.ndarray) -> Reading:
    """The reading that graph and numbers prove."""
    units = values.shape[1]
    if tail.sorts:
        raise loading.ModelError(
            f"the model sorts its numbers ({_in_words(tail)}), so that none belongs to one class; give it one without "
            "that (model.factory)"
        )
    if tail.linear:
        return _unbounded(units)
    if units > 1 and _sum_to_one(values):
        return Reading("probabilities", "log p: the model returns probabilities (each row sums to 1)")
    if units > 1 and values.size and (values <= 0).all() and _sum_to_one(np.exp(values)):
        return Reading("softmax", "logits: the model returns log-probabilities")
    if tail.bounded and _are_fractions(values):
        if tail.behind != output_tail.SOFTMAX:
            return Reading("one_vs_rest", "log p - log(1 - p): the model returns a probability of each class")
        if units > 1:
            said = (
                f"the model changes what its softmax gave ({_in_words(tail)}): the numbers of an image add up to "
                f"{values.sum(axis=1).mean():.3g}; they are taken for probabilities as they are (model.scores: "
                "probabilities says so, softmax takes them for logits)"
            )
            return Reading("probabilities", "log p of the numbers that the model returns, in [0, 1]", (said,))
    raise loading.ModelError(f"{_undecided(tail, values)}. {_ASK}{_or_no_classes(units)}")


def _unbounded(units: int) -> Reading:
    if units == 1:
        raise loading.ModelError(
            "the model returns one number without an activation: the logit of two classes, or a value such as an age. "
            "Say which (model.scores): sigmoid for the logit, regression for a value"
        )
    return Reading(
        "softmax",
        "logits: as the model returns them",
        doubt=f"the last layer has no activation; its {units} numbers are taken for the logits of {units} classes. If "
        "they are something else, an embedding or values, say so (model.scores); model.class_names or model.scores: "
        "softmax ends this question",
    )


def _undecided(tail: output_tail.Tail, values: np.ndarray) -> str:
    if values.size and np.allclose(np.linalg.norm(values, axis=1), 1, atol=1e-3):
        return f"the {values.shape[1]} numbers that the model returns have length 1: an embedding, no classes"
    if tail.behind is not None:
        return (
            f"the model changes what its {tail.behind} gave ({_in_words(tail)}) and returns {_span(values)}: neither "
            "probabilities nor logits"
        )
    return (
        f"the model's last operations ({_in_words(tail)}) give {_span(values)}: neither logits, which follow from "
        "weights and sums alone, nor probabilities"
    )


def _or_no_classes(units: int) -> str:
    return f"; {units} features before a last layer are no classes" if units > 1 else ""


def _in_words(tail: output_tail.Tail) -> str:
    return ", ".join(tail.changes[-6:]) or "none that changes values"


def _span(values: np.ndarray) -> str:
    if not values.size:
        return "nothing but NaN or infinite numbers for images of noise"
    return f"numbers from {values.min():.3g} to {values.max():.3g} for images of noise"


def _are_fractions(values: np.ndarray) -> bool:
    return bool(values.size and (values >= -1e-6).all() and (values <= 1 + 1e-6).all())


def _sum_to_one(values: np.ndarray) -> bool:
    return _are_fractions(values) and bool(np.allclose(values.sum(axis=1), 1, atol=1e-3))
