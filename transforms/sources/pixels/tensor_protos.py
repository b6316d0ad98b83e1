"""``tf.io.serialize_tensor`` backwards, without TensorFlow.

Format: tensorflow/core/framework/{tensor,tensor_shape,types}.proto. Numbers are in ``tensor_content`` there, in the
order of the array and little-endian.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

_DTYPES = {
    1: "<f4", 2: "<f8", 3: "<i4", 4: "u1", 5: "<i2", 6: "i1", 9: "<i8", 10: "?", 17: "<u2", 19: "<f2", 22: "<u4",
    23: "<u8",
}  # fmt: skip
"""NumPy's names of the types that are read, by number in ``types.proto``."""


def decode(data: bytes) -> np.ndarray | None:
    """The numbers of a serialized tensor, read-only; None for bytes that are none.

    >>> decode(bytes([8, 4, 18, 4, 18, 2, 8, 3, 34, 3, 7, 8, 9])).tolist()  # uint8 of shape (3,)
    [7, 8, 9]
    """
    try:
        tensor = _TENSOR.FromString(data)
    except message.DecodeError:
        return None
    dtype = _DTYPES.get(tensor.dtype)
    shape = tuple(dimension.size for dimension in tensor.tensor_shape.dim)
    if dtype is None or min(shape, default=1) < 1:
        return None
    if len(tensor.tensor_content) != math.prod(shape) * np.dtype(dtype).itemsize:
        return None
    return np.frombuffer(tensor.tensor_content, dtype).reshape(shape)


def _message_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="heatbeam_tensor.proto", package="heatbeam.tensor", syntax="proto3")
    dimension = file.message_type.add(name="Dim")
    dimension.field.add(name="size", number=1, type=field.TYPE_INT64, label=field.LABEL_OPTIONAL)
    shape = file.message_type.add(name="Shape")
    shape.field.add(
        name="dim", number=2, type=field.TYPE_MESSAGE, label=field.LABEL_REPEATED, type_name=".heatbeam.tensor.Dim"
    )
    tensor = file.message_type.add(name="Tensor")
    tensor.field.add(name="dtype", number=1, type=field.TYPE_INT32, label=field.LABEL_OPTIONAL)
    tensor.field.add(
        name="tensor_shape", number=2, type=field.TYPE_MESSAGE, label=field.LABEL_OPTIONAL,
        type_name=".heatbeam.tensor.Shape",
    )  # fmt: skip
    tensor.field.add(name="tensor_content", number=4, type=field.TYPE_BYTES, label=field.LABEL_OPTIONAL)
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("heatbeam.tensor.Tensor"))


_TENSOR = _message_class()
