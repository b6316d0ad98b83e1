"""Runs of a schedule: a dated directory each under one root, their headline numbers over time, and retention."""

from __future__ import annotations

import dataclasses
import datetime
import math
import os
import pathlib
import posixpath
import re
import sys
from collections.abc import Sequence
from typing import Any, TextIO

from pyarrow import fs as pafs

from heatbeam.runs import decisions, manifests, remote_files, run_directory, run_methods, summaries
from heatbeam.transforms import errors
from heatbeam.transforms.metrics import paired, registry, slicing

HEADLINES = tuple(one.shown_name for one in registry.shown("history"))
"""What is shown unless other metrics are asked for; those that a run has."""

_DATED = re.compile(r"\d{4}-\d{2}-\d{2}T")
_BARS = "▁▂▃▄▅▆▇█"


@dataclasses.dataclass(frozen=True)
class Point:
    """A finished run of the history.

    Attributes:
        name: of its directory.
        path: of the run.
        started: when, ISO 8601.
        images: explained.
        dead_letters: records lost, those behind damage too.
        model: digest of the model, shortened.
        numbers: ``(method, metric)`` to the number over everything.
        decision: what ``compare --newest`` or ``run --sequential`` decided about it; None before it did.
    """

    name: str
    path: str
    started: str
    images: int
    dead_letters: int
    model: str
    numbers: dict[tuple[str, str], paired.Mean]
    decision: decisions.Decision | None = None


@dataclasses.dataclass(frozen=True)
class History:
    """The runs under a root, oldest first.

    Attributes:
        root: where they are.
        runs: the finished ones.
        unfinished: ``(name, status or problem)`` of the others; directories that are no run are left out.
    """

    root: str
    runs: tuple[Point, ...]
    unfinished: tuple[tuple[str, str], ...]

    def series(self) -> list[tuple[str, str]]:
        """Every ``(method, metric)`` of any run, in the order of the metrics."""
        found = {key for point in self.runs for key in point.numbers}
        return sorted(found, key=lambda key: (HEADLINES.index(key[1]) if key[1] in HEADLINES else 99, key[1], key[0]))


def dated_directory(root: str, now: datetime.datetime) -> str:
    """The directory of a run that starts now: ``ROOT/2026-01-31T06-00-00Z``; names sort by time.

    Args:
        root: path or URI.
        now: with a time zone.
    """
    if now.tzinfo is None:
        raise ValueError("now has no time zone; use datetime.datetime.now(datetime.timezone.utc)")
    return posixpath.join(root, now.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H-%M-%SZ"))


def history(root: str, metrics: Sequence[str] = HEADLINES) -> History:
    """The runs directly under `root` (a path or URI).

    Raises:
        run_directory.RunDirectoryError: if `root` is no directory.
    """
    points, unfinished = [], []
    for name, directory, manifest in _runs(root):
        if isinstance(manifest, str):
            unfinished.append((name, manifest))
        elif isinstance(manifest, manifests.Finished):
            points.append(_point(name, directory, manifest, metrics))
        else:
            unfinished.append((name, manifest.status))
    points.sort(key=lambda point: (point.started, point.name))
    return History(root, tuple(points), tuple(unfinished))


def newest_pair(root: str) -> tuple[str, str] | None:
    """Paths of the newest two finished runs under `root`, the older first; None if there is one only.

    Raises:
        run_directory.RunDirectoryError: if there is none, or `root` is no directory.
    """
    runs = history(root, ()).runs
    if not runs:
        raise run_directory.RunDirectoryError(f"{root} has no finished run; heatbeam history says what is there")
    return (runs[-2].path, runs[-1].path) if len(runs) > 1 else None


def prune(root: str, keep: int, stream: TextIO | None = None) -> list[str]:
    """Remove the oldest finished runs under `root` so that the newest `keep` of them stay; paths of those removed.

    Only what heatbeam wrote is removed: the manifest, the tables and the report of a finished run. A run that failed
    or is running stays, as does any other file, with its directory. One whose files a catalogue names stays, too, and
    `stream`, or standard error, is told of it.

    Raises:
        errors.UsageError: if `keep` is below 1.
        run_directory.RunDirectoryError: if `root` is no directory.
    """
    if keep < 1:
        raise errors.UsageError(f"keep is {keep}; expected 1 or more: the newest run is never removed")
    removed = []
    for point in history(root, ()).runs[:-keep]:
        directory = run_directory.RunDirectory(point.path)
        if registered := directory.registered():
            stream = sys.stderr if stream is None else stream
            stream.writelines(f"warning: {one.in_words(point.path)}\n" for one in registered)
            continue
        directory.remove()
        removed.append(point.path)
    return removed


def _runs(root: str) -> list[tuple[str, run_directory.RunDirectory, manifests.Manifest | str]]:
    """Name, directory and manifest (or why it cannot be read) of every run under `root`, by name."""
    filesystem, path = remote_files.filesystem_of(root)
    if filesystem.get_file_info(path.rstrip("/") or "/").type != pafs.FileType.Directory:
        raise run_directory.RunDirectoryError(f"{root} is not a directory; give the root of dated runs")
    found: list[tuple[str, run_directory.RunDirectory, manifests.Manifest | str]] = []
    for info in sorted(filesystem.get_file_info(pafs.FileSelector(path)), key=lambda info: info.base_name):
        manifest_info = filesystem.get_file_info(posixpath.join(info.path, run_directory.MANIFEST))
        if info.type != pafs.FileType.Directory or manifest_info.type != pafs.FileType.File:
            continue
        if not remote_files.is_remote(root) and pathlib.Path(info.path).is_symlink():
            continue  # a link such as "latest" is not a run of its own
        directory = run_directory.RunDirectory(posixpath.join(root.rstrip("/"), info.base_name))
        try:
            found.append((info.base_name, directory, directory.read_any_manifest()))
        except run_directory.RunDirectoryError as error:
            found.append((info.base_name, directory, str(error)))
    return found


def _point(
    name: str, directory: run_directory.RunDirectory, manifest: manifests.Finished, metrics: Sequence[str]
) -> Point:
    controls = run_methods.controls(manifest)
    numbers = {
        (method, metric): mean
        for (method, slice_name, _, metric), mean in (summaries.read(directory) if metrics else {}).items()
        if slice_name == slicing.ALL and metric in metrics and not run_methods.is_baseline(method, controls)
    }
    return Point(
        name=name,
        path=directory.path,
        started=manifest.started,
        images=manifest.counts.images_explained,
        dead_letters=manifest.counts.dead_letters + manifest.counts.lost,
        model=manifest.model.digest[:10],
        numbers=numbers,
        decision=decisions.read(directory),
    )


def print_history(found: History, stream: TextIO) -> None:
    """One line per run, then one per headline number with a small plot."""
    stream.write(f"{found.root}: {len(found.runs)} finished runs\n")
    for point in found.runs:
        lost = f", {point.dead_letters:,} lost" if point.dead_letters else ""
        decided = decisions.words(point.decision) if point.decision is not None else ""
        end = f"   {decided}" if decided else ""
        stream.write(f"  {point.name:<28} {point.images:>10,} images{lost}   model {point.model or 'unknown'}{end}\n")
    if found.runs and found.series():
        stream.write("\nfirst -> last (95 % interval of the last)\n")
    for method, metric in found.series():
        means = [point.numbers.get((method, metric)) for point in found.runs]
        values = [math.nan if mean is None else mean.value for mean in means]
        there = [mean for mean in means if mean is not None and not math.isnan(mean.value)]
        if there:
            ends = "" if math.isnan(there[-1].lower) else f" ({there[-1].lower:.4f} to {there[-1].upper:.4f})"
            change = f"{there[0].value:.4f} -> {there[-1].value:.4f}{ends}"
            gone = ", not in the last run" if math.isnan(values[-1]) else ""
            stream.write(f"  {metric:<22} {method:<20} {sparkline(values)}  {change}{gone}\n")
    if found.unfinished:
        stream.write("\nnot finished, and left out\n")
        stream.writelines(f"  {name:<28} {why}\n" for name, why in found.unfinished)


def document(found: History) -> dict[str, Any]:
    """A history as plain values, for ``heatbeam history --json``; the keys are documented and stay."""
    return {
        "root": found.root,
        "runs": [
            {
                "name": point.name,
                "path": point.path,
                "started": point.started,
                "images_explained": point.images,
                "dead_letters_and_lost": point.dead_letters,
                "model_digest": point.model,
                "decision": None if point.decision is None else point.decision._asdict(),
                "numbers": [
                    {
                        "method": method,
                        "metric": metric,
                        "value": mean.value,
                        "n": mean.n,
                        "lower": mean.lower,
                        "upper": mean.upper,
                    }
                    for (method, metric), mean in point.numbers.items()
                ],
            }
            for point in found.runs
        ],
        "unfinished": [{"name": name, "why": why} for name, why in found.unfinished],
    }


def sparkline(values: Sequence[float]) -> str:
    """One character per value, from the lowest to the highest; a space for NaN."""
    there = [value for value in values if not math.isnan(value)]
    if not there:
        return " " * len(values)
    low, span = min(there), max(there) - min(there)
    return "".join(
        " " if math.isnan(value) else _BARS[3] if not span else _BARS[round((value - low) / span * (len(_BARS) - 1))]
        for value in values
    )


def plot(found: History, path: str | os.PathLike[str]) -> None:
    """Headline numbers over runs, one panel per metric, a line per method with its 95 % intervals.

    Args:
        found: at least one run with a number.
        path: of the picture; the suffix says which kind (``.png``, ``.svg``, ``.pdf``).

    Raises:
        errors.UsageError: if there is nothing to show.
    """
    from matplotlib.figure import Figure  # slow to import, and not needed for the table

    metrics = list(dict.fromkeys(metric for _, metric in found.series()))
    if not metrics:
        raise errors.UsageError(f"{found.root} has no finished run with any of these numbers; there is nothing to plot")
    figure = Figure(figsize=(max(7.0, 1.2 + 0.5 * len(found.runs)), 0.8 + 1.9 * len(metrics)), layout="constrained")
    panels = figure.subplots(len(metrics), 1, sharex=True, squeeze=False)[:, 0]
    methods = list(dict.fromkeys(method for method, _ in found.series()))
    lines = {}
    for panel, metric in zip(panels, metrics, strict=True):
        mine = [method for method, name in found.series() if name == metric]
        for i, method in enumerate(mine):
            # Side by side, so that equal numbers do not cover each other.
            aside = 0.05 * (i - (len(mine) - 1) / 2)
            places = [i for i, point in enumerate(found.runs) if (method, metric) in point.numbers]
            means = [found.runs[i].numbers[method, metric] for i in places]
            bars = [[_reach(m.value, m.lower) for m in means], [_reach(m.upper, m.value) for m in means]]
            lines[method] = panel.errorbar(
                [place + aside for place in places], [m.value for m in means], yerr=bars, marker="o", markersize=4,
                capsize=2, color=f"C{methods.index(method) % 10}",
            )  # fmt: skip
        panel.set_title(metric, loc="left", fontsize=10)
        panel.tick_params(labelsize=8)
        panel.grid(alpha=0.3)
        panel.spines[["top", "right"]].set_visible(False)
    figure.suptitle("Headline numbers over runs, with 95 % intervals", fontsize=11, x=0.01, ha="left")
    figure.legend(
        [lines[method] for method in methods], methods, loc="outside lower left", ncols=5, fontsize=8, frameon=False
    )
    panels[-1].set_xticks(range(len(found.runs)), _run_labels(found), rotation=30, ha="right", fontsize=8)
    panels[-1].set_xlim(-0.5, len(found.runs) - 0.5)
    suffix = pathlib.PurePath(path).suffix.removeprefix(".")
    known = figure.canvas.get_supported_filetypes()
    if suffix and suffix not in known:
        raise errors.UsageError(f"--plot {path}: no picture has the suffix .{suffix}; give .png, .svg or .pdf")
    with remote_files.open_output(path) as stream:
        figure.savefig(stream, dpi=150, format=suffix or None)


def _run_labels(found: History) -> list[str]:
    """Names of the runs, of dated ones only the day where that tells them apart."""
    names = [point.name for point in found.runs]
    days = [name[:10] for name in names]
    return days if len(set(days)) == len(names) and all(_DATED.match(name) for name in names) else names


def _reach(upper: float, lower: float) -> float:
    """Length of a bar; 0 without an interval."""
    return 0.0 if math.isnan(upper - lower) else max(upper - lower, 0.0)
