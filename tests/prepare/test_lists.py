from __future__ import annotations

import json

import numpy as np
import pytest

from heatbeam.prepare import formats, places
from heatbeam.prepare.formats import asked
from heatbeam.transforms import errors, records
from tests.prepare import drawn_images


@pytest.mark.parametrize(
    ("root", "relative", "where"),
    [
        ("/data", "a/b.jpg", "/data/a/b.jpg"),
        ("/data", "./a//b.jpg", "/data/a/b.jpg"),
        ("/data", "/data/b.jpg", "/data/b.jpg"),
        ("gs://bucket/data", "a/b.jpg", "gs://bucket/data/a/b.jpg"),
        ("gs://bucket/data", "gs://bucket/data/b.jpg", "gs://bucket/data/b.jpg"),
        ("/data", "a\\b.jpg", "/data/a/b.jpg"),
        ("/data", "../b.jpg", None),
        ("/data", "a/../../b.jpg", None),
        ("/data", "/etc/passwd", None),
        ("/data", "/database/b.jpg", None),
        ("/data", "gs://bucket/b.jpg", None),
        ("gs://bucket/data", "gs://other/data/b.jpg", None),
        ("gs://bucket/data", "s3://bucket/data/b.jpg", None),
        ("gs://bucket/data", "/bucket/b.jpg", None),
        ("/data", " ", None),
    ],
)
def test_a_path_stays_inside_its_folder(root, relative, where):
    if where is not None:
        assert places.inside(root, relative) == where
    else:
        with pytest.raises(records.DataError):
            places.inside(root, relative)


def test_split_folders(tmp_path):
    for path in ("train/cat/1.jpg", "train/dog/deep/2.png", "val/dog/3.jpeg", "val/4.jpg"):
        drawn_images.draw(tmp_path / path)
    found = formats.listing(asked.Asked(str(tmp_path)))
    assert [(split, item.image_id, item.keys) for split, item in found.items] == [
        ("train", "train/cat/1.jpg", ("cat",)),
        ("train", "train/dog/deep/2.png", ("dog",)),
        ("val", "val/dog/3.jpeg", ("dog",)),
    ]
    assert found.names == ("cat", "dog") and sum(found.left_out.values()) == 1
    only = formats.listing(asked.Asked(str(tmp_path), splits=("val",)))
    assert [split for split, _ in only.items] == ["val"] and only.names == ("cat", "dog")
    with pytest.raises(errors.UsageError, match=r"--split test: .* has train, val"):
        formats.listing(asked.Asked(str(tmp_path), splits=("test",)))


def test_a_folder_is_listed_once(tmp_path, monkeypatch):
    drawn_images.draw(tmp_path / "cat" / "1.jpg")
    listed, below = [], places.below
    monkeypatch.setattr(places, "below", lambda root: listed.append(root) or below(root))
    assert len(list(formats.listing(asked.Asked(str(tmp_path))).items)) == 1 and listed == [str(tmp_path)]


def test_a_csv_with_further_columns_and_what_is_wrong_with_its_rows(tmp_path):
    drawn_images.draw(tmp_path / "a.jpg")
    drawn_images.draw(tmp_path.parent / "outside.jpg")
    (tmp_path / "list.csv").write_text(
        "path,label,camera\na.jpg,dog,left\nnone.jpg,cat,left\n../outside.jpg,cat,right\n,cat,left\n"
    )
    found = formats.listing(asked.Asked(str(tmp_path / "list.csv")))
    made, lost = drawn_images.records_of(found)
    assert drawn_images.without_image(made["a.jpg"]) == {
        "image/class/label": [1],
        "image/class/text": [b"dog"],
        "camera": [b"left"],
    }
    assert lost == {"none.jpg": "missing_file", "../outside.jpg": "outside_source", "": "missing_file"}
    assert found.names == ("cat", "dog") and found.slices == ("camera",)


def test_ids_are_kept_and_named_by_a_file_with_gaps(tmp_path):
    drawn_images.draw(tmp_path / "a.jpg")
    (tmp_path / "list.jsonl").write_text(json.dumps({"file_name": "a.jpg", "label": 7}) + "\n")
    made, _ = drawn_images.records_of(formats.listing(asked.Asked(str(tmp_path / "list.jsonl"))))
    assert drawn_images.without_image(made["a.jpg"]) == {"image/class/label": [7]}
    named = formats.listing(asked.Asked(str(tmp_path / "list.jsonl"), names={1: "cat", 7: "dog"}))
    made, _ = drawn_images.records_of(named)
    assert drawn_images.without_image(made["a.jpg"]) == {"image/class/label": [1], "image/class/text": [b"dog"]}
    unknown = formats.listing(asked.Asked(str(tmp_path / "list.jsonl"), names={1: "cat"}))
    assert drawn_images.records_of(unknown)[1] == {"a.jpg": "unknown_class"}


def test_several_classes_in_a_cell_a_list_or_columns(tmp_path):
    drawn_images.draw(tmp_path / "a.jpg")
    (tmp_path / "list.csv").write_text("image,tags,main\na.jpg,cat|dog,dog\n")
    given = asked.Asked(str(tmp_path / "list.csv"), label_columns=("main", "tags"), separator="|")
    made, _ = drawn_images.records_of(formats.listing(given))
    assert made["a.jpg"]["image/class/labels"] == [1, 0]


def test_rows_of_boxes_become_one_image_in_the_convention_that_is_said(tmp_path):
    drawn_images.draw(tmp_path / "a.png", height=20, width=40)
    drawn_images.draw(tmp_path / "empty.png")
    (tmp_path / "list.csv").write_text(
        "path,class,xmin,ymin,xmax,ymax\na.png,dog,1,1,40,20\na.png,cat,11,6,20,10\nempty.png,,,,,\n"
    )
    with pytest.raises(errors.UsageError, match="look like boxes; say what their numbers mean with --boxes"):
        formats.listing(asked.Asked(str(tmp_path / "list.csv")))
    made, lost = drawn_images.records_of(formats.listing(asked.Asked(str(tmp_path / "list.csv"), boxes="voc")))
    boxes = [made["a.png"][f"image/object/bbox/{side}"] for side in ("xmin", "ymin", "xmax", "ymax")]
    np.testing.assert_allclose(np.transpose(boxes), [[0, 0, 1, 1], [10 / 40, 5 / 20, 20 / 40, 10 / 20]], rtol=1e-6)
    assert made["a.png"]["image/object/class/label"] == [1, 0] == made["a.png"]["image/class/labels"]
    assert made["empty.png"]["image/object/bbox/xmin"] == [] == made["empty.png"]["image/class/labels"] and not lost


def test_a_column_that_is_called_as_a_feature_of_ours_does_not_replace_it(tmp_path):
    drawn_images.draw(tmp_path / "a.jpg")
    (tmp_path / "list.tsv").write_text("path\tlabel\timage/width\na.jpg\tcat\twide\n")
    made, _ = drawn_images.records_of(formats.listing(asked.Asked(str(tmp_path / "list.tsv"))))
    assert made["a.jpg"]["image/width"] == [24] and made["a.jpg"]["column/image/width"] == [b"wide"]
