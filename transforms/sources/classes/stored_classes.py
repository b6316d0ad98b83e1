"""Classes as records hold them: ids, names, digits in text, whole floats, and vectors with a place for each class.

What could be read in two ways is refused, for a label that is read as another one is seen by nobody.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal, get_args

from heatbeam.transforms import records
from heatbeam.transforms.sources.classes import class_maps

Form = Literal["auto", "ids", "names", "one_hot", "multi_hot", "scores"]
ListForm = Form | Literal["ids_or_names"]
"""The form of a feature too that certainly has no place for each class, as that of objects."""

LIST: Literal["ids_or_names"] = "ids_or_names"

FORMS: tuple[Form, ...] = get_args(Form)
VECTORS: tuple[Form, ...] = ("one_hot", "multi_hot", "scores")
"""The forms with a place for each class."""

UNLABELLED = -1
"""A stored class id that says "no label", as TFDS writes it into test splits; no offset is taken off before."""

SUM_TOLERANCE = 1e-3
"""Scores are taken for a distribution if their sum is this near to 1."""

_LARGEST = 1 << 62
_DIGITS = 20
"""Longer numbers are no ids; so that whatever is read fits into 64 bits, offsets taken off."""

Value = bytes | int | float


@dataclasses.dataclass(frozen=True)
class Rules:
    """How classes are read.

    Attributes:
        classes: what ids and names are in the model.
        offset: subtracted from every id.
        offset_setting: what sets that, for messages.
        form: of the values.
    """

    classes: class_maps.ClassMap
    offset: int
    offset_setting: str
    form: ListForm


class Reading:
    """The classes in one feature.

    Args:
        feature: its name, for messages.
        rules: how they are read.
        one: whether the feature holds one class, not several.
    """

    def __init__(self, feature: str | None, rules: Rules, *, one: bool):
        self._feature = feature
        self._classes, self._offset, self._offset_setting = rules.classes, rules.offset, rules.offset_setting
        self._form = rules.form
        self._one = one

    def class_ids(self, values: Sequence[Value]) -> list[int]:
        """The classes of an image, without those that the model does not have.

        Raises:
            DataError: ``multiple_values``, ``ambiguous_label``, or as `class_id` says.
        """
        if self._form in VECTORS or (self._form == "auto" and self._is_vector(values)):
            found = self._of_vector(values)
        else:
            self._check_number(values)
            found = [self.class_id(value) for value in values if not _unlabelled(value)]
        return [class_id for class_id in found if class_id is not None]

    def class_id(self, value: Value) -> int | None:
        """The class of one value; None for a class that the model does not have.

        Raises:
            DataError: ``invalid_label``, ``unknown_label``, ``ambiguous_label`` or ``wrong_type``.
        """
        if isinstance(value, bytes):
            return self._of_text(value)
        return self._of_id(self._whole(value) if isinstance(value, float) else value)

    def _of_id(self, value: int) -> int | None:
        if self._form == "names":
            raise self._error("wrong_type", f"holds the number {value}; input.label_form asks for names")
        if abs(value) > _LARGEST:
            raise self._error("invalid_label", f"holds {value:.6g}, which is too large for a class id")
        stored = value - self._offset
        if stored < 0:
            start = f"ids start at {self._offset} ({self._offset_setting})"
            raise self._error("invalid_label", f"holds class {value}; {start}")
        try:
            return self._classes.of_id(stored)
        except class_maps.UnknownClassError as error:
            less = f" (less {self._offset_setting} {self._offset}: {stored})" if self._offset else ""
            raise self._error("unknown_label", f"holds class {value}{less}; {error}") from None

    def _of_text(self, value: bytes) -> int | None:
        text = self._text(value)
        digits = text.strip().isdecimal() and text.isascii() and len(text) < _DIGITS and self._form != "names"
        if digits and (self._form == "ids" or not self._classes.digits_are_names):
            return self._of_id(int(text))
        if self._form == "ids" or not self._classes.names:
            wanted = "input.label_form asks for ids" if self._form == "ids" else "give the class names in order"
            raise self._error("wrong_type", f"names the class {text[:40]!r}; {wanted}")
        try:
            return self._classes.of_name(text)
        except class_maps.UnknownClassError as error:
            raise self._error("unknown_label", f"names the class {text[:40]!r}, {error}") from None
        except class_maps.AmbiguousClassError as error:
            raise self._error("ambiguous_label", f"names the class {text[:40]!r}, {error}") from None

    def _text(self, value: bytes) -> str:
        try:
            text = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise self._error("unknown_label", f"is not UTF-8 text: {value[:40]!r}") from error
        if value and not text.isprintable():
            raise self._error(
                "unknown_label",
                f"holds the {len(value)} bytes {value[:20]!r}, which are no text; store class ids as integers",
            )
        return text

    def _whole(self, value: float) -> int:
        if not value.is_integer():
            raise self._error(
                "invalid_label",
                f"holds {value:.6g}, which is no class id; for values that a model is to give, set "
                "model.scores: regression",
            )
        return int(value)

    # Vectors with a place for each class.

    def _is_vector(self, values: Sequence[Value]) -> bool:
        """Whether values are certainly a vector with a place for each class, and not a list of classes.

        Raises:
            DataError: ``ambiguous_label`` for what may be either.
        """
        numbers = [value for value in values if not isinstance(value, bytes)]
        if len(numbers) < 2:
            return False
        fits = self._classes.ids_of_vector(len(numbers)) is not None
        if set(numbers) <= {0, 1}:
            if self._one:
                return fits
            # Of two classes, 0 and 1 may be a list of both. More zeros and ones are no such list, for some repeat.
            both = isinstance(numbers[0], int) and len(numbers) == len(set(numbers))
            if fits and not both:
                return True
            if fits or len(numbers) > 2:
                raise self._error("ambiguous_label", self._not_certain(len(numbers)))
            return False
        if not fits or isinstance(numbers[0], int) or not all(0 <= number <= 1 for number in numbers):
            return False
        return abs(math.fsum(numbers) - 1) <= SUM_TOLERANCE

    def _not_certain(self, count: int) -> str:
        size = self._classes.size
        classes = f" of {size} classes" if size is not None else ""
        return (
            f"holds {count} zeros and ones: class ids, or a vector with a place for each{classes}? "
            "Say which by input.label_form: ids, one_hot or multi_hot"
        )

    def _of_vector(self, values: Sequence[Value]) -> list[int | None]:
        numbers = [value for value in values if not isinstance(value, bytes)]
        if len(numbers) < len(values):
            raise self._error("wrong_type", f"holds bytes values; input.label_form is {self._form}")
        if not numbers:
            return []
        ids = self._classes.ids_of_vector(len(numbers))
        if ids is None and self._classes.size is not None:
            raise self._error(
                "invalid_label", f"holds a vector of {len(numbers)} values; there are {self._classes.size} classes"
            )
        places = self._best(numbers) if self._are_scores(numbers) else self._ones(numbers)
        try:
            return [self._classes.of_id(ids[place] if ids is not None else place) for place in places]
        except class_maps.UnknownClassError as error:
            raise self._error("unknown_label", f"has a one at place {places[0]}; {error}") from None

    def _are_scores(self, values: Sequence[float]) -> bool:
        return self._form == "scores" or (self._form == "auto" and not set(values) <= {0, 1})

    def _ones(self, values: Sequence[float]) -> list[int]:
        if not set(values) <= {0, 1}:
            wrong = next(value for value in values if value not in (0, 1))
            raise self._error("invalid_label", f"holds {wrong:.6g} in a vector; expected zeros and ones")
        ones = [place for place, value in enumerate(values) if value == 1]
        if len(ones) != 1 and (self._one or self._form == "one_hot"):
            raise self._error("multiple_values", f"holds a vector of {len(ones)} ones; expected one")
        return ones

    def _best(self, values: Sequence[float]) -> list[int]:
        best = max(values)
        places = [place for place, score in enumerate(values) if score == best]
        if not all(math.isfinite(score) for score in values) or len(places) > 1:
            raise self._error(
                "ambiguous_label", f"holds {len(values)} scores of which {len(places)} are the highest, {best:.6g}"
            )
        return places

    def _check_number(self, values: Sequence[Value]) -> None:
        if self._one and len(values) > 1:
            numbers = not isinstance(values[0], bytes)
            size = self._classes.size
            known = f", or a vector with a place for each of the {size} classes" if numbers and size is not None else ""
            raise self._error("multiple_values", f"holds {len(values)} values; expected one{known}")
        if self._form == "auto" and values and isinstance(values[0], float) and len(values) > 1:
            odd = next((value for value in values if isinstance(value, float) and not value.is_integer()), None)
            if odd is not None:
                raise self._error(
                    "invalid_label",
                    f"holds {len(values)} floats such as {odd:.6g}: neither class ids nor, with {self._classes.size} "
                    "classes, a vector of zeros and ones or of scores whose sum is 1",
                )

    def _error(self, error_type: str, text: str) -> records.DataError:
        return records.DataError(error_type, f"feature {self._feature} {text}")


def _unlabelled(value: Value) -> bool:
    return value in (UNLABELLED, str(UNLABELLED).encode())
