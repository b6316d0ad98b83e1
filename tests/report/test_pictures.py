"""Pictures of the report: pixels, transparency and true boxes, and what is shown when a shard cannot be read."""

from __future__ import annotations

import base64
import io
import re

import numpy as np
from PIL import Image

from heatbeam import config
from heatbeam.pages import map_images, overlays
from heatbeam.report import galleries, pictures
from heatbeam.runs import run_directory, source_images, source_truth
from heatbeam.transforms.sources import tfexample
from heatbeam.transforms.sources.classes import class_maps
from tests.support import manifests, report_runs, sample_shards


def opened(uri):
    head, data = uri.split(",", 1)
    assert head in ("data:image/png;base64", "data:image/jpeg;base64")
    return Image.open(io.BytesIO(base64.b64decode(data)))


def row(raw=((0, 1), (0, 0)), size=(40, 20), view=None, **changes):
    flat = np.array(raw, np.float64)
    x0, y0, x1, y1 = view or (0, 0, *size)
    return {
        "image_width": size[0], "image_height": size[1], "view_x0": x0, "view_y0": y0, "view_x1": x1, "view_y1": y1,
        "heatmap": (flat * 100).astype(int).ravel().tolist(), "heatmap_scale": 0.01, "heatmap_height": flat.shape[0],
        "heatmap_width": flat.shape[1], "shard": "s", "record_index": 0, "image_sha256": "x", "class_id": 0,
        "label_ids": [0], "box_x0": 1.0, "box_y0": 2.0, "box_x1": 3.0, "box_y1": 4.0, **changes,
    }  # fmt: skip


def test_mean_map_keeps_its_cells_and_one_scale():
    image = np.asarray(opened(pictures.mean_uri(np.array([[0.0, 0.1], [0.2, 0.4]]), 0.2)).convert("RGB")).astype(int)
    colours = map_images.colours(256).astype(int)
    np.testing.assert_allclose(image[0, 0], colours[0], atol=1)
    np.testing.assert_allclose(image[1, 0], colours[255], atol=1)  # at the top of the scale
    np.testing.assert_allclose(image[1, 1], colours[255], atol=1)  # beyond it
    np.testing.assert_allclose(image[0, 1], colours[round(24 / 47 * 255)], atol=8)  # half of it, in 48 steps


def test_map_without_evidence_is_an_empty_picture():
    darkest = map_images.colours(2)[0].astype(int)
    mean = np.asarray(opened(pictures.mean_uri(np.zeros((2, 2)), 0.0)).convert("RGB"))
    assert np.abs(mean - darkest).max() <= 1


def album(tmp_path, plan):
    directory = run_directory.RunDirectory(report_runs.write(tmp_path, plan))
    rows = galleries.fetch(directory.open_table("explanations"), ["image-0000", "image-0005"], "cam")
    return rows, pictures.Album(directory.read_manifest(), rows)


def test_album_shows_the_image_with_its_true_and_estimated_box(tmp_path):
    rows, found = album(tmp_path, report_runs.Plan(images=2))
    assert (found.wanted, found.found) == (2, 2)
    shown = found.picture(rows[0])
    layers = shown.layers
    rng = np.random.default_rng(0)  # as the run was drawn
    x, y = int(rng.integers(0, 32)), int(rng.integers(0, 28))
    assert layers.true_boxes == ((x, y, x + 16, y + 12),)
    assert layers.box == tuple(rows[0][f"box_{edge}"] for edge in ("x0", "y0", "x1", "y1"))
    expected = sample_shards.noise(report_runs.HEIGHT, report_runs.WIDTH, seed=0).astype(int)
    photos = re.findall('<image id="([^"]*)"[^>]* href="([^"]*)"', found.photos.markup())
    assert len(photos) == 2 and layers.image == f"#photo-{rows[0]['image_sha256'][:16]}"
    pixels = np.asarray(opened(dict(photos)[layers.image[1:]]).convert("L")).astype(int)
    grey = expected @ [0.299, 0.587, 0.114]
    assert pixels.shape == grey.shape and np.corrcoef(pixels.ravel(), grey.ravel())[0, 1] > 0.95
    assert "heatmap" not in shown.row and shown.row["image_id"] == "image-0000"


def test_album_without_shards_or_with_other_bytes_shows_the_map_alone(tmp_path):
    rows, found = album(tmp_path, report_runs.Plan(images=2, shard=False))
    layers = found.picture(rows[0]).layers
    assert (found.wanted, found.found) == (2, 0) and layers.image == "" and layers.true_boxes == ()
    assert np.asarray(opened(layers.heat).convert("RGBA"))[..., 3].min() == 255 and found.photos.markup() == ""

    shard = tmp_path / report_runs.SHARD
    shard.write_bytes(sample_shards.shard_bytes([tfexample.serialize({"image/encoded": [b"other"]})] * 14))
    directory = run_directory.RunDirectory(str(tmp_path / "run"))
    assert pictures.Album(directory.read_manifest(), rows).found == 0


def test_a_map_without_box_has_none(tmp_path):
    layers = pictures.Album(manifests.manifest(), []).picture(row(box_x0=None)).layers
    assert layers.box is None and layers.image == ""


def source(settings, **features):
    record = tfexample.serialize({"image/encoded": [b"img"], **features})
    return source_images.SourceRecord(("s", 0, "x"), record, b"img", settings)


UNNAMED = (class_maps.AS_STORED, None)
TFRECORD = config.InputConfig(tfrecord=("x",))
SIDES = {f"image/object/bbox/{side}": value for side, value in (
    ("xmin", [0.1, 0.5]), ("ymin", [0.2, 0.5]), ("xmax", [0.3, 1.0]), ("ymax", [0.4, 1.0]))}  # fmt: skip


def test_true_boxes_of_the_class_in_pixels():
    given = source(TFRECORD, **SIDES, **{"image/object/class/label": [7, 8]})
    [box] = source_truth.true_boxes(given, (200, 100), 7, (8,), UNNAMED)
    np.testing.assert_allclose(box, (20, 20, 60, 40), atol=1e-4)
    [box] = source_truth.true_boxes(given, (200, 100), 8, (8,), UNNAMED)
    np.testing.assert_allclose(box, (100, 50, 200, 100), atol=1e-4)
    assert source_truth.true_boxes(given, (200, 100), 9, (8,), UNNAMED) == []


def test_boxes_without_class_belong_to_the_labels():
    given = source(TFRECORD, **SIDES)
    assert len(source_truth.true_boxes(given, (200, 100), 3, (3,), UNNAMED)) == 2
    assert source_truth.true_boxes(given, (200, 100), 4, (3,), UNNAMED) == []


def test_classes_by_name_and_by_offset():
    named = source(TFRECORD, **SIDES, **{"image/object/class/label": [b"cat", b"dog"]})
    assert (
        len(source_truth.true_boxes(named, (200, 100), 1, (), (class_maps.ClassMap.of_names(("cat", "dog")), None)))
        == 1
    )
    assert source_truth.true_boxes(named, (200, 100), 1, (), UNNAMED) == []  # nobody says who dog is
    offset = source(TFRECORD.model_copy(update={"label_offset": 1}), **SIDES, **{"image/object/class/label": [1, 2]})
    assert len(source_truth.true_boxes(offset, (200, 100), 0, (), UNNAMED)) == 1


def test_tfds_boxes_are_rows_of_four():
    settings = config.InputConfig(tfds={"name": "some", "split": "test"})
    record = tfexample.serialize({
        "image": [b"img"], "objects/bbox": [0.2, 0.1, 0.4, 0.3], "objects/label": [5],
    })  # fmt: skip
    given = source_images.SourceRecord(("s", 0, "x"), record, b"img", settings)
    [box] = source_truth.true_boxes(given, (200, 100), 5, (), UNNAMED)
    np.testing.assert_allclose(box, (20, 20, 60, 40), atol=1e-4)


def test_damaged_boxes_are_left_out():
    broken = dict(SIDES) | {"image/object/bbox/xmax": [0.3]}
    assert source_truth.true_boxes(source(TFRECORD, **broken), (200, 100), 3, (3,), UNNAMED) == []
    no_image = source_images.SourceRecord(("s", 0, "x"), b"junk", b"", TFRECORD)
    assert source_truth.true_boxes(no_image, (200, 100), 3, (3,), UNNAMED) == []


def png_of(mask):
    return sample_shards.encode(np.asarray(mask, np.uint8) * 255)


def test_the_true_mask_of_the_class():
    one, other = np.zeros((4, 6), bool), np.zeros((4, 6), bool)
    one[1:3, 2:5], other[0, 0] = True, True
    masks = {"image/object/mask": [png_of(one), png_of(other), png_of(other)], "image/object/class/label": [7, 7, 8]}
    given = source(TFRECORD, **masks)
    np.testing.assert_array_equal(source_truth.true_mask(given, (6, 4), 7, (), UNNAMED), one | other)
    np.testing.assert_array_equal(source_truth.true_mask(given, (6, 4), 8, (), UNNAMED), other)
    assert source_truth.true_mask(given, (6, 4), 9, (), UNNAMED) is None
    assert source_truth.true_mask(given, (7, 4), 7, (), UNNAMED) is None  # of another image
    semantic = config.InputConfig(
        tfrecord=("x",), features={"semantic_mask": "m", "instance_masks": None}, label_offset=1
    )
    values = np.where(one, 3, 0).astype(np.uint8)
    found = source_truth.true_mask(source(semantic, m=[sample_shards.encode(values)]), (6, 4), 2, (), UNNAMED)
    np.testing.assert_array_equal(found, one)


def test_the_true_mask_of_a_picture_is_a_path_among_its_boxes():
    mask = np.zeros((4, 6), bool)
    mask[1:3, 2:5] = True
    layers = overlays.of_map(np.ones((2, 2)), (0, 0, 60, 40), (60, 40), image="#photo-x", true_mask=mask)
    assert sorted(layers.true_edge.split("M")[1:]) == sorted(["20 10H50", "20 30H50", "20 10V30", "50 10V30"])
    markup = overlays.markup(layers, "a map")
    assert (
        '<svg class="boxes" viewBox="0 0 60 40"' in markup and f'<path class="true" d="{layers.true_edge}"/>' in markup
    )
