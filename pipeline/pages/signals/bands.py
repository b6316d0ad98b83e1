"""A picture of any bands and any numbers as one that a screen can show.

Three bands are red, green and blue; fewer are the first as grey. Bytes of one or three channels are shown as they are;
anything else is stretched between two percentiles, each band by itself.
"""

from __future__ import annotations

import numpy as np

from heatbeam.pages.signals import shown


def picture(signal: shown.Signal) -> shown.Pixels | None:
    """uint8 ``(height, width, 3)`` of a signal of two axes; None without its values."""
    if signal.values is None:
        return None
    chosen = _chosen(signal)
    bands = [signal.values[..., i] for i in chosen]
    shades = [shown.bytes_of(one, *_limits(signal.values, one)) for one in bands]
    return np.stack(shades if len(shades) == 3 else shades[:1] * 3, axis=-1)


def words(signal: shown.Signal) -> str:
    """How `picture` shows it, in one line."""
    if signal.values is None:
        return ""
    count, chosen = signal.values.shape[-1], _chosen(signal)
    if _plain(signal.values) and count == len(chosen) and not signal.display:
        return ""
    names = ", ".join(signal.channel(i) for i in chosen)
    colour = "red, green and blue" if len(chosen) == 3 else "grey"
    why = "as input.array.display says" if signal.display else f"the first {len(chosen)} of {count}"
    if len(chosen) == count:
        why = "all there are"
    stretch = "" if _plain(signal.values) else f"; from percentile {shown.LOW} to {shown.HIGH} of each"
    return f"{names} as {colour} ({why}){stretch}"


def _chosen(signal: shown.Signal) -> tuple[int, ...]:
    chosen = shown.chosen_channels(signal, 3)
    return chosen if len(chosen) == 3 else chosen[:1]


def _plain(values: shown.Values) -> bool:
    return values.dtype == np.uint8 and values.shape[-1] in (1, 3)


def _limits(values: shown.Values, band: shown.Values) -> tuple[float, float]:
    return (0.0, 255.0) if _plain(values) else shown.stretch_limits(band)
