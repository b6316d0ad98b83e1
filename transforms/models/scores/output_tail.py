"""What the last operations of a model say of its output: read from the traced graph, back to the last weights.

An output that follows from weights by additions and products alone has no bounds: it may be logits, an embedding or a
number such as an age. One behind a softmax or a sigmoid is made of probabilities, whatever was done to it since: it was
clipped, averaged with another, scaled, computed by plain operations.
"""

from __future__ import annotations

import dataclasses

import tensorflow as tf

SOFTMAX, SIGMOID, LOG_SOFTMAX = "softmax", "sigmoid", "log_softmax"

_ACTIVATIONS = {"Softmax": SOFTMAX, "Sigmoid": SIGMOID, "LogSoftmax": LOG_SOFTMAX}

_PASS_THROUGH = {"Identity", "IdentityN", "Reshape", "Squeeze", "Cast", "StopGradient", "ExpandDims", "PreventGradient",
                 "EnsureShape", "Snapshot", "CheckNumerics"}  # fmt: skip
"""Change no value."""

_WEIGHTED = {"BatchMatMul", "BatchMatMulV2", "BatchMatMulV3", "Conv1D", "Conv2D", "Conv2DBackpropInput", "Conv3D",
             "DepthwiseConv2dNative", "Einsum", "MatMul", "Tensordot"}  # fmt: skip
"""Sums of products: what comes out has no bounds."""

_AFFINE = {"Add", "AddN", "AddV2", "AvgPool", "BiasAdd", "ConcatV2", "FusedBatchNormV3", "Mean", "Mul", "Neg", "Pack",
           "Pad", "PadV2", "RealDiv", "ResizeBilinear", "ResizeNearestNeighbor", "Select", "SelectV2", "Slice", "Split",
           "SplitV", "StridedSlice", "Sub", "Sum", "Transpose", "Unpack"}  # fmt: skip
"""Keep an output without bounds so, where only one input depends on the images, or all are added."""

_CLIPS = {"ClipByValue", "Maximum", "Minimum"}

_SORTS = {"ArgMax", "ArgMin", "TopK", "TopKV2"}

_CALLS = {"PartitionedCall", "StatefulPartitionedCall", "XlaCallModule"}
"""Functions that the graph does not show the inside of."""


@dataclasses.dataclass(frozen=True)
class Tail:
    """The operations between a model's last weights and its output.

    Attributes:
        behind: the softmax or sigmoid that the output was computed from, ``softmax``, ``sigmoid`` or ``log_softmax``;
            None without one, ``softmax`` where there are several.
        changes: kinds of the operations that change values, in the order of computation, without the softmax.
        linear: whether only sums and products lead from the last weights to the output.
        sorts: whether something on the way puts the numbers of an image into another order, by their size.
        bounded: whether something on the way keeps values in [0, 1]: such an activation, a clip, exponentials and a
            division; or may, being a function that cannot be looked into.
    """

    behind: str | None
    changes: tuple[str, ...]
    linear: bool
    sorts: bool
    bounded: bool


def tail(output: tf.Tensor) -> Tail:
    """What leads to a model's output."""
    seen: set[tf.Operation] = set()
    behind, pending = set[str](), [output.op]
    while pending:
        op = pending.pop()
        if op in seen:
            continue
        if op.type in _ACTIVATIONS:
            behind.add(_ACTIVATIONS[op.type])
            continue
        if op.type in _WEIGHTED or not op.inputs:
            continue
        seen.add(op)
        if op.type not in _CALLS:
            pending.extend(i.op for i in op.inputs if i.dtype.is_floating and not _is_constant(i))
    changes = [op for op in output.graph.get_operations() if op in seen and op.type not in _PASS_THROUGH]
    return Tail(
        behind=SOFTMAX if SOFTMAX in behind else next(iter(behind), None),
        changes=tuple(dict.fromkeys(op.type for op in changes)),
        linear=not behind and all(map(_is_affine, changes)),
        sorts=any(op.type in _SORTS for op in changes),
        bounded=bool(behind) or _is_bounded(changes),
    )


def before_activation(output: tf.Tensor, units: int) -> tuple[tf.Tensor, str | None]:
    """The tensor that goes into a final softmax or sigmoid, and which it was; the output itself if there is none.

    What only changes the shape or the type may stand after it. A softmax counts if it is over all units.

    Args:
        output: ``(B, ...)``.
        units: that a softmax is to be over.
    """
    tensor = output
    while tensor.op.type in _PASS_THROUGH and tensor.op.inputs[0].dtype.is_floating:
        tensor = tensor.op.inputs[0]
    kind = _ACTIVATIONS.get(tensor.op.type) if output.dtype.is_floating else None
    if kind is None or (kind != SIGMOID and tensor.shape[-1] != units):
        return output, None
    return tensor.op.inputs[0], kind


def _is_affine(op: tf.Operation) -> bool:
    if op.type == "Mul":
        return any(map(_is_constant, op.inputs))
    if op.type == "RealDiv":
        return _is_constant(op.inputs[1])
    return op.type in _AFFINE


def _is_bounded(changes: list[tf.Operation]) -> bool:
    kinds = {op.type for op in changes}
    if kinds & _CALLS or ("Exp" in kinds and kinds & {"RealDiv", "Reciprocal", "Inv"}):
        return True
    if "Relu6" in kinds and kinds & {"Mul", "RealDiv"} and "Mean" not in kinds:  # hard sigmoid: relu6(x + 3) / 6
        return True
    limits = [tf.get_static_value(i) for op in changes if op.type in _CLIPS for i in op.inputs[1:]]
    known = [limit for limit in limits if limit is not None]
    return len(known) > 1 and all(((limit >= 0) & (limit <= 1)).all() for limit in known)


def _is_constant(tensor: tf.Tensor) -> bool:
    """Whether a tensor follows from constants and weights alone."""
    pending, seen = [tensor.op], set[tf.Operation]()
    while pending:
        op = pending.pop()
        if op in seen or op.type == "ReadVariableOp":
            continue
        if op.type == "Placeholder":
            return False
        seen.add(op)
        pending.extend(i.op for i in op.inputs)
    return True
