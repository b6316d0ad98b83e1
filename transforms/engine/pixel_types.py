"""Images as decoding gives them: bytes, or float32 levels of the same 0 to 255 where resizing does not round."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import tensorflow as tf

Result = TypeVar("Result")


def by_pixel_type(
    function: Callable[..., Result], size: tuple[int, int, int], *others: tf.TensorSpec, jit_compile: bool | None = None
) -> Callable[..., Result]:
    """`function` as a graph for uint8 images and another for float32 ones, each traced when it is first run.

    Bytes are brought to a device as such: a fourth of the traffic.

    Args:
        function: of images ``(B, *size)`` and of `others`.
        size: of an image.
        others: of its other arguments.
        jit_compile: as of ``tf.function``.
    """
    traced = {
        kind: tf.function(
            function,
            autograph=False,
            jit_compile=jit_compile,
            input_signature=[tf.TensorSpec((None, *size), kind), *others],
        )
        for kind in (tf.uint8, tf.float32)
    }

    def run(images: tf.Tensor, *more: tf.Tensor) -> Result:
        result: Result = traced[images.dtype](images, *more)
        return result

    return run
