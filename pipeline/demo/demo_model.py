"""The demo's classifier: a small convolutional network, trained on the demo's TFRecord shards in about a minute.

The model takes float pixels already brought to [-1, 1] (`PREPROCESSING_SCALE`, `PREPROCESSING_OFFSET`), so that a run
has to state its preprocessing, and ends in a softmax, so that a run has to take it off. Images are decoded and resized
by `images.decode_image`, squashed to `INPUT_SIZE_PX` squared, bilinear, all by Pillow, which its configuration names.
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from heatbeam.demo import demo_scenes
from heatbeam.transforms.sources import decode_options, images

INPUT_SIZE_PX = 96
PREPROCESSING_SCALE = 1 / 127.5
PREPROCESSING_OFFSET = -1.0
TARGET_LAYER = "features"
"""Name of the last ReLU: 12 x 12 x 64."""

EPOCHS = 12
BATCH_SIZE = 32

_LEARNING_RATE = 2e-3
_SHIFT_PX = 3
_IMAGE_OPTIONS = decode_options.ImageOptions(INPUT_SIZE_PX, INPUT_SIZE_PX, decoder="pillow", resampler="pillow")


@dataclasses.dataclass(frozen=True)
class Training:
    """What came out of a training.

    Attributes:
        path: the saved model, ``.keras``.
        loss: training loss of the last epoch: mean cross-entropy in nats.
        validation_accuracy: share of the validation images whose first choice is their label.
        seconds: of reading, training and validating.
    """

    path: str
    loss: float
    validation_accuracy: float
    seconds: float


def build_model(seed: int) -> keras.Model:
    """The untrained network: float32 ``(B, 96, 96, 3)`` in [-1, 1] to probabilities ``(B, 10)``.

    Five blocks of convolution, batch normalization and ReLU, the first of stride 4, the fourth of stride 2; global
    average pooling; one dense layer with softmax. A feature of the last map sees 45 x 45 pixels.
    """
    inputs = keras.Input((INPUT_SIZE_PX, INPUT_SIZE_PX, 3), name="image")
    x = inputs
    # Filters, stride, side of the kernel.
    blocks = ((32, 4, 5), (32, 1, 3), (32, 1, 3), (64, 2, 3), (64, 1, 3))
    for number, (filters, stride, side) in enumerate(blocks):
        # Initializers with seeds of their own leave Keras's global seed alone.
        initializer = keras.initializers.HeNormal(seed=seed * 100 + number)
        x = keras.layers.Conv2D(
            filters,
            side,
            strides=stride,
            padding="same",
            use_bias=False,
            kernel_initializer=initializer,
            name=f"convolution_{number}",
        )(x)
        x = keras.layers.BatchNormalization(momentum=0.9, name=f"normalization_{number}")(x)
        x = keras.layers.ReLU(name=TARGET_LAYER if number == len(blocks) - 1 else f"relu_{number}")(x)
    x = keras.layers.GlobalAveragePooling2D(name="pooling")(x)
    outputs = keras.layers.Dense(
        len(demo_scenes.CLASS_NAMES),
        activation="softmax",
        kernel_initializer=keras.initializers.GlorotUniform(seed=seed * 100 + len(blocks)),
        name="probabilities",
    )(x)
    return keras.Model(inputs, outputs, name="heatbeam_demo")


def load_split(directory: str | os.PathLike[str], split: str) -> tuple[np.ndarray, np.ndarray]:
    """All images of a split at the model's size, and their labels.

    Args:
        directory: where `demo_data.write_dataset` wrote.
        split: ``train`` or ``validation``.

    Returns:
        uint8 ``(N, 96, 96, 3)`` and int64 ``(N,)``, in the order of the shards.

    Raises:
        FileNotFoundError: no shard of that split.
    """
    shards = sorted(str(shard) for shard in pathlib.Path(directory).glob(f"{split}-*.tfrecord"))
    if not shards:
        raise FileNotFoundError(f"no shard matches {directory}/{split}-*.tfrecord; write the demo dataset first")
    wanted = {
        "image/encoded": tf.io.FixedLenFeature([], tf.string),
        "image/class/label": tf.io.FixedLenFeature([], tf.int64),
    }
    pixels, labels = [], []
    for serialized in tf.data.TFRecordDataset(shards).batch(256):
        parsed = tf.io.parse_example(serialized, wanted)
        pixels += [images.decode_image(data, None, _IMAGE_OPTIONS)[0] for data in parsed["image/encoded"].numpy()]
        labels.append(parsed["image/class/label"].numpy())
    return np.stack(pixels), np.concatenate(labels)


def preprocess(pixels: np.ndarray) -> np.ndarray:
    """uint8 pixels as the model's float32 input in [-1, 1]: pixels * scale + offset."""
    return pixels * np.float32(PREPROCESSING_SCALE) + np.float32(PREPROCESSING_OFFSET)


def train_model(
    dataset_directory: str | os.PathLike[str], path: str | os.PathLike[str], seed: int = 0, epochs: int = EPOCHS
) -> Training:
    """Train on the shards of `demo_data.write_dataset` and save the model.

    Adam on cross-entropy, its rate falling to zero along a cosine. First weights, order and shifts follow from the
    seed; with the same number of threads a training differs from another by what float32 rounding grows to.

    Args:
        dataset_directory: where the shards are.
        path: where the model goes; its name ends in ``.keras``.
        seed: of everything random, not negative.
        epochs: passes over the training images.
    """
    start = time.monotonic()
    train_pixels, train_labels = load_split(dataset_directory, "train")
    model = build_model(seed)
    steps = epochs * -(-len(train_labels) // BATCH_SIZE)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)),
        loss="sparse_categorical_crossentropy",
    )
    batches = (
        tf.data.Dataset.from_tensor_slices((train_pixels, train_labels))
        .shuffle(len(train_labels), seed=seed, reshuffle_each_iteration=True)
        .enumerate()
        .map(lambda number, example: (_shift(example[0], tf.stack([number, seed])), example[1]))
        .batch(BATCH_SIZE)
        .map(lambda pixels, labels: (tf.cast(pixels, tf.float32) * PREPROCESSING_SCALE + PREPROCESSING_OFFSET, labels))
        .prefetch(2)
    )
    history = model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    model.save(path)
    accuracy = validation_accuracy(model, dataset_directory)
    training = Training(os.fspath(path), float(history.history["loss"][-1]), accuracy, time.monotonic() - start)
    sys.stdout.write(f"demo model: validation accuracy {accuracy:.3f}, trained in {training.seconds:.0f} s\n")
    return training


def _shift(pixels: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """The image moved by up to `_SHIFT_PX` either way, its border mirrored: against learning images by heart."""
    padded = tf.pad(pixels, [[_SHIFT_PX, _SHIFT_PX], [_SHIFT_PX, _SHIFT_PX], [0, 0]], "REFLECT")
    return tf.image.stateless_random_crop(padded, pixels.shape, seed)


def validation_accuracy(model: keras.Model, dataset_directory: str | os.PathLike[str]) -> float:
    """Share of the validation images whose first choice is their label."""
    pixels, labels = load_split(dataset_directory, "validation")
    predictions = [
        model.predict_on_batch(preprocess(pixels[first : first + 64])) for first in range(0, len(pixels), 64)
    ]
    return float(np.mean(np.concatenate(predictions).argmax(axis=1) == labels))
