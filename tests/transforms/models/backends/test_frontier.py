from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models.backends import frontier, rewrites


@pytest.fixture
def graph():
    """x -> a -> b -> c -> scores, with a by-pass of a around b, the size of x, a weight and an input beside it."""
    with tf.Graph().as_default():
        t = {"x": tf.compat.v1.placeholder(tf.float32, (None, 2), "x")}
        t["side"] = tf.compat.v1.placeholder(tf.float32, (None, 2), "side")
        t["weight"] = tf.constant([[1.0, 2.0]], name="weight")
        t["a"] = tf.identity(t["x"] * t["weight"], "a")
        t["b"] = tf.identity(t["a"] + 1, "b")
        t["rows"] = tf.shape(t["a"], name="rows")[0]
        t["c"] = tf.identity(t["b"] * t["a"] * t["weight"] * t["side"], "c")
        t["scores"] = tf.reshape(t["c"], [t["rows"], 2], name="scores")
        yield t


def names(graph, *mapped, wanted="scores"):
    found = frontier.frontier((graph["x"], graph["side"]), [graph[m] for m in mapped], graph[wanted])
    known = {tensor.name: name for name, tensor in graph.items()}
    return [known.get(tensor.name, tensor.name) for tensor in found]


def test_what_by_passes_a_mapped_tensor_is_of_the_frontier(graph):
    # The shape that the scores are given is made of the rows before the mapped tensor; the weight and the input beside
    # are known without.
    assert names(graph, "b") == ["a", "b", "scores/shape:0"]


def test_a_mapped_tensor_that_follows_from_another_is_computed_from_it(graph):
    # By b and c, the scores follow from a; the rows as well.
    assert names(graph, "a", "c") == ["a"]
    assert names(graph, "b", "c") == ["a", "b", "scores/shape:0"]


def test_behind_the_last_mapped_tensor_nothing_else_is_needed(graph):
    assert names(graph, "c") == ["c", "scores/shape:0"]


def test_what_is_wanted_itself_may_be_before_the_mapped(graph):
    assert names(graph, "a", wanted="a") == ["a"]


@pytest.mark.parametrize("multiplier", [1, 2])
def test_a_group_for_each_channel_is_a_depthwise_convolution(multiplier):
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 5, 6, 3)).astype(np.float32)
    filters = rng.normal(size=(3, 3, 1, 3 * multiplier)).astype(np.float32)
    # By hand: each group of filters over its own channel.
    expected = np.concatenate(
        [
            tf.nn.conv2d(images[..., c : c + 1], filters[..., c * multiplier : (c + 1) * multiplier], 1, "SAME").numpy()
            for c in range(3)
        ],
        axis=-1,
    )
    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, (None, 5, 6, 3), "given")
        tf.nn.conv2d(given, tf.constant(filters, name="filters"), 1, "SAME", name="made")
        shapes = {output.name: output.shape for op in graph.get_operations() for output in op.outputs}
        changed = rewrites.rewritten(graph.as_graph_def(), shapes)

    assert [n.op for n in changed.node if n.name == "made"] == ["DepthwiseConv2dNative"]
    assert run(changed, images) == pytest.approx(expected, abs=1e-5)


def test_erfc_is_what_is_left_to_one():
    values = np.linspace(-4, 4, 9, dtype=np.float32)
    with tf.Graph().as_default() as graph:
        tf.math.erfc(tf.compat.v1.placeholder(tf.float32, (None,), "given"), name="made")
        changed = rewrites.rewritten(graph.as_graph_def(), {})

    assert "Erfc" not in {node.op for node in changed.node}
    assert run(changed, values) == pytest.approx(tf.math.erfc(values).numpy(), abs=1e-6)


def test_other_convolutions_stay():
    with tf.Graph().as_default() as graph:
        given = tf.compat.v1.placeholder(tf.float32, (None, 5, 6, 4), "given")
        tf.nn.conv2d(given, tf.ones((1, 1, 2, 4)), 1, "SAME", name="in_two_groups")
        tf.raw_ops.Conv2D(
            input=given, filter=tf.ones((2, 2, 1, 4)), strides=[1] * 4, padding="SAME", dilations=[1, 2, 2, 1]
        )
        tf.nn.conv2d(given[..., :1], tf.ones((1, 1, 1, 4)), 1, "SAME", name="of_one_channel")
        shapes = {output.name: output.shape for op in graph.get_operations() for output in op.outputs}
        changed = rewrites.rewritten(graph.as_graph_def(), shapes)

    assert changed == graph.as_graph_def()


def run(definition, value):
    with tf.Graph().as_default() as graph, tf.compat.v1.Session(graph=graph) as session:
        tf.graph_util.import_graph_def(definition, name="")
        return session.run("made:0", {"given:0": value})
