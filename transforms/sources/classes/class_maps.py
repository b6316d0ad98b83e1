"""From the classes of a dataset to those of the model: what is looked up for every label, box and mask."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_WORDNET = re.compile(r"(?<![a-z0-9])(n\d{8})(?![0-9])", re.IGNORECASE)


class UnknownClassError(LookupError):
    """A class that is not in the map; the message says what is."""


class AmbiguousClassError(LookupError):
    """A name that several classes have; the message says which."""


@dataclasses.dataclass(frozen=True)
class ClassMap:
    """What the ids and names of a dataset's classes are in the model.

    Example::

        >>> animals = ClassMap(ids=((0, 151), (1, None)), names=(("Chihuahua", 151), ("raccoon", None)), classes=1000)
        >>> animals.of_id(0), animals.of_name("chihuahua"), animals.of_name("raccoon")
        (151, 151, None)

    Attributes:
        ids: ``(id in the dataset, class id of the model)``; None instead of the latter for a class that the model does
            not have and that is to be left out. None as a whole: the dataset's ids are the model's.
        names: the same for names. A name may stand here more than once (ImageNet has two cranes); that matters only
            to a record that uses it.
        classes: how many the model has; None if that is not known.
        others_left_out: whether a class that is not in `ids`, or not in `names`, is one to be left out, not an error.
    """

    ids: tuple[tuple[int, int | None], ...] | None = None
    names: tuple[tuple[str, int | None], ...] = ()
    classes: int | None = None
    others_left_out: bool = False

    @classmethod
    def of_names(cls, names: Sequence[str]) -> ClassMap:
        """The map of a dataset whose classes are the model's, called `names` in the order of the model's output."""
        return cls(None, tuple((name, number) for number, name in enumerate(names)), len(names))

    def of_id(self, stored: int) -> int | None:
        """The class of the model for an id of the dataset; None for one to be left out.

        Raises:
            UnknownClassError: there is no such class in the dataset.
        """
        if self.ids is None:
            return stored
        if stored not in self._by_id and not self.others_left_out:
            raise UnknownClassError(f"the dataset has {self._span()}")
        return self._by_id.get(stored)

    def of_name(self, name: str) -> int | None:
        """The class of the model for a name; None for one to be left out.

        A name is compared as it stands, then without regard to case and punctuation, then by the WordNet id in it, as
        ``n02085620_7.JPEG`` has one.

        Raises:
            UnknownClassError: no class has this name.
            AmbiguousClassError: several have.
        """
        found = find(name, self._exact, self._folded)
        if not found and self.others_left_out:
            return None
        if not found:
            raise UnknownClassError(f"which is not among the class names ({shown(n for n, _ in self.names)})")
        if len(found) > 1:
            those = " and ".join(str(i) for i in sorted(found, key=str))
            raise AmbiguousClassError(f"which is the name of the classes {those}; label by id, or use input.class_map")
        return next(iter(found))

    def ids_of_vector(self, length: int) -> tuple[int, ...] | None:
        """The ids in the dataset that the positions of a vector of `length` stand for; None if it has another length.

        A vector has a position for each class, in the order of their ids, or for each id from 0 to the last.
        """
        if self.ids is None:
            return tuple(range(length)) if length == self.classes else None
        known = self._known_ids
        if length == len(known):
            return known
        return tuple(range(length)) if known and length == known[-1] + 1 else None

    @property
    def size(self) -> int | None:
        """How many classes the dataset has; None if that is not known."""
        return self.classes if self.ids is None else len(self._by_id)

    @functools.cached_property
    def digits_are_names(self) -> bool:
        """Whether a class has digits for a name, so that digits in text are no id."""
        return any(name.strip().isdecimal() for name, _ in self.names)

    @functools.cached_property
    def _by_id(self) -> Mapping[int, int | None]:
        return dict(self.ids or ())

    @functools.cached_property
    def _exact(self) -> Mapping[str, set[int | None]]:
        return table((name, class_id) for name, class_id in self.names)

    @functools.cached_property
    def _folded(self) -> Mapping[str, set[int | None]]:
        return table((fold(name), class_id) for name, class_id in self.names)

    @functools.cached_property
    def _known_ids(self) -> tuple[int, ...]:
        return tuple(sorted(self._by_id))

    def _span(self) -> str:
        known = self._known_ids
        if not known:
            return "no classes with ids; give the ids in input.class_map or the names in input.class_names"
        whole = known[-1] - known[0] + 1 == len(known)
        return f"the {len(known)} classes {known[0]} to {known[-1]}{'' if whole else ', with gaps'}"


AS_STORED = ClassMap()
"""Ids are the model's, and nothing has a name."""

Maps = tuple[ClassMap, ClassMap | None]
"""What the classes of labels are in the model, and those of boxes and masks where the data has others for them."""


def fold(name: str) -> str:
    """`name` without regard to case and punctuation; itself if it has nothing else.

    >>> fold("Hand-held_computer")
    'hand held computer'
    """
    return re.sub(r"[\W_]+", " ", name).strip().casefold() or name


def wordnet_id(name: str) -> str | None:
    """The WordNet id of a noun in `name`, which may be a path or a file name.

    >>> wordnet_id("train/n02085620/n02085620_7.JPEG")
    'n02085620'
    """
    found = _WORDNET.search(name)
    return found[1].lower() if found else None


def without_wordnet_id(name: str) -> str:
    """The rest of a name such as ``n02085620-Chihuahua``; empty if there is none.

    >>> without_wordnet_id("n02085620-Chihuahua")
    'Chihuahua'
    """
    return _WORDNET.sub("", name).strip(" _-,:")


def table(pairs: Iterable[tuple[str, int | None]]) -> dict[str, set[int | None]]:
    """What each name stands for."""
    found: dict[str, set[int | None]] = {}
    for name, class_id in pairs:
        found.setdefault(name, set()).add(class_id)
    return found


def find(name: str, exact: Mapping[str, set[int | None]], folded: Mapping[str, set[int | None]]) -> set[int | None]:
    """What `name` stands for in two tables, of names as they are and of names that were `fold`-ed; empty if nothing."""
    found = exact.get(name) or folded.get(fold(name))
    if not found and (wordnet := wordnet_id(name)):
        found = folded.get(wordnet)
    return found or set()


def shown(names: Iterable[str], most: int = 5) -> str:
    """The first of `names`, and how many more there are."""
    return ", ".join(_first(list(dict.fromkeys(names)), most))


def _first(names: Sequence[str], most: int) -> Iterator[str]:
    yield from (name if len(name) <= 40 else f"{name[:37]}..." for name in names[:most])
    if len(names) > most:
        yield f"and {len(names) - most:,} more"
