"""Records damaged at random, by fixed seeds: each is decoded as its data set says, or costs itself alone."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image

from heatbeam.transforms import decode, records
from heatbeam.transforms.sources import box_conventions, decode_options, feature_map, features, images, tfexample
from heatbeam.transforms.sources.classes import class_maps
from tests.support import damage, sample_shards

SEEDS = damage.AMOUNT * 1200
SIZE = (24, 20)  # width, height
FILES = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF")
OFTEN = ("image/encoded",) * 8 + ("image/object/mask", "semantic") * 2
USUAL = feature_map.FeatureMap(slices=("camera", "size"))
FEATURES = (
    USUAL,
    dataclasses.replace(USUAL, box_convention=box_conventions.BoxConvention("pixels", "xywh", 1)),
    dataclasses.replace(
        USUAL, boxes="boxes", box_xmin=None, box_ymin=None, box_xmax=None, box_ymax=None, labels="labels"
    ),
    dataclasses.replace(
        USUAL, instance_masks=None, mask_class=None, semantic_mask="semantic", ignore_mask="ignore",
        classes=class_maps.ClassMap.of_names([f"class {i}" for i in range(10)]), label_offset=1, value="value",
    ),
)  # fmt: skip
PILLOW = decode_options.ImageOptions(8, 8, decoder="pillow", resampler="pillow", max_pixels=10_000)
IMAGES = (
    PILLOW,
    dataclasses.replace(PILLOW, channels=1, resize="pad", exif=True),
    dataclasses.replace(PILLOW, resize="crop", draft=True, value_range="upper_byte"),
    dataclasses.replace(PILLOW, decoder="tensorflow", value_range="percentile", resize="keras_crop"),
    dataclasses.replace(PILLOW, decoder="tensorflow", channels=1),
)
MASKS = decode_options.MaskOptions()


def fields(choice: random.Random) -> dict[str, Sequence[Any]]:
    """A record with every feature that `FEATURES` names."""
    width, height = SIZE
    pixels = sample_shards.noise(height, width, seed=choice.randrange(100))
    grey = (pixels[:, :, 0] % 3).astype(np.uint8)
    mask, name = sample_shards.encode(grey), choice.choice(FILES)
    picture = sample_shards.encode(pixels if choice.random() < 0.7 else grey, name)
    if choice.random() < 0.1:
        picture = sample_shards.encode(pixels[:, :, 0].astype(np.uint16) * 257, choice.choice(["PNG", "TIFF"]))
    sides = {"xmin": [0.1, 0.5], "ymin": [0.2, 0.25], "xmax": [0.7, 1.0], "ymax": [0.8, 0.75]}
    return {
        "image/encoded": [picture],
        "image/format": [name.encode()],
        "image/height": [height],
        "image/width": [width],
        "image/source_id": [b"photo"],
        "image/class/label": [choice.choice([1, b"class 3", 2.0])],
        "labels": [3, 4, 4],
        **{f"image/object/bbox/{side}": values for side, values in sides.items()},
        "boxes": [0.1, 0.2, 0.7, 0.8, 0.0, 0.0, 1.0, 1.0],
        "image/object/class/label": [1, 2],
        "image/object/difficult": [0, 1],
        "image/object/mask": [mask, mask],
        "semantic": [mask],
        "ignore": [mask],
        "value": [0.5],
        "camera": [b"left", b"right"],
        "size": [1],
    }


def damaged(choice: random.Random) -> bytes:
    """A serialized record whose features, values or bytes are not what they should be."""
    right = fields(choice)
    if choice.random() < 0.05:
        right["image/format"] = [b"raw"]
        right["image/encoded"] = [choice.randbytes(choice.choice([480, 1440, 1920, 7]))]
    serialized = tfexample.serialize(damage.damaged_fields(choice, right, OFTEN))
    if choice.random() < 0.2:
        return damage.damaged_bytes(choice, serialized or b"x")
    return choice.randbytes(choice.randrange(200)) if choice.random() < 0.02 else serialized


def outcome(seed: int) -> str:
    """Parse and decode one record as the steps do, and check what comes of it.

    Returns:
        ``decoded``, or the type of its error.
    """
    choice = random.Random(seed)  # noqa: S311 - the same damage every time
    names, image = choice.choice(FEATURES), choice.choice(IMAGES)
    serialized = damaged(choice)
    stage = "read"
    try:
        encoded = features.parse_example(serialized, names, "shard", 7)
        stage = "decode"
        example = decode.decode_example(encoded, image, MASKS)
    except records.DataError as error:
        image_id = features.readable_image_id(serialized, names, "shard", 7)
        letter = records.DeadLetter.from_error(image_id, "shard", 7, stage, error)
        assert letter.message and "\n" not in letter.message and len(letter.message) <= letter.MESSAGE_LIMIT
        assert letter.error_type and letter.image_id
        letter.image_id.encode()
        return letter.error_type
    is_right(example, encoded, image)
    return "decoded"


def is_right(example: records.Example, encoded: records.EncodedExample, image: decode_options.ImageOptions) -> None:
    """An example keeps what `records` promises of one."""
    source, truth = example.source, example.ground_truth
    assert example.image.shape == (image.height, image.width, image.channels)
    assert example.image.dtype in (np.uint8, np.float32) and np.isfinite(example.image).all()
    assert example.image.min() >= 0 and example.image.max() <= 255
    assert source.image_id and all(isinstance(label, int) and label >= 0 for label in source.label_ids)
    assert len(set(source.label_ids)) == len(source.label_ids)
    size = np.array(source.size)
    if truth.boxes is not None:
        assert encoded.boxes is not None and len(truth.boxes) + truth.dropped_boxes == len(encoded.boxes)
        assert truth.boxes.dtype == np.float64 and truth.boxes.shape[1] == 4
        assert (truth.boxes[:, :2] >= 0).all() and (truth.boxes[:, 2:] <= size).all()
        assert (truth.boxes[:, :2] < truth.boxes[:, 2:]).all()
        assert truth.box_class_ids is not None and len(truth.box_class_ids) == len(truth.boxes)
        assert truth.box_difficult is not None and len(truth.box_difficult) == len(truth.boxes)
    elif encoded.boxes is not None:
        assert truth.dropped_boxes == len(encoded.boxes) > 0
    if truth.masks is not None:
        assert truth.mask_class_ids is not None and len(truth.mask_class_ids) == len(truth.masks)
        assert truth.masks.shape[1:] == source.shape and truth.masks.dtype == bool
    assert truth.ignore is None or truth.ignore.shape == source.shape


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_whatever_is_damaged_is_decoded_or_costs_its_record():
    outcomes = set()
    for seed in range(SEEDS):
        try:
            outcomes.add(outcome(seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert outcomes >= {
        "decoded", "invalid_record", "missing_feature", "wrong_type", "multiple_values", "corrupt_image",
        "corrupt_mask", "box_length_mismatch", "class_length_mismatch", "difficult_length_mismatch", "invalid_label",
        "invalid_raw_image",
    }  # fmt: skip


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
@pytest.mark.parametrize("name", [*FILES, "AVIF"])
def test_whatever_byte_of_an_image_file_is_wrong_costs_its_record_alone(name):
    Image.init()
    if name not in Image.SAVE:
        pytest.skip(f"this Pillow writes no {name}")
    file, refused = sample_shards.encode(sample_shards.noise(6, 5), name), 0
    for place in range(min(len(file), 500)):
        for value in (0, 5, 12, file[place] ^ 1):  # 5 and 12 are types of TIFF: a rational and a double
            changed = file[:place] + bytes([value]) + file[place + 1 :]
            for read in (
                lambda data: images.decode_image(data, None, PILLOW),
                lambda data: images.decode_grey(data, (5, 6), "the mask"),
            ):
                try:
                    read(changed)
                except records.DataError:
                    refused += 1
    assert refused > 10
