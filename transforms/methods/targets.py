"""What is explained: the scalar of each class whose gradient is taken.

A target is no method: every gradient method explains whichever of these scores it is given the gradient of.
"""

from __future__ import annotations

import tensorflow as tf

KINDS = ("logit", "probability", "log_probability", "rest", "finer_cam")
"""The kinds of `target_scores`."""


def target_scores(
    logits: tf.Tensor, class_ids: tf.Tensor, kind: str, *, alpha: float = 1.0, rivals: int = 3
) -> tf.Tensor:
    """The score of each explained class.

    ====================  =================================================================================
    ``logit``             s_c: the usual choice of the CAM papers
    ``probability``       softmax(s)_c: its gradient vanishes where the model is sure
    ``log_probability``   log softmax(s)_c
    ``rest``              s_c + log softmax(s)_c (ReST of ShapleyCAM, Cai 2025, arXiv:2501.06261)
    ``finer_cam``         `finer_cam_scores`: what sets the class apart from its nearest rivals
    ====================  =================================================================================

    Args:
        logits: float32 (B, C).
        class_ids: int (B, L).
        kind: one of `KINDS`.
        alpha, rivals: for ``finer_cam`` only.

    Returns:
        float32 (B, L).
    """
    if kind == "finer_cam":
        return finer_cam_scores(logits, class_ids, alpha=alpha, rivals=rivals)
    chosen = tf.gather(logits, class_ids, batch_dims=1)
    if kind == "logit":
        return chosen
    if kind == "probability":
        return tf.gather(tf.nn.softmax(logits), class_ids, batch_dims=1)
    log_probability = tf.gather(tf.nn.log_softmax(logits), class_ids, batch_dims=1)
    if kind == "log_probability":
        return log_probability
    if kind == "rest":
        return chosen + log_probability
    raise ValueError(f"unknown target kind {kind!r}; known: {', '.join(KINDS)}")


def finer_cam_scores(logits: tf.Tensor, class_ids: tf.Tensor, *, alpha: float, rivals: int) -> tf.Tensor:
    """Finer-CAM's contrast between a class and the classes whose logits lie nearest to its own.

    score[l] = sum_j p_j (s_c - alpha s_j) / sum_j p_j,  c = class_ids[l],  p = softmax(s)

    j runs over the `rivals` classes other than c with the smallest |s_j - s_c| (ties: the lower class id). The
    gradient flows through the weights p_j too, as in the reference code; which classes are rivals is a constant. p_j
    / sum_j p_j is computed as the softmax over the rivals, so a sure model, all of whose rivals have p = 0 in
    float32, has a map too.

    Args:
        logits: float32 (B, C) with C >= 2.
        class_ids: int (B, L).
        alpha: strength of the contrast; 0 gives the logit back. The paper uses 1.
        rivals: number of classes to contrast with, cut to C - 1. The paper uses 3.

    Returns:
        float32 (B, L).

    Zhang et al., CVPR 2025, arXiv:2501.11309, as `FinerWeightedTarget` of pytorch-grad-cam weights the rivals.
    """
    classes = logits.shape[-1]
    if classes is None or classes < 2:
        raise ValueError(f"finer_cam contrasts classes, but the model has {classes} output(s); use the target 'logit'")
    own = tf.gather(logits, class_ids, batch_dims=1)[..., None]
    distance = tf.abs(logits[:, None, :] - own)
    distance = tf.where(tf.one_hot(class_ids, classes, True, False, dtype=tf.bool), float("inf"), distance)
    _, nearest = tf.math.top_k(-tf.stop_gradient(distance), k=min(rivals, classes - 1))
    # top_k puts the lower index first among equals.
    rival_logits = tf.gather(logits, nearest, batch_dims=1)
    return tf.reduce_sum(tf.nn.softmax(rival_logits) * (own - alpha * rival_logits), axis=-1)


def score_gradients(scores: tf.Tensor, sources: tf.Tensor) -> tf.Tensor:
    """The gradient of each score with respect to `sources`, one backward pass per class.

    Inside a `tf.function` only. Images must not depend on one another, as in any model in inference mode.

    Args:
        scores: float32 (B, L), L static.
        sources: float32 (B, ...), from which `scores` were computed in this graph.

    Returns:
        float32 (B, L, ...); zeros where a score does not depend on the sources.
    """
    gradients = [
        tf.gradients(scores[:, column], sources, unconnected_gradients=tf.UnconnectedGradients.ZERO)[0]
        for column in range(scores.shape[1])
    ]
    return tf.stack([tf.convert_to_tensor(gradient) for gradient in gradients], axis=1)
