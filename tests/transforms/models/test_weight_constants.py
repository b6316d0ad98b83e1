"""Weights as constants of a graph: the same numbers, without reading variables."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import engine
from heatbeam.transforms.models import weight_constants
from tests.support import engine_specs, keras_models


def _operations(graph: tf.Graph) -> set[str]:
    """The kinds of operations of a graph and of the functions it calls."""
    definition = graph.as_graph_def()
    nodes = [*definition.node, *(node for function in definition.library.function for node in function.node_def)]
    return {node.op for node in nodes}


def _normalized() -> keras.Model:
    """1x1 convolution of weight 2, then a batch normalization of mean 1, variance 4 and scale 3: 3 (2 x - 1) / 2."""
    model = keras.Sequential(
        [
            keras.Input((1, 1, 1)),
            keras.layers.Conv2D(1, 1, use_bias=False),
            keras.layers.BatchNormalization(epsilon=0.0),
        ]
    )
    model.set_weights([np.full(s, v, np.float32) for s, v in [((1, 1, 1, 1), 2), (1, 3), (1, 0), (1, 1), (1, 4)]])
    return model


def test_a_graph_computes_with_the_weights_of_when_it_was_traced():
    model = _normalized()

    @tf.function
    def run(x):
        with weight_constants.as_constants(model):
            return model(x, training=False)

    x = tf.reshape([0.0, 1.0, 2.5], (3, 1, 1, 1))
    np.testing.assert_allclose(run(x).numpy().ravel(), [-1.5, 1.5, 6.0], rtol=1e-6)
    model.set_weights([np.zeros_like(w) for w in model.get_weights()])
    np.testing.assert_allclose(run(x).numpy().ravel(), [-1.5, 1.5, 6.0], rtol=1e-6)
    operations = _operations(run.get_concrete_function(x).graph)
    assert "ReadVariableOp" not in operations and "VarHandleOp" not in operations


@pytest.mark.parametrize("name", ["grad_cam", "score_cam", "ablation_cam", "full_grad", "rise"])
def test_maps_are_those_of_variable_weights(name):
    model, ids = engine_specs.file(keras_models.GAP), [(0,), (1,), (2,)]
    images = np.random.default_rng(1).integers(0, 256, (3, 64, 64, 3), dtype=np.uint8)

    def explained(constant):
        which = engine.Engine(engine_specs.spec(model, engine_specs.method(name), constant_weights=constant))
        return which, which.explain(images, ids, {})

    variable, expected = explained(False)
    constant, found = explained(True)
    for one, other in zip(found, expected, strict=True):
        scale = np.abs(other.maps[0][2]).max()
        np.testing.assert_allclose(one.maps[0][2], other.maps[0][2], atol=2e-6 * scale)
    assert "ReadVariableOp" in _operations(variable.shared.function.graphs[tf.uint8].get_concrete_function().graph)
    assert "ReadVariableOp" not in _operations(constant.shared.function.graphs[tf.uint8].get_concrete_function().graph)


def test_a_twin_of_other_weights_explains_with_its_own():
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP), constant_weights=True)
    plain = engine.Engine(spec)
    images = np.random.default_rng(1).integers(0, 256, (1, 64, 64, 3), dtype=np.uint8)
    inputs = plain.preprocess(images)
    expected = plain.predict(inputs)
    twin = plain.randomized(1.0, 3)
    assert np.abs(twin.predict(inputs) - expected).max() > 1e-3
    np.testing.assert_array_equal(plain.predict(inputs), expected)


def test_models_up_to_a_size_on_a_cpu_have_constant_weights_of_themselves(monkeypatch):
    model = _normalized()
    assert weight_constants.pays_off(model, xla=False)
    assert not weight_constants.pays_off(model, xla=True)
    monkeypatch.setattr(weight_constants, "LARGEST_BYTES", 19)  # five float32 weights take 20
    assert not weight_constants.pays_off(model, xla=False)
    monkeypatch.setattr(weight_constants, "LARGEST_BYTES", 20)
    assert weight_constants.pays_off(model, xla=False)
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["/GPU:0"] if kind == "GPU" else [])
    assert not weight_constants.pays_off(model, xla=False)


def test_xla_has_variable_weights_beside_an_engine_of_constant_ones():
    """As a trial makes it of a loaded model, so that it measures what a run will do."""
    spec = engine_specs.spec(engine_specs.file(keras_models.GAP))
    plain = engine.Engine(spec)
    beside = engine.Engine(dataclasses.replace(spec, compute="xla"), plain.model)
    assert (plain.model.constant_weights, beside.model.constant_weights) == (True, False)
    assert not engine.Engine(dataclasses.replace(spec, compute="xla")).model.constant_weights
    assert engine.Engine(dataclasses.replace(spec, constant_weights=True, xla=True)).model.constant_weights


def test_copies_are_given_back_whatever_the_library_of_c(monkeypatch):
    weight_constants.give_back_copies()
    monkeypatch.setattr(weight_constants.ctypes, "CDLL", lambda name: object())
    weight_constants.give_back_copies()
