"""Whether what follows a layer is an affine function of its output, read from the operations of a traced model."""

from __future__ import annotations

from collections.abc import Collection

import tensorflow as tf

_ANY = {"Add", "AddN", "AddV2", "ConcatV2", "Identity", "Neg", "Pack", "Sub"}
"""Affine in all their inputs together."""

_FIRST = {
    "AvgPool",
    "BiasAdd",
    "Conv2D",
    "DepthwiseConv2dNative",
    "ExpandDims",
    "FusedBatchNormV3",
    "Mean",
    "Pad",
    "RealDiv",
    "Reshape",
    "Slice",
    "Squeeze",
    "StridedSlice",
    "Sum",
    "Transpose",
}
"""Affine in their first input, if the others do not depend on the layer."""

_ONE = {"BatchMatMulV2", "MatMul", "Mul"}
"""Affine in one input, if the other does not depend on the layer."""

_VALUELESS = {"Rank", "Shape", "ShapeN", "Size"}
"""What they give does not depend on values."""


def is_affine(source: tf.Tensor, target: tf.Tensor, needed: Collection[tf.Operation]) -> bool:
    """Whether `target` is an affine function of `source`, everything else in the graph being held.

    True is certain: every operation from one to the other is known to be affine. False may only mean that one is not
    known. Half precision is never affine: it rounds on the way.

    Args:
        source: a tensor of a graph.
        target: a tensor of the same graph.
        needed: the operations that `target` is computed from (`bottlenecks.ancestors`).
    """
    if source.dtype != tf.float32:
        return False
    operations = source.graph.get_operations()
    dependent = {source.ref()}
    for op in operations[operations.index(source.op) + 1 :]:
        places = [place for place, tensor in enumerate(op.inputs) if tensor.ref() in dependent]
        if not places or op not in needed or op.type in _VALUELESS:
            continue
        if not _is_affine_in(op, places):
            return False
        dependent.update(output.ref() for output in op.outputs)
    return target.ref() in dependent


def _is_affine_in(op: tf.Operation, places: list[int]) -> bool:
    if op.type in _ANY:
        return True
    if op.type in _ONE:
        return len(places) == 1
    if op.type == "FusedBatchNormV3" and op.get_attr("is_training"):
        return False
    return op.type in _FIRST and places == [0]
