"""The table of what a device does, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
import math
import pathlib
from collections.abc import Sequence
from typing import Any


@dataclasses.dataclass(frozen=True)
class Line:
    """A figure.

    Attributes:
        what: was measured.
        value: of it; NaN where the machine did something else in between.
        unit: ``images/s``, ``MiB`` or ``of the largest value``.
    """

    what: str
    value: float
    unit: str


def table(lines: Sequence[Line]) -> str:
    """A line each, the numbers below one another."""
    width = max((len(line.what) for line in lines), default=0)
    return "".join(f"{line.what:<{width}}  {_number(line.value):>12} {line.unit}\n" for line in lines)


def _number(value: float) -> str:
    if math.isnan(value):
        return "disturbed"
    return f"{value:,.0f}" if value >= 1000 else f"{value:,.3g}"


def write_json(path: str, device: Any, lines: Sequence[Line], left_out: Sequence[str]) -> None:
    """The figures with the device that they are of."""
    figures = [dataclasses.asdict(line) | {"value": None if math.isnan(line.value) else line.value} for line in lines]
    document = {"device": device, "figures": figures, "left_out": list(left_out)}
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(path).write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
