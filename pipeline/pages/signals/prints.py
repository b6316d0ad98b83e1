"""Signals as one picture each, for files: drawn at twice the size and made smaller, on white.

True intervals and boxes are green, the estimated one is blue. A picture too small for words has none.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from heatbeam.pages import map_images, outlines
from heatbeam.pages.signals import series, shown, slices

_FINE = 2  # drawn so many times larger
_WORDS_PX = 200  # the least width of a picture with words
_FONT_PX = 11
_TICK_PX = 40  # at most for the number at a tick
_GAP = 6
_INK, _QUIET, _RULE = (27, 29, 31), (91, 96, 102), (225, 225, 220)
TRUE_COLOUR, ESTIMATED_COLOUR = (29, 150, 70), (31, 111, 178)
_ON_DARK_ESTIMATED, _MARK = (127, 220, 255), (255, 154, 107)
_WASH = (214, 238, 221)  # a true interval behind lines


class _Canvas:
    """A white page in pixels of the result, drawn finer."""

    def __init__(self, width: int, height: int):
        self.size = (max(width, 1), max(height, 1))
        self.image = Image.new("RGB", (self.size[0] * _FINE, self.size[1] * _FINE), "white")
        self._draw = ImageDraw.Draw(self.image)

    def text(self, x: float, y: float, words: str, colour: tuple[int, int, int] = _INK, *, width: float) -> None:
        """A line of words from the upper left, cut where it is longer than `width`."""
        font = _font()
        line = words.replace("\n", " ").replace("\u00a0", " ")  # the font has no unbreakable space
        while line and font.getlength(line) > width * _FINE:
            line = line[:-2] + "…" if len(line) > 2 else ""
        self._draw.text((x * _FINE, y * _FINE), line, fill=colour, font=font)

    def line(self, points: Sequence[tuple[float, float]], colour: tuple[int, int, int], width: float = 1) -> None:
        """A polyline."""
        self._draw.line([(x * _FINE, y * _FINE) for x, y in points], fill=colour, width=round(width * _FINE))

    def frame(
        self, box: Sequence[float], outline: tuple[int, int, int] | None, fill: tuple[int, int, int] | None = None
    ) -> None:
        """A rectangle ``x0 y0 x1 y1``."""
        x0, y0, x1, y1 = (edge * _FINE for edge in box)
        self._draw.rectangle((x0, y0, max(x1 - 1, x0), max(y1 - 1, y0)), outline=outline, fill=fill, width=_FINE)

    def dashes(self, box: Sequence[float], colour: tuple[int, int, int]) -> None:
        """A dashed rectangle."""
        x0, y0, x1, y1 = box
        for a, b in (((x0, y0), (x1, y0)), ((x1, y0), (x1, y1)), ((x1, y1), (x0, y1)), ((x0, y1), (x0, y0))):
            length = max(abs(b[0] - a[0]), abs(b[1] - a[1]))
            for start in np.arange(0, length, 8):
                ends = (min(start, length) / length, min(start + 5, length) / length)
                self.line([(a[0] + t * (b[0] - a[0]), a[1] + t * (b[1] - a[1])) for t in ends], colour, 1.5)

    def paste(self, pixels: shown.Pixels, box: Sequence[int]) -> None:
        """A picture over ``x0 y0 x1 y1``."""
        size = ((box[2] - box[0]) * _FINE, (box[3] - box[1]) * _FINE)
        self.image.paste(
            Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR), (box[0] * _FINE, box[1] * _FINE)
        )

    def pixels(self) -> shown.Pixels:
        """The page."""
        return np.asarray(self.image.resize(self.size, Image.Resampling.BOX))


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_FONT_PX * _FINE)


def _series(signal: shown.Signal, longest_px: int) -> shown.Pixels:
    """Lanes, the band of heat below them, and the axis with its unit."""
    drawn = series.lanes(signal)
    words = longest_px >= _WORDS_PX
    bottom = (_FONT_PX + 5) * (2 if words else 0)
    band = max(4, min(24, longest_px // 16))
    height = min(longest_px, max(1, len(drawn)) * max(16, min(110, longest_px // 4)) + band + bottom + 4)
    page = _Canvas(longest_px, height)
    left, right, floor = 1, longest_px - 1, height - bottom - band - 4

    def across(box: shown.Box) -> tuple[float, float, float, float]:
        start, end = (min(max(edge / signal.shape[0], 0), 1) for edge in signal.interval(box, 0))
        return left + start * (right - left), 1.0, left + end * (right - left), float(floor)

    for box in signal.true_boxes:
        page.frame(across(box), TRUE_COLOUR, _WASH)
    for start, end in series.masked(signal):
        x0, x1 = (left + edge / signal.shape[0] * (right - left) for edge in (start, end))
        page.frame((x0, floor - 5, x1, floor), None, TRUE_COLOUR)
    lane_height = (floor - 1) / max(1, len(drawn))
    for number, lane in enumerate(drawn):
        top = 1 + number * lane_height
        _lane(page, lane, (left, top, right, top + lane_height), words=words)
    if signal.box is not None:
        page.dashes(across(signal.box), ESTIMATED_COLOUR)
    page.frame((left, 1, right, floor), _QUIET)
    page.paste(map_images.coloured(series.band(signal)), (left, floor + 2, right, floor + 2 + band))
    if words:
        _axis(page, signal, floor + band + 4, (left, right))
    return page.pixels()


def _lane(page: _Canvas, lane: series.Lane, box: tuple[float, float, float, float], *, words: bool) -> None:
    x0, y0, x1, y1 = box
    head = min(_FONT_PX + 4, (y1 - y0) / 3) if words else 2
    if y0 > 1:
        page.line([(x0, y0), (x1, y0)], _RULE)
    finite = np.isfinite(lane.y)
    for part in np.split(np.arange(len(lane.y)), np.flatnonzero(np.diff(finite)) + 1):
        if finite[part[0]]:
            x, y = x0 + lane.x[part] * (x1 - x0), y1 - 3 - lane.y[part] * (y1 - y0 - head - 4)
            page.line(list(zip(x.tolist(), y.tolist(), strict=True)), _INK)
    if words:
        page.text(x0 + 3, y0 + 1, f"{lane.name}   {lane.low:.3g} to {lane.high:.3g}", _QUIET, width=x1 - x0 - 6)


def _axis(page: _Canvas, signal: shown.Signal, y: float, ends: tuple[float, float]) -> None:
    left, right = ends
    for share, text in shown.ticks(signal.shape[0], signal.axes[0], 6):
        at = left + share * (right - left)
        page.line([(at, y - 2), (at, y + 1)], _QUIET)
        page.text(min(max(at - 8, left), right - 30), y + 1, text, _QUIET, width=_TICK_PX)
    notes = [series.axis_title(signal), *filter(None, [series.left_out(signal)]), *_legend(signal)]
    page.text(left, y + _FONT_PX + 4, "   ".join(notes), _INK, width=right - left)


def _legend(signal: shown.Signal) -> list[str]:
    what = "interval" if len(signal.shape) == 1 else "box"
    known = [what] * bool(signal.true_boxes) + ["mask"] * (signal.mask is not None)
    true = [f"green: true {' and '.join(known)}"] if known else []
    return true + ([f"blue: estimated {what}"] if signal.box else [])


def _slices(found: list[slices.Slice], signal: shown.Signal, longest_px: int) -> shown.Pixels:
    """Slices side by side, equally high, each with where it is below it; frames of a clip in two rows."""
    words = longest_px >= _WORDS_PX
    gap = _GAP if words else 2
    rows = 2 if signal.kind == "clip" and words and len(found) > 3 else 1
    columns = -(-len(found) // rows)
    foot = (_FONT_PX + 5) if words else 0
    room = longest_px - gap * (columns - 1)
    height = min(int(room / sum(one.ratio for one in found[:columns])), longest_px // rows - foot * 2)
    height = max(1, height)
    widths = [max(1, int(height * one.ratio)) for one in found]
    page = _Canvas(sum(widths[:columns]) + gap * (columns - 1), rows * (height + foot) + foot)
    for number, one in enumerate(found):
        x = sum(widths[: number % columns]) + gap * (number % columns)
        y = number // columns * (height + foot)
        _put(page, one, (x, y, x + widths[number], y + height))
        if words:
            label = f"{one.label}, hottest" if one.mark else f"{one.label}{one.turned and ', ' + one.turned}"
            page.text(x, y + height + 2, label, _INK, width=widths[number] + gap - 2)
    if words:
        page.text(0, rows * (height + foot) + 2, "   ".join(_legend(signal)), _QUIET, width=page.size[0])
    fit = map_images.fitted(page.size, longest_px)  # of a few pixels there is not one for each slice
    return page.pixels() if fit == page.size[::-1] else map_images.scaled(page.pixels(), fit)


def _put(page: _Canvas, one: slices.Slice, box: tuple[int, int, int, int]) -> None:
    """A slice with its heat and its boxes."""
    width, height = box[2] - box[0], box[3] - box[1]
    heat = _stretched(one.heat, (height, width))
    pixels = None
    if one.pixels is not None:
        pixels = np.asarray(Image.fromarray(one.pixels).resize((width, height), Image.Resampling.BILINEAR))
    drawn = map_images.coloured(heat, pixels)
    if one.mask is not None:
        drawn = outlines.rimmed(drawn, one.mask)
    page.paste(drawn, box)
    scale = (width / one.size[0], height / one.size[1])

    def placed(found: slices.Rectangle) -> tuple[float, ...]:
        return tuple(box[i % 2] + edge * scale[i % 2] for i, edge in enumerate(found))

    for true in one.true_boxes:
        page.frame(placed(true), outlines.COLOUR)
    if one.box is not None:
        page.dashes(placed(one.box), _ON_DARK_ESTIMATED)
    if one.mark:
        page.frame(box, _MARK)


def _stretched(heat: shown.Floats, size: tuple[int, int]) -> shown.Floats:
    """Heat at another ``(height, width)``, linear between the centres of its cells."""
    image = Image.fromarray(heat.astype(np.float32)).resize((size[1], size[0]), Image.Resampling.BILINEAR)
    stretched: shown.Floats = np.clip(np.asarray(image), 0, 1)
    return stretched


def _volume(signal: shown.Signal, longest_px: int) -> shown.Pixels:
    return _slices(slices.planes(signal), signal, longest_px)


def _clip(signal: shown.Signal, longest_px: int) -> shown.Pixels:
    return _slices(slices.frames(signal), signal, longest_px)


PICTURES: dict[str, Callable[[shown.Signal, int], shown.Pixels]] = {
    "series": _series,
    "volume": _volume,
    "clip": _clip,
}
"""How each kind becomes pixels: ``(signal, longest_px)``; what has two axes is drawn as pictures are."""
