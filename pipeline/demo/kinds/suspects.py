"""Whom the audit suspects in a run: the classes whose maps come back to a place of their own."""

from __future__ import annotations

from heatbeam.audit import map_scan, shortcuts
from heatbeam.runs import run_directory
from heatbeam.transforms.metrics import slicing


def found(run: run_directory.RunDirectory, method: str) -> list[shortcuts.Finding]:
    """The suspected classes over all images, by the maps of `method`, the most suspicious first."""
    return [finding for finding in judged(run, method) if finding.suspect]


def judged(run: run_directory.RunDirectory, method: str) -> list[shortcuts.Finding]:
    """Every class that has enough images to be judged, the most suspicious first, suspected or not."""
    table = run.open_table("explanations")
    scanner = map_scan.Scanner(table.schema, run.read_manifest().primary_target, method, (), ())
    for batch in map_scan.batches(table, scanner.columns):
        scanner.add(batch)
    return list(shortcuts.audit(scanner.result().groups(method, slicing.ALL)))
