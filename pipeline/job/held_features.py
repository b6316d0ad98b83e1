"""What the settings say that records hold, against what they do hold."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from heatbeam import config
from heatbeam.transforms import explain, records
from heatbeam.transforms.sources import feature_map

FEW = 0.1
"""A feature that a smaller share of the records has is worth a warning."""


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found, a sentence each.

    Attributes:
        problems: features that the configuration names and no record has.
        warnings: features that few records have.
        missing: usual names that the configuration does not give and no record has.
    """

    problems: tuple[str, ...]
    warnings: tuple[str, ...]
    missing: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class OtherInput:
    """What records brought for an input of the model beside the explained one.

    Attributes:
        name: of the input.
        feature: of the records.
        shape, type: of what the model is given for an image.
        least, greatest: of all numbers; None of text.
    """

    name: str
    feature: str
    shape: tuple[int, ...]
    type: str
    least: float | None
    greatest: float | None

    def in_words(self, count: int) -> str:
        """A line about `count` records."""
        shape = "x".join(map(str, self.shape)) or "1"
        span = "text" if self.least is None else f"{self.least:.4g} to {self.greatest:.4g}"
        return f"{self.name}, {shape} {self.type} of feature {self.feature}: {span} in {count} records"

    def facts(self) -> dict[str, Any]:
        """The same as JSON types."""
        return dataclasses.asdict(self) | {"shape": list(self.shape)}


def others(settings: config.RunConfig, examples: Sequence[records.Example]) -> list[OtherInput]:
    """What comes with the images, for each input that is not explained."""
    found = []
    for name, rows in explain.stacked_inputs(examples).items():
        numbers = None if rows.dtype == object else rows.astype(np.float64)
        span = (None, None) if numbers is None else (float(numbers.min()), float(numbers.max()))
        kind = "text" if numbers is None else rows.dtype.name
        found.append(OtherInput(name, settings.model.inputs[name].feature, rows.shape[1:], kind, *span))
    return found


def findings(settings: config.RunConfig, total: int, holding: Mapping[str, int]) -> Findings:
    """Compare.

    Args:
        settings: of the run.
        total: records that were looked at; of none nothing is said.
        holding: by feature that the run reads, how many of them have a value of it.
    """
    problems, warnings, missing = [], [], []
    for name, places in _named(settings).items():
        if name not in holding:  # of classes in a run that asks for values, or the other way round
            continue
        count = holding[name]
        given = [place for place, is_given in places.items() if is_given]
        where = f"{name} ({', '.join(given or places)})"
        if not total or count >= FEW * total:
            continue
        if count:
            warnings.append(f"only {count:,} of {total:,} records ({count / total:.1%}) have the feature {where}")
        elif given:
            problems.append(f"none of {total:,} records has the feature {where}")
        else:
            missing.append(name)
    return Findings(tuple(problems), tuple(warnings), tuple(missing))


def _named(settings: config.RunConfig) -> dict[str, dict[str, bool]]:
    """By name of a feature, the settings that hold it, and whether the configuration gave it there."""
    named: dict[str, dict[str, bool]] = collections.defaultdict(dict)
    for place, name, given in _places(settings):
        named[name][place] = given
    return named


def _places(settings: config.RunConfig) -> Iterator[tuple[str, str, bool]]:
    given = settings.input.features_given or ()
    for field in feature_map.NAMES:
        name = getattr(settings.input.features, field)
        if name is not None and field != "image" and field not in feature_map.OF_THE_IMAGE:
            yield f"input.features.{field}", name, field in given
    for form in settings.model.as_input_forms():
        yield f"model.inputs.{form.name}", form.feature, True
    for name in settings.evaluate.slices:
        yield "evaluate.slices", name, True
