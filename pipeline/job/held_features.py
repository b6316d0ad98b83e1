"""What the settings say that records hold, against what they do hold."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping

from heatbeam import config
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
    for name in settings.evaluate.slices:
        yield "evaluate.slices", name, True
