"""How the report writes numbers and names."""

from __future__ import annotations

import math
import re

import markupsafe

from heatbeam.report import report_tables


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash if there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A fraction in percent."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def count(value: int) -> str:
    """A whole number with thousands separated."""
    return f"{value:,}"


PLAIN = {
    "top1_accuracy": "of the images: the label is the model's first choice",
    "energy_pointing_game": "of the evidence in the maps lies on the object",
    "pointing_game": "of the images: the strongest point is on the object",
    "max_box_acc_v2": "of the boxes drawn from the maps are right, at their best threshold",
    "pxap": "area under precision and recall of the pixels of the object",
    "insertion": "mean probability while the strongest pixels appear",
    "average_drop": "of the probability is lost if only the map is shown",
}
"""What the headline numbers say, to be read behind the number."""


def breakable(name: str) -> markupsafe.Markup:
    """A name that a browser may break behind each underscore and point."""
    return markupsafe.Markup(re.sub(r"([_.])", r"\1<wbr>", str(markupsafe.escape(name))))


def interval(found: report_tables.Number) -> str:
    """The 95 % interval of a fraction."""
    return f"{share(found.lower)} to {share(found.upper)}" if found.has_interval else "no interval"


def nice(method: str) -> str:
    """A method's name, its baselines marked as such."""
    return f"{method.removeprefix('baseline_')} (baseline)" if method.startswith("baseline_") else method
