"""What the names and sizes of shards say of a data set: members that are missing, files that are empty."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

_MEMBER = re.compile(r"(.*?)(\d+)-of-(\d+)(?!\d)(.*)", re.DOTALL)
_NAMED = 5


def oddities(names: Iterable[str]) -> Iterator[str]:
    """What is odd about files called ``X-00000-of-00004Y``, a sentence for each set of them.

    That is members that are not among them, a number beyond the last, and sets of another size beside each other, as an
    export leaves that was made twice.
    """
    sets: dict[tuple[str, str], dict[str, dict[int, str]]] = collections.defaultdict(dict)
    for name in names:
        if match := _MEMBER.fullmatch(name):
            head, index, count, tail = match.groups()
            sets[head, tail].setdefault(count, {})[int(index)] = index
    for (head, tail), sizes in sorted(sets.items()):
        for count, members in sorted(sizes.items()):
            yield from _missing(head, count, tail, members)
        if len(sizes) > 1:
            patterns = listed([f"{head}*-of-{count}{tail}" for count in sorted(sizes)])
            yield f"shards of {len(sizes)} sets are read together, perhaps the same records twice: {patterns}"


def _missing(head: str, count: str, tail: str, members: Mapping[int, str]) -> Iterator[str]:
    expected, width = int(count), len(next(iter(members.values())))
    # Of a set that says to have billions, no more is looked at than can be named.
    missing = expected - sum(index < expected for index in members)
    if missing > 0:
        absent = (index for index in range(expected) if index not in members)
        first = [f"{head}{index:0{width}d}-of-{count}{tail}" for index, _ in zip(absent, range(_NAMED), strict=False)]
        more = f" and {missing - len(first):,} more" if missing > len(first) else ""
        yield (
            f"{missing:,} of the {expected:,} shards of {head}*-of-{count}{tail} are not among the files: "
            f"{', '.join(first)}{more}"
        )
    beyond = sorted(index for index in members if index >= expected)
    if beyond:
        numbers = listed([members[index] for index in beyond])
        yield f"shards of {head}*-of-{count}{tail} have numbers beyond the last: {numbers}"


def listed(names: Sequence[str]) -> str:
    """The first few names, and how many more there are."""
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more
