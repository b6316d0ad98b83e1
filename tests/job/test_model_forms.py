"""Whole runs with models that are no Keras file of one input: SavedModels, and several inputs."""

from __future__ import annotations

import io
import pathlib

import keras
import pytest

from heatbeam.job import run
from heatbeam.job.check import dry_run
from heatbeam.transforms.models.files import loading
from tests.support import keras_models, small_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> pathlib.Path:
    """Eight records with ages, the golden model as SavedModel ``exported``, and ``two.keras`` of two inputs."""
    where = tmp_path_factory.mktemp("forms")
    small_runs.write(where / "data", [small_runs.record(i, age=[i / 4]) for i in range(8)], 2)
    golden = keras.models.load_model(keras_models.GAP)
    golden.export(where / "exported", verbose=False)
    image, age = keras.Input(golden.input_shape[1:], name="image"), keras.Input((1,), name="age")
    older = keras.layers.Dense(golden.output_shape[-1], kernel_initializer="ones")(age)
    keras.Model([image, age], keras.layers.Add()([golden(image), older])).save(where / "two.keras")
    return where


def _rows(folder: pathlib.Path, name: str, *overrides: str):
    pattern = str(folder / "data" / "*.tfrecord*")
    return small_runs.rows(small_runs.run_quietly(small_runs.settings(pattern, folder / name, *overrides)))


@pytest.fixture(scope="module")
def plain(folder):
    """The rows of the golden model itself."""
    return _rows(folder, "plain")


@pytest.fixture(scope="module")
def known(plain) -> dict[tuple[str, int], float]:
    """Its scores, by image and class."""
    return {(row["image_id"], row["class_id"]): row["logit"] for row in plain.to_pylist()}


@pytest.mark.long
def test_a_saved_model_gives_the_rows_of_the_network_in_worker_processes(folder, plain):
    processes = ("runner.processes=2", "runner.workers=2")
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


def test_a_run_with_constants_has_the_scores_of_the_whole_model(folder, known):
    two = (f"model.path={folder / 'two.keras'}", "model.scores=softmax", "explain.methods=[grad_cam]")
    older = _rows(folder, "older", *two, "model.constants={age: 1.5}")
    for row in older.to_pylist():  # the dense layer of ones adds the age to every score
        assert row["logit"] == pytest.approx(known[row["image_id"], row["class_id"]] + 1.5, abs=1e-4)


@pytest.mark.long
def test_rows_are_taken_over_for_the_same_constants_only(folder):
    two = (f"model.path={folder / 'two.keras'}", "model.scores=softmax", "explain.methods=[grad_cam]")
    _rows(folder, "first", *two, "model.constants={age: 1.5}")
    for age in (1.5, 2.5):
        pattern, told = str(folder / "data" / "*.tfrecord*"), io.StringIO()
        given = (*two, f"model.constants={{age: {age}}}", f"output.reuse={folder / 'first'}")
        run.run(small_runs.settings(pattern, folder / f"again_{age}", *given), (), told)
        assert ("anew: grad_cam because of model.architecture" in told.getvalue()) is (age == 2.5)


FED = ("model.scores=softmax", "explain.methods=[grad_cam]", "model.inputs={age: age}")


def test_each_image_brings_its_own_age(folder, known):
    """The dense layer of ones adds the age to every score; rows are taken over for the same ages only."""
    first = _rows(folder, "fed", f"model.path={folder / 'two.keras'}", *FED)
    ages = {f"image{i:04d}": i / 4 for i in range(8)}
    for row in first.to_pylist():
        expected = known[row["image_id"], row["class_id"]] + ages[row["image_id"]]
        assert row["logit"] == pytest.approx(expected, abs=1e-4)
    changed = [small_runs.record(i, age=[i / 4 + (i == 3)]) for i in range(6)]
    lost = [small_runs.record(6), small_runs.record(7, age=[0.5, 1.0]), small_runs.record(8, age=[float("nan")])]
    pattern = small_runs.write(folder / "changed", changed + lost, 1)
    given = (
        f"model.path={folder / 'two.keras'}",
        *FED,
        f"output.reuse={folder / 'fed'}",
        "output.max_dead_letter_ratio=1",
    )
    directory = run.run(small_runs.settings(pattern, folder / "again", *given), (), io.StringIO()).directory
    counts = directory.read_manifest().counts
    assert (counts.records_read, counts.images_explained, counts.images_reused, counts.dead_letters) == (9, 6, 5, 3)
    logits = {(row["image_id"], row["class_id"]): row["logit"] for row in small_runs.rows(directory).to_pylist()}
    assert logits["image0003", 3] == pytest.approx(known["image0003", 3] + 1.75, abs=1e-4)
    letters = directory.open_table("dead_letters").to_table().to_pylist()
    assert {(one["stage"], one["error_type"]) for one in letters} == {
        ("read", "missing_feature"), ("decode", "wrong_length"), ("decode", "not_finite")
    }  # fmt: skip


def test_check_names_what_feeds_each_input(folder):
    pattern = str(folder / "data" / "*.tfrecord*")
    given = (f"model.path={folder / 'two.keras'}", *FED)
    told = io.StringIO()
    dry_run.check(small_runs.settings(pattern, folder / "checked", *given), 4, told)
    assert "input    age, 1 float32 of feature age: 0 to 0.75 in 4 records" in told.getvalue()
    found = dry_run.document(small_runs.settings(pattern, folder / "checked", *given), 4)["inputs"]
    assert found == [{"name": "age", "feature": "age", "shape": [1], "type": "float32", "least": 0, "greatest": 0.75}]
    unfed = small_runs.settings(pattern, folder / "checked", f"model.path={folder / 'two.keras'}")
    with pytest.raises(loading.ModelError, match=r"has 2 inputs: .*model.inputs: \{name: feature\}.*model.constants"):
        dry_run.check(unfed, 4, told)
    wrong = small_runs.settings(pattern, folder / "checked", *given[:2], "model.inputs={age: years}")
    said = dry_run.document(wrong, 4)["problems"]
    assert any("none of 8 records has the feature years (model.inputs.age)" in line for line in said)
