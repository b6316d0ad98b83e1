"""See inside a live Keras model: class scores before a fused softmax, and the output of a target layer.

Nothing is rebuilt. The model is traced once, and the graph of that trace is put into the ``tf.function`` that explains,
with the target tensor captured (or replaced) wherever it stands: in a functional model, in a backbone inside a
Sequential, in a subclassed model, as a layer's output or between layers. Everything after it is the head; gradients of
the class scores stop there.

What is exposed is decided once, in files of their own: `probe` traces the model and notes what it calls,
`target_choice` says which tensor is mapped, `class_scores` which numbers are explained.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import threading
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.models import layer_outputs, probe, weight_constants
from heatbeam.transforms.models.backends import computing, frontier, packages, precisions
from heatbeam.transforms.models.files import input_constants, loading
from heatbeam.transforms.models.graphs import traced_graph
from heatbeam.transforms.models.scores import class_scores, output_shapes, pixel_scores, readings
from heatbeam.transforms.models.targets import target_choice, trial_runs


@dataclasses.dataclass(frozen=True)
class FedInput:
    """An input of the model that comes with each image.

    Attributes:
        name: of the input.
        shape: without the batch axis.
        dtype: NumPy's name of what it takes, or ``string``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str


@dataclasses.dataclass(frozen=True)
class ModelDescription:
    """What was exposed; written to the manifest and printed by ``heatbeam check``.

    Attributes:
        layer: the target layer and its output, the first of several.
        layer_choice: ``auto`` or ``configured``.
        classes: number of class scores.
        scores: ``logits`` as the model returns them, or which activation was taken off, in words.
        probability: how scores and probabilities follow from the model's numbers (`readings.Rule`).
        output_shape: of the model, without the batch axis.
        input_size: positions along each axis (height, width of an image) and channels.
        digest: hex sha256 of the weights.
        layers: every spatial layer in call order, the choices for `layer`.
        next_best: what else might be mapped, the best first.
        evidence: why that layer, in words.
        warnings: what speaks against it and against the reading of the scores, a sentence each.
        doubt: what is not known of the scores unless the classes have names; empty where nothing is.
        pixels: rows and columns of the pixels that the model classifies; None for one that classifies images.
        fed: the inputs that come with each image, beside the explained one.
    """

    layer: layer_outputs.LayerOutput
    layer_choice: str
    classes: int
    scores: str
    probability: str
    output_shape: tuple[int | None, ...]
    input_size: tuple[int, ...]
    digest: str
    layers: tuple[layer_outputs.LayerOutput, ...]
    next_best: tuple[layer_outputs.LayerOutput, ...] = ()
    evidence: str = ""
    warnings: tuple[str, ...] = ()
    doubt: str = ""
    pixels: tuple[int, int] | None = None
    fed: tuple[FedInput, ...] = ()

    @property
    def rank(self) -> int:
        """How many position axes its inputs have: 2 of images."""
        return len(self.input_size) - 1


class ExposedModel:
    """A Keras model whose logits, target activations and head can be reached inside a ``tf.function``.

    Every method below is traceable and takes preprocessed float32 inputs ``(B, *positions, C)``. They work only while a
    graph is being traced: gradients are taken with ``tf.gradients`` of the returned scores.

    Attributes:
        keras_model: the loaded copy.
        lock: held while the Keras model is traced, or changed for that.
        layer: path of the target layer, the first of several.
        description: what was exposed.
        constant_weights: whether graphs hold the weights as constants.
        fed: what comes with each image besides it, by name of the model's input; a row for each image in `beside`.
    """

    def __init__(
        self,
        model: keras.Model,
        *,
        layer: str | Sequence[str],
        scores: str,
        output: str | None,
        size: Sequence[int] | None,
        constant_weights: bool = False,
        reference: tuple[tuple[float, ...], ...] | None = None,
        fed: Sequence[str] = (),
    ) -> None:
        """Expose `model`.

        Args:
            model: a loaded model; it is not changed.
            layer: ``auto``, or the name or path of a layer, or of several.
            scores: ``auto`` takes a final softmax or sigmoid off, and else reads what graph and numbers prove;
                ``softmax`` and ``sigmoid`` say how probabilities follow from the logits; ``probabilities`` and
                ``one_vs_rest`` that the model returns them; ``as_is`` explains those themselves; ``regression``
                values, and ``similarity`` how near an embedding is to a reference (`readings.Rule`).
            output: name or index of the output to explain, for a model of several.
            size: positions along each axis and channels, where the model leaves them open.
            constant_weights: graphs hold the weights of the moment they are traced, as constants.
            reference: the embeddings that ``scores: similarity`` compares with.
            fed: names of the inputs of which each image brings its own value. They are constants while the model is
                looked into.

        Raises:
            loading.ModelError: no such layer, no spatial layer, or numbers that cannot be read as scores.
        """
        self.keras_model = model
        self.constant_weights = constant_weights
        self.lock = threading.RLock()
        self._constants = input_constants.constants_of(model, fed)
        self._rows: tuple[tf.Tensor, ...] = ()
        self._computed: computing.Computed | None = None
        source = class_scores.ScoreSource(
            output, scores in readings.STRIPPED, loading.output_names(model), declared=scores != "auto"
        )
        input_size = loading.input_size(model, size)
        with self.lock:
            seen = probe.probe(model, input_size, source)
            # The trace was the last call of the model: what the constants gave then is in its graph.
            self._places_fed = [one.given for one in self._constants]
        reading = readings.read(scores, seen.traced.activation, seen.tail, seen.values)
        pixels = seen.traced.pixels
        told = output_shapes.warnings(seen.traced.scores.shape, seen.traced.activation, input_size, reading.rule)
        choice = target_choice.chosen(seen, layer)
        chosen = choice.place.about
        self.layer = chosen.name
        self._seen = seen
        self._places = {place.about.name: place for place in choice.places}
        self._bypassed_at = seen.bypassed_at
        self._bypass_is_added_at = chosen.name if seen.bypass_is_added(chosen.name) else None
        self._source = source
        self._scores = class_scores.ClassScores(seen.units, reading.rule, reference)
        self._scores.check_references(scores)
        self._head = self._scores if pixels is None else pixel_scores.PixelScores(self._scores)
        self._affine_after = frozenset(seen.affine_after if self._scores.are_numbers and pixels is None else ())
        self.description = ModelDescription(
            layer=chosen,
            layer_choice="auto" if layer == target_choice.AUTO else "configured",
            classes=self._scores.classes,
            scores="; ".join((reading.words, *self._scores.in_words(), *pixel_scores.in_words(pixels))),
            probability=reading.rule,
            output_shape=seen.traced.output_shape,
            input_size=input_size,
            digest=loading.model_digest(model),
            layers=tuple(seen.spatial),
            next_best=tuple(target_choice.next_best(seen, choice)),
            evidence=choice.evidence,
            warnings=(*choice.warnings, *reading.warnings, *told),
            doubt=reading.doubt,
            pixels=pixels,
            fed=tuple(
                FedInput(name, tuple(spec.shape[1:].as_list()), spec.dtype.name) for name, spec in self.fed.items()
            ),
        )

    def resolve(self, name: str) -> str:
        """The path of the layer called `name` (a path or a unique last part).

        Raises:
            loading.ModelError: no such spatial layer, or several.
        """
        place = target_choice.find(self._seen, name)
        return self._places.setdefault(place.about.name, place).about.name

    def at(self, layer: str) -> ExposedModel:
        """The same model with another target layer, given by path."""
        other = copy.copy(self)
        other.layer = layer
        return other

    def computed_by(
        self,
        backend: packages.Backend,
        threads: int | None = None,
        precision: precisions.Precision = "float32",
        *,
        constant_weights: bool | None = None,
    ) -> ExposedModel:
        """The same model with what needs no gradients computed by another engine, with the weights of its first use.

        Args:
            backend: the engine.
            threads, precision: as of `sessions.session`. TensorFlow's precision is that of the layers.
            constant_weights: whether TensorFlow's graphs hold the weights as constants; None as before.
        """
        other = copy.copy(self)
        if constant_weights is not None:
            other.constant_weights = constant_weights
        converted = backend in packages.CONVERTED
        graph = self._seen.graph
        other._computed = (  # noqa: SLF001 - of this class
            computing.Computed(backend, graph, self._places_fed, threads, precision) if converted else None
        )
        return other

    @property
    def fed(self) -> dict[str, tf.TensorSpec]:
        """What comes with each image, by name, in the order of `beside`."""
        return {
            one.input_name: tf.TensorSpec((None, *one.value.shape), tf.as_dtype(one.value.dtype), name=one.input_name)
            for one in self._constants
        }

    @property
    def stand_ins(self) -> dict[str, np.ndarray]:
        """What the model was looked into with, by name, without the batch axis."""
        return {one.input_name: one.value for one in self._constants}

    def beside(self, rows: Sequence[tf.Tensor]) -> ExposedModel:
        """The same model with what comes with each of B images, a tensor ``(B, ...)`` for each of `fed`.

        It takes inputs of B rows, and of others in the places that `rows_of` says.
        """
        other = copy.copy(self)
        other._rows = tuple(rows)  # noqa: SLF001 - of this class
        return other

    def rows_of(self, numbers: tf.Tensor) -> ExposedModel:
        """The same model for inputs that are, or were made of, rows `numbers` ``(n,)`` of the batch."""
        return self.beside([tf.gather(rows, numbers) for rows in self._rows]) if self._rows else self

    def grid(self, layer: str) -> tuple[int, ...]:
        """Cells along each axis and channels of a layer's activation maps."""
        return self._place(layer).about.grid

    def logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 ``(B, classes)`` class scores, which follow from the inputs and from the layers of `keras_model`."""
        return self._called(inputs).scores

    def forward(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 ``(B, classes)`` class scores, of which no gradient is taken."""
        return self.answer(inputs).scores

    def answer(self, inputs: tf.Tensor) -> class_scores.Answer:
        """What the model says of B images; no gradient is taken of that."""
        ahead = self._ahead(inputs)
        if ahead is not None:
            return self._head.answer(ahead.get([self._seen.traced.scores], inputs, self._rows)[0])
        if self._seen.graph.is_rewritten and tuple(inputs.shape[1:]) == self._seen.size:  # it is faster than the model
            return self._answer(self._run(inputs))
        return self._called(inputs)

    def expose(self, inputs: tf.Tensor, layers: tuple[str, ...] = ()) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Class scores and the activation maps they were computed from; as `expose_answer`."""
        answer, captured = self.expose_answer(inputs, layers)
        return answer.scores, captured

    def expose_answer(
        self, inputs: tf.Tensor, layers: tuple[str, ...] = ()
    ) -> tuple[class_scores.Answer, tuple[tf.Tensor, ...]]:
        """What the model says, and the activation maps they were computed from.

        Args:
            inputs: float32 ``(B, *positions, C)``.
            layers: paths of the layers to expose; the target layer by default.

        Returns:
            The answer, its scores float32 ``(B, classes)``, and for each layer float32 ``(B, *grid, K)``. The
            activations are inputs of the rest of the graph: ``tf.gradients(scores[:, c], activations)`` goes through
            the head only. On to the inputs it goes where TensorFlow computes all (`computed_by`).
        """
        layers = layers or (self.layer,)
        run, captured = self._run(inputs, [self._place(name).tensor for name in layers]), {}
        for name in sorted(layers, key=self._order):
            place = self._place(name)
            captured[name], rest = layer_outputs.to_grid(place.about, run.get(place.tensor))
            run.put(place.tensor, rest(captured[name]))
        return self._answer(run), tuple(captured[name] for name in layers)

    def bypass(self, inputs: tf.Tensor) -> tf.Tensor | None:
        """What the head needs of each image besides the target layer's grid; None where that is nothing or not known.

        Skip connections around the target layer and the tokens before its grid reach the class scores too. They follow
        from one tensor at or before the target layer, the last one that everything passes through: computed once for
        an image, it serves any number of runs of the head.

        Args:
            inputs: float32 ``(B, *positions, C)``.

        Returns:
            ``(B, ...)``, for `head`.
        """
        name = self._bypassed_at.get(self.layer)
        if name is None:
            return None
        output = self._output(name)
        return self._run(inputs, [output], output).get(output)

    def head(self, inputs: tf.Tensor, activations: tf.Tensor, bypass: tf.Tensor | None = None) -> tf.Tensor:
        """Class scores when the target layer's output is replaced.

        Args:
            inputs: float32 ``(B, *positions, C)``. Only what by-passes the target layer (a class token, a skip
                connection) is computed from them; a plain head never looks at them, and no head does where `bypass` is
                given.
            activations: float32 ``(B, *grid, K)``.
            bypass: what `bypass` gave for the inputs, row by row; None to compute it.
        """
        run, place = self._run(inputs), self._place(self.layer)
        if bypass is not None:
            run.put(self._output(self._bypassed_at[self.layer]), bypass)
        _, rest = layer_outputs.to_grid(place.about, run.get(place.tensor))
        run.put(place.tensor, rest(activations))
        return self._answer(run).scores

    @property
    def head_is_affine(self) -> bool:
        """Whether the logits are known to be a constant plus the gradient times the target layer's output.

        So it is after pooling and one dense layer.
        """
        return self.layer in self._affine_after

    @property
    def bypass_is_added(self) -> bool:
        """Whether one row of `bypass` is known to serve any number of rows of the activations, in `head`."""
        return self.layer == self._bypass_is_added_at and not self._rows

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Probabilities of class scores ``(..., classes)``, by the model's own rule."""
        return self._scores.probabilities(logits)

    def _run(
        self, inputs: tf.Tensor, mapped: Sequence[tf.Tensor] = (), wanted: tf.Tensor | None = None
    ) -> traced_graph.Run:
        """A forward pass; where tensors are mapped, what does not depend on them is computed by the fastest engine.

        Args:
            inputs: float32 ``(B, *positions, C)``.
            mapped: the tensors that will be exposed.
            wanted: what will be asked for in the end; the scores by default.
        """
        run = self._seen.graph.run(inputs, self.constant_weights)
        for place, rows in zip(self._places_fed, self._rows, strict=False):  # no rows: the constants themselves
            run.put(place, rows)
        ahead = self._ahead(inputs)
        if mapped and ahead is not None:
            given = (self._seen.graph.inputs, *self._places_fed)
            cut = frontier.frontier(given, mapped, self._seen.traced.scores if wanted is None else wanted)
            for tensor, value in zip(cut, ahead.get(cut, inputs, self._rows), strict=True):
                run.put(tensor, value)
        return run

    def _ahead(self, inputs: tf.Tensor) -> computing.Computed | None:
        """The other engine, where it has the model for inputs of this size."""
        return self._computed if tuple(inputs.shape[1:]) == self._seen.size else None

    def _called(self, inputs: tf.Tensor) -> class_scores.Answer:
        """What the Keras model says of B images, when it is called."""
        weights = weight_constants.as_constants(self.keras_model) if self.constant_weights else contextlib.nullcontext()
        with self.lock, weights, self._feeding():
            outputs = self.keras_model(inputs, training=False)
        return self._head.answer(self._source.find(outputs)[0])

    def _feeding(self) -> contextlib.AbstractContextManager[None]:
        return input_constants.feeding(self._constants, self._rows) if self._rows else contextlib.nullcontext()

    def _answer(self, run: traced_graph.Run) -> class_scores.Answer:
        return self._head.answer(run.get(self._seen.traced.scores))

    def _place(self, name: str) -> trial_runs.Place:
        """The tensor of a whole name."""
        return self._places.get(name) or self._seen.place(name)

    def _output(self, path: str) -> tf.Tensor:
        """What the layer at a path gives."""
        return next(c.output for c in self._seen.traced.calls if c.path == path)

    def _order(self, name: str) -> int:
        """The place of a tensor in the order of computation."""
        return self._seen.graph.order[self._place(name).tensor.op.name]
