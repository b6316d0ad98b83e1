"""Convolutions with a group for each channel, made depthwise ones: the same sums, by an operation made for them.

Keras gives a convolution of several groups to XLA, within a call of its own. On a CPU that is many times as slow as
TensorFlow's depthwise convolution, no gradient goes through the call once it is put into another graph, and other
engines do not know it. ConvNeXt is built of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph

from heatbeam.transforms.models.graphs import flat_functions

_AROUND = {"Identity", "NoOp", "Placeholder", "ReadVariableOp"}
"""What may stand in a call beside the convolution."""


def depthwise(node: Any, images: tf.TensorShape, filters: tf.TensorShape) -> list[Any]:
    """Make a convolution of a group for each channel a depthwise one; what has to stand beside it.

    Args:
        node: a ``Conv2D``; it is changed where it is such a one.
        images: shape ``(B, H, W, C)`` of what it convolves.
        filters: shape ``(h, w, C / groups, K)`` of its filters. Those of channel c are c K / C to (c + 1) K / C; so
            they are the same numbers in the order ``(h, w, C, K / C)`` of depthwise filters.

    Returns:
        Nothing where it is another convolution.
    """
    if images.rank != 4 or not filters.is_fully_defined() or node.attr["data_format"].s not in (b"", b"NHWC"):
        return []
    steps = list(node.attr["strides"].list.i)
    if any(step != 1 for step in node.attr["dilations"].list.i):  # TensorFlow has no gradient of those on a CPU
        return []
    channels, (height, width, group, count) = images[-1], filters.as_list()
    if channels in (None, 1) or group != 1 or steps[1] != steps[2]:  # it knows no other steps
        return []
    order = np.array([height, width, channels, count // channels], np.int32)
    shape = constant(f"{node.name}/depthwise_shape", order)
    reshaped = tf.compat.v1.NodeDef(name=f"{node.name}/depthwise_filters", op="Reshape")
    reshaped.input.extend([node.input[1], f"{shape.name}:0"])
    reshaped.attr["T"].CopyFrom(node.attr["T"])
    reshaped.attr["Tshape"].type = tf.int32.as_datatype_enum
    node.op = "DepthwiseConv2dNative"
    node.input[1] = f"{reshaped.name}:0"
    node.attr.pop("use_cudnn_on_gpu", None)
    return [shape, reshaped]


def without_calls(definition: Any, shapes: Mapping[str, tf.TensorShape]) -> Any | None:
    """A graph whose calls of such convolutions are depthwise ones; names of tensors stay. None where it has none.

    Args:
        definition: the graph as a message; it is not changed.
        shapes: of its tensors by name, of a variable's handle those of the variable.
    """
    library = {function.signature.name: function for function in definition.library.function}
    replaced: dict[str, list[Any]] = {}
    for node in definition.node:
        called = library.get(node.attr["f"].func.name) if node.op in flat_functions.CALLS else None
        if called is not None:
            nodes = _convolution(node, called, shapes)
            if nodes:
                replaced[node.name] = nodes
    if not replaced:
        return None
    made = tf.compat.v1.GraphDef(versions=definition.versions, library=definition.library)
    for node in definition.node:
        made.node.extend(replaced.get(node.name, [node]))
    return made


def constant(name: str, value: np.ndarray) -> Any:
    """The node of a constant."""
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node


def _convolution(call: Any, function: Any, shapes: Mapping[str, tf.TensorShape]) -> list[Any]:
    """The nodes in place of a call of nothing but such a convolution; none where it is another call."""
    body, names = function_def_to_graph.function_def_to_graph_def(function)
    nodes = {node.name: node for node in body.node}
    inner = [node for node in body.node if node.op not in _AROUND]
    if len(inner) != 1 or inner[0].op != "Conv2D" or len(function.signature.output_arg) != 1:
        return []
    values = [flat_functions.tensor_name(name) for name in call.input if not name.startswith("^")]
    arguments = dict(zip((given.name for given in function.signature.input_arg), values, strict=True))
    returned = names[function.ret[function.signature.output_arg[0].name]]
    if _source(nodes, returned) is not inner[0]:
        return []
    convolution = tf.compat.v1.NodeDef()
    convolution.CopyFrom(inner[0])
    convolution.name = call.name
    beside, given = [], []
    for place, name in enumerate(inner[0].input[:2]):
        source = _source(nodes, name)
        if source.op == "ReadVariableOp":
            read = tf.compat.v1.NodeDef()
            read.CopyFrom(source)
            read.name = f"{call.name}/ReadVariableOp"
            del read.input[:]
            read.input.append(arguments[_source(nodes, source.input[0]).name])
            beside.append(read)
            given.append(read.input[0])
            convolution.input[place] = f"{read.name}:0"
        elif source.name in arguments:
            given.append(arguments[source.name])
            convolution.input[place] = given[-1]
        else:
            return []
    del convolution.input[2:]
    unknown = tf.TensorShape(None)
    made = depthwise(convolution, *(shapes.get(name, unknown) for name in given))
    return [*beside, *made, convolution] if made else []


def _source(nodes: Mapping[str, Any], name: str) -> Any:
    """The node that a tensor comes from, past identities."""
    node = nodes[name.partition(":")[0].removeprefix("^")]
    while node.op == "Identity":
        node = nodes[node.input[0].partition(":")[0]]
    return node
