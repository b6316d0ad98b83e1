"""Class scores of a model that classifies every pixel: what a class has on the pixels that it claims.

    score_c = mean over p in M_c of z_pc,   M_c = the pixels whose greatest score is that of c

z are the logits of the pixels. Seg-Grad-CAM (Vinogradova, Dibrov and Myers, AAAI 2020, arXiv:2002.11434) sums over any
set of pixels; here it is what the model takes for the class, and the mean makes a large object no stronger than a small
one. Where each class has a probability of its own, a pixel is claimed by every class with p > 0.5. A class that claims
no pixel has its mean over all pixels. Which pixels are claimed is a constant for gradients.

The model's choice for the image is the class that claims the largest area. Its probability is the mean over all pixels
of the probability of the class: the share of the image that the model expects of it.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from heatbeam.transforms.models.scores import class_scores


def in_words(pixels: tuple[int, int] | None) -> list[str]:
    """What is explained of pixels, for the manifest; nothing of a model that classifies images."""
    if pixels is None:
        return []
    return [f"of {pixels[0]}x{pixels[1]} pixels: of a class, the mean over those that it claims (Seg-Grad-CAM)"]


@dataclasses.dataclass(frozen=True)
class PixelScores:
    """The class scores of a model that classifies pixels.

    Attributes:
        of_pixel: how the numbers of one pixel are read.
    """

    of_pixel: class_scores.ClassScores

    def answer(self, output: tf.Tensor) -> class_scores.Answer:
        """What the scores of pixels, ``(B, rows, columns, units)``, say of each image."""
        flat = tf.reshape(output, [-1, self.of_pixel.units])
        shape = [tf.shape(output)[0], output.shape[1] * output.shape[2], self.of_pixel.classes]
        scores = tf.reshape(self.of_pixel.in_columns(flat), shape)
        claimed = tf.stop_gradient(self._claimed(scores))
        area = tf.reduce_sum(claimed, axis=1)
        of_claimed = tf.reduce_sum(claimed * scores, axis=1) / tf.maximum(area, 1)
        return class_scores.Answer(
            scores=tf.where(area > 0, of_claimed, tf.reduce_mean(scores, axis=1)),
            probabilities=tf.reduce_mean(self.of_pixel.probabilities(scores), axis=1),
            order=area,
        )

    def _claimed(self, scores: tf.Tensor) -> tf.Tensor:
        """float32 ``(B, pixels, classes)``, 1 where a class claims a pixel."""
        if self.of_pixel.rule in ("sigmoid", "one_vs_rest") and self.of_pixel.units > 1:
            return tf.cast(scores > 0, tf.float32)
        return tf.one_hot(tf.argmax(scores, axis=-1), self.of_pixel.classes)
