"""Against Xplique and pytorch-grad-cam."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import adcc, average_drop, batch, complexity, insertion_deletion, road
from tests.support import paths

GOLDEN = paths.GOLDEN / "methods_public"
MODELS = ("tiny_gap", "tiny_flat")
TOLERANCE = 1e-5


@functools.cache
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "methods_public.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if "faithfulness" in name or name == "images_u8/64x64"}


@functools.cache
def predictor(name: str, output: str) -> batch.Predict:
    import keras
    import tensorflow as tf

    from tests.support import keras_models

    model = keras.models.load_model(keras_models.golden(name))
    activate = tf.nn.softmax if output == "softmax" else tf.identity
    return lambda inputs: activate(model(inputs, training=False)).numpy()


def images() -> np.ndarray:
    return golden()["images_u8/64x64"].astype(np.float32) / np.float32(127.5) - np.float32(1)


def case(model: str, which: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    maps = golden()[f"{model}/faithfulness/maps_u16"][which].astype(np.float32) / np.float32(32768)
    return images(), maps, golden()[f"{model}/faithfulness/target"]


both_models = pytest.mark.parametrize("model", MODELS)
both_outputs = pytest.mark.parametrize("output", ["softmax", "logit"])
both_maps = pytest.mark.parametrize("which", [0, 1])


@both_models
@both_outputs
@both_maps
def test_confidence_golden(model: str, output: str, which: int) -> None:
    ref, prefix = golden(), f"{model}/faithfulness"
    before, after = batch.masked_scores(predictor(model, output), *case(model, which), baseline=0.0, batch_size=3)
    positive = before > 0  # Xplique divides by negative logits too
    assert positive.all() if output == "softmax" else positive.any()
    drop = average_drop.confidence_drop(before, after)
    want = ref[f"{prefix}/xplique/average_drop/{output}"][which]
    assert drop[positive] == pytest.approx(want[positive], abs=TOLERANCE)
    assert np.isnan(drop[~positive]).all()
    increase = average_drop.confidence_increase(before, after)
    assert increase.tolist() == ref[f"{prefix}/xplique/average_increase/{output}"][which].tolist()
    assert increase.mean() == pytest.approx(ref[f"{prefix}/xplique/average_increase_mean/{output}"][which])
    assert increase.tolist() == ref[f"{prefix}/pgc/increase_in_confidence/{output}"][which].tolist()
    if output == "softmax":
        gain = average_drop.confidence_gain(before, after)
        assert gain == pytest.approx(ref[f"{prefix}/xplique/average_gain/softmax"][which], abs=TOLERANCE)
        assert drop.mean() == pytest.approx(ref[f"{prefix}/xplique/average_drop_mean/softmax"][which], abs=TOLERANCE)
        assert gain.mean() == pytest.approx(ref[f"{prefix}/xplique/average_gain_mean/softmax"][which], abs=TOLERANCE)
    assert np.maximum(before - after, 0) == pytest.approx(
        ref[f"{prefix}/pgc/drop_in_confidence/{output}"][which], abs=TOLERANCE
    )
    assert after - before == pytest.approx(ref[f"{prefix}/pgc/confidence_change/{output}"][which], abs=TOLERANCE)


@both_models
@both_outputs
@both_maps
@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_curves_golden(model: str, output: str, which: int, metric: str) -> None:
    ref, prefix = golden(), f"{model}/faithfulness/xplique/{metric}"
    measure = getattr(insertion_deletion, metric)
    curve = measure(predictor(model, output), *case(model, which), steps=16, baseline=0.0, batch_size=32)
    assert curve.scores == pytest.approx(ref[f"{prefix}_curve/{output}"][which], abs=TOLERANCE)
    assert curve.auc == pytest.approx(ref[f"{prefix}_auc/{output}"][which], abs=TOLERANCE)


@both_models
@both_maps
def test_complexity_golden(model: str, which: int) -> None:
    ref, prefix = golden(), f"{model}/faithfulness"
    _, heatmaps, _ = case(model, which)
    entropy = complexity.complexity_entropy(heatmaps, epsilon=1e-8)
    assert entropy == pytest.approx(ref[f"{prefix}/xplique/complexity_entropy"][which], abs=TOLERANCE)
    gini = complexity.sparseness_gini(heatmaps)
    assert gini == pytest.approx(ref[f"{prefix}/xplique/sparseness_gini"][which], abs=TOLERANCE)
    mean = adcc.adcc(
        lambda x, _: heatmaps, images(), heatmaps, np.zeros(4, int), np.ones(4), np.ones(4), baseline=0.0, batch_size=4
    ).complexity
    assert mean == pytest.approx(ref[f"{prefix}/pgc/complexity_l1"][which], abs=TOLERANCE)


@both_models
@both_outputs
@both_maps
def test_road_golden(model: str, output: str, which: int) -> None:
    ref, prefix = golden(), f"{model}/faithfulness/pgc/road"
    got = road.road(
        predictor(model, output), *case(model, which), percentiles=[20, 50, 80], noise=0, seeds=[0] * 4, batch_size=32
    )
    for place, percentile in enumerate((20, 50, 80)):
        for order, change in (("morf", got.morf), ("lerf", got.lerf)):
            want = ref[f"{prefix}_{order}_noise0_p{percentile}/{output}"][which]
            assert change[:, place] == pytest.approx(want, abs=TOLERANCE)
