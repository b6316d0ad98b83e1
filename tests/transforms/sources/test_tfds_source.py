from __future__ import annotations

import dataclasses
import io
import shutil
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from heatbeam.transforms import read, records
from heatbeam.transforms.sources import tfds_source, tfexample, tfrecord_source
from tests.support import beam_runs, sample_shards

tfds = pytest.importorskip("tensorflow_datasets")

pytestmark = pytest.mark.filterwarnings("ignore:.*label:DeprecationWarning")  # TFDS's own use of protobuf

TRAIN, TEST = 11, 4
CLASSES = ("cat", "dog", "cow")
FEATURES = dataclasses.replace(
    sample_shards.NO_FEATURES,
    image_id="file_name",
    label="label",
    labels="tags",
    boxes="objects/bbox",
    box_class="objects/label",
    box_difficult="objects/is_difficult",
    semantic_mask="segmentation_mask",
    slices=("camera/name",),
)


def content(number: int) -> dict:
    """What image `number` of the dataset is, in the terms of an `EncodedExample`."""
    objects = number % 3
    return {
        "image": sample_shards.encode(sample_shards.noise(4, 6, seed=number), "JPEG"),
        "image_id": f"photo-{number}",
        "label": number % 3,
        "tags": [2, 0][: number % 2 + 1],
        "boxes": [[0.0, 0.25, 0.5 + 0.25 * k, 1.0] for k in range(objects)],  # ymin xmin ymax xmax
        "box_classes": [1, 2][:objects],
        "difficult": [False, True][:objects],
        "mask": np.full((4, 6, 1), number % 3, np.uint8),
        "camera": f"camera-{number % 2}",
    }


def tfds_example(number: int) -> dict:
    item = content(number)
    boxes = zip(item["boxes"], item["box_classes"], item["difficult"], strict=True)
    return {
        "image": io.BytesIO(item["image"]),
        "file_name": item["image_id"],
        "label": CLASSES[item["label"]],
        "tags": item["tags"],
        "objects": [{"bbox": tfds.features.BBox(*b), "label": c, "is_difficult": d} for b, c, d in boxes],
        "segmentation_mask": item["mask"],
        "camera": {"name": item["camera"]},
        "pixels": np.full((1, 2, 3), number, np.uint8),
        "heat": np.zeros((2, 2), np.float32),
    }


@pytest.fixture(scope="session")
def datasets(tmp_path_factory):
    """The folders of the same dataset in both file formats: ``{format: data_dir}``."""
    label = tfds.features.ClassLabel(names=CLASSES)
    declared = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(None, None, 3), encoding_format="jpeg"),
            "file_name": tfds.features.Text(),
            "label": label,
            "tags": tfds.features.Sequence(label),
            "objects": tfds.features.Sequence(
                {"bbox": tfds.features.BBoxFeature(), "label": label, "is_difficult": np.bool_}
            ),
            "segmentation_mask": tfds.features.Image(shape=(None, None, 1), encoding_format="png"),
            "camera": {"name": tfds.features.Text()},
            "pixels": tfds.features.Tensor(shape=(1, 2, 3), dtype=np.uint8),
            "heat": tfds.features.Tensor(shape=(2, 2), dtype=np.float32),
        }
    )
    folders = {}
    for file_format in ("tfrecord", "array_record"):
        folders[file_format] = tmp_path_factory.mktemp(file_format)
        tfds.dataset_builders.store_as_tfds_dataset(
            name="tiny",
            version="1.0.0",
            features=declared,
            split_datasets={
                "train": [(number, tfds_example(number)) for number in range(TRAIN)],
                "test": [(number, tfds_example(number)) for number in range(100, 100 + TEST)],
            },
            data_dir=folders[file_format],
            file_format=file_format,
            download_config=tfds.download.DownloadConfig(num_shards=2),
            disable_shuffling=True,
        )
    return folders


def spec(folder, split="train+test", name="tiny"):
    return tfds_source.TFDSSource(name, str(folder), None, split)


def read_all(folder, split="train+test", feature_map=FEATURES, reshuffle=False):
    return beam_runs.collect(read.Read(spec(folder, split), feature_map, reshuffle))


def numbers(examples):
    return sorted(int(example.image_id.removeprefix("photo-")) for example in examples)


def comparable(example: records.EncodedExample) -> dict:
    """All of an example but where it came from."""
    fields = {field.name: getattr(example, field.name) for field in dataclasses.fields(example)}
    fields["boxes"] = fields["boxes"].tolist()
    return {name: value for name, value in fields.items() if name not in ("shard", "index")}


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize("reshuffle", [False, True])
def test_every_feature(datasets, file_format, reshuffle):
    examples, lost, counters = read_all(datasets[file_format], reshuffle=reshuffle)
    assert lost == []
    assert numbers(examples) == [*range(11), *range(100, 104)]
    assert counters["records_read"] == 15
    for example in examples:
        item = content(int(example.image_id.removeprefix("photo-")))
        assert example.image == item["image"]
        assert example.label_ids == tuple(dict.fromkeys([item["label"], *item["tags"]]))
        ymin_xmin_ymax_xmax = np.array(item["boxes"]).reshape(-1, 4)
        np.testing.assert_array_equal(example.boxes, ymin_xmin_ymax_xmax[:, [1, 0, 3, 2]])
        assert example.box_class_ids == tuple(item["box_classes"])
        assert example.box_difficult == tuple(item["difficult"])
        assert not example.masks_are_instances
        np.testing.assert_array_equal(_png(example.masks[0]), item["mask"][:, :, 0])
        assert example.slices == (("camera/name", item["camera"]),)


def _png(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


def test_tfrecord_and_tfds_give_the_same_records(datasets, tmp_path):
    """The same images as TFRecord with the TF Object Detection API's names, whose ids start at 1."""
    serialized = []
    for number in range(TRAIN):
        item = content(number)
        sides = np.array(item["boxes"]).reshape(-1, 4).T.tolist()
        fields = dict(zip(("ymin", "xmin", "ymax", "xmax"), sides, strict=True))
        serialized.append(
            tfexample.serialize(
                {
                    "image/encoded": [item["image"]],
                    "image/source_id": [item["image_id"].encode()],
                    "image/class/label": [item["label"] + 1],
                    "tags": [tag + 1 for tag in item["tags"]],
                    **{f"image/object/bbox/{side}": values for side, values in fields.items()},
                    "image/object/class/label": [class_id + 1 for class_id in item["box_classes"]],
                    "image/object/difficult": [int(flag) for flag in item["difficult"]],
                    "mask": [sample_shards.encode(item["mask"][:, :, 0])],
                    "camera/name": [item["camera"].encode()],
                }
            )
        )
    (tmp_path / "a.tfrecord").write_bytes(sample_shards.shard_bytes(serialized, "gzip"))
    feature_map = dataclasses.replace(
        sample_shards.DETECTION,
        labels="tags",
        instance_masks=None,
        mask_class=None,
        semantic_mask="mask",
        slices=("camera/name",),
        label_offset=1,
    )
    ours, _, _ = beam_runs.collect(read.Read(tfrecord_source.TFRecordSource((str(tmp_path / "*"),)), feature_map))
    theirs, _, _ = read_all(datasets["tfrecord"], "train")
    for examples in (ours, theirs):
        examples.sort(key=lambda example: example.image_id)
    assert len(ours) == len(theirs) == TRAIN
    for our, their in zip(map(comparable, ours), map(comparable, theirs), strict=True):
        np.testing.assert_array_equal(_png(our.pop("masks")[0]), _png(their.pop("masks")[0]))  # the PNG writers differ
        assert our == their


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
@pytest.mark.parametrize(
    ("split", "expected"),
    [
        ("train", [*range(11)]),
        ("train[:50%]", [*range(6)]),  # 5.5 records, which TFDS rounds to 6
        ("train[3:8]+test[-1:]", [3, 4, 5, 6, 7, 103]),
        ("test[1:3]", [101, 102]),
        ("all", [*range(11), *range(100, 104)]),
    ],
)
def test_split_expressions(datasets, file_format, split, expected):
    examples, lost, _ = read_all(datasets[file_format], split)
    assert numbers(examples) == expected
    assert lost == []


def test_default_id_equals_tfds_id(datasets):
    folder = datasets["tfrecord"]
    examples, _, _ = read_all(folder, "train[2:9]", dataclasses.replace(FEATURES, image_id=None))
    builder = tfds.builder_from_directory(folder / "tiny" / "1.0.0")
    dataset = builder.as_dataset(split="train[2:9]", read_config=tfds.ReadConfig(add_tfds_id=True))
    expected = sorted((row["tfds_id"].decode(), int(row["pixels"][0, 0, 0])) for row in tfds.as_numpy(dataset))
    images = {content(number)["image"]: number for number in range(TRAIN)}
    assert sorted((example.image_id, images[example.image]) for example in examples) == expected


def test_small_ranges_of_array_record_give_the_same(datasets, monkeypatch):
    monkeypatch.setattr(tfds_source, "_RANGE_RECORDS", 2)
    info = tfds_source.dataset_info(spec(datasets["array_record"]))
    shards = tfds_source.split_shards(info, "train[1:]")
    assert [(shard.start, shard.stop, shard.first) for shard in shards] == [
        *[(1, 3, 1), (3, 5, 1), (5, 6, 1)],  # 6 records in the first file, of which the first is left out
        *[(0, 2, 0), (2, 4, 0), (4, 5, 0)],
    ]
    examples, lost, _ = read_all(datasets["array_record"], "train[1:]")
    assert numbers(examples) == [*range(1, 11)]
    assert lost == []


def damaged_copy(folder, destination, damage):
    """A copy of the dataset with `damage(bytes) -> bytes` done to the first file of the split train."""
    shutil.copytree(folder, destination)
    (path,) = (destination / "tiny" / "1.0.0").glob("*train*-00000-of-*")
    changed = damage(path.read_bytes())
    path.unlink() if changed is None else path.write_bytes(changed)
    return path.name


@pytest.mark.parametrize("range_records", [2, 512])
@pytest.mark.parametrize(
    ("file_format", "damage", "error_type", "index"),
    [
        ("tfrecord", lambda data: data[:-1], "truncated_shard", 5),
        ("tfrecord", lambda data: b"", "truncated_shard", 0),
        ("tfrecord", lambda data: None, "missing_shard", 0),
        ("array_record", lambda data: data[: len(data) // 2], "truncated_shard", 0),  # the index at the end is gone
        ("array_record", lambda data: b"", "truncated_shard", 0),
        ("array_record", lambda data: None, "missing_shard", 0),
        ("array_record", lambda data: data[:300] + bytes([data[300] ^ 1]) + data[301:], "corrupt_shard", 0),
    ],
    ids=["cut", "emptied", "gone", "array-cut", "array-emptied", "array-gone", "array-flipped"],
)
def test_damaged_files(datasets, tmp_path, monkeypatch, file_format, damage, error_type, index, range_records):
    monkeypatch.setattr(tfds_source, "_RANGE_RECORDS", range_records)
    name = damaged_copy(datasets[file_format], tmp_path / "copy", damage)
    examples, lost, _ = read_all(tmp_path / "copy", "train")
    assert [(d.shard, d.index, d.error_type, d.stage) for d in lost] == [(name, index, error_type, "read")]
    first = {"truncated_shard": range(index), "missing_shard": (), "corrupt_shard": range(1, 6)}[error_type]
    assert numbers(examples) == [*first, *range(6, 11)]


@pytest.mark.parametrize(
    ("split", "words"),
    [
        ("valid", r"no split 'valid'.*it has train \(11\), test \(4\)"),
        ("train[:x]", r"no split 'train\[:x\]'.*it has train"),
        ("train[:0]", r"selects no record"),
        ("train[200:]", r"it has train \(11\)"),
        ("train[:5]+train[4:]", r"names records of tiny-train.* twice"),
    ],
)
def test_bad_splits(datasets, split, words):
    with pytest.raises(ValueError, match=words.replace(".*", "(?s:.*)")):
        read_all(datasets["tfrecord"], split)


def test_missing_datasets(datasets, tmp_path):
    with pytest.raises(ValueError, match=r"no prepared TFDS dataset 'nope'.*its folders: .*tiny"):
        tfds_source.dataset_info(spec(datasets["tfrecord"], name="nope"))
    with pytest.raises(ValueError, match=r"no prepared TFDS dataset 'tiny:2.0.0'"):
        tfds_source.dataset_info(spec(datasets["tfrecord"], name="tiny:2.0.0"))
    with pytest.raises(ValueError, match="the folder does not exist"):
        tfds_source.dataset_info(spec(tmp_path / "gone"))
    with pytest.raises(ValueError, match=r"holds no dataset_info.json; its folders: 1.0.0"):
        tfds_source.dataset_info(tfds_source.TFDSSource(None, None, str(datasets["tfrecord"] / "tiny"), "train"))


def test_from_a_directory(datasets):
    directory = tfds_source.TFDSSource(None, None, str(datasets["tfrecord"] / "tiny" / "1.0.0"), "test")
    examples, _, _ = beam_runs.collect(read.Read(directory, FEATURES, False))
    assert numbers(examples) == [*range(100, 104)]


@pytest.mark.parametrize(("name", "data_dir", "directory"), [(None, None, None), ("a", None, "b"), (None, "a", "b")])
def test_contradictory_specs_are_refused(name, data_dir, directory):
    with pytest.raises(ValueError, match="TFDS:"):
        tfds_source.TFDSSource(name, data_dir, directory, "train")


def test_raw_tensor_as_image(datasets):
    feature_map = dataclasses.replace(FEATURES, image="pixels")
    examples, _, _ = read_all(datasets["tfrecord"], "train[3:4]", feature_map)
    assert [(example.image, example.raw_shape) for example in examples] == [(bytes([3] * 6), (1, 2, 3))]


def test_features_are_checked_before_the_start(datasets):
    info = tfds_source.dataset_info(spec(datasets["tfrecord"]))
    with pytest.raises(ValueError, match=r"no feature 'imag'; no feature 'x'; it has camera/name, .*, tags"):
        tfds_source.resolve_features(info, dataclasses.replace(FEATURES, image="imag", required=("x", "label")))
    named = dataclasses.replace(FEATURES, label="lable", given=("lable", "tags", "not read"))
    with pytest.raises(ValueError, match=r"no feature 'lable'; it has camera/name, .*, tags"):
        tfds_source.resolve_features(info, named)
    with pytest.raises(ValueError, match="expected an Image or a uint8 Tensor"):
        tfds_source.resolve_features(info, dataclasses.replace(FEATURES, image="heat"))
    given = dataclasses.replace(FEATURES, label_form="ids")
    assert tfds_source.resolve_features(info, given) == given


def test_labels_that_are_declared_as_classes_are_no_vectors(datasets):
    info = tfds_source.dataset_info(spec(datasets["tfrecord"]))
    for features in (FEATURES, dataclasses.replace(FEATURES, label="gone"), dataclasses.replace(FEATURES, labels=None)):
        assert tfds_source.resolve_features(info, features) == dataclasses.replace(features, label_form="ids_or_names")
    heat = dataclasses.replace(FEATURES, labels="pixels")
    assert tfds_source.resolve_features(info, heat).label_form == "auto"


def test_class_names(datasets):
    info = tfds_source.dataset_info(spec(datasets["tfrecord"]))
    assert tfds_source.class_names(info, FEATURES) == CLASSES
    only_boxes = dataclasses.replace(FEATURES, label=None, labels="gone", box_class="objects/label")
    assert tfds_source.class_names(info, only_boxes) == CLASSES
    only_tags = dataclasses.replace(FEATURES, label="file_name", labels="tags", box_class=None)
    assert tfds_source.class_names(info, only_tags) == CLASSES
    assert tfds_source.class_names(info, dataclasses.replace(FEATURES, label=None, labels=None, box_class=None)) is None


def test_tensorflow_is_not_imported(datasets):
    code = (
        "import sys; from heatbeam.transforms.sources import tfds_source as t\n"
        f"info = t.dataset_info(t.TFDSSource('tiny', {str(datasets['tfrecord'])!r}, None, 'train'))\n"
        "assert len(t.split_shards(info, 'train')) == 2\n"
        "assert 'tensorflow' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
