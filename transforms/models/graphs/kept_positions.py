"""Tensors whose cells lie as in the image by construction: convolutions and pooling, and arithmetic cell by cell.

What a network does to the order of cells can't be seen from outside where each cell sees the whole image, as in a deep
untrained one. Where only operations that keep the order were used, it is known.
"""

from __future__ import annotations

import tensorflow as tf

_OF_SERIES = 3
"""Axes of a batch of series: images, steps, channels."""

_WINDOWS = {
    "AvgPool",
    "AvgPool3D",
    "Conv2D",
    "Conv3D",
    "DepthwiseConv2dNative",
    "FusedBatchNormV3",
    "MaxPool",
    "MaxPool3D",
}
"""Keep the order of cells in their first input, if its channels are last."""

_FIRST = {
    "BiasAdd",
    "MirrorPad",
    "Pad",
    "PadV2",
    "ResizeArea",
    "ResizeBicubic",
    "ResizeBilinear",
    "ResizeNearestNeighbor",
    "Slice",
}
"""Keep the order of cells in their first input."""

_CELLWISE = {
    "Abs",
    "Add",
    "AddN",
    "AddV2",
    "Cast",
    "ClipByValue",
    "Elu",
    "Erf",
    "Exp",
    "Identity",
    "IdentityN",
    "LeakyRelu",
    "Maximum",
    "Minimum",
    "Mul",
    "Neg",
    "Pow",
    "RealDiv",
    "Relu",
    "Relu6",
    "Rsqrt",
    "Selu",
    "Sigmoid",
    "Softplus",
    "Sqrt",
    "Square",
    "SquaredDifference",
    "StopGradient",
    "Sub",
    "Tanh",
}
"""Work on each cell alone; an input with one row and one column (a gate, a constant) is the same for all cells."""


def kept(images: tf.Tensor, tensor: tf.Tensor) -> bool:
    """Whether the positions of a tensor are in the order of those of the images. True is certain.

    Args:
        images: ``(B, *positions, C)``.
        tensor: of the same graph.
    """
    found, rank = {images.ref()}, images.shape.rank
    ranks = {rank, rank + 1} if rank == _OF_SERIES else {rank}
    for op in images.graph.get_operations():
        if op.outputs and _keeps(op, [i.ref() in found for i in op.inputs], ranks):
            found.add(op.outputs[0].ref())
        if op is tensor.op:
            break
    return tensor.ref() in found


def _keeps(op: tf.Operation, known: list[bool], ranks: set[int]) -> bool:
    rank = op.outputs[0].shape.rank
    if not any(known) or rank not in ranks:
        return False
    if op.type in ("ExpandDims", "Squeeze"):  # TensorFlow's own way with series: images of one row
        return known[0] and _axes_within(op)
    if op.type in _WINDOWS:
        return known[0] and op.get_attr("data_format") in (b"NHWC", b"NDHWC")
    if op.type in _FIRST:
        return known[0]
    if op.type == "StridedSlice":  # backwards it mirrors
        strides = tf.get_static_value(op.inputs[3])
        return known[0] and strides is not None and bool((strides > 0).all())
    if op.type == "ConcatV2":
        axis = tf.get_static_value(op.inputs[-1])
        return all(known[:-1]) and axis is not None and int(axis) in (rank - 1, -1)
    return op.type in _CELLWISE and all(
        ordered or _same_for_all(given, rank) for ordered, given in zip(known, op.inputs, strict=True)
    )


def _axes_within(op: tf.Operation) -> bool:
    """Whether axes of one position come or go between those of images and of channels."""
    if op.type == "ExpandDims":
        axis, rank = tf.get_static_value(op.inputs[1]), op.outputs[0].shape.rank
        return axis is not None and 0 < int(axis) % rank < rank - 1
    last = op.inputs[0].shape.rank - 1
    axes = [axis % (last + 1) for axis in op.get_attr("squeeze_dims")]
    return bool(axes) and 0 not in axes and last not in axes


def _same_for_all(tensor: tf.Tensor, rank: int) -> bool:
    shape = tensor.shape
    return shape.rank is not None and all(size == 1 for size in shape[1 - rank : -1])
