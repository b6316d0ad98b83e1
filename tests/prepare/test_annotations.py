"""COCO, Pascal VOC and YOLO: the same picture in the words of each, and what is wrong with others."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from PIL import Image

from heatbeam.prepare import formats
from heatbeam.prepare.formats import asked
from heatbeam.transforms import errors
from tests.prepare import drawn_images, raccoons

# A picture of 40 x 20 pixels with a dog over columns 10 to 29, rows 5 to 14, and a cat over its last pixel.
BOXES = [[10 / 40, 5 / 20, 30 / 40, 15 / 20], [39 / 40, 19 / 20, 1, 1]]


def boxes_of(features):
    sides = [features[f"image/object/bbox/{side}"] for side in ("xmin", "ymin", "xmax", "ymax")]
    return np.transpose(sides).tolist()


def pixels(stored):
    return np.asarray(Image.open(io.BytesIO(stored)))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("annotated")
    drawn_images.draw(root / "images" / "a.png", height=20, width=40)
    drawn_images.draw(root / "images" / "b.png")
    return root


def read(path, **how):
    found = formats.listing(asked.Asked(str(path), **how))
    return found, *drawn_images.records_of(found)


def test_coco(folder):
    def annotation(image, category, **more):
        return {"image_id": image, "category_id": category, "bbox": [10, 5, 20, 10], "iscrowd": 0, **more}

    square = [[10, 5, 30, 5, 30, 15, 10, 15]]
    runs = {"size": [20, 40], "counts": [799, 1]}
    document = {
        "images": [
            {"id": 7, "file_name": "a.png", "width": 40, "height": 20, "license": 1, "camera": "left"},
            {"id": 3, "file_name": "b.png", "width": 24, "height": 20},
            {"id": 4, "file_name": "none.png"},
            {"id": 5, "file_name": "../a.png"},
            {"id": 6, "file_name": "./b.png", "width": 20, "height": 24},
            {"id": 8, "file_name": "images/../a.png"},
        ],
        "categories": [{"id": 90, "name": "dog"}, {"id": 17, "name": "cat"}, {"id": 1, "name": "person"}],
        "annotations": [
            annotation(7, 90, segmentation=square),
            annotation(7, 17, bbox=[39, 19, 1, 1], segmentation=runs, keypoints=[]),
            annotation(7, 1, segmentation={"size": [20, 40], "counts": [0, 20, 780]}, iscrowd=1),
            annotation(8, 5),
            annotation(99, 17),
            {"image_id": 3, "caption": "a picture"},
        ],
    }
    (folder / "coco.json").write_text(json.dumps(document))
    found, made, lost = read(folder / "coco.json", images=str(folder / "images"))
    assert found.names == ("person", "cat", "dog")
    a = drawn_images.without_image(made["a.png"])
    np.testing.assert_allclose(boxes_of(a), BOXES, rtol=1e-6)
    assert a["image/object/class/label"] == [2, 1] and a["image/object/class/text"] == [b"dog", b"cat"]
    assert a["image/class/labels"] == [2, 1, 0] and a["camera"] == [b"left"]
    dog, cat = (pixels(one) for one in a["image/object/mask"])
    assert dog.sum() == 200 and dog[5:15, 10:30].all() and cat.sum() == 1 and cat[19, 39]
    crowd = pixels(a["image/ignore_mask"][0])
    assert crowd.sum() == 20 and crowd[:, 0].all()
    b = drawn_images.without_image(made["b.png"])
    assert boxes_of(b) == [] == b["image/class/labels"] and "image/object/mask" not in b
    assert lost == {
        "none.png": "missing_file",
        "../a.png": "outside_source",
        "./b.png": "image_size_mismatch",
        "images/../a.png": "unknown_class",
    }
    assert found.left_out == {
        "annotations of images that the file does not list": 1,
        "annotations without box or category": 1,
        "keypoints of objects": 1,
        "regions of crowds as objects (their pixels are not scored)": 1,
    }


def test_coco_says_where_it_looked_for_images_and_what_is_no_coco(folder):
    (folder / "other.json").write_text(json.dumps({"images": [{"id": 1, "file_name": "a.png"}]}))
    with pytest.raises(errors.PathError, match=r"has no a\.png, nor what is named next; say with --images"):
        formats.listing(asked.Asked(str(folder / "other.json")))
    found, made, _ = read(folder / "other.json", images=str(folder / "images"))
    assert drawn_images.without_image(made["a.png"]) == {"image/class/labels": []} and found.boxes is None
    for text, why in (("{", "is no JSON"), ("[]", "no list of images"), ('{"images": [{}]}', "images has no id")):
        (folder / "broken.json").write_text(text)
        with pytest.raises(errors.PathError, match=why):
            formats.listing(asked.Asked(str(folder / "broken.json")))


VOC = """<annotation><folder>images</folder><filename>{file}</filename>
<size><width>40</width><height>20</height><depth>3</depth></size>
<object><name>dog</name><pose>Left</pose><truncated>1</truncated><difficult>0</difficult>
<bndbox><xmin>11</xmin><ymin>6</ymin><xmax>30</xmax><ymax>15</ymax></bndbox>
<part><name>head</name><bndbox><xmin>11</xmin><ymin>6</ymin><xmax>12</xmax><ymax>7</ymax></bndbox></part></object>
<object><name>cat</name><truncated>0</truncated><difficult>1</difficult>
<bndbox><xmax>40</xmax><ymax>20</ymax><xmin>40</xmin><ymin>20</ymin></bndbox></object></annotation>"""


def test_voc(tmp_path, folder):
    for name in ("a", "b", "c"):
        drawn_images.draw(tmp_path / "JPEGImages" / f"{name}.png", height=20, width=40 if name == "a" else 30)
    drawn_images.draw(tmp_path / "SegmentationClass" / "a.png")
    annotations = tmp_path / "Annotations"
    annotations.mkdir()
    (annotations / "a.xml").write_text(VOC.format(file="C:\\photos\\a.png"))
    (annotations / "b.xml").write_text(VOC.format(file="b.png"))
    (annotations / "none.xml").write_text(VOC.format(file="none.png"))
    (annotations / "broken.xml").write_text("<annotation>")
    (annotations / "bomb.xml").write_text('<!DOCTYPE a [<!ENTITY b "c">]><annotation>&b;</annotation>')
    (annotations / "boxless.xml").write_text(VOC.format(file="a.png").replace("<xmin>40</xmin>", ""))
    found, made, lost = read(tmp_path)
    assert found.names == ("cat", "dog")
    a = drawn_images.without_image(made["JPEGImages/a.png"])
    np.testing.assert_allclose(boxes_of(a), BOXES, rtol=1e-6)
    assert a["image/object/class/label"] == [1, 0] == a["image/class/labels"]
    assert a["image/object/difficult"] == [0, 1] and a["image/object/truncated"] == [1, 0]
    assert lost == {
        "JPEGImages/b.png": "image_size_mismatch",
        **{f"Annotations/{name}.xml": "invalid_annotation" for name in ("broken", "bomb", "boxless")},
        "Annotations/none.xml": "missing_file",
    }
    assert found.left_out["images without an annotation"] == 1 == found.left_out["masks of segmentation"]
    assert found.left_out["poses of objects"] == found.left_out["parts of objects"] > 0
    with pytest.raises(errors.UsageError, match="--split val"):
        read(tmp_path, splits=("val",))
    (tmp_path / "ImageSets" / "Main").mkdir(parents=True)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("a\n")
    only = formats.listing(asked.Asked(str(tmp_path), splits=("val",)))
    assert [(split, item.image_id) for split, item in only.items] == [("val", "JPEGImages/a.png")]


def test_yolo(tmp_path):
    for name in ("a", "b", "c", "d"):
        drawn_images.draw(tmp_path / "images" / "val" / f"{name}.png", height=20, width=40)
    labels = tmp_path / "labels" / "val"
    labels.mkdir(parents=True)
    (labels / "a.txt").write_text("2 0.5 0.5 0.5 0.5\n0 0.9875 0.975 0.025 0.05\n")
    (labels / "b.txt").write_text("2 0.25 0.25 0.75 0.25 0.75 0.75 0.25 0.75\n")
    (labels / "d.txt").write_text("2 0.5 0.5 0.5\n")
    (tmp_path / "data.yaml").write_text("train: ../train/images\nval: images/val\nnames: {2: dog, 0: cat}\n")
    with pytest.raises(errors.PathError, match=r"\.\./train/images, a split of the data file, is not inside"):
        read(tmp_path)
    found, made, lost = read(tmp_path, splits=("val",))
    assert found.names == ("cat", "dog") and lost == {"images/val/d.png": "invalid_annotation"}
    a, b, c = (drawn_images.without_image(made[f"images/val/{name}.png"]) for name in "abc")
    np.testing.assert_allclose(boxes_of(a), BOXES, rtol=1e-6)
    assert a["image/object/class/text"] == [b"dog", b"cat"] and a["image/class/labels"] == [1, 0]
    np.testing.assert_allclose(boxes_of(b), BOXES[:1], rtol=1e-6)
    mask = pixels(b["image/object/mask"][0])
    assert mask.sum() == 200 and mask[5:15, 10:30].all()
    assert boxes_of(c) == [] and found.left_out == {
        "images without a text file, which are taken as having no objects": 1
    }
    (tmp_path / "list.txt").write_text("./images/val/a.png\n../outside.png\n")
    (tmp_path / "data.yaml").write_text("val: list.txt\nnames: [cat, fox, dog]\nkpt_shape: [1, 2]\n")
    (labels / "a.txt").write_text("2 0.5 0.5 0.5 0.5 0.1 0.2\n")
    found, made, lost = read(tmp_path / "data.yaml")
    assert list(made) == ["images/val/a.png"] and list(lost.values()) == ["outside_source"]
    assert found.left_out == {"keypoints of objects": 1} and found.names == ("cat", "fox", "dog")


@pytest.mark.skipif(not raccoons.FOLDER.is_dir(), reason="the photos of raccoons are not beside the repository")
def test_photos_annotated_as_voc_are_the_records_of_the_same_photos_as_coco(tmp_path):
    document = raccoons.as_coco()
    (tmp_path / "raccoons.json").write_text(json.dumps(document))
    _, voc, lost = read(raccoons.FOLDER)
    _, coco, lost_too = read(tmp_path / "raccoons.json", images=str(raccoons.FOLDER))
    for features in voc.values():  # which COCO does not say
        assert not any(features.pop("image/object/difficult")) and features.pop("image/object/truncated")
    assert voc == coco and len(voc) == len(document["images"]) and not lost and not lost_too
    assert sum(len(one["image/object/bbox/xmin"]) for one in voc.values()) == len(document["annotations"])
    assert len(document["annotations"]) > len(voc)
