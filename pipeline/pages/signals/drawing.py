"""A signal drawn by its kind: as markup for a page, or as the pixels of one picture."""

from __future__ import annotations

import markupsafe

from heatbeam.pages.signals import prints, series, shown, stacks

MARKUP = {"series": series.markup, "volume": stacks.markup, "clip": stacks.markup}
"""How each kind goes into a page; pictures of bands go there as pictures do."""


def markup(signal: shown.Signal) -> markupsafe.Markup:
    """The signal for a page, below an element of the classes ``frame``, ``signal`` and its kind."""
    return MARKUP[signal.kind](signal)


def picture(signal: shown.Signal, longest_px: int) -> shown.Pixels:
    """The signal as uint8 ``(height, width, 3)``, at most `longest_px` wide and high."""
    return prints.PICTURES[signal.kind](signal, longest_px)
