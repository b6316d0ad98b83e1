"""Chosen heatmaps as pictures: which rows, which files, over which image."""

from __future__ import annotations

import hashlib
import io
import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from heatbeam.export import render
from heatbeam.pages import map_images
from heatbeam.runs import chosen_rows
from heatbeam.transforms.sources import tfexample
from tests.support import sample_shards
from tests.support.audit_runs import Row, write_run

GREY = np.full((100, 200, 3), 120, np.uint8)


def encoded(pixels: np.ndarray) -> bytes:
    return sample_shards.encode(pixels)


@pytest.fixture
def run(tmp_path) -> str:
    """Three rows: two of an image whose shard is there, one of an image that has changed since."""
    data = encoded(GREY)
    shard = tmp_path / "data" / "shard-0"
    shard.parent.mkdir()
    shard.write_bytes(sample_shards.shard_bytes([tfexample.serialize({"image/encoded": [data]})]))
    digest = hashlib.sha256(data).hexdigest()
    rows = [
        Row("../../evil/ü", map=((0, 0), (0, 8)), sha256=digest, probability=0.95),
        Row("../../evil/ü", map=((8, 0), (0, 0)), sha256=digest, class_id=1, method="grad_cam", probability=0.25),
        Row("changed", map=((8, 0), (0, 0)), sha256="00"),
    ]
    settings = {"input": {"tfrecord": str(tmp_path / "data" / "*")}, "output": {"directory": "x"}}
    return write_run(tmp_path / "run", rows, config=settings)


def drawn(run: str, where: str, tmp_path: pathlib.Path, **options) -> render.Rendered:
    return render.render(run, where, str(tmp_path / "out"), **{"limit": 10, "longest_px": 200, **options})


def pixels(found: render.Rendered, number: int = 0) -> np.ndarray:
    return np.asarray(Image.open(pathlib.Path(found.directory) / found.files[number]))


def test_the_condition_chooses_the_rows(run, tmp_path):
    found = drawn(run, "method = 'cam' and probability > .9", tmp_path)
    assert (len(found.files), found.matched, found.with_image) == (1, 1, 1)
    shown = pixels(found)
    assert shown.shape == (100, 200, 3)
    # No evidence in the upper left: half of the dark veil (14, 16, 26). All of it in the lower right corner.
    assert shown[0, 0].tolist() == [67, 68, 73]
    alone = map_images.overlay(np.array([[0, 0], [0, 8]], np.float32), (0, 0, 200, 100), (200, 100), (100, 200))
    np.testing.assert_array_equal(shown[99, 199], np.rint(120 * 0.55 + alone[99, 199] * 0.45))


def test_the_plain_picture_lies_beside_its_map_in_the_same_size(run, tmp_path):
    found = drawn(run, "method = 'cam'", tmp_path, plain=True, longest_px=50)
    plain = [path.name for path in (tmp_path / "out").glob("*-plain.png")]
    assert plain == [found.files[0].removesuffix(".png") + "-plain.png"] and len(found.files) == 2  # one has changed
    shown = np.asarray(Image.open(tmp_path / "out" / plain[0]))
    np.testing.assert_array_equal(shown, GREY[:25, :50])
    assert pixels(found).shape == shown.shape and pixels(found, 1).shape == shown.shape


def test_an_image_that_changed_is_not_shown(run, tmp_path):
    found = drawn(run, "image_id = 'changed'", tmp_path)
    assert found.with_image == 0
    alone = map_images.overlay(np.array([[8, 0], [0, 0]], np.float32), (0, 0, 200, 100), (200, 100), (100, 200))
    np.testing.assert_array_equal(pixels(found), alone)


def test_file_names_are_safe_and_unlike(run, tmp_path):
    found = drawn(run, "", tmp_path)
    assert len(set(found.files)) == 3
    assert found.files[0].startswith("00000_evil_cat_cam_") and found.files[1].startswith("00001_evil_dog_grad-cam_")
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*found.files, "index.json"}
    index = json.loads((tmp_path / "out" / "index.json").read_text())
    assert [one["image_id"] for one in index["pictures"]] == ["../../evil/ü", "../../evil/ü", "changed"]
    assert [one["with_image"] for one in index["pictures"]] == [True, True, False]


def test_the_limit_is_told(run, tmp_path):
    found = drawn(run, "true", tmp_path, limit=1, longest_px=50)
    assert (len(found.files), found.matched) == (1, 3)
    assert pixels(found).shape == (25, 50, 3)


def test_a_condition_may_hold_a_comment(run, tmp_path):
    assert drawn(run, "class_id = 1 -- dogs", tmp_path).matched == 1


@pytest.mark.parametrize(
    "where",
    [
        "no_such_column = 1",
        "method =",
        "true); DROP TABLE explanations; SELECT (1",
        "true); COPY (SELECT 1) TO '{path}'; SELECT * FROM explanations WHERE (true",
        "image_id IN (SELECT content FROM read_text('{file}'))",
        "image_id IN (SELECT * FROM glob('/*'))",
    ],
)
def test_a_condition_is_only_a_condition(run, tmp_path, where):
    secret = tmp_path / "secret.txt"
    secret.write_text("changed")
    with pytest.raises(chosen_rows.ConditionError, match="--where"):
        drawn(run, where.format(path=tmp_path / "written.csv", file=secret), tmp_path)
    assert not (tmp_path / "written.csv").exists()


def test_without_the_shards_the_maps_are_shown_alone(tmp_path):
    found = drawn(write_run(tmp_path / "run", [Row("i1")]), "", tmp_path)
    assert (len(found.files), found.with_image) == (1, 0)


def test_a_damaged_image_costs_its_picture_only(tmp_path):
    good, bad = encoded(GREY), b"no image"
    (tmp_path / "shard-0").write_bytes(
        sample_shards.shard_bytes([tfexample.serialize({"image/encoded": [data]}) for data in (bad, good)])
    )
    settings = {"input": {"tfrecord": [str(tmp_path / "shard-0")]}}
    run = write_run(tmp_path / "run", [Row("i1", sha256=hashlib.sha256(bad).hexdigest())], config=settings)
    assert drawn(run, "", tmp_path).with_image == 0
    assert Image.open(io.BytesIO(good)).size == (200, 100)
