"""An engine that is given few images at a time: what it computes of them stays in the caches of its core."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.backends import sessions

_IMAGES = 2
"""Eight at once take ONNX Runtime 14 % longer for EfficientNetB0, 7 % for DenseNet121, 4 % for MobileNetV2 and 2 % for
ResNet50V2 and Xception; OpenVINO 11 % for EfficientNetB0, 18 % for MobileNetV2 and nothing for those of 90 MiB."""

_LARGEST = 128 * 2**20
"""Bytes of a model of which that was measured. The weights of larger ones, dense layers above all, are read from memory
for every few images."""


class FewImages:
    """A `sessions.Session` that runs another one for a few images at a time, where its results belong to images."""

    def __init__(self, session: sessions.Session, images: int = _IMAGES) -> None:
        """Take the session, and how many images it is given."""
        self._session, self._images = session, images

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """As of the session. Every array has a row for each image."""
        count, few = len(arrays[0]), self._images
        if count <= few:
            return self._session.run(arrays)
        first = self._session.run([array[:few] for array in arrays])
        if any(len(array) != few for array in first):  # windows, say, in an order of their own
            return self._session.run(arrays)
        others = [self._session.run([array[i : i + few] for array in arrays]) for i in range(few, count, few)]
        return [np.concatenate(rows) for rows in zip(first, *others, strict=True)]


def pays_off(size: int, threads: int | None, given: Sequence[tf.Tensor], wanted: Sequence[tf.Tensor]) -> bool:
    """Whether a part of a model is faster for few images at a time, and can be had so.

    Args:
        size: bytes of the part.
        threads: of one run; several share out many images better.
        given: what it is given.
        wanted: what it gives.
    """
    by_image = all(tensor.shape.rank and tensor.shape[0] is None for tensor in (*given, *wanted))
    return threads == 1 and size <= _LARGEST and by_image
