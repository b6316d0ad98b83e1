"""ShapleyCAM: Grad-CAM with the curvature of the score taken into account. Runs the head only.

Arguments and results as in `perturbation`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import tensorflow as tf

from heatbeam.transforms.methods import cam, targets, tensor_maps

if TYPE_CHECKING:
    from heatbeam.transforms.models import exposure


def shapley_cam(
    model: exposure.ExposedModel,
    inputs: tf.Tensor,
    class_ids: tf.Tensor,
    activations: tf.Tensor,
    logits: tf.Tensor,
    *,
    batch_size: int,
    score: str,
) -> tf.Tensor:
    """ShapleyCAM: activations weighted by the spatial mean of the gradient less half the Hessian times the activations.

    w[k] = mean_hw(g - 1/2 H A)[k],  maps = sum_k w[k] A[k],  H the Hessian of the score with respect to A

    For a score that is linear in A, such as the logit of a head without curvature, H is 0 and the map is Grad-CAM's.

    Args:
        score: a kind of `targets.target_scores`; the paper's is ``rest``, logit plus log probability.

    Returns:
        float32 (B, h, w, L), at the target layer's size.

    Cai, 2025, arXiv:2501.06261, as pytorch-grad-cam's `ShapleyCAM` computes it.
    """
    del logits
    batch, width = tf.shape(activations)[0], class_ids.shape[1]
    bypass = model.bypass(inputs)

    def chunk(numbers: tf.Tensor) -> tf.Tensor:
        image = numbers // width
        maps = tf.gather(activations, image)
        classes = tf.gather(tf.reshape(class_ids, (-1,)), numbers)[:, None]
        aside = None if bypass is None else tf.gather(bypass, image)
        scores = targets.target_scores(model.head(tf.gather(inputs, image), maps, aside), classes, score)
        gradient = targets.score_gradients(scores, maps)[:, 0]
        product = tf.reduce_sum(gradient * tf.stop_gradient(maps), axis=(1, 2, 3))
        curvature = targets.score_gradients(product[:, None], maps)[:, 0]
        return tf.reduce_mean(gradient - 0.5 * curvature, axis=(1, 2))

    weights = tensor_maps.in_chunks(chunk, batch * width, batch_size, (activations.shape[-1],))
    return cam.weighted_maps(activations, tf.reshape(weights, (batch, width, activations.shape[-1])))
