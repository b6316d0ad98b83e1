"""The methods of a run by their labels: which of them are baselines, and which cannot tell classes apart by design.

Two kinds of baseline stand beside the methods of a run: the fixed maps of `baselines`, whose names
begin with `FIXED_MAPS`, and methods that know nothing of the class or the image (`CONTROLS`), under whatever name the
configuration gives them.
"""

from __future__ import annotations

from heatbeam.runs import manifests

FIXED_MAPS = "baseline_"

CONTROLS = frozenset({"random_cam"})
"""Methods that count as a baseline: shown beside the others, never headlined, and gated only by name."""

CLASS_FREE = frozenset({"eigen_cam", "fem", "random_cam"})
"""Methods that give the same map for every class by design."""


def by_label(manifest: manifests.Manifest) -> dict[str, str]:
    """The method behind each label of a run, in the order of the configuration."""
    return {one.label: one.method for one in manifest.config.explain.methods}


def controls(manifest: manifests.Manifest) -> frozenset[str]:
    """Labels of the run's methods that are `CONTROLS`."""
    return frozenset(label for label, method in by_label(manifest).items() if method in CONTROLS)


def is_baseline(label: str, known_controls: frozenset[str]) -> bool:
    """Whether rows of that label are of a baseline.

    Args:
        label: ``method`` of a row.
        known_controls: of the run.
    """
    return label.startswith(FIXED_MAPS) or label in known_controls
