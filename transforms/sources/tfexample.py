"""The messages ``tf.train.Example`` and ``tf.train.SequenceExample``, without TensorFlow.

The message classes are built in a descriptor pool of their own, so they never clash with TensorFlow's, and reading
records needs neither its import (seconds) nor its memory. A ``SequenceExample`` is an ``Example``, its context, with
one more field, its feature lists: one message reads both, and the bytes say which they are.

Format: tensorflow/core/example/{example,feature}.proto
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message, message_factory

from heatbeam.transforms import records
from heatbeam.transforms.sources import feature_map

_LISTS = (
    ("BytesList", descriptor_pb2.FieldDescriptorProto.TYPE_BYTES),
    ("FloatList", descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT),
    ("Int64List", descriptor_pb2.FieldDescriptorProto.TYPE_INT64),
)
_KINDS = (("bytes_list", "BytesList"), ("float_list", "FloatList"), ("int64_list", "Int64List"))
_LISTS_SHOWN = 8


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """A feature list of a ``tf.train.SequenceExample``: one feature for each step.

    Attributes:
        features: of the steps, in their order.
    """

    features: Sequence[Any]

    @property
    def kind(self) -> str:
        """As of a feature; ``mixed`` where the steps hold several."""
        kinds = {kind(step) for step in self.features} - {"empty"}
        return kinds.pop() if len(kinds) == 1 else "mixed" if kinds else "empty"

    @functools.cached_property
    def values(self) -> Sequence[Any]:
        """Of all steps, one after the other."""
        return list(itertools.chain.from_iterable(map(values, self.features)))

    @property
    def lengths(self) -> tuple[int, ...]:
        """How many values each step has."""
        return tuple(len(values(step)) for step in self.features)


@dataclasses.dataclass(frozen=True, eq=False)
class SequenceFeatures(Mapping[str, Any]):
    """Context and feature lists of a ``tf.train.SequenceExample``, by name; two of one name are an error when read.

    Attributes:
        context: features, by name.
        lists: ``FeatureList`` messages, by name.
        has_lists: whether the record has that field, be it empty; else it is an example.
    """

    context: Mapping[str, Any]
    lists: Mapping[str, Any]
    has_lists: bool

    def __getitem__(self, name: str) -> Any:
        if name not in self.lists:
            return self.context[name]
        if name in self.context:
            raise records.DataError(
                "ambiguous_feature", f"{name} is a feature of the context and a feature list; expected one of the two"
            )
        return Steps(self.lists[name].feature)

    def __contains__(self, name: object) -> bool:
        return name in self.context or name in self.lists

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys((*self.context, *self.lists)))

    def __len__(self) -> int:
        return len(tuple(iter(self)))


def parse(serialized: bytes, record: feature_map.Record = "example") -> Mapping[str, Any]:
    """The features of a serialized record, by name; of a sequence those of its context and its feature lists.

    Each value is a ``Feature`` message, or the `Steps` of a feature list; `kind` and `values` read both.

    Args:
        serialized: the record.
        record: what it should be. A sequence without feature lists is an example, and read as one.

    Raises:
        DataError: ``invalid_record`` if `serialized` is no such message, ``wrong_record`` if it is a sequence and an
            example is expected; when a name is looked up, ``ambiguous_feature``.
    """
    if record == "sequence_example":
        return parse_sequence(serialized)
    example = _message(serialized)
    if example.HasField("feature_lists"):
        lists = example.feature_lists.feature_list
        names = ", ".join(sorted(lists)[:_LISTS_SHOWN]) + (", ..." if len(lists) > _LISTS_SHOWN else "")
        raise records.DataError(
            "wrong_record",
            f"the record is a tf.train.SequenceExample with the feature lists {names or '(none)'}; set input.record: "
            "sequence_example",
        )
    return example.features.feature  # type: ignore[no-any-return]


def parse_sequence(serialized: bytes) -> SequenceFeatures:
    """As `parse` of a ``tf.train.SequenceExample``; what it gives says whether the record is one.

    Raises:
        DataError: as `parse`, but for ``wrong_record``.
    """
    sequence = _message(serialized)
    lists = sequence.feature_lists.feature_list
    return SequenceFeatures(sequence.features.feature, lists, sequence.HasField("feature_lists"))


def _message(serialized: bytes) -> Any:
    try:
        return _EXAMPLE.FromString(serialized)
    except message.DecodeError as error:
        raise records.DataError(
            "invalid_record", f"the {len(serialized)} bytes of this record are no tf.train.Example: {error}"
        ) from error


def kind(feature: Any) -> str:
    """``bytes``, ``float``, ``int64``, or ``empty`` for a feature without a list."""
    if isinstance(feature, Steps):
        return feature.kind
    return (feature.WhichOneof("kind") or "empty_list")[: -len("_list")]


def values(feature: Any) -> Sequence[Any]:
    """The values of a feature: bytes, floats or ints; none for an empty one."""
    if isinstance(feature, Steps):
        return feature.values
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
    _add_field(file.message_type.add(name="FeatureList"), "feature", 1, field.TYPE_MESSAGE, True, "Feature")
    lists = file.message_type.add(name="FeatureLists")
    entry = lists.nested_type.add(name="FeatureListEntry")
    entry.options.map_entry = True
    _add_field(entry, "key", 1, field.TYPE_STRING)
    _add_field(entry, "value", 2, field.TYPE_MESSAGE, type_name="FeatureList")
    _add_field(lists, "feature_list", 1, field.TYPE_MESSAGE, True, "FeatureLists.FeatureListEntry")
    _add_field(example, "feature_lists", 2, field.TYPE_MESSAGE, type_name="FeatureLists")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("tensorflow.Example"))


_EXAMPLE = _example_class()
