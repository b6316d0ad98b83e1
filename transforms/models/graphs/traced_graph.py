"""A model's forward pass as a graph that is put into others, with any of its tensors captured or replaced.

A model is traced once. Functional, nested, subclassed and saved models look alike in the graph of that trace, and
every tensor of it can be exposed, results of plain operations too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.graphs import flat_functions, grouped_convolutions


class TracedGraph:
    """The graph of a traced model.

    Attributes:
        function: the trace; its graph holds the tensors.
        inputs: the images.
        definition: the graph as a message, its convolutions with a group for each channel as depthwise ones.
        is_rewritten: whether there are such.
        nodes: of `definition`, by name.
        captures: what the graph was given from outside, by the name of the tensor inside.
        order: place of each operation in the order of computation, by name.
    """

    def __init__(self, function: tf.types.experimental.ConcreteFunction, weights: Sequence[keras.Variable]) -> None:
        """Take the graph of a trace.

        Args:
            function: of one argument, the images.
            weights: of the model.
        """
        self.function = function
        self.inputs = function.inputs[0]
        handles = {id(weight.value.handle): weight for weight in weights}
        traced = function.graph.as_graph_def()
        rewritten = grouped_convolutions.without_calls(traced, self._shapes(function.graph, handles))
        self.is_rewritten = rewritten is not None
        self.definition = traced if rewritten is None else rewritten
        self.nodes = {node.name: node for node in self.definition.node}
        self.order = {op.name: place for place, op in enumerate(function.graph.get_operations())}
        self.captures = {inside.name: outside for outside, inside in function.graph.captures}
        self._weights = self._weights_read(handles)

    def _shapes(self, graph: tf.Graph, weights: Mapping[int, keras.Variable]) -> dict[str, tf.TensorShape]:
        """The shapes of the graph's tensors, by name; of a weight's handle those of the weight."""
        shapes = {output.name: output.shape for op in graph.get_operations() for output in op.outputs}
        held = {inside.name: weights[id(outside)] for outside, inside in graph.captures if id(outside) in weights}
        return shapes | {name: tf.TensorShape(weight.shape) for name, weight in held.items()}

    def _weights_read(self, weights: Mapping[int, keras.Variable]) -> dict[str, keras.Variable]:
        """The weight that each reading operation gives, by the name of its tensor."""
        handles = {name: weights[id(given)] for name, given in self.captures.items() if id(given) in weights}
        return {
            f"{node.name}:0": handles[flat_functions.tensor_name(node.input[0])]
            for node in self.definition.node
            if node.op == "ReadVariableOp" and flat_functions.tensor_name(node.input[0]) in handles
        }

    def weight_places(self, excluded: Collection[keras.Variable]) -> list[tf.Operation]:
        """Where the graph is given its weights, but for those that are excluded."""
        left = {id(weight.value.handle) for weight in excluded}
        return [
            inside.op
            for outside, inside in self.function.graph.captures
            if outside.dtype == tf.resource and id(outside) not in left
        ]

    def run(self, inputs: tf.Tensor, constant_weights: bool) -> Run:
        """Begin to put the forward pass of `inputs` into the graph that is being traced.

        Args:
            inputs: float32 ``(B, H, W, C)``.
            constant_weights: use the weights of now as constants.
        """
        return Run(self, inputs, self._weights if constant_weights else {})


class Run:
    """One forward pass inside another graph, made as far as it is asked for."""

    def __init__(self, graph: TracedGraph, inputs: tf.Tensor, constants: Mapping[str, keras.Variable]) -> None:
        self._graph = graph
        self._constants = constants
        self._known: dict[str, tf.Tensor] = {}
        self._is_of_the_trace = inputs.shape.is_compatible_with(graph.inputs.shape)  # else of another size
        self.put(graph.inputs, inputs)

    def get(self, tensor: tf.Tensor) -> tf.Tensor:
        """A tensor of the traced graph, here: computed from what is known already."""
        if tensor.name not in self._known:
            self._make(tensor.name)
        value = self._known[tensor.name]
        if self._is_of_the_trace:
            value.set_shape(tensor.shape)  # layers know more of it than operations that are copied
        return value

    def put(self, tensor: tf.Tensor, value: tf.Tensor) -> None:
        """Have `value` in the place of a tensor of the traced graph, for all that is made from now on."""
        here = tf.compat.v1.get_default_graph()
        # In the body of a loop a value from outside has to be captured; importing a graph does not do that.
        self._known[tensor.name] = value if getattr(value, "graph", None) is here else here.capture(value)

    def _make(self, wanted: str) -> None:
        graph, used, needed = self._graph, set[str](), set[str]()
        pending = [wanted]
        while pending:
            name = pending.pop()
            node = name.partition(":")[0].removeprefix("^")
            if name in self._known or self._given(name):
                used.add(name)
            elif node not in needed:
                needed.add(node)
                pending += [flat_functions.tensor_name(given) for given in graph.nodes[node].input]
        part = tf.compat.v1.GraphDef(versions=graph.definition.versions, library=graph.definition.library)
        part.node.extend(graph.nodes[node] for node in graph.nodes if node in needed)
        operations = tf.graph_util.import_graph_def(
            part,
            input_map={name: self._known[name] for name in used},
            return_elements=[node.name for node in part.node],
            name="model",
        )
        for node, operation in zip(part.node, operations, strict=True):
            for place, output in enumerate(operation.outputs):
                self._known.setdefault(f"{node.name}:{place}", output)

    def _given(self, name: str) -> bool:
        """Whether a tensor is a weight or something else from outside of the graph; it is known then."""
        if name in self._constants:
            with tf.init_scope():
                value = np.asarray(self._constants[name].numpy())
            self._known[name] = tf.constant(value)
        elif name in self._graph.captures:
            self._known[name] = tf.compat.v1.get_default_graph().capture(self._graph.captures[name])
        return name in self._known
