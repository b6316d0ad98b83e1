"""Models of integer pixels, explained by every kind of method; and weights that are no numbers."""

from __future__ import annotations

import pathlib

import keras
import numpy as np
import pytest

from heatbeam.transforms.engine import engine
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import integer_inputs, model_source
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs

_METHODS = tuple(name for name, row in registry.METHODS.items() if row.kind != registry.FUSED_LAYERS)
_FEW_PASSES = {"rise": {"masks": 8, "cells": 4}}
_NONE = model_source.Preprocessing("none")
_IMAGES = np.random.default_rng(4).integers(0, 256, (2, 12, 12, 3), dtype=np.uint8)


def _classifier(dtype: str, *first: keras.layers.Layer, name: str = "net") -> keras.Model:
    keras.utils.set_random_seed(5)
    inputs = keras.Input((12, 12, 3), dtype=dtype)
    maps = inputs
    pixels = keras.layers.Rescaling(1 / 255.0, name="pixels")
    for layer in (*first, pixels, keras.layers.Conv2D(4, 3, activation="relu", name="maps")):
        maps = layer(maps)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(maps)), name=name)


def _saved(model: keras.Model, folder: pathlib.Path, name: str) -> model_source.ModelSource:
    model.save(folder / f"{name}.keras")
    return model_source.ModelSource(str(folder / f"{name}.keras"))


@pytest.fixture(scope="module")
def of_floats(tmp_path_factory) -> dict[str, list[np.ndarray]]:
    """The maps of the model of floats."""
    return _maps(_saved(_classifier("float32"), tmp_path_factory.mktemp("floats"), "float32"))


def _maps(source: model_source.ModelSource) -> dict[str, list[np.ndarray]]:
    """Maps of the images by every method of one layer, and by Grad-CAM within every wrapper."""
    wrapped = [engine_specs.method("grad_cam", name, wrapper=name) for name in registry.WRAPPERS]
    methods = [*(engine_specs.method(name, **_FEW_PASSES.get(name, {})) for name in _METHODS), *wrapped]
    explainer = engine.Engine(engine_specs.spec(source, *methods, preprocessing=_NONE, targets=("predicted",)))
    explained = explainer.explain(_IMAGES, [(), ()], {})
    return {spec.label: [one.maps[i][2] for one in explained] for i, spec in enumerate(methods)}


@pytest.mark.parametrize("dtype", ["uint8", "int32"])
def test_maps_of_every_method_are_those_of_the_model_of_floats(tmp_path, of_floats, dtype):
    integers = _maps(_saved(_classifier(dtype), tmp_path, dtype))
    assert set(integers) == {*_METHODS, *registry.WRAPPERS}
    for label, found in integers.items():
        assert np.abs(found).max() > 0, label
        np.testing.assert_array_equal(found, of_floats[label], err_msg=label)


def test_a_model_of_integers_inside_another_has_gradients_too():
    inputs = keras.Input((12, 12, 3))
    outer = keras.Model(inputs, _classifier("uint8", name="inner")(inputs))
    assert integer_inputs.declared(outer) is None
    assert integer_inputs.taken_as_floats(outer, (12, 12, 3))
    assert outer.get_layer("inner").inputs[0].dtype == "float32"


def test_pixels_prepared_outside_of_a_model_of_integers_are_refused(tmp_path):
    source = _saved(_classifier("uint8"), tmp_path, "net")
    with pytest.raises(loading.ModelError, match=r"takes uint8 pixels and prepares .*; set model.preprocessing: none"):
        engine.Engine(engine_specs.spec(source, preprocessing=model_source.Preprocessing("tf")))


def test_a_model_that_rounds_on_the_way_is_left_as_it_is_and_gradients_are_refused(tmp_path):
    model = _classifier("uint8", keras.layers.Resizing(7, 7))
    assert not integer_inputs.taken_as_floats(model, (12, 12, 3)) and model.inputs[0].dtype == "uint8"
    source = _saved(model, tmp_path, "net")
    engine.Engine(engine_specs.spec(source, preprocessing=_NONE)).warm_up()
    for name in ("gradients", "full_grad"):
        explainer = engine.Engine(engine_specs.spec(source, engine_specs.method(name), preprocessing=_NONE))
        with pytest.raises(loading.ModelError, match="the scores have no gradient with respect to the image"):
            explainer.warm_up()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(tmp_path, value):
    model = _classifier("float32")
    weights = model.get_weights()
    weights[0][0, 0, 0, :2] = value
    model.set_weights(weights)
    with pytest.raises(loading.ModelError, match=r"NaN or infinite: 2 of 108 of maps/kernel"):
        loading.load_keras_model(_saved(model, tmp_path, "net"))
