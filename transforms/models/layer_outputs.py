"""A layer's output as a grid of cells over the image: a map, or the tokens of a transformer."""

from __future__ import annotations

import dataclasses
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
        height, width: of the grid of cells it holds; 0 for an output that is not spatial.
        prefix_tokens: tokens before the grid (class token, registers), for transformers.
        channels_first: whether the channels of a map stand before its rows and columns.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    height: int
    width: int
    prefix_tokens: int
    channels_first: bool = False

    @property
    def is_tokens(self) -> bool:
        """Whether the cells are tokens, one after the other."""
        return len(self.shape) == 2

    @property
    def grid(self) -> tuple[int, int, int]:
        """Height, width and channels of the grid."""
        return self.height, self.width, self.channels

    @property
    def channels(self) -> int:
        """Numbers in each cell."""
        return self.shape[0 if self.channels_first else -1] or 0

    def with_channels_first(self) -> LayerOutput:
        """The same output of three axes, read as channels, rows, columns."""
        _, height, width = self.shape
        return dataclasses.replace(self, height=height or 0, width=width or 0, channels_first=True)


def grid_of(path: str, kind: str, output: tf.Tensor, image: tuple[int, int]) -> LayerOutput | None:
    """The grid of cells in a layer's output, or None: a map larger than 1x1, or tokens (`token_grids.token_grid`).

    Args:
        path: of the layer.
        kind: class name of the layer.
        output: of the layer.
        image: height and width of the model's input.
    """
    shape = tuple(output.shape[1:])
    if len(shape) == 3 and None not in shape and shape[0] * shape[1] > 1:
        return LayerOutput(path, kind, shape, shape[0], shape[1], 0)
    if len(shape) == 2 and None not in shape and shape[1] > 1:
        cells = token_grids.token_grid(shape[0], image)
        if cells is not None:
            return LayerOutput(path, kind, shape, *cells, shape[0] - cells[0] * cells[1])
    return None


def to_grid(about: LayerOutput, output: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
    """The output as a float32 grid of cells ``(B, h, w, K)``, and the way back to what the next layer expects.

    The way back starts from the float32 grid, so that the grid is an ancestor of the logits and gradients with
    respect to it exist, also where the model computes in half precision.
    """
    if about.channels_first:
        grid = tf.transpose(tf.cast(output, tf.float32), (0, 2, 3, 1))
        return grid, lambda grid: tf.cast(tf.transpose(grid, (0, 3, 1, 2)), output.dtype)
    if output.shape.rank == 4:
        return tf.cast(output, tf.float32), lambda grid: tf.cast(grid, output.dtype)
    grid = tokens_to_grid(tf.cast(output, tf.float32), about.height, about.width, about.prefix_tokens)

    def back(grid: tf.Tensor) -> tf.Tensor:
        tokens = tf.reshape(grid, [tf.shape(grid)[0], about.height * about.width, output.shape[-1]])
        return tf.concat([output[:, : about.prefix_tokens], tf.cast(tokens, output.dtype)], axis=1)

    return grid, back


def tokens_to_grid(tokens: tf.Tensor, height: int, width: int, prefix_tokens: int) -> tf.Tensor:
    """Transformer tokens ``(B, prefix + height * width, D)`` as a grid ``(B, height, width, D)``, row by row.

    The prefix (class token, registers) is left out: it has no place in the image.
    """
    grid = tokens[:, prefix_tokens:]
    return tf.reshape(grid, [tf.shape(grid)[0], height, width, tokens.shape[-1]])
