"""A series as lanes, one per channel, with its heat in a band below them and its intervals across them.

Lines are thinned to the least and the greatest value of each of `COLUMNS` stretches, so that no spike is lost.
"""

from __future__ import annotations

import dataclasses
import itertools

import markupsafe
import numpy as np

from heatbeam.pages import map_images, outlines
from heatbeam.pages.signals import shown

LANES = 6
"""Channels that are drawn; more are named and left out."""

COLUMNS = 320
_BAND_PX = 512
_WIDE, _HIGH = 1000, 100  # the drawing's units: of all lanes across, and of one lane down
_MARGIN, _HEAD = 8.0, 30.0  # below a line, and above it for the name of its channel


@dataclasses.dataclass(frozen=True, eq=False)
class Lane:
    """The line of one channel.

    Attributes:
        name: of the channel.
        low, high: its least and greatest finite value.
        x: places along the lane, 0 to 1, rising.
        y: 0 at `low` and 1 at `high`; NaN where the value is not finite.
    """

    name: str
    low: float
    high: float
    x: shown.Floats
    y: shown.Floats


def lanes(signal: shown.Signal) -> list[Lane]:
    """The lines of the channels that are drawn, from the top."""
    if signal.values is None:
        return []
    chosen = shown.chosen_channels(signal, LANES)
    return [_lane(signal.channel(i), signal.values[:, i].astype(np.float64)) for i in chosen]


def _lane(name: str, values: shown.Floats) -> Lane:
    finite = values[np.isfinite(values)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 0.0)
    places = _kept(values)
    with np.errstate(invalid="ignore"):
        y = (values[places] - low) / (high - low) if high > low else np.where(np.isfinite(values[places]), 0.5, np.nan)
    y[~np.isfinite(values[places])] = np.nan
    return Lane(name, low, high, (places + 0.5) / len(values), y)


def _kept(values: shown.Floats) -> np.ndarray:
    """Places of the values that are drawn: all of a short series, else least and greatest of each stretch."""
    if len(values) <= 2 * COLUMNS:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), COLUMNS + 1).astype(int)
    filled = [np.where(np.isfinite(values), values, fill) for fill in (np.inf, -np.inf)]
    places = {0, len(values) - 1}
    for start, end in itertools.pairwise(edges.tolist()):
        places |= {start + int(filled[0][start:end].argmin()), start + int(filled[1][start:end].argmax())}
    return np.array(sorted(places))


def left_out(signal: shown.Signal) -> str:
    """What of the channels is not drawn, in words; empty if all are."""
    count = 0 if signal.values is None else signal.values.shape[-1]
    drawn = len(shown.chosen_channels(signal, LANES))
    return "" if drawn == count else f"{drawn} of {count} channels drawn, {count - drawn} not"


def masked(signal: shown.Signal) -> list[tuple[int, int]]:
    """Start and end, in samples, of the stretches of the true mask."""
    return [] if signal.mask is None else outlines.runs(signal.mask)


def axis_title(signal: shown.Signal) -> str:
    """What the numbers at the ticks are: ``time in s`` or ``x, sample``."""
    axis = signal.axes[0]
    return f"{signal.name(0)} in {axis.unit}" if shown.measured(axis) else f"{signal.name(0)}, sample"


def band(signal: shown.Signal) -> shown.Floats:
    """The heat as one row of a picture, ``(1, width)``, one pixel per cell; at most `_BAND_PX`."""
    width = min(_BAND_PX, len(signal.heat))
    if width == len(signal.heat):
        return signal.heat[None]
    edges = np.linspace(0, len(signal.heat), width + 1).astype(int)
    return np.maximum.reduceat(signal.heat, edges[:-1])[None]


def markup(signal: shown.Signal) -> markupsafe.Markup:
    """The series for a page: layers of the classes ``image``, ``boxes`` and ``heat``."""
    drawn = lanes(signal)
    lines = markupsafe.Markup("").join(_line(lane, number) for number, lane in enumerate(drawn))
    names = markupsafe.Markup("").join(
        markupsafe.Markup(
            '<span class="lane-name" style="top: {:.3f}%">{} <span class="lane-range">{:.3g} to {:.3g}</span></span>'
        ).format(100 * number / len(drawn), lane.name, lane.low, lane.high)
        for number, lane in enumerate(drawn)
    )
    height = _HIGH * max(len(drawn), 1)
    cells = (
        markupsafe.Markup(
            '<span class="lanes" style="--lanes: {}"><svg class="image" viewBox="0 0 {} {}" preserveAspectRatio="none"'
            ' aria-hidden="true">'
        ).format(max(len(drawn), 1), _WIDE, height)
        + lines
        + markupsafe.Markup("</svg>")
        + _intervals(signal)
        + names
        + markupsafe.Markup("</span>")
    )
    strip = markupsafe.Markup('<span class="band"><img class="heat" src="{}" alt=""></span>')
    notes = left_out(signal)
    under = markupsafe.Markup('<span class="where">{}</span>').format(notes) if notes else markupsafe.Markup("")
    return cells + strip.format(map_images.heat_uri(band(signal), transparent=False)) + _ticks(signal) + under


def _line(lane: Lane, number: int) -> markupsafe.Markup:
    """The polylines of a lane: one per stretch of finite values."""
    top = number * _HIGH
    parts = [f'<line class="lane-edge" x1="0" x2="{_WIDE}" y1="{top}" y2="{top}"/>'] if number else []
    finite = np.isfinite(lane.y)
    starts = np.flatnonzero(finite & ~np.concatenate([[False], finite[:-1]]))
    ends = np.flatnonzero(finite & ~np.concatenate([finite[1:], [False]])) + 1
    for start, end in zip(starts, ends, strict=True):
        x = lane.x[start:end] * _WIDE
        y = top + _HIGH - _MARGIN - lane.y[start:end] * (_HIGH - _MARGIN - _HEAD)
        points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
        parts.append(f'<polyline points="{points}"/>')
    return markupsafe.Markup("".join(parts))


def _intervals(signal: shown.Signal) -> markupsafe.Markup:
    marked = [("true", box) for box in signal.true_boxes] + ([("estimated", signal.box)] if signal.box else [])
    size = signal.shape[0]
    parts = []
    for kind, box in marked:
        start, end = (min(max(edge / size, 0), 1) * _WIDE for edge in signal.interval(box, 0))
        place = f'x="{start:.2f}" y="0" width="{max(end - start, 1):.2f}" height="100"'
        parts.append(f'<rect class="{kind}" {place}/>')
    for start, end in masked(signal):
        place = f'x="{start / size * _WIDE:.2f}" y="92" width="{(end - start) / size * _WIDE:.2f}" height="8"'
        parts.append(f'<rect class="mask" {place}/>')
    inner = "".join(parts)
    return markupsafe.Markup(
        f'<svg class="boxes" viewBox="0 0 {_WIDE} 100" preserveAspectRatio="none" aria-hidden="true">{inner}</svg>'
    )


def _ticks(signal: shown.Signal) -> markupsafe.Markup:
    parts = [
        markupsafe.Markup('<span style="left: {:.2f}%">{}</span>').format(100 * share, text)
        for share, text in shown.ticks(signal.shape[0], signal.axes[0], 5)
    ]
    head = markupsafe.Markup('<span class="ticks" aria-hidden="true">')
    closing = markupsafe.Markup('</span><span class="axis-name">{}</span>').format(axis_title(signal))
    return head + markupsafe.Markup("").join(parts) + closing
