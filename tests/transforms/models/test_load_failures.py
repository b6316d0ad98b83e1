"""A model that cannot be had: every kind of file and of failure is told in one line, with the cause and what to do."""

from __future__ import annotations

import inspect
import pathlib
import pickle
import random
import zipfile

import h5py
import keras
import numpy as np
import pytest

from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading

_FACTORIES = """
import keras

def unreachable():
    server = "weights server"
    raise RuntimeError(f"{server}\\n unreachable")

def number():
    return 3
"""


class Blur(keras.layers.Layer):
    """A custom layer that nobody registers."""

    def call(self, images):
        return images


class Mix(Blur):
    """Another one."""


def _model(*layers: keras.layers.Layer) -> keras.Model:
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2)]
    return keras.Sequential([keras.Input((8, 8, 3)), *layers, *head])


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> pathlib.Path:
    """A folder with ``model.keras``, ``model.h5`` and ``only.weights.h5`` of one model."""
    folder = tmp_path_factory.mktemp("whole")
    model = _model(keras.layers.Conv2D(2, 3))
    model.save(folder / "model.keras")
    model.save(folder / "model.h5")
    model.save_weights(folder / "only.weights.h5")
    return folder


def _said(source: model_source.ModelSource) -> str:
    with pytest.raises(loading.ModelError) as raised:
        loading.load_keras_model(source)
    message = str(raised.value)
    assert "\n" not in message and len(message) < 700
    return message


def _said_of(path: pathlib.Path, data: bytes | None = None) -> str:
    if data is not None:
        path.write_bytes(data)
    message = _said(model_source.ModelSource(str(path)))
    assert str(path) in message
    return message


_TORCH = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
_TFLITE = b"\x1c\0\0\0TFL3" + bytes(40)
_ONNX = b"\x08\x07\x12\x07pytorch\x1a\x052.1.0"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("model.keras", b"", "is an empty file"),
        ("model.h5", b"<!DOCTYPE html><html>", "is a web page"),
        ("model.keras", b"\n <html lang='en'>", "is a web page"),
        ("model.keras", b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        ("model.tflite", _TFLITE, "is a TensorFlow Lite model"),
        ("model.keras", _TFLITE, "is a TensorFlow Lite model"),
        ("model.tflite", b"cut", "is a TensorFlow Lite model"),
        ("model.onnx", _ONNX, "is an ONNX model"),
        ("model.h5", _ONNX, "is an ONNX model"),
        ("model.pth", _TORCH, "is a PyTorch file"),
        ("model.pt", b"anything", "is a PyTorch file"),
        ("model.h5", _TORCH, "is a PyTorch file"),
        (
            "saved_model.pb",
            b"\x08\x01\x12\xf0\x01\x0a\x05",
            "is the graph of a SavedModel without its weights: name the folder",
        ),
        ("frozen.pb", b"\n\x10\n\x05input\x12\x0bPlaceholder", "is a frozen TensorFlow graph"),
        ("model.pkl", pickle.dumps([1]), "is a pickled Python object"),
        ("model.keras", b"\x1f\x8b\x08" + bytes(20), "is packed with gzip"),
        ("model.safetensors", b'\x40\0\0\0\0\0\0\0{"a":{}}', "is a safetensors file"),
        ("model.json", b'{"format": "layers-model", "modelTopology": {}}', "is a TensorFlow.js model"),
        ("model.json", b'{"module": "keras", "class_name": "Sequential"}', "is an architecture without weights"),
        ("model.keras", b"\x01\x02\x03\x04\x05", "its first bytes b'\\x01\\x02\\x03\\x04\\x05' show: it is damaged"),
    ],
)
def test_a_file_of_another_kind_is_known_by_its_bytes(tmp_path, name, data, said):
    assert said in _said_of(tmp_path / name, data)


def test_a_cut_or_damaged_file_is_called_that(tmp_path, whole):
    archive, tree = (whole / "model.keras").read_bytes(), (whole / "model.h5").read_bytes()
    assert "is cut off: the end of the zip archive" in _said_of(tmp_path / "cut.keras", archive[: len(archive) // 2])
    for length in (100, len(tree) // 2, len(tree) - 1):
        assert "is cut off or damaged, the HDF5 library says (truncated" in _said_of(tmp_path / "a.h5", tree[:length])
    inside = archive.index(b"model.weights.h5") + 2000
    flipped = archive[:inside] + bytes(255 - b for b in archive[inside : inside + 40]) + archive[inside + 40 :]
    assert "model.weights.h5 in it does not match its checksum" in _said_of(tmp_path / "flipped.keras", flipped)


def test_weights_as_model_are_told_where_they_go(whole, tmp_path):
    assert "give it as model.weights beside model.application or model.factory" in _said_of(whole / "only.weights.h5")
    weights = (whole / "only.weights.h5").read_bytes()
    assert "give it as model.weights" in _said_of(tmp_path / "model.keras", weights)


def test_archives_are_told_apart_by_what_is_inside(tmp_path, whole):
    def archive(name: str, *entries: str) -> pathlib.Path:
        with zipfile.ZipFile(tmp_path / name, "w") as made:
            for entry in entries:
                made.writestr(entry, "x")
        return tmp_path / name

    assert "is a PyTorch file" in _said_of(archive("a.pt", "net/data.pkl", "net/version"))
    assert "is a packed SavedModel" in _said_of(archive("a.zip", "saved/saved_model.pb"))
    assert "name what is inside: net/model.keras" in _said_of(archive("b.zip", "net/model.keras"))
    assert "it has no config.json" in _said_of(archive("c.keras", "readme.txt"))
    np.savez(tmp_path / "arrays.npz", a=np.ones(2))
    assert "is an archive of arrays" in _said_of(tmp_path / "arrays.npz")


def test_a_folder_is_told_by_its_files(tmp_path, whole):
    assert "is a directory without a saved_model.pb" in _said_of(tmp_path)
    assert "Name a file in it: model.h5, model.keras, only.weights.h5" in _said_of(whole)


def test_a_model_under_a_misleading_name_is_loaded(whole, tmp_path):
    for original, name in (("model.keras", "model.h5"), ("model.h5", "model.keras"), ("model.keras", "no_suffix")):
        (tmp_path / name).symlink_to(whole / original)
        loaded = loading.load_keras_model(model_source.ModelSource(str(tmp_path / name)))
        expected = loading.load_keras_model(model_source.ModelSource(str(whole / original)))
        assert loading.model_digest(loaded) == loading.model_digest(expected)
        (tmp_path / name).unlink()


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_classes_that_keras_does_not_know_are_named(tmp_path, suffix):
    path = tmp_path / f"model.{suffix}"
    _model(Blur(), keras.layers.Conv2D(2, 1), Mix()).save(path)
    message = _said_of(path)
    assert "it needs Blur, Mix, which Keras does not know" in message and "model.imports" in message


def test_a_lambda_layer_is_refused_in_safe_mode(tmp_path):
    for name in ("model.keras", "model.h5"):
        _model(keras.layers.Lambda(lambda x: x * 2)).save(tmp_path / name)
        assert "If you trust the file, set model.safe_mode: false" in _said_of(tmp_path / name)


def test_a_file_of_keras_2_that_keras_3_cannot_read_says_so(tmp_path, whole):
    """tf_keras writes the modules of its classes, which Keras 3 does not have."""
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(whole / "model.keras") as parts, zipfile.ZipFile(path, "w") as made:
        made.writestr("metadata.json", '{"keras_version": "2.15.0", "date_saved": "2024-01-01@00:00:00"}')
        made.writestr(
            "config.json",
            '{"module": "keras.src.premade_models.linear", "class_name": "LinearModel", "config": {}, '
            '"registered_name": "LinearModel", "build_config": {}, "compile_config": {}}',
        )
        made.writestr("model.weights.h5", parts.read("model.weights.h5"))
    message = _said_of(path)
    assert "written by Keras 2.15.0 (tf_keras)" in message and "save it as model.h5" in message
    assert "parent module keras.src.premade_models.linear cannot be imported" in message


def test_an_unknown_argument_of_a_layer_is_the_whole_cause(tmp_path):
    path = tmp_path / "model.h5"
    _model(keras.layers.Conv2D(2, 1)).save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = file.attrs["model_config"].replace('"filters"', '"novelty": 1, "filters"')
    assert "{'novelty': 1}" in _said_of(path)


def test_a_factory_that_raises_is_quoted_with_its_place(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    (tmp_path / "factories_that_fail.py").write_text(_FACTORIES)
    place = f"({tmp_path / 'factories_that_fail.py'}, line 6)"
    raised = _said(model_source.ModelSource(factory="factories_that_fail:unreachable"))
    assert raised.endswith(f"does not give a model: RuntimeError: weights server unreachable {place}")
    assert "returned builtins.int" in _said(model_source.ModelSource(factory="factories_that_fail:number"))


def test_an_application_that_refuses_its_arguments_is_quoted():
    source = model_source.ModelSource(application="MobileNetV2", arguments=(("alpha", 0.3), ("weights", "imagenet")))
    assert "ValueError: If imagenet weights are being loaded, alpha must be one of" in _said(source)


@pytest.mark.parametrize(
    ("data", "said"),
    [(None, "does not exist"), (b"", "is an empty file"), (b"<html>", "is a web page"), (_TORCH, "is a PyTorch file")],
)
def test_weights_that_are_none_are_refused(tmp_path, data, said):
    path = tmp_path / "net.weights.h5"
    if data is not None:
        path.write_bytes(data)
    arguments = (("alpha", 0.35), ("input_shape", (32, 32, 3)))
    message = _said(model_source.ModelSource(application="MobileNetV2", weights=str(path), arguments=arguments))
    assert message.startswith(f"model.weights {path} ") and said in message


@pytest.mark.parametrize("name", sorted(n for n, f in vars(keras.applications).items() if inspect.isfunction(f)))
def test_an_application_without_weights_is_refused(name):
    message = _said(model_source.ModelSource(application=name))
    assert message.startswith(f"model.application {name} alone has random weights")
    source = model_source.ModelSource(application=name, arguments=(("weights", None),))
    assert (
        source.has_random_weights and loading.preprocessing_function(model_source.Preprocessing(), source) is not None
    )


def test_random_weights_can_be_meant():
    arguments = (("alpha", 0.35), ("input_shape", (32, 32, 3)), ("weights", None))
    source = model_source.ModelSource(application="MobileNetV2", arguments=arguments)
    assert loading.load_keras_model(source).output_shape == (None, 1000)
    assert not model_source.ModelSource(application="MobileNetV2", weights="a.h5").has_random_weights
    assert not model_source.ModelSource("model.keras").has_random_weights


def test_random_weights_follow_from_the_seed_alone():
    arguments = (("alpha", 0.35), ("input_shape", (32, 32, 3)), ("weights", None))
    source = model_source.ModelSource(application="MobileNetV2", arguments=arguments)
    before = random.getstate()
    digests = [loading.model_digest(loading.load_keras_model(source, seed)) for seed in (0, 0, 1)]
    assert digests[0] == digests[1] != digests[2]
    assert random.getstate() == before  # whoever else draws sees nothing of it


def test_preprocessing_of_an_application_that_is_made_without_its_own_is_asked_for():
    source = model_source.ModelSource(application="MobileNetV3Small", arguments=(("include_preprocessing", False),))
    with pytest.raises(loading.ModelError, match="made without its preprocessing"):
        loading.preprocessing_function(model_source.Preprocessing(), source)
