"""Two runs side by side: the same image, class and method in both, what flipped and what moved.

The few columns that are needed of both tables are joined by the image's id and the name of the class: class numbers may
differ. An id that stands for several records of a run is in no pair, because which is meant cannot be told.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import threading
import urllib.parse
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import markupsafe
import pyarrow as pa

from heatbeam.explore import grid, shown_run, views
from heatbeam.explore import table as tables

PAGE = 24

FLIPS = {
    "all": "true",
    "flipped": "said_a <> said_b",
    "broken": "right_a AND NOT right_b",
    "fixed": "right_b AND NOT right_a",
    "same": "said_a = said_b",
}
"""What can be asked for, and its condition."""

WORDS = {
    "all": "all pairs",
    "flipped": "another first choice",
    "broken": "right before, wrong now",
    "fixed": "wrong before, right now",
    "same": "the same first choice",
}

ORDERS = {"fell": "change ASC NULLS LAST", "rose": "change DESC NULLS LAST", "moved": "abs(change) DESC NULLS LAST"}
"""By the change of the number."""

_KEPT = 4


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is asked for.

    Attributes:
        method, target: whose maps.
        column: the number that may have moved.
        flip: one of `FLIPS`.
        order: one of `ORDERS`.
        page: from 0.
    """

    method: str
    target: str
    column: str
    flip: str = "flipped"
    order: str = "moved"
    page: int = 0

    def address(self) -> str:
        """The query of its address."""
        return urllib.parse.urlencode({name: value for name, value in dataclasses.asdict(self).items() if value != ""})


@dataclasses.dataclass(frozen=True)
class Pair:
    """The same image, class and method in both runs."""

    first: grid.Cell
    second: grid.Cell
    before: float | None
    after: float | None

    @property
    def change(self) -> float | None:
        """Of the number."""
        return None if self.before is None or self.after is None else self.after - self.before


class TwoRuns:
    """What two runs have in common.

    Args:
        first, second: the baseline and the candidate.
    """

    def __init__(self, first: shown_run.ShownRun, second: shown_run.ShownRun):
        self.first, self.second = first, second
        self._connection = duckdb.connect(":memory:", config={"python_enable_replacements": "false"})
        self._lock = threading.Lock()
        self._joined: collections.OrderedDict[tuple[str, str, str], pa.Table] = collections.OrderedDict()

    @functools.cached_property
    def methods(self) -> list[str]:
        """Of both runs."""
        return [one for one in self.first.methods if one in self.second.methods]

    @functools.cached_property
    def columns(self) -> list[str]:
        """Numbers of both runs that can move."""
        return [
            name for name in self.first.table.numbers
            if name in self.second.table.numbers and self.first.table.about(name, "role") == "value"
        ]  # fmt: skip

    def parse(self, query: Iterable[tuple[str, str]]) -> Asked:
        """What an address asks for.

        Raises:
            views.ViewError: if it asks for something that the runs do not have.
        """
        given: dict[str, Any] = {name: value for name, value in query if value}
        if not self.methods:
            raise views.ViewError("the runs have no method in common")
        start = self.first.start()
        usual = start.method if start.method in self.methods else self.methods[0]
        number = "energy_share" if "energy_share" in self.columns else "probability"
        page = given.pop("page", "0")
        if not (page.isascii() and page.isdigit() and len(page) < 7):
            raise views.ViewError("page is no number of a page")
        known: dict[str, Sequence[str]] = {
            "method": self.methods, "target": self.first.targets, "column": self.columns, "flip": tuple(FLIPS),
            "order": tuple(ORDERS),
        }  # fmt: skip
        for name, value in given.items():
            if value not in known.get(name, ()):
                raise views.ViewError(f"the runs have no {name[:40]} {value[:60]!r}")
        return dataclasses.replace(Asked(usual, start.target, number, page=int(page)), **given)

    def _side(self, run: shown_run.ShownRun, asked: Asked) -> pa.Table:
        """Key, decision, number and place of each row."""
        names = list(run.class_names)
        sql = f"""
            SELECT image_id, class_name, coalesce(list_extract(?::VARCHAR[], predicted_class_id + 1),
                'class_' || predicted_class_id) AS said, list_contains(label_ids, predicted_class_id) AS is_right,
                {tables.quoted(asked.column)}::DOUBLE AS number, filename, file_row_number
            FROM explanations WHERE method = ? AND list_contains(targets, ?)
            QUALIFY count(*) OVER (PARTITION BY image_id, class_name) = 1
        """  # noqa: S608 - a name of a column
        return run.table.arrow(sql, (names, asked.method, asked.target))

    def _pairs(self, asked: Asked) -> pa.Table:
        """Every pair of a method, a target and a number."""
        key = (asked.method, asked.target, asked.column)
        with self._lock:
            if key not in self._joined:
                first, second = (self._side(run, asked) for run in (self.first, self.second))
                self._connection.register("first", first)
                self._connection.register("second", second)
                self._joined[key] = self._connection.sql("""
                    SELECT image_id, class_name, a.said AS said_a, b.said AS said_b, a.is_right AS right_a,
                        b.is_right AS right_b, a.number AS before, b.number AS after, b.number - a.number AS change,
                        a.filename AS file_a, a.file_row_number AS row_a, b.filename AS file_b,
                        b.file_row_number AS row_b
                    FROM "first" a JOIN "second" b USING (image_id, class_name)
                """).to_arrow_table()
            self._joined.move_to_end(key)
            while len(self._joined) > _KEPT:
                self._joined.popitem(last=False)
            return self._joined[key]

    def page(self, asked: Asked) -> dict[str, Any]:
        """What the page of pairs shows."""
        joined = self._pairs(asked)
        with self._lock:
            self._connection.register("pairs", joined)
            counted = ", ".join(f"count(*) FILTER ({condition})" for condition in FLIPS.values())
            counts = self._connection.execute(f"SELECT {counted} FROM pairs").fetchone()  # noqa: S608
            rows = self._connection.execute(
                f"SELECT file_a, row_a, file_b, row_b, before, after FROM pairs WHERE {FLIPS[asked.flip]}"  # noqa: S608
                f" ORDER BY {ORDERS[asked.order]}, image_id, class_name LIMIT ? OFFSET ?",
                [PAGE + 1, asked.page * PAGE],
            ).fetchall()
        shown = rows[:PAGE]
        first = self._cells(self.first, [(row[0], row[1]) for row in shown])
        second = self._cells(self.second, [(row[2], row[3]) for row in shown])
        found = zip(first, second, shown, strict=True)
        return {
            "asked": asked,
            "pairs": [Pair(one, other, row[4], row[5]) for one, other, row in found],
            "counts": dict(zip(FLIPS, counts or (), strict=True)),
            "words": WORDS,
            "methods": self.methods,
            "columns": self.columns,
            "targets": self.first.targets,
            "orders": tuple(ORDERS),
            "others": {name: self._address(dataclasses.replace(asked, flip=name, page=0)) for name in FLIPS},
            "more": self._address(dataclasses.replace(asked, page=asked.page + 1)) if len(rows) > PAGE else "",
            "problems": [*self.first.pictures.problems, *self.second.pictures.problems],
            "titles": self._titles(),
            "baseline": self.first,
            "candidate": self.second,
        }

    def _titles(self) -> tuple[str, str]:
        """What tells the runs apart."""
        if self.first.title != self.second.title:
            return self.first.title, self.second.title
        return self.first.run.path, self.second.run.path

    def _address(self, asked: Asked) -> markupsafe.Markup:
        return markupsafe.escape(f"/pairs?{asked.address()}")

    def _cells(self, run: shown_run.ShownRun, at: Sequence[tuple[str, int]]) -> list[grid.Cell]:
        places = [run.table.place(path, number) for path, number in at]
        rows = run.table.rows_at(places, grid.columns(run.table))
        run.pictures.prefetch(places)
        return grid.cells(run, [rows[place] for place in places])
