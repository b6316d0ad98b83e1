from __future__ import annotations

import io

import pytest

from pipeline import check, config
from tests import small_runs


@pytest.fixture
def pattern(tmp_path) -> str:
    records = [small_runs.record(i) for i in range(6)] + [b"damage"]
    return small_runs.write(tmp_path / "data", records, 1)


def said_of(settings: config.RunConfig, count: int = 8) -> tuple[bool, str]:
    stream = io.StringIO()
    return check.check(settings, count, stream), stream.getvalue()


def test_says_what_a_run_would_do(pattern, tmp_path):
    good, text = said_of(small_runs.settings(pattern, tmp_path / "run"))
    assert good
    for line in (
        "model    input 64x64x3, output (10,), 10 classes",
        "scores   logits: as the model returns them; probabilities by softmax",
        "layer    last_act (Activation, auto): 8x8 cells, 16 channels",
        "method   score_cam: 16 forward passes",
        "record   image0003: 24x20, label class_3, predicted",
        "maps     grad_cam: ",
        "warning  record data-00000-of-00001.tfrecord__6 is lost in read: invalid_record",
        "estimate about ",
    ):
        assert line in text
    assert not (tmp_path / "run").exists()  # a check writes nothing


def test_a_blank_layer_is_found_before_the_run(pattern, tmp_path):
    """Behind a ReLU of values that are never positive every map is blank."""
    settings = small_runs.settings(pattern, tmp_path / "run").as_dict()
    settings["model"] = {"factory": "tests.keras_models:blank_factory", "preprocessing": "tf"}
    settings["explain"]["methods"] = ["grad_cam"]
    good, text = said_of(config.RunConfig.model_validate(settings))
    assert not good
    assert "PROBLEM  every map of grad_cam is blank or NaN" in text


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
