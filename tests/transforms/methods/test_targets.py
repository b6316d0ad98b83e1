"""Target scores and their gradients, against arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import targets

LOGITS = np.array([[1.0, 3.0, 2.5, -4.0]], np.float32)


def _softmax(values):
    return np.exp(values) / np.exp(values).sum()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("logit", 3.0),
        ("probability", _softmax(LOGITS[0])[1]),
        ("log_probability", np.log(_softmax(LOGITS[0])[1])),
        ("rest", 3.0 + np.log(_softmax(LOGITS[0])[1])),
    ],
)
def test_kinds(kind, expected):
    scores = targets.target_scores(LOGITS, np.array([[0, 1]]), kind)
    np.testing.assert_allclose(scores[0, 1], expected, rtol=1e-6)


def test_unknown_kind():
    with pytest.raises(ValueError, match="known: logit"):
        targets.target_scores(LOGITS, np.array([[0]]), "logits")


def test_finer_cam_by_hand():
    # Nearest to class 0 (logit 1): class 2 at distance 1.5, class 1 at distance 2. Weights e^2.5 and e^3, alpha 0.5.
    expected = (np.exp(2.5) * (1 - 0.5 * 2.5) + np.exp(3) * (1 - 0.5 * 3)) / (np.exp(2.5) + np.exp(3))
    scores = targets.finer_cam_scores(tf.constant(LOGITS), np.array([[0, 1]]), alpha=0.5, rivals=2)
    np.testing.assert_allclose(scores[0, 0], expected, rtol=1e-6)
    # Nearest to class 1 (logit 3): class 2 at 0.5, class 0 at 2.
    expected = (np.exp(2.5) * (3 - 0.5 * 2.5) + np.exp(1) * (3 - 0.5 * 1)) / (np.exp(2.5) + np.exp(1))
    np.testing.assert_allclose(scores[0, 1], expected, rtol=1e-6)
    np.testing.assert_array_equal(
        targets.target_scores(tf.constant(LOGITS), np.array([[0, 1]]), "finer_cam", alpha=0.5, rivals=2), scores
    )


def test_finer_cam_without_contrast_is_the_logit():
    scores = targets.finer_cam_scores(tf.constant(LOGITS), np.array([[2, 3]]), alpha=0.0, rivals=3)
    np.testing.assert_allclose(scores, [[2.5, -4.0]], rtol=1e-6)


def test_finer_cam_gradient_flows_through_the_weights():
    logits = tf.constant(LOGITS)

    @tf.function
    def gradient():
        scores = targets.finer_cam_scores(logits, np.array([[0]]), alpha=1.0, rivals=2)
        return targets.score_gradients(scores, logits)

    def score(s):
        return (np.exp(s[2]) * (s[0] - s[2]) + np.exp(s[1]) * (s[0] - s[1])) / (np.exp(s[2]) + np.exp(s[1]))

    base, step = LOGITS[0].astype(np.float64), 1e-5
    expected = [(score(base + step * e) - score(base - step * e)) / (2 * step) for e in np.eye(4)]
    np.testing.assert_allclose(gradient()[0, 0], expected, atol=1e-5)


def test_finer_cam_of_a_sure_model_is_not_blank():
    logits = tf.constant([[200.0, 0.0, -1.0, -2.0]])

    @tf.function
    def gradient():
        return targets.score_gradients(targets.finer_cam_scores(logits, np.array([[0]]), alpha=1.0, rivals=3), logits)

    np.testing.assert_allclose(gradient()[0, 0, 0], 1.0, rtol=1e-6)


def test_finer_cam_needs_a_rival():
    with pytest.raises(ValueError, match="1 output"):
        targets.finer_cam_scores(tf.constant([[1.0]]), np.array([[0]]), alpha=1.0, rivals=3)


def test_score_gradients_of_an_unconnected_score_are_zero():
    source = tf.constant([[2.0, 3.0]])

    @tf.function
    def gradient():
        scores = tf.stack([source[:, 0] * source[:, 1], tf.constant([5.0])], axis=1)
        return targets.score_gradients(scores, source)

    np.testing.assert_array_equal(gradient(), [[[3.0, 2.0], [0.0, 0.0]]])
