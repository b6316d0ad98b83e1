"""Images as decoding gives them: bytes, or float32 levels of the same 0 to 255 where resizing does not round."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Generic, TypeVar

import tensorflow as tf

Result = TypeVar("Result")


class ByPixelType(Generic[Result]):
    """A function as a graph for uint8 images and another for float32 ones, each traced when it is first run.

    Bytes are brought to a device as such: a fourth of the traffic.

    Attributes:
        graphs: the ``tf.function`` of each type of pixels.
    """

    def __init__(
        self,
        function: Callable[..., Result],
        size: tuple[int, ...],
        *others: tf.TensorSpec,
        jit_compile: bool | None = None,
    ) -> None:
        """Prepare the graphs.

        Args:
            function: of images ``(B, *size)`` and of `others`.
            size: of an image.
            others: of its other arguments.
            jit_compile: as of ``tf.function``.
        """
        self.graphs: dict[tf.DType, Any] = {
            kind: tf.function(
                function,
                autograph=False,
                jit_compile=jit_compile,
                input_signature=[tf.TensorSpec((None, *size), kind), *others],
            )
            for kind in (tf.uint8, tf.float32)
        }

    def __call__(self, images: tf.Tensor, *more: tf.Tensor) -> Result:
        """What the function gives for images of either type."""
        result: Result = self.graphs[images.dtype](images, *more)
        return result
