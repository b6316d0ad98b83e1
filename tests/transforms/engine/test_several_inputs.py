"""Inputs that come with each image stay its own, whatever a method changes, repeats or reorders."""

from __future__ import annotations

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms import records
from heatbeam.transforms.engine import assess, engine, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics import registry as metrics
from heatbeam.transforms.metrics.faithfulness import batch
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


def ranked(size: tuple[int, ...]) -> keras.Model:
    """Of a series, an image or a volume: metadata gates the channels of ``last``."""
    rank = len(size) - 1
    of = {1: "1D", 2: "2D", 3: "3D"}[rank]
    signal, meta = keras.Input(size, name="image"), keras.Input((META,), name="meta")
    convolution, pooling = getattr(keras.layers, f"Conv{of}"), getattr(keras.layers, f"GlobalAveragePooling{of}")
    x = convolution(5, 3, padding="same", strides=2, activation="relu", name="last")(signal)
    gate = keras.layers.Dense(5, activation="sigmoid", name="gate")(meta)
    x = keras.layers.Multiply()([x, keras.layers.Reshape((1,) * rank + (5,))(gate)])
    model = keras.Model([signal, meta], keras.layers.Dense(3, name="logits")(pooling()(x)))
    rng = np.random.default_rng(2)
    model.set_weights([rng.normal(size=w.shape).astype(np.float32) for w in model.get_weights()])
    return model


@pytest.mark.parametrize("size", [(12, 2), (8, 6, 2), (4, 6, 6, 1)], ids=["series", "image", "volume"])
def test_maps_are_those_of_a_plain_tape(tmp_path, size: tuple[int, ...]) -> None:
    model = ranked(size)
    model.save(tmp_path / "ranked.keras")
    signals = np.random.default_rng(3).normal(size=(3, *size)).astype(np.float32)
    source = model_source.ModelSource(str(tmp_path / "ranked.keras"), constants=(("meta", model_source.StandIn()),))
    spec = engine_specs.spec(source, engine_specs.method("grad_cam"), engine_specs.method("layer_cam"), targets=(0, 2),
                             preprocessing=model_source.Preprocessing("none"), target_layer="last")  # fmt: skip
    found = engine.Engine(dataclasses.replace(spec, fed=("meta",))).explain(signals, [()] * 3, {}, {"meta": METAS})
    inside = keras.Model(model.input, [model.get_layer("last").output, model.output])
    with tf.GradientTape(persistent=True) as tape:
        activations, logits = inside([signals, METAS])
        scores = [logits[:, c] for c in (0, 2)]
    maps = activations.numpy()
    axes = tuple(range(1, len(size)))
    for place, score in enumerate(scores):
        gradients = tape.gradient(score, activations).numpy()
        expected = {
            "grad_cam": (maps * gradients.mean(axis=axes, keepdims=True)).sum(axis=-1),
            "layer_cam": (maps * np.maximum(gradients, 0)).sum(axis=-1),
        }
        for row, one in enumerate(found):
            np.testing.assert_allclose(one.logits, logits.numpy()[row, [0, 2]], atol=1e-5)
            for label, _, mine in one.maps:
                np.testing.assert_allclose(mine[place], expected[label][row], atol=1e-5, err_msg=label)


SETTINGS = batch.Settings(
    mask_baseline=0.0, steps=3, deletion_baseline=0.0, insertion_baseline="mean", road_percentiles=(50.0,),
    road_noise=0.0, sensitivity_radius=0.05, sensitivity_samples=2, seed=0, batch_size=4,
)  # fmt: skip
WANTED = assess.Assessment(tuple(metrics.FAITHFULNESS), 1.0, protocols.get("default"), 1.0, SETTINGS)


def explanations(found: list, first: int = 0) -> list[records.Explanation]:
    return [
        records.Explanation(
            records.Source(f"image{first + n}", "s", n, "", (12,), (0, 12)), records.GroundTruth(), one.class_ids,
            one.targets, one.logits, one.probabilities, one.ranks, one.predicted_class_id,
            tuple(records.MethodMaps(*each) for each in one.maps),
        )
        for n, one in enumerate(found)
    ]  # fmt: skip


def test_metrics_change_the_explained_input_and_leave_the_others(tmp_path) -> None:
    """Every metric that asks the model, against engines whose metadata is a constant."""
    ranked((12, 2)).save(tmp_path / "series.keras")
    path, series = str(tmp_path / "series.keras"), np.random.default_rng(5).normal(size=(3, 12, 2)).astype(np.float32)
    wanted = [engine_specs.method(name, **FEW.get(name, {})) for name in ("grad_cam", "rise")]
    fed = of(path, np.ones(META), *wanted, fed=("meta",))
    given = {"meta": METAS}
    found = explanations(fed.explain(series, [()] * 3, {}, given))
    together = assess.assess(fed, series, found, WANTED, given)
    for n in (0, 2):
        own, rows = of(path, METAS[n], *wanted), slice(n, n + 1)
        (alone,) = assess.assess(own, series[rows], explanations(own.explain(series[rows], [()], {}), n), WANTED)
        for mine, expected in zip(together[n].methods, alone.methods, strict=True):
            assert dict(mine.scores).keys() == dict(expected.scores).keys() and len(mine.scores) > 10
            pairs = zip((*mine.scores, *mine.curves), (*expected.scores, *expected.curves), strict=True)
            for (name, values), (_, same) in pairs:
                np.testing.assert_allclose(values, same, rtol=2e-3, atol=1e-4, err_msg=f"{mine.method} {name}")
    # The test would be blind if metadata changed no number.
    (wrong,) = assess.assess(of(path, METAS[2], *wanted), series[:1], found[:1], WANTED)
    drops = [dict(one.methods[0].scores)["confidence_drop"] for one in (together[0], wrong)]
    assert not np.allclose(*drops, atol=1e-3)


def test_an_open_shape_has_to_be_said(tmp_path) -> None:
    image, many = keras.Input(SIZE, name="image"), keras.Input((None, 2), name="many")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="last")(image))
    both = keras.layers.Concatenate()([x, keras.layers.GlobalAveragePooling1D()(many)])
    keras.Model([image, many], keras.layers.Dense(3)(both)).save(tmp_path / "open.keras")

    def made(shape: tuple[int, ...] | None) -> engine.Engine:
        source = model_source.ModelSource(
            str(tmp_path / "open.keras"), constants=(("many", model_source.StandIn(shape)),)
        )
        spec = engine_specs.spec(source, preprocessing=model_source.Preprocessing("none"), targets=(0,))
        return engine.Engine(dataclasses.replace(spec, fed=("many",)))

    with pytest.raises(loading.ModelError, match=r"input many leaves its shape open .*set model.inputs.many.shape"):
        made(None)
    assert made((5, 2)).description.fed[0].shape == (5, 2)
