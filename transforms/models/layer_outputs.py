"""A layer's output as a grid of cells over the input: a map, or the tokens of a transformer."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable

import tensorflow as tf

from heatbeam.transforms.models import token_grids


@dataclasses.dataclass(frozen=True)
class LayerOutput:
    """A layer as it was called: candidates for the target layer.

    Attributes:
        name: path of layer names from the model down, without the model itself: ``backbone/conv5_block3_out``.
        kind: class name of the layer.
        shape: of its output, without the batch axis.
        cells: of the grid that it holds, along each axis of positions: height and width of a map of an image.
        prefix_tokens: tokens before the grid (class token, registers), for transformers.
        channels_first: whether the channels of a map stand before its positions.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    cells: tuple[int, ...]
    prefix_tokens: int
    channels_first: bool = False

    @property
    def is_tokens(self) -> bool:
        """Whether the cells are tokens, one after the other, that lie in a grid of more axes."""
        return len(self.shape) <= len(self.cells)

    @property
    def grid(self) -> tuple[int, ...]:
        """Cells along each axis, and channels."""
        return *self.cells, self.channels

    @property
    def cells_in_words(self) -> str:
        """Such as ``7x7``."""
        return "x".join(map(str, self.cells))

    @property
    def channels(self) -> int:
        """Numbers in each cell."""
        return self.shape[0 if self.channels_first else -1] or 0

    def with_channels_first(self) -> LayerOutput:
        """The same map, read as channels and then positions."""
        return dataclasses.replace(self, cells=tuple(size or 0 for size in self.shape[1:]), channels_first=True)


def grid_of(path: str, kind: str, output: tf.Tensor, image: tuple[int, ...]) -> LayerOutput | None:
    """The grid of cells in a layer's output, or None.

    It is a map of more than one cell with an axis for each axis of the input, or the tokens of a transformer of images
    (`token_grids.token_grid`). The steps of a series are a map.

    Args:
        path: of the layer.
        kind: class name of the layer.
        output: of the layer.
        image: positions of the model's input along each axis, height and width of an image.
    """
    shape = tuple(output.shape[1:])
    if None in shape:
        return None
    if len(shape) == len(image) + 1 and math.prod(shape[:-1]) > 1:
        return LayerOutput(path, kind, shape, shape[:-1], 0)
    if len(image) == token_grids.RANK and len(shape) == 2 and shape[1] > 1:  # tokens, numbers of each
        cells = token_grids.token_grid(shape[0], image)
        if cells is not None:
            return LayerOutput(path, kind, shape, cells, shape[0] - math.prod(cells))
    return None


def to_grid(about: LayerOutput, output: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The output as a float32 grid of cells ``(B, *grid, K)``, and the way back to what the next layer expects.

    The way back starts from the float32 grid, so that the grid is an ancestor of the logits and gradients with
    respect to it exist, also where the model computes in half precision.
    """
    if about.channels_first:
        last = len(about.cells) + 1
        grid = tf.transpose(tf.cast(output, tf.float32), (0, *range(2, last + 1), 1))
        return grid, lambda grid: tf.cast(tf.transpose(grid, (0, last, *range(1, last))), output.dtype)
    if not about.is_tokens:
        return tf.cast(output, tf.float32), lambda grid: tf.cast(grid, output.dtype)
    height, width = about.cells
    grid = tokens_to_grid(tf.cast(output, tf.float32), height, width, about.prefix_tokens)

    def back(grid: tf.Tensor) -> tf.Tensor:
        tokens = tf.reshape(grid, [tf.shape(grid)[0], height * width, output.shape[-1]])
        return tf.concat([output[:, : about.prefix_tokens], tf.cast(tokens, output.dtype)], axis=1)

    return grid, back


def tokens_to_grid(tokens: tf.Tensor, height: int, width: int, prefix_tokens: int) -> tf.Tensor:
    """Transformer tokens ``(B, prefix + height * width, D)`` as a grid ``(B, height, width, D)``, row by row.

    The prefix (class token, registers) is left out: it has no place in the image.
    """
    grid = tokens[:, prefix_tokens:]
    return tf.reshape(grid, [tf.shape(grid)[0], height, width, tokens.shape[-1]])
