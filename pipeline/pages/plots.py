"""Plots as SVG markup that takes its colours from the page: curves, histograms and intervals.

Every function returns `markupsafe.Markup`; texts are escaped. Colours are the classes ``s0`` .. ``s7`` of the page,
``base`` (dashed) for baselines.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import markupsafe
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDTH, HEIGHT = 420, 260
_LEFT, _RIGHT, _TOP, _BOTTOM = 38, 10, 10, 34
MAX_POINTS = 160


@dataclasses.dataclass(frozen=True, eq=False)
class Series:
    """One line: its name, its points, its class of colour, and the place in a legend that shows and hides it."""

    name: str
    x: Floats
    y: Floats
    style: str
    key: str = ""


def curves(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, mark_best: bool = False
) -> markupsafe.Markup:
    """Lines over [0, 1] x [0, 1]; NaN leaves a gap. With `mark_best` a dot at the highest point of each line."""
    parts = [_grid(x_label, y_label)]
    for one in series:
        for segment in _segments(one.x, one.y):
            points = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in segment)
            parts.append(
                markupsafe.Markup(
                    '<polyline class="line {}" data-key="{}" points="{}"><title>{}</title></polyline>'
                ).format(one.style, one.key, points, one.name)
            )
        if mark_best and np.isfinite(one.y).any():
            best = int(np.nanargmax(one.y))
            text = f"{one.name}: {one.y[best]:.3f} at {one.x[best]:.2f}"
            parts.append(
                markupsafe.Markup(
                    '<circle class="peak {}" data-key="{}" cx="{}" cy="{}" r="3.5"><title>{}</title></circle>'
                ).format(one.style, one.key, f"{_x(float(one.x[best])):.1f}", f"{_y(float(one.y[best])):.1f}", text)
            )
    return _svg(parts, title, WIDTH, HEIGHT)


def _svg(parts: Sequence[markupsafe.Markup], title: str, width: int, height: int) -> markupsafe.Markup:
    head = markupsafe.Markup('<svg class="plot" viewBox="0 0 {} {}" role="img" aria-label="{}">')
    return head.format(width, height, title) + markupsafe.Markup("").join(parts) + markupsafe.Markup("</svg>")


def _x(value: float) -> float:
    return _LEFT + value * (WIDTH - _LEFT - _RIGHT)


def _y(value: float) -> float:
    return HEIGHT - _BOTTOM - value * (HEIGHT - _TOP - _BOTTOM)


def _grid(x_label: str, y_label: str) -> markupsafe.Markup:
    parts = []
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        text = f"{tick:g}"
        parts.append(
            f'<line class="grid" x1="{_x(0)}" x2="{_x(1)}" y1="{_y(tick):.1f}" y2="{_y(tick):.1f}"/>'
            f'<text x="{_x(0) - 6}" y="{_y(tick) + 4:.1f}" text-anchor="end">{text}</text>'
            f'<text x="{_x(tick):.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{text}</text>'
        )
    labels = markupsafe.Markup(
        '<text class="axis" x="{}" y="{}" text-anchor="middle">{}</text>'
        '<text class="axis" transform="translate(10 {}) rotate(-90)" text-anchor="middle">{}</text>'
    ).format(_x(0.5), HEIGHT - 3, x_label, _y(0.5), y_label)
    return markupsafe.Markup("".join(parts)) + labels


def _segments(x: Floats, y: Floats) -> list[list[tuple[float, float]]]:
    """Finite stretches of a line, thinned to about `MAX_POINTS` points."""
    finite = np.isfinite(x) & np.isfinite(y)
    segments: list[list[tuple[float, float]]] = []
    for i in range(len(x)):
        if not finite[i]:
            continue
        if i == 0 or not finite[i - 1]:
            segments.append([])
        segments[-1].append((float(x[i]), float(y[i])))
    step = max(1, -(-int(finite.sum()) // MAX_POINTS))
    return [segment[::step] + ([segment[-1]] if (len(segment) - 1) % step else []) for segment in segments]


def histogram(counts: npt.NDArray[np.int64], style: str, title: str, bars: int = 25) -> markupsafe.Markup:
    """Bars over [0, 1], the highest as high as the plot."""
    merged = np.add.reduceat(counts, np.arange(0, len(counts), max(1, len(counts) // bars)))
    top = max(int(merged.max(initial=0)), 1)
    width = 200 / len(merged)
    parts = [
        markupsafe.Markup(
            f'<rect x="{i * width:.2f}" y="{44 - 42 * count / top:.2f}" width="{width - 0.8:.2f}" '
            f'height="{42 * count / top:.2f}"/>'
        )
        for i, count in enumerate(merged.tolist())
        if count
    ]
    head = markupsafe.Markup('<svg class="histogram {}" viewBox="0 0 200 45" preserveAspectRatio="none" role="img" ')
    head = head.format(style) + markupsafe.Markup('aria-label="{}">').format(title)
    floor = markupsafe.Markup('<line x1="0" x2="200" y1="44.5" y2="44.5"/>')
    return head + markupsafe.Markup("").join(parts) + floor + markupsafe.Markup("</svg>")


def quantile(counts: npt.NDArray[np.int64], share: float) -> float:
    """Quantile of binned values over [0, 1], linear within its bin; NaN without values."""
    total = int(counts.sum())
    if not total:
        return float("nan")
    below = np.concatenate([[0], np.cumsum(counts)])
    return float(np.interp(share * total, below, np.linspace(0, 1, len(counts) + 1)))


def interval(value: float, lower: float, upper: float, low: float, high: float, style: str) -> markupsafe.Markup:
    """A dot with whiskers on a line from `low` to `high`; purely decorative, the numbers stand beside it."""

    def place(number: float) -> float:
        return 3 + 94 * min(max((number - low) / (high - low), 0.0), 1.0) if high > low else 50.0

    whisker = ""
    if np.isfinite(lower) and np.isfinite(upper):
        whisker = f'<line class="whisker" x1="{place(lower):.1f}" x2="{place(upper):.1f}" y1="6" y2="6"/>'
    return markupsafe.Markup(
        f'<svg class="interval {style}" viewBox="0 0 100 12" preserveAspectRatio="none" aria-hidden="true">'
        f'<line class="track" x1="3" x2="97" y1="6" y2="6"/>{whisker}'
        f'<rect class="dot" x="{place(value) - 1.5:.1f}" y="2" width="3" height="8"/></svg>'
    )
