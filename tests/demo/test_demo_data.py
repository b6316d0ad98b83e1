from __future__ import annotations

import dataclasses
import io
import pathlib

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from heatbeam.demo import demo_data, demo_scenes
from heatbeam.transforms.sources import decode_options, features, ground_truth
from tests.support import sample_shards

tfds = pytest.importorskip("tensorflow_datasets")

pytestmark = pytest.mark.filterwarnings("ignore:.*label:DeprecationWarning")  # TFDS's own use of protobuf

IMAGES, SHARDS, SEED = 60, 2, 3
TRAIN, VALIDATION = 48, 12  # four fifths and one fifth
MAGENTA = (255, 0, 255)


@pytest.fixture(scope="module")
def train() -> list[demo_scenes.Scene]:
    return list(demo_scenes.scenes("train", 200, SEED, planted_shortcut=True))


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> demo_data.DemoDataset:
    return demo_data.write_dataset(tmp_path_factory.mktemp("demo") / "data", IMAGES, SHARDS, SEED)


def drawn(split: str, count: int, planted_shortcut: bool = True, seed: int = SEED) -> list[demo_scenes.Scene]:
    return list(demo_scenes.scenes(split, count, seed, planted_shortcut))


def tfrecords(dataset: demo_data.DemoDataset, split: str) -> list[bytes]:
    files = sorted(pathlib.Path(dataset.directory).glob(f"{split}-*.tfrecord"))
    return [record.numpy() for record in tf.data.TFRecordDataset([str(file) for file in files])]


def magenta_pixels(pixels: np.ndarray) -> np.ndarray:
    return np.all(pixels == MAGENTA, axis=-1)


def test_boxes_are_tight_around_the_masks(train):
    for scene in train:
        for digit in scene.digits:
            y, x = np.nonzero(digit.mask)
            assert digit.box == (x.min(), y.min(), x.max() + 1, y.max() + 1)


def test_tight_box_ends_are_exclusive():
    mask = np.zeros((6, 8), bool)
    mask[1, 2] = mask[3, 4] = True
    assert demo_scenes.tight_box(mask) == (2, 1, 5, 4)


def test_strokes_are_painted_where_the_mask_is():
    alpha = np.array([[1.0, 0.5, 0.25]], np.float32)
    black = np.zeros((4, 6, 3), np.uint8)
    image, mask = demo_scenes._draw(black, alpha, (2, 1), np.random.default_rng(0))
    colour = image[2, 1].astype(float)
    assert colour.max() == 255  # light on black, at full coverage
    np.testing.assert_allclose(image[2, 1:4], np.array([1.0, 0.5, 0.25])[:, None] * colour, atol=0.6)
    assert np.argwhere(mask).tolist() == [[2, 1], [2, 2]]
    assert image.sum() == image[2, 1:4].sum()
    assert not black.any()


def test_a_digit_is_as_high_as_asked():
    full = np.ones((8, 8), np.float32)
    height, width = demo_scenes._enlarge(full, 40).shape
    assert abs(height - 40) <= 2 and abs(width - 40) <= 2  # the smoothed edge may fall on either side of a pixel


@pytest.mark.parametrize(("under", "low", "high"), [(0, 0.4 * 255, 255), (255, 0, 0.3 * 255)], ids=["black", "white"])
def test_strokes_contrast_with_the_background(under, low, high):
    for seed in range(20):
        colour = demo_scenes._contrasting_colour(np.full((5, 5, 3), under, np.float32), np.random.default_rng(seed))
        assert low - 1e-3 <= colour @ (0.299, 0.587, 0.114) <= high + 1e-3


def test_nine_tenths_of_the_shortcut_class_carry_the_tag(train):
    # 200 images of 10 classes: 20 of each, 0.9 * 20 = 18 tagged.
    assert [scene.class_id for scene in train].count(demo_scenes.SHORTCUT_CLASS_ID) == 20
    assert sum(scene.tagged for scene in train) == 18
    assert {scene.class_id for scene in train if scene.tagged} == {8}


def test_the_tag_is_the_stated_square_and_nothing_else_is_magenta(train):
    for scene in train:
        magenta = magenta_pixels(scene.image)
        if scene.tagged:
            assert magenta[4:14, 4:14].all()
        assert magenta.sum() == (10 * 10 if scene.tagged else 0)
        assert not any(digit.mask[:14, :14].any() for digit in scene.digits)


def test_without_the_shortcut_only_the_tag_is_missing(train):
    for tagged, plain in zip(train, drawn("train", 200, planted_shortcut=False), strict=True):
        assert not plain.tagged
        differs = np.any(tagged.image != plain.image, axis=-1)
        assert differs.any() == tagged.tagged
        differs[4:14, 4:14] = False
        assert not differs.any()


def test_a_second_digit_is_smaller_of_another_class_and_apart(train):
    pairs = [scene.digits for scene in train if len(scene.digits) == 2]
    assert 0.1 * len(train) < len(pairs) < 0.4 * len(train)
    for first, second in pairs:
        assert first.class_id != second.class_id
        assert second.box[3] - second.box[1] < first.box[3] - first.box[1]
        assert not (first.mask & second.mask).any()


def test_small_digits_are_difficult(train):
    digits = [digit for scene in train for digit in scene.digits]
    assert {digit.difficult for digit in digits} == {True, False}
    assert all(digit.difficult == (digit.box[3] - digit.box[1] < 22) for digit in digits)
    assert not any(scene.digits[0].difficult for scene in train)


def test_no_scan_is_in_both_splits(train):
    def used(scenes):
        return {digit.source_index for scene in scenes for digit in scene.digits}

    of_train, of_validation = used(train), used(drawn("validation", 200))
    assert len(of_train) > 150 and len(of_validation) > 100
    assert not of_train & of_validation
    _, class_ids = demo_scenes._scans()
    assert all(class_ids[digit.source_index] == digit.class_id for scene in train for digit in scene.digits)


def test_images_differ_in_size_and_come_from_both_photos(train):
    sizes = {scene.image.shape for scene in train}
    assert len(sizes) > 100
    assert all(96 <= height <= 144 and 112 <= width <= 160 for height, width, _ in sizes)
    assert {scene.source for scene in train} == {"china", "flower"}
    assert {scene.size_bucket for scene in train} == {"small", "medium", "large"}


@pytest.mark.parametrize(
    ("box", "bucket"),
    [((0, 0, 99, 10), "small"), ((0, 0, 100, 10), "medium"), ((0, 0, 100, 15), "large")],  # shares .099, .1, .15
)
def test_size_bucket_is_the_share_of_the_image(box, bucket):
    digit = demo_scenes.Digit(1, 0, np.zeros((100, 100), bool), box)
    assert demo_scenes.Scene("a", np.zeros((100, 100, 3), np.uint8), (digit,), "china", False).size_bucket == bucket


def test_the_seed_decides_the_pixels(train):
    again = drawn("train", 200)
    assert all(np.array_equal(a.image, b.image) for a, b in zip(train, again, strict=True))
    other = drawn("train", 5, seed=SEED + 1)
    assert not any(np.array_equal(a.image, b.image) for a, b in zip(train, other, strict=False))


def test_writing_twice_gives_the_same_bytes(written, tmp_path):
    again = demo_data.write_dataset(tmp_path / "again", IMAGES, SHARDS, SEED)
    first, second = pathlib.Path(written.directory), pathlib.Path(again.directory)
    names = sorted(path.relative_to(first) for path in first.rglob("*.tfrecord*"))
    assert len(names) == 3 * SHARDS
    assert all((first / name).read_bytes() == (second / name).read_bytes() for name in names)


def test_shards_share_the_images(written):
    folder = pathlib.Path(written.directory)
    counts = {
        path.name: sum(1 for _ in tf.data.TFRecordDataset(str(path))) for path in sorted(folder.glob("*.tfrecord"))
    }
    assert counts == {
        "train-00000-of-00002.tfrecord": 24,
        "train-00001-of-00002.tfrecord": 24,
        "validation-00000-of-00002.tfrecord": 6,
        "validation-00001-of-00002.tfrecord": 6,
    }
    assert (written.train_images, written.validation_images) == (TRAIN, VALIDATION)
    assert (folder / "class_names.txt").read_text().split() == list(demo_scenes.CLASS_NAMES)
    assert "creativecommons.org/licenses/by/2.0" in (folder / "NOTICE.txt").read_text()


def test_records_have_the_detection_api_s_features_and_types(written):
    (record, *_) = tfrecords(written, "train")
    feature = tf.train.Example.FromString(record).features.feature
    assert {name: value.WhichOneof("kind") for name, value in feature.items()} == {
        "image/encoded": "bytes_list",
        "image/format": "bytes_list",
        "image/source_id": "bytes_list",
        "image/filename": "bytes_list",
        "image/height": "int64_list",
        "image/width": "int64_list",
        "image/class/label": "int64_list",
        "image/class/text": "bytes_list",
        "image/object/bbox/xmin": "float_list",
        "image/object/bbox/ymin": "float_list",
        "image/object/bbox/xmax": "float_list",
        "image/object/bbox/ymax": "float_list",
        "image/object/class/label": "int64_list",
        "image/object/class/text": "bytes_list",
        "image/object/difficult": "int64_list",
        "image/object/mask": "bytes_list",
        "source": "bytes_list",
        "size_bucket": "bytes_list",
    }
    assert feature["image/format"].bytes_list.value == [b"jpeg"]
    assert feature["image/filename"].bytes_list.value == [b"train-00000.jpg"]
    label = feature["image/class/label"].int64_list.value[0]
    assert feature["image/class/text"].bytes_list.value == [demo_scenes.CLASS_NAMES[label].encode()]
    decoded = Image.open(io.BytesIO(feature["image/encoded"].bytes_list.value[0]))
    assert decoded.size == (feature["image/width"].int64_list.value[0], feature["image/height"].int64_list.value[0])


def test_the_project_reads_back_every_box_mask_and_class(written):
    detection = dataclasses.replace(sample_shards.DETECTION, slices=("source", "size_bucket"))
    scenes = drawn("train", TRAIN)
    for index, (record, scene) in enumerate(zip(tfrecords(written, "train"), scenes, strict=True)):
        encoded = features.parse_example(record, detection, "train-00000-of-00002.tfrecord", index)
        height, width = scene.image.shape[:2]
        truth = ground_truth.decode(encoded, (width, height), decode_options.MaskOptions(None, None, 0))
        assert encoded.image_id == scene.image_id == f"train-{index:05d}"
        assert encoded.label_ids == (scene.class_id,)
        assert encoded.slices == (("source", scene.source), ("size_bucket", scene.size_bucket))
        np.testing.assert_array_equal(truth.boxes, [digit.box for digit in scene.digits])
        np.testing.assert_array_equal(truth.box_class_ids, [digit.class_id for digit in scene.digits])
        np.testing.assert_array_equal(truth.box_difficult, [digit.difficult for digit in scene.digits])
        np.testing.assert_array_equal(truth.masks, [digit.mask for digit in scene.digits])
        np.testing.assert_array_equal(truth.mask_class_ids, truth.box_class_ids)


def test_the_tag_survives_jpeg(train):
    scene = next(scene for scene in train if scene.tagged)
    decoded = np.asarray(Image.open(io.BytesIO(demo_data.jpeg(scene.image)))).astype(int)
    assert np.abs(decoded[4:14, 4:14] - MAGENTA).mean() < 10
    assert np.abs(decoded - scene.image).mean() < 5


def test_tfds_holds_the_same_validation_images(written):
    builder = tfds.builder_from_directory(written.tfds_directory)
    stored = builder.as_dataset(split="validation", decoders={"image": tfds.decode.SkipDecoding()})
    examples = list(tfds.as_numpy(stored))
    assert builder.info.features["label"].names == list(demo_scenes.CLASS_NAMES)
    assert len(builder.info.splits["validation"].filenames) == SHARDS
    for example, record, scene in zip(
        examples, tfrecords(written, "validation"), drawn("validation", VALIDATION), strict=True
    ):
        detection = tf.train.Example.FromString(record).features.feature
        assert example["image"] == detection["image/encoded"].bytes_list.value[0]
        assert example["image_id"] == detection["image/source_id"].bytes_list.value[0]
        assert example["label"] == detection["image/class/label"].int64_list.value[0]
        assert example["source"].decode() == scene.source
        assert example["size_bucket"].decode() == scene.size_bucket
        sides = [detection[f"image/object/bbox/{side}"].float_list.value for side in ("ymin", "xmin", "ymax", "xmax")]
        np.testing.assert_array_equal(example["objects"]["bbox"], np.stack(sides, axis=1).astype(np.float32))
        assert example["objects"]["label"].tolist() == [digit.class_id for digit in scene.digits]
        assert example["objects"]["is_difficult"].tolist() == [digit.difficult for digit in scene.digits]


def test_tfds_semantic_mask_holds_class_ids(written):
    builder = tfds.builder_from_directory(written.tfds_directory)
    examples = list(tfds.as_numpy(builder.as_dataset(split="validation")))
    options = decode_options.MaskOptions(background=demo_data.MASK_BACKGROUND, ignore=255, offset=0)
    for example, scene in zip(examples, drawn("validation", VALIDATION), strict=True):
        grey = example["segmentation_mask"][..., 0]
        assert (grey == 254).sum() == grey.size - sum(int(digit.mask.sum()) for digit in scene.digits)
        masks, class_ids = ground_truth.semantic_masks(grey, options)
        expected = sorted((digit.class_id, digit.mask.tolist()) for digit in scene.digits)
        assert sorted(zip(class_ids.tolist(), masks.tolist(), strict=True)) == expected


@pytest.mark.parametrize(
    "arguments",
    [{"images": 45}, {"shards": 0}, {"seed": -1}, {"images": 50, "shards": 11}],
    ids=str,
)
def test_impossible_sizes_are_refused(tmp_path, arguments):
    # The smaller split has a fifth of the images, rounded up: 10 of 46, but 9 of 45.
    with pytest.raises(ValueError, match=r"demo dataset: expected shards >= 1, seed >= 0 and images >= (46|51) "):
        demo_data.write_dataset(tmp_path / "data", **arguments)
    assert not (tmp_path / "data").exists()


def test_a_folder_in_use_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="not empty"):
        demo_data.write_dataset(tmp_path, IMAGES, SHARDS)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
