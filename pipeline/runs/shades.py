"""An array's numbers as the shades of a screen, and which of its channels are red, green and blue."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[Any]
Pixels = npt.NDArray[np.uint8]

LOW, HIGH = 2, 98
"""Percentiles that are drawn darkest and brightest where values are not those of a picture."""

_COUNTED = 1_000_000
"""As many numbers say percentiles as exactly as a picture needs."""


def colour_channels(count: int, display: Sequence[int] = ()) -> tuple[int, int, int]:
    """The channels to draw red, green and blue; one channel thrice is grey.

    Args:
        count: of the channels there are.
        display: those to show; two of them are red, green and red again. Without any that is there the first three, or
            of fewer than three channels the first as grey.
    """
    wanted = [i for i in display if 0 <= i < count] or [*range(3 if count >= 3 else 1)]
    red, green, blue = (wanted * 3)[:3]
    return red, green, blue


def limits(values: Values) -> tuple[float, float]:
    """What is drawn darkest and brightest of ``(*positions, channels)``.

    0 and 255 of bytes, else the percentiles `LOW` and `HIGH` of the finite values; least and greatest where these two
    are equal.
    """
    if values.dtype == np.uint8:
        return 0.0, 255.0
    # Every so many positions with all of their channels: single numbers could all be of one channel.
    some = values.reshape(-1, values.shape[-1])[:: max(1, values.size // _COUNTED)]
    finite = some[np.isfinite(some)].astype(np.float64)
    if not finite.size:
        return 0.0, 1.0
    low, high = (float(x) for x in np.percentile(finite, (LOW, HIGH)))
    return (low, high) if low < high else (float(finite.min()), float(finite.max()))


def bytes_of(values: Values, low: float, high: float) -> Pixels:
    """Values as shades, `low` and below 0 and `high` and above 255; what is not finite is 0, but infinity 255."""
    span = high - low if high > low else 1.0
    shades = (np.asarray(values, np.float64) - low) * (255 / span)
    grey: Pixels = np.rint(np.clip(np.nan_to_num(shades, nan=0, posinf=255, neginf=0), 0, 255)).astype(np.uint8)
    return grey


def picture(values: Values, display: Sequence[int] = ()) -> Pixels:
    """Three channels of ``(height, width, channels)``, all three on one scale: uint8 ``(height, width, 3)``."""
    chosen = values[..., list(colour_channels(values.shape[-1], display))]
    return bytes_of(chosen, *limits(chosen))
