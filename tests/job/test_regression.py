"""A model that gives values: labels that are numbers, errors in the place of accuracy, and no probabilities."""

from __future__ import annotations

import io
import math
import pathlib
import statistics

import keras
import numpy as np
import pyarrow.parquet as pq
import pytest

from heatbeam import config
from heatbeam.job import run
from heatbeam.job.check import dry_run
from heatbeam.report import report
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.tables import stored_maps
from tests.support import sample_shards, small_runs

YEARS = [30.5, 61.25, 44.0, 12.0]


def saved(folder: pathlib.Path, units: int = 1) -> tuple[keras.Model, str]:
    keras.utils.set_random_seed(4)
    inputs = keras.Input((20, 24, 3))
    x = keras.layers.Rescaling(1 / 255)(inputs)
    x = keras.layers.Conv2D(6, 3, strides=2, activation="relu", name="last_conv")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    model = keras.Model(inputs, keras.layers.Dense(units, bias_initializer=keras.initializers.Constant(40.0))(x))
    path = str(folder / f"age{units}.keras")
    model.save(path)
    return model, path


def settings_of(tmp_path: pathlib.Path, path: str, values: list[list[float]], **explain: object) -> config.RunConfig:
    images = [[sample_shards.encode(sample_shards.noise(20, 24, seed=i))] for i in range(len(values))]
    records = [
        small_runs.record(i, **{"image/class/label": value, "image/encoded": image})
        for i, (value, image) in enumerate(zip(values, images, strict=True))
    ]
    pattern = small_runs.write(tmp_path / "data", records, 1)
    settings = small_runs.settings(pattern, tmp_path / "run").as_dict()
    settings["model"] = {"path": path, "preprocessing": "none", "scores": "regression"}
    settings["explain"] = {"methods": ["grad_cam"], **explain}
    settings["evaluate"] = {"replicates": 0}
    settings["output"]["max_dead_letter_ratio"] = 0.5
    return config.RunConfig.model_validate(settings)


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> tuple[keras.Model, pathlib.Path, str]:
    folder = tmp_path_factory.mktemp("regression")
    model, path = saved(folder)
    settings = settings_of(folder, path, [[v] for v in YEARS] + [[]])
    said = io.StringIO()
    assert dry_run.check(settings, 5, said)
    run.run(settings, [], io.StringIO())
    return model, folder / "run", said.getvalue()


def rows_of(directory: pathlib.Path) -> list[dict]:
    return sorted(pq.read_table(directory / "explanations").to_pylist(), key=lambda row: row["image_id"])


def test_rows_have_prediction_target_and_error(finished):
    _, directory, _ = finished
    rows = rows_of(directory)
    assert [row["true_value"] for row in rows] == [*YEARS, None]
    for row in rows:
        assert row["probability"] is None
        assert (row["class_id"], row["class_name"], row["targets"], row["label_ids"]) == (
            0,
            "output_0",
            ["predicted"],
            [],
        )
        assert row["predicted_value"] == row["logit"]
        if row["true_value"] is not None:
            assert row["error"] == pytest.approx(row["predicted_value"] - row["true_value"], abs=1e-5)
    assert rows[-1]["error"] is None


def test_the_summary_has_errors_and_no_accuracy(finished):
    """MAE is the mean of |e|, RMSE the root of the mean of e^2, of the four records that say what is true."""
    _, directory, _ = finished
    errors = [row["error"] for row in rows_of(directory) if row["error"] is not None]
    found = {r["metric"]: r for r in pq.read_table(directory / "summary").to_pylist() if r["method"] == "model"
             and r["slice_name"] == "all"}  # fmt: skip
    assert found.keys() == {"mean_absolute_error", "root_mean_squared_error", "mean_error"}
    assert found["mean_absolute_error"]["value"] == pytest.approx(sum(map(abs, errors)) / 4, rel=1e-6)
    assert found["root_mean_squared_error"]["value"] == pytest.approx(
        math.sqrt(sum(e * e for e in errors) / 4), rel=1e-6
    )
    assert found["mean_error"]["value"] == pytest.approx(sum(errors) / 4, rel=1e-5)
    assert found["root_mean_squared_error"]["n"] == 4
    assert found["mean_absolute_error"]["lower"] >= 0
    assert not any(r["metric"].startswith("top") for r in pq.read_table(directory / "summary").to_pylist())
    assert found["root_mean_squared_error"]["upper"] > found["root_mean_squared_error"]["value"]
    for name, values in (
        ("mean_absolute_error", [abs(e) for e in errors]),
        ("root_mean_squared_error", [e * e for e in errors]),
    ):
        # Student's interval of the mean: t of 3 degrees of freedom at 97.5 % is 3.182446; the RMSE's is its root.
        mean, half = statistics.fmean(values), 3.182446305 * statistics.stdev(values) / 2
        bounds = [max(0, mean - half), mean + half]
        expected = [math.sqrt(bound) for bound in bounds] if name.startswith("root") else bounds
        assert [found[name]["lower"], found[name]["upper"]] == pytest.approx(expected, rel=1e-5), name


def test_the_map_is_the_evidence_for_the_value(finished):
    """Grad-CAM of a value after a mean and a dense layer: sum over k of w[k] A[k] / cells."""
    model, directory, _ = finished
    table = pq.read_table(directory / "explanations")
    (first,) = (i for i, row in enumerate(table.to_pylist()) if row["image_id"] == "image0000")
    found = stored_maps.StoredMaps(table).maps(np.array([first]))[0]
    until = keras.Model(model.input, model.get_layer("last_conv").output)
    activations = np.asarray(until(sample_shards.noise(20, 24, seed=0)[None].astype(np.float32)))[0]
    weights = np.asarray(model.layers[-1].kernel)[:, 0]
    expected = (activations * weights).sum(axis=-1) / (9 * 11)
    np.testing.assert_allclose(found, expected, atol=np.abs(expected).max() * 1e-4)


def test_check_says_values(finished):
    said = finished[2]
    assert "scores   the values that the model returns (model.scores: regression); no probabilities" in said
    assert "true 30.5" in said and "true value not known" in said


def test_the_report_shows_errors(finished):
    directory = finished[1]
    page = pathlib.Path(report.write_report(str(directory))).read_text()
    errors = [abs(row["error"]) for row in rows_of(directory) if row["error"] is not None]
    assert f'<p class="big">{sum(errors) / 4:.3f}</p>' in page
    assert "RMSE" in page
    for of_classes in ("Top-1", "Right class, wrong place", "named rightly"):
        assert of_classes not in page.split('id="galleries"')[0]


def test_several_outputs_are_named_by_index(tmp_path):
    _, path = saved(tmp_path, 2)
    with pytest.raises(loading.ModelError, match=r"name outputs by their index, such as explain.targets: \[0\]"):
        dry_run.check(settings_of(tmp_path, path, [[1.0, 2.0]]), 1, io.StringIO())
    settings = settings_of(tmp_path, path, [[1.0, 2.0], [3.0, 5.0], [7.0]], targets=[1])
    directory = run.run(settings, [], io.StringIO()).directory.path
    rows = rows_of(pathlib.Path(directory))
    assert [(row["class_id"], row["true_value"]) for row in rows] == [(1, 2.0), (1, 5.0)]
    (lost,) = pq.read_table(f"{directory}/dead_letters").to_pylist()
    assert (lost["error_type"], lost["message"]) == (
        "value_count", "the record has 1 values, the model gives 2; see input.features.value",
    )  # fmt: skip


def test_what_needs_probabilities_is_refused(tmp_path):
    _, path = saved(tmp_path)
    settings = settings_of(tmp_path, path, [[1.0]], targets=["label"])
    with pytest.raises(config.ConfigError, match="a label names a class, and the model gives values"):
        dry_run.check(settings, 1, io.StringIO())
    settings = settings_of(tmp_path, path, [[1.0]], methods=[{"method": "grad_cam", "target": "finer_cam"}])
    with pytest.raises(loading.ModelError, match="finer_cam contrasts classes"):
        dry_run.check(settings, 1, io.StringIO())
    settings = settings_of(tmp_path, path, [[1.0]], methods=["rise"])
    with pytest.raises(loading.ModelError, match="a method asks for probabilities, and values"):
        dry_run.check(settings, 1, io.StringIO())
