"""Operations that other engines do not have, or are slow at, replaced by what gives the same numbers.

* A convolution of as many groups as channels is a depthwise one. Keras gives it to XLA, within a call.
* erfc(x) = 1 - erf(x). What erfc is for, tails, does not matter in a GELU: x erfc(-x / sqrt 2) / 2 is next to nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf


def rewritten(definition: Any, shapes: dict[str, tf.TensorShape]) -> Any:
    """A flat graph with what is said above replaced; names of tensors stay.

    Args:
        definition: the graph as a message; it is not changed.
        shapes: of its tensors, by name.
    """
    made = tf.compat.v1.GraphDef()
    made.CopyFrom(definition)
    added: list[Any] = []
    for node in made.node:
        if node.op == "Conv2D":
            added += depthwise(node, shapes[_tensor(node.input[0])], shapes[_tensor(node.input[1])])
        elif node.op == "Erfc":
            added += _one_minus_erf(node)
    made.node.extend(added)
    return made


def depthwise(node: Any, images: tf.TensorShape, filters: tf.TensorShape) -> list[Any]:
    """Make a convolution of a group for each channel a depthwise one; what has to stand beside it.

    Args:
        node: a ``Conv2D``; it is changed where it is such a one.
        images: shape ``(B, H, W, C)`` of what it convolves.
        filters: shape ``(h, w, C / groups, K)`` of its filters. Those of channel c are c K / C to (c + 1) K / C; so
            they are the same numbers in the order ``(h, w, C, K / C)`` of depthwise filters.
    """
    if images.rank != 4 or not filters.is_fully_defined() or node.attr["data_format"].s not in (b"", b"NHWC"):
        return []
    channels, (height, width, group, count) = images[-1], filters.as_list()
    if channels in (None, 1) or group != 1:
        return []
    shape = constant(f"{node.name}/depthwise_shape", np.array([height, width, channels, count // channels], np.int32))
    filters_there = tf.compat.v1.NodeDef(name=f"{node.name}/depthwise_filters", op="Reshape")
    filters_there.input.extend([node.input[1], f"{shape.name}:0"])
    filters_there.attr["T"].CopyFrom(node.attr["T"])
    filters_there.attr["Tshape"].type = tf.int32.as_datatype_enum
    node.op = "DepthwiseConv2dNative"
    node.input[1] = f"{filters_there.name}:0"
    node.attr.pop("use_cudnn_on_gpu", None)
    return [shape, filters_there]


def _one_minus_erf(node: Any) -> list[Any]:
    """Make an ``Erfc`` the difference of one and what is returned."""
    dtype = node.attr["T"].type
    one = constant(f"{node.name}/one", np.ones((), tf.as_dtype(dtype).as_numpy_dtype))
    erf = tf.compat.v1.NodeDef(name=f"{node.name}/erf", op="Erf")
    erf.input.append(node.input[0])
    erf.attr["T"].type = dtype
    node.op = "Sub"
    del node.input[:]
    node.input.extend([f"{one.name}:0", f"{erf.name}:0"])
    return [one, erf]


def constant(name: str, value: np.ndarray) -> Any:
    """The node of a constant."""
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    return node


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"
