"""The pointing game against TorchRay."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import boxes, localization, pointing_game
from tests.support import paths

GOLDEN = paths.GOLDEN / "wsol_public" / "wsol_public.npz"


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        names = [name for name in arrays.files if name.startswith("pointing/")]
        found = {name.removeprefix("pointing/"): arrays[name] for name in names}
        found["maps"] = np.cumsum(arrays["in/maps_dx_u16"], axis=2, dtype=np.uint16) / 2048.0
        found["masks"] = arrays["out/gt_mask_224"] == 1
    return found


def test_points_and_hits_equal_torchray(golden) -> None:
    hits, misses = np.zeros(20), np.zeros(20)
    for number, heatmap in enumerate(golden["maps"]):
        x, y = pointing_game.point(heatmap, (0, 0, 224, 224), (224, 224))
        assert (x, y) == tuple(golden["argmax/point_xy"][number])
        hit = pointing_game.hits_masks((x, y), golden["masks"][number][None], 15)
        assert hit == (golden["argmax/hit"][number] == 1), number
        (hits if hit else misses)[golden["argmax/class_id"][number]] += 1
    assert (hits == golden["argmax/class_hits"]).all() and (misses == golden["argmax/class_misses"]).all()


def hits_boxes(x: int, y: int, truths: np.ndarray, tolerance: float) -> bool:
    return pointing_game.hits_ranges((x, y), boxes.pixel_ranges(truths).tolist(), tolerance)


@pytest.mark.parametrize("tolerance", [0, 1, 5, 15])
def test_disc_equals_torchray(golden, tolerance: int) -> None:
    for (mx, my, x, y), want in zip(
        golden["boundary/mask_pixel_xy__point_xy"].tolist(), golden[f"boundary/hit_tolerance_{tolerance}"], strict=True
    ):
        mask = np.zeros(golden["boundary/mask_shape_hw"], dtype=bool)
        mask[my, mx] = True
        assert pointing_game.hits_masks((x, y), mask[None], tolerance) == (want == 1)
        pixel = np.array([[mx, my, mx + 1.0, my + 1.0]])
        assert hits_boxes(x, y, pixel, tolerance) == (want == 1)


def test_the_disc_has_697_pixels() -> None:
    inside = [hits_boxes(x, y, np.array([[20.0, 20, 21, 21]]), 15) for x in range(41) for y in range(41)]
    assert sum(inside) == 697


def test_difficult_rule_equals_torchray(golden) -> None:
    objects = golden["voc/objects__img_class_difficult_xmin_ymin_xmax_ymax"]
    for image, class_id, want, _ in golden["voc/results__img_class_hit_maskpixels"].tolist():
        mine = objects[objects[:, 0] == image]
        truth = records.GroundTruth(
            boxes=mine[:, 3:].astype(float) - [1, 1, 0, 0],  # 1-based and inclusive
            box_class_ids=mine[:, 1].astype(np.int64),
            box_difficult=mine[:, 2].astype(bool),
        )
        source = records.Source(str(image), "s", image, "", (224, 224), (0, 0, 224, 224))
        raw = golden["maps"][image][None]
        scores = localization.localize(raw, source, truth, [class_id], [1], protocols.TORCHRAY, ["pointing"])
        ((_, (hit,)),) = scores.values
        assert {1: hit == 1, -1: hit == 0, 0: bool(np.isnan(hit))}[want], (image, class_id)


def test_of_equal_pixels_the_first_one_row_by_row() -> None:
    raw = np.array([[0.0, 1, 1], [1, 0, 0]])
    assert pointing_game.point(raw, (0, 0, 3, 2), (3, 2)) == (1, 0)


def test_point_of_a_crop_lies_in_the_crop() -> None:
    raw = np.zeros((3, 3))
    raw[1, 2] = 1.0
    assert pointing_game.point(raw, (30, 0, 60, 30), (90, 30)) == (
        55,
        14,
    )  # pixels 54, 55 and 14, 15 around centre 55, 15


def test_a_large_image_gives_the_same_point_as_the_whole_resize() -> None:
    rng = np.random.default_rng(3)
    for side in (7, 14):
        for width, height in ((640, 480), (300, 901), (5, 4)):
            raw = rng.normal(size=(side, side)).astype(np.float32)
            full = heatmaps.place(raw, (height, width), (0, 0, width, height), (width, height))
            x, y = pointing_game.point(raw, (0, 0, width, height), (width, height))
            assert full[y, x] == pytest.approx(full.max(), abs=1e-6)


def test_a_view_outside_the_image_has_no_point() -> None:
    with pytest.raises(ValueError, match="shows nothing of the image of 50 x 40 pixels"):
        pointing_game.point(np.eye(3), (60, 0, 80, 40), (50, 40))


def test_point_of_a_constant_map_is_the_first_pixel_the_model_saw() -> None:
    assert pointing_game.point(np.ones((7, 7)), (0, 0, 50, 40), (50, 40)) == (0, 0)
    assert pointing_game.point(np.ones((7, 7)), (10, 0, 50, 40), (60, 40)) == (10, 0)


def test_a_plateau_gives_its_first_pixel() -> None:
    raw = np.zeros((7, 7), np.float32)
    raw[2:5, 3:6] = 0.1
    full = heatmaps.place(raw, (70, 70), (0, 0, 70, 70), (70, 70))
    assert pointing_game.point(raw, (0, 0, 70, 70), (70, 70)) == (35, 25)
    assert np.argmax(full) == 25 * 70 + 35
