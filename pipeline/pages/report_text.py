"""How the report writes numbers and names."""

from __future__ import annotations

import math
import re

import markupsafe

from heatbeam.transforms.errors import redaction


def without_secrets(value: object) -> object:
    """What a page shows of a value, for the option ``finalize`` of a template: text without the secrets in it."""
    return redaction.text(value) if type(value) is str else value  # markup is made here


def number(value: float | None, digits: int = 3) -> str:
    """A number for a table; a dash if there is none."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.{digits}f}"


def share(value: float | None) -> str:
    """A fraction in percent."""
    return "–" if value is None or not math.isfinite(value) else f"{value:.1%}"


def count(value: int) -> str:
    """A whole number with thousands separated."""
    return f"{value:,}"


def breakable(name: str) -> markupsafe.Markup:
    """A name that a browser may break behind each underscore and point."""
    return markupsafe.Markup(re.sub(r"([_.])", r"\1<wbr>", str(markupsafe.escape(name))))


def interval(lower: float, upper: float) -> str:
    """The 95 % interval of a fraction; NaN where it has none."""
    return f"{share(lower)} to {share(upper)}" if math.isfinite(lower) and math.isfinite(upper) else "no interval"


def nice(method: str) -> str:
    """A method's name, its baselines marked as such."""
    return f"{method.removeprefix('baseline_')} (baseline)" if method.startswith("baseline_") else method
