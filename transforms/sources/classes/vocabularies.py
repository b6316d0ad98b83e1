"""The names of classes: of a dataset, or of a model."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Iterable, Mapping, Sequence

from heatbeam.transforms.sources.classes import class_maps


@dataclasses.dataclass(frozen=True)
class NamedClass:
    """A class and what it is called.

    Attributes:
        id: of the class: as the records hold it in a dataset, the position in the output of a model.
        name: what it is called first.
        others: what else it is called: a WordNet id, the name in another file, each of "tench, Tinca tinca".
    """

    id: int
    name: str
    others: tuple[str, ...] = ()

    @property
    def every_name(self) -> tuple[str, ...]:
        """All names, the first one first."""
        words = class_maps.without_wordnet_id(self.name)
        return tuple(dict.fromkeys(name for name in (self.name, *self.others, words, *_synonyms(words)) if name))


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """Classes with names.

    Attributes:
        classes: by rising id.
        source: where the names are from, for messages: a setting, a file, the dataset.
        ids_given: whether the source states the ids, or they are positions in a list.
    """

    classes: tuple[NamedClass, ...]
    source: str
    ids_given: bool = False

    @classmethod
    def of_list(cls, names: Iterable[str], source: str) -> Vocabulary:
        """The vocabulary of names in the order of the ids, from 0."""
        return cls(tuple(NamedClass(number, name) for number, name in enumerate(names)), source)

    @classmethod
    def of_ids(cls, rows: Iterable[NamedClass], source: str) -> Vocabulary:
        """The vocabulary of classes whose ids are stated.

        Raises:
            ValueError: an id is negative, or has two names.
        """
        found: dict[int, NamedClass] = {}
        for row in rows:
            if row.id < 0:
                raise ValueError(f"class id {row.id} ({row.name}) is negative")
            if found.setdefault(row.id, row).name != row.name:
                raise ValueError(f"class {row.id} is called {found[row.id].name!r} and {row.name!r}")
        return cls(tuple(found[number] for number in sorted(found)), source, ids_given=True)

    def __len__(self) -> int:
        return len(self.classes)

    @property
    def is_numbered(self) -> bool:
        """Whether the names are nothing but the numbers of the classes, as of a dataset whose classes have no names."""
        return all(one.name == str(one.id) for one in self.classes)

    def table(self) -> Names:
        """The names, to look classes up by."""
        return Names({one.id: one.every_name for one in self.classes})

    def words(self) -> str:
        """Where they are from, how many there are, and the first of them."""
        return f"{self.source}: {len(self):,} names ({class_maps.shown(one.name for one in self.classes)})"


class Names:
    """Classes by any of their names.

    Args:
        named: the names of each class, by its id.
    """

    def __init__(self, named: Mapping[int, Sequence[str]]):
        pairs = [(name, class_id) for class_id, names in named.items() for name in names]
        self._exact = class_maps.table(pairs)
        self._folded = class_maps.table((class_maps.fold(name), class_id) for name, class_id in pairs)

    def find(self, name: str) -> list[int]:
        """The classes of a name: none, one, or several that share it."""
        found = class_maps.find(name, self._exact, self._folded)
        return sorted(class_id for class_id in found if class_id is not None)

    def near(self, name: str) -> list[str]:
        """Names that are spelled much like `name`."""
        folded = difflib.get_close_matches(class_maps.fold(name), list(self._folded), 2)
        return [known for known in self._exact if class_maps.fold(known) in folded][:2]

    def find_any(self, names: Sequence[str]) -> list[int]:
        """The classes of the first of `names` that is known; a WordNet id, which has one meaning, comes first."""
        by_meaning = sorted(names, key=lambda name: class_maps.wordnet_id(name) is None)
        return next((found for found in map(self.find, by_meaning) if found), [])


def _synonyms(name: str) -> tuple[str, ...]:
    """Lists of ImageNet write "tench, Tinca tinca"."""
    parts = tuple(part.strip() for part in name.split(", "))
    return parts if len(parts) > 1 and all(parts) else ()
