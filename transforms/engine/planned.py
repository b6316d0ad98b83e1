"""A configured method resolved against a model: its layers by path, its code, its options, and whether it fits."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import specs
from heatbeam.transforms.methods import cam, full_grad, passes, registry, smoothing, targets, tensor_maps
from heatbeam.transforms.models import exposure
from heatbeam.transforms.models.files import loading, saved_networks

_LINEAR_TOLERANCE = 1e-3  # of the largest gradient: half precision rounds to about that


@dataclasses.dataclass(frozen=True)
class PlannedMethod:
    """A method of a run, ready to be traced.

    Attributes:
        label: its name in the tables.
        row: of the registry.
        layers: paths of the layers that it maps.
        target: whose gradient is taken (`targets.target_scores`).
        function: its code.
        options: of the function, complete.
        wrapper: code of the wrapper around it, or None.
        wrapper_options: of the wrapper, complete.
        fusion: how the maps of several layers become one, for a method that maps one.
    """

    label: str
    row: registry.Method
    layers: tuple[str, ...]
    target: specs.GradientOf
    function: Callable[..., tf.Tensor]
    options: dict[str, Any]
    wrapper: Callable[..., tf.Tensor] | None
    wrapper_options: dict[str, Any]
    fusion: specs.LayerFusion | None = None

    @property
    def is_one_pass(self) -> bool:
        """Whether it is arithmetic on activations and head gradients."""
        return self.row.kind in (registry.ONE_PASS, registry.FUSED_LAYERS)

    @property
    def shares_pass(self) -> bool:
        """Whether it is arithmetic on the pass that all methods share."""
        return self.is_one_pass and self.wrapper is None

    @property
    def layer(self) -> str:
        """What its maps lie on, as the tables name it: ``input``, a layer, or several joined by ``+``."""
        return "input" if self.row.kind == registry.INPUT_GRADIENT else "+".join(self.layers)

    def one_pass_maps(self, activations: Sequence[tf.Tensor], gradients: Sequence[tf.Tensor]) -> tf.Tensor:
        """The maps (B, h, w, L) of a one-pass method, given what each of its layers has."""
        if self.row.kind == registry.FUSED_LAYERS:
            return self.function(tuple(activations), tuple(gradients), **self.options)
        if self.fusion is not None:
            maps = [self.function(a, g, **self.options) for a, g in zip(activations, gradients, strict=True)]
            return tensor_maps.fused(maps, self.fusion)
        return self.function(activations[0], gradients[0], **self.options)

    def own_maps(
        self, model: exposure.ExposedModel, inputs: tf.Tensor, class_ids: tf.Tensor, batch_size: int
    ) -> tf.Tensor:
        """The maps of any method, wrapper included, from a forward pass of its own.

        Args:
            model: the exposed model.
            inputs: float32 (B, H, W, C), preprocessed.
            class_ids: int32 (B, L).
            batch_size: images in a further forward pass (`passes.Pass.batch_size`).
        """
        at_layer = model.at(self.layers[0])

        def explain(changed: tf.Tensor) -> tf.Tensor:
            logits, exposed = model.expose(changed, self.layers)
            if not self.is_one_pass:
                given = passes.Pass(at_layer, changed, class_ids, exposed[0], logits, batch_size)
                return self.function(given, **self.options)
            scores = targets.target_scores(logits, class_ids, self.target)
            return self.one_pass_maps(exposed, [targets.score_gradients(scores, a) for a in exposed])

        if self.wrapper is None:
            return explain(inputs)
        return self.wrapper(explain, inputs, **self.wrapper_options)


def planned(spec: specs.MethodSpec, model: exposure.ExposedModel, seed: int) -> PlannedMethod:
    """Resolve a configured method.

    Args:
        spec: the method.
        model: the exposed model.
        seed: of the run.

    Raises:
        loading.ModelError: the model has no such layer, or the method maps another number of layers.
        ValueError: there is no such method, wrapper or option.
    """
    row = registry.get(spec.method)
    if spec.target == "finer_cam" and model.description.probability == "value":
        raise loading.ModelError(
            f"method {spec.label} with target finer_cam contrasts classes, and the model gives values, which are none"
        )
    if row.kind == registry.MANY_PASS and model.description.pixels is not None:
        raise loading.ModelError(
            f"method {spec.label} asks the model again about changed images, where other pixels would be of the class "
            "than those that are explained; for a model that classifies pixels take a method of one pass or a gradient"
        )
    wrapper, wrapper_options = None, {}
    if spec.wrapper is not None:
        wrapper = registry.get_wrapper(spec.wrapper).function
        wrapper_options = specs.complete_options(spec.wrapper, dict(spec.wrapper_options), seed)
    if "keras_model" in row.needs and saved_networks.is_closed(model.keras_model):
        raise loading.ModelError(
            f"method {spec.label} needs the Keras layers of the model, and a SavedModel has none; leave the method "
            "out, or name a .keras file"
        )
    layers = tuple(model.resolve(name) for name in spec.layers) or (model.layer,)
    if "layers" in row.needs and len(layers) < 2:
        raise loading.ModelError(f"method {spec.label} fuses several layers; name them in `layers`, the finest first")
    if spec.fusion is not None and row.kind != registry.ONE_PASS:
        raise loading.ModelError(
            f"method {spec.label} asks the model again for each layer, and its maps cannot be fused; set "
            "model.target_fusion: each, or name one layer for it"
        )
    if "layers" not in row.needs and len(layers) > 1 and spec.fusion is None:
        raise loading.ModelError(f"method {spec.label} maps one layer; {len(layers)} are named")
    options = specs.complete_options(spec.method, dict(spec.options), seed)
    _check_axes(spec.label, {**wrapper_options, **options}, model.description.rank)
    return PlannedMethod(
        label=spec.label,
        row=row,
        layers=layers,
        target=spec.target,
        function=row.function,
        options=options,
        wrapper=wrapper,
        wrapper_options=wrapper_options,
        fusion=spec.fusion,
    )


def _check_axes(label: str, options: Mapping[str, Any], rank: int) -> None:
    """Refuse options that name other axes than the input has."""
    sides = options.get("downsample")
    if sides is not None and len(sides) != rank:
        raise loading.ModelError(
            f"method {label} has downsample {list(sides)}, {len(sides)} sides, and the model's input has {rank} axes "
            "of positions; give a side for each"
        )
    try:
        smoothing.mirrored_axes(options.get("flip_axes", "auto"), rank)
    except ValueError as error:
        raise loading.ModelError(f"method {label}: {error}") from error


def check_linear_heads(
    methods: Sequence[PlannedMethod],
    model: exposure.ExposedModel,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    images: np.ndarray,
) -> None:
    """Refuse CAM on a head that is not global average pooling and one linear layer.

    Args:
        methods: of the run.
        model: the exposed model.
        preprocess: from images to the model's inputs.
        images: uint8 or float32 (2, H, W, C), noise.

    Raises:
        loading.ModelError: a method needs such a head, and the model has another.
    """
    layers = {layer: m.label for m in methods if "linear_gap_head" in m.row.needs for layer in m.layers}

    def gradients(images: tf.Tensor, layer: str) -> tf.Tensor:
        logits, (activations,) = model.expose(preprocess(images), (layer,))
        ids = tf.tile(tf.range(min(3, model.description.classes))[None], [2, 1])
        return targets.score_gradients(targets.target_scores(logits, ids, "logit"), activations)

    for layer, label in layers.items():
        traced = tf.function(lambda images, layer=layer: gradients(images, layer), autograph=False)
        first, second = traced(tf.constant(images)), traced(tf.constant(255 - images[::-1]))
        if not bool(cam.has_linear_gap_head(first, second, _LINEAR_TOLERANCE)):
            raise loading.ModelError(
                f"method {label} needs a head of global average pooling and one linear layer after {layer}; this "
                "model has another head. Use grad_cam, which is the same where the head fits, or set another layer"
            )


def check_folds(
    methods: Sequence[PlannedMethod],
    model: exposure.ExposedModel,
    preprocess: Callable[[tf.Tensor], tf.Tensor],
    images: np.ndarray,
) -> None:
    """Refuse methods that need each layer's maps of whole images, where a layer gives windows or frames one by one.

    Args:
        methods: of the run.
        model: the exposed model.
        preprocess: from images to the model's inputs.
        images: uint8 or float32 (2, H, W, C), noise.

    Raises:
        loading.ModelError: a method needs such layers, and the model has others.
    """
    label = next((method.label for method in methods if "keras_model" in method.row.needs), None)
    if label is None:
        return
    names: list[str] = []

    def counts(images: tf.Tensor) -> tf.Tensor:
        names[:], found = full_grad.map_counts(model, preprocess(images))
        return found

    found = tf.function(counts, autograph=False)(tf.constant(images)).numpy()
    folded = next(((name, count) for name, count in zip(names, found, strict=True) if count != len(images)), None)
    if folded is not None:
        raise loading.ModelError(
            f"method {label} needs a map of each image from every layer; layer {folded[0]} gives {folded[1]} for "
            f"{len(images)} images, windows or frames whose places are not known. Use grad_cam or integrated_gradients"
        )
