"""Explain batches of images: which pass is run for what, and how a batch becomes explanations.

The engine knows no Beam. It loads a model, exposes it, and turns images into logits, explained classes and raw
heatmaps: by the pass that all methods share (`shared_pass`) and by passes of their own for the methods that need them
(`many_pass`).
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping, Sequence

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms import records
from heatbeam.transforms.engine import (
    batch_tuning,
    computing,
    devices,
    explained,
    many_pass,
    pixel_types,
    planned,
    shared_pass,
    specs,
)
from heatbeam.transforms.methods import channel_evidence
from heatbeam.transforms.metrics.faithfulness import stability
from heatbeam.transforms.models import exposure, integer_inputs, weight_constants
from heatbeam.transforms.models.files import loading

# Images of one shared pass where TensorFlow has one thread per operation: what it computes stays in the core's caches.
_CORE_BATCH = 8


class BatchError(Exception):
    """The model failed on this batch; one of its images may be to blame."""


class OutOfMemory(Exception):
    """The device has no memory for a batch of this size."""


class Engine:
    """A loaded model and its configured methods. Safe to call from several threads.

    Attributes:
        spec: the specification.
        model: the exposed model.
        description: what was exposed.
        shared: the pass that all methods share.
        further: labels of the methods that need passes of their own.
        batch_size: how many images to explain at once, at most.
        pass_size: how many of them share a forward pass; fewer where each core has a batch of its own.
        trials: what was measured to find that, if it was.
        first_pass_s: seconds that each image of its first shared pass took, the tracing with it; infinite until it is
            warm.
    """

    def __init__(self, spec: specs.EngineSpec, model: exposure.ExposedModel | None = None) -> None:
        """Load and expose the model.

        Args:
            spec: the specification.
            model: the exposed model of a specification that differs in `compute` and `precision` alone, with layers of
                the same `computing.keras_policy`; None to load it.

        Raises:
            loading.ModelError: the model or a layer is not what the specification says, a method does not fit it, or
                what is to compute it is not installed.
        """
        computing.check(spec)
        devices.configure(spec.intra_op_threads, spec.gpu_memory)
        self.spec = spec
        self.trials: list[batch_tuning.Trial] = []
        self.first_pass_s = math.inf
        self.batch_size = spec.batch_size
        self._xla = computing.compiles(spec)
        self.pass_size, self._image_rows = _pass_sizes(spec)
        model = exposed(spec) if model is None else model
        self.model = model.computed_by(
            spec.compute,
            spec.intra_op_threads,
            spec.precision,
            constant_weights=_constant_weights(spec, model.keras_model),
        )
        self.description = self.model.description
        self._preprocess = loading.preprocessing_function(spec.preprocessing, spec.model)
        self._methods = [planned.planned(m, self.model, spec.seed) for m in spec.methods]
        self._columns = explained.Columns.of(spec.targets, self.description.classes)
        _check_targets(spec, self.description.classes)
        self.shared = shared_pass.SharedPass(
            self.model, self._methods, self._preprocess, self._columns, xla=self._xla, evidence=spec.evidence
        )
        rows = many_pass.Rows(images=self._image_rows, head=spec.pass_batch_size)
        self.further = tuple(method.label for method in self._methods if not method.shares_pass)
        self._further = many_pass.ManyPass(self.model, self._methods, self._columns.width, rows)
        self._predict = tf.function(
            lambda inputs, *fed: self.model.beside(fed).answer(inputs).probabilities,
            autograph=False,
            input_signature=[tf.TensorSpec((None, *self.description.input_size), tf.float32), *self.model.fed.values()],
        )
        self._score = pixel_types.ByPixelType(
            lambda images, *fed: self.model.beside(fed).forward(self._preprocess(images)),
            self.description.input_size,
            *self.model.fed.values(),
        )
        self._choose = pixel_types.ByPixelType(
            self._first_choices,
            self.description.input_size,
            *self.model.fed.values(),
        )
        self._twins: dict[tuple[float, int], Engine] = {}
        self._making_twins = threading.Lock()
        self._slots = threading.BoundedSemaphore(2 if tf.config.list_physical_devices("GPU") else 64)

    def warm_up(self) -> None:
        """Trace everything, so that the first batch is not slower than the others, and check that methods fit.

        Raises:
            loading.ModelError: a method does not fit the model's head.
        """
        noise = self._noise(2)
        planned.check_linear_heads(self._methods, self.model, self._preprocess, noise)
        planned.check_folds(self._methods, self.model, self._preprocess, noise)
        started = time.perf_counter()
        self.explain(noise, [(0,), (0,)], {})
        self.first_pass_s = (time.perf_counter() - started) / len(noise)
        if self.model.constant_weights:
            weight_constants.give_back_copies()
        if self.spec.tune_batch and not self.trials:
            self._tune_batch()

    def explain(
        self,
        images: np.ndarray,
        label_ids: Sequence[tuple[int, ...]],
        selected: Mapping[str, np.ndarray],
        inputs: Mapping[str, np.ndarray] | None = None,
    ) -> list[explained.ImageExplanation]:
        """Explain a batch.

        Args:
            images: uint8 or float32, levels 0 to 255, ``(N, height, width, channels)`` at the model's input size.
            label_ids: the class ids of each image; may be empty.
            selected: for methods that explain a sample, bool ``(N,)``; a method that is not named explains all.
            inputs: the model's other inputs that come with each image (`specs.EngineSpec.fed`), ``(N, ...)`` by name;
                None for the constants that stand in. Whatever a method changes of an image, these stay its own.

        Returns:
            One explanation per image, in order. Results do not depend on what else is in the batch.

        Raises:
            BatchError: the model failed; its message is the device's.
            OutOfMemory: the batch is too large for the device.
            ValueError: an input is missing, is not known or does not fit.
        """
        fed = self._fed(inputs, len(images))
        with self._slots:
            try:
                parts = self._explain_parts(images, label_ids, selected, fed)
            except tf.errors.ResourceExhaustedError as error:
                raise OutOfMemory(_message(error)) from error
            except tf.errors.OpError as error:
                raise BatchError(_message(error)) from error
        return [explained.joined([part[i] for part in parts], self.spec.targets) for i in range(len(images))]

    def predict(self, inputs: np.ndarray, others: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """Probabilities float32 ``(N, classes)`` of preprocessed inputs, at most `pass_batch_size` at a time.

        Args:
            inputs: float32 ``(N, *positions, C)``.
            others: as `inputs` of `explain`.
        """
        size, arrays = self._image_rows, (inputs, *self._fed(others, len(inputs)))
        chunks = [
            self._predict(*(tf.constant(array[i : i + size]) for array in arrays)).numpy()
            for i in range(0, len(inputs), size)
        ]
        return np.concatenate(chunks) if chunks else np.zeros((0, self.description.classes), np.float32)

    def scores(self, images: np.ndarray, others: Mapping[str, np.ndarray] | None = None) -> np.ndarray:
        """The scores float32 ``(N, classes)`` of images ``(N, H, W, C)``, uint8 or float32, in one pass."""
        found: np.ndarray = self._score(*map(tf.constant, (images, *self._fed(others, len(images))))).numpy()
        return found

    def answers(
        self, images: np.ndarray, others: Mapping[str, np.ndarray] | None = None, *, whole: bool = True
    ) -> list[np.ndarray]:
        """What the model gives for images: scores ``(N, classes)``, those of a whole pass, and each layer's map.

        At most `pass_size` images share a pass.

        Args:
            images, others: as `images` and `inputs` of `explain`.
            whole: whether a whole pass is asked for.
        """
        layers, exposed_model = self.shared.layers, self.model
        if (self.spec.compute, self.spec.precision) == ("tensorflow", "float32"):
            # What follows from constant weights is the same but for rounding, and takes longer than a few passes.
            exposed_model = exposed_model.computed_by("tensorflow", constant_weights=False)

        def given(images: tf.Tensor, *fed: tf.Tensor) -> tuple[tf.Tensor, ...]:
            model, inputs = exposed_model.beside(fed), self._preprocess(images)
            logits, activations = model.expose(inputs, layers)
            return (logits, *([model.answer(inputs).scores] if whole else []), *activations)

        pixels = tf.TensorSpec((None, *images.shape[1:]), images.dtype)
        traced = tf.function(
            given,
            autograph=False,
            jit_compile=self._xla or None,
            input_signature=[pixels, *self.model.fed.values()],
        )
        size, arrays = self.pass_size, (images, *self._fed(others, len(images)))
        parts = [traced(*(tf.constant(one[i : i + size]) for one in arrays)) for i in range(0, len(images), size)]
        return [np.concatenate([tensor.numpy() for tensor in tensors]) for tensors in zip(*parts, strict=True)]

    def _first_choices(self, images: tf.Tensor, *fed: tf.Tensor) -> tf.Tensor:
        order = self.model.beside(fed).answer(self._preprocess(images)).order
        return tf.math.top_k(order, self._columns.looked_up).indices

    def preprocess(self, images: np.ndarray) -> np.ndarray:
        """Images ``(N, H, W, C)``, uint8 or float32, as the model's float32 input."""
        inputs: np.ndarray = self._preprocess(tf.constant(images)).numpy()
        return inputs

    def explain_inputs(
        self, label: str, inputs: np.ndarray, class_ids: np.ndarray, others: Mapping[str, np.ndarray] | None = None
    ) -> np.ndarray:
        """The maps of one configured method for preprocessed inputs, one class each.

        Args:
            label: of the method.
            inputs: float32 ``(N, H, W, C)``.
            class_ids: int ``(N,)``.
            others: as `inputs` of `explain`.

        Returns:
            float32 ``(N, h, w)``, raw and signed; at most `pass_batch_size` inputs at a time.
        """
        return self._further.alone(label, inputs, class_ids, self._fed(others, len(inputs)))

    def randomized(self, share: float, seed: int) -> Engine:
        """A twin of this engine whose model has shuffled weights; made once and kept.

        Args:
            share: of the weight arrays that are shuffled, from the output back.
            seed: of the shuffling.
        """
        with self._making_twins:
            if (share, seed) not in self._twins:
                twin = Engine(self.spec)
                weights = stability.randomized_weights(twin.model.keras_model.get_weights(), share=share, seed=seed)
                twin.model.keras_model.set_weights(weights)
                self._twins[share, seed] = twin
        return self._twins[share, seed]

    def take_weights(self, other: Engine) -> None:
        """Have the weights of an engine of the same model, before the first image: some are drawn at each loading."""
        if other.description.digest != self.description.digest:
            self.model.keras_model.set_weights(other.model.keras_model.get_weights())

    def _fed(self, inputs: Mapping[str, np.ndarray] | None, count: int) -> list[np.ndarray]:
        """What comes with each of `count` images, in the model's order and types."""
        wanted, stand_ins = self.model.fed, self.model.stand_ins
        if inputs is None:
            return [np.repeat(stand_ins[name][None], count, axis=0) for name in wanted]
        if set(inputs) != set(wanted):
            raise ValueError(f"inputs {sorted(inputs)} come with the images; expected {sorted(wanted)}")
        arrays = []
        for name, spec in wanted.items():
            array = np.asarray(inputs[name])
            if array.shape != (count, *spec.shape[1:]):
                raise ValueError(f"input {name} has shape {array.shape}; expected {(count, *spec.shape[1:])}")
            arrays.append(array if spec.dtype == tf.string else array.astype(spec.dtype.as_numpy_dtype))
        return arrays

    def _noise(self, count: int) -> np.ndarray:
        """Images of the type that will come: the pass is traced for it."""
        noise = np.random.default_rng(0).integers(0, 256, (count, *self.description.input_size), dtype=np.uint8)
        return noise.astype(np.float32) if self.spec.float_pixels else noise

    def _tune_batch(self) -> None:
        """Find `batch_size`, by the shared pass: other passes have a size of their own."""
        pixels = self._noise(1)[0]

        def run(size: int) -> None:
            images = np.repeat(pixels[None], size, axis=0)
            given = np.zeros((size, self._columns.given), np.int32)
            results = self.shared.run(images, given, size, self._fed(None, size))
            tf.nest.map_structure(lambda tensor: tensor.numpy(), results.maps)  # waits for the device

        self.trials = batch_tuning.trials(run, tf.errors.ResourceExhaustedError, self.spec.batch_size)
        self.batch_size = self.pass_size = batch_tuning.best(self.trials)

    def _explain_parts(
        self,
        images: np.ndarray,
        label_ids: Sequence[tuple[int, ...]],
        selected: Mapping[str, np.ndarray],
        fed: Sequence[np.ndarray],
    ) -> list[list[explained.ImageExplanation]]:
        """Explain a batch in as many passes as its classes need, `explained.WIDEST` classes of an image at a time."""
        wanted = [explained.given_classes(self.spec.targets, ids) for ids in label_ids]
        if self._columns.looked_up:
            top = self._choose(*map(tf.constant, (images, *fed))).numpy().tolist()
            wanted = [w + explained.chosen_classes(self.spec.targets, ids) for w, ids in zip(wanted, top, strict=True)]
        width = self._columns.given
        rounds = max(1, -(-max(map(len, wanted)) // width)) if width else 1
        return [
            self._explain_part(
                images,
                [w[i * width : (i + 1) * width] for w in wanted],
                selected,
                fed,
                with_top=i == rounds - 1 and not self._columns.looked_up,
            )
            for i in range(rounds)
        ]

    def _explain_part(
        self,
        images: np.ndarray,
        wanted: list[list[explained.Reason]],
        selected: Mapping[str, np.ndarray],
        fed: Sequence[np.ndarray],
        *,
        with_top: bool,
    ) -> list[explained.ImageExplanation]:
        """Explain as many wanted classes of each image as a pass has columns for, and the model's own choices."""
        count = len(images)
        given = np.full((count, self._columns.given), records.NO_CLASS, np.int32)
        for row, classes in zip(given, wanted, strict=True):
            row[: len(classes)] = [class_id for class_id, _ in classes]
        padded = self.batch_size if self._xla else count
        more = [_padded(array, padded) for array in fed]
        results = self.shared.run(_padded(images, padded), _padded(given, padded), self.pass_size, more)
        batch = explained.Batch(
            targets=self.spec.targets,
            given=wanted,
            columns=self._columns,
            with_top=with_top,
            top=results.top.numpy()[:count],
            logits=results.logits.numpy()[:count],
            probabilities=results.probabilities.numpy()[:count],
            ranks=results.ranks.numpy()[:count],
            finite=results.finite.numpy()[:count],
            maps=[self._maps(method, results, selected.get(method.label), count) for method in self._methods],
            evidence=_evidence(results.evidence, count),
        )
        return [batch.image(i) for i in range(count)]

    def _maps(
        self, method: planned.PlannedMethod, results: shared_pass.Results, chosen: np.ndarray | None, count: int
    ) -> explained.BatchMaps:
        """The maps of one method for the first `count` images, from the pass that it shares or from its own."""
        if results.kept is None or method.shares_pass:
            values = results.maps[method.label].numpy()[:count]
        else:
            values = self._further.maps(method.label, results.class_ids, results.kept, chosen, count)
        return explained.BatchMaps(method.label, method.layer, np.moveaxis(values, -1, 1), chosen)


def _evidence(found: channel_evidence.Strongest | None, count: int) -> records.ChannelEvidence | None:
    """The evidence of the first `count` images."""
    return None if found is None else records.ChannelEvidence(*(tensor.numpy()[:count] for tensor in found))


def _pass_sizes(spec: specs.EngineSpec) -> tuple[int, int]:
    """Images of a shared pass and of a pass of a many-pass method through the whole model."""
    sizes = spec.batch_size, spec.pass_batch_size
    on_core = spec.intra_op_threads == 1 and not computing.compiles(spec)
    on_core = on_core and not tf.config.list_physical_devices("GPU")
    return (min(_CORE_BATCH, sizes[0]), min(_CORE_BATCH, sizes[1])) if on_core else sizes


def exposed(spec: specs.EngineSpec) -> exposure.ExposedModel:
    """The model of a specification, loaded and exposed."""
    keras_model = loading.load_keras_model(spec.model, spec.seed)
    _take_floats(keras_model, spec)
    known = len(keras_model.weights)
    if computing.keras_policy(spec) != "float32":
        loading.set_precision(keras_model, spec.precision)
    model = exposure.ExposedModel(
        keras_model,
        layer=spec.target_layer,
        scores=spec.scores,
        output=spec.output,
        size=spec.input_size,
        reference=spec.reference,
        fed=spec.fed,
        constant_weights=_constant_weights(spec, keras_model),
    )
    if len(keras_model.weights) != known:  # made when the model was first called
        loading.check_finite(keras_model)
    return model


def _constant_weights(spec: specs.EngineSpec, model: keras.Model) -> bool:
    chosen = spec.constant_weights
    return weight_constants.pays_off(model, computing.compiles(spec)) if chosen is None else chosen


def _take_floats(keras_model: keras.Model, spec: specs.EngineSpec) -> None:
    """Have a model that declares integer pixels take floats, and see that they are pixels."""
    dtype = integer_inputs.declared(keras_model)
    if dtype is not None:
        pixels = spec.preprocessing
        if pixels.mode != "none" or pixels.numbers:
            raise loading.ModelError(
                f"model {keras_model.name} takes {dtype} pixels and prepares them itself; set model.preprocessing: none"
            )
    integer_inputs.taken_as_floats(keras_model, loading.input_size(keras_model, spec.input_size))


def _check_targets(spec: specs.EngineSpec, classes: int) -> None:
    values = spec.scores in specs.VALUES
    for target in spec.targets:
        if isinstance(target, int) and target >= classes:
            one, all_ = ("output", "outputs") if values else ("class", "classes")
            raise loading.ModelError(f"explain.targets names {one} {target}, the model has {all_} 0 to {classes - 1}")
        if values and isinstance(target, str) and (classes > 1 or target not in ("label", "predicted")):
            raise loading.ModelError(
                f"explain.targets has {target}, which names a class, and the model gives {classes} values "
                f"(model.scores: {spec.scores}); name outputs by their index, such as explain.targets: [0]"
            )


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    """`array` with its first row repeated at the end up to `length` rows."""
    if len(array) >= length:
        return array
    return np.concatenate([array, np.repeat(array[:1], length - len(array), axis=0)])


def _message(error: tf.errors.OpError) -> str:
    """What the device said, without the stack of the code that built the graph."""
    noise = (" ", "\t", "Graph execution error", "Detected at node", "Stack trace", "File ", "Traceback ", "Hint: ")
    lines = [line for line in str(error.message).splitlines() if line.strip() and not line.startswith(noise)]
    lines = list(dict.fromkeys(lines))  # what Python raised is said again after where
    return " ".join(" ".join(lines or [type(error).__name__]).split())[:200]
