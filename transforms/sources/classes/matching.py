"""Which class of the model each class of a dataset is, found by name; what cannot be found is asked, not guessed."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from heatbeam.transforms.sources.classes import class_files, class_maps, vocabularies

Given = Mapping[str | int, class_files.MapValue]
IDS: Literal["ids"] = "ids"
"""In place of a mapping: the dataset's ids are the model's, whatever the names say."""

Stated = Given | Literal["ids"] | None

OTHERS = "*"
"""In a mapping, mapped to None: every class without a counterpart is left out."""

_SHOWN = 5


class MismatchError(ValueError):
    """Classes that have no counterpart, or several; the message shows both sides and says what to do."""


@dataclasses.dataclass(frozen=True)
class Match:
    """What was found.

    Attributes:
        classes: the map.
        names: one for each class of the model.
        words: how it was found, with an example.
    """

    classes: class_maps.ClassMap
    names: tuple[str, ...]
    words: str


def match(
    dataset: vocabularies.Vocabulary | None,
    model: vocabularies.Vocabulary | None,
    count: int,
    given: Stated = None,
    kind: str = "class",
) -> Match:
    """Find the class of the model for each class of the dataset.

    What `given` says counts first. Then names decide where both sides have some: as they stand, then without regard to
    case and punctuation, WordNet ids before words. Where the model's are not known, the dataset's classes are the
    model's if there are as many. Where the dataset's are not known, its ids are the model's.

    Args:
        dataset: its classes, or None if only the records know.
        model: its classes, or None if they have no names.
        count: how many classes the model has.
        given: classes of the dataset (names, WordNet ids, ids) and what they are in the model (the same, or None for a
            class to be left out; `OTHERS` for all that have no counterpart); `IDS`; or None.
        kind: what a class without a name is called, before its number.

    Raises:
        MismatchError: a class has no counterpart, or it is not certain which.
    """
    others, stated = False, given
    if isinstance(given, Mapping):
        others = OTHERS in given
        if given.get(OTHERS) is not None:
            raise MismatchError(f"input.class_map: {OTHERS!r}: {given[OTHERS]!r}; only null can stand for all others")
        stated = {key: value for key, value in given.items() if key != OTHERS}
    at_places = None if model is None else at_positions(model, count)
    return _Matching(dataset, at_places, count, others, kind).match(stated)


def at_positions(model: vocabularies.Vocabulary, count: int) -> vocabularies.Vocabulary:
    """The names of a model with `count` classes by their position in its output.

    Ids that a file states are the positions. They may leave some out, and may count from 1 where that gives a name to
    every position.

    Raises:
        MismatchError: there are more names than classes, or fewer in a list.
    """
    last = model.classes[-1].id
    if not model.ids_given and len(model) != count:
        hint = "; is the first or the last one a background class?" if abs(len(model) - count) == 1 else ""
        raise MismatchError(f"{model.words()}, but the model has {count:,} classes{hint}")
    if last < count:
        return model
    if last == count and model.classes[0].id == 1 and len(model) == count:
        shifted = tuple(dataclasses.replace(one, id=one.id - 1) for one in model.classes)
        return dataclasses.replace(model, classes=shifted)
    raise MismatchError(
        f"{model.words()} with the ids {model.classes[0].id} to {last}, but the model's classes are 0 to {count - 1}"
    )


class _Matching:
    """What `match` knows.

    Args:
        dataset: its classes.
        model: its classes, by position.
        count: how many the model has.
        others: whether classes without a counterpart are left out.
        kind: what a class without a name is called, before its number.
    """

    def __init__(
        self,
        dataset: vocabularies.Vocabulary | None,
        model: vocabularies.Vocabulary | None,
        count: int,
        others: bool,
        kind: str,
    ):
        self._dataset = dataset
        self._others = others
        self._kind = kind
        self._model = model
        self._count = count
        self._model_names = None if model is None else model.table()

    def match(self, given: Stated) -> Match:
        if self._dataset is None:
            return self._of_records(given)
        if given == IDS:
            return self._by_ids(self._dataset)
        stated = self._stated_ids(self._dataset, given) if isinstance(given, Mapping) else {}
        return self._of_dataset(self._dataset, stated)

    # A dataset whose classes only the records know.

    def _of_records(self, given: Stated) -> Match:
        names = self._names({})
        known = [] if self._model is None else [(n, one.id) for one in self._model.classes for n in one.every_name]
        if not isinstance(given, Mapping):
            words = f"ids are the model's {self._count:,}" + (", texts are its names" if known else "")
            return Match(class_maps.ClassMap(None, tuple(known), self._count), names, words)
        stated = self._stated_names(given)
        ids = {key: value for key, value in stated.items() if isinstance(key, int)}
        texts = {key: value for key, value in stated.items() if isinstance(key, str)}
        replaced = {class_maps.fold(text) for text in texts}
        pairs = [*texts.items(), *((n, class_id) for n, class_id in known if class_maps.fold(n) not in replaced)]
        words = f"{len(stated):,} classes by input.class_map{_left_out(stated.values())}; {self._example(stated)}"
        classes = class_maps.ClassMap(tuple(ids.items()), tuple(pairs), self._count, self._others)
        return Match(classes, names, words)

    def _stated_names(self, given: Given) -> dict[str | int, int | None]:
        """`given` with ids as numbers: digits are ids, for no name of the dataset is known that they could be."""
        stated: dict[str | int, int | None] = {}
        for key, value in given.items():
            stated[int(key) if isinstance(key, str) and key.isdecimal() else key] = self._class_of(key, value)
        return stated

    # A dataset whose classes are known.

    def _by_ids(self, dataset: vocabularies.Vocabulary) -> Match:
        beyond = [one for one in dataset.classes if one.id >= self._count]
        if beyond:
            raise MismatchError(
                f"input.class_map: ids, but {dataset.words()} has the class {beyond[0].id} ({beyond[0].name}); "
                f"the model's are 0 to {self._count - 1}"
            )
        found: dict[int, int | None] = {one.id: one.id for one in dataset.classes}
        return self._found(dataset, found, "by their ids (input.class_map)")

    def _stated_ids(self, dataset: vocabularies.Vocabulary, given: Given) -> dict[int, int | None]:
        """By the id in the dataset, what `given` says of it."""
        names, ids = dataset.table(), {one.id for one in dataset.classes}
        stated: dict[int, int | None] = {}
        for key, value in given.items():
            found = names.find(key) if isinstance(key, str) else []
            if not found and str(key).isdecimal() and int(key) in ids:
                found = [int(key)]
            if len(found) != 1:
                raise MismatchError(f"input.class_map: {key!r} {_not_one(key, found, names)}; {dataset.words()}")
            if found[0] in stated:
                raise MismatchError(f"input.class_map: class {found[0]} of the dataset is given twice, also as {key!r}")
            stated[found[0]] = self._class_of(key, value)
        return stated

    def _class_of(self, key: str | int, value: class_files.MapValue) -> int | None:
        """The class of the model that the mapping names."""
        if value is None:
            return None
        place = f"input.class_map: {key!r}"
        found: list[int] = []
        if isinstance(value, str) and self._model_names is not None:
            found = self._model_names.find(value)
        if not found and str(value).isdecimal():
            found = [int(value)] if int(value) < self._count else []
        if len(found) == 1:
            return found[0]
        if isinstance(value, int) or value.isdecimal():
            raise MismatchError(f"{place}: {value}, but the model's classes are 0 to {self._count - 1}")
        if self._model is None or self._model_names is None:
            raise MismatchError(
                f"{place}: {value!r}, but the model's classes have no names; set model.class_names, or give an id"
            )
        raise MismatchError(f"{place}: {value!r} {_not_one(value, found, self._model_names)}; {self._model.words()}")

    def _of_dataset(self, dataset: vocabularies.Vocabulary, stated: Mapping[int, int | None]) -> Match:
        rest = [one for one in dataset.classes if one.id not in stated]
        if not rest:
            return self._found(dataset, stated, "by input.class_map")
        also = ", input.class_map" if stated else ""
        model, names = self._model, self._model_names
        same_count = len(dataset) == self._count
        if model is not None and same_count and _same_names(dataset, model):
            # Two classes of one name, as in ImageNet, are told apart by their places.
            places = {one.id: model.classes[place].id for place, one in enumerate(dataset.classes)}
            return self._found(dataset, {**places, **stated}, f"by name{also}")
        if model is None or names is None or (dataset.is_numbered and not model.is_numbered):
            if not same_count:
                raise MismatchError(self._unnamed(dataset))
            places = {one.id: place for place, one in enumerate(dataset.classes)}
            return self._found(dataset, {**places, **stated}, f"in their order: {self._why_unnamed()}{also}")
        found, missing, unclear = self._by_name(rest, names)
        if unclear or (missing and not self._others):
            raise MismatchError(self._contradiction(dataset, model, missing, unclear))
        left = dict.fromkeys((one.id for one in missing), None)
        return self._found(dataset, {**found, **left, **stated}, f"by name{also}")

    def _by_name(
        self, rest: Sequence[vocabularies.NamedClass], names: vocabularies.Names
    ) -> tuple[dict[int, int | None], list[vocabularies.NamedClass], list[vocabularies.NamedClass]]:
        candidates = {one.id: names.find_any(one.every_name) for one in rest}
        sharing = collections.Counter(tuple(found) for found in candidates.values())
        found: dict[int, int | None] = {}
        seen: collections.Counter[tuple[int, ...]] = collections.Counter()
        for class_id, those in candidates.items():
            key = tuple(those)
            # As many classes of this name on both sides: they are in the same order.
            if those and sharing[key] == len(those):
                found[class_id] = those[seen[key]]
                seen[key] += 1
        missing = [one for one in rest if not candidates[one.id]]
        return found, missing, [one for one in rest if candidates[one.id] and one.id not in found]

    def _found(self, dataset: vocabularies.Vocabulary, found: Mapping[int, int | None], how: str) -> Match:
        ordered = {one.id: found[one.id] for one in dataset.classes}
        if all(value is None for value in ordered.values()):
            raise MismatchError("input.class_map: every class of the dataset is left out")
        same = len(dataset) == self._count and all(stored == value for stored, value in ordered.items())
        pairs = tuple((name, ordered[one.id]) for one in dataset.classes for name in one.every_name)
        classes = class_maps.ClassMap(None if same else tuple(ordered.items()), pairs, self._count)
        left = _left_out(ordered.values())
        named = {one.name: ordered[one.id] for one in dataset.classes}
        words = f"the dataset's {len(dataset):,} are matched to the model's {self._count:,} {how}{left}"
        numbers = {value: one.name for one in reversed(dataset.classes) if (value := ordered[one.id]) is not None}
        return Match(classes, self._names(numbers), f"{words}; {self._example(named)}")

    # Words.

    def _names(self, from_dataset: Mapping[int, str]) -> tuple[str, ...]:
        """A name for each class of the model: its own, else the dataset's, else one made of the number."""
        own = {} if self._model is None else {one.id: one.name for one in self._model.classes}
        return tuple(own.get(i) or from_dataset.get(i) or f"{self._kind}_{i}" for i in range(self._count))

    def _example(self, found: Mapping[Any, int | None]) -> str:
        for key, value in found.items():
            if value is not None:
                name = f" ({self._names({})[value]})" if self._model is not None else ""
                return f"e.g. {key} is class {value}{name}"
        return "none is left"

    def _why_unnamed(self) -> str:
        return f"the {'model' if self._model is None else 'dataset'} has no names"

    def _unnamed(self, dataset: vocabularies.Vocabulary) -> str:
        if self._model is None:
            return (
                f"{dataset.words()}; the model has {self._count:,} classes, whose names are not known: give them as "
                f"model.class_names, or say which class is which in input.class_map ({IDS}: ids are the model's)"
            )
        return (
            f"the {len(dataset):,} classes of {dataset.source} have no names; {self._model.words()}: give the names as "
            f"input.class_names, or say which class is which in input.class_map ({IDS}: ids are the model's)"
        )

    def _contradiction(
        self,
        dataset: vocabularies.Vocabulary,
        model: vocabularies.Vocabulary,
        missing: Sequence[vocabularies.NamedClass],
        unclear: Sequence[vocabularies.NamedClass],
    ) -> str:
        parts = []
        if missing:
            shown = class_maps.shown((one.name for one in missing), _SHOWN)
            parts.append(f"{len(missing):,} of the dataset's {len(dataset):,} classes are none of the model's: {shown}")
        if unclear:
            shown = class_maps.shown((one.name for one in unclear), _SHOWN)
            parts.append(f"of {len(unclear):,} it is not certain which of the model's they are: {shown}")
        same = f"; or {IDS}, if both are the same classes in the same order" if len(dataset) == self._count else ""
        return (
            f"{'; '.join(parts)}. {dataset.words()}. {model.words()}. Say in input.class_map which class each of them "
            f"is, or null to leave it out ({OTHERS!r}: null for all){same}"
        )


def _same_names(dataset: vocabularies.Vocabulary, model: vocabularies.Vocabulary) -> bool:
    """Whether both call the same classes the same, in the same order."""
    if len(dataset) != len(model):
        return False
    return all(
        class_maps.fold(one.name) == class_maps.fold(other.name)
        for one, other in zip(dataset.classes, model.classes, strict=True)
    )


def _not_one(name: str | int, found: Sequence[int], names: vocabularies.Names) -> str:
    """What is wrong with a name that is not that of one class."""
    if found:
        return f"is the name of the classes {' and '.join(map(str, found))}; give the id"
    near = names.near(str(name))
    return f"is none of the classes{f'; did you mean {near[0]}?' if near else ''}"


def _left_out(values: Iterable[int | None]) -> str:
    count = sum(value is None for value in values)
    return f", {count:,} of them left out" if count else ""
