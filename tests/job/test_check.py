from __future__ import annotations

import dataclasses
import io
import re

import keras
import numpy as np
import pytest

from heatbeam import config
from heatbeam.audit import map_health
from heatbeam.job.check import dry_run, machine_plan
from tests.audit import test_map_health
from tests.support import small_runs


@pytest.fixture
def pattern(tmp_path) -> str:
    records = [small_runs.record(i) for i in range(6)] + [b"damage"]
    return small_runs.write(tmp_path / "data", records, 1)


def said_of(settings: config.RunConfig, count: int = 8) -> tuple[bool, str]:
    stream = io.StringIO()
    return dry_run.check(settings, count, stream), stream.getvalue()


def test_says_what_a_run_would_do(pattern, tmp_path):
    good, text = said_of(small_runs.settings(pattern, tmp_path / "run"))
    assert good
    for line in (
        "model    input 64x64x3, output (10,), 10 classes",
        "scores   logits: as the model returns them; probabilities by softmax",
        "layer    last_act (Activation, auto): 8x8 cells, 16 channels",
        "method   score_cam: 16 forward passes",
        "record   image0003: 24x20, label class_3, predicted",
        "machine  this machine: 1 process, ",
        "maps     grad_cam: ",
        "warning  record data-00000-of-00001.tfrecord__6 is lost in read: invalid_record",
        "estimate about ",
    ):
        assert line in text
    assert not (tmp_path / "run").exists()  # a check writes nothing


def test_the_estimate_counts_maps_of_the_size_of_the_image(tmp_path):
    """100 records x 2 classes x (64 x 64 cells x 2 bytes + 120 of the row) = 1.66 MB; 8 x 8 cells are 0.05 MB."""
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(100)], 1)
    for method, megabytes in (("gradients", 2), ("grad_cam", 0)):
        settings = small_runs.settings(pattern, tmp_path / "run", f"explain.methods=[{method}]")
        assert f"at most {megabytes} MB of heatmaps" in said_of(settings, 1)[1]


def test_threads_that_would_wait_for_one_another_are_warned_about(pattern, tmp_path, monkeypatch):
    monkeypatch.setattr(machine_plan, "_CHEAP_S", 60.0)
    monkeypatch.setattr(machine_plan, "_MANY_IMAGES", 7)  # as many as there are records
    settings = small_runs.settings(pattern, tmp_path / "run", "runner.workers=2")
    assert "2 threads wait for Python's lock; runner.processes: 2 or more" in said_of(settings)[1]
    monkeypatch.setattr(machine_plan, "_MANY_IMAGES", 8)
    assert "runner.processes" not in said_of(settings)[1]


@pytest.mark.parametrize(("layer", "passes"), [("last_act", 3), ("act2", 12)])
def test_ablation_cam_is_one_pass_and_a_gradient_where_the_head_is_linear(pattern, tmp_path, layer, passes):
    settings = small_runs.settings(pattern, tmp_path / "run").as_dict()
    settings["explain"]["methods"], settings["model"]["target_layer"] = ["ablation_cam"], layer
    good, text = said_of(config.RunConfig.model_validate(settings))
    assert good
    assert f"method   ablation_cam: 0 forward passes and {passes} passes of the head beyond the shared one" in text


def test_answers_no_better_than_chance_come_first(tmp_path):
    """The labels of the model's own answers, moved by one: all eight are wrong."""
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(8)], 1)
    settings = small_runs.settings(pattern, tmp_path / "run")
    stream = io.StringIO()
    dry_run.check(settings, 8, stream)
    found = [int(n) for n in re.findall(r"predicted class_(\d)", stream.getvalue())]
    moved = [small_runs.record(i, **{"image/class/label": [(n + 1 + i % 2) % 10]}) for i, n in enumerate(found)]
    settings = small_runs.settings(small_runs.write(tmp_path / "moved", moved, 1), tmp_path / "run")
    warnings = [line for line in said_of(settings)[1].splitlines() if line.startswith("warning")]
    assert any("no better than chance: 0 of 8 first choices are right" in line for line in warnings[:2])


def test_a_model_that_says_the_same_of_everything_is_a_problem(pattern, tmp_path):
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, activation="relu")(inputs))
    head = keras.layers.Dense(10, "softmax", kernel_initializer="zeros", bias_initializer="random_normal")
    keras.Model(inputs, head(x)).save(tmp_path / "constant.keras")
    settings = small_runs.settings(pattern, tmp_path / "run").as_dict()
    settings["model"] = {"path": str(tmp_path / "constant.keras"), "preprocessing": "none"}
    settings["explain"]["methods"] = ["grad_cam"]
    good, text = said_of(config.RunConfig.model_validate(settings))
    problems = [line for line in text.splitlines() if line.startswith("PROBLEM")]
    assert not good and "the model's numbers are the same for all 6 records" in problems[0]


def test_a_blank_layer_is_found_before_the_run(pattern, tmp_path):
    """Behind a ReLU of values that are never positive every map is blank."""
    settings = small_runs.settings(pattern, tmp_path / "run").as_dict()
    settings["model"] = {"factory": "tests.support.keras_models:blank_factory", "preprocessing": "tf"}
    settings["explain"]["methods"] = ["grad_cam"]
    good, text = said_of(config.RunConfig.model_validate(settings))
    assert not good
    assert "PROBLEM  every map of grad_cam is constant or blank" in text


def test_labels_outside_the_model_are_named(tmp_path):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(0, **{"image/class/label": [10]})], 1)
    good, text = said_of(small_runs.settings(pattern, tmp_path / "run"))
    assert not good
    assert "has label 10, the model has classes 0 to 9; see input.label_offset" in text


def test_a_directory_that_is_taken_is_a_problem(pattern, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "mine.txt").write_text("keep")
    good, text = said_of(small_runs.settings(pattern, tmp_path / "run"))
    assert not good and "is not a heatbeam run" in text


@pytest.mark.parametrize("sick", ["saturated", "single_cell", "edge_locked"])
def test_every_kind_of_sick_map_is_warned_about(pattern, tmp_path, monkeypatch, sick):
    """Each kind alone, put in place of what the engine gives; the words are those of the report."""
    monkeypatch.setattr(dry_run, "_explain", _explaining(test_map_health.SICK[sick]))
    good, text = said_of(small_runs.settings(pattern, tmp_path / "run"))
    assert good  # a warning, not a reason to stop
    said = f" maps of grad_cam are {sick} ({map_health.FLAGS[sick]}): {map_health.CAUSES[sick]}"
    [line] = [line for line in text.splitlines() if line.endswith(said)]
    assert re.match(r"warning  (\d+) of \1 maps", line)
    assert "maps of grad_cam do not depend on the class in 6 of 6 images" in text


@pytest.mark.parametrize("sick", ["nan", "constant"])
def test_maps_that_say_nothing_are_a_problem(pattern, tmp_path, monkeypatch, sick):
    monkeypatch.setattr(dry_run, "_explain", _explaining(test_map_health.SICK[sick]))
    good, text = said_of(small_runs.settings(pattern, tmp_path / "run"))
    assert not good and f"PROBLEM  every map of grad_cam is {sick}" in text


def _explaining(raw: np.ndarray):
    """What `dry_run._explain` gives if every map of every method is `raw`."""
    true = dry_run._explain

    def explain(engine, examples):
        seconds, results = true(engine, examples)
        return seconds, [
            dataclasses.replace(
                one, maps=tuple((label, layer, np.stack([raw] * len(maps))) for label, layer, maps in one.maps)
            )
            for one in results
        ]

    return explain


def test_a_record_is_named_by_the_shard_in_which_it_is(tmp_path):
    nameless = [small_runs.record(i, **{"image/source_id": None}) for i in range(4)]
    pattern = small_runs.write(tmp_path / "data", nameless, 4)
    _, text = said_of(small_runs.settings(pattern, tmp_path / "run", "explain.methods=[cam]"))
    names = re.findall(r"^record   (\S+):", text, re.MULTILINE)
    assert names == [f"data-{i:05d}-of-00004.tfrecord__0" for i in range(4)]
