"""The methods of a run by their labels: which of them are baselines, and which cannot tell classes apart by design.

Two kinds of baseline stand beside the methods of a run: the fixed maps of `baselines`, whose names
begin with `FIXED_MAPS`, and methods that know nothing of the class or the image (`CONTROLS`), under whatever name the
configuration gives them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIXED_MAPS = "baseline_"

CONTROLS = frozenset({"random_cam"})
"""Methods that count as a baseline: shown beside the others, never headlined, and gated only by name."""

CLASS_FREE = frozenset({"eigen_cam", "fem", "random_cam"})
"""Methods that give the same map for every class by design."""


def by_label(manifest: Mapping[str, Any]) -> dict[str, str]:
    """The method behind each label of a run, in the order of the configuration."""
    found = {}
    for one in manifest.get("config", {}).get("explain", {}).get("methods", ()):
        if isinstance(one, str):
            found[one] = one
        else:
            wrapped = f"{one['wrapper']}_{one['method']}" if one.get("wrapper") else one["method"]
            found[one.get("name") or wrapped] = one["method"]
    return found


def controls(manifest: Mapping[str, Any]) -> frozenset[str]:
    """Labels of the run's methods that are `CONTROLS`."""
    return frozenset(label for label, method in by_label(manifest).items() if method in CONTROLS)


def is_baseline(label: str, known_controls: frozenset[str]) -> bool:
    """Whether rows of that label are of a baseline.

    Args:
        label: ``method`` of a row.
        known_controls: of the run.
    """
    return label.startswith(FIXED_MAPS) or label in known_controls
