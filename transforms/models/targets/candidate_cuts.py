"""Which tensors of a traced model may be mapped: on the way from images to scores everything runs through them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import tensorflow as tf

from heatbeam.transforms.models import layer_calls, layer_outputs
from heatbeam.transforms.models.graphs import bottlenecks, flat_functions, traced_graph
from heatbeam.transforms.models.targets import trial_runs

INPUT_OF = "input of "
"""Begins the name of a tensor that no layer gives, but that one is given first."""


def cuts(
    calls: Sequence[layer_calls.LayerCall],
    graph: traced_graph.TracedGraph,
    scores: tf.Tensor,
    learned: Collection[tf.Operation],
    image: tuple[int, ...],
) -> list[trial_runs.Place]:
    """The tensors with cells that lie on every path from the images to the scores, the last one first.

    What is inside a layer that calls no other (a pooling's own arithmetic) is none, and neither is what was computed
    without any learned weight: the images themselves, scaled or cropped.

    Args:
        calls: of the trace.
        graph: of the trace.
        scores: its class scores.
        learned: operations that follow from learned weights.
        image: positions along each axis of the model's input.
    """
    path = bottlenecks.bottlenecks(graph.inputs, scores, values_only=True)
    made = {c.output.ref(): c for c in reversed(calls)}
    internal = {
        op
        for call in calls
        if call.is_leaf
        for op in bottlenecks.inside(call.inputs, call.output)
        if not any(output.ref() in made for output in op.outputs)
    }
    found = []
    for op in reversed([op for op, alone in path.items() if alone]):
        if op is graph.inputs.op or op in internal or op not in learned or not op.outputs:
            continue
        output = op.outputs[0]
        call = made.get(output.ref())
        about = call.grid if call else _grid_without_layer(calls, output, image)
        if about is not None:
            found.append(trial_runs.Place(about, output))
    return found


def _grid_without_layer(
    calls: Sequence[layer_calls.LayerCall], output: tf.Tensor, image: tuple[int, ...]
) -> layer_outputs.LayerOutput | None:
    """The cells of a tensor that is no layer's output, named by the layer that it is given to, else by the graph."""
    if output.shape.rank is None:
        return None
    readers = [c for c in calls if c.inputs and c.inputs[0] is output]
    name = f"{INPUT_OF}{readers[0].path}" if readers else flat_functions.own_name(output.op.name)
    return layer_outputs.grid_of(name, output.op.type, output, image)


def before_weights(
    graph: traced_graph.TracedGraph, needed: Collection[tf.Operation], learned: Collection[tf.Operation]
) -> set[tf.Operation]:
    """The operations on images after which the scores need more learned weights: those of the last layer come later.

    Args:
        graph: of the trace.
        needed: operations that the scores are computed from.
        learned: operations that follow from learned weights.
    """
    from_images = after([graph.inputs.op], graph.inputs.graph)
    found: set[tf.Operation] = set()
    for op in reversed(graph.inputs.graph.get_operations()):
        if op in needed and op in from_images:
            weighted = any(i.op in learned and i.op not in from_images for i in op.inputs)
            if weighted or op in found:
                found.update(i.op for i in op.inputs if i.op in from_images)
    return found


def after(sources: Collection[tf.Operation], graph: tf.Graph) -> set[tf.Operation]:
    """The operations that follow from some, which are among them."""
    found = set(sources)
    for op in graph.get_operations():
        if any(i.op in found for i in op.inputs):
            found.add(op)
    return found
