"""The graph of a saved function, with the functions that it calls put in place of the calls.

A SavedModel keeps its network as functions that call one another. Seen from outside each call is one operation; what is
explained lies inside. In the flat graph every operation of the network stands for itself, as in a graph that Keras
traces, and gradients run through all of it.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import tensorflow as tf
from tensorflow.python.framework import function_def_to_graph, ops

CALLS = ("PartitionedCall", "StatefulPartitionedCall")
"""The operations that call a function."""

_CALL_NAME = re.compile(r"(Stateful)?PartitionedCall(_\d+)?")
_RETURNED = re.compile(r"Identity(_\d+)?")  # what functions put at their ends
_READS = "ReadVariableOp"

_IMPORTED = "saved_function"


@dataclasses.dataclass(frozen=True, eq=False)
class Placed:
    """A flat graph that was put into another.

    Attributes:
        operations: there, by their names in the flat graph.
        reads: names of the variables that are read, by the name of the operation that reads each.
        inputs, outputs: what it was given and returned.
    """

    operations: Mapping[str, tf.Operation]
    reads: Mapping[str, str]
    inputs: Sequence[tf.Tensor]
    outputs: Sequence[tf.Tensor]


Watcher = Callable[[Placed], None]

_WATCHER: contextvars.ContextVar[Watcher | None] = contextvars.ContextVar("watcher", default=None)


@contextlib.contextmanager
def watched(watcher: Watcher) -> Iterator[None]:
    """Tell `watcher` of every flat graph that this thread puts into another while the context is open."""
    token = _WATCHER.set(watcher)
    try:
        yield
    finally:
        _WATCHER.reset(token)


@dataclasses.dataclass(frozen=True, eq=False)
class FlatFunction:
    """A function of tensors, as one graph without calls.

    Attributes:
        definition: the graph.
        inputs: names of the tensors that it is given.
        input_signature: what it takes, as the function said: arguments by position and by name.
        outputs: the structure that it returns, of names of tensors.
        captures: what it holds from outside, by the name of the tensor that stands for it.
        variables: those among `captures`, as loaded.
        reads: names of variables, by the name of each operation that reads one.
        drops_gradients: whether operations had gradients of their own, in place of which those of the operations that
            they are made of are taken. For ``swish`` and its like they are the same up to rounding.
    """

    definition: tf.compat.v1.GraphDef
    inputs: tuple[str, ...]
    input_signature: Any
    outputs: Any
    captures: Mapping[str, tf.Tensor]
    variables: Mapping[str, tf.Variable]
    reads: Mapping[str, str]
    drops_gradients: bool

    def without_variables(self) -> FlatFunction:
        """The same function, that does not keep the loaded variables; it has to be called with others."""
        others = {name: held for name, held in self.captures.items() if name not in self.variables}
        return dataclasses.replace(self, captures=others, variables={})

    def __call__(self, inputs: Sequence[tf.Tensor], variables: Mapping[str, Any]) -> Any:
        """What it returns for `inputs`, in the graph that is being traced.

        Args:
            inputs: in the order of `self.inputs`.
            variables: what to read in place of the loaded variables, by the name of the tensor that stands for each.
        """
        given = dict(zip(self.inputs, inputs, strict=True))
        graph = tf.compat.v1.get_default_graph()
        readers: dict[str, list[str]] = {}
        for node in self.definition.node:
            for name in map(tensor_name, node.input):
                if name in variables or name in self.captures:
                    readers.setdefault(name, []).append(node.name if node.op == _READS else "")
        for name, nodes in readers.items():
            if name in variables:
                value = tf.convert_to_tensor(variables[name])
                given |= {f"{node}:0": value for node in nodes if node}
            if "" in nodes:
                held = _handle(variables[name]) if name in variables else self.captures[name]
                given[name] = graph.capture(held) if hasattr(graph, "capture") else held
        return self._imported(given, inputs)

    def _imported(self, given: dict[str, tf.Tensor], inputs: Sequence[tf.Tensor]) -> Any:
        left_out = {name.partition(":")[0] for name in given}
        part = tf.compat.v1.GraphDef(versions=self.definition.versions, library=self.definition.library)
        part.node.extend(n for n in self.definition.node if n.name not in left_out and n.op != "Placeholder")
        used = {tensor_name(name) for node in part.node for name in node.input}
        operations = tf.graph_util.import_graph_def(
            part,
            input_map={name: value for name, value in given.items() if name in used},
            return_elements=[node.name for node in part.node],
            name=_IMPORTED,
        )
        by_name = {node.name: operation for node, operation in zip(part.node, operations, strict=True)}

        def found(name: str) -> tf.Tensor:
            node, _, place = name.partition(":")
            return given[name] if name in given else by_name[node].outputs[int(place)]

        outputs = tf.nest.map_structure(found, self.outputs)
        watcher = _WATCHER.get()
        if watcher is not None:
            watcher(Placed(by_name, self.reads, inputs, tf.nest.flatten(outputs)))
        return outputs


def flattened(function: tf.types.experimental.ConcreteFunction) -> FlatFunction:
    """The flat graph of a loaded function."""
    graph = function.graph
    with graph.as_default():
        definition = graph.as_graph_def()
        flat = _Flattening({f.signature.name: f for f in definition.library.function})
        flat.add(definition.node, {node.name: flat.free(node.name) for node in definition.node}, {})
    held = [tensor.name for tensor in function.inputs[len(function.inputs) - len(function.captured_inputs) :]]
    captures = dict(zip(held, function.captured_inputs, strict=True))
    handles = {id(variable.handle): variable for variable in graph.variables}
    variables = {name: handles[id(given)] for name, given in captures.items() if id(given) in handles}
    flat_definition = flat.definition(definition, [tensor.name for tensor in function.outputs])
    reading = {node.name: tensor_name(node.input[0]) for node in flat_definition.node if node.op == _READS}
    return FlatFunction(
        definition=flat_definition,
        inputs=tuple(tensor.name for tensor in function.inputs[: len(function.inputs) - len(held)]),
        input_signature=function.structured_input_signature,
        outputs=tf.nest.pack_sequence_as(function.structured_outputs, [flat.tensor(t.name) for t in function.outputs]),
        captures=captures,
        variables=variables,
        reads={node: variables[held].name for node, held in reading.items() if held in variables},
        drops_gradients=flat.own_gradients,
    )


class _Flattening:
    """Collects the nodes of a flat graph."""

    def __init__(self, library: Mapping[str, Any]) -> None:
        self._library = library
        self.own_gradients = False
        self._nodes: list[Any] = []
        self._taken: set[str] = set()
        self._same: dict[str, str] = {}  # outputs of calls, by the tensors that they are

    def definition(self, like: Any, outputs: Collection[str]) -> Any:
        """The flat graph as a message, as far as `outputs` are computed from it; nothing waits for anything else."""
        nodes = {node.name: node for node in self._nodes}
        pending, needed = [self.tensor(name) for name in outputs], set[str]()
        while pending:
            name = pending.pop().partition(":")[0]
            if name in needed:
                continue
            needed.add(name)
            node = nodes[name]
            given = [self.tensor(source) for source in node.input if not source.startswith("^")]
            del node.input[:]
            node.input.extend(given)
            pending += given
        made = tf.compat.v1.GraphDef(versions=like.versions, library=like.library)
        made.node.extend(node for node in self._nodes if node.name in needed)
        return made

    def tensor(self, name: str) -> str:
        """The tensor that a name stands for, past calls."""
        name = tensor_name(name)
        while name in self._same:
            name = self._same[name]
        return name

    def add(self, nodes: Collection[Any], names: Mapping[str, str], given: Mapping[str, str]) -> None:
        """Add the nodes of one function.

        Args:
            nodes: with inputs named as in a graph.
            names: new names of the nodes.
            given: tensors in place of the function's arguments, by the names of those.
        """
        for original in nodes:
            if original.name in given:
                continue
            node = type(original)()
            node.CopyFrom(original)
            node.name = names[original.name]
            for place, name in enumerate(original.input):
                source, _, output = tensor_name(name).removeprefix("^").partition(":")
                node.input[place] = (
                    f"^{source}" if name.startswith("^") else given.get(source, "") or (f"{names[source]}:{output}")
                )
            called = self._called(node)
            if called is not None:
                self._inline(node, called)
                continue
            if node.op == "Identity" and _RETURNED.fullmatch(node.name.rpartition("/")[2]):
                self._same[f"{node.name}:0"] = tensor_name(node.input[0])
                continue
            node.attr.pop("_class", None)  # what it lies beside may not be there
            if "_gradient_op_type" in node.attr:
                # Its own gradient, if it was saved, is bound to the graph that it was loaded with.
                self.own_gradients |= _has_gradient(node.attr["_gradient_op_type"].s)
                del node.attr["_gradient_op_type"]
            self._nodes.append(node)

    def _called(self, node: Any) -> Any | None:
        name = node.attr["f"].func.name if node.op in CALLS else node.op
        return self._library.get(name)

    def _inline(self, node: Any, function: Any) -> None:
        body, flat_names = function_def_to_graph.function_def_to_graph_def(function)
        arguments = [argument.name for argument in function.signature.input_arg]
        values = [tensor_name(name) for name in node.input if not name.startswith("^")]
        given = dict(zip(arguments, values, strict=True))
        scope, _, last = node.name.rpartition("/")
        if not _CALL_NAME.fullmatch(last):
            scope = node.name
        names = {inner.name: self.free(f"{scope}/{inner.name}" if scope else inner.name) for inner in body.node}
        self.add(body.node, names, given)
        for place, output in enumerate(function.signature.output_arg):
            source, _, number = tensor_name(flat_names[function.ret[output.name]]).partition(":")
            self._same[f"{node.name}:{place}"] = given[source] if source in given else f"{names[source]}:{number}"

    def free(self, name: str) -> str:
        """A name that no node has yet, like `name`; it is taken then."""
        free, number = name, 0
        while free in self._taken:
            number += 1
            free = f"{name}_{number}"
        self._taken.add(free)
        return free


def own_name(operation: str) -> str:
    """The name that an operation of a graph has in the flat graph it is from; of other operations their own."""
    return re.sub(rf"^.*\b{_IMPORTED}(_\d+)?/", "", operation)


def tensor_name(given: str) -> str:
    """The name of a tensor as the graph has it, of an input as a node has it: ``x`` is ``x:0``."""
    return given if given.startswith("^") or ":" in given else f"{given}:0"


def _handle(variable: Any) -> tf.Tensor:
    # In Keras' stateless scope the value of a Keras variable is a tensor.
    return variable.handle if isinstance(variable, tf.Variable) else variable._value.handle  # noqa: SLF001


def _has_gradient(name: bytes) -> bool:
    try:
        ops.gradient_registry.lookup(name.decode())
    except LookupError:
        return False
    return True
