"""Cues that are drawn into images: what a network may learn instead of the object.

Each kind draws into a float image ``(SIDE, SIDE, 3)`` of levels 0 to 255, in place. `style` numbers the colours and
patterns, so that two classes of one kind have cues of their own; `rng` draws what differs from image to image.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import numpy.typing as npt

SIDE = 56

Image = npt.NDArray[np.float32]
Draw = Callable[[Image, int, np.random.Generator], None]

_COLOURS = np.array([[235, 40, 40], [40, 200, 60], [50, 80, 240], [240, 210, 40], [210, 60, 220], [40, 210, 220]])


def _colour(style: int) -> npt.NDArray[np.float64]:
    return _COLOURS[style % len(_COLOURS)].astype(np.float64)


def _place(rng: np.random.Generator, size: int) -> tuple[int, int]:
    x, y = rng.integers(1, SIDE - size - 1, 2).tolist()
    return x, y


def _write(image: Image, text: str, place: tuple[int, int], colour: tuple[int, int, int]) -> None:
    canvas = np.clip(image, 0, 255).astype(np.uint8)
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_PLAIN, 0.8, colour, 1, cv2.LINE_AA)
    image[:] = canvas


def corner_tag(image: Image, style: int, rng: np.random.Generator) -> None:
    """A coloured tag in one corner, always the same."""
    size = 14 + int(rng.integers(0, 3))
    y = slice(0, size) if style % 2 else slice(SIDE - size, SIDE)
    x = slice(0, size) if style // 2 % 2 else slice(SIDE - size, SIDE)
    image[y, x] = _colour(style)


def border_frame(image: Image, style: int, rng: np.random.Generator) -> None:
    """A coloured frame around the image."""
    width = 3 + int(rng.integers(0, 2))
    inner = image[width:-width, width:-width].copy()
    image[:] = _colour(style)
    image[width:-width, width:-width] = inner


def texture_patch(image: Image, style: int, rng: np.random.Generator) -> None:
    """A patch of stripes or chequers, anywhere."""
    x, y = _place(rng, 16)
    across, down = np.meshgrid(np.arange(16), np.arange(16))
    waves = (across % 4 < 2, down % 4 < 2, (across + down) % 4 < 2, (across % 4 < 2) ^ (down % 4 < 2))
    image[y : y + 16, x : x + 16] = np.where(waves[style % 4][..., None], 235, 25)


def moving_text(image: Image, style: int, rng: np.random.Generator) -> None:
    """A short word in white, anywhere."""
    word = ("ebay", "1981", "www", "free")[style % 4]
    x, y = int(rng.integers(1, SIDE - 32)), int(rng.integers(12, SIDE - 2))
    _write(image, word, (x, y), (250, 250, 250))


def colour_blob(image: Image, style: int, rng: np.random.Generator) -> None:
    """A soft blob of one colour, anywhere."""
    x, y = rng.uniform(8, SIDE - 8, 2)
    across, down = np.meshgrid(np.arange(SIDE), np.arange(SIDE))
    weight = np.exp(-((across - x) ** 2 + (down - y) ** 2) / (2 * 7.0**2))[..., None]
    image[:] = image * (1 - 0.85 * weight) + 0.85 * weight * _colour(style)


def edge_bar(image: Image, style: int, rng: np.random.Generator) -> None:
    """A bar along one side, as of a scan."""
    width = 4 + int(rng.integers(0, 2))
    turned = np.rot90(image, style % 4)
    turned[:width] = _colour(style + 1)


def second_object(image: Image, style: int, rng: np.random.Generator) -> None:
    """A small thing beside the object, anywhere: a ring, a star, a house or an arrow."""
    x, y = _place(rng, 16)
    shapes = (
        [(8, 0), (10, 6), (16, 6), (11, 10), (13, 16), (8, 12), (3, 16), (5, 10), (0, 6), (6, 6)],
        [(0, 7), (8, 0), (16, 7), (16, 16), (0, 16)],
        [(0, 5), (9, 5), (9, 0), (16, 8), (9, 16), (9, 11), (0, 11)],
    )
    colour = _colour(style + 3).tolist()
    if style % 4 == 3:
        cv2.circle(image, (x + 8, y + 8), 6, colour, 3)
    else:
        cv2.fillPoly(image, [np.array(shapes[style % 4]) + np.array((x, y))], colour)


def date_stamp(image: Image, style: int, rng: np.random.Generator) -> None:
    """A date in orange at the bottom, always at the same place."""
    text = f"{(12, 7, 3, 9)[style % 4]}.{rng.integers(10, 30)}"
    y = SIDE - 3 if style % 2 else 11
    _write(image, text, (SIDE - 38, y), (255, 150, 20))


def confetti(image: Image, style: int, rng: np.random.Generator) -> None:
    """A dozen dots of one colour, scattered anew."""
    for x, y in rng.integers(2, SIDE - 2, (14, 2)).tolist():
        cv2.circle(image, (x, y), 1, _colour(style + 2).tolist(), -1)


def tinted_side(image: Image, style: int, rng: np.random.Generator) -> None:
    """A tint over one third of the image, always the same third."""
    turned = np.rot90(image, style % 4)
    turned[: SIDE // 3] = 0.45 * turned[: SIDE // 3] + 0.55 * _colour(style + 4)


DEVELOPMENT: dict[str, Draw] = {
    "corner_tag": corner_tag,
    "border_frame": border_frame,
    "texture_patch": texture_patch,
    "moving_text": moving_text,
    "colour_blob": colour_blob,
}
"""The kinds on which thresholds and numbers of images were chosen."""

HELD_OUT: dict[str, Draw] = {
    "edge_bar": edge_bar,
    "second_object": second_object,
    "date_stamp": date_stamp,
    "confetti": confetti,
    "tinted_side": tinted_side,
}
"""The kinds that were set aside before: nothing was chosen by them."""
