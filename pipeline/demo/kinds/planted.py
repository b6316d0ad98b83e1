"""A kind's data on disk, its trained network, and what the network owes to the marker.

`write_dataset` leaves

    DIRECTORY/train-00000-of-00004.tfrecord ...
    DIRECTORY/validation-00000-of-00004.tfrecord ...
    DIRECTORY/class_names.txt                        one name a line, in the order of the class ids
"""

from __future__ import annotations

import dataclasses
import os
import pathlib
import time
from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from heatbeam.demo.kinds import kind
from heatbeam.transforms.sources import tfexample

SHARDS = 4
BATCH_SIZE = 32

_LEARNING_RATE = 3e-3


@dataclasses.dataclass(frozen=True)
class Training:
    """What came out of a training; shares are of validation examples whose first choice is the class in question.

    Attributes:
        accuracy: of all examples, as they are.
        marked_recall: of the marked examples of the marked class.
        unmarked_recall: of the same examples without their marker.
        lured: of the examples of other classes, once they get the marker: those that become the marked class.
        seconds: of drawing, training and measuring.
    """

    accuracy: float
    marked_recall: float
    unmarked_recall: float
    lured: float
    seconds: float


def write_dataset(
    of: kind.Kind, directory: str | os.PathLike[str], counts: tuple[int, int] | None = None, seed: int = 0
) -> None:
    """Draw both splits and write them. The same arguments give the same files, to the byte.

    Args:
        of: what to draw.
        directory: a folder.
        counts: training and validation examples, else the kind's own.
        seed: of everything random, not negative.
    """
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "class_names.txt").write_text("\n".join(of.class_names) + "\n", encoding="utf-8")
    for split, count in zip(kind.SPLITS, counts or of.counts, strict=True):
        examples = list(of.examples(split, count, seed))
        for shard in range(SHARDS):
            path = folder / f"{split}-{shard:05d}-of-{SHARDS:05d}.tfrecord"
            with tf.io.TFRecordWriter(str(path)) as writer:
                for image_id, drawn in examples[count * shard // SHARDS : count * (shard + 1) // SHARDS]:
                    writer.write(tfexample.serialize(of.fields(image_id, drawn)))


def train_model(
    of: kind.Kind,
    path: str | os.PathLike[str],
    counts: tuple[int, int] | None = None,
    seed: int = 0,
    epochs: int | None = None,
) -> Training:
    """Train on the examples that `write_dataset` writes, and save the model.

    Adam on cross-entropy, its rate falling to zero along a cosine. First weights and order follow from the seed.

    Args:
        of, counts, seed: as of `write_dataset`.
        path: where the model goes; its name ends in ``.keras``.
        epochs: passes over the training examples, else the kind's own.
    """
    start = time.monotonic()
    epochs = of.epochs if epochs is None else epochs
    train_count, validation_count = counts or of.counts
    examples = [drawn for _, drawn in of.examples("train", train_count, seed)]
    model = of.build_model(seed)
    steps = epochs * -(-len(examples) // BATCH_SIZE)
    model.compile(
        optimizer=keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(_LEARNING_RATE, steps)),
        loss="sparse_categorical_crossentropy",
    )
    labels = np.array([drawn.class_id for drawn in examples])
    batches = (
        tf.data.Dataset.from_tensor_slices((model_inputs(of, examples), labels))
        .shuffle(len(examples), seed=seed, reshuffle_each_iteration=True)
        .batch(BATCH_SIZE)
        .prefetch(2)
    )
    model.fit(batches, epochs=epochs, shuffle=False, verbose=0)
    model.save(path)
    return _measured(of, model, [drawn for _, drawn in of.examples("validation", validation_count, seed)], start, seed)


def model_inputs(of: kind.Kind, examples: Sequence[kind.Drawn]) -> kind.Array | tuple[kind.Array, kind.Array]:
    """What the network takes of N examples: float32 ``(N, *positions, C)``, and ``(N, n)`` where there is metadata."""
    signals = np.stack([drawn.signal for drawn in examples]).astype(np.float32) * np.float32(of.scale)
    metadata = np.array([drawn.metadata for drawn in examples], np.float32)
    return (signals, metadata) if metadata.size else signals


def _measured(of: kind.Kind, model: keras.Model, examples: Sequence[kind.Drawn], start: float, seed: int) -> Training:
    def choices(asked: Sequence[kind.Drawn]) -> kind.Array:
        found: kind.Array = model.predict(model_inputs(of, asked), batch_size=64, verbose=0).argmax(axis=1)
        return found

    labels = np.array([drawn.class_id for drawn in examples])
    marked = np.array([drawn.marked for drawn in examples])
    others = [drawn for drawn in examples if drawn.class_id != of.shortcut_class_id]
    plain = [of.plain("validation", index, of.shortcut_class_id, seed) for index in np.flatnonzero(marked).tolist()]
    found = choices(examples) == labels
    return Training(
        accuracy=float(found.mean()),
        marked_recall=float(found[marked].mean()),
        unmarked_recall=float((choices(plain) == of.shortcut_class_id).mean()),
        lured=float((choices([of.marked(drawn) for drawn in others]) == of.shortcut_class_id).mean()),
        seconds=time.monotonic() - start,
    )
