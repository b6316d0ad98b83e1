"""The curves of the report: box accuracy at every IoU limit, precision and recall of pixels, and those of the table.

Each figure is a row of small plots with one legend, which gives the number that each line comes down to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import markupsafe
import numpy as np

from heatbeam.pages import plots, report_text
from heatbeam.report import report_tables
from heatbeam.runs import run_directory, run_methods
from heatbeam.transforms.metrics import registry

BOX_LIMITS = (30, 50, 70)
"""IoU limits in percent; those that a run has are shown."""

Points = dict[tuple[str, str], tuple[list[float], list[float]]]


@dataclasses.dataclass(frozen=True)
class Line:
    """A line of the legend: its key in the plots, name, class of colour, and the number it comes down to."""

    key: str
    name: str
    style: str
    number: str


@dataclasses.dataclass(frozen=True)
class Figure:
    """Plots that belong together.

    Attributes:
        title: of the figure.
        about: how to read it.
        metric: title of the number in the legend.
        plots: caption and SVG of each plot.
        legend: of all of them.
    """

    title: str
    about: str
    metric: str
    plots: tuple[tuple[str, markupsafe.Markup], ...]
    legend: tuple[Line, ...]


@dataclasses.dataclass(frozen=True)
class _Source:
    """Where every figure takes its lines from."""

    points: Points
    lines: Sequence[str]
    summary: report_tables.Summary
    styles: Mapping[str, str]


_BOXES = "A box is right if its IoU with a true box reaches the limit. The dot marks the best threshold of each line."
_PIXELS = "Pixels above a threshold against the mask, pooled over all images; the number is the area below."


def figures(
    run: run_directory.RunDirectory, methods: Sequence[str], summary: report_tables.Summary, styles: Mapping[str, str]
) -> list[Figure]:
    """Every figure that the run has points for; methods first, then baselines."""
    lines = [*methods, *(name for name in summary.methods if name.startswith(run_methods.FIXED_MAPS))]
    points = report_tables.curve_points(run.open_table("curves"), lines)
    source = _Source(points | _precision_over_recall(points, lines), lines, summary, styles)
    found = []
    for curve, metric, title in (
        ("box_acc_v2", "max_box_acc_v2", "Box accuracy over thresholds, boxes of all contours"),
        ("box_acc", "max_box_acc", "Box accuracy over thresholds, box of the largest contour"),
    ):
        panels = [(f"{curve}_iou{limit}", f"IoU at least {limit / 100:g}") for limit in BOX_LIMITS]
        found.append(_figure(source, title, _BOXES, metric, panels, ("threshold", "share of images")))
    panels = [("precision_recall", "")]
    found.append(_figure(source, "Precision and recall of pixels", _PIXELS, "pxap", panels, ("recall", "precision")))
    for line, group in registry.CURVES.values():
        if line.about:
            metric = group.metrics[0].name
            found.append(_figure(source, registry.title(metric), line.about, metric, [(line.name, "")], line.axes))
    return [figure for figure in found if figure.plots]


def _precision_over_recall(points: Points, lines: Sequence[str]) -> Points:
    """Both at the same thresholds."""
    return {
        (m, "precision_recall"): (points[m, "pixel_recall"][1], points[m, "pixel_precision"][1])
        for m in lines
        if (m, "pixel_recall") in points and (m, "pixel_precision") in points
    }


def _figure(
    source: _Source, title: str, about: str, metric: str, panels: Sequence[tuple[str, str]], labels: tuple[str, str]
) -> Figure:
    """One figure: `panels` are curves with their captions, `labels` those of the axes."""
    keys = {name: f"c{i}" for i, name in enumerate(source.lines)}
    drawn, used = [], set()
    for curve, caption in panels:
        there = [m for m in source.lines if (m, curve) in source.points]
        used.update(there)
        series = []
        for m in there:
            x, y = (np.array(values) for values in source.points[m, curve])
            series.append(plots.Series(report_text.nice(m), x, y, source.styles.get(m, "base"), keys[m]))
        if series:
            text = f"{title}{', ' if caption else ''}{caption}: {', '.join(one.name for one in series)}"
            best = labels[0] == "threshold"
            svg = plots.curves(series, title=text, x_label=labels[0], y_label=labels[1], mark_best=best)
            drawn.append((caption, svg))
    legend = tuple(
        Line(keys[m], report_text.nice(m), source.styles.get(m, "base"),
             report_text.number(source.summary.number(m, metric).value))
        for m in source.lines
        if m in used
    )  # fmt: skip
    return Figure(title, about, report_tables.column(metric).title, tuple(drawn), legend)
