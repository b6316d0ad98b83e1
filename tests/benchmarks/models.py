"""Models to measure with: Keras applications with random weights, and one that computes next to nothing."""

from __future__ import annotations

from typing import Any

import keras

from heatbeam.transforms.engine import specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading

APPLICATIONS = ("ResNet50V2", "MobileNetV2")
"""A model whose forward pass is the cost, and one so cheap that everything around it shows."""


def costless(side: int, classes: int) -> keras.Model:
    """A model of one strided convolution, for images of `side` pixels squared; the same weights in every process."""
    weights = keras.initializers.GlorotUniform(seed=0)
    return keras.Sequential(
        [
            keras.Input((side, side, 3)),
            keras.layers.Conv2D(8, 8, strides=8, activation="relu", kernel_initializer=weights, name="features"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(classes, kernel_initializer=weights),
        ]
    )


def application(name: str) -> model_source.ModelSource:
    """A Keras application with random weights."""
    return model_source.ModelSource(application=name, arguments=(("weights", None),))


def method(name: str, **options: Any) -> specs.MethodSpec:
    """A method with its default options but for `options`."""
    return specs.MethodSpec(name, options=specs.pairs(registry.resolve_options(name, options)))


def engine_spec(
    model: model_source.ModelSource,
    methods: tuple[specs.MethodSpec, ...],
    targets: tuple[str | int, ...],
    **changes: Any,
) -> specs.EngineSpec:
    """A specification with the model's own preprocessing, batches of 16 and TensorFlow's own choice of threads."""
    fields: dict[str, Any] = {
        "batch_size": 16,
        "pass_batch_size": 16,
    }
    return specs.EngineSpec(model=model, methods=methods, targets=targets, **(fields | changes))


def logits_model(name: str) -> tuple[keras.Model, keras.Model]:
    """The application with random weights and logits for outputs; and one that also returns its last maps."""
    arguments = (("classifier_activation", None), ("weights", None))
    model = loading.load_keras_model(model_source.ModelSource(application=name, arguments=arguments))
    last = [layer for layer in model.layers if len(layer.output.shape) == 4][-1]
    return model, keras.Model(model.inputs[0], [model.outputs[0], last.output])
