"""Names of the columns that a table has once for each position axis: sizes, views and boxes, x first.

A table is of inputs of one rank (`records.Source.rank`): of pictures it has ``image_width``, ``image_height`` and
``view_x0``, ``view_y0``, ``view_x1``, ``view_y1``; of series those of x alone; of volumes ``image_depth`` and those of
z too. From a row, or from the names of a table's columns, everything else follows (`rank_of`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

LETTERS = ("x", "y", "z")
"""Of the axes, in the order of coordinates."""

SIDES = ("width", "height", "depth")
"""What the extent along each of `LETTERS` is called."""


def edges(rank: int) -> tuple[str, ...]:
    """All starts and then all ends: ``x0 x1``, ``x0 y0 x1 y1``, ``x0 y0 z0 x1 y1 z1``."""
    return tuple(f"{letter}{end}" for end in (0, 1) for letter in LETTERS[:rank])


def sizes(rank: int) -> tuple[str, ...]:
    """``image_width``, ``image_height``, ``image_depth``, as many as there are axes."""
    return tuple(f"image_{side}" for side in SIDES[:rank])


def views(rank: int) -> tuple[str, ...]:
    """``view_x0`` and so on: which part of the image the model's input shows."""
    return tuple(f"view_{edge}" for edge in edges(rank))


def boxes(rank: int, prefix: str = "box") -> tuple[str, ...]:
    """``box_x0`` and so on: the estimated box."""
    return tuple(f"{prefix}_{edge}" for edge in edges(rank))


def rank_of(names: Collection[str]) -> int:
    """How many position axes the inputs of a table have, from the names of its columns, or from a row.

    Names without sizes and boxes, such as those of ``summary``, give 2.
    """
    if "image_depth" in names or "best_box_z0" in names:
        return 3
    one = ("image_width" in names, "image_height" in names), ("best_box_x0" in names, "best_box_y0" in names)
    return 1 if (True, False) in one else 2


def size_of(row: Mapping[str, Any]) -> tuple[int, ...]:
    """The size of the original image of a row of ``explanations``, x first."""
    return tuple(row[name] for name in sizes(rank_of(row)))


def view_of(row: Mapping[str, Any]) -> tuple[float, ...]:
    """The view of a row of ``explanations``, as `records.Source.view`."""
    return tuple(row[name] for name in views(rank_of(row)))
