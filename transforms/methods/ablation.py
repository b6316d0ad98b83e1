"""Ablation-CAM: channels weighted by what the score loses without them. Runs the head only.

Argument and result as in `passes`.
"""

from __future__ import annotations

import tensorflow as tf

from heatbeam.transforms.methods import cam, passes, targets, tensor_maps

SMALLEST_LOGIT = 1e-6
"""Logits nearer to 0 than this are replaced by it, with their sign, where Ablation-CAM divides by them."""


def ablation_cam(given: passes.Pass) -> tf.Tensor:
    """Ablation-CAM: activations weighted by the relative drop of the score when the channel is set to 0.

    w[k] = (y - y_k) / y,  maps = sum_k w[k] A[k],  y the logit and y_k the logit with channel k of A set to 0.

    A channel of zeros loses nothing and is not run. As in the paper, y may be negative, and then the map changes sign
    with it. |y| below `SMALLEST_LOGIT` is raised to it, so the map stays finite; near there it is large and its sign
    unstable.

    Where the head is affine in A (`passes.Exposed.head_is_affine`), as global average pooling and one dense
    layer are, y - y_k = sum_hw g[k] A[k] exactly, g the gradient of y: no channel is run, and what a channel loses is
    not the small difference of two large numbers.

    Returns:
        float32 (B, *grid, L), at the target layer's size.

    Desai and Ramaswamy, WACV 2020, eq. 2-3 before the ReLU.
    """
    score = tf.gather(given.logits, given.class_ids, batch_dims=1)[:, None, :]
    if given.model.head_is_affine:
        lost = _affine_losses(given)
    else:
        lost = score - ablated_logits(given)
    sign = tf.where(score < 0.0, -1.0, 1.0)
    weights = lost / (sign * tf.maximum(tf.abs(score), SMALLEST_LOGIT))
    return cam.weighted_maps(given.activations, tf.transpose(weights, (0, 2, 1)))


def _affine_losses(given: passes.Pass) -> tf.Tensor:
    """float32 (B, K, L): what the logit of each explained class loses with each channel, where the head is affine."""
    bypass = given.model.bypass(given.inputs)

    def chunk(image: tf.Tensor) -> tf.Tensor:
        maps = tf.gather(given.activations, image)
        aside = None if bypass is None else tf.gather(bypass, image)
        outputs = given.model.rows_of(image).head(tf.gather(given.inputs, image), maps, aside)
        scores = tf.gather(outputs, tf.gather(given.class_ids, image), batch_dims=1)
        products = targets.score_gradients(scores, maps) * maps[:, None]
        return tf.reduce_sum(products, axis=tensor_maps.positions(products, 2))

    row_shape = (given.class_ids.shape[1], given.activations.shape[-1])
    found = tensor_maps.in_chunks(chunk, tf.shape(given.activations)[0], given.batch_size, row_shape)
    return tf.transpose(found, (0, 2, 1))


def ablated_logits(given: passes.Pass) -> tf.Tensor:
    """float32 (B, K, L): the logit of each explained class with channel k of the target layer set to 0.

    What by-passes the target layer (a skip connection, a class token) is computed once for each image. A batch of the
    head has channels of one image: its activations are copied once, and not gathered first.
    """
    model, channels = given.model, given.activations.shape[-1]
    bypass = model.bypass(given.inputs)
    row_shape = (given.class_ids.shape[1],)

    def of_image(number: tf.Tensor) -> tf.Tensor:
        image, maps, classes = (tf.gather(t, number) for t in (given.inputs, given.activations, given.class_ids))
        aside = None if bypass is None else tf.gather(bypass, number)
        unchanged = tf.gather(tf.gather(given.logits, number), classes, batch_dims=1)
        alive = tf.where(tf.reduce_any(maps != 0.0, axis=(0, *tensor_maps.positions(maps))))[:, 0]
        needed = tf.size(alive, tf.int32)
        # At least one channel is run; what it gives is dropped.
        listed = tf.concat((alive, [0]), axis=0)

        def chunk(places: tf.Tensor) -> tf.Tensor:
            kept = 1.0 - tf.one_hot(tf.gather(listed, places), channels)
            ablated = maps * tf.reshape(kept, (-1, *[1] * len(tensor_maps.positions(maps)), channels))
            if model.bypass_is_added:  # one row of it serves all
                outputs = model.head(image, ablated, aside)
            else:
                copies = tf.zeros_like(places)
                outputs = model.rows_of(number[0] + copies).head(
                    tf.gather(image, copies), ablated, None if aside is None else tf.gather(aside, copies)
                )
            return tf.gather(outputs, classes[0], axis=1)

        found = tensor_maps.in_chunks(chunk, tf.maximum(needed, 1), given.batch_size, row_shape)
        table = tf.tile(unchanged, (channels, 1))
        return tf.tensor_scatter_nd_update(table, alive[:, None], found[:needed])[None]

    return tensor_maps.in_chunks(of_image, tf.shape(given.activations)[0], 1, (channels, *row_shape))
