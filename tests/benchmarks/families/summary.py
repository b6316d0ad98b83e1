"""The families, and what their ratios give together."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence

from tests.benchmarks import figures
from tests.support import paths

FAMILIES = (
    "Xception",
    "VGG16",
    "ResNet50V2",
    "InceptionV3",
    "MobileNetV2",
    "DenseNet121",
    "NASNetMobile",
    "EfficientNetB0",
    "EfficientNetV2B0",
    "ConvNeXtTiny",
)
"""One application of ten families of keras.applications, named before anything was tuned on them."""

CAP = 2.0
"""A greater ratio counts as this one: no family makes up for others."""

MEAN_GOAL, MEDIAN_GOAL, EACH_GOAL = figures.Goal(low=1.3), figures.Goal(low=1.15), figures.Goal(low=1.0)

OF_WHOLE_PASSES = ("ResNet50V2", "MobileNetV2", "EfficientNetB0", "ConvNeXtTiny")
"""Those of which whole passes are measured too."""

PASSES = ("Score-CAM over TensorFlow", "insertion and deletion over TensorFlow")
"""What is measured of whole passes, in the order of `whole_passes`."""

PASSES_GOAL = figures.Goal(low=1.3)

PEERS = paths.ROOT / "build" / "peers"
"""Where ``make peers`` puts Xplique without what it asks for: an older TensorFlow, though it runs with this one."""

_WHAT = "whole job over the faster peer"


def name_of(family: str) -> str:
    """The name of a family's figure."""
    return f"{_WHAT}, {family}"


def together(group: str, found: Sequence[figures.Figure]) -> list[figures.Figure]:
    """What the families give together: of `families` geometric mean, median and least of their ratios, each capped; of
    `whole_passes` the geometric mean of each of `PASSES`.

    Args:
        group: of the bench; others have nothing together.
        found: its figures. Without a ratio of every family the goals are not judged.
    """
    if group == "families":
        goals = {"geometric mean": MEAN_GOAL, "median": MEDIAN_GOAL, "least": EACH_GOAL}
        return capped(_WHAT, [f.ratio for f in found], goals, len(FAMILIES))
    if group == "whole_passes":
        of = {what: [f.ratio for f in found if f.name.startswith(f"{what}, ")] for what in PASSES}
        goals = {"geometric mean": PASSES_GOAL}
        return [one for what in PASSES for one in capped(what, of[what], goals, len(OF_WHOLE_PASSES))]
    return []


def capped(
    what: str, ratios: Sequence[float], goals: Mapping[str, figures.Goal], families: int
) -> list[figures.Figure]:
    """Of `ratios`, none counted as greater than `CAP`, what `goals` names; judged if there are as many as families."""
    counted = [min(ratio, CAP) for ratio in ratios if math.isfinite(ratio)]
    if not counted:
        return []
    values = {
        "geometric mean": statistics.geometric_mean(counted),
        "median": statistics.median(counted),
        "least": min(counted),
    }
    complete = len(counted) == families
    return [
        figures.single(
            f"{what}, {name}",
            values[name],
            goal if complete else None,
            f"of {len(counted)} families, each ratio capped at {CAP:g}{'' if complete else '; not all were measured'}",
            families=len(counted),
        )
        for name, goal in goals.items()
    ]
