"""Whole runs with models that are no Keras file of one input: SavedModels, and several inputs."""

from __future__ import annotations

import io
import pathlib

import keras
import pytest

from heatbeam.job import run
from heatbeam.job.check import dry_run
from tests.support import keras_models, small_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Eight records in two shards, the golden model as SavedModel ``exported``, and ``two.keras`` of two inputs."""
    where = tmp_path_factory.mktemp("forms")
    small_runs.write(where / "data", [small_runs.record(i) for i in range(8)], 2)
    golden = keras.models.load_model(keras_models.GAP)
    golden.export(where / "exported", verbose=False)
    image, age = keras.Input(golden.input_shape[1:], name="image"), keras.Input((1,), name="age")
    older = keras.layers.Dense(golden.output_shape[-1], kernel_initializer="ones")(age)
    keras.Model([image, age], keras.layers.Add()([golden(image), older])).save(where / "two.keras")
    return where


def _rows(folder: pathlib.Path, name: str, *overrides: str):
    pattern = str(folder / "data" / "*.tfrecord*")
    return small_runs.rows(small_runs.run_quietly(small_runs.settings(pattern, folder / name, *overrides)))


def test_a_saved_model_gives_the_rows_of_the_network_in_worker_processes(folder):
    processes = ("runner.processes=2", "runner.workers=2")
    plain = _rows(folder, "plain")
    saved = _rows(folder, "saved", f"model.path={folder / 'exported'}", *processes)
    small_runs.assert_same_rows(plain, saved)


def test_check_names_the_layer_of_a_saved_model(folder):
    told = io.StringIO()
    pattern = str(folder / "data" / "*.tfrecord*")
    configured = small_runs.settings(pattern, folder / "checked", f"model.path={folder / 'exported'}")
    dry_run.check(configured, 2, told)
    plain = io.StringIO()
    dry_run.check(small_runs.settings(pattern, folder / "checked"), 2, plain)
    lines = [next(line for line in one.getvalue().splitlines() if "layer" in line) for one in (told, plain)]
    assert lines[0].split()[:2] == lines[1].split()[:2]


def test_a_run_with_constants_has_the_scores_of_the_whole_model(folder):
    two = (f"model.path={folder / 'two.keras'}", "model.scores=softmax", "explain.methods=[grad_cam]")
    plain, older = _rows(folder, "younger"), _rows(folder, "older", *two, "model.constants={age: 1.5}")
    known = {(row["image_id"], row["class_id"]): row["logit"] for row in plain.to_pylist()}
    for row in older.to_pylist():  # the dense layer of ones adds the age to every score
        assert row["logit"] == pytest.approx(known[row["image_id"], row["class_id"]] + 1.5, abs=1e-4)


def test_rows_are_taken_over_for_the_same_constants_only(folder):
    two = (f"model.path={folder / 'two.keras'}", "model.scores=softmax", "explain.methods=[grad_cam]")
    _rows(folder, "first", *two, "model.constants={age: 1.5}")
    for age in (1.5, 2.5):
        pattern, told = str(folder / "data" / "*.tfrecord*"), io.StringIO()
        given = (*two, f"model.constants={{age: {age}}}", f"output.reuse={folder / 'first'}")
        run.run(small_runs.settings(pattern, folder / f"again_{age}", *given), (), told)
        assert ("anew: grad_cam because of model.architecture" in told.getvalue()) is (age == 2.5)
