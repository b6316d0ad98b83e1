"""Which methods of a run do not fit its model: told for each, where the engine stops at the first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import engine, planned, specs
from heatbeam.transforms.models import exposure
from heatbeam.transforms.models.files import loading


def unfit(spec: specs.EngineSpec) -> dict[str, str]:
    """Why methods cannot explain the model of `spec`, by their labels; those that can are left out.

    Raises:
        loading.ModelError: the model itself is not what the specification says.
    """
    model = engine.exposed(spec)
    preprocess = loading.preprocessing_function(spec.preprocessing, spec.model)
    reasons = {}
    for method in spec.methods:
        try:
            _try(method, model, preprocess, spec.seed)
        except ValueError as error:  # a ModelError too
            reasons[method.label] = " ".join(str(error).split())
    return reasons


def _try(
    method: specs.MethodSpec, model: exposure.ExposedModel, preprocess: Callable[[tf.Tensor], tf.Tensor], seed: int
) -> None:
    """Resolve a method, check its head and trace it.

    Raises:
        ValueError: it does not fit.
    """
    one = planned.planned(method, model, seed)
    size = model.description.input_size
    noise = np.random.default_rng(0).integers(0, 256, (2, *size), dtype=np.uint8)
    planned.check_linear_heads([one], model, preprocess, noise)
    planned.check_folds([one], model, preprocess, noise)
    classes = tf.zeros((2, 1), tf.int32)
    traced = tf.function(lambda images: one.own_maps(model, preprocess(images), classes, 2), autograph=False)
    traced.get_concrete_function(tf.TensorSpec((2, *size), tf.uint8))
