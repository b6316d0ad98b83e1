"""Image folders, Parquet files and tar files: sources of other libraries, and those that hold their images."""

from __future__ import annotations

import io
import json
import tarfile

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from heatbeam import cli
from heatbeam.prepare import formats
from heatbeam.prepare.formats import asked, huggingface
from heatbeam.transforms import errors
from tests.prepare import drawn_images
from tests.support import sample_shards


def read(path, **how):
    found = formats.listing(asked.Asked(str(path), **how))
    return found, *drawn_images.records_of(found)


def image(seed):
    return sample_shards.encode(sample_shards.noise(20, 40, seed=seed))


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("data/train-00000-of-00002.parquet", "train"),
        ("validation.parquet", "validation"),
        ("test/metadata.csv", "test"),
        ("shard-000.tar", "images"),
        ("trainer.tar", "images"),
    ],
)
def test_the_split_that_a_path_names(path, split):
    assert huggingface.split_of(path) == split


def test_an_image_folder(tmp_path):
    for name in ("train/a.png", "train/deep/b.png", "test/a.png"):
        drawn_images.draw(tmp_path / name)
    (tmp_path / "train" / "metadata.jsonl").write_text(
        '{"file_name": "a.png", "label": "dog", "camera": "left"}\n{"file_name": "deep/b.png", "label": "cat"}\n'
        '{"file_name": "../../c.png", "label": "cat"}\n'
    )
    pq.write_table(pa.table({"file_name": ["a.png"], "label": ["cat"]}), tmp_path / "test" / "metadata.parquet")
    found, made, lost = read(tmp_path)
    assert {name: one["image/class/text"] for name, one in made.items()} == {
        "train/a.png": [b"dog"],
        "train/deep/b.png": [b"cat"],
        "test/a.png": [b"cat"],
    }
    assert made["train/a.png"]["camera"] == [b"left"] and lost == {"train/../../c.png": "outside_source"}
    assert [split for split, _ in formats.listing(asked.Asked(str(tmp_path), splits=("test",))).items] == ["test"]
    assert found.names == ("cat", "dog")


def test_objects_of_an_image_folder(tmp_path):
    drawn_images.draw(tmp_path / "a.png", height=20, width=40)
    drawn_images.draw(tmp_path / "b.png")
    rows = [
        {"file_name": "a.png", "objects": {"bbox": [[10, 5, 20, 10], [39, 19, 1, 1]], "categories": [3, 0]}},
        {"file_name": "b.png", "objects": {"bbox": [], "categories": []}},
    ]
    (tmp_path / "metadata.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    with pytest.raises(errors.UsageError, match="--boxes"):
        read(tmp_path)
    _, made, _ = read(tmp_path, boxes="coco")
    sides = [made["a.png"][f"image/object/bbox/{side}"] for side in ("xmin", "ymin", "xmax", "ymax")]
    np.testing.assert_allclose(np.transpose(sides), [[0.25, 0.25, 0.75, 0.75], [39 / 40, 19 / 20, 1, 1]], rtol=1e-6)
    assert made["a.png"]["image/object/class/label"] == [3, 0] == made["a.png"]["image/class/labels"]
    assert made["b.png"]["image/object/bbox/xmin"] == []


def parquet(path, columns, features=None):
    table = pa.table(columns)
    if features is not None:
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(exist_ok=True)
    pq.write_table(table, path, row_group_size=2)


def test_parquet_with_declared_classes(tmp_path):
    struct = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    drawn_images.draw(tmp_path / "data" / "beside.png")
    values = [
        {"bytes": image(0), "path": "a.png"},
        {"bytes": None, "path": "beside.png"},
        {"bytes": None, "path": "../out.png"},
        {"bytes": None, "path": None},
        {"bytes": b"GIF", "path": None},
    ]
    columns = {"image": pa.array(values, struct), "label": [1, 0, 0, 0, 7], "camera": ["left"] * 5, "size": [[1]] * 5}
    features = {"image": {"_type": "Image"}, "label": {"_type": "ClassLabel", "names": ["cat", "dog"]}}
    parquet(tmp_path / "data" / "train-00000-of-00001.parquet", columns, features)
    found, made, lost = read(tmp_path)
    name = "train-00000-of-00001.parquet__{}".format
    assert [piece.split for piece in found.pieces] == ["train"] * 3 and found.names == ("cat", "dog")
    assert found.images == 5
    assert made[name(0)]["image/encoded"] == [image(0)]
    assert drawn_images.without_image(made[name(0)]) == {
        "image/class/label": [1],
        "image/class/text": [b"dog"],
        "camera": [b"left"],
    }
    assert list(made) == [name(0), name(1)]
    assert lost == {name(2): "outside_source", name(3): "missing_file", name(4): "corrupt_image"}
    assert found.left_out == {"column size, which is no text or number": 1}


def test_parquet_of_several_classes_and_of_two_binary_columns(tmp_path):
    columns = {"image": [image(0)], "tags": [[1, 0]]}
    parquet(tmp_path / "a.parquet", columns, {"tags": {"feature": {"_type": "ClassLabel", "names": ["cat", "dog"]}}})
    _, made, _ = read(tmp_path / "a.parquet")
    assert made["a.parquet__0"]["image/class/labels"] == [1, 0]
    parquet(tmp_path / "a.parquet", {**columns, "thumbnail": [b""]})
    with pytest.raises(errors.UsageError, match="image and thumbnail may be the images"):
        read(tmp_path / "a.parquet")
    (tmp_path / "a.parquet").write_bytes(b"no")
    with pytest.raises(errors.PathError, match="is no Parquet file"):
        read(tmp_path / "a.parquet")


def tar(path, members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content in members.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


SAMPLES = {
    "x/0.png": image(0), "x/0.cls": b"1\n",
    "x/1.jpg": image(1), "x/1.json": b'{"label": "dog", "camera": "left", "box": [1]}', "x/1.txt": b"a dog",
    "2.cls": b"1",
    "3.png": image(3), "3.gif": image(3),
    "4.png": image(4), "4.json": b"[",
    "5.png": image(5), "5.json": b'{"label": ["cat", "dog"]}',
}  # fmt: skip


def test_webdataset(tmp_path):
    tar(tmp_path / "train-000.tar.gz", SAMPLES, "w:gz")
    _, made, lost = read(tmp_path)
    key = "train-000.tar.gz/{}".format
    assert made[key("x/0")]["image/encoded"] == [image(0)] and made[key("x/0")]["image/class/label"] == [1]
    assert drawn_images.without_image(made[key("x/1")]) == {"image/class/label": [b"dog"], "camera": [b"left"]}
    assert lost == {
        key("2"): "missing_file",
        key("3"): "missing_file",
        key("4"): "invalid_annotation",
        key("5"): "several_classes",
    }
    _, made, lost = read(tmp_path, names={0: "cat", 1: "dog"})
    assert made[key("x/0")]["image/class/text"] == [b"dog"] == made[key("x/1")]["image/class/text"]


def test_a_damaged_tar_gives_what_lies_before(tmp_path):
    tar(tmp_path / "a.tar", {"0.png": image(0), "1.png": image(1), "2.png": image(2)})
    (tmp_path / "a.tar").write_bytes((tmp_path / "a.tar").read_bytes()[: 2 * 512 + 2 * len(image(0))])
    _, made, lost = read(tmp_path / "a.tar")
    assert list(made) == ["a.tar/0"] and list(lost.values()) == ["damaged_archive"]


def test_what_only_workers_see_is_told_after_the_job(tmp_path, capsys):
    tar(tmp_path / "a.tar", {name: SAMPLES[name] for name in ("x/1.jpg", "x/1.json", "x/1.txt")})
    assert cli.main(["shards", str(tmp_path), "--out", str(tmp_path / "out"), "--json"]) == 0
    manifest = json.loads(capsys.readouterr().out)
    assert manifest["slices"] == ["camera"] and manifest["classes"] == 1
    assert manifest["input"] == {"label_form": "names", "class_names": "class_names.txt"}
    assert manifest["left_out"] == {"members .txt": 1, "values of column box, which are no text or numbers": 1}
    assert (tmp_path / "out" / "class_names.txt").read_text() == "dog\n"
