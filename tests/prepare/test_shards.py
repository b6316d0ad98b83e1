from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from heatbeam import cli
from heatbeam.prepare import commands, formats, shards
from heatbeam.prepare.formats import asked
from heatbeam.transforms.sources import tfrecord_source
from tests.prepare import drawn_images


def stored(folder):
    """The bytes of every file below a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".parquet"
    }


@pytest.mark.parametrize(
    ("images", "count"), [(1, 1), (15, 1), (16, 2), (63, 7), (64, 8), (8192, 8), (8193, 9), (1_000_000, 977)]
)
def test_shards_are_as_many_as_the_images_ask_for(images, count):
    assert shards.shard_count(images) == count


@pytest.mark.parametrize(
    ("counts", "total", "line"),
    [
        ({}, 10, "waiting for the first image since 30 s"),
        ({"images_read": 1200}, None, "1,200 images read, 40.0 images/s"),
        # a third in 30 s: another 60 s to go
        (
            {"images_read": 5, "dead_letters": 2},
            15,
            "5 of 15 images read, 0.2 images/s, 2 dead letters, about 1 min 00 s left",
        ),
        ({"images_read": 15}, 15, "15 of 15 images read, 0.5 images/s"),
    ],
    ids=["none yet", "of pieces", "a third", "all"],
)
def test_it_says_how_far_it_is(counts, total, line):
    assert shards.so_far(total)(counts, 30.0) == line


def test_the_command_offers_every_format_and_meaning_of_boxes():
    # They are written there again, so that --help needs no Beam.
    assert tuple(formats.FORMATS) == commands._FORMATS and tuple(asked.BOXES) == commands._BOXES


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    for number in range(12):
        drawn_images.draw(folder / ("cat" if number % 3 else "dog") / f"{number}.jpg", seed=number)
    (folder / "cat" / "broken.jpg").write_bytes(b"<html>not found</html>")
    (folder / "cat" / "notes.txt").write_text("of no use")
    return folder


def test_read_equals_written_and_dead_letters_and_twice_gives_the_same_bytes(photos, tmp_path, capsys):
    out = tmp_path / "shards"
    told = ["shards", str(photos), "--out", str(out), "--shards", "3", "--max-dead-letter-ratio", "0.1"]
    assert cli.main(told) == 0
    said = capsys.readouterr().out
    assert "13 images read = 12 written + 1 dead letters" in said
    assert "not taken over: 1 files whose names do not end as those of images do" in said
    source = tfrecord_source.TFRecordSource((str(out / "images-*.tfrecord"),))
    found = [drawn_images.values(record) for shard in source.open().shards for _, record in shard.records()]
    assert {one["image/source_id"][0].decode(): one["image/encoded"][0] for one in found} == {
        str(path.relative_to(photos)): path.read_bytes() for path in photos.rglob("*/[0-9]*.jpg")
    }
    assert {(*one["image/source_id"][0].split(b"/")[:1], one["image/class/label"][0]) for one in found} == {
        (b"cat", 0),
        (b"dog", 1),
    }
    assert (out / "class_names.txt").read_text() == "cat\ndog\n"
    (letter,) = pq.read_table(out / "dead_letters").to_pylist()
    assert (letter["image_id"], letter["error_type"]) == ("cat/broken.jpg", "corrupt_image")
    assert json.loads((out / "shards.json").read_text())["counts"] == {"read": 13, "written": 12, "lost": 1}
    before = stored(out)
    assert "already holds shards" in (cli.main(told), capsys.readouterr().err)[1]
    assert cli.main([*told, "--overwrite"]) == 0
    assert stored(out) == before and sorted(before) == [
        "class_names.txt",
        *(f"images-{number:05d}-of-00003.tfrecord" for number in range(3)),
        "shards.json",
    ]


def test_what_cannot_be_used_fails_in_one_line(photos, tmp_path, capsys):
    assert cli.main(["shards", str(photos), "--out", str(tmp_path / "few"), "--shards", "1"]) == 1
    assert "1 of 13 images were lost, more than --max-dead-letter-ratio 0.05" in capsys.readouterr().err
    for arguments, why in (
        ([str(photos / "none"), "--out", str(tmp_path / "a")], "is of no known format; say it with --format"),
        ([str(photos), "--out", str(photos)], "holds files that are no shards of heatbeam's"),
        ([str(photos), "--out", str(tmp_path / "a"), "--split", "train"], "--split train"),
        ([str(photos), "--out", str(tmp_path / "a"), "--set", "model.path=x"], "only settings of runner"),
        ([str(photos), "--out", str(tmp_path / "a"), "--", "--direct_num_wokers=2"], "did you mean"),
    ):
        assert cli.main(["shards", *arguments]) == 2
        assert why in capsys.readouterr().err
