"""Several target layers in a run: a map of each, side by side, or one of all."""

from __future__ import annotations

import io

import keras
import numpy as np
import pytest

from heatbeam import config
from heatbeam.job import target_layers
from heatbeam.job.check import dry_run
from heatbeam.runs import run_directory
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.tables import stored_maps
from tests.support import small_runs

LAYERS = "model.target_layer=[one/features, other/features]"


def _two_backbones() -> keras.Model:
    keras.utils.set_random_seed(2)
    inputs = keras.Input((32, 32, 3))
    pooled = []
    for name, strides in (("one", 4), ("other", 8)):
        images = keras.Input((32, 32, 3))
        features = keras.layers.Conv2D(6, 3, strides=strides, padding="same", activation="relu", name="features")
        backbone = keras.Model(images, features(images), name=name)
        pooled.append(keras.layers.GlobalAveragePooling2D()(backbone(inputs)))
    return keras.Model(inputs, keras.layers.Dense(10)(keras.layers.Concatenate()(pooled)))


@pytest.fixture
def settings(tmp_path):
    """Settings of a run of six records with two backbones, changed by overrides."""
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 1)
    _two_backbones().save(tmp_path / "model.keras")

    def changed(*overrides: str) -> config.RunConfig:
        model = f"model.path={tmp_path / 'model.keras'}"
        return small_runs.settings(pattern, tmp_path / "run", model, "explain.methods=[cam, grad_cam]", *overrides)

    return changed


def _maps(directory: run_directory.RunDirectory) -> dict[tuple[str, str, int], np.ndarray]:
    """The maps of a run by method, image and class."""
    rows = directory.open_table("explanations").to_table().to_pylist()
    return {(row["method"], row["image_id"], row["class_id"]): stored_maps.raw_map(row) for row in rows}


def test_a_map_of_each_side_by_side(settings):
    directory = small_runs.run_quietly(settings(LAYERS))
    rows = directory.open_table("explanations").to_table().to_pylist()
    assert {(row["method"], row["layer"], row["heatmap_height"]) for row in rows} == {
        ("cam@one.features", "one/features", 8),
        ("cam@other.features", "other/features", 4),
        ("grad_cam@one.features", "one/features", 8),
        ("grad_cam@other.features", "other/features", 4),
    }
    model = directory.read_manifest().model
    assert model.target_layer == "one/features" and not model.target_layer_warnings
    # After averaging and one linear layer CAM is Grad-CAM times the cells, at each of the layers.
    found = _maps(directory)
    for (method, image, class_id), maps in found.items():
        if method.startswith("cam@"):
            np.testing.assert_allclose(
                found[f"grad_{method}", image, class_id] * maps.size, maps, atol=1e-3 * abs(maps).max()
            )


@pytest.mark.long
def test_the_mean_and_the_largest_of_all(settings):
    each = _maps(small_runs.run_quietly(settings(LAYERS, "output.heatmap_dtype=float32", "output.overwrite=true")))
    line = np.float32([[1, 0, 0, 0], [0.75, 0.25, 0, 0], [0.25, 0.75, 0, 0], [0, 0.75, 0.25, 0]])
    line = np.concatenate([line, line[::-1, ::-1]])
    for fusion, of_two in (("mean", lambda a, b: (a + b) / 2), ("max", np.maximum)):
        fused = f"model.target_fusion={fusion}"
        directory = small_runs.run_quietly(
            settings(LAYERS, fused, "output.heatmap_dtype=float32", "output.overwrite=true")
        )
        found = _maps(directory)
        assert {method for method, _, _ in found} == {"cam", "grad_cam"}
        for (method, image, class_id), maps in found.items():
            fine, coarse = (each[f"{method}@{name}.features", image, class_id] for name in ("one", "other"))
            expected = of_two(fine, line @ coarse @ line.T / 4)
            np.testing.assert_allclose(maps, expected, atol=1e-5 * np.abs(expected).max())


def test_methods_that_ask_the_model_again_are_not_fused(settings):
    with pytest.raises(loading.ModelError, match=r"its maps cannot be fused; set model\.target_fusion: each"):
        small_runs.run_quietly(settings(LAYERS, "model.target_fusion=max", "explain.methods=[score_cam]"))


def test_methods_that_map_no_layer_stay_and_those_that_fuse_take_all(settings):
    methods = "explain.methods=[rise, gradients, layer_cam_fused, {method: cam, layer: one/features}]"
    explain = target_layers.on_each(settings(LAYERS, methods)).explain
    assert [(m.label, m.layer, m.layers) for m in explain.methods] == [
        ("rise", None, None),
        ("gradients", None, None),
        ("layer_cam_fused", None, ("one/features", "other/features")),
        ("cam", "one/features", None),
    ]


def test_check_says_what_to_name(settings):
    told = io.StringIO()
    dry_run.check(settings(), 2, told)
    assert "by-passes layer one/features" in told.getvalue()
    assert "set model.target_layer: [one/features, other/features]" in told.getvalue()
    assert "next best: other/features (4x4) (model.target_layer)" in told.getvalue()
    told = io.StringIO()
    dry_run.check(settings(LAYERS), 2, told)
    assert "every path runs through one of them" in told.getvalue() and "by-passes" not in told.getvalue()


@pytest.mark.parametrize("layers", ["[]", "[auto, one/features]", "[one/features, one/features]"])
def test_a_list_names_different_layers(settings, layers):
    with pytest.raises(config.ConfigError, match="expected names of different layers"):
        settings(f"model.target_layer={layers}")
