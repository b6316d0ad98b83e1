"""What an address asks for: which rows of a run, in which order, from where on; and the same as ``--where`` has it.

A view is the query of an address and nothing else, so an address can be kept and sent. Every part of it is checked
against what the run has. The conditions are written once (`Condition`): bound to parameters for the page, spelled out
for `heatbeam render` and `heatbeam export`.
"""

from __future__ import annotations

import base64
import binascii
import dataclasses
import json
import math
import re
import shlex
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from heatbeam.explore import table as tables

PAGE = 60
"""Rows of a page."""

RIGHT, WRONG, UNLABELLED = "right", "wrong", "unlabelled"
DECISIONS = {
    RIGHT: "list_contains(label_ids, predicted_class_id)",
    WRONG: "len(label_ids) > 0 AND NOT list_contains(label_ids, predicted_class_id)",
    UNLABELLED: "len(label_ids) = 0",
}
"""What the model's first choice is held against the labels, and the condition."""

_LEADING_NUMBER = re.compile(r"\s*(\d{1,9})(?!\d)")
_ONE = ("method", "target", "decision", "health", "text", "sort", "order", "after")
_SLICE, _MIN, _MAX = "slice.", "min.", "max."
_MOST_TEXT = 500


class ViewError(ValueError):
    """An address asks for something that is not there; the message says what is."""


_VALUE = "\0"
"""Stands for a value in the SQL of a `Condition`: no name of a column holds it."""


@dataclasses.dataclass(frozen=True)
class Condition:
    """SQL about rows with a place for each of `values`."""

    sql: str
    values: tuple[Any, ...] = ()

    @property
    def bound(self) -> str:
        """The SQL with a parameter for each value."""
        return self.sql.replace(_VALUE, "?")

    def spelled(self) -> str:
        """The SQL with its values in it."""
        first, *rest = self.sql.split(_VALUE)
        return first + "".join(_literal(value) + part for value, part in zip(self.values, rest, strict=True))


def _literal(value: Any) -> str:
    return "'" + value.replace("'", "''") + "'" if isinstance(value, str) else repr(value)


@dataclasses.dataclass(frozen=True)
class View:
    """Rows that are asked for.

    Attributes:
        method, target, health: of the rows; empty for any. `health` is a flag of a sick map.
        class_id: the explained class, or None for any.
        decision: one of `DECISIONS`, or empty.
        text: that stands in the image's id, in small or capital letters.
        slices: name and value of slice features.
        ranges: column, least and greatest number, None where it has no end.
        sort: a column.
        descending: the other way round; rows without a number are last either way.
        after: the sorted value and `tables.KEY` of the row before the first; empty for the first page.
    """

    method: str = ""
    target: str = ""
    health: str = ""
    class_id: int | None = None
    decision: str = ""
    text: str = ""
    slices: tuple[tuple[str, str], ...] = ()
    ranges: tuple[tuple[str, float | None, float | None], ...] = ()
    sort: str = "image_id"
    descending: bool = False
    after: tuple[Any, ...] = ()

    def conditions(self) -> list[Condition]:
        """What rows have to fulfil, without where the page begins."""
        found = []
        if self.method:
            found.append(Condition(f"method = {_VALUE}", (self.method,)))
        if self.target:
            found.append(Condition(f"list_contains(targets, {_VALUE})", (self.target,)))
        if self.class_id is not None:
            found.append(Condition(f"class_id = {_VALUE}", (self.class_id,)))
        if self.decision:
            found.append(Condition(DECISIONS[self.decision]))
        if self.health:
            found.append(Condition(f"list_contains(health, {_VALUE})", (self.health,)))
        if self.text:
            found.append(Condition(f"contains(lower(image_id), lower({_VALUE}))", (self.text,)))
        for name, value in self.slices:
            column = tables.quoted(f"slice_{name}")
            found.append(Condition(f"{column} = {_VALUE}", (value,)))
        for name, low, high in self.ranges:
            column = tables.quoted(name)
            found += [Condition(f"{column} >= {_VALUE}", (low,))] if low is not None else []
            found += [Condition(f"{column} <= {_VALUE}", (high,))] if high is not None else []
        return found

    def matching(self) -> Condition:
        """All conditions as one."""
        return _all(self.conditions())

    def where(self) -> str:
        """The condition as ``--where`` of `render` and `export` has it; empty for every row."""
        return " AND ".join(one.spelled() if " AND " not in one.sql else f"({one.spelled()})"
                            for one in self.conditions())  # fmt: skip

    def page(self) -> Condition:
        """What stands behind FROM for the rows of the page, and one more."""
        found = self.conditions()
        if self.after:
            found.append(self._behind())
        chosen = _all(found)
        order = ", ".join([*self._own_order(), *map(tables.quoted, tables.KEY)])
        return Condition(f"WHERE {chosen.sql} ORDER BY {order} LIMIT {PAGE + 1}", chosen.values)

    def _own_order(self) -> list[str]:
        if self.sort == tables.KEY[0] and not self.descending:
            return []
        return [f"{tables.quoted(self.sort)} {'DESC' if self.descending else 'ASC'} NULLS LAST"]

    def _behind(self) -> Condition:
        """Rows behind `after`, in the order of the page."""
        last, *key = self.after
        marks = ", ".join(_VALUE * len(key))
        later = f"({', '.join(map(tables.quoted, tables.KEY))}) > ({marks})"
        if not self._own_order():
            return Condition(later, tuple(key))
        column = tables.quoted(self.sort)
        if last is None:
            return Condition(f"({column} IS NULL AND {later})", tuple(key))
        further = "<" if self.descending else ">"
        sql = f"({column} {further} {_VALUE} OR {column} IS NULL OR ({column} = {_VALUE} AND {later}))"
        return Condition(sql, (last, last, *key))

    def next_after(self, row: Mapping[str, Any]) -> View:
        """The view of the page behind a row."""
        return dataclasses.replace(self, after=(row[self.sort], *(row[name] for name in tables.KEY)))

    def address(self) -> str:
        """The query of its address."""
        parts: list[tuple[str, str]] = [
            (name, value)
            for name, value in (
                ("method", self.method), ("target", self.target),
                ("class", "" if self.class_id is None else str(self.class_id)), ("decision", self.decision),
                ("health", self.health), ("text", self.text),
            )
            if value
        ]  # fmt: skip
        parts += [(_SLICE + name, value) for name, value in self.slices]
        for name, low, high in self.ranges:
            parts += [(_MIN + name, f"{low:.9g}")] if low is not None else []
            parts += [(_MAX + name, f"{high:.9g}")] if high is not None else []
        parts.append(("sort", self.sort))
        parts += [("order", "desc")] if self.descending else []
        parts += [("after", _packed(self.after))] if self.after else []
        return urllib.parse.urlencode(parts, errors="surrogatepass")


def _all(conditions: Sequence[Condition]) -> Condition:
    if not conditions:
        return Condition("true")
    values = tuple(value for one in conditions for value in one.values)
    return Condition(" AND ".join(f"({one.sql})" for one in conditions), values)


def commands(run: str, view: View) -> tuple[str, str]:
    """The calls of `render` and `export` for the rows of a view, as a shell takes them."""
    where = view.where()
    condition = f" --where {shlex.quote(where)}" if where else ""
    name = shlex.quote(run)
    return (
        f"heatbeam render {name}{condition} --to pictures",
        f"heatbeam export {name}{condition} --to dataset --format huggingface",
    )


def parse(query: Iterable[tuple[str, str]], table: tables.Table) -> View:
    """The view of the query of an address. Parameters without a value, as a form sends them, ask for nothing.

    Args:
        query: names and values.
        table: whose columns it may name.

    Raises:
        ViewError: if it asks for something that the run does not have.
    """
    plain: dict[str, Any] = {}
    slices: dict[str, str] = {}
    ranges: dict[str, list[float | None]] = {}
    for name, value in query:
        if len(value) > _MOST_TEXT and name != "after":
            raise ViewError(f"{name} has {len(value)} letters; expected at most {_MOST_TEXT}")
        if not value:
            continue
        if name.startswith(_SLICE):
            _known(f"slice_{name[len(_SLICE) :]}", table.schema.names, "slice")
            slices[name[len(_SLICE) :]] = value
        elif name.startswith((_MIN, _MAX)):
            column = _known(name[len(_MIN) :], table.numbers, "column of numbers")
            ranges.setdefault(column, [None, None])[name.startswith(_MAX)] = _number(name, value)
        elif name == "class":
            plain["class_id"] = _class_id(value)
        elif name in _ONE:
            plain[name] = value
        else:
            raise ViewError(f"an address has no {name[:60]!r}; it has {', '.join((*_ONE, 'class'))}, slice.NAME,"
                            " min.COLUMN and max.COLUMN")  # fmt: skip
    _known(plain.get("decision", RIGHT), tuple(DECISIONS), "decision")
    sort = _known(plain.pop("sort", "image_id"), table.scalars, "column to sort by")
    descending = _known(plain.pop("order", "asc"), ("asc", "desc"), "order") == "desc"
    after = _unpacked(plain.pop("after", ""), text_sorted=sort in table.texts)
    return View(
        **plain,
        slices=tuple(slices.items()),
        ranges=tuple((name, low, high) for name, (low, high) in ranges.items()),
        sort=sort,
        descending=descending,
        after=after,
    )


def _known(name: str, names: Sequence[str], what: str) -> str:
    if name not in names:
        raise ViewError(f"the run has no {what} {name[:60]!r}; it has {', '.join(names)}")
    return name


def _number(name: str, value: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ViewError(f"{name} is {value[:40]!r}; expected a number")
    return number


def _class_id(value: str) -> int:
    found = _LEADING_NUMBER.match(value)
    if found is None:
        raise ViewError(f"class is {value[:40]!r}; expected the number of a class")
    return int(found[1])


def _packed(after: Sequence[Any]) -> str:
    text = json.dumps(list(after), ensure_ascii=True, separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _unpacked(text: str, *, text_sorted: bool) -> tuple[Any, ...]:
    """What `_packed` packed; whoever wrote it, it only is compared with columns of its types."""
    if not text:
        return ()
    try:
        found = json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (binascii.Error, ValueError):
        found = None
    sorted_by = (str,) if text_sorted else (int, float)
    types = ((*sorted_by, type(None)), (str,), (str,), (int,), (str,), (int,))
    if (
        not isinstance(found, list)
        or len(found) != len(types)
        or not all(isinstance(one, kinds) for one, kinds in zip(found, types, strict=True))
    ):
        raise ViewError("after does not say where a page begins; leave it out for the first page")
    return tuple(found)
