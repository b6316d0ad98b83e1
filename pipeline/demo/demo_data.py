"""The demo's dataset on disk: TFRecord shards with the TF Object Detection API's names, and a TFDS directory.

`write_dataset` leaves

    DIRECTORY/train-00000-of-00004.tfrecord ...         four fifths of the images
    DIRECTORY/validation-00000-of-00004.tfrecord ...    one fifth
    DIRECTORY/tfds/heatbeam_digits/1.0.0/               the same validation images, byte for byte, as TFDS keeps them
    DIRECTORY/class_names.txt                           one name a line, in the order of the class ids
    DIRECTORY/NOTICE.txt                                whose photos these are

Class ids are 0-based everywhere (the Object Detection API's own label maps start at 1): an id is a position in
`demo_scenes.CLASS_NAMES`. Boxes are fractions of the image's width and height, end exclusive. The slice features are
``source`` (``china``, ``flower``) and ``size_bucket`` (``small``, ``medium``, ``large``).

In TFRecord every digit has its own mask (``image/object/mask``, PNG, 255 on the stroke, in the order of the boxes). In
TFDS there is one semantic mask (``segmentation_mask``): the class id on a stroke, `MASK_BACKGROUND` elsewhere.

Notice for the photos under the digits, which `NOTICE.txt` repeats beside the images: both are released under Creative
Commons Attribution 2.0 (https://creativecommons.org/licenses/by/2.0/). china.jpg: Flickr user danielbuechele, photo
6061409035. flower.jpg: Flickr user vultilion, photo 6056698931. Changes made: cropped, mirrored, resized, handwritten
digits drawn over them.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import logging
import os
import pathlib
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import numpy as np
import tensorflow as tf
import tensorflow_datasets as tfds
from PIL import Image

from heatbeam.demo import demo_scenes

IMAGES = 5000
SHARDS = 4

MASK_BACKGROUND = 254
"""Grey value of TFDS's ``segmentation_mask`` off the strokes; 0 is the digit zero, 255 means "not scored"."""

TFDS_NAME = "heatbeam_digits"
TFDS_VERSION = "1.0.0"

_TRAIN_PARTS, _PARTS = 4, 5
_JPEG_QUALITY = 92


@dataclasses.dataclass(frozen=True)
class DemoDataset:
    """Where the parts of a written dataset are.

    Attributes:
        directory: everything is below it.
        train, validation: glob patterns of the TFRecord shards.
        tfds_directory: the folder that holds TFDS's ``dataset_info.json``; its split is ``validation``.
        class_names: text file, one name a line.
        train_images, validation_images: how many images each split has.
    """

    directory: str
    train: str
    validation: str
    tfds_directory: str
    class_names: str
    train_images: int
    validation_images: int


def write_dataset(
    directory: str | os.PathLike[str],
    images: int = IMAGES,
    shards: int = SHARDS,
    seed: int = 0,
    planted_shortcut: bool = True,
) -> DemoDataset:
    """Draw the dataset and write it. The same arguments give the same images, to the byte.

    Args:
        directory: a new or empty folder.
        images: of both splits together; four fifths are for training.
        shards: TFRecord files of each split, and of the TFDS split.
        seed: of everything random, not negative.
        planted_shortcut: whether most images of class `demo_scenes.SHORTCUT_CLASS_ID` carry the tag.

    Raises:
        FileExistsError: the folder is not empty.
        ValueError: too few images for one per class and shard in each split, no shard, or a negative seed.
    """
    train_images = images * _TRAIN_PARTS // _PARTS
    counts = {"train": train_images, "validation": images - train_images}
    least = max(shards, len(demo_scenes.CLASS_NAMES))
    if shards < 1 or seed < 0 or min(counts.values()) < least:
        raise ValueError(
            f"demo dataset: expected shards >= 1, seed >= 0 and images >= {_PARTS * (least - 1) + 1} (one per class "
            f"and shard in the smaller split); got shards={shards}, seed={seed}, images={images}"
        )
    folder = pathlib.Path(directory)
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(f"{folder} is not empty; name a new folder for the demo dataset, or delete this one")
    (folder / "NOTICE.txt").write_text(demo_scenes.NOTICE, encoding="utf-8")
    (folder / "class_names.txt").write_text("\n".join(demo_scenes.CLASS_NAMES) + "\n", encoding="utf-8")
    for split, count in counts.items():
        _write_tfrecord(folder, split, demo_scenes.painters(split, count, seed, planted_shortcut), count, shards)
    # Drawing again costs a second and saves holding a thousand images.
    validation = demo_scenes.scenes("validation", counts["validation"], seed, planted_shortcut)
    tfds_directory = _write_tfds(folder / "tfds", validation, shards)
    return DemoDataset(
        directory=str(folder),
        train=str(folder / "train-*.tfrecord"),
        validation=str(folder / "validation-*.tfrecord"),
        tfds_directory=str(tfds_directory),
        class_names=str(folder / "class_names.txt"),
        train_images=counts["train"],
        validation_images=counts["validation"],
    )


def detection_example(scene: demo_scenes.Scene) -> tf.train.Example:
    """A scene under the feature names of the TF Object Detection API, class ids 0-based, with the slice features."""
    height, width = scene.image.shape[:2]
    boxes = np.array([digit.box for digit in scene.digits], np.float64) / (width, height, width, height)
    class_ids = [digit.class_id for digit in scene.digits]
    features = {
        "image/encoded": _bytes(jpeg(scene.image)),
        "image/format": _bytes(b"jpeg"),
        "image/source_id": _bytes(scene.image_id.encode()),
        "image/filename": _bytes(f"{scene.image_id}.jpg".encode()),
        "image/height": _integers(height),
        "image/width": _integers(width),
        "image/class/label": _integers(scene.class_id),
        "image/class/text": _bytes(demo_scenes.CLASS_NAMES[scene.class_id].encode()),
        "image/object/bbox/xmin": _floats(boxes[:, 0]),
        "image/object/bbox/ymin": _floats(boxes[:, 1]),
        "image/object/bbox/xmax": _floats(boxes[:, 2]),
        "image/object/bbox/ymax": _floats(boxes[:, 3]),
        "image/object/class/label": _integers(*class_ids),
        "image/object/class/text": _bytes(*(demo_scenes.CLASS_NAMES[class_id].encode() for class_id in class_ids)),
        "image/object/difficult": _integers(*(int(digit.difficult) for digit in scene.digits)),
        "image/object/mask": _bytes(*(png(digit.mask.astype(np.uint8) * 255) for digit in scene.digits)),
        "source": _bytes(scene.source.encode()),
        "size_bucket": _bytes(scene.size_bucket.encode()),
    }
    return tf.train.Example(features=tf.train.Features(feature=features))


def tfds_example(scene: demo_scenes.Scene) -> dict[str, Any]:
    """A scene as TFDS's features (`tfds_features`) take it."""
    height, width = scene.image.shape[:2]
    objects = []
    for digit in scene.digits:
        x0, y0, x1, y1 = digit.box
        box = tfds.features.BBox(ymin=y0 / height, xmin=x0 / width, ymax=y1 / height, xmax=x1 / width)
        objects.append({"bbox": box, "label": digit.class_id, "is_difficult": digit.difficult})
    return {
        "image": io.BytesIO(jpeg(scene.image)),
        "image_id": scene.image_id,
        "label": scene.class_id,
        "objects": objects,
        "segmentation_mask": semantic_mask(scene)[..., None],
        "size_bucket": scene.size_bucket,
        "source": scene.source,
    }


def tfds_features() -> tfds.features.FeaturesDict:
    """The features of the TFDS directory, named as most TFDS detection datasets name theirs."""
    label = tfds.features.ClassLabel(names=list(demo_scenes.CLASS_NAMES))
    return tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "image_id": tfds.features.Text(),
            "label": label,
            "objects": tfds.features.Sequence(
                {"bbox": tfds.features.BBoxFeature(), "label": label, "is_difficult": np.bool_}
            ),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "size_bucket": tfds.features.Text(),
            "source": tfds.features.Text(),
        }
    )


def semantic_mask(scene: demo_scenes.Scene) -> np.ndarray:
    """uint8 ``(height, width)``: the class id on a stroke, `MASK_BACKGROUND` elsewhere. Digits never overlap."""
    grey = np.full(scene.image.shape[:2], MASK_BACKGROUND, np.uint8)
    for digit in scene.digits:
        grey[digit.mask] = digit.class_id
    return grey


def jpeg(pixels: np.ndarray) -> bytes:
    """uint8 ``(height, width, 3)`` as JPEG with full colour resolution, so that the tag keeps its edges."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", quality=_JPEG_QUALITY, subsampling=0)
    return buffer.getvalue()


def png(grey: np.ndarray) -> bytes:
    """uint8 ``(height, width)`` as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, "PNG")
    return buffer.getvalue()


def _write_tfrecord(
    folder: pathlib.Path, split: str, painters: Iterable[Callable[[], demo_scenes.Scene]], count: int, shards: int
) -> None:
    def record(paint: Callable[[], demo_scenes.Scene]) -> bytes:
        # Deterministic, or the order of the features within a record could differ from run to run.
        written: bytes = detection_example(paint()).SerializeToString(deterministic=True)
        return written

    with contextlib.ExitStack() as stack:
        # Pillow drops Python's lock where it resizes and encodes, which is most of the work.
        pool = stack.enter_context(futures.ThreadPoolExecutor(os.cpu_count()))
        writers = [
            stack.enter_context(tf.io.TFRecordWriter(str(folder / f"{split}-{shard:05d}-of-{shards:05d}.tfrecord")))
            for shard in range(shards)
        ]
        for index, written in enumerate(pool.map(record, painters)):
            writers[index * shards // count].write(written)


def _write_tfds(folder: pathlib.Path, scenes: Iterable[demo_scenes.Scene], shards: int) -> pathlib.Path:
    def examples() -> Iterator[tuple[int, dict[str, Any]]]:
        for index, scene in enumerate(scenes):
            yield index, tfds_example(scene)

    with _quiet_tfds():
        builder = tfds.dataset_builders.store_as_tfds_dataset(
            name=TFDS_NAME,
            version=TFDS_VERSION,
            features=tfds_features(),
            split_datasets={"validation": examples()},
            data_dir=folder,
            description="Handwritten digits on photographs, with exact boxes and masks: heatbeam's demo.\n\n"
            + demo_scenes.NOTICE,
            file_format="tfrecord",
            download_config=tfds.download.DownloadConfig(num_shards=shards),
            disable_shuffling=True,
        )
    return pathlib.Path(builder.data_dir)


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    """Without progress bars, talk of a download, and warnings that the folder about to be written is empty."""
    # TFDS has no getter for this setting; bars are shown unless somebody switched them off.
    tfds.display_progress_bar(enable=False)
    logger = logging.getLogger("absl")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)
        tfds.display_progress_bar(enable=True)


def _bytes(*values: bytes) -> tf.train.Feature:
    return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))


def _floats(values: np.ndarray) -> tf.train.Feature:
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def _integers(*values: int) -> tf.train.Feature:
    return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
