"""Trace a model once, on two images, and note every layer that it calls and how its scores follow from them."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.models import layer_calls, layer_outputs, token_grids
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.graphs import affine_heads, bottlenecks, traced_graph
from heatbeam.transforms.models.scores import class_scores, output_shapes, output_tail
from heatbeam.transforms.models.targets import candidate_cuts, trial_runs

_MAX_TOKEN_CANDIDATES = 24


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """What one trace of a model saw. Its tensors and operations belong to the graph of the trace.

    Attributes:
        calls: of every layer, innermost first.
        inputs: the images.
        output_shape: of the model's output, without the batch axis.
        scores: the tensor of class scores.
        activation: that was taken off, or None.
        ancestors: every operation that the scores are computed from.
    """

    calls: tuple[layer_calls.LayerCall, ...]
    inputs: tf.Tensor
    output_shape: tuple[int | None, ...]
    scores: tf.Tensor
    activation: str | None
    ancestors: set[tf.Operation]

    @property
    def pixels(self) -> tuple[int, int] | None:
        """Rows and columns of the pixels that the model classifies; None for one that classifies images."""
        return output_shapes.pixels_of(self.scores.shape)

    @property
    def named(self) -> list[layer_calls.LayerCall]:
        """The calls whose output has a grid and reaches the scores."""
        return [c for c in self.calls if c.grid is not None and c.output.op in self.ancestors]

    @property
    def spatial(self) -> list[layer_calls.LayerCall]:
        """Of `named` those that made their output: a container hands its last layer's on, which is recorded first."""
        first = {id(c.output): c for c in reversed(self.calls)}
        return [c for c in self.named if first[id(c.output)] is c]

    @property
    def tokens(self) -> list[layer_calls.LayerCall]:
        """The last of `spatial` whose cells are tokens."""
        return [c for c in self.spatial if c.grid is not None and c.grid.is_tokens][-_MAX_TOKEN_CANDIDATES:]


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """What is known of a model once it has been traced and run.

    Attributes:
        outputs: layers that may be named as the target layer, in call order.
        spatial: those that may be chosen.
        cuts: tensors that everything runs through from the images to the scores, the last one first.
        norms: paths of those that normalize.
        gridless: paths of layers whose tokens are no grid, and why not, in words.
        attention: tokens of the attention layers among them, by path.
        bypassed_at: for a layer, by path, the last layer at or before it that everything passes through.
        learned: names of outputs that follow from learned weights.
        affine_after: layers, by path, of whose one output the scores are an affine function.
        units: numbers that the model gives for an image, or for each pixel.
        values: float32 ``(N, units)``, the scores of images of noise, two of small numbers and two of large ones.
        tail: what leads to the scores.
        size: positions along each axis and channels of the model's input.
        traced: the trace.
        graph: of the trace, to put into others.
    """

    outputs: list[layer_outputs.LayerOutput]
    spatial: list[layer_outputs.LayerOutput]
    cuts: list[trial_runs.Place]
    norms: set[str]
    gridless: dict[str, str]
    attention: dict[str, int]
    bypassed_at: dict[str, str]
    learned: set[str]
    affine_after: set[str]
    units: int
    values: np.ndarray
    tail: output_tail.Tail
    size: tuple[int, ...]
    traced: Traced
    graph: traced_graph.TracedGraph

    def place(self, name: str) -> trial_runs.Place:
        """The tensor of a layer's output or a cut, by its whole name."""
        for cut in self.cuts:
            if cut.about.name == name:
                return cut
        call = next(c for c in self.traced.calls if c.path == name)
        assert call.grid is not None  # outputs and spatial list grids only
        return trial_runs.Place(call.grid, call.output)

    @property
    def learned_places(self) -> list[trial_runs.Place]:
        """The tensors of `spatial` that follow from learned weights, the last one first."""
        return [self.place(output.name) for output in reversed(self.spatial) if output.name in self.learned]

    def bypass_is_added(self, layer: str) -> bool:
        """Whether one row of a layer's bypass serves any number of rows of its grid."""
        bypass = self.bypassed_at.get(layer)
        grids, asides = ([c.output for c in self.traced.calls if c.path == path] for path in (layer, bypass))
        if len(grids) != 1 or len(asides) != 1 or grids[0].shape.rank != self.traced.inputs.shape.rank:
            return False
        return bottlenecks.meet_in_sums(asides[0], grids[0], self.traced.scores)


def probe(model: keras.Model, size: tuple[int, ...], source: class_scores.ScoreSource) -> Probe:
    """Trace a model and run it on two images of noise.

    Args:
        model: to look into; it is not changed.
        size: positions along each axis and channels of its input.
        source: of its scores.

    Raises:
        loading.ModelError: it does not give one score per class.
    """
    traced, graph = _trace(model, size, source)
    units = _units(traced, model.name)
    weights = _weights(traced.calls, graph)
    learned = candidate_cuts.after(weights or [traced.inputs.op], graph.inputs.graph)
    cuts = candidate_cuts.cuts(traced.calls, graph, traced.scores, learned, size[:-1])
    mapped = traced.ancestors
    if traced.pixels is not None:
        # The scores of the pixels are a map too, and the last one: it shows what is predicted, not why.
        mapped = candidate_cuts.before_weights(graph, traced.ancestors, learned)
        cuts = [place for place in cuts if place.tensor.op in mapped]
    tokens = {c.output.ref(): trial_runs.Place(c.grid, c.output) for c in traced.tokens if c.grid is not None}
    tokens |= {place.tensor.ref(): place for place in cuts if place.about.is_tokens}

    def run(images: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        forward = graph.run(images, constant_weights=False)
        scores = forward.get(traced.scores)
        outputs = [(place.about.prefix_tokens, forward.get(place.tensor)) for place in tokens.values()]
        return tf.cast(tf.reshape(scores, [-1, units]), tf.float32), trial_runs.reaches(scores, outputs)

    images = np.random.default_rng(0).uniform(-1, 1, (2, *size)).astype(np.float32)
    traced_run = tf.function(run, autograph=False, input_signature=[tf.TensorSpec((None, *size), tf.float32)])
    values, reaches = traced_run(tf.constant(images))
    more_values, _ = traced_run(tf.constant(trial_runs.PIXELS * images))
    unread = {ref for ref, reach in zip(tokens, reaches, strict=True) if not float(reach) > 0}
    read = set(tokens) - unread
    usable = [
        c
        for c in traced.spatial
        if c.output.op in mapped and (c.output.shape.rank == traced.inputs.shape.rank or c.output.ref() in read)
    ]
    gridless = _gridless(traced, size)
    return Probe(
        outputs=_grids([c for c in traced.named if c.output.ref() not in unread]),
        spatial=_grids(usable),
        cuts=[place for place in cuts if place.tensor.ref() not in unread],
        norms={c.path for c in usable if "Norm" in c.kind},
        gridless=gridless,
        attention={c.path: c.output.shape[1] for c in traced.calls if c.is_attention and c.path in gridless},
        bypassed_at=_bypassed_at(traced.calls, bottlenecks.bottlenecks(traced.inputs, traced.scores)),
        learned={c.path for c in traced.calls if c.output.op in learned},
        affine_after=_affine_after(traced),
        units=units,
        values=np.concatenate([values.numpy(), more_values.numpy()]),
        tail=output_tail.tail(traced.scores),
        size=size,
        traced=traced,
        graph=graph,
    )


def _trace(
    model: keras.Model, size: tuple[int, ...], source: class_scores.ScoreSource
) -> tuple[Traced, traced_graph.TracedGraph]:
    """Trace a model for any number of images."""
    traces: list[Traced] = []

    def trace(inputs: tf.Tensor) -> tf.Tensor:
        traces.append(_traced(model, inputs, size, source))
        return traces[-1].scores

    function = tf.function(trace, autograph=False, reduce_retracing=False)
    concrete = function.get_concrete_function(tf.TensorSpec((None, *size), tf.float32))
    # A model that makes its variables when it is first called is traced twice.
    traced = next(one for one in traces if one.inputs.graph is concrete.graph)
    return traced, traced_graph.TracedGraph(concrete, model.weights)


def _weights(calls: Collection[layer_calls.LayerCall], graph: traced_graph.TracedGraph) -> list[tf.Operation]:
    """Where the graph is given its weights; those that only scale the pixels do not count."""
    scaling = [c.layer for c in calls if isinstance(c.layer, keras.layers.Normalization)]
    return graph.weight_places([weight for layer in scaling for weight in layer.weights])


def _units(traced: Traced, name: str) -> int:
    """Numbers that the model gives for an image, or for each pixel."""
    units = output_shapes.units_of(traced.scores.shape)
    if units is None:
        raise loading.ModelError(f"model {name} returns {traced.output_shape}, expected one score per class")
    return units


def _traced(model: keras.Model, inputs: tf.Tensor, size: tuple[int, ...], source: class_scores.ScoreSource) -> Traced:
    """Call the model on symbolic images and note what it does."""
    calls: list[layer_calls.LayerCall] = []
    with layer_calls.recorded(model, size[:-1], calls):
        output = source.select(model(inputs, training=False))
    scores, activation = source.find(output)
    output_shapes.check(model.name, scores, activation, size[:-1], declared=source.declared)
    return Traced(
        calls=tuple(calls),
        inputs=inputs,
        output_shape=tuple(output.shape[1:]),
        scores=scores,
        activation=activation,
        ancestors=bottlenecks.ancestors(scores),
    )


def _grids(calls: Collection[layer_calls.LayerCall]) -> list[layer_outputs.LayerOutput]:
    """The grids of calls, in call order."""
    return [c.grid for c in calls if c.grid is not None]


def _gridless(traced: Traced, size: tuple[int, ...]) -> dict[str, str]:
    if len(size) - 1 != token_grids.RANK:
        return {}
    return {
        c.path: f"{c.path} gives {c.output.shape[1]} tokens, which are no grid with the proportions "
        f"of a {size[0]}x{size[1]} image, with or without a few tokens before it"
        for c in traced.calls
        if c.output.op in traced.ancestors and c.output.shape.rank == 3 and (c.output.shape[1] or 0) > 1
        if token_grids.token_grid(c.output.shape[1], size[:-1]) is None
    }


def _bypassed_at(calls: Sequence[layer_calls.LayerCall], path: dict[tf.Operation, bool]) -> dict[str, str]:
    """For each layer with a grid, by path: the last layer at or before it that everything passes through.

    A layer that stands alone between the images and the scores, with nothing before its grid, needs none.

    Args:
        calls: of every layer, innermost first.
        path: as `bottlenecks.bottlenecks` returns.
    """
    order = {op: place for place, op in enumerate(path)}
    layers = [id(c.layer) for c in calls]
    first = {id(c.output): c for c in reversed(calls)}
    cuts = [c for c in first.values() if path.get(c.output.op) and layers.count(id(c.layer)) == 1]
    found: dict[str, str] = {}
    for call in calls:
        if call.grid is None or call.output.op not in order:
            continue
        place = order[call.output.op]
        before = [c for c in cuts if order[c.output.op] <= place]
        last = max(before, key=lambda c: order[c.output.op], default=None)
        alone = path[call.output.op] and not call.grid.prefix_tokens
        if last is not None and not alone:
            found[call.path] = last.path
    return found


def _affine_after(traced: Traced) -> set[str]:
    layers = [id(c.layer) for c in traced.calls]
    return {
        c.path
        for c in traced.spatial
        if layers.count(id(c.layer)) == 1 and affine_heads.is_affine(c.output, traced.scores, traced.ancestors)
    }
