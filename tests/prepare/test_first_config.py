from __future__ import annotations

import json
import pathlib

import keras
import pytest
import yaml

from heatbeam import cli, config
from heatbeam.job import class_sources
from heatbeam.prepare import data_found, first_config, model_found
from heatbeam.prepare.answers import Answer, asked, section
from heatbeam.transforms import errors
from heatbeam.transforms.sources import tfexample
from heatbeam.transforms.sources.classes import vocabularies
from tests.prepare import drawn_images
from tests.support import keras_models, sample_shards, small_runs


def small(classes: int = 2, name: str = "small", *first: keras.layers.Layer) -> keras.Model:
    layers = [keras.layers.Input((16, 16, 3)), *first, keras.layers.Conv2D(4, 3), keras.layers.ReLU()]
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(classes, activation="softmax")]
    return keras.Sequential([*layers, *head], name=name)


def wrapped(inner: keras.Model, *, divide: bool = False) -> keras.Model:
    inputs = keras.Input((16, 16, 3))
    scaled = inputs / 127.5 - 1.0 if divide else keras.layers.RandomFlip()(inputs)
    return keras.Model(inputs, keras.layers.Dense(2)(inner(scaled)))


@pytest.mark.parametrize(
    ("model", "mode", "why"),
    [
        (small, "?", "nothing in the model says"),
        (lambda: small(2, "a", keras.layers.Rescaling(1 / 255, name="to_one")), "none", "to_one (Rescaling)"),
        (lambda: small(2, "a", keras.layers.RandomFlip(), keras.layers.Normalization(mean=0.0, variance=1.0)), "none",
         "(Normalization)"),
        (lambda: small(2, "mobilenetv2_1.00_224"), "tf", "mobilenetv2_1.00_224 is called as"),
        (lambda: small(2, "resnet50"), "caffe", "BGR"),
        (lambda: small(2, "resnet50v2"), "tf", "-1..1"),
        (lambda: small(2, "resnet50_of_mine"), "caffe", "resnet50_of_mine"),
        (lambda: small(2, "resnet500"), "?", "nothing in the model says"),
        (lambda: small(2, "densenet121"), "torch", "deviations"),
        (lambda: wrapped(small(2, "mobilenetv2_1.00_224")), "tf", "mobilenetv2_1.00_224"),
        (lambda: wrapped(small(2, "mobilenetv2_1.00_224"), divide=True), "none", "Subtract"),
        (lambda: wrapped(small(2, "inner", keras.layers.Rescaling(1 / 255))), "none", "Rescaling"),
        # What scales behind the first weights says nothing of pixels.
        (lambda: keras.Sequential([keras.layers.Input((16, 16, 3)), keras.layers.Conv2D(2, 3),
                                   keras.layers.Rescaling(0.5)]), "?", "nothing in the model says"),
    ],
)  # fmt: skip
def test_preprocessing_is_recognised_with_its_reason_or_asked(model, mode, why):
    found = model_found._preprocessing(model())
    assert found.value == mode and why in " ".join(found.why)


@pytest.mark.parametrize(
    ("shape", "offered", "left_out"),
    [
        ((16, 16, 3), "caffe: BGR", "statistics"),
        ((16, 16, 1), "as they are", "caffe"),
        ((32, 3), "{statistics: FILE}", "caffe"),
        ((4, 8, 8, 3), "{mean: [...], std: [...]}", "pixels"),
    ],
)
def test_a_question_offers_what_the_input_can_have(shape, offered, left_out):
    model = keras.Sequential([keras.layers.Input(shape), keras.layers.Flatten(), keras.layers.Dense(2)])
    asked = " ".join(model_found._preprocessing(model).why)
    assert offered in asked and left_out not in asked


def test_every_application_that_is_recognised_has_its_own_preprocessing():
    """The table of names against the applications themselves, by what their functions make of white and black."""
    import numpy as np

    from heatbeam.transforms.models import model_source
    from heatbeam.transforms.models.files import loading

    pixels = np.array([[[[0, 0, 0], [255, 128, 64]]]], np.float32)
    applications = {
        "mobilenet_1.00_224": "MobileNet", "mobilenetv2_1.00_224": "MobileNetV2", "inception_v3": "InceptionV3",
        "inception_resnet_v2": "InceptionResNetV2", "xception": "Xception", "nasnet_mobile": "NASNetMobile",
        "resnet50v2": "ResNet50V2", "vgg16": "VGG16", "resnet152": "ResNet152", "densenet121": "DenseNet121",
        "efficientnetb0": "EfficientNetB0", "efficientnetv2-s": "EfficientNetV2S",
        "MobileNetV3Small": "MobileNetV3Small", "convnext_tiny": "ConvNeXtTiny",
    }  # fmt: skip
    for name, application in applications.items():
        mode = model_found._FAMILIES[model_found._family(name)]
        made = [
            loading.preprocessing_function(model_source.Preprocessing(mode=one), None)(pixels)
            for one in (mode, application)
        ]
        np.testing.assert_allclose(made[0], made[1], atol=1e-5, err_msg=name)


def test_text_of_data_stays_a_value_or_a_comment():
    name = "a: b # c\n- d\u202e"
    text = section("input", [Answer("class_names", [name], (f"of {name}",)), asked("label", "x " * 100)])
    assert yaml.safe_load(text) == {"input": {"class_names": [name], "label": "?"}}
    assert all(len(line) < 120 for line in text.splitlines())


def test_a_question_is_refused_until_it_is_answered():
    text = "input: {tfrecord: a}\nmodel: {path: b, preprocessing: '?'}\noutput: {directory: c}\n"
    with pytest.raises(config.ConfigError, match=r"model\.preprocessing: is a question"):
        config.parse(text)
    assert config.parse(text, ["model.preprocessing=tf"]).model.preprocessing.mode == "tf"


def test_any_tfrecord(tmp_path):
    pattern = small_runs.write(tmp_path / "usual", [small_runs.record(i) for i in range(4)], 1)
    found = data_found.look(pattern, None)
    assert [(one.key, one.value) for one in found.settings] == [("tfrecord", pattern)]
    assert found.slices == ("camera", "size")
    records = [sample_shards.image_record(i) for i in range(3)]
    renamed = [
        record.replace(b"image/encoded", b"image/decoded").replace(b"class/label", b"class/lapel") for record in records
    ]
    small_runs.write(tmp_path / "other", renamed, 1)
    (features,) = (one for one in data_found.look(str(tmp_path / "other"), None).settings if one.key == "features")
    assert features.value == {"image": "image/decoded", "label": "?"} and features.is_question
    with pytest.raises(errors.UsageError, match="heatbeam shards"):
        drawn_images.draw(tmp_path / "photos" / "cat" / "1.jpg")
        data_found.look(str(tmp_path / "photos"), None)


@pytest.mark.parametrize(
    ("start", "is_one"),
    [(b"II*\0", True), (b"....ftypavif", True), (b"RIFF....WEBP", True), (b"RIFF....WAVE", False)],
)
def test_an_image_is_what_a_run_takes_for_one(start, is_one):
    feature = tfexample.parse(tfexample.serialize({"x": [start + bytes(8)]}))["x"]
    assert data_found._is_image(feature) is is_one


@pytest.mark.parametrize(
    ("splits", "asked_for", "value"),
    [
        (["images"], None, "d/images-*"),
        (["train", "val"], None, "d/val-*"),
        (["train", "val"], "train", "d/train-*"),
        (["test", "train", "val"], None, "?"),
        (["a", "b"], None, "?"),
    ],
)
def test_a_split_that_no_model_is_trained_on(splits, asked_for, value):
    assert data_found._split("tfrecord", splits, asked_for, "d/{}-*", "").value == value


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("my photos", "holds image files"),
        ("notes", "has no *.tfrecord* files"),
        ("instances.json", "is no TFRecord file"),
    ],
)
def test_what_is_no_shards_yet_is_told_with_the_command_that_makes_them(name, what, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    drawn_images.draw(tmp_path / "my photos" / "cat" / "1.jpg")
    (tmp_path / "notes").mkdir()
    with pytest.raises(errors.UsageError) as raised:
        data_found.look(name, None)
    quoted = "'my photos'" if " " in name else name
    how = f"make shards of it first, heatbeam shards {quoted} --out DIR, and give --data DIR"
    assert str(raised.value) == f"{name} {what}; {how}"


def test_classes_are_matched_or_asked(tmp_path):
    names = tmp_path / "names.txt"
    names.write_text("cat\ndog\n")
    data = data_found.Found((), data_found.names_of(str(names), "x"))

    def settings(outputs, path=None):
        return {one.key: one.value for one in first_config._classes(data, model_found.Found(outputs, ()), path)}

    assert settings(2) == {"class_names": str(names)}
    assert settings(1000) == {"class_names": "?"} and settings(None) == {} == settings(1)
    other = tmp_path / "other.txt"
    other.write_text("dog\ncat\nfox\n")
    assert settings(3, str(other)) == {"class_names": str(other)}
    other.write_text("dog\nlion\n")
    assert settings(2, str(other)) == {"class_names": str(other), "class_map": "?"}


def test_imagenet_is_recognised_by_its_size_and_the_names_of_the_data(monkeypatch):
    imagenet = vocabularies.Vocabulary.of_list(["tench", "goldfish", *(f"other {i}" for i in range(998))], "Keras")
    monkeypatch.setattr(class_sources, "imagenet_if_here", lambda: imagenet)

    def settings(names, outputs, given=None):
        data = data_found.Found((), vocabularies.Vocabulary.of_list(names, "data"))
        found = model_found.Found(outputs, ())
        return {one.key: one.value for one in first_config._classes(data, found, given)}

    assert settings(["goldfish", "Tench"], 1000) == {"class_names": "imagenet"}
    assert settings(["goldfish", "raccoon"], 1000) == settings(["goldfish", "tench"], 999) == {"class_names": "?"}
    assert settings(["raccoon"], 1000, "imagenet") == {"class_names": "imagenet", "class_map": "?"}
    monkeypatch.setattr(class_sources, "imagenet_if_here", lambda: None)
    assert settings(["goldfish", "tench"], 1000) == {"class_names": "?"}
    with pytest.raises(errors.UsageError, match=r"--class-names imagenet: there is no .*imagenet_class_index.json"):
        settings(["tench"], 1000, "imagenet")


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> pathlib.Path:
    folder = tmp_path_factory.mktemp("four")
    for number in range(8):
        drawn_images.draw(folder / "photos" / ("cat" if number % 2 else "dog") / f"{number}.jpg", seed=number)
    model = keras_models.classifier(classes=2)
    model.save(folder / "model.keras")
    return folder


@pytest.mark.long
def test_four_commands_from_a_folder_to_tables(photos, monkeypatch, capsys):
    monkeypatch.chdir(photos)
    assert cli.main(["shards", "photos", "--out", "flowers"]) == 0
    assert cli.main(["init", "--data", "flowers", "--model", "model.keras"]) == 0
    assert "question: model.preprocessing" in capsys.readouterr().out
    assert cli.main(["check", "audit.yaml"]) == 2
    assert "model.preprocessing: is a question" in capsys.readouterr().err
    assert cli.main(["init", "--data", "flowers", "--model", "model.keras"]) == 2
    told = ["init", "--data", "flowers", "--model", "model.keras", "--preprocessing", "tf", "--overwrite"]
    assert cli.main(told) == 0
    assert "question" not in capsys.readouterr().out
    assert cli.main(["check", "audit.yaml"]) in (0, 1), capsys.readouterr().err  # maps of random weights may be sick
    out = capsys.readouterr().out
    assert "label cat" in out and "label dog" in out
    assert cli.main(["run", "audit.yaml"]) == 0
    assert "runs/audit/report.html" in capsys.readouterr().out
    manifest = json.loads((photos / "runs" / "audit" / "manifest.json").read_text())
    assert manifest["counts"]["images_explained"] == 8 and manifest["model"]["class_names"] == ["cat", "dog"]


def test_a_second_input_is_matched_by_name_or_asked(tmp_path):
    image, age, other = (
        keras.Input((16, 16, 3), name="image"),
        keras.Input((1,), name="age"),
        keras.Input((2,), name="b"),
    )
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(image))
    keras.Model([image, age, other], keras.layers.Dense(10)(keras.layers.Concatenate()([x, age, other]))).save(
        tmp_path / "three.keras"
    )
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i, **{"patient/age": [i]}) for i in range(3)], 1)
    text, asked_for = first_config.text(first_config.Wanted(pattern, str(tmp_path / "three.keras"), preprocessing="tf"))
    written = yaml.safe_load(text)
    assert written["model"]["input"] == "image"
    assert written["model"]["inputs"] == {"age": "patient/age", "b": "?"}
    assert "model.inputs" in asked_for and "model.input" not in asked_for
    assert "patient/age" not in written["evaluate"]["slices"]
