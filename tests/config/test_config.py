from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from heatbeam import config
from heatbeam.transforms.sources import decode_options, feature_map, tfrecord_source

GOOD = """
input: {tfrecord: 'data/*.tfrecord'}
model: {path: model.keras, preprocessing: tf}
output: {directory: runs/one}
"""


def test_unset_settings_take_their_defaults():
    settings = config.parse(GOOD)
    assert settings.input.tfrecord == ("data/*.tfrecord",)
    assert settings.input.features.image == "image/encoded"
    assert settings.model.preprocessing.mode == "tf"
    assert [m.label for m in settings.explain.methods] == ["grad_cam"]
    assert settings.explain.targets == ("label", "predicted")
    assert settings.output.max_dead_letter_ratio == 0.05


def test_the_recorded_settings_give_the_same_run_again():
    settings = config.parse(GOOD, ["explain.methods=[cam, {method: score_cam, options: {variant: official}}]"])
    assert config.RunConfig.model_validate(settings.as_dict()) == settings


def test_features_keep_the_sources_names_but_for_those_that_are_set():
    tfds = GOOD.replace("tfrecord: 'data/*.tfrecord'", "tfds: {name: voc}, features: {label: kind, boxes: null}")
    features = config.parse(tfds).input.features
    assert (features.image, features.label, features.boxes, features.box_class) == (
        "image",
        "kind",
        None,
        "objects/label",
    )


def test_overrides_are_yaml_and_win():
    overrides = ("explain.batch_size=7", "explain.targets=[label, 3]", "evaluate.slices=[camera]")
    settings = config.parse(GOOD, overrides)
    assert (settings.explain.batch_size, settings.explain.targets) == (7, ("label", 3))
    assert settings.evaluate.slices == ("camera",)


def test_method_names_in_the_tables():
    methods = "explain.methods=[cam, {method: grad_cam, wrapper: smooth}, {method: score_cam, name: ours}]"
    assert [m.label for m in config.parse(GOOD, [methods]).explain.methods] == ["cam", "smooth_grad_cam", "ours"]


def test_every_problem_is_reported_at_once_with_its_place():
    with pytest.raises(config.ConfigError) as caught:
        config.parse(
            "input: {tfrecod: a, tfrecord: b}\n"
            "model: {path: m, application: n}\n"
            "explain: {batch_size: 0, targets: [lable]}\n"
            "evaluate: {protocol: mine}\n",
            ["nonsense", "runner.name=spork"],
        )
    text = "\n".join(caught.value.problems)
    for said in (
        "--set 'nonsense': expected section.key=value",
        "input.tfrecod: unknown key; did you mean tfrecord?",
        "model: give exactly one of path, application and factory (given: path, application)",
        "explain.batch_size: expected a number of images from 1, or auto; it is 0",
        "explain.targets: unknown target 'lable'",
        "evaluate.protocol: ",
        "output: is missing",
        "runner.name: ",
    ):
        assert said in text


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("input.tfds={name: voc}", "give exactly one of tfrecord and tfds"),
        ("model.weights=w.h5", "go with application or factory"),
        ("model.preprocessing={mode: tf, scale: 1}", "either a mode or scale and offset"),
        ("explain.methods=[cam, cam]", "two methods are called cam"),
        ("explain.methods=[]", "at least 1 item"),
        ("explain.targets=[-1]", "class id -1 is negative"),
        ("explain.targets=[top_0]", "unknown target 'top_0'"),
        ("evaluate.slices=[class]", "class stand for slices that every run has"),
        ("evaluate.faithfulness.metrics=[faith]", "evaluate.faithfulness.metrics.0"),
        ("output.max_dead_letter_ratio=2", "less than or equal to 1"),
        ("explain.sede=1", "explain.sede: unknown key; did you mean seed?"),
    ],
)
def test_contradictions_are_refused(override, said):
    with pytest.raises(config.ConfigError, match="problem") as caught:
        config.parse(GOOD, [override])
    assert said in str(caught.value)


def test_a_file_that_is_not_there_or_not_yaml(tmp_path):
    with pytest.raises(config.ConfigError, match="cannot read"):
        config.load(tmp_path / "none.yaml")
    (tmp_path / "broken.yaml").write_text("input: [")
    with pytest.raises(config.ConfigError, match="not YAML"):
        config.load(tmp_path / "broken.yaml")
    (tmp_path / "list.yaml").write_text("- a")
    with pytest.raises(config.ConfigError, match="is a list, expected sections"):
        config.load(tmp_path / "list.yaml")


def test_settings_that_are_handed_to_the_steps_have_their_defaults_and_names_there():
    given = config.parse(GOOD).input
    records = (feature_map.FeatureMap(), decode_options.ImageOptions(1, 1), tfrecord_source.TFRecordSource(()))
    for record in records:
        for field in dataclasses.fields(record):
            if field.name in set(type(given).model_fields) - set(feature_map.NAMES):
                assert getattr(given, field.name) == getattr(record, field.name), field.name
    assert set(config.FeaturesConfig.model_fields) == set(feature_map.NAMES)
    assert given.as_feature_map() == feature_map.FeatureMap()


def test_the_settings_load_quickly():
    heavy = ("apache_beam", "tensorflow", "keras", "tensorflow_datasets", "cv2", "pyarrow", "PIL")
    program = f"import sys, heatbeam.config\nprint([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert (done.stdout.strip(), done.stderr) == ("[]", "")
