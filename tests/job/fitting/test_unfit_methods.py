"""Methods that do not fit the model: they end the run, or are left out with a warning."""

from __future__ import annotations

import io

import keras
import pytest

from heatbeam.job import run
from heatbeam.job.check import dry_run
from heatbeam.transforms.models.files import loading
from tests.support import keras_models, small_runs


@pytest.fixture
def settings(tmp_path):
    """Settings of a run of four records with a model whose head is no average pooling, changed by overrides."""
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(4)], 1)

    def changed(*overrides: str):
        flat = f"model.path={keras_models.FLAT}"
        return small_runs.settings(pattern, tmp_path / "run", flat, *overrides)

    return changed


def test_a_method_that_does_not_fit_is_left_out_with_a_warning(settings):
    told = io.StringIO()
    skipping = settings("explain.unfit=skip", "explain.methods=[cam, grad_cam, layer_cam_fused]")
    finished = run.run(skipping, (), told)
    assert "warning: method cam is left out (explain.unfit: skip): method cam needs a head of" in told.getvalue()
    assert "warning: method layer_cam_fused is left out (explain.unfit: skip): method layer_cam_fused fuses" in (
        told.getvalue()
    )
    assert [method.label for method in finished.manifest.config.explain.methods] == ["grad_cam"]
    table = finished.directory.open_table("explanations").to_table()
    assert set(table["method"].to_pylist()) == {"grad_cam"}


def test_without_it_the_run_ends(settings):
    with pytest.raises(loading.ModelError, match="method cam needs a head of global average pooling"):
        run.run(settings("explain.methods=[cam, grad_cam]"), (), io.StringIO())


def test_a_run_without_a_method_that_fits_ends(settings):
    with pytest.raises(loading.ModelError, match="method cam needs a head of global average pooling"):
        dry_run.check(settings("explain.unfit=skip", "explain.methods=[cam]"), 1, io.StringIO())


def test_full_grad_is_refused_where_windows_are_folded_into_the_batch(tmp_path):
    """Four windows of each image: where their terms lie only the model's code knows."""
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(2)], 1)
    inputs = keras.Input((32, 32, 3))
    x = keras.layers.Conv2D(8, 3, strides=4, padding="same", activation="relu", name="features")(inputs)
    rows = keras.ops.transpose(keras.ops.reshape(x, (-1, 2, 4, 2, 4, 8)), (0, 1, 3, 2, 4, 5))
    windows = keras.layers.Conv2D(8, 3, padding="same", name="in_window")(keras.ops.reshape(rows, (-1, 4, 4, 8)))
    pooled = keras.ops.mean(keras.ops.reshape(windows, (-1, 64, 8)), axis=1)
    keras.Model(inputs, keras.layers.Dense(10)(pooled)).save(tmp_path / "model.keras")
    model = f"model.path={tmp_path / 'model.keras'}"
    settings = small_runs.settings(pattern, tmp_path / "run", model, "explain.methods=[full_grad]")
    # The first folded map is that of the operation before the layer.
    with pytest.raises(loading.ModelError, match=r"layer reshape\S* gives 8 for 2 images, windows or frames"):
        small_runs.run_quietly(settings)
