from __future__ import annotations

import hashlib
import json
import pickle

import numpy as np
import pytest

from heatbeam.transforms import decode, records
from heatbeam.transforms.sources import decode_options
from tests.support import beam_runs, sample_shards

IMAGE = decode_options.ImageOptions(
    height=2,
    width=2,
    channels=3,
    resize="crop",
    interpolation="area",
    crop_fraction=1.0,
    pad_value=0,
    decoder="pillow",
    resampler="pillow",
    exif=False,
    draft=False,
    max_pixels=10_000,
)
MASKS = decode_options.MaskOptions(background=0, ignore=255, offset=0)
PIXELS = sample_shards.noise(2, 4)


def encoded(**changes):
    fields = {
        "image_id": "photo",
        "shard": "s",
        "index": 3,
        "image": sample_shards.encode(PIXELS),
        "label_ids": (1, 4),
        "boxes": np.array([[0.25, 0.0, 1.0, 0.5]]),
        "box_class_ids": (4,),
        "masks": (sample_shards.encode(np.array([[1, 0, 0, 0], [0, 0, 0, 1]], np.uint8)),),
        "mask_class_ids": (4,),
        "slices": (("camera", "a"),),
    }
    return records.EncodedExample(**{**fields, **changes})


def test_one_record():
    example = decode.decode_example(encoded(), IMAGE, MASKS)
    source = example.source
    assert (source.image_id, source.shard, source.index) == ("photo", "s", 3)
    assert source.image_sha256 == hashlib.sha256(sample_shards.encode(PIXELS)).hexdigest()
    assert source.size == (4, 2)
    assert source.view == (1.0, 0.0, 3.0, 2.0)
    assert source.label_ids == (1, 4)
    assert source.slices == (("camera", "a"),)
    np.testing.assert_array_equal(example.image, PIXELS[:, 1:3])
    assert example.image.dtype == np.uint8
    assert example.ground_truth.boxes.tolist() == [[1.0, 0.0, 4.0, 1.0]]  # of the original, not of the crop
    assert example.ground_truth.masks.astype(int).tolist() == [[[1, 0, 0, 0], [0, 0, 0, 1]]]


def test_raw_record():
    example = decode.decode_example(encoded(image=PIXELS.tobytes(), raw_shape=(2, 4, 3)), IMAGE, MASKS)
    np.testing.assert_array_equal(example.image, PIXELS[:, 1:3])
    assert example.source.image_sha256 == hashlib.sha256(PIXELS.tobytes()).hexdigest()


def test_bad_records_become_dead_letters():
    elements = [
        encoded(),
        encoded(image_id="bad-jpeg", index=4, image=b"junk"),
        encoded(image_id="bad-box", index=5, boxes=np.array([[0.5, 0.0, 0.25, 1.0]])),
        encoded(image_id="masks-only", index=5, boxes=None, box_class_ids=None),
        encoded(image_id="bad-mask", index=6, masks=(sample_shards.encode(np.zeros((9, 9), np.uint8)),)),
        encoded(image_id="huge", index=7, image=sample_shards.encode(np.zeros((101, 100), np.uint8))),
        encoded(image_id="fine", index=8),
    ]
    examples, lost, counters = beam_runs.collect(decode.Decode(IMAGE, MASKS), elements)
    assert [example.source.image_id for example in examples] == ["photo", "bad-box", "masks-only", "fine"]
    assert [example.ground_truth.dropped_boxes for example in examples] == [0, 1, 0, 0]
    assert examples[1].ground_truth.boxes is None
    np.testing.assert_array_equal(examples[0].image, PIXELS[:, 1:3])
    assert [(d.image_id, d.shard, d.index, d.stage, d.error_type) for d in lost] == [
        ("bad-jpeg", "s", 4, "decode", "corrupt_image"),
        ("bad-mask", "s", 6, "decode", "mask_size_mismatch"),
        ("huge", "s", 7, "decode", "image_too_large"),
    ]
    assert counters["images_decoded"] == 4
    assert counters["dead_letters_decode"] == 3


def test_a_bug_stops_the_run():
    with pytest.raises(Exception, match="NoneType"):
        beam_runs.collect(decode.Decode(IMAGE, MASKS), [encoded(image=None)])


def test_milliseconds_are_counted_without_losing_fractions(monkeypatch):
    clock = iter(range(0, 10**9, 300_000))  # 0.3 ms between any two readings
    monkeypatch.setattr(decode.time, "perf_counter_ns", lambda: next(clock))
    _, _, counters = beam_runs.collect(decode.Decode(IMAGE, MASKS), [encoded()] * 10)
    assert counters["decode_msec"] == int(10 * 0.3)


def test_step_can_be_sent_to_workers():
    step = pickle.loads(pickle.dumps(decode._Decode(IMAGE, MASKS)))
    assert (step._image, step._masks) == (IMAGE, MASKS)


def test_recipe_is_json_with_every_option():
    recipe = json.loads(json.dumps(decode.decode_recipe(IMAGE, MASKS)))
    assert recipe["image"]["resize"] == "crop"
    assert recipe["image"]["draft"] is False
    assert recipe["semantic_mask"] == {"background": 0, "ignore": 255, "offset": 0}
