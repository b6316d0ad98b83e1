"""What each channel of the target layer puts into a class score: the sum of gradient times activation over its places.

No map: one number a channel. Where everything behind the layer is pooling and one linear layer it is the class's weight
times the pooled activation (psi of class-wise neural PCA), and the channels add up to the logit less its bias; of other
heads it is the first-order part of that.

Neuhaus et al., ICCV 2023, arXiv:2212.04871, eq. 2-3; for heads that are not linear, Ancona et al., ICLR 2018,
arXiv:1711.06104, section 3.
"""

from __future__ import annotations

from typing import NamedTuple

import tensorflow as tf


class Strongest(NamedTuple):
    """The strongest channels of B images and L classes, strongest first; ties go to the lower channel.

    Attributes:
        channels: int32 ``(B, L, K)``.
        values: float32 ``(B, L, K)``, what each puts into the class score, in units of the logit.
        total: float32 ``(B, L)``, the sum over all channels.
        magnitude: float32 ``(B, L)``, the sum of the absolute values over all channels.
    """

    channels: tf.Tensor
    values: tf.Tensor
    total: tf.Tensor
    magnitude: tf.Tensor


def contributions(activations: tf.Tensor, gradients: tf.Tensor) -> tf.Tensor:
    """Gradient times activation, summed over the places.

    psi[b,l,c] = sum_x (d logit_bl / d A[b,x,c]) A[b,x,c]

    Args:
        activations: float32 ``(B, *grid, C)``, the target layer's output A.
        gradients: float32 ``(B, L, *grid, C)``, of each explained logit with respect to A.

    Returns:
        float32 ``(B, L, C)``.
    """
    products = tf.expand_dims(activations, 1) * gradients
    return tf.reduce_sum(products, axis=list(range(2, products.shape.rank - 1)))


def strongest(psi: tf.Tensor, most: int) -> Strongest:
    """The `most` channels with the greatest absolute value, or all where there are fewer.

    Args:
        psi: float32 ``(B, L, C)``, C static.
        most: how many.
    """
    magnitudes = tf.abs(psi)
    channels = tf.math.top_k(magnitudes, min(most, psi.shape[-1])).indices
    return Strongest(
        channels=channels,
        values=tf.gather(psi, channels, batch_dims=2),
        total=tf.reduce_sum(psi, axis=-1),
        magnitude=tf.reduce_sum(magnitudes, axis=-1),
    )
