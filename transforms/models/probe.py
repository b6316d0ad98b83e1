"""Trace a model once, on two images, and note every layer that it calls and how its scores follow from them."""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.models import affine_heads, bottlenecks, class_scores, layer_outputs, loading, token_grids

_MAX_TOKEN_CANDIDATES = 24
_RECORDING = threading.RLock()
# Inside these, outputs of four axes are attention scores or heads, not images.
_OPAQUE = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention, keras.layers.Attention)


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer while the model was traced.

    Attributes:
        path: of the layer, as `layer_outputs.LayerOutput.name`.
        kind: class name of the layer.
        layer: the layer.
        output: symbolic tensor.
        grid: the cells in the output, or None.
    """

    path: str
    kind: str
    layer: keras.layers.Layer
    output: tf.Tensor
    grid: layer_outputs.LayerOutput | None


@dataclasses.dataclass(frozen=True, eq=False)
class Traced:
    """What one trace of a model saw. Its tensors and operations belong to the graph of the trace.

    Attributes:
        calls: of every layer, innermost first.
        inputs: the images.
        output_shape: of the model's output, without the batch axis.
        scores: the tensor of class scores.
        activation: that was taken off, or None.
        flat: the scores of two images, ``(2, units)``.
        ancestors: every operation that the scores are computed from.
    """

    calls: tuple[LayerCall, ...]
    inputs: tf.Tensor
    output_shape: tuple[int | None, ...]
    scores: tf.Tensor
    activation: str | None
    flat: tf.Tensor
    ancestors: set[tf.Operation]

    @property
    def named(self) -> list[LayerCall]:
        """The calls whose output has a grid and reaches the scores."""
        return [c for c in self.calls if c.grid is not None and c.output.op in self.ancestors]

    @property
    def spatial(self) -> list[LayerCall]:
        """Of `named` those that made their output: a container hands its last layer's on, which is recorded first."""
        first = {id(c.output): c for c in reversed(self.calls)}
        return [c for c in self.named if first[id(c.output)] is c]

    @property
    def tokens(self) -> list[LayerCall]:
        """The last of `spatial` whose cells are tokens."""
        return [c for c in self.spatial if c.output.shape.rank == 3][-_MAX_TOKEN_CANDIDATES:]


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """What is known of a model once it has been traced and run.

    Attributes:
        layers: every layer, by path.
        outputs: layers that may be named as the target layer, in call order.
        spatial: those that may be chosen.
        norms: paths of those that normalize.
        gridless: paths of layers whose tokens are no grid, and why not, in words.
        attention: tokens of the attention layers among them, by path.
        bypassed_at: for a layer, by path, the last layer at or before it that everything passes through.
        affine_after: layers, by path, of whose one output the scores are an affine function.
        units: numbers that the model gives for an image.
        values: float32 ``(2, units)``, the scores of two images of noise.
        traced: the trace.
    """

    layers: dict[str, keras.layers.Layer]
    outputs: list[layer_outputs.LayerOutput]
    spatial: list[layer_outputs.LayerOutput]
    norms: set[str]
    gridless: dict[str, str]
    attention: dict[str, int]
    bypassed_at: dict[str, str]
    affine_after: set[str]
    units: int
    values: np.ndarray
    traced: Traced

    def bypass_is_added(self, layer: str) -> bool:
        """Whether one row of a layer's bypass serves any number of rows of its grid."""
        bypass = self.bypassed_at.get(layer)
        grids, asides = ([c.output for c in self.traced.calls if c.path == path] for path in (layer, bypass))
        if len(grids) != 1 or len(asides) != 1 or grids[0].shape.rank != 4:
            return False
        return bottlenecks.meet_in_sums(asides[0], grids[0], self.traced.scores)


def probe(model: keras.Model, size: tuple[int, int, int], source: class_scores.ScoreSource) -> Probe:
    """Trace a model and run it on two images of noise.

    Args:
        model: to look into; it is not changed.
        size: height, width and channels of its input.
        source: of its scores.

    Raises:
        loading.ModelError: it does not give one score per class.
    """
    traces: list[Traced] = []

    def trace(inputs: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
        traced = _traced(model, inputs, size, source)
        traces.append(traced)
        return tf.cast(traced.flat, tf.float32), _reaches(traced.flat, traced.tokens)

    function = tf.function(trace, autograph=False, reduce_retracing=False)
    images = np.random.default_rng(0).uniform(-1, 1, (2, *size)).astype(np.float32)
    values, reaches = function(tf.constant(images))
    traced = traces[-1]  # a model that makes its variables when it is first called is traced twice
    if traced.flat.shape[1] is None:
        raise loading.ModelError(f"model {model.name} returns {traced.output_shape}, expected one score per class")
    reached = {c.path for c, reach in zip(traced.tokens, reaches, strict=True) if float(reach) > 0}
    unread = {c.path for c in traced.tokens} - reached
    usable = [c for c in traced.spatial if c.output.shape.rank == 4 or c.path in reached]
    gridless = _gridless(traced, size)
    return Probe(
        layers={c.path: c.layer for c in traced.calls},
        outputs=_grids([c for c in traced.named if c.path not in unread]),
        spatial=_grids(usable),
        norms={c.path for c in usable if "Norm" in c.kind},
        gridless=gridless,
        attention={
            c.path: c.output.shape[1] for c in traced.calls if isinstance(c.layer, _OPAQUE) and c.path in gridless
        },
        bypassed_at=_bypassed_at(traced.calls, bottlenecks.bottlenecks(traced.inputs, traced.scores)),
        affine_after=_affine_after(traced),
        units=int(traced.flat.shape[1]),
        values=values.numpy(),
        traced=traced,
    )


def _traced(
    model: keras.Model, inputs: tf.Tensor, size: tuple[int, int, int], source: class_scores.ScoreSource
) -> Traced:
    """Call the model on symbolic images and note what it does."""
    calls: list[LayerCall] = []
    with _recorded(model, size[:2], calls):
        output = source.select(model(inputs, training=False))
    scores, activation = class_scores.before_activation(output) if source.strips else (output, None)
    if scores.shape.rank is None or sum(d != 1 for d in scores.shape[1:]) > 1:
        raise loading.ModelError(
            f"model {model.name} returns {tuple(scores.shape[1:])} for one image, expected one score per class; a "
            "backbone without its classifier cannot be explained"
        )
    return Traced(
        calls=tuple(calls),
        inputs=inputs,
        output_shape=tuple(output.shape[1:]),
        scores=scores,
        activation=activation,
        flat=tf.reshape(scores, [2, -1]),
        ancestors=bottlenecks.ancestors(scores),
    )


def _reaches(scores: tf.Tensor, tokens: Sequence[LayerCall]) -> list[tf.Tensor]:
    """For each call the largest gradient of the scores at a token of its grid: 0 where only its prefix is read."""
    gradients = tf.gradients(tf.reduce_sum(scores * scores), [c.output for c in tokens]) if tokens else []
    found = []
    for call, gradient in zip(tokens, gradients, strict=True):
        prefix = call.grid.prefix_tokens if call.grid is not None else 0
        reach = tf.reduce_max(tf.abs(gradient[:, prefix:])) if gradient is not None else tf.constant(0.0)
        found.append(tf.cast(reach, tf.float32))
    return found


@contextlib.contextmanager
def _recorded(model: keras.Model, image: tuple[int, int], calls: list[LayerCall]) -> Iterator[None]:
    """Note every layer call, innermost first, while the context is open in this thread."""
    original: Callable[..., Any] = keras.layers.Layer.__call__
    owner = threading.get_ident()
    stack: list[keras.layers.Layer] = []

    def recording(layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        if threading.get_ident() != owner:
            return original(layer, *args, **kwargs)
        stack.append(layer)
        try:
            output = original(layer, *args, **kwargs)
        finally:
            stack.pop()
        if layer is not model and tf.is_tensor(output) and output.shape.rank is not None:
            calls.append(_call(layer, output, [outer for outer in stack if outer is not model], image))
        return output

    with _RECORDING:
        keras.layers.Layer.__call__ = recording
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = original


def _call(
    layer: keras.layers.Layer, output: tf.Tensor, outer: Sequence[keras.layers.Layer], image: tuple[int, int]
) -> LayerCall:
    """A call of a layer inside others."""
    path, kind = "/".join([one.name for one in (*outer, layer)]), type(layer).__name__
    opaque = any(isinstance(one, _OPAQUE) for one in outer) or isinstance(layer, keras.layers.Softmax)
    return LayerCall(path, kind, layer, output, None if opaque else layer_outputs.grid_of(path, kind, output, image))


def _grids(calls: Collection[LayerCall]) -> list[layer_outputs.LayerOutput]:
    """The grid of the last call of each layer, in call order."""
    grids = [c.grid for c in calls if c.grid is not None]
    last = {grid.name: place for place, grid in enumerate(grids)}
    return [grid for place, grid in enumerate(grids) if last[grid.name] == place]


def _gridless(traced: Traced, size: tuple[int, int, int]) -> dict[str, str]:
    return {
        c.path: f"{c.path} gives {c.output.shape[1]} tokens, which are no grid with the proportions "
        f"of a {size[0]}x{size[1]} image, with or without a few tokens before it"
        for c in traced.calls
        if c.output.op in traced.ancestors and c.output.shape.rank == 3 and (c.output.shape[1] or 0) > 1
        if token_grids.token_grid(c.output.shape[1], size[:2]) is None
    }


def _bypassed_at(calls: Sequence[LayerCall], path: dict[tf.Operation, bool]) -> dict[str, str]:
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
    for call in reversed(calls):  # of several calls of a layer the first one counts: all are replaced
        if call.grid is None or call.output.op not in order:
            continue
        found.pop(call.path, None)
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
