"""Datasets to measure on: JPEGs like a photo collection's, and tiny ones that cost nothing to decode.

The photos are crops of the two that scikit-learn brings (see `demo_scenes.NOTICE`); nothing is downloaded.
"""

from __future__ import annotations

import io
import pathlib
from collections.abc import Sequence

import numpy as np
from PIL import Image
from sklearn import datasets

from heatbeam.transforms.sources import tfexample
from tests.support import sample_shards

CLASSES = 10
"""Labels are below this: few enough that the shortest run has all of them too. What a class costs at the end is in
both, and not in what an image takes."""

PHOTO_SIZE = (500, 375)
"""Width and height of a photo, in pixels: ImageNet's most frequent."""

TINY_PX = 32

# ImageNet's files have about 110 kB at this size; these crops reach that at this quality.
_QUALITY = 92
_DISTINCT = 64


def photos(count: int, seed: int = 0) -> list[bytes]:
    """`count` JPEGs of `PHOTO_SIZE`, the first `_DISTINCT` all different."""
    rng = np.random.default_rng(seed)
    scenes = datasets.load_sample_images().images
    width, height = PHOTO_SIZE
    made = []
    for i in range(min(count, _DISTINCT)):
        scene = scenes[i % len(scenes)]
        y = rng.integers(scene.shape[0] - height + 1)
        x = rng.integers(scene.shape[1] - width + 1)
        crop = scene[y : y + height, x : x + width]
        made.append(_jpeg(crop[:, ::-1] if rng.random() < 0.5 else crop, _QUALITY))
    return [made[i % len(made)] for i in range(count)]


def tiny(count: int, seed: int = 0) -> list[bytes]:
    """`count` JPEGs of `TINY_PX` squared."""
    rng = np.random.default_rng(seed)
    made = [
        _jpeg(rng.integers(0, 256, (TINY_PX, TINY_PX, 3), dtype=np.uint8), 75) for _ in range(min(count, _DISTINCT))
    ]
    return [made[i % len(made)] for i in range(count)]


def _jpeg(pixels: np.ndarray, quality: int) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(pixels)).save(buffer, "JPEG", quality=quality)
    return buffer.getvalue()


def label(number: int, classes: int = CLASSES) -> int:
    """The class of image `number`; as many images as there are classes, one after another, have all of them."""
    return number * 7919 % classes


def record(image: bytes, number: int, classes: int) -> bytes:
    """Image `number` with a label below `classes` and one box, by the names of the TF Object Detection API."""
    x, y = 0.1 + number % 5 / 20, 0.15 + number % 7 / 20
    return tfexample.serialize(
        {
            "image/encoded": [image],
            "image/source_id": [f"{number:09d}".encode()],
            "image/class/label": [label(number, classes)],
            "image/object/bbox/xmin": [x],
            "image/object/bbox/ymin": [y],
            "image/object/bbox/xmax": [x + 0.45],
            "image/object/bbox/ymax": [y + 0.4],
        }
    )


def write_shards(folder: pathlib.Path, images: Sequence[bytes], shards: int, classes: int = CLASSES) -> str:
    """Spread records of `images` evenly over TFRecord shards in a new folder; the pattern that matches them."""
    folder.mkdir(parents=True)
    for shard in range(shards):
        with (folder / f"data-{shard:05d}-of-{shards:05d}.tfrecord").open("wb") as stream:
            stream.writelines(
                sample_shards.frame_record(record(images[number], number, classes))
                for number in range(shard, len(images), shards)
            )
    return str(folder / "data-*.tfrecord")
