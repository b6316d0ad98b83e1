"""Explain batches of images: one forward pass and one head gradient for every one-pass method at once.

The engine knows no Beam. It loads a model, exposes it, traces one ``tf.function`` for any batch size, and turns uint8
images into logits, explained classes and raw heatmaps.
"""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from heatbeam.transforms import records
from heatbeam.transforms.engine import batch_tuning, explained, specs
from heatbeam.transforms.methods import cam, passes, registry, targets
from heatbeam.transforms.metrics.faithfulness import stability
from heatbeam.transforms.models import exposure, loading, weight_constants

# Images of one shared pass where TensorFlow has one thread per operation: what it computes stays in the core's caches.
_CORE_BATCH = 8

_LINEAR_TOLERANCE = 1e-3  # of the largest gradient: half precision rounds to about that


class BatchError(Exception):
    """The model failed on this batch; one of its images may be to blame."""


class OutOfMemory(Exception):
    """The device has no memory for a batch of this size."""


@dataclasses.dataclass(frozen=True)
class _Planned:
    """A method resolved against the model: its layers by path, its code and its complete options."""

    label: str
    kind: str
    layers: tuple[str, ...]
    target: str
    function: Callable[..., tf.Tensor]
    options: dict[str, Any]
    wrapper: Callable[..., tf.Tensor] | None
    wrapper_options: dict[str, Any]
    needs_linear_gap_head: bool
    runs_head: bool

    @property
    def is_one_pass(self) -> bool:
        return self.kind in (registry.ONE_PASS, registry.FUSED_LAYERS)

    @property
    def shares_pass(self) -> bool:
        """Whether it is arithmetic on the pass that all methods share."""
        return self.is_one_pass and self.wrapper is None

    def one_pass_maps(self, activations: list[tf.Tensor], gradients: list[tf.Tensor]) -> tf.Tensor:
        if self.kind == registry.FUSED_LAYERS:
            return self.function(tuple(activations), tuple(gradients), **self.options)
        return self.function(activations[0], gradients[0], **self.options)


def _resolved(spec: specs.MethodSpec, model: exposure.ExposedModel, seed: int) -> _Planned:
    method = registry.get(spec.method)
    wrapper, wrapper_options = None, {}
    if spec.wrapper is not None:
        wrapper = registry.get_wrapper(spec.wrapper)
        wrapper_options = specs.complete_options(spec.wrapper, dict(spec.wrapper_options), seed)
    layers = tuple(model.resolve(name) for name in spec.layers) or (model.layer,)
    if "layers" in method.needs and len(layers) < 2:
        raise loading.ModelError(f"method {spec.label} fuses several layers; name them in `layers`, the finest first")
    if "layers" not in method.needs and len(layers) > 1:
        raise loading.ModelError(f"method {spec.label} maps one layer; {len(layers)} are named")
    return _Planned(
        label=spec.label,
        kind=method.kind,
        layers=layers,
        target=spec.target,
        function=method.function,
        options=specs.complete_options(spec.method, dict(spec.options), seed),
        wrapper=wrapper.function if wrapper is not None else None,
        wrapper_options=wrapper_options,
        needs_linear_gap_head="linear_gap_head" in method.needs,
        runs_head="head" in method.needs,
    )


class Engine:
    """A loaded model and its configured methods. Safe to call from several threads.

    Attributes:
        spec: the specification.
        model: the exposed model.
        description: what was exposed.
        traces: how often the shared pass was traced; stays 1.
        batch_size: how many images to explain at once, at most.
        pass_size: how many of them share a forward pass; fewer where each core has a batch of its own.
        trials: what was measured to find that, if it was.
    """

    def __init__(self, spec: specs.EngineSpec) -> None:
        """Load and expose the model.

        Raises:
            loading.ModelError: the model or a layer is not what the specification says, or a method does not fit it.
        """
        loading.configure_devices(spec.intra_op_threads, memory_growth=True)
        self.spec = spec
        self.traces = 0
        self.batch_size = spec.batch_size
        self.trials: list[batch_tuning.Trial] = []
        on_core = spec.intra_op_threads == 1 and not spec.xla and not tf.config.list_physical_devices("GPU")
        self.pass_size = min(_CORE_BATCH, spec.batch_size) if on_core else spec.batch_size
        # Whole images to a pass of a many-pass method.
        self._image_rows = min(_CORE_BATCH, spec.pass_batch_size) if on_core else spec.pass_batch_size
        keras_model = loading.load_keras_model(spec.model)
        if spec.precision != "float32":
            loading.set_precision(keras_model, spec.precision)
        constant = spec.constant_weights
        self.model = exposure.ExposedModel(
            keras_model,
            layer=spec.target_layer,
            scores=spec.scores,
            output=spec.output,
            size=spec.input_size,
            constant_weights=weight_constants.pays_off(keras_model, spec.xla) if constant is None else constant,
        )
        self.description = self.model.description
        self._preprocess = loading.preprocessing_function(spec.preprocessing, spec.model.application)
        self._plan = [_resolved(m, self.model, spec.seed) for m in spec.methods]
        self._layers = tuple(dict.fromkeys(name for m in self._plan for name in m.layers))
        self._top = explained.top_count(spec.targets, self.description.classes)
        self._given = explained.given_count(spec.targets)
        self._looked_up = 0  # first choices that are found by a pass of their own, to be given to the shared pass
        if self._given + self._top > explained.WIDEST:
            self._given, self._looked_up, self._top = explained.WIDEST, self._top, 0
        self._check_explicit_ids()
        self._shared = self._build_shared_pass()
        self._many_pass = {m.label: self._build_many_pass(m) for m in self._plan if not m.shares_pass}
        self._predict = tf.function(
            lambda inputs: self.model.probabilities(self.model.logits(inputs)),
            autograph=False,
            input_signature=[tf.TensorSpec((None, *self.description.input_size), tf.float32)],
        )
        self._choose = tf.function(
            lambda images: tf.math.top_k(self.model.logits(self._preprocess(images)), self._looked_up).indices,
            autograph=False,
            input_signature=[tf.TensorSpec((None, *self.description.input_size), tf.uint8)],
        )
        self._tracing = threading.RLock()
        self._direct: dict[str, Callable[..., tf.Tensor]] = {}
        self._twins: dict[tuple[float, int], Engine] = {}
        self._slots = threading.BoundedSemaphore(2 if tf.config.list_physical_devices("GPU") else 64)

    def warm_up(self) -> None:
        """Trace everything, so that the first batch is not slower than the others, and check that methods fit.

        Raises:
            loading.ModelError: a method does not fit the model's head.
        """
        height, width, channels = self.description.input_size
        noise = np.random.default_rng(0).integers(0, 256, (2, height, width, channels), dtype=np.uint8)
        self._check_linear_head(noise)
        self.explain(noise, [(0,), (0,)], {})
        if self.spec.tune_batch and not self.trials:
            self._tune_batch()

    def _tune_batch(self) -> None:
        """Find `batch_size`, by the shared pass: other passes have a size of their own."""
        pixels = np.random.default_rng(0).integers(0, 256, self.description.input_size, dtype=np.uint8)

        def run(size: int) -> None:
            images = tf.constant(np.repeat(pixels[None], size, axis=0))
            out = self._shared(images, tf.constant(np.zeros((size, self._given), np.int32)))
            tf.nest.map_structure(lambda tensor: tensor.numpy(), out["maps"])  # waits for the device

        self.trials = batch_tuning.trials(run, tf.errors.ResourceExhaustedError, self.spec.batch_size)
        self.batch_size = self.pass_size = batch_tuning.best(self.trials)

    def explain(
        self, images: np.ndarray, label_ids: Sequence[tuple[int, ...]], selected: Mapping[str, np.ndarray]
    ) -> list[explained.ImageExplanation]:
        """Explain a batch.

        Args:
            images: uint8 ``(N, height, width, channels)`` at the model's input size.
            label_ids: the class ids of each image; may be empty.
            selected: for methods that explain a sample, bool ``(N,)``; a method that is not named explains all.

        Returns:
            One explanation per image, in order. Results do not depend on what else is in the batch.

        Raises:
            BatchError: the model failed; its message is the device's.
            OutOfMemory: the batch is too large for the device.
        """
        with self._slots:
            try:
                parts = self._explain_parts(images, label_ids, selected)
            except tf.errors.ResourceExhaustedError as error:
                raise OutOfMemory(_message(error)) from error
            except tf.errors.OpError as error:
                raise BatchError(_message(error)) from error
        return [explained.joined([part[i] for part in parts], self.spec.targets) for i in range(len(images))]

    def predict(self, inputs: np.ndarray) -> np.ndarray:
        """Probabilities float32 ``(N, classes)`` of preprocessed inputs, at most `pass_batch_size` at a time."""
        size = self._image_rows
        chunks = [self._predict(tf.constant(inputs[i : i + size])).numpy() for i in range(0, len(inputs), size)]
        return np.concatenate(chunks) if chunks else np.zeros((0, self.description.classes), np.float32)

    def preprocess(self, images: np.ndarray) -> np.ndarray:
        """uint8 images ``(N, H, W, C)`` as the model's float32 input."""
        return self._preprocess(tf.constant(images)).numpy()

    def explain_inputs(self, label: str, inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        """The maps of one configured method for preprocessed inputs, one class each.

        Args:
            label: of the method.
            inputs: float32 ``(N, H, W, C)``.
            class_ids: int ``(N,)``.

        Returns:
            float32 ``(N, h, w)``, raw and signed; at most `pass_batch_size` inputs at a time.
        """
        size = self._image_rows
        with self._tracing:
            if label not in self._direct:
                self._direct[label] = self._build_direct(next(m for m in self._plan if m.label == label))
        run = self._direct[label]
        ids = class_ids.astype(np.int32)[:, None]
        parts = [
            run(tf.constant(inputs[i : i + size]), tf.constant(ids[i : i + size])).numpy()
            for i in range(0, len(inputs), size)
        ]
        return np.concatenate(parts)[..., 0]

    def randomized(self, share: float, seed: int) -> Engine:
        """A twin of this engine whose model has shuffled weights; made once and kept.

        Args:
            share: of the weight arrays that are shuffled, from the output back.
            seed: of the shuffling.
        """
        with self._tracing:
            if (share, seed) not in self._twins:
                twin = Engine(self.spec)
                weights = stability.randomized_weights(twin.model.keras_model.get_weights(), share=share, seed=seed)
                twin.model.keras_model.set_weights(weights)
                self._twins[share, seed] = twin
        return self._twins[share, seed]

    def _explain_parts(
        self, images: np.ndarray, label_ids: Sequence[tuple[int, ...]], selected: Mapping[str, np.ndarray]
    ) -> list[list[explained.ImageExplanation]]:
        """Explain a batch in as many passes as its classes need, `explained.WIDEST` classes of an image at a time."""
        wanted = [explained.given_classes(self.spec.targets, ids) for ids in label_ids]
        if self._looked_up:
            top = self._choose(tf.constant(images)).numpy().tolist()
            wanted = [w + explained.chosen_classes(self.spec.targets, ids) for w, ids in zip(wanted, top, strict=True)]
        width = self._given
        rounds = max(1, -(-max(map(len, wanted)) // width)) if width else 1
        return [
            self._explain_part(
                images,
                [w[i * width : (i + 1) * width] for w in wanted],
                selected,
                with_top=i == rounds - 1 and not self._looked_up,
            )
            for i in range(rounds)
        ]

    def _run_shared(self, images: np.ndarray, given: np.ndarray) -> dict[str, Any]:
        """The shared pass of a batch, `pass_size` images at a time."""
        starts = range(0, max(1, len(images)), self.pass_size)
        ends = [start + self.pass_size for start in starts]
        parts = [
            self._shared(tf.constant(images[i:j]), tf.constant(given[i:j])) for i, j in zip(starts, ends, strict=True)
        ]
        return parts[0] if len(parts) == 1 else tf.nest.map_structure(lambda *parts: tf.concat(parts, axis=0), *parts)

    def _explain_part(
        self,
        images: np.ndarray,
        wanted: list[list[tuple[int, str]]],
        selected: Mapping[str, np.ndarray],
        with_top: bool,
    ) -> list[explained.ImageExplanation]:
        """Explain up to `_given` wanted classes of each image, and the model's own choices."""
        count = len(images)
        given = np.full((count, self._given), records.NO_CLASS, np.int32)
        for row, classes in zip(given, wanted, strict=True):
            row[: len(classes)] = [class_id for class_id, _ in classes]
        padded = self.batch_size if self.spec.xla else count
        images, given = _padded(images, padded), _padded(given, padded)
        out = self._run_shared(images, given)
        fetched = {
            name: out[name].numpy()[:count]
            for name in ("class_ids", "logits", "probabilities", "ranks", "top", "finite")
        }
        maps = []
        for method in self._plan:
            chosen = selected.get(method.label)
            layer = "input" if method.kind == registry.INPUT_GRADIENT else "+".join(method.layers)
            if method.label in self._many_pass:
                values = self._run_many_pass(method, out, chosen, count)
            else:
                values = out["maps"][method.label].numpy()[:count]
            maps.append(explained.BatchMaps(method.label, layer, np.moveaxis(values, -1, 1), chosen))
        return [
            explained.image_explanation(i, self.spec.targets, wanted[i], fetched, maps, with_top, self._given)
            for i in range(count)
        ]

    def _run_many_pass(
        self, method: _Planned, out: Mapping[str, Any], chosen: np.ndarray | None, count: int
    ) -> np.ndarray:
        """The maps of one many-pass method, for the images chosen for it; zeros for the others."""
        rows = np.arange(count) if chosen is None else np.flatnonzero(chosen[:count])
        if not len(rows):
            return np.zeros((count, 1, 1, out["class_ids"].shape[1]), np.float32)
        arguments = [
            out["inputs"],
            tf.maximum(out["class_ids"], 0),
            out["activations"][method.layers[0]],
            out["raw_logits"],
        ]
        if len(rows) < out["inputs"].shape[0]:
            arguments = [tf.gather(a, rows) for a in arguments]
        part = self._many_pass[method.label](*arguments).numpy()
        if len(rows) == count:
            return part
        values = np.zeros((count, *part.shape[1:]), np.float32)
        values[rows] = part
        return values

    def _build_shared_pass(self) -> Callable[..., dict[str, Any]]:
        """The traced pass that every method shares: logits, explained classes, activations and head gradients."""
        height, width, channels = self.description.input_size
        explained_top = self._top
        keep = any(not method.shares_pass for method in self._plan)

        def shared(images: tf.Tensor, given: tf.Tensor) -> dict[str, Any]:
            self.traces += 1
            inputs = self._preprocess(images)
            logits, exposed = self.model.expose(inputs, self._layers)
            top = tf.math.top_k(logits, max(1, explained_top)).indices
            class_ids = tf.concat([given, top[:, :explained_top]], axis=1)
            class_ids = tf.ensure_shape(class_ids, [None, self._given + explained_top])
            chosen = tf.maximum(class_ids, 0)
            activations = dict(zip(self._layers, exposed, strict=True))
            out = {
                "class_ids": class_ids,
                "top": top,
                "logits": tf.gather(logits, chosen, batch_dims=1),
                "probabilities": tf.gather(self.model.probabilities(logits), chosen, batch_dims=1),
                "ranks": _ranks(logits, chosen),
                "finite": tf.reduce_all(tf.math.is_finite(logits), axis=1),
                "maps": self._one_pass_maps(logits, chosen, activations),
            }
            if keep:
                out |= {"inputs": inputs, "raw_logits": logits, "activations": activations}
            return out

        return tf.function(
            shared,
            autograph=False,
            jit_compile=self.spec.xla or None,
            input_signature=[
                tf.TensorSpec((None, height, width, channels), tf.uint8),
                tf.TensorSpec((None, self._given), tf.int32),
            ],
        )

    def _one_pass_maps(
        self, logits: tf.Tensor, class_ids: tf.Tensor, activations: dict[str, tf.Tensor]
    ) -> dict[str, tf.Tensor]:
        """The maps of every one-pass method, each head gradient taken once."""
        gradients: dict[tuple[str, str], tf.Tensor] = {}
        maps = {}
        for method in self._plan:
            if not method.shares_pass:
                continue
            for layer in method.layers:
                if (method.target, layer) not in gradients:
                    scores = targets.target_scores(logits, class_ids, method.target)
                    gradients[method.target, layer] = targets.score_gradients(scores, activations[layer])
            maps[method.label] = method.one_pass_maps(
                [activations[layer] for layer in method.layers],
                [gradients[method.target, layer] for layer in method.layers],
            )
        return maps

    def _build_many_pass(self, method: _Planned) -> Callable[..., tf.Tensor]:
        """The traced passes of a method that cannot share the common one."""
        model = self.model.at(method.layers[0])
        size = self._rows(method)

        def run(inputs: tf.Tensor, class_ids: tf.Tensor, activations: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
            if method.wrapper is not None:
                return self._maps_of(method, inputs, class_ids)
            return method.function(passes.Pass(model, inputs, class_ids, activations, logits, size), **method.options)

        about = self.model.description
        grid = self.model.grid(method.layers[0])
        return tf.function(
            run,
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, *about.input_size), tf.float32),
                tf.TensorSpec((None, self._given + self._top), tf.int32),
                tf.TensorSpec((None, *grid), tf.float32),
                tf.TensorSpec((None, about.classes), tf.float32),
            ],
        )

    def _rows(self, method: _Planned) -> int:
        """Rows of one pass of a many-pass method: a head alone is so small that more of them are better."""
        return self.spec.pass_batch_size if method.runs_head else self._image_rows

    def _build_direct(self, method: _Planned) -> Callable[..., tf.Tensor]:
        """A method by itself: preprocessed inputs and one class each to maps."""
        return tf.function(
            lambda inputs, class_ids: self._maps_of(method, inputs, class_ids),
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, *self.description.input_size), tf.float32),
                tf.TensorSpec((None, 1), tf.int32),
            ],
        )

    def _maps_of(self, method: _Planned, inputs: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
        """The maps of a method, wrapper included, from its own forward pass."""
        model = self.model.at(method.layers[0])

        def explain(changed: tf.Tensor) -> tf.Tensor:
            logits, exposed = self.model.expose(changed, method.layers)
            if not method.is_one_pass:
                size = self._rows(method)
                return method.function(
                    passes.Pass(model, changed, class_ids, exposed[0], logits, size), **method.options
                )
            scores = targets.target_scores(logits, class_ids, method.target)
            return method.one_pass_maps(list(exposed), [targets.score_gradients(scores, a) for a in exposed])

        if method.wrapper is None:
            return explain(inputs)
        return method.wrapper(explain, inputs, **method.wrapper_options)

    def _check_linear_head(self, images: np.ndarray) -> None:
        """Refuse CAM on a head that is not global average pooling and one linear layer."""
        layers = {m.layers[0]: m.label for m in self._plan if m.needs_linear_gap_head}

        def gradients(images: tf.Tensor, layer: str) -> tf.Tensor:
            logits, (activations,) = self.model.expose(self._preprocess(images), (layer,))
            ids = tf.tile(tf.range(min(3, self.description.classes))[None], [2, 1])
            return targets.score_gradients(targets.target_scores(logits, ids, "logit"), activations)

        for layer, label in layers.items():
            traced = tf.function(lambda i, layer=layer: gradients(i, layer), autograph=False)
            first, second = traced(tf.constant(images)), traced(tf.constant(255 - images[::-1]))
            if not bool(cam.has_linear_gap_head(first, second, _LINEAR_TOLERANCE)):
                raise loading.ModelError(
                    f"method {label} needs a head of global average pooling and one linear layer after {layer}; this "
                    "model has another head. Use grad_cam, which is the same where the head fits, or set another layer"
                )

    def _check_explicit_ids(self) -> None:
        classes = self.description.classes
        for target in self.spec.targets:
            if isinstance(target, int) and target >= classes:
                raise loading.ModelError(
                    f"explain.targets names class {target}, the model has classes 0 to {classes - 1}"
                )


def _ranks(logits: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
    """int32 ``(B, L)`` rank of each class, 1 for the highest logit; among equals the lower class id comes first."""
    own = tf.gather(logits, class_ids, batch_dims=1)[..., None]
    others = logits[:, None, :]
    index = tf.range(tf.shape(logits)[1])
    before = (others > own) | ((others == own) & (index < class_ids[..., None]))
    return 1 + tf.reduce_sum(tf.cast(before, tf.int32), axis=-1)


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    """`array` with its first row repeated at the end up to `length` rows."""
    if len(array) >= length:
        return array
    return np.concatenate([array, np.repeat(array[:1], length - len(array), axis=0)])


def _message(error: tf.errors.OpError) -> str:
    """What the device said, without the stack of the code that built the graph."""
    noise = (" ", "\t", "Graph execution error", "Detected at node", "Stack trace", "File ")
    lines = [line for line in str(error.message).splitlines() if line.strip() and not line.startswith(noise)]
    return " ".join(" ".join(lines or [type(error).__name__]).split())[:200]
