"""Modules that a configuration names: found in its folder, and told in one line where they cannot be imported."""

from __future__ import annotations

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import yaml

from heatbeam import config
from heatbeam.job import plan
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading, user_modules
from tests.support import small_runs

_LAYERS = """
import keras
import my_constants

class Scale(keras.layers.Layer):
    def call(self, images):
        return images * my_constants.FACTOR

@keras.saving.register_keras_serializable("mine")
class Shift(keras.layers.Layer):
    def call(self, images):
        return images + 1.0

def halved(x):
    return x / 2
"""
_PREPROCESSING = """
import numpy as np

def centred(images):
    return images / 100.0 - 1.0

def by_numpy(images):
    return np.asarray(images) * 2

def smaller(images):
    return images[:, ::2]
"""
_MODELS = """
import keras

def make(classes=10):
    keras.utils.set_random_seed(3)
    inputs = keras.Input((24, 24, 3))
    maps = keras.layers.Conv2D(4, 3, activation="relu")(inputs)
    return keras.Model(inputs, keras.layers.Dense(classes)(keras.layers.GlobalAveragePooling2D()(maps)))
"""


@pytest.fixture
def folder(tmp_path) -> pathlib.Path:
    """A user's folder with modules beside ``audit.yaml``."""
    folder = tmp_path / "project"
    folder.mkdir()
    for name, text in (("layers", _LAYERS), ("pixels", _PREPROCESSING), ("models", _MODELS)):
        (folder / f"my_{name}.py").write_text(text)
    (folder / "my_constants.py").write_text("FACTOR = 3.0\n")
    return folder


def _audit(folder: pathlib.Path, **model: object) -> str:
    settings = {
        "input": {"tfrecord": str(folder / "data" / "*.tfrecord")},
        "model": model,
        "output": {"directory": str(folder / "run"), "report": False},
    }
    (folder / "audit.yaml").write_text(yaml.safe_dump(settings))
    return str(folder / "audit.yaml")


def _spec(path: str):
    return plan.engine_spec(config.load(path))


def test_a_factory_beside_the_configuration_is_found(folder):
    spec = _spec(_audit(folder, factory="my_models:make", arguments={"classes": 7}, preprocessing="none"))
    assert spec.model.search_path == str(folder)
    assert loading.load_keras_model(spec.model).output_shape == (None, 7)


def test_the_folder_counts_only_where_code_is_named(folder):
    assert _spec(_audit(folder, path="model.keras", preprocessing="none")).model.search_path is None
    assert _spec(_audit(folder, path="model.keras", preprocessing="a:b", search_path="/other")).model.search_path == (
        "/other"
    )


@pytest.mark.parametrize("suffix", ["keras", "h5"])
def test_custom_layers_of_imported_modules_are_known(folder, suffix):
    """Registered or not, functions too; the module is imported from the folder of its configuration."""
    layers = user_modules.module("my_layers", str(folder), "model.imports")
    inputs = keras.Input((4, 4, 3))
    maps = layers.Shift()(keras.layers.Conv2D(2, 1, activation=layers.halved)(layers.Scale()(inputs)))
    model = keras.Model(inputs, keras.layers.GlobalAveragePooling2D()(maps))
    model.save(folder / f"model.{suffix}")
    spec = _spec(_audit(folder, path=str(folder / f"model.{suffix}"), imports="my_layers", preprocessing="none"))
    images = np.random.default_rng(0).uniform(size=(2, 4, 4, 3)).astype(np.float32)
    loaded = loading.load_keras_model(spec.model)
    assert type(loaded.layers[1]) is layers.Scale
    np.testing.assert_array_equal(loaded(images), model(images))


def test_preprocessing_by_a_function(folder):
    spec = _spec(_audit(folder, factory="my_models:make", preprocessing="my_pixels:centred"))
    function = loading.preprocessing_function(spec.preprocessing, spec.model)
    images = np.full((1, 2, 2, 3), 250, np.uint8)
    np.testing.assert_allclose(function(images), np.full((1, 2, 2, 3), 1.5), rtol=1e-6)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        ("my_pixels:by_numpy", r"by TensorFlow or Keras operations: .*\(.*my_pixels.py, line 8\)"),
        ("my_pixels:smaller", r"inputs of that shape"),
        ("my_pixels:nothing", r"my_pixels has no function nothing"),
        ("no_pixels:any", r"there is no module no_pixels in .*, the folder of the configuration file, or installed"),
    ],
)
def test_preprocessing_that_does_not_fit_says_so(folder, function, said):
    import tensorflow as tf

    spec = _spec(_audit(folder, factory="my_models:make", preprocessing=function))
    with pytest.raises(loading.ModelError, match=said) as raised:
        tf.function(loading.preprocessing_function(spec.preprocessing, spec.model), autograph=False)(
            tf.zeros((1, 4, 4, 3), tf.uint8)
        )
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "import nowhere_to_be_found\n",
            r"raised ModuleNotFoundError: No module named 'nowhere_to_be_found' \(.*, line 1",
        ),
        ("x = 1\ny = = 2\n", r"raised SyntaxError: invalid syntax .*broken.py, line 2\)"),
        ("raise RuntimeError('no key')\n", r"raised RuntimeError: no key \(.*broken.py, line 1\)"),
    ],
    ids=["dependency", "syntax", "raises"],
)
def test_a_module_that_does_not_import_is_quoted(folder, text, said):
    (folder / "broken.py").write_text(text)
    with pytest.raises(loading.ModelError, match=said):
        user_modules.function("broken:make", str(folder), "model.factory")


def test_two_folders_with_modules_of_one_name_do_not_mix(folder, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "my_models.py").write_text("def make():\n    return 5\n")
    assert user_modules.function("my_models:make", str(other), "model.factory")() == 5
    first = user_modules.function("my_models:make", str(folder), "model.factory")
    assert first(3).output_shape == (None, 3)
    assert user_modules.function("my_models:make", str(other), "model.factory")() == 5


def test_a_name_that_is_in_use_is_refused(folder):
    (folder / "keras.py").write_text("def make():\n    return 5\n")
    with pytest.raises(loading.ModelError, match=r"keras has the name of a module in use, .*; rename it"):
        user_modules.function("keras:make", str(folder), "model.factory")


def test_changed_code_is_another_run(folder):
    source = model_source.ModelSource(factory="my_models:make", imports=("my_constants",), search_path=str(folder))
    pixels = model_source.Preprocessing("my_pixels:centred")
    before = user_modules.facts(source, pixels)["code"]
    assert sorted(before) == ["my_constants", "my_models", "my_pixels"]
    (folder / "my_constants.py").write_text("FACTOR = 4.0\n")
    after = user_modules.facts(source, pixels)["code"]
    assert [name for name in before if before[name] != after[name]] == ["my_constants"]
    assert user_modules.facts(model_source.ModelSource("model.keras"), model_source.Preprocessing("tf")) == {}


@pytest.mark.runner
@pytest.mark.long
def test_a_run_from_another_folder_finds_the_modules_on_workers(folder, tmp_path):
    small_runs.write(folder / "data", [small_runs.record(i) for i in range(8)], 2)
    path = _audit(folder, factory="my_models:make", preprocessing="my_pixels:centred", imports=["my_layers"])
    overrides = ["--set", "runner.processes=2", "--set", "runner.workers=2"]
    done = subprocess.run(
        [sys.executable, "-m", "heatbeam", "run", path, *overrides],
        cwd=tmp_path,
        env={**os.environ, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((folder / "run" / "manifest.json").read_text())["counts"]["images_explained"] == 8
