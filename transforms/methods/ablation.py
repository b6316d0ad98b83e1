"""Ablation-CAM: channels weighted by what the score loses without them. Runs the head only.

Arguments and results as in `perturbation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from transforms.methods import cam, targets, tensor_maps

if TYPE_CHECKING:
    from transforms.methods import exposure

SMALLEST_LOGIT = 1e-6
"""Logits nearer to 0 than this are replaced by it, with their sign, where Ablation-CAM divides by them."""


def ablation_cam(
    model: exposure.ExposedModel,
    inputs: tf.Tensor,
    class_ids: tf.Tensor,
    activations: tf.Tensor,
    logits: tf.Tensor,
    *,
    batch_size: int,
) -> tf.Tensor:
    """Ablation-CAM: activations weighted by the relative drop of the score when the channel is set to 0.

    w[k] = (y - y_k) / y,  maps = sum_k w[k] A[k],  y the logit and y_k the logit with channel k of A set to 0.

    A channel of zeros loses nothing and is not run. As in the paper, y may be negative, and then the map changes sign
    with it. |y| below `SMALLEST_LOGIT` is raised to it, so the map stays finite; near there it is large and its sign
    unstable.

    Where the head is affine in A (`exposure.ExposedModel.head_is_affine`), as global average pooling and one dense
    layer are, y - y_k = sum_hw g[k] A[k] exactly, g the gradient of y: no channel is run, and what a channel loses is
    not the small difference of two large numbers.

    Returns:
        float32 (B, h, w, L), at the target layer's size.

    Desai and Ramaswamy, WACV 2020, eq. 2-3 before the ReLU.
    """
    score = tf.gather(logits, class_ids, batch_dims=1)[:, None, :]
    if model.head_is_affine:
        lost = _affine_losses(model, inputs, class_ids, activations, batch_size)
    else:
        lost = score - ablated_logits(model, inputs, class_ids, activations, logits, batch_size)
    sign = tf.where(score < 0.0, -1.0, 1.0)
    weights = lost / (sign * tf.maximum(tf.abs(score), SMALLEST_LOGIT))
    return cam.weighted_maps(activations, tf.transpose(weights, (0, 2, 1)))


def _affine_losses(
    model: exposure.ExposedModel, inputs: tf.Tensor, class_ids: tf.Tensor, activations: tf.Tensor, batch_size: int
) -> tf.Tensor:
    """float32 (B, K, L): what the logit of each explained class loses with each channel, where the head is affine."""
    bypass = model.bypass(inputs)

    def chunk(image: tf.Tensor) -> tf.Tensor:
        maps = tf.gather(activations, image)
        aside = None if bypass is None else tf.gather(bypass, image)
        scores = tf.gather(model.head(tf.gather(inputs, image), maps, aside), tf.gather(class_ids, image), batch_dims=1)
        return tf.reduce_sum(targets.score_gradients(scores, maps) * maps[:, None], axis=(2, 3))

    row_shape = (class_ids.shape[1], activations.shape[-1])
    return tf.transpose(tensor_maps.in_chunks(chunk, tf.shape(activations)[0], batch_size, row_shape), (0, 2, 1))


def ablated_logits(
    model: exposure.ExposedModel,
    inputs: tf.Tensor,
    class_ids: tf.Tensor,
    activations: tf.Tensor,
    logits: tf.Tensor,
    batch_size: int,
) -> tf.Tensor:
    """float32 (B, K, L): the logit of each explained class with channel k of the target layer set to 0.

    What by-passes the target layer (a skip connection, a class token) is computed once for each image.
    """
    batch, channels = tf.shape(activations)[0], activations.shape[-1]
    alive = tf.reduce_any(activations != 0.0, axis=(1, 2))
    bypass = model.bypass(inputs)
    pairs = tf.cast(tf.where(alive), tf.int32)
    needed = tf.shape(pairs)[0]
    # At least one pair is run; a list that is exactly full takes no batch more.
    pairs = tf.concat((pairs, tf.zeros((1, 2), tf.int32)), axis=0)

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        pair = tf.gather(pairs, numbers)
        image, channel = pair[:, 0], pair[:, 1]
        kept = 1.0 - tf.one_hot(channel, channels)
        ablated = tf.gather(activations, image) * kept[:, None, None, :]
        aside = None if bypass is None else tf.gather(bypass, image)
        outputs = model.head(tf.gather(inputs, image), ablated, aside)
        return tf.gather(outputs, tf.gather(class_ids, image), batch_dims=1)

    found = tensor_maps.in_chunks(chunk, tf.maximum(needed, 1), batch_size, (class_ids.shape[1],))
    table = tf.scatter_nd(pairs[:needed], found[:needed], (batch, channels, class_ids.shape[1]))
    unchanged = tf.gather(logits, class_ids, batch_dims=1)[:, None, :]
    return tf.where(alive[..., None], table, unchanged)
