"""Flat graphs of saved functions that take more than they declare: batches of any size, floats in place of integers."""

from __future__ import annotations

import dataclasses

import tensorflow as tf

from heatbeam.transforms.models.graphs import flat_functions

_TYPE_KEPT = {
    "ExpandDims",
    "Identity",
    "MirrorPad",
    "Pad",
    "PadV2",
    "Reshape",
    "ReverseV2",
    "Slice",
    "Squeeze",
    "StridedSlice",
    "Transpose",
}
"""What they give has the type of their first input."""

_TYPE_READ = {"ResizeArea", "ResizeBicubic", "ResizeBilinear", "Shape"}
"""What they give has a type of its own, whatever the type of their first input."""


def with_floats(function: flat_functions.FlatFunction, given: str) -> flat_functions.FlatFunction | None:
    """The same function of floats, where it takes integers: their casts, which end gradients, fall away.

    Args:
        function: that takes integers.
        given: name of the input tensor that is to be floats.

    Returns:
        None where it computes with integers before it casts them.
    """
    definition = tf.compat.v1.GraphDef()
    definition.CopyFrom(function.definition)
    floats = {given}
    changed = True
    while changed:
        changed = False
        for node in definition.node:
            read = [flat_functions.tensor_name(name) in floats for name in node.input]
            if not any(read) or f"{node.name}:0" in floats:
                continue
            if node.op in _TYPE_KEPT and read[0] and not any(read[1:]):
                node.attr["T"].type = tf.float32.as_datatype_enum
                floats.add(f"{node.name}:0")
                changed = True
    for node in definition.node:
        read = [flat_functions.tensor_name(name) in floats for name in node.input]
        if not any(read) or f"{node.name}:0" in floats:
            continue
        if node.op == "Cast" and tf.as_dtype(node.attr["DstT"].type).is_floating:
            node.attr["SrcT"].type = tf.float32.as_datatype_enum
        elif node.op in _TYPE_READ and not any(read[1:]):
            node.attr["T"].type = tf.float32.as_datatype_enum
        else:
            return None
    returned = {flat_functions.tensor_name(name) for name in tf.nest.flatten(function.outputs)}
    return None if floats & returned else dataclasses.replace(function, definition=definition)


def with_any_batch(function: flat_functions.FlatFunction, given: str, batch: int) -> flat_functions.FlatFunction:
    """The same function for any number of images, as far as only shapes of Reshape hold the number.

    Args:
        function: for batches of one size.
        given: name of the input tensor of images.
        batch: that size.
    """
    definition = tf.compat.v1.GraphDef()
    definition.CopyFrom(function.definition)
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
        added = []
        for node in definition.node:
            if node.op == "Placeholder" and f"{node.name}:0" == given:
                node.attr["shape"].shape.dim[0].size = -1
            if node.op != "Reshape":
                continue
            op = graph.get_operation_by_name(node.name)
            shape = op.outputs[0].shape
            known = tf.get_static_value(op.inputs[1]) is not None and shape.is_fully_defined() and shape.rank
            if not known or shape[0] % batch:
                continue
            free = tf.constant([-1, *shape[1:]], tf.int32, name=f"{node.name}/any_batch")
            node.attr["Tshape"].type = tf.int32.as_datatype_enum
            node.input[1] = free.op.name
            added.append(free.op.node_def)
    nodes = [*added, *definition.node]
    del definition.node[:]
    definition.node.extend(nodes)
    return dataclasses.replace(function, definition=definition)
