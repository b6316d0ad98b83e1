"""Exported datasets: the layout that FiftyOne and Hugging Face read, by value; neither library is needed here."""

from __future__ import annotations

import hashlib
import json
import pathlib

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from heatbeam import cli
from heatbeam.export import export
from heatbeam.runs import chosen_rows
from heatbeam.transforms import errors
from heatbeam.transforms.sources import tfexample
from tests.support import sample_shards
from tests.support.audit_runs import Row, write_run

PHOTO = np.full((100, 200, 3), 120, np.uint8)
ENCODED = sample_shards.encode(PHOTO, "JPEG")
SIDES = {"xmin": [0.5], "ymin": [0.0], "xmax": [1.0], "ymax": [0.5]}


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> str:
    """Two rows of an image with a box whose id is no file name, and one of an image that is gone."""
    folder = tmp_path_factory.mktemp("export")
    features = {"image/encoded": [ENCODED], "image/object/class/label": [1]}
    features |= {f"image/object/bbox/{side}": values for side, values in SIDES.items()}
    (folder / "shard-0").write_bytes(sample_shards.shard_bytes([tfexample.serialize(features)]))
    here = {"image_id": "../../validation/ü", "sha256": hashlib.sha256(ENCODED).hexdigest(), "labels": (1,)}
    rows = [
        Row(**here, map=((0, 0), (0, 8)), class_id=1, predicted=0, rank=2, probability=0.25, slice="rain"),
        Row(**here, map=((8, 0), (0, 0)), targets=("predicted", "top_2"), probability=0.75, slice="rain"),
        Row("gone", map=((8, 0), (0, 0)), sha256="00", record=7, labels=(0, 2), energy_share=float("nan")),
    ]
    return write_run(folder / "run", rows, config={"input": {"tfrecord": [str(folder / "shard-0")]}})


def exported(run: str, folder: pathlib.Path, file_format: str, **changes) -> export.Exported:
    return export.export(run, str(folder), file_format, **{"where": "", "limit": 10, "longest_px": 100, **changes})


def opened(path: pathlib.Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def files_of(folder: pathlib.Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_an_image_folder_has_a_row_per_explanation(run, tmp_path):
    done = exported(run, tmp_path / "out", "huggingface")
    assert (done.rows, done.matched, done.images, done.with_image) == (3, 3, 2, 1)
    rows = pq.read_table(tmp_path / "out" / "metadata.parquet").to_pylist()
    assert [(r["image_id"], r["class_name"], r["method"]) for r in rows] == [
        ("../../validation/ü", "cat", "cam"), ("../../validation/ü", "dog", "cam"), ("gone", "cat", "cam"),
    ]  # fmt: skip
    pictures = [r[name] for r in rows for name in ("file_name", "heatmap_file_name", "overlay_file_name")]
    assert files_of(tmp_path / "out") == {*pictures, "metadata.parquet"}
    assert rows[0]["file_name"] == rows[1]["file_name"] and rows[0]["file_name"].startswith("data/00000_")
    # The bytes of the record, not a copy of worse quality.
    assert (tmp_path / "out" / rows[0]["file_name"]).read_bytes() == ENCODED
    heat = opened(tmp_path / "out" / rows[0]["heatmap_file_name"])
    assert heat.shape == (50, 100) and heat[0, 0] == 255 and heat[-1, -1] == 0
    overlay = opened(tmp_path / "out" / rows[0]["overlay_file_name"]).astype(int)
    assert np.abs(overlay[-1, -1] - (67, 68, 73)).max() <= 2 and np.abs(overlay[0, 0] - 120).max() > 50
    assert [r["with_image"] for r in rows] == [True, True, False]
    assert rows[2]["energy_share"] is None and rows[0]["box_x1"] == 30 and rows[0]["label_ids"] == [1]
    assert not any(name.startswith("heatmap_") and name != "heatmap_file_name" for name in rows[0])


def test_no_file_name_says_which_split_it_is(run, tmp_path):
    """The library takes a file with such a word in its name for one of that split, and there would be no train."""
    exported(run, tmp_path / "out", "huggingface")
    names = " ".join(files_of(tmp_path / "out"))
    assert not any(word in names for word in ("valid", "test", "train", "eval", "dev"))


def test_fiftyone_has_a_sample_per_image(run, tmp_path):
    exported(run, tmp_path / "out", "fiftyone")
    metadata = json.loads((tmp_path / "out" / "metadata.json").read_text())
    # Without a version FiftyOne infers the fields from the samples.
    assert "version" not in metadata and metadata["media_type"] == "image"
    assert metadata["info"]["run"] == run and metadata["default_classes"] == ["cat", "dog", "owl"]
    first, second = json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]
    assert (first["image_id"], first["slice_weather"], first["tags"]) == ("../../validation/ü", "rain", [])
    assert (second["image_id"], second["record_index"], second["tags"]) == ("gone", 7, ["heatmap alone"])
    assert first["metadata"] == {"_cls": "ImageMetadata", "width": 200, "height": 100}
    labels = [[one["label"] for one in s["ground_truth"]["classifications"]] for s in (first, second)]
    assert labels == [["dog"], ["cat", "owl"]]
    assert first["prediction"] == {"_cls": "Classification", "label": "cat", "confidence": 0.75}
    # The upper right quarter.
    [truth] = first["true_boxes"]["detections"]
    assert truth == {"_cls": "Detection", "label": "dog", "bounding_box": [0.5, 0.0, 0.5, 0.5]}
    assert (tmp_path / "out" / first["filepath"]).read_bytes() == ENCODED


def test_fiftyone_has_a_heatmap_and_a_box_per_method_and_target(run, tmp_path):
    exported(run, tmp_path / "out", "fiftyone")
    first, _ = json.loads((tmp_path / "out" / "samples.json").read_text())["samples"]
    maps = {name: one for name, one in first.items() if isinstance(one, dict) and one["_cls"] == "Heatmap"}
    assert {name: one["label"] for name, one in maps.items()} == {
        "cam_label": "dog", "cam_predicted": "cat", "cam_top_2": "cat",
    }  # fmt: skip
    # FiftyOne makes paths absolute for the fields that have a folder of their name.
    for name, one in maps.items():
        assert one["map_path"].startswith(f"fields/{name}/")
    heat = opened(tmp_path / "out" / maps["cam_label"]["map_path"])
    assert heat.shape == (50, 100) and heat[-1, -1] == 255 and heat[0, 0] == 0
    assert (maps["cam_label"]["probability"], maps["cam_label"]["rank"], maps["cam_label"]["box_hit"]) == (0.25, 2, 1)
    [box] = first["cam_label_box"]["detections"]
    # 10, 20, 30, 40 of 200 x 100 pixels.
    assert box["bounding_box"] == [0.05, 0.2, 0.1, 0.2] and (box["label"], box["confidence"]) == ("dog", 0.25)


def test_where_and_limit(run, tmp_path):
    done = exported(run, tmp_path / "out", "huggingface", where="class_name = 'cat'", limit=1)
    assert (done.rows, done.matched, done.images) == (1, 2, 1)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"where": "class_id = 99"}, "there is nothing to export"),
        ({"limit": 0}, "--limit is 0; expected 1 or more"),
        ({"longest_px": 0}, "--longest-px is 0"),
        ({"file_format": "coco"}, "unknown format 'coco'; expected one of fiftyone, huggingface"),
    ],
)
def test_mistakes_are_told_and_leave_nothing(run, tmp_path, changes, message):
    with pytest.raises((export.ExportError, errors.UsageError), match=message):
        exported(run, tmp_path / "out", **{"file_format": "huggingface", **changes})
    assert not (tmp_path / "out").exists()


def test_a_directory_with_something_in_it_is_left_alone(run, tmp_path):
    (tmp_path / "mine.txt").write_text("keep")
    with pytest.raises(export.ExportError, match="not empty"):
        exported(run, tmp_path, "fiftyone")
    assert files_of(tmp_path) == {"mine.txt"}


def test_overwriting_replaces_a_dataset_that_was_exported_and_nothing_else(run, tmp_path):
    exported(run, tmp_path / "out", "fiftyone")
    exported(run, tmp_path / "out", "huggingface", limit=1, overwrite=True)
    written = files_of(tmp_path / "out")
    assert "metadata.parquet" in written and "samples.json" not in written
    assert pq.read_metadata(tmp_path / "out" / "metadata.parquet").num_rows == 1
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(export.ExportError, match=r"holds mine\.txt, which no export writes"):
        exported(run, tmp_path / "out", "huggingface", overwrite=True)
    assert files_of(tmp_path / "out") == written | {"mine.txt"}


def test_the_condition_is_only_a_condition(run, tmp_path):
    with pytest.raises(chosen_rows.ConditionError, match="no_such_column"):
        exported(run, tmp_path / "out", "fiftyone", where="no_such_column = 1")


def test_a_turned_image_becomes_a_png_as_the_run_saw_it(tmp_path):
    turned = PHOTO.copy()
    turned[:, :100] = 0
    data = sample_shards.encode(turned, "JPEG", exif=_turned())
    (tmp_path / "shard-0").write_bytes(sample_shards.shard_bytes([tfexample.serialize({"image/encoded": [data]})]))
    row = Row("i", sha256=hashlib.sha256(data).hexdigest())
    run = write_run(tmp_path / "run", [row], config={"input": {"tfrecord": [str(tmp_path / "shard-0")]}})
    assert exported(run, tmp_path / "out", "huggingface").with_image == 1
    [file] = (tmp_path / "out" / "data").iterdir()
    assert file.suffix == ".png" and opened(file).shape == (100, 200, 3)  # not turned: exif is off by default


def _turned() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def test_the_command_says_what_it_wrote(run, tmp_path, capsys):
    given = ["export", run, "--to", str(tmp_path / "out"), "--format", "huggingface", "--limit", "2"]
    assert cli.main(given) == 0
    assert "2 of 3 explanations of 1 images" in capsys.readouterr().out
    assert cli.main(given) == 2
    assert "not empty" in capsys.readouterr().err
