"""``tf.io.decode_image`` as a decoder.

Where its pixels differ from Pillow's: JPEG is decoded by the fast integer transform (``dct_method="INTEGER_FAST"``,
its default), which is one level off on average and up to about 16 in sharp edges; grey of colour is rounded in another
way. PNG, GIF, BMP and WebP are the same. It knows no grey GIF, BMP and WebP, and no other format
(`image_files.READ_BY_TENSORFLOW`).
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from heatbeam.transforms import records


def decode(data: bytes, channels: int) -> np.ndarray:
    """The first frame, uint8 ``(H, W, channels)``.

    Raises:
        DataError: ``corrupt_image``; TensorFlow says why.
    """
    return _decoded(lambda: tf.io.decode_image(data, channels=channels, expand_animations=False), data)


def decode_sixteen_bit(data: bytes) -> np.ndarray:
    """A PNG of 16 bits, uint16 ``(H, W, 1 or 3)``; alpha is dropped.

    Raises:
        DataError: ``corrupt_image``; TensorFlow says why.
    """
    values = _decoded(lambda: tf.io.decode_png(data, dtype=tf.uint16), data)
    return values[:, :, :3] if values.shape[2] >= 3 else values[:, :, :1]


def _decoded(operation: Callable[[], tf.Tensor], data: bytes) -> np.ndarray:
    try:
        found: np.ndarray = operation().numpy()
    except tf.errors.InvalidArgumentError as error:
        said = re.sub(r"\{\{.*?\}\} ?|\[Op:.*|\n.*", "", str(error.message)).strip()
        raise records.DataError(
            "corrupt_image",
            f"the image of {len(data)} bytes cannot be decoded by TensorFlow: {said}; see input.decoder",
        ) from error
    return found
