"""Where a transformer's tokens lie in the image. Does not import TensorFlow."""

from __future__ import annotations

RANK = 2
"""Tokens are laid out in the two axes of an image; those of series are in the order of their only axis."""

MOST_PREFIX_TOKENS = 8
"""Class token and registers before the patch tokens."""


def token_grid(tokens: int, image: tuple[int, ...]) -> tuple[int, int] | None:
    """Height and width of the grid that the last of `tokens` tokens form, or None where they form none.

    The grid has the proportions of the image, to the nearest cell, as patches are square; fewer tokens than it has rows
    or columns, and at most `MOST_PREFIX_TOKENS`, may stand before it. Of several grids, exact proportions count
    first, then the fewest tokens before it.

    Args:
        tokens: number of tokens, those before the grid included.
        image: height and width of the model's input.
    """
    found = []
    for width in range(2, tokens // 2 + 1):
        height = round(width * image[0] / image[1])
        prefix = tokens - height * width
        if height >= 2 and 0 <= prefix <= MOST_PREFIX_TOKENS and prefix < min(height, width):
            found.append((height * image[1] != width * image[0], prefix, height, width))
    return min(found)[2:] if found else None
