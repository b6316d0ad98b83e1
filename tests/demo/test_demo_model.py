from __future__ import annotations

import io
import math
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from heatbeam.demo import demo_data, demo_model

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*label:DeprecationWarning"),  # TFDS's own use of protobuf
    pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning"),  # Keras's own use of NumPy 2
]

IMAGES, TRAIN, VALIDATION = 60, 48, 12


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    pytest.importorskip("tensorflow_datasets")
    return demo_data.write_dataset(tmp_path_factory.mktemp("demo") / "data", IMAGES, 2, 0).directory


def weights(seed: int) -> list[np.ndarray]:
    return demo_model.build_model(seed).get_weights()


def test_the_network_is_the_one_described():
    model = demo_model.build_model(0)
    kernels = 25 * 3 * 32 + 9 * (32 * 32 + 32 * 32 + 32 * 64 + 64 * 64)
    normalizations = 4 * (32 + 32 + 32 + 64 + 64)
    assert model.count_params() == kernels + normalizations + 64 * 10 + 10
    assert model.get_layer(demo_model.TARGET_LAYER).output.shape == (None, 12, 12, 64)
    assert model.layers[-1].activation is keras.activations.softmax


def test_probabilities_follow_from_the_mean_of_the_target_layer():
    model = demo_model.build_model(0)
    both = keras.Model(model.inputs, [model.get_layer(demo_model.TARGET_LAYER).output, model.output])
    images = np.random.default_rng(0).uniform(-1, 1, (2, 96, 96, 3)).astype(np.float32)
    features, probabilities = both.predict_on_batch(images)
    kernel, bias = model.layers[-1].get_weights()
    exponentials = np.exp(features.mean(axis=(1, 2)) @ kernel + bias)
    np.testing.assert_allclose(probabilities, exponentials / exponentials.sum(axis=1, keepdims=True), rtol=1e-4)


def test_the_seed_decides_the_first_weights_and_leaves_keras_alone():
    keras.utils.set_random_seed(5)
    before = keras.random.uniform((3,)).numpy()
    keras.utils.clear_session()  # set_random_seed alone starts over only from Keras 3.13 on
    keras.utils.set_random_seed(5)
    first = weights(1)
    np.testing.assert_array_equal(keras.random.uniform((3,)).numpy(), before)
    assert all(np.array_equal(a, b) for a, b in zip(first, weights(1), strict=True))
    assert not np.array_equal(first[0], weights(2)[0])


def test_preprocessing_maps_bytes_to_minus_one_to_one():
    pixels = np.array([0, 51, 255], np.uint8)
    np.testing.assert_allclose(demo_model.preprocess(pixels), [-1, 51 / 127.5 - 1, 1], atol=1e-6)
    assert demo_model.preprocess(pixels).dtype == np.float32


def test_a_split_is_loaded_in_the_order_of_its_shards(dataset):
    pixels, labels = demo_model.load_split(dataset, "validation")
    assert pixels.shape == (VALIDATION, 96, 96, 3) and pixels.dtype == np.uint8
    shards = [str(path) for path in sorted(pathlib.Path(dataset).glob("validation-*.tfrecord"))]
    for index, record in enumerate(tf.data.TFRecordDataset(shards)):
        feature = tf.train.Example.FromString(record.numpy()).features.feature
        image = Image.open(io.BytesIO(feature["image/encoded"].bytes_list.value[0]))
        np.testing.assert_array_equal(pixels[index], np.asarray(image.resize((96, 96), Image.Resampling.BILINEAR)))
        assert labels[index] == feature["image/class/label"].int64_list.value[0]


def test_no_shards_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no shard matches .*train-.*write the demo dataset first"):
        demo_model.train_model(tmp_path, tmp_path / "model.keras")


def test_training_beats_a_constant_prediction_and_saves_what_it_measured(dataset, tmp_path, capsys):
    path = tmp_path / "model.keras"
    training = demo_model.train_model(dataset, path, seed=0, epochs=10)
    # The best constant prediction says each class as often as it occurs.
    counts = np.bincount(demo_model.load_split(dataset, "train")[1])
    constant = -sum(count / TRAIN * math.log(count / TRAIN) for count in counts)
    assert 2.2 < constant < math.log(10) + 1e-9
    assert training.loss < 0.9 * constant
    assert training.path == str(path)
    saved = keras.models.load_model(path)
    assert demo_model.validation_accuracy(saved, dataset) == training.validation_accuracy
    assert f"validation accuracy {training.validation_accuracy:.3f}" in capsys.readouterr().out


def test_accuracy_is_the_share_of_right_first_choices(dataset):
    class AlwaysThree:
        def predict_on_batch(self, images: np.ndarray) -> np.ndarray:
            return np.eye(10)[[3] * len(images)]

    labels = demo_model.load_split(dataset, "validation")[1]
    assert demo_model.validation_accuracy(AlwaysThree(), dataset) == labels.tolist().count(3) / VALIDATION
