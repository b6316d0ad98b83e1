"""The numbers of a run as the tables of its report: which metrics to show, and their rows with intervals."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Collection, Iterable, Sequence
from typing import Any

import markupsafe
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.pages import plots
from heatbeam.transforms.metrics import registry, slicing
from heatbeam.transforms.metrics.localization import baselines

METHOD_METRICS = tuple(one.shown_name for one in registry.shown("methods"))
"""Columns of the comparison of methods, where the run has them."""

_IN_CLASSES = tuple(one.shown_name for one in registry.shown("classes"))
CLASS_METRICS = tuple(name for name in _IN_CLASSES if name not in registry.OF_THE_MODEL)
MODEL_METRICS = tuple(name for name in _IN_CLASSES if name in registry.OF_THE_MODEL)
CARD_METRICS = tuple(one.shown_name for one in registry.shown("cards"))


@dataclasses.dataclass(frozen=True)
class Number:
    """One number of the summary; NaN where it or its interval does not exist."""

    value: float
    n: int
    lower: float
    upper: float

    @property
    def exists(self) -> bool:
        """Whether there is a number."""
        return math.isfinite(self.value)

    @property
    def has_interval(self) -> bool:
        """Whether its confidence interval is known."""
        return math.isfinite(self.lower) and math.isfinite(self.upper)


_SUMMARY_COLUMNS = ("method", "slice_name", "slice_value", "metric", "value", "n", "lower", "upper")

NOTHING = Number(math.nan, 0, math.nan, math.nan)


@dataclasses.dataclass(frozen=True)
class Column:
    """A metric as a column: its name, title, explanation, better direction, and what it says in plain words."""

    name: str
    title: str
    about: str
    better: str
    plain: str = ""


@dataclasses.dataclass(frozen=True)
class Cell:
    """A number in its table: whether it is the best of its column, and whether a baseline is not worse."""

    number: Number
    picture: markupsafe.Markup
    best: bool = False
    below_baseline: bool = False


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of a table: its name, the method of its numbers, one cell per column, and the slice that it is of."""

    name: str
    method: str
    n: int
    cells: tuple[Cell, ...]
    baseline: bool = False
    key: tuple[str, str] = slicing.EVERYTHING


class Summary:
    """The summary of a run, by method, slice and metric.

    Args:
        table: ``summary``.
    """

    def __init__(self, table: ds.Dataset):
        wanted = [*METHOD_METRICS, *_IN_CLASSES, *CARD_METRICS]
        rows = table.to_table(filter=pc.field("metric").isin(wanted))
        self._numbers: dict[tuple[str, str, str], dict[str, Number]] = collections.defaultdict(dict)
        for key, metric, number in _read(rows):
            self._numbers[key][metric] = number
        self.methods = list(dict.fromkeys(method for method, _, _ in self._numbers))

    def number(self, method: str, metric: str, slice_name: str = slicing.ALL, slice_value: str = slicing.ALL) -> Number:
        """One number; `NOTHING` if the run does not have it."""
        return self._numbers.get((method, slice_name, slice_value), {}).get(metric, NOTHING)

    def values_of(self, slice_name: str) -> list[str]:
        """The values of a slice, in order."""
        return sorted({value for _, name, value in self._numbers if name == slice_name})

    def slice_names(self) -> list[str]:
        """Every slice but all and class."""
        return sorted({name for _, name, _ in self._numbers} - {slicing.ALL, slicing.CLASS})

    def present(self, metrics: Iterable[str], methods: Sequence[str]) -> list[str]:
        """Those of `metrics` that any of `methods` has over everything."""
        return [name for name in metrics if any(self.number(method, name).exists for method in methods)]


def _read(rows: pa.Table) -> Iterable[tuple[tuple[str, str, str], str, Number]]:
    columns = [rows[name].to_pylist() for name in _SUMMARY_COLUMNS]
    for method, slice_name, slice_value, metric, value, n, *bounds in zip(*columns, strict=True):
        known, lower, upper = (math.nan if x is None else x for x in (value, *bounds))
        yield (method, slice_name, slice_value), metric, Number(known, n, lower, upper)


def column(name: str) -> Column:
    """The column of a metric, described by the registry where it is listed there."""
    known, title = registry.described(name), registry.title(name)
    if known is None:
        return Column(name, title, "", "none")
    paper = f" ({known.paper})" if known.paper else ""
    return Column(name, title, f"{known.definition} {known.formula}.{paper}", known.better, known.plain)


def method_table(summary: Summary, methods: Sequence[str], controls: Collection[str]) -> tuple[list[Column], list[Row]]:
    """Every method and baseline over everything; the best method of each column is marked.

    Args:
        summary: of the run.
        methods: of the run.
        controls: those that count as a baseline.
    """
    known = {*baselines.BASELINES, *controls}
    rows = sorted([*methods, *(n for n in baselines.BASELINES if n in summary.methods)], key=known.__contains__)
    columns = [column(name) for name in summary.present(METHOD_METRICS, methods)]
    by_column = [_method_cells(summary, rows, known, one) for one in columns]
    table = [
        Row(name, name, max((cells[i].number.n for cells in by_column), default=0),
            tuple(cells[i] for cells in by_column), name in known)
        for i, name in enumerate(rows)
    ]  # fmt: skip
    return columns, table


def _method_cells(summary: Summary, rows: Sequence[str], known: Collection[str], shown: Column) -> list[Cell]:
    """The cells of one column; `known` are the baselines among `rows`."""
    numbers = [summary.number(name, shown.name) for name in rows]
    ends = [x for one in numbers for x in (one.value, one.lower, one.upper) if math.isfinite(x)]
    low, high = min(0.0, *ends), max(ends)
    sign = {"higher": 1, "lower": -1}.get(shown.better, 0)
    exist = [(name in known, sign * one.value) for name, one in zip(rows, numbers, strict=True) if one.exists]
    best = max((value for baseline, value in exist if not baseline), default=math.nan)
    to_beat = max((value for baseline, value in exist if baseline), default=-math.inf)
    cells = []
    for name, one in zip(rows, numbers, strict=True):
        if not one.exists:
            cells.append(Cell(one, markupsafe.Markup("")))
            continue
        own = name not in known
        # A method is below a baseline if the better end of its interval does not reach it.
        reach = (one.upper if sign > 0 else -one.lower) if one.has_interval else sign * one.value
        picture = plots.interval(one.value, one.lower, one.upper, low, high, "own" if own else "base")
        marked = own and bool(sign)
        cells.append(
            Cell(one, picture, marked and f"{sign * one.value:.3f}" == f"{best:.3f}", marked and reach < to_beat)
        )
    return cells


def slice_table(
    summary: Summary, methods: Sequence[str], slices: Sequence[tuple[str, str]], with_model: bool
) -> tuple[list[Column], list[Row]]:
    """One row per slice and method.

    Args:
        summary: of the run.
        methods: to list.
        slices: ``(slice_name, slice_value)`` pairs.
        with_model: whether the model's own numbers go first.
    """
    own = summary.present(MODEL_METRICS, [slicing.MODEL]) if with_model else []
    names = [*own, *summary.present(CLASS_METRICS, methods)]
    rows = []
    for method in methods:
        for slice_name, slice_value in slices:
            numbers = [
                summary.number(slicing.MODEL if name in MODEL_METRICS else method, name, slice_name, slice_value)
                for name in names
            ]
            if any(number.exists for number in numbers[len(own) :]):
                cells = tuple(Cell(number, markupsafe.Markup("")) for number in numbers)
                title = slice_value if slice_name == slicing.CLASS else f"{slice_name} = {slice_value}"
                n = max(number.n for number in numbers[len(own) :])
                rows.append(Row(title, method, n, cells, key=(slice_name, slice_value)))
    return [column(name) for name in names], rows


def curve_points(table: ds.Dataset, methods: Sequence[str]) -> dict[tuple[str, str], tuple[list[float], list[float]]]:
    """Thresholds and values of every curve over everything, per ``(method, curve)``."""
    condition = (pc.field("slice_name") == slicing.ALL) & pc.field("method").isin(pa.array(methods, pa.string()))
    rows = table.to_table(columns=["method", "curve", "threshold", "value"], filter=condition)
    rows = rows.sort_by([("method", "ascending"), ("curve", "ascending"), ("threshold", "ascending")])
    points: dict[tuple[str, str], tuple[list[float], list[float]]] = {}
    columns: list[list[Any]] = [rows[name].to_pylist() for name in rows.schema.names]
    for method, curve, threshold, value in zip(*columns, strict=True):
        x, y = points.setdefault((method, curve), ([], []))
        x.append(threshold)
        y.append(math.nan if value is None else value)
    return points
