"""What a row of the table of metrics says."""

from __future__ import annotations

import collections.abc
import dataclasses
import functools
import importlib
from typing import Any, Literal, NamedTuple, Protocol

Direction = Literal["higher", "lower", "none"]
Needs = Literal["none", "boxes", "masks", "objects", "predictions"]
Place = Literal["methods", "classes", "cards", "findings", "history"]

_ROOM = "heatbeam.transforms.metrics"


@dataclasses.dataclass(frozen=True)
class Column:
    """One per-image column of ``explanations``: its name, description, unit and range.

    `least_rank` is how many position axes an input has at least to have the column: what is said of y needs two.
    """

    name: str
    description: str
    unit: str = ""
    range: str = "[0, 1]"
    least_rank: int = 1


@dataclasses.dataclass(frozen=True)
class Curve:
    """A curve of each map, whose mean over images stands in ``curves``.

    Attributes:
        name: in the column ``curve``; with ``_curve`` behind it a column of ``explanations``.
        about: how to read it. The report draws the curves that have this, with the group's first metric beside it.
        axes: what its positions and its values are.
    """

    name: str
    about: str = ""
    axes: tuple[str, str] = ("share of pixels", "probability")


@dataclasses.dataclass(frozen=True)
class Metric:
    """One number of the summary.

    Attributes:
        name: in the column ``metric``; numbers per IoU limit or threshold add a suffix.
        definition: one sentence.
        formula: with the convention that changes the number.
        range: of the value. Proportions are fractions; publications often print 100 times them.
        better: which direction is better.
        needs: ``objects`` means masks or boxes; ``predictions`` means forward passes.
        paper: where it was defined; empty for our own.
        column: the per-image column it is the mean of; empty if it is no mean.
        proportion: whether the column is 0 or 1, so that the interval is Wilson's.
        title: above its column in the report; by default the name.
        plain: what the number says, to be read behind it; of those that are ``cards``.
        rank: the place among all numbers that people are shown, 1 the first; 0 for one that is nowhere shown.
        shown: where it is shown unless something else is asked for: in the report's comparison of ``methods``, its
            tables of ``classes`` and slices, the ``cards`` with the headline numbers, and its ``findings`` (methods no
            better than a baseline), and in the ``history`` of runs.
        suffix: of the number that is shown, where there are several.
        distribution: what the report calls the distribution of the column over images; empty if it is not drawn.
        root: whether it is the root of the mean of the column.
    """

    name: str
    definition: str
    formula: str
    range: str
    better: Direction
    needs: Needs
    paper: str = ""
    column: str = ""
    proportion: bool = False
    _: dataclasses.KW_ONLY
    title: str = ""
    plain: str = ""
    rank: int = 0
    shown: tuple[Place, ...] = ()
    suffix: str = ""
    distribution: str = ""
    root: bool = False

    @property
    def shown_name(self) -> str:
        """The name of the number that is shown."""
        return self.name + self.suffix


class Passes(NamedTuple):
    """What a group costs per image and class: predictions, and explanations by the method that is measured."""

    predictions: int = 0
    explanations: int = 0


class PassSettings(Protocol):
    """The settings that a cost depends on."""

    @property
    def steps(self) -> int:
        """Points of insertion and deletion, less one."""

    @property
    def road_percentiles(self) -> tuple[float, ...]:
        """Shares of the pixels that ROAD removes, in percent."""

    @property
    def sensitivity_samples(self) -> int:
        """Noisy copies of an image for max-sensitivity."""


def _no_passes(_: PassSettings) -> Passes:
    return Passes()


@dataclasses.dataclass(frozen=True)
class Group:
    """Metrics that are asked for, and measured, together.

    Attributes:
        name: in the configuration (faithfulness), and of the group.
        measure: ``module.function`` that measures it, below ``heatbeam.transforms.metrics``; empty for numbers that
            are no columns of ``explanations``.
        metrics: the numbers of the summary.
        own_columns: the per-image columns, in the order of the table; without them one for each metric.
        curves: of each map.
        passes: of the model, without those of `masks`.
        masks: whether it asks for the score of the input and of the masked input, two predictions that all share.
        twin: whether it asks for the maps of the model with shuffled weights.
    """

    name: str
    measure: str
    metrics: tuple[Metric, ...]
    own_columns: tuple[Column, ...] = ()
    curves: tuple[Curve, ...] = ()
    passes: collections.abc.Callable[[PassSettings], Passes] = _no_passes
    masks: bool = False
    twin: bool = False

    @property
    def columns(self) -> tuple[Column, ...]:
        """The per-image columns, in the order of the table."""
        derived = (Column(m.column, f"per image: {m.formula}", range=m.range) for m in self.metrics if m.column)
        return self.own_columns or tuple(derived)

    @property
    def function(self) -> collections.abc.Callable[..., Any]:
        """The function that measures it; its module is imported when this is first asked for."""
        return _function(self.measure)


@functools.cache
def _function(place: str) -> collections.abc.Callable[..., Any]:
    module, _, name = place.rpartition(".")
    found: collections.abc.Callable[..., Any] = getattr(importlib.import_module(f"{_ROOM}.{module}"), name)
    return found
