"""What channels put into a class score: as arithmetic, on heads that are linear, and of any rank."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.methods import channel_evidence
from tests.support import engine_specs, keras_models


def test_contributions_are_gradient_times_activation_summed_over_places():
    activations = tf.constant([[[1.0, 2.0], [3.0, 4.0]]])  # one image, a grid of 2 places, 2 channels
    gradients = tf.constant([[[[10.0, 0.5], [1.0, -0.5]], [[0.0, 1.0], [0.0, 1.0]]]])
    psi = channel_evidence.contributions(activations, gradients).numpy()
    assert psi.tolist() == [[[1 * 10 + 3 * 1, 2 * 0.5 - 4 * 0.5], [0.0, 2 + 4]]]


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_places_of_any_rank_are_summed(rank):
    activations = np.ones((2, *(3,) * rank, 4), np.float32)
    psi = channel_evidence.contributions(tf.constant(activations), tf.constant(activations[:, None])).numpy()
    assert psi.shape == (2, 1, 4)
    assert (psi == 3**rank).all()


def test_the_strongest_come_first_and_of_equals_the_lower_channel():
    found = channel_evidence.strongest(tf.constant([[[1.0, -4.0, 0.0, 4.0, 2.0]]]), 3)
    assert found.channels.numpy().tolist() == [[[1, 3, 4]]]
    assert found.values.numpy().tolist() == [[[-4.0, 4.0, 2.0]]]
    assert found.total.numpy().tolist() == [[3.0]]
    assert found.magnitude.numpy().tolist() == [[11.0]]


def test_fewer_channels_than_are_kept_are_all_kept():
    assert channel_evidence.strongest(tf.constant([[[1.0, 2.0]]]), 24).channels.numpy().tolist() == [[[1, 0]]]


def evidence_of(path: str, *methods: str):
    spec = engine_specs.spec(engine_specs.file(path), *(engine_specs.method(name) for name in methods))
    engine = engines.Engine(spec)
    images = np.random.default_rng(3).integers(0, 256, (3, *engine.description.input_size), dtype=np.uint8)
    return engine, engine.explain(images, [(1,), (0,), (2,)], {})


def test_behind_a_linear_head_it_adds_up_to_the_logit_less_its_bias():
    engine, results = evidence_of(keras_models.GAP, "grad_cam")
    bias = engine.model.keras_model.layers[-1].bias.numpy()
    for result in results:
        assert result.evidence.total == pytest.approx(result.logits - bias[result.class_ids], abs=1e-5)


def test_behind_pooling_it_is_the_weight_times_the_pooled_activation_whatever_the_methods():
    engine, results = evidence_of(keras_models.GAP, "score_cam")
    model = engine.model.keras_model
    images = np.random.default_rng(3).integers(0, 256, (3, *engine.description.input_size), dtype=np.uint8)
    features = keras.Model(model.input, model.layers[-2].output)(engine.preprocess(images)).numpy()
    for pooled, result in zip(features, results, strict=True):
        for row, class_id in enumerate(result.class_ids):
            psi = pooled * model.layers[-1].kernel.numpy()[:, class_id]
            channels = result.evidence.channels[row]
            assert result.evidence.values[row] == pytest.approx(psi[channels], abs=1e-5)
            assert result.evidence.magnitude[row] == pytest.approx(np.abs(psi).sum(), rel=1e-5)
            assert (np.diff(np.abs(result.evidence.values[row])) <= 0).all()


def test_it_can_be_left_out():
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP), evidence=False)
    engine = engines.Engine(spec)
    image = np.zeros((1, *engine.description.input_size), np.uint8)
    assert engine.explain(image, [(0,)], {})[0].evidence is None
