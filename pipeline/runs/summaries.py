"""The summary of a run as numbers by what they are about."""

from __future__ import annotations

import math

from heatbeam.runs import run_directory
from heatbeam.transforms.metrics import paired, slicing

Key = tuple[str, str, str, str]
"""``(method, slice_name, slice_value, metric)``; the slice ``all`` has the value ``""``."""


def read(run: run_directory.RunDirectory) -> dict[Key, paired.Mean]:
    """Every number of a finished run; none if it has no summary."""
    if "summary" not in run.read_manifest().tables:
        return {}
    numbers = {}
    for row in run.open_table("summary").to_table().to_pylist():
        value, lower, upper = (math.nan if row[name] is None else row[name] for name in ("value", "lower", "upper"))
        place = "" if row["slice_name"] == slicing.ALL else row["slice_value"]
        key = (row["method"], row["slice_name"], place, row["metric"])
        numbers[key] = paired.Mean(value, row["n"], lower, upper, "none" if math.isnan(lower) else "unpaired")
    return numbers
