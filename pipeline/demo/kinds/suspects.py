"""Whom the audit suspects in a run: the classes whose maps come back to a place of their own."""

from __future__ import annotations

from heatbeam.audit import shortcuts
from heatbeam.runs import run_directory


def found(run: run_directory.RunDirectory, method: str) -> list[shortcuts.Finding]:
    """The suspected classes over all images, by the maps of `method`, the most suspicious first."""
    return [finding for finding in judged(run, method) if finding.suspect]


def judged(run: run_directory.RunDirectory, method: str) -> list[shortcuts.Finding]:
    """Every class that has enough images to be judged, the most suspicious first, suspected or not."""
    return shortcuts.over_all(run.open_table("explanations"), run.read_manifest().primary_target, method)
