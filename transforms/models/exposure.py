"""See inside a live Keras model: class scores before a fused softmax, and the output of a target layer.

Nothing is rebuilt. While a ``tf.function`` is traced, the target layer's ``call`` is wrapped, so that its output is
captured (or replaced) wherever the layer stands: in a functional model, in a backbone inside a Sequential, or in a
subclassed model. Everything after that output is the head; gradients of the class scores stop there.

Class scores are logits. A softmax or sigmoid at the end of the model's graph is taken off by reading the tensor that
goes into it; `ExposedModel.description` says so.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.models import affine_heads, bottlenecks, loading, token_grids, weight_constants

_PASS_THROUGH = {"Identity", "Reshape", "Squeeze", "Cast", "StopGradient", "ExpandDims"}
_MAX_TOKEN_CANDIDATES = 24


@dataclasses.dataclass(frozen=True)
class LayerOutput:
    """A layer as it was called: candidates for the target layer.

    Attributes:
        name: path of layer names from the model down, without the model itself: ``backbone/conv5_block3_out``.
        kind: class name of the layer.
        shape: of its output, without the batch axis.
        height, width: of the grid of cells it holds; 0 for an output that is not spatial.
        prefix_tokens: tokens before the grid (class token, registers), for transformers.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    height: int
    width: int
    prefix_tokens: int


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """What was exposed; written to the manifest and printed by ``heatbeam check``.

    Attributes:
        layer: the target layer and its output.
        layer_choice: ``auto`` or ``configured``.
        classes: number of class scores.
        scores: ``logits`` as the model returns them, or which activation was taken off, in words.
        probability: ``softmax`` or ``sigmoid``: how probabilities follow from the scores.
        output_shape: of the model, without the batch axis.
        input_size: height, width, channels.
        digest: hex sha256 of the weights.
        layers: every spatial layer in call order, the choices for `layer`.
    """

    layer: LayerOutput
    layer_choice: str
    classes: int
    scores: str
    probability: str
    output_shape: tuple[int | None, ...]
    input_size: tuple[int, int, int]
    digest: str
    layers: tuple[LayerOutput, ...]


Edit = Callable[[tf.Tensor], tf.Tensor]


class ExposedModel:
    """A Keras model whose logits, target activations and head can be reached inside a ``tf.function``.

    Every method below is traceable and takes preprocessed float32 inputs ``(B, H, W, C)``. They work only while a graph
    is being traced: gradients are taken with ``tf.gradients`` of the returned scores.

    Attributes:
        keras_model: the loaded copy.
        lock: held while a layer's ``call`` is changed, that is, while a graph is traced.
        layer: path of the target layer.
        bypass_is_added: whether one row of `bypass` serves any number of rows of the activations, in `head`.
        description: what was exposed.
        constant_weights: whether graphs hold the weights as constants.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        layer: str,
        scores: str,
        output: str | None,
        size: Sequence[int] | None,
        constant_weights: bool = False,
    ) -> None:
        """Expose `model`.

        Args:
            model: a loaded model; it is not changed.
            layer: ``auto``, or the name or path of a layer.
            scores: ``auto`` takes a final softmax or sigmoid off and chooses how probabilities follow; ``softmax`` and
                ``sigmoid`` say how probabilities follow from the logits; ``as_is`` explains what the model returns.
            output: name or index of the output to explain, for a model of several.
            size: height, width and channels where the model leaves them open.
            constant_weights: graphs hold the weights of the moment they are traced, as constants.

        Raises:
            loading.ModelError: no such layer, no spatial layer, not a classifier, or probabilities that cannot be
                traced back to logits.
        """
        self.keras_model = model
        self._output = output
        self.constant_weights = constant_weights
        self._weights = weight_constants.as_constants if constant_weights else contextlib.nullcontext
        self.lock = threading.RLock()
        self._strip = scores != "as_is"
        input_size = loading.input_size(model, size)
        probe = self._probe(input_size)
        self._layers = probe.layers
        self._grids: dict[str, LayerOutput] = {o.name: o for o in probe.outputs}
        self._gridless = probe.gridless
        self._bypassed_at = probe.bypassed_at
        self._affine_after = probe.affine_after
        chosen = _resolve_layer(probe, layer)
        self.layer = chosen.name
        self.bypass_is_added = _bypass_is_added(probe, chosen.name)
        self._binary = probe.classes == 1
        self.description = ModelDescription(
            layer=chosen,
            layer_choice="auto" if layer == "auto" else "configured",
            classes=2 if self._binary else probe.classes,
            scores=_scores_in_words(probe, self._strip),
            probability=_probability(probe, scores),
            output_shape=probe.output_shape,
            input_size=input_size,
            digest=loading.model_digest(model),
            layers=tuple(probe.spatial),
        )

    def resolve(self, name: str) -> str:
        """The path of the layer called `name` (a path or a unique last part).

        Raises:
            loading.ModelError: no such spatial layer, or several.
        """
        return _find(tuple(self._grids.values()), name, self._gridless).name

    def at(self, layer: str) -> ExposedModel:
        """The same model with another target layer, given by path."""
        other = copy.copy(self)
        other.layer = layer
        return other

    def grid(self, layer: str) -> tuple[int, int, int]:
        """Height, width and channels of a layer's activation maps."""
        about = self._grids[layer]
        return about.height, about.width, about.shape[-1]  # type: ignore[return-value]

    def logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 ``(B, classes)`` class scores."""
        return self._run(inputs, {})

    def expose(self, inputs: tf.Tensor, layers: tuple[str, ...] = ()) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Class scores and the activation maps they were computed from.

        Args:
            inputs: float32 ``(B, H, W, C)``.
            layers: paths of the layers to expose; the target layer by default.

        Returns:
            logits float32 ``(B, classes)`` and, for each layer, float32 ``(B, h, w, K)``. The activations are inputs
            of the rest of the graph: ``tf.gradients(logits[:, c], activations)`` goes through the head only.
        """
        layers = layers or (self.layer,)
        captured: dict[str, tf.Tensor] = {}

        def capture(name: str) -> Edit:
            def edit(output: tf.Tensor) -> tf.Tensor:
                grid, rest = self._to_grid(name, output)
                captured[name] = grid
                return rest(grid)

            return edit

        logits = self._run(inputs, {name: capture(name) for name in layers})
        missing = [name for name in layers if name not in captured]
        if missing:
            raise loading.ModelError(f"layer {missing[0]} was not called by the model's forward pass")
        return logits, tuple(captured[name] for name in layers)

    def bypass(self, inputs: tf.Tensor) -> tf.Tensor | None:
        """What the head needs of each image besides the target layer's grid; None where that is nothing or not known.

        Skip connections around the target layer and the tokens before its grid reach the class scores too. They follow
        from one tensor at or before the target layer, the last one that everything passes through: computed once for
        an image, it serves any number of runs of the head.

        Args:
            inputs: float32 ``(B, H, W, C)``.

        Returns:
            ``(B, ...)``, for `head`.
        """
        name = self._bypassed_at.get(self.layer)
        if name is None:
            return None
        captured: list[tf.Tensor] = []

        def capture(output: tf.Tensor) -> tf.Tensor:
            captured.append(output)
            return output

        self._run(inputs, {name: capture})
        return captured[0]

    def head(self, inputs: tf.Tensor, activations: tf.Tensor, bypass: tf.Tensor | None = None) -> tf.Tensor:
        """Class scores when the target layer's output is replaced.

        Args:
            inputs: float32 ``(B, H, W, C)``. Only what by-passes the target layer (a class token, a skip connection)
                is computed from them; a plain head never looks at them, and no head does where `bypass` is given.
            activations: float32 ``(B, h, w, K)``.
            bypass: what `bypass` gave for the inputs, row by row; None to compute it.
        """
        edits: dict[str, Edit] = {}
        if bypass is not None:
            edits[self._bypassed_at[self.layer]] = lambda output: bypass
        given = edits.get(self.layer)

        def edit(output: tf.Tensor) -> tf.Tensor:
            _, rest = self._to_grid(self.layer, given(output) if given else output)
            return rest(activations)

        return self._run(inputs, edits | {self.layer: edit})

    @property
    def head_is_affine(self) -> bool:
        """Whether the logits are known to be an affine function of the target layer's output, as after pooling and one
        dense layer: a constant plus the gradient times the output."""
        return self.layer in self._affine_after

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Probabilities of class scores ``(..., classes)``, by the model's own rule."""
        if self.description.probability == "sigmoid":
            return tf.sigmoid(logits)
        return tf.nn.softmax(logits, axis=-1)

    def _to_grid(self, name: str, output: tf.Tensor) -> tuple[tf.Tensor, Callable[[tf.Tensor], tf.Tensor]]:
        """The output as a float32 grid of cells, and the way back to what the next layer expects.

        The way back starts from the float32 grid, so that the grid is an ancestor of the logits and gradients with
        respect to it exist, also where the model computes in half precision.
        """
        about = self._grids[name]
        if output.shape.rank == 4:
            return tf.cast(output, tf.float32), lambda grid: tf.cast(grid, output.dtype)
        grid = tokens_to_grid(tf.cast(output, tf.float32), about.height, about.width, about.prefix_tokens)

        def back(grid: tf.Tensor) -> tf.Tensor:
            tokens = tf.reshape(grid, [tf.shape(grid)[0], about.height * about.width, output.shape[-1]])
            return tf.concat([output[:, : about.prefix_tokens], tf.cast(tokens, output.dtype)], axis=1)

        return grid, back

    def _run(self, inputs: tf.Tensor, edits: dict[str, Edit]) -> tf.Tensor:
        layers = {self._layers[name]: edit for name, edit in edits.items()}
        with self.lock, _edited(layers), self._weights(self.keras_model):
            output = _select_output(self.keras_model(inputs, training=False), self._output)
        if self._strip:
            output, _ = _before_activation(output)
        # The batch size is the output's own: a head alone must not wait for its images.
        scores = tf.cast(tf.reshape(output, [tf.shape(output)[0], -1]), tf.float32)
        scores = tf.ensure_shape(scores, [None, 1 if self._binary else self.description.classes])
        if self._binary:
            # One unit tells two classes apart: its logit speaks for class 1 and, negated, for class 0.
            scores = tf.concat([-scores, scores], axis=1)
        return scores

    def _probe(self, size: tuple[int, int, int]) -> _Probe:
        """Trace the model once, on two images, and note every layer it calls."""
        calls: list[_Call] = []
        found: dict[str, object] = {}

        def trace(inputs: tf.Tensor) -> tuple[tf.Tensor, list[tf.Tensor]]:
            with self.lock, _recorded(self.keras_model, size[:2], calls):
                output = _select_output(self.keras_model(inputs, training=False), self._output)
            found["output_shape"] = tuple(output.shape[1:])
            stripped, activation = _before_activation(output) if self._strip else (output, None)
            found["activation"] = activation
            ancestors = bottlenecks.ancestors(stripped)
            # A container hands its last layer's output on: that tensor belongs to the layer, recorded first.
            first = {id(c.output): c for c in reversed(calls)}
            spatial = [c for c in calls if c.grid is not None and c.output.op in ancestors and first[id(c.output)] is c]
            found["named"] = [c.grid for c in calls if c.grid is not None and c.output.op in ancestors]
            found["spatial"] = spatial
            found["affine"] = _affine_after(spatial, calls, stripped, ancestors)
            found["bypassed_at"] = _bypassed_at(calls, bottlenecks.bottlenecks(inputs, stripped))
            found["scores"] = stripped
            tokens = [c for c in spatial if c.output.shape.rank == 3][-_MAX_TOKEN_CANDIDATES:]
            found["gridless"] = _gridless(calls, ancestors, size)
            found["attention"] = [c for c in calls if isinstance(c.layer, _OPAQUE) and c.path in found["gridless"]]  # type: ignore[operator]
            if stripped.shape.rank is None or sum(d != 1 for d in stripped.shape[1:]) > 1:
                raise loading.ModelError(
                    f"model {self.keras_model.name} returns {tuple(stripped.shape[1:])} for one image, expected one "
                    "score per class; a backbone without its classifier cannot be explained"
                )
            flat = tf.reshape(stripped, [2, -1])
            found["classes"] = flat.shape[1]
            found["tokens"] = tokens
            gradients = tf.gradients(tf.reduce_sum(flat * flat), [c.output for c in tokens]) if tokens else []
            reach = [
                tf.reduce_max(tf.abs(g[:, c.grid.prefix_tokens :])) if g is not None else tf.constant(0.0)  # type: ignore[union-attr]
                for c, g in zip(tokens, gradients, strict=True)
            ]
            return tf.cast(flat, tf.float32), [tf.cast(r, tf.float32) for r in reach]

        function = tf.function(trace, autograph=False, reduce_retracing=False)
        images = np.random.default_rng(0).uniform(-1, 1, (2, *size)).astype(np.float32)
        values, reach = function(tf.constant(images))
        spatial: list[_Call] = found["spatial"]  # type: ignore[assignment]
        reached = {c.path for c, r in zip(found["tokens"], reach, strict=True) if float(r) > 0}  # type: ignore[call-overload]
        unread = {c.path for c in found["tokens"]} - reached  # type: ignore[attr-defined]
        usable = [c for c in spatial if c.output.shape.rank == 4 or c.path in reached]
        classes = found["classes"]
        if classes is None:
            raise loading.ModelError(
                f"model {self.keras_model.name} returns {found['output_shape']}, expected one score per class"
            )
        return _Probe(
            layers={c.path: c.layer for c in calls},
            outputs=_unique([o for o in found["named"] if o.name not in unread]),  # type: ignore[attr-defined]
            spatial=_unique([c.grid for c in usable if c.grid is not None]),
            norms={c.path for c in usable if "Norm" in c.kind},
            classes=int(classes),  # type: ignore[call-overload]
            output_shape=found["output_shape"],  # type: ignore[arg-type]
            activation=found["activation"],  # type: ignore[arg-type]
            bypassed_at=found["bypassed_at"],  # type: ignore[arg-type]
            affine_after=found["affine"],  # type: ignore[arg-type]
            gridless=found["gridless"],  # type: ignore[arg-type]
            attention={c.path: c.output.shape[1] for c in found["attention"]},  # type: ignore[attr-defined]
            values=values.numpy(),
            scores=found["scores"],  # type: ignore[arg-type]
            calls=calls,
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Call:
    path: str
    kind: str
    layer: keras.layers.Layer
    output: tf.Tensor
    grid: LayerOutput | None


@dataclasses.dataclass(frozen=True, eq=False)
class _Probe:
    layers: dict[str, keras.layers.Layer]
    outputs: list[LayerOutput]
    spatial: list[LayerOutput]
    norms: set[str]
    classes: int
    output_shape: tuple[int | None, ...]
    activation: str | None
    bypassed_at: dict[str, str]
    affine_after: set[str]
    gridless: dict[str, str]
    attention: dict[str, int]
    values: np.ndarray
    scores: tf.Tensor
    calls: list[_Call]


def tokens_to_grid(tokens: tf.Tensor, height: int, width: int, prefix_tokens: int) -> tf.Tensor:
    """Transformer tokens ``(B, prefix + height * width, D)`` as a grid ``(B, height, width, D)``, row by row.

    The prefix (class token, registers) is left out: it has no place in the image.
    """
    grid = tokens[:, prefix_tokens:]
    return tf.reshape(grid, [tf.shape(grid)[0], height, width, tokens.shape[-1]])


def _grid_of(path: str, kind: str, output: tf.Tensor, image: tuple[int, int]) -> LayerOutput | None:
    """The grid of cells in a layer's output: a map larger than 1x1, or tokens (`token_grids.token_grid`)."""
    shape = tuple(output.shape[1:])
    if len(shape) == 3 and None not in shape and shape[0] * shape[1] > 1:
        return LayerOutput(path, kind, shape, shape[0], shape[1], 0)
    if len(shape) == 2 and None not in shape and shape[1] > 1:
        cells = token_grids.token_grid(shape[0], image)
        if cells is not None:
            return LayerOutput(path, kind, shape, *cells, shape[0] - cells[0] * cells[1])
    return None


def _gridless(calls: list[_Call], ancestors: set[tf.Operation], size: tuple[int, int, int]) -> dict[str, str]:
    """Layers whose tokens are no grid, by path, and why not, in words."""
    return {
        c.path: f"{c.path} gives {c.output.shape[1]} tokens, which are no grid with the proportions "
        f"of a {size[0]}x{size[1]} image, with or without a few tokens before it"
        for c in calls
        if c.output.op in ancestors and c.output.shape.rank == 3 and (c.output.shape[1] or 0) > 1
        if token_grids.token_grid(c.output.shape[1], size[:2]) is None
    }


def _unique(outputs: list[LayerOutput]) -> list[LayerOutput]:
    """The last call of each layer, in call order."""
    last = {o.name: i for i, o in enumerate(outputs)}
    return [o for i, o in enumerate(outputs) if last[o.name] == i]


@contextlib.contextmanager
def _edited(edits: dict[keras.layers.Layer, Edit]) -> Iterator[None]:
    """Pass the output of each layer through its edit while the context is open."""
    originals = {}
    for layer, edit in edits.items():
        originals[layer] = layer.call
        object.__setattr__(layer, "call", _through(layer.call, edit))
    try:
        yield
    finally:
        for layer in originals:
            object.__delattr__(layer, "call")


def _through(call: Callable[..., tf.Tensor], edit: Edit) -> Callable[..., tf.Tensor]:
    def edited(*args: object, **kwargs: object) -> tf.Tensor:
        return edit(call(*args, **kwargs))

    # Keras reads the signature to decide which arguments (training, mask) to pass.
    edited.__wrapped__ = call  # type: ignore[attr-defined]
    return edited


_RECORDING = threading.RLock()
# Inside these, outputs of four axes are attention scores or heads, not images.
_OPAQUE = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention, keras.layers.Attention)


@contextlib.contextmanager
def _recorded(model: keras.Model, image: tuple[int, int], calls: list[_Call]) -> Iterator[None]:
    """Note every layer call, innermost first, while the context is open in this thread."""
    original = keras.layers.Layer.__call__
    owner = threading.get_ident()
    stack: list[keras.layers.Layer] = []

    def recording(layer: keras.layers.Layer, *args: object, **kwargs: object) -> object:
        if threading.get_ident() != owner:
            return original(layer, *args, **kwargs)
        stack.append(layer)
        try:
            output = original(layer, *args, **kwargs)
        finally:
            stack.pop()
        opaque = any(isinstance(outer, _OPAQUE) for outer in stack) or isinstance(layer, keras.layers.Softmax)
        if layer is not model and tf.is_tensor(output) and output.shape.rank is not None:
            path = "/".join([outer.name for outer in stack if outer is not model] + [layer.name])
            kind = type(layer).__name__
            grid = None if opaque else _grid_of(path, kind, output, image)
            calls.append(_Call(path, kind, layer, output, grid))
        return output

    with _RECORDING:
        keras.layers.Layer.__call__ = recording
        try:
            yield
        finally:
            keras.layers.Layer.__call__ = original


def _select_output(outputs: object, wanted: str | None) -> tf.Tensor:
    """The tensor to explain among a model's outputs."""
    if tf.is_tensor(outputs):
        return outputs
    if isinstance(outputs, dict):
        named = {str(k): v for k, v in outputs.items()}
    elif isinstance(outputs, (list, tuple)):
        named = {str(i): v for i, v in enumerate(outputs)}
    else:
        raise loading.ModelError(f"the model returned {type(outputs).__name__}, expected a tensor of class scores")
    if wanted is None and len(named) == 1:
        return next(iter(named.values()))
    if wanted not in named:
        raise loading.ModelError(
            f"the model has outputs {', '.join(named)}; set model.output to one of them (it is {wanted!r})"
        )
    return named[wanted]


def _before_activation(output: tf.Tensor) -> tuple[tf.Tensor, str | None]:
    """The tensor that goes into a final softmax or sigmoid, and which it was; the output itself if there is none."""
    tensor = output
    while tensor.op.type in _PASS_THROUGH:
        tensor = tensor.op.inputs[0]
    kind = {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(tensor.op.type)
    return (tensor.op.inputs[0], kind) if kind else (output, None)


def _bypassed_at(calls: list[_Call], path: dict[tf.Operation, bool]) -> dict[str, str]:
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


def _affine_after(spatial: list[_Call], calls: list[_Call], scores: tf.Tensor, needed: set[tf.Operation]) -> set[str]:
    """Layers, by path, of whose one output the class scores are an affine function."""
    layers = [id(c.layer) for c in calls]
    return {
        c.path for c in spatial if layers.count(id(c.layer)) == 1 and affine_heads.is_affine(c.output, scores, needed)
    }


def _bypass_is_added(probe: _Probe, layer: str) -> bool:
    """Whether one row of a layer's bypass serves any number of rows of its grid."""
    bypass = probe.bypassed_at.get(layer)
    grids, asides = ([c.output for c in probe.calls if c.path == path] for path in (layer, bypass))
    if len(grids) != 1 or len(asides) != 1 or grids[0].shape.rank != 4:
        return False
    return bottlenecks.meet_in_sums(asides[0], grids[0], probe.scores)


def _resolve_layer(probe: _Probe, layer: str) -> LayerOutput:
    if layer != "auto":
        return _find(probe.outputs, layer, probe.gridless)
    cells = probe.spatial[-1].height * probe.spatial[-1].width if probe.spatial else 0
    # Attention over a few learned queries after a map is no reason to refuse the map: they are fewer than its cells.
    for path, tokens in probe.attention.items():
        if tokens > cells:
            raise loading.ModelError(f"{probe.gridless[path]}; name a layer with a spatial output (model.target_layer)")
    if not probe.spatial:
        raise loading.ModelError(
            "the model has no layer with a spatial output that reaches its class scores, so there is nothing to map; "
            "heatbeam needs a convolutional network, or a transformer whose tokens form a grid"
        )
    last = probe.spatial[-1]
    if len(last.shape) == 2:
        # Transformers: a block's normalized tokens explain better than what stands between its two halves, and the
        # last block's patch tokens have no gradient where only the class token is read (those were sorted out).
        norms = [o for o in probe.spatial if o.name in probe.norms and len(o.shape) == 2]
        return norms[-1] if norms else last
    return last


def _find(outputs: Sequence[LayerOutput], name: str, gridless: Mapping[str, str]) -> LayerOutput:
    exact = [o for o in outputs if o.name == name]
    found = exact or [o for o in outputs if o.name.endswith("/" + name)]
    if len(found) == 1:
        return found[0]
    if found:
        raise loading.ModelError(f"layer {name!r} is {', '.join(o.name for o in found)}; give the whole path")
    for path, why in gridless.items():
        if path == name or path.endswith("/" + name):
            raise loading.ModelError(f"layer {why}")
    known = ", ".join(o.name for o in outputs[-12:])
    raise loading.ModelError(
        f"no layer {name!r} with a spatial output that reaches the class scores; the last ones are {known}"
    )


def _scores_in_words(probe: _Probe, strip: bool) -> str:
    if probe.activation is not None:
        return f"logits: the model's final {probe.activation} was taken off"
    if (
        strip
        and probe.classes > 1
        and np.all(probe.values >= 0)
        and np.allclose(probe.values.sum(axis=1), 1, atol=1e-3)
    ):
        raise loading.ModelError(
            "the model returns probabilities (each row sums to 1) and the softmax cannot be traced in its graph. Build "
            "it to return logits, or set model.scores: as_is to explain probabilities (maps then fade where it is sure)"
        )
    return "logits: as the model returns them" if strip else "as the model returns them (model.scores: as_is)"


def _probability(probe: _Probe, scores: str) -> str:
    if scores in ("softmax", "sigmoid"):
        return scores
    if probe.activation is not None:
        return probe.activation
    return "sigmoid" if probe.classes == 1 else "softmax"
