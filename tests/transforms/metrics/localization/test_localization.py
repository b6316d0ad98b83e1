"""The columns of one image, and the baselines, by hand."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.metrics import map_statistics, protocols
from heatbeam.transforms.metrics.localization import baselines, box_accuracy, localization, scored_map

DEFAULT, WSOL = protocols.DEFAULT, protocols.WSOLEVALUATION
GROUPS = tuple(localization.GROUPS)


def _source(width: int = 224, height: int = 224, **changes: object) -> records.Source:
    source = records.Source("image", "shard", 0, "", (width, height), (0, 0, width, height), (3,))
    return dataclasses.replace(source, **changes)


def _truth(*rows: tuple[float, ...], classes: list[int] | None = None, difficult: list[bool] | None = None):
    count = len(rows)
    return records.GroundTruth(
        boxes=np.array(rows, np.float64).reshape(-1, 4),
        box_class_ids=np.array(classes if classes is not None else [records.NO_CLASS] * count, np.int64),
        box_difficult=np.array(difficult or [False] * count),
    )


def _block(size: int, y0: int, y1: int, x0: int, x1: int) -> np.ndarray:
    raw = np.zeros((1, size, size), np.float32)
    raw[0, y0:y1, x0:x1] = 1
    return raw


def _values(scores: localization.Scores, number: int = 0) -> dict[str, float]:
    return {name: float(values[number]) for name, values in scores.values}


def test_a_perfect_map() -> None:
    raw = _block(224, 50, 150, 20, 120)
    scores = localization.localize(raw, _source(448, 112), _truth((40, 25, 240, 75)), [3], [1], DEFAULT, GROUPS)
    got = _values(scores)
    assert (got["box_iou"], got["box_hit"], got["pointing_hit"], got["energy_share"], got["energy_gain"]) == (1,) * 5
    assert got["energy_area"] == 100 * 100 / 224**2
    assert scores.boxes.tolist() == [[40, 25, 240, 75]]
    assert np.isnan(got["mask_iou"]) and scores.evidence[0].pixels is None
    assert scores.evidence[0].box_hits is not None and scores.evidence[0].box_hits.all()


def test_half_of_the_object() -> None:
    raw = _block(224, 0, 100, 0, 50)
    got = _values(localization.localize(raw, _source(), _truth((0, 0, 100, 100)), [3], [2], DEFAULT, GROUPS))
    assert (got["box_iou"], got["box_hit"]) == (0.5, 1)
    wsol = _values(localization.localize(raw, _source(), _truth((0, 0, 100, 100)), [3], [2], WSOL, GROUPS))
    assert wsol["box_iou"] == 51 * 101 / (101 * 101)


def test_top_k_asks_for_the_class_and_the_gap_is_what_that_costs() -> None:
    raw = np.repeat(_block(224, 0, 100, 0, 100), 3, axis=0)
    truth = _truth((0, 0, 100, 100), (0, 0, 100, 100), (200, 200, 210, 210), classes=[3, 4, 5])
    evidence = localization.localize(raw, _source(), truth, [3, 4, 5], [1, 6, 1], DEFAULT, ["boxes"]).evidence
    top = [[one.values[f"top{k}_{what}"] for k in (1, 5) for what in ("hit", "gap")] for one in evidence]
    assert top == [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 0, 0]]


def test_a_class_without_ground_truth_is_missing() -> None:
    raw = np.repeat(_block(224, 0, 100, 0, 100), 2, axis=0)
    scores = localization.localize(raw, _source(), _truth((0, 0, 9, 9)), [3, 7], [1, 2], DEFAULT, GROUPS)
    got = _values(scores, 1)
    assert {name for name, value in got.items() if np.isnan(value)} == {
        "box_iou", "box_hit", "pointing_hit", "energy_share", "energy_area", "energy_gain", "mask_iou",
        "padding_energy",  # the whole image is shown, and nothing else
    }  # fmt: skip
    assert scores.evidence[1].box_hits is None and "box_hit" not in scores.evidence[1].values
    assert scores.boxes[1].tolist() == [0, 0, 100, 100]


@pytest.mark.parametrize("truth", [records.GroundTruth(), _truth()], ids=["not annotated", "no objects"])
def test_an_image_without_objects(truth: records.GroundTruth) -> None:
    scores = localization.localize(_block(7, 1, 3, 1, 3), _source(), truth, [3], [1], DEFAULT, GROUPS)
    assert set(scores.evidence[0].values) == set(map_statistics.NAMES)
    assert scores.evidence[0].box_hits is None and scores.evidence[0].pixels is None


def test_difficult_boxes_count_unless_all_are_difficult() -> None:
    raw = _block(224, 0, 5, 0, 5)
    rows = ((0, 0, 9, 9), (200, 200, 220, 220))
    one = localization.localize(raw, _source(), _truth(*rows, difficult=[True, False]), [3], [1], DEFAULT, GROUPS)
    both = localization.localize(raw, _source(), _truth(*rows, difficult=[True, True]), [3], [1], DEFAULT, GROUPS)
    assert _values(one)["pointing_hit"] == 1 and np.isnan(_values(both)["pointing_hit"])
    assert _values(both)["box_hit"] == _values(one)["box_hit"] == 0


def test_masks_of_the_class_are_united_and_win_over_boxes() -> None:
    masks = np.zeros((3, 224, 224), dtype=bool)
    masks[0, :100, :50] = masks[1, :100, 50:100] = masks[2, 200:] = True
    truth = dataclasses.replace(_truth((200, 0, 224, 24)), masks=masks, mask_class_ids=np.array([3, 3, 9]))
    scores = localization.localize(_block(224, 0, 100, 0, 80), _source(), truth, [3], [1], DEFAULT, GROUPS)
    got = _values(scores)
    assert (got["mask_iou"], got["energy_share"], got["pointing_hit"]) == (0.8, 1, 1)
    assert got["energy_area"] == 100 * 100 / 224**2
    pixels = scores.evidence[0].pixels
    assert pixels is not None and pixels.sum() == 224**2
    assert (pixels[0, -1], pixels[0, 0], pixels[1, 0]) == (8000, 2000, 224**2 - 10000)


def test_ignored_pixels_are_not_scored() -> None:
    masks = np.zeros((1, 224, 224), dtype=bool)
    masks[0, :100] = True
    ignore = np.zeros((224, 224), dtype=bool)
    ignore[90:120] = True
    truth = records.GroundTruth(masks=masks, mask_class_ids=np.array([3]), ignore=ignore)
    scores = localization.localize(_block(224, 0, 120, 0, 224), _source(), truth, [3], [1], DEFAULT, GROUPS)
    assert _values(scores)["mask_iou"] == 1
    assert scores.evidence[0].pixels is not None and scores.evidence[0].pixels.sum() == (224 - 20) * 224


def test_a_crop_cannot_find_what_it_does_not_show() -> None:
    source = _source(448, 224, view=(112.0, 0.0, 336.0, 224.0))
    raw = _block(224, 0, 224, 0, 112)  # the left half of the crop: columns 112 to 224 of the image
    got = localization.localize(raw, source, _truth((0, 0, 224, 224)), [3], [1], DEFAULT, GROUPS)
    assert got.boxes.tolist() == [[112, 0, 224, 224]]
    assert _values(got)["box_iou"] == 0.5 and _values(got)["energy_share"] == 1


def test_a_blank_map_has_no_box_and_no_energy() -> None:
    scores = localization.localize(-_block(7, 0, 7, 0, 7), _source(), _truth((0, 0, 50, 50)), [3], [1], DEFAULT, GROUPS)
    got = _values(scores)
    assert np.isnan(scores.boxes).all() and np.isnan(got["energy_share"]) and got["box_iou"] == 0
    assert scores.health == (("constant", "blank"),)


def test_a_map_with_a_nan_is_flagged_and_misses() -> None:
    raw = np.full((1, 7, 7), np.nan, np.float32)
    scores = localization.localize(raw, _source(), _truth((0, 0, 50, 50)), [3], [1], DEFAULT, GROUPS)
    assert scores.health == (("nan",),) and _values(scores)["box_hit"] == 0 and _values(scores)["pointing_hit"] == 0


def test_together_equals_alone_and_inputs_stay() -> None:
    maps = np.random.default_rng(0).normal(size=(3, 7, 7)).astype(np.float32)
    before = maps.copy()
    truth = _truth((10, 20, 200, 300), (5, 5, 60, 60), classes=[0, 2])
    source = _source(250, 310)
    together = localization.localize(maps, source, truth, [0, 1, 2], [1, 2, 3], WSOL, GROUPS)
    for number in range(3):
        alone = localization.localize(maps[number][None], source, truth, [number], [number + 1], WSOL, GROUPS)
        assert np.array_equal(list(_values(alone).values()), list(_values(together, number).values()), equal_nan=True)
    assert (maps == before).all()


def test_iou_at_a_threshold_agrees_with_the_hits() -> None:
    raw = np.random.default_rng(4).normal(size=(7, 7)).astype(np.float32)
    source, truth = _source(300, 200), _truth((50, 30, 250, 180))
    hits = localization.localize(raw[None], source, truth, [3], [1], WSOL, ["boxes"]).evidence[0].box_hits
    assert hits is not None
    for number in (0, 100, 333, 500, 999):
        threshold = float(box_accuracy.thresholds(0.001)[number])
        both, _ = localization.boxes_at(raw, source, truth.boxes, WSOL, [threshold])
        assert [[iou >= limit for limit in WSOL.iou_limits] for iou in both[:, 0]] == hits[:, :, number].tolist()


def test_boxes_at_the_fixed_threshold_are_those_of_the_row() -> None:
    raw = np.random.default_rng(4).normal(size=(7, 7)).astype(np.float32)
    source, truth = _source(300, 200, view=(50.0, 0.0, 250.0, 200.0)), _truth((50, 30, 250, 180))
    for protocol in (DEFAULT, WSOL):
        row = localization.localize(raw[None], source, truth, [3], [1], protocol, GROUPS)
        ious, stated = localization.boxes_at(raw, source, truth.boxes, protocol, [0.7, protocol.box_threshold])
        assert ious[0, 1] == _values(row)["box_iou"] and stated[1].tolist() == row.boxes[0].tolist()
        assert stated[0].tolist() != stated[1].tolist()


def test_wsolevaluation_heatmap_is_its_own_recipe() -> None:
    raw = np.random.default_rng(5).normal(size=(7, 7)).astype(np.float32)
    cubic = cv2.resize(raw, (224, 224), interpolation=cv2.INTER_CUBIC)
    want = (cubic - cubic.min()) / (cubic - cubic.min()).max()
    assert (scored_map.Framed(raw, _source(500, 333), WSOL).heatmap == want).all()


def test_wrong_shapes_and_groups_are_refused() -> None:
    with pytest.raises(ValueError, match=r"maps \(1, 7, 7\), 1 frames, 2 truths, 2 class ids"):
        localization.localize(_block(7, 0, 1, 0, 1), _source(), _truth(), [1, 2], [1], DEFAULT, GROUPS)
    with pytest.raises(ValueError, match="unknown metric groups boxen"):
        localization.columns(["boxen"])


def _baselines(source: records.Source, truth: records.GroundTruth, ids: list[int], ranks: list[int], *options):
    found = localization.truths(truth, source, ids, options[0])
    return baselines.evidence(source, found, ids, ranks, *options)


def test_baselines_by_hand() -> None:
    truth = _truth((56, 56, 168, 168))
    got = _baselines(_source(), truth, [3], [1], DEFAULT, GROUPS, 15)
    assert set(got) == set(baselines.BASELINES)
    values = {name: one.values for name, (one,) in got.items()}
    assert values["baseline_uniform"]["energy_share"] == pytest.approx(1 / 4)
    assert values["baseline_uniform"]["energy_gain"] == pytest.approx(0, abs=1e-12)
    assert values["baseline_centre"]["pointing_hit"] == values["baseline_gaussian"]["pointing_hit"] == 1
    # The Gaussian reaches exp(-1/2) at a quarter of the side: the box at the threshold of that level is the truth.
    hits = got["baseline_gaussian"][0].box_hits
    assert hits is not None and hits[0, 2].any()
    corner = _baselines(_source(), _truth((0, 0, 30, 30)), [3], [1], DEFAULT, GROUPS, 15)
    assert corner["baseline_centre"][0].values["pointing_hit"] == 0


def test_baselines_lie_in_the_centre_of_the_image_not_of_the_view() -> None:
    source = _source(448, 224, view=(0.0, 0.0, 224.0, 224.0))
    got = _baselines(source, _truth((214, 102, 234, 122)), [3], [1], DEFAULT, GROUPS, 15)
    assert got["baseline_centre"][0].values["pointing_hit"] == 1
