"""A part of a traced graph by itself: what it computes from the inputs, with the weights of now.

Kernels and matrices stand beside its graph, and as placeholders in it: whoever works on the graph copies it dozens of
times.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.backends import rewrites
from heatbeam.transforms.models.files import load_failures
from heatbeam.transforms.models.graphs import flat_functions, grouped_convolutions, traced_graph

_READS = "ReadVariableOp"
_NUMBERS = (tf.float32, tf.int32, tf.int64, tf.bool)
_LARGE = 2**16  # numbers of a weight that stands beside the graph; what a batch normalization has is in it


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """A graph without calls and variables.

    Attributes:
        definition: the graph as a message.
        weights: the large ones, by the names of the graph's tensors that stand for them.
        inputs: names of its tensors, one for each that is given; the graph does not have those that it does not need.
        outputs: names of its tensors; those that were asked for twice are named twice.
    """

    definition: Any
    weights: Mapping[str, np.ndarray]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @property
    def size(self) -> int:
        """Bytes, weights included."""
        graph: int = self.definition.ByteSize()
        return graph + sum(weight.nbytes for weight in self.weights.values())


def part(graph: traced_graph.TracedGraph, fed: Sequence[tf.Tensor], wanted: Sequence[tf.Tensor]) -> Part:
    """What computes some tensors of a traced graph.

    Args:
        graph: the traced graph.
        fed: its tensors that are inputs besides the images.
        wanted: the tensors, of the traced graph.

    Raises:
        load_failures.ModelError: it computes with more than numbers and weights.
    """
    places = (graph.inputs, *fed)
    odd = next((tensor for tensor in (*places, *wanted) if tensor.dtype not in _NUMBERS), None)
    if odd is not None:
        raise load_failures.ModelError(f"{odd.name} is {odd.dtype.name}, and other engines take float32 and integers")

    def compute(*given: tf.Tensor) -> list[tf.Tensor]:
        run = graph.run(given[0], constant_weights=False)
        for place, rows in zip(fed, given[1:], strict=True):
            run.put(place, rows)
        return [tf.identity(run.get(tensor)) for tensor in wanted]

    signature = [tf.TensorSpec(place.shape, place.dtype) for place in places]
    function = tf.function(compute, autograph=False, input_signature=signature).get_concrete_function()
    flat = flat_functions.flattened(function)
    definition, weights = _frozen(flat)
    return Part(
        definition=rewrites.rewritten(definition, _shapes(definition)),
        weights=weights,
        inputs=flat.inputs,
        outputs=tuple(tf.nest.flatten(flat.outputs)),
    )


def _frozen(flat: flat_functions.FlatFunction) -> tuple[Any, dict[str, np.ndarray]]:
    """The graph with what it holds from outside, weights above all, as constants of now; and those beside it."""
    made = tf.compat.v1.GraphDef(versions=flat.definition.versions)
    weights: dict[str, np.ndarray] = {}
    places: dict[str, str] = {}  # of variables whose weights are beside the graph: the tensor that stands for each
    for original in flat.definition.node:
        name = f"{original.name}:0"
        held = flat.captures.get(name)
        variable = flat_functions.tensor_name(original.input[0]) if original.op == _READS else ""
        if held is not None and held.dtype == tf.resource:
            continue
        if variable in places:  # a layer that is called again
            made.node.append(_identity(original.name, places[variable], original.attr["dtype"]))
            continue
        array = _constant(original, held, flat.captures.get(variable))
        if array is not None and array.dtype == np.float32 and array.ndim > 1 and array.size >= _LARGE:
            weights[name] = array
            if variable:
                places[variable] = name
            made.node.append(_placeholder(original.name, array))
        elif array is None or original.op == "Const":
            made.node.append(original)
        else:
            made.node.append(grouped_convolutions.constant(original.name, array))
    given = {f"{node.name}:0" for node in made.node}
    left = {name for name in flat.captures if name not in given}
    reading = {node.op for node in made.node if left & {flat_functions.tensor_name(source) for source in node.input}}
    if reading:
        raise load_failures.ModelError(f"{', '.join(sorted(reading))} read a table or a variable that is no constant")
    calling = {node.op for node in made.node if any(_is_function(value) for value in node.attr.values())}
    if calling:
        raise load_failures.ModelError(f"{', '.join(sorted(calling))} call functions, which stay in TensorFlow")
    return made, weights


def _constant(node: Any, held: tf.Tensor | None, read: tf.Tensor | None) -> np.ndarray | None:
    """The value of a node that does not change: of what the graph holds, or reads, or has itself; else None."""
    if read is not None:
        held = tf.raw_ops.ReadVariableOp(resource=read, dtype=node.attr["dtype"].type)
    if held is not None:
        value: np.ndarray = held.numpy()
        return value
    return tf.make_ndarray(node.attr["value"].tensor) if node.op == "Const" else None


def _placeholder(name: str, value: np.ndarray) -> Any:
    """The node of an input that stands for a weight."""
    node = tf.compat.v1.NodeDef(name=name, op="Placeholder")
    node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
    node.attr["shape"].shape.CopyFrom(tf.TensorShape(value.shape).as_proto())
    return node


def _identity(name: str, tensor: str, dtype: Any) -> Any:
    """The node that gives a tensor, of the graph, another name."""
    node = tf.compat.v1.NodeDef(name=name, op="Identity", input=[tensor])
    node.attr["T"].CopyFrom(dtype)
    return node


def _is_function(value: Any) -> bool:
    """Whether an attribute of an operation is a function, or several: the body of a loop, or branches."""
    return value.HasField("func") or bool(value.list.func)


def _shapes(definition: Any) -> dict[str, tf.TensorShape]:
    """The shapes of a graph's tensors, by name."""
    with tf.Graph().as_default() as graph:
        tf.graph_util.import_graph_def(definition, name="")
    return {output.name: output.shape for operation in graph.get_operations() for output in operation.outputs}
