"""The ``tf.train.Example`` message, without TensorFlow.

The message classes are built in a descriptor pool of their own, so they never clash with TensorFlow's, and reading
records needs neither its import (seconds) nor its memory.

Format: tensorflow/core/example/{example,feature}.proto
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from heatbeam.transforms import records

_LISTS = (
    ("BytesList", descriptor_pb2.FieldDescriptorProto.TYPE_BYTES),
    ("FloatList", descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT),
    ("Int64List", descriptor_pb2.FieldDescriptorProto.TYPE_INT64),
)
_KINDS = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))


def parse(serialized: bytes) -> Mapping[str, Any]:
    """The features of a serialized ``tf.train.Example``, by name.

    Each value is a ``Feature`` message; `kind` and `values` read it.

    Raises:
        DataError: ``invalid_record`` if `serialized` is no such message.
    """
    try:
        return _EXAMPLE.FromString(serialized).features.feature  # type: ignore[no-any-return]
    except message.DecodeError as error:
        raise records.DataError(
            "invalid_record", f"the {len(serialized)} bytes of this record are no tf.train.Example: {error}"
        ) from error


def kind(feature: Any) -> str:
    """``bytes``, ``float``, ``int64``, or ``empty`` for a feature without a list."""
    return (feature.WhichOneof("kind") or "empty_list")[: -len("_list")]


def values(feature: Any) -> Sequence[Any]:
    """The values of a feature: bytes, floats or ints; none for an empty one."""
    name = feature.WhichOneof("kind")
    return () if name is None else getattr(feature, name).value


def serialize(features: Mapping[str, Sequence[bytes] | Sequence[float] | Sequence[int]]) -> bytes:
    """A serialized ``tf.train.Example``; the Python type of a feature's first value chooses its list.

    A feature of no values is stored without a list, which readers take for an empty list of any type.
    """
    example = _EXAMPLE()
    for name, items in features.items():
        feature = example.features.feature[name]
        if not items:
            feature.SetInParent()
        elif isinstance(items[0], bytes):
            feature.bytes_list.value.extend(items)
        elif isinstance(items[0], float):
            feature.float_list.value.extend(items)
        else:
            feature.int64_list.value.extend(items)
    return example.SerializeToString(deterministic=True)  # type: ignore[no-any-return]


def _add_field(owner: Any, name: str, number: int, field_type: int, repeated: bool = False, type_name: str = "") -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    full_name = f".tensorflow.{type_name}" if type_name else None
    return owner.field.add(name=name, number=number, type=field_type, label=label, type_name=full_name)


def _example_class() -> Any:
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(name="heatbeam/example.proto", package="tensorflow", syntax="proto3")
    for name, value_type in _LISTS:
        _add_field(file.message_type.add(name=name), "value", 1, value_type, repeated=True)
    feature = file.message_type.add(name="Feature")
    feature.oneof_decl.add(name="kind")
    for number, (name, type_name) in enumerate(_KINDS, start=1):
        _add_field(feature, name, number, field.TYPE_MESSAGE, type_name=type_name).oneof_index = 0
    features = file.message_type.add(name="Features")
    entry = features.nested_type.add(name="FeatureEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, field.TYPE_STRING)
    _add_field(entry, "value", 2, field.TYPE_MESSAGE, type_name="Feature")
    _add_field(features, "feature", 1, field.TYPE_MESSAGE, repeated=True, type_name="Features.FeatureEntry")
    example = file.message_type.add(name="Example")
    _add_field(example, "features", 1, field.TYPE_MESSAGE, type_name="Features")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_EXAMPLE = _example_class()
