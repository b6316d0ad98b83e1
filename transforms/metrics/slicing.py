"""Slices: the parts of a dataset that numbers are made for, and what they are called in tables, gates and texts.

A slice has a name and a value. Every run has ``all``, ``class`` (the value is the name of the class) and ``target``
(maps that explain another class than the primary one); every other name is a feature of the records.
"""

from __future__ import annotations

import collections
from collections.abc import Iterable

ALL, CLASS, TARGET = "all", "class", "target"
"""Names that every run has: everything, one class, and the maps of another target."""

RESERVED = frozenset({ALL, CLASS, TARGET})

EVERYTHING = (ALL, ALL)
"""Name and value of the slice of everything, as tables have it."""

MODEL = "model"
"""The ``method`` of numbers that are about the model and no map."""


def title(name: str, value: str) -> str:
    """A slice in words that `parse` reads: ``all``, ``class=cat``, ``camera=left``."""
    return name if name == ALL else f"{name}={value}"


def parse(text: str) -> tuple[str, str | None]:
    """Name and value of a slice; the value is None where every value of the name is meant (``class``).

    >>> parse("class=cat"), parse("class"), parse("all")
    (('class', 'cat'), ('class', None), ('all', ''))
    """
    name, equals, value = text.partition("=")
    return name, value if equals or name == ALL else None


def distinct_names(names: Iterable[str]) -> tuple[str, ...]:
    """Class names that occur once each: one that occurs twice gets its class id (ImageNet has two cranes).

    >>> distinct_names(["crane", "dog", "crane"])
    ('crane (0)', 'dog', 'crane (2)')
    """
    listed = list(names)
    count = collections.Counter(listed)
    return tuple(f"{name} ({i})" if count[name] > 1 else name for i, name in enumerate(listed))
