"""What the figures measure does what they say: the plain procedures, the samples, the jobs."""

from __future__ import annotations

import pathlib

import numpy as np
import pytest
import tensorflow as tf

from heatbeam import config
from heatbeam.bench import stages
from heatbeam.job import plan
from heatbeam.transforms.methods import passes, perturbation
from heatbeam.transforms.models import exposure
from tests.benchmarks import (
    child,
    localization_cost,
    many_pass,
    models,
    one_pass,
    peers,
    samples,
)
from tests.benchmarks.scaling import size


def test_all_one_pass_methods_are_measured() -> None:
    names = {method.method for method in one_pass.one_pass_methods()}
    assert {"cam", "grad_cam", "grad_cam_plus_plus", "eigen_cam", "x_grad_cam", "layer_cam"} <= names
    assert "score_cam" not in names


def test_samples_are_photos_of_the_stated_size_spread_evenly(tmp_path: pathlib.Path) -> None:
    pattern = samples.write_shards(tmp_path / "photos", samples.photos(5), 2, classes=10)
    text = {
        "input": {"tfrecord": pattern, "decoder": "pillow", "resampler": "pillow"},
        "output": {"directory": str(tmp_path)},
        **_costless(),
    }
    steps = stages.Stages(plan.make(config.RunConfig.model_validate(text)), str(tmp_path))
    steps.run(limit=4)
    assert steps.images == 4
    assert {e.source.size for e in steps.examples} == {samples.PHOTO_SIZE}
    assert all(len(e.ground_truth.boxes) == 1 for e in steps.examples)
    sizes = [len(list(tf.data.TFRecordDataset(str(path)))) for path in sorted((tmp_path / "photos").iterdir())]
    assert sizes == [3, 2]


@pytest.mark.long
def test_a_child_works_when_it_is_told_to_and_says_what_it_measured(tmp_path: pathlib.Path) -> None:
    patterns = [samples.write_shards(tmp_path / str(n), samples.tiny(n), 1, classes=10) for n in (2, 5)]
    chosen = {**_costless(), "explain": {"methods": ["grad_cam"], "targets": ["label"]}}
    task = {
        "kind": "tests.benchmarks.jobs:Job",
        "patterns": patterns,
        "directory": str(tmp_path / "runs"),
        "settings": chosen,
    }
    task["record"] = True
    with child.Child(task | {"directory": str(tmp_path / "runs")}) as process:
        told = [process.work(1), process.work(0), process.work(1)]
        result = process.finish()
    assert result["seconds"] == told and min(told) > 0 and min(result["cpu_seconds"]) > 0
    assert result["rows"] == 5 and [len(spans) > 0 for spans in result["spans"]] == [True] * 3


def _costless() -> dict:
    return {**size.SETTINGS, "runner": {"workers": 1}}


def _costless_pair() -> tuple[tf.keras.Model, tf.keras.Model]:
    model = models.costless(32, 10)
    return model, tf.keras.Model(model.inputs, [model.outputs[0], model.get_layer("features").output])


def test_grad_cam_by_tape_and_the_channel_loop_are_the_engines_methods() -> None:
    model, both = _costless_pair()
    images = np.random.default_rng(1).integers(0, 256, (2, 32, 32, 3), dtype=np.uint8)
    inputs, ids = tf.constant(images / 127.5 - 1, tf.float32), tf.constant([[3], [5]])
    _, activations = both(inputs)
    # A head of global average pooling: the gradient of a logit is the same weight over the area, at each position.
    weights = model.layers[-1].kernel.numpy()[:, [3, 5]].T / 16
    expected = np.einsum("bhwk,bk->bhw", activations.numpy(), weights)
    np.testing.assert_allclose(peers.grad_cam_by_tape(both)(inputs, ids)[..., 0], expected, atol=1e-6)

    logits, maps = many_pass.channel_loop(both, inputs, ids, activations.shape[-1])
    np.testing.assert_allclose(logits, tf.gather(model(inputs), ids, batch_dims=1), atol=1e-6)
    exposed = exposure.ExposedModel(model, layer="features", scores="auto", output=None, size=None)
    score_cam = tf.function(
        lambda: perturbation.score_cam(
            passes.Pass(exposed, inputs, ids, activations, None, batch_size=4), variant="keras_explainable"
        ),
        autograph=False,
    )
    # The sum of enlarged maps is the enlarged sum of maps.
    np.testing.assert_allclose(maps, tf.image.resize(score_cam(), (32, 32)), atol=1e-5)


@pytest.mark.parametrize("cells", [7, 14])
def test_the_plain_procedure_counts_what_ours_counts(cells: int) -> None:
    heatmap, truth = localization_cost.smooth_map(cells, 3), np.array([[40.0, 50, 150, 180]])
    plain = localization_cost.plain_hits(heatmap, truth)
    assert plain.shape == (2, 3, 1000) and 0 < plain.sum() < plain.size
    np.testing.assert_array_equal(plain, localization_cost.fast_hits(heatmap, truth))


def test_accumulators_count_every_image_of_every_class() -> None:
    states = localization_cost.accumulators(3, doublings=4)
    assert [(s.images, s.boxes, s.masks) for s in states.values()] == [(16, 16, 16)] * 3
