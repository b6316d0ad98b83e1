"""ShapleyCAM: Grad-CAM with the curvature of the score taken into account. Runs the head only.

Argument and result as in `passes`.
"""

from __future__ import annotations

import tensorflow as tf

from heatbeam.transforms.methods import cam, passes, targets, tensor_maps


def shapley_cam(given: passes.Pass, *, score: str) -> tf.Tensor:
    """ShapleyCAM: activations weighted by the spatial mean of the gradient less half the Hessian times the activations.

    w[k] = mean_hw(g - 1/2 H A)[k],  maps = sum_k w[k] A[k],  H the Hessian of the score with respect to A

    For a score that is linear in A, such as the logit of a head without curvature, H is 0 and the map is Grad-CAM's.

    Args:
        score: a kind of `targets.target_scores`; the paper's is ``rest``, logit plus log probability.

    Returns:
        float32 (B, *grid, L), at the target layer's size.

    Cai, 2025, arXiv:2501.06261, as pytorch-grad-cam's `ShapleyCAM` computes it.
    """
    batch, width = tf.shape(given.activations)[0], given.class_ids.shape[1]
    channels = given.activations.shape[-1]
    bypass = given.model.bypass(given.inputs)

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        image = numbers // width
        maps = tf.gather(given.activations, image)
        classes = tf.gather(tf.reshape(given.class_ids, (-1,)), numbers)[:, None]
        aside = None if bypass is None else tf.gather(bypass, image)
        outputs = given.model.rows_of(image).head(tf.gather(given.inputs, image), maps, aside)
        scores = targets.target_scores(outputs, classes, score)
        gradient = targets.score_gradients(scores, maps)[:, 0]
        product = tf.reduce_sum(gradient * tf.stop_gradient(maps), axis=tuple(range(1, len(maps.shape))))
        curvature = targets.score_gradients(product[:, None], maps)[:, 0]
        return tf.reduce_mean(gradient - 0.5 * curvature, axis=tensor_maps.positions(maps))

    weights = tensor_maps.in_chunks(chunk, batch * width, given.batch_size, (channels,))
    return cam.weighted_maps(given.activations, tf.reshape(weights, (batch, width, channels)))
