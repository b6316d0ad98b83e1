"""A part of a model by itself: large weights beside its graph, and back in what an engine is given."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models.backends import onnx_form, packages, parts, sessions
from heatbeam.transforms.models.files import load_failures
from heatbeam.transforms.models.graphs import traced_graph

KERNEL = np.random.default_rng(0).normal(size=(3, 3, 2, 4)).astype(np.float32)
MATRIX = np.random.default_rng(1).normal(size=(4, 3)).astype(np.float32)
BIAS = np.array([[1.0, 2.0, 3.0]], np.float32)


@pytest.fixture
def part(monkeypatch: pytest.MonkeyPatch) -> parts.Part:
    """A kernel that is a variable, a matrix that the graph has itself, and less than twelve numbers of a bias."""
    monkeypatch.setattr(parts, "_LARGE", 12)
    kernel = keras.Variable(KERNEL)

    def compute(images: tf.Tensor) -> tf.Tensor:
        means = tf.reduce_mean(tf.nn.conv2d(images, kernel.value, 1, "SAME"), axis=(1, 2))
        return tf.matmul(means, tf.constant(MATRIX)) + tf.constant(BIAS)

    traced = tf.function(compute).get_concrete_function(tf.TensorSpec((None, 5, 6, 2)))
    return parts.part(traced_graph.TracedGraph(traced, [kernel]), (), [traced.outputs[0]])


def test_large_weights_are_beside_the_graph(part: parts.Part) -> None:
    by_size = {weight.size: weight for weight in part.weights.values()}
    assert sorted(by_size) == [12, 72]
    assert (by_size[72] == KERNEL).all() and (by_size[12] == MATRIX).all()
    assert part.size == part.definition.ByteSize() + 4 * (72 + 12)
    kinds = {node.name: node.op for node in part.definition.node}
    assert {kinds[name.removesuffix(":0")] for name in part.weights} == {"Placeholder"}
    kept = [tf.make_ndarray(node.attr["value"].tensor) for node in part.definition.node if node.op == "Const"]
    assert [value.size for value in kept if value.dtype == np.float32] == [3]


@pytest.mark.skipif(bool(packages.missing("onnxruntime")), reason="needs ONNX Runtime")
def test_an_engine_is_given_them(part: parts.Part) -> None:
    images = np.random.default_rng(2).normal(size=(2, 5, 6, 2)).astype(np.float32)
    (found,) = sessions.session("onnxruntime", onnx_form.onnx_model(part), part.inputs, 1).run([images])
    padded = np.pad(images, [(0, 0), (1, 1), (1, 1), (0, 0)])
    sums = sum(padded[:, i : i + 5, j : j + 6] @ KERNEL[i, j] for i in range(3) for j in range(3))
    assert found == pytest.approx(sums.mean(axis=(1, 2)) @ MATRIX + BIAS, abs=1e-5)


@pytest.fixture
def squared(monkeypatch: pytest.MonkeyPatch) -> parts.Part:
    """The product of images with a matrix, twice; the variable is read for each."""
    monkeypatch.setattr(parts, "_LARGE", 9)
    matrix = keras.Variable(MATRIX[:3])

    def compute(images: tf.Tensor) -> tf.Tensor:
        once = tf.matmul(images, matrix.value.read_value())
        return tf.matmul(once, matrix.value.read_value())

    traced = tf.function(compute).get_concrete_function(tf.TensorSpec((None, 3)))
    reads = [operation for operation in traced.graph.get_operations() if operation.type == "ReadVariableOp"]
    assert len(reads) == 2
    return parts.part(traced_graph.TracedGraph(traced, [matrix]), (), [traced.outputs[0]])


def test_a_weight_that_is_read_twice_is_beside_the_graph_once(squared: parts.Part) -> None:
    assert [weight.tolist() for weight in squared.weights.values()] == [MATRIX[:3].tolist()]


@pytest.mark.skipif(bool(packages.missing("onnxruntime")), reason="needs ONNX Runtime")
def test_an_engine_is_given_it_once_too(squared: parts.Part) -> None:
    model = onnx_form.onnx_model(squared)
    assert model.count(MATRIX[:3].tobytes()) == 1
    (found,) = sessions.session("onnxruntime", model, squared.inputs, 1).run([np.eye(3, dtype=np.float32)])
    assert found == pytest.approx(MATRIX[:3] @ MATRIX[:3], abs=1e-6)


def test_more_than_a_message_holds_is_refused(part: parts.Part, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx_form, "_LARGEST", part.size - 1)
    with pytest.raises(load_failures.ModelError, match=r"^0\.0 GiB of weights; ONNX takes 2 GiB$"):
        onnx_form.onnx_model(part)
