"""Inputs that come with each image stay its own, whatever a method changes, repeats or reorders."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs

SIZE, META = (8, 8, 2), 3
FEW = {
    "rise": {"masks": 7, "cells": 2},
    "ss_cam": {"repetitions": 3},
    "integrated_gradients": {"steps": 4},
    "smooth_grad_cam_plus_plus": {"repetitions": 3},
}
RNG = np.random.default_rng(7)
IMAGES = RNG.normal(size=(3, *SIZE)).astype(np.float32)
METAS = RNG.uniform(0.2, 2, (3, META)).astype(np.float32)


def gated() -> keras.Model:
    """Metadata open and close channels after the target layer, so gradients and scores follow from them."""
    image, meta = keras.Input(SIZE, name="image"), keras.Input((META,), name="meta")
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="first")(image)
    x = keras.layers.Conv2D(5, 3, padding="same", strides=2, activation="relu", name="last")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    gate = keras.layers.Dense(5, activation="sigmoid", name="gate")(meta)
    logits = keras.layers.Dense(3, name="logits")(keras.layers.Multiply()([x, gate]))
    model = keras.Model([image, meta], logits)
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> str:
    place = str(tmp_path_factory.mktemp("model") / "gated.keras")
    gated().save(place)
    return place


def methods() -> list[specs.MethodSpec]:
    """A method for each way in which passes of changed images are made, and the wrappers."""
    plain = ("grad_cam", "score_cam", "ss_cam", "ablation_cam", "shapley_cam", "rise", "full_grad", "gradients",
             "integrated_gradients", "smooth_grad_cam_plus_plus")  # fmt: skip
    options = {"smooth": {"repetitions": 3}, "tta": {"flip_axes": "x"}}
    wrapped = [("grad_cam", name) for name in registry.WRAPPERS] + [("score_cam", "smooth")]
    return [engine_specs.method(name, **FEW.get(name, {})) for name in plain] + [
        engine_specs.method(inner, f"{name}_{inner}", wrapper=name, wrapper_options=options.get(name, {}))
        for inner, name in wrapped
    ]


def of(path: str, meta: np.ndarray, *wanted: specs.MethodSpec, fed: tuple[str, ...] = ()) -> engine.Engine:
    source = model_source.ModelSource(path, input="image", constants=(("meta", tuple(meta.tolist())),))
    none = model_source.Preprocessing("none")
    spec = engine_specs.spec(source, *wanted, preprocessing=none, targets=(0, 2), target_layer="last",
                             pass_batch_size=5)  # fmt: skip
    return engine.Engine(dataclasses.replace(spec, fed=fed))


def test_every_method_gives_the_maps_that_the_values_as_constants_give(path: str) -> None:
    wanted = methods()
    fed = of(path, np.zeros(META), *wanted, fed=("meta",))
    together = fed.explain(IMAGES, [()] * 3, {}, {"meta": METAS})
    one = together[1]
    (alone,) = of(path, METAS[1], *wanted).explain(IMAGES[1:2], [()], {})
    np.testing.assert_allclose(one.logits, alone.logits, rtol=1e-5)
    for (label, layer, maps), (same, same_layer, expected) in zip(one.maps, alone.maps, strict=True):
        assert (label, layer) == (same, same_layer) and np.abs(expected).max() > 0, label
        np.testing.assert_allclose(maps, expected, rtol=0, atol=2e-5 * np.abs(expected).max(), err_msg=label)
    assert np.abs(together[0].logits - fed.explain(IMAGES, [()] * 3, {})[0].logits).max() > 0.01


def test_scores_probabilities_and_maps_of_one_class_take_them_too(path: str) -> None:
    grad_cam = engine_specs.method("grad_cam")
    fed = of(path, np.ones(META), grad_cam, fed=("meta",))
    by_keras = gated().predict([IMAGES, METAS], verbose=0)
    np.testing.assert_allclose(fed.scores(IMAGES, {"meta": METAS}), by_keras, atol=1e-5)
    exponents = np.exp(by_keras)
    np.testing.assert_allclose(
        fed.predict(IMAGES, {"meta": METAS}), exponents / exponents.sum(axis=1, keepdims=True), atol=1e-5
    )
    maps = fed.explain_inputs("grad_cam", IMAGES, np.array([2, 2, 2]), {"meta": METAS})
    explained = fed.explain(IMAGES, [()] * 3, {}, {"meta": METAS})
    np.testing.assert_allclose(maps, [one.maps[0][2][1] for one in explained], atol=1e-5)


def test_inputs_that_do_not_fit_are_refused(path: str) -> None:
    fed = of(path, np.ones(META), engine_specs.method("grad_cam"), fed=("meta",))
    with pytest.raises(ValueError, match=r"inputs \['mate'\] come with the images; expected \['meta'\]"):
        fed.explain(IMAGES, [()] * 3, {}, {"mate": METAS})
    with pytest.raises(ValueError, match=r"input meta has shape \(2, 3\); expected \(3, 3\)"):
        fed.explain(IMAGES, [()] * 3, {}, {"meta": METAS[:2]})
    with pytest.raises(loading.ModelError, match=r"mate; model .* has beside the explained one the inputs meta"):
        of(path, np.ones(META), engine_specs.method("grad_cam"), fed=("mate",))
