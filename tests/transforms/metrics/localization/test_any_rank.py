"""Localization of series and volumes: values by hand, NumPy and SciPy, and the image that each may be."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.ndimage

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics import image_evidence, protocols
from heatbeam.transforms.metrics.localization import (
    baselines,
    box_accuracy,
    boxes,
    energy,
    localization,
    pixel_precision_recall,
    pointing_game,
    scored_map,
)

DEFAULT, WSOL = protocols.DEFAULT, protocols.WSOLEVALUATION
EVERY = ("boxes", "pointing", "energy", "masks")
INTERPOLATIONS: tuple[heatmaps.Interpolation, ...] = ("nearest", "bilinear", "bicubic")


def _source(size: tuple[int, ...], view: tuple[float, ...] | None = None) -> records.Source:
    whole = (*(0.0,) * len(size), *map(float, size))
    return records.Source("image", "shard", 0, "", size, view or whole, (3,))


def _boxed(*rows: tuple[float, ...]) -> records.GroundTruth:
    return records.GroundTruth(np.array(rows, np.float64), np.full(len(rows), 3), np.zeros(len(rows), bool))


def _values(raw: np.ndarray, source: records.Source, truth: records.GroundTruth, protocol=DEFAULT) -> dict[str, float]:
    found = localization.localize(raw[None], source, truth, [3], [1], protocol, EVERY)
    return {name: float(values[0]) for name, values in found.values}


def test_the_frame_of_each_rank() -> None:
    assert DEFAULT.frame_shape((1000,)) == (224,) and DEFAULT.frame_shape((1, 1000)) == (224, 224)
    assert DEFAULT.frame_shape((2, 3, 4)) == (64, 64, 64) and DEFAULT.frame_shape((9, 1, 4)) == (224, 1, 224)
    assert "frame_volume_px" not in DEFAULT.as_dict(2) and DEFAULT.as_dict(3)["frame_volume_px"] == 64


@pytest.mark.parametrize("interpolation", INTERPOLATIONS)
def test_maps_are_mixed_along_every_axis(interpolation: heatmaps.Interpolation) -> None:
    raw = np.random.default_rng(0).normal(size=(3, 4, 5)).astype(np.float32)
    got = heatmaps.resize(raw, (6, 9, 5), interpolation)
    planes = np.stack([heatmaps.resize(plane, (9, 5), interpolation) for plane in raw])
    want = heatmaps.resize(planes.reshape(3, -1), (6, 45), interpolation).reshape(6, 9, 5)
    assert got.dtype == np.float32 and got == pytest.approx(want, abs=2e-6)
    line = heatmaps.resize(raw[0, 0], (12,), interpolation)
    assert (line == heatmaps.resize(raw[0, :1], (1, 12), interpolation)[0]).all()
    assert (
        heatmaps.resize(raw[:1], (1, 9, 7), interpolation)[0] == heatmaps.resize(raw[0], (9, 7), interpolation)
    ).all()


def test_what_the_model_did_not_see_is_nan_along_every_axis() -> None:
    raw = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    got = heatmaps.place(raw, (10, 10, 10), (0, 2, 0, 8, 10, 20), (8, 10, 10))
    assert np.isnan(got[:, :2]).all() and np.isfinite(got[:, 2:]).all()
    # The view ends behind the last sample: there the map is padding, and only its first half is over the volume.
    half = heatmaps.resize(raw, (20, 8, 10))[:10]
    assert got[:, 2:] == pytest.approx(half, abs=1e-6)
    line = heatmaps.place(raw[0, 0], (10,), (2, 10), (10,))
    assert np.isnan(line[:2]).all() and line[2:] == pytest.approx(heatmaps.resize(raw[0, 0], (8,)), abs=1e-6)


def test_boxes_of_one_and_three_axes_by_hand() -> None:
    line, other = np.array([[2.0, 6]]), np.array([[4.0, 10], [8, 9]])
    assert boxes.iou(line, other, inclusive=False).tolist() == [[2 / 8, 0]]
    assert boxes.iou(line, other, inclusive=True).tolist() == [[3 / 9, 0]]
    cube, shifted = np.array([[0.0, 0, 0, 2, 2, 2]]), np.array([[1.0, 1, 0, 3, 3, 2]])
    assert boxes.iou(cube, shifted, inclusive=False).tolist() == [[2 / 14]]
    assert boxes.to_frame(np.array([[25.0, 50]]), (100,), DEFAULT).tolist() == [[56, 112]]
    there = boxes.to_frame(np.array([[1.0, 2, 3, 4, 5, 6]]), (8, 16, 32), DEFAULT)
    assert there.tolist() == [[8, 8, 6, 32, 20, 12]]
    assert boxes.from_frame(there, (8, 16, 32), DEFAULT).tolist() == [[1, 2, 3, 4, 5, 6]]
    assert boxes.fill(np.array([[0.6, 2.5], [3, 9]]), (5,)).tolist() == [False, True, False, True, True]
    filled = boxes.fill(np.array([[0.0, 1, 2, 1, 3, 4]]), (5, 4, 3))
    assert filled[2:4, 1:3, 0].all() and filled.sum() == 4


@pytest.mark.parametrize("shape", [(40,), (9, 8, 7), (1, 12, 11)], ids=["series", "volume", "flat volume"])
@pytest.mark.parametrize("noise", [True, False], ids=["noise", "few levels"])
def test_boxes_at_every_level_are_those_of_scipys_components(shape: tuple[int, ...], noise: bool) -> None:
    rng = np.random.default_rng(len(shape))
    image = rng.integers(0, 256, shape).astype(np.uint8) if noise else (rng.integers(0, 4, shape) * 60).astype(np.uint8)
    found = box_accuracy.level_boxes(image, hole_boxes=True)
    for level in range(256):
        labels, count = scipy.ndimage.label(image > level, np.ones((3,) * image.ndim))
        extents = scipy.ndimage.find_objects(labels)
        want = [[*(one.start for one in places[::-1]), *(one.stop for one in places[::-1])] for places in extents]
        alive = (found.spans[:, 0] <= level) & (level < found.spans[:, 1])
        assert sorted(found.all[alive].tolist()) == sorted(want)
        if not count:
            assert found.largest[level] == -1
            continue
        cells = np.bincount(labels.ravel())[1:]
        last = count - 1 - int(np.argmax(cells[::-1]))  # SciPy numbers components by their first cells
        assert found.all[found.largest[level]].tolist() == want[last]


@pytest.mark.parametrize("protocol", [DEFAULT, WSOL], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("size", [(40,), (7, 8, 9)], ids=["series", "volume"])
def test_box_hits_are_those_of_a_loop_over_thresholds(size: tuple[int, ...], protocol: protocols.Protocol) -> None:
    rank = len(size)
    protocol = dataclasses.replace(protocol, frame_px=24, frame_volume_px=9, threshold_step=0.05)
    rng = np.random.default_rng(3)
    raw = rng.normal(size=(4, 3, 5)[-rank:]).astype(np.float32)
    truth = _boxed(*([*ends[0], *ends[1]] for ends in np.sort(rng.uniform(0, size, (3, 2, rank)), axis=1)))
    found = localization.localize(raw[None], _source(size), truth, [3], [1], protocol, ["boxes"])
    image = (heatmaps.heatmap(raw, protocol.frame_shape(size[::-1]), rectify=protocol.rectify,
                              interpolation=protocol.interpolation) * 255).astype(np.uint8)  # fmt: skip
    truths = boxes.to_frame(truth.boxes, size, protocol)
    for number, threshold in enumerate(np.arange(0, 1, 0.05)):
        labels, _ = scipy.ndimage.label(image > int(threshold * image.max()), np.ones((3,) * rank))
        extents = [[*(one.start for one in places[::-1]), *(one.stop for one in places[::-1])]
                   for places in scipy.ndimage.find_objects(labels)]  # fmt: skip
        estimated = np.array(extents, np.float64).reshape(-1, 2 * rank)
        if protocol.clip_box_end:
            estimated[:, rank:] = np.minimum(estimated[:, rank:], np.array(image.shape[::-1]) - 1)
        ious = boxes.iou(estimated, truths, inclusive=protocol.inclusive_iou).max(axis=1)
        largest = len(ious) - 1 - int(np.argmax(np.bincount(labels.ravel())[1:][::-1]))
        hits = found.evidence[0].box_hits[:, :, number]
        assert hits.tolist() == [[iou >= limit for limit in protocol.iou_limits] for iou in (ious[largest], ious.max())]


def test_a_series_by_hand() -> None:
    raw = np.zeros(224, np.float32)
    raw[56:112] = 1
    got = _values(raw, _source((1000,)), _boxed((250, 750)))
    assert (got["box_iou"], got["box_hit"], got["energy_share"], got["energy_area"]) == (0.5, 1, 1, 0.5)
    assert got["energy_gain"] == 1 and got["pointing_hit"] == 1
    found = localization.localize(raw[None], _source((1000,)), _boxed((250, 750)), [3], [1], DEFAULT, EVERY)
    assert found.boxes.tolist() == [[250, 500]]
    masks = np.zeros((1, 1000), bool)
    masks[0, 250:750] = True
    assert (
        _values(raw, _source((1000,)), records.GroundTruth(masks=masks, mask_class_ids=np.array([3])))["mask_iou"]
        == 0.5
    )


def test_a_volume_by_hand() -> None:
    raw = np.zeros((64, 64, 64), np.float32)
    raw[16:32, 8:16, :4] = 1
    raw[60, 60, 60] = 0.5  # another component
    source, truth = _source((128, 64, 32)), _boxed((0, 8, 8, 8, 16, 16), (100, 0, 0, 128, 9, 9))
    found = localization.localize(raw[None], source, truth, [3], [1], DEFAULT, EVERY)
    got = {name: float(values[0]) for name, values in found.values}
    assert found.boxes.tolist() == [[0, 8, 8, 8, 16, 16]]
    cells = 16 * 8 * 4
    assert got["box_iou"] == 1 and got["pointing_hit"] == 1
    assert got["energy_share"] == pytest.approx(cells / (cells + 0.5))
    masks = np.zeros((1, 32, 64, 128), bool)
    masks[0, 8:16, 8:16, :16] = True
    got = _values(raw, source, records.GroundTruth(masks=masks, mask_class_ids=np.array([3])))
    assert got["mask_iou"] == pytest.approx(cells / (2 * cells + 1))


def test_components_touch_in_corners_and_count_cells_where_contours_take_outlines() -> None:
    image = np.zeros((4, 12, 12), np.uint8)
    image[1, 1, 1:9] = image[2, 5, 5:8] = 200  # a line of 8 cells; a line of 3 and what follows
    image[2, 6, 5:7] = image[3, 7, 4] = 200  # touches the line of 3, and that in a corner across planes
    found = box_accuracy.level_boxes(image, hole_boxes=False)
    assert sorted(found.all.tolist()) == [[1, 1, 1, 9, 2, 2], [4, 5, 2, 8, 8, 4]]
    assert found.all[found.largest[100]].tolist() == [1, 1, 1, 9, 2, 2]
    # In an image a line has no area: the blob wins, though it has fewer cells.
    flat = box_accuracy.level_boxes(image.max(axis=0), hole_boxes=False)
    assert flat.all[flat.largest[100]].tolist() == [4, 5, 8, 8]


@pytest.mark.parametrize(
    ("size", "view"),
    [((101,), None), ((90,), (10.5, 70.0)), ((33, 20, 17), None), ((33, 20, 17), (3.0, -5.0, 0.5, 30.0, 25.0, 16.0))],
    ids=["series", "cut series", "volume", "cut volume"],
)
def test_the_point_is_the_first_maximum_of_the_whole_map(size: tuple[int, ...], view: tuple[float, ...] | None) -> None:
    source, rng = _source(size, view), np.random.default_rng(7)
    for _ in range(20):
        raw = rng.integers(0, 4, (4, 3, 5)[-len(size) :]).astype(np.float32)  # equal maxima, and edges
        whole = heatmaps.place(raw.astype(np.float64), size[::-1], source.view, size).astype(np.float32)
        first = np.unravel_index(np.nanargmax(whole), whole.shape)
        assert pointing_game.point(raw, source.view, size) == tuple(map(int, first[::-1]))
    assert pointing_game.point(np.ones((4, 3, 5)[-len(size) :]), source.view, size) == tuple(
        int(np.ceil(start - 0.5)) if start > 0 else 0 for start in source.view[: len(size)]
    )


def test_hits_are_euclidean_in_samples_of_every_axis() -> None:
    assert pointing_game.hits_ranges((10,), [[12, 20]], 3) and not pointing_game.hits_ranges((10,), [[12, 20]], 2)
    box, point = [[4, 5, 6, 9, 9, 9]], (2, 3, 5)  # 2, 2 and 1 samples away: 9
    assert pointing_game.hits_ranges(point, box, 3.01) and not pointing_game.hits_ranges(point, box, 3)
    masks = np.zeros((1, 12, 12, 12), bool)
    masks[0, 6, 5, 4] = True
    assert pointing_game.hits_masks(point, masks, 3.01) and not pointing_game.hits_masks(point, masks, 3)


def test_masks_are_resized_to_the_nearest_sample_as_opencv_does() -> None:
    rng = np.random.default_rng(2)
    for width in (1, 7, 65, 200, 223, 225, 1000, 4001):
        mask = rng.random((1, 3, width)) > 0.5
        image, _ = pixel_precision_recall.truth_masks(mask, None, (3, 224))
        line, _ = pixel_precision_recall.truth_masks(mask[:, 0], None, (224,))
        volume, scored = pixel_precision_recall.truth_masks(mask[:, None], ~mask[0][None], (1, 3, 224))
        assert (image[0] == line).all() and (image == volume[0]).all() and (scored == volume).all()


def test_a_small_object_of_a_volume_has_the_cells_that_it_lies_in() -> None:
    """A cell of the frame is 8 x 4 x 2 samples here; in images, and along series, nothing is added."""
    source, box = _source((512, 256, 128)), (9.0, 40.0, 5.0, 11.0, 48.0, 6.0)
    assert boxes.fill(np.array([[1.1, 0, 1.4, 3]]), (4, 4)).sum() == 0
    truth = localization.truths(_boxed(box), source, [3], DEFAULT)[0]
    assert np.argwhere(truth.region).tolist() == [[2, 10, 1], [2, 11, 1]] and truth.area == 2 / 64**3
    masks = np.zeros((2, 128, 256, 512), bool)
    masks[0, 5, 41:47, 9:11] = True
    masks[1, 64, 64, 64] = True  # the nearest of a cell, as it is
    objects = records.GroundTruth(masks=masks, mask_class_ids=np.array([3, 3]))
    truth = localization.truths(objects, source, [3], DEFAULT)[0]
    assert np.argwhere(truth.inside).tolist() == [[2, 10, 1], [2, 11, 1], [32, 16, 8]]
    flat = localization.truths(_boxed((9.0, 40.0, 0.0, 9.4, 48.0, 1.0)), _source((512, 256, 1)), [3], DEFAULT)[0]
    same = localization.truths(_boxed((9.0, 40.0, 9.4, 48.0)), _source((512, 256)), [3], DEFAULT)[0]
    assert (flat.region[0] == same.region).all()


def _evidence(raw: np.ndarray, source: records.Source, truth: records.GroundTruth, protocol: protocols.Protocol):
    found = localization.localize(raw[None], source, truth, [3], [1], protocol, EVERY).evidence[0]
    return found, pixel_precision_recall.average_precision(found.pixels)


@pytest.mark.parametrize("protocol", [DEFAULT, WSOL], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("view", [None, (10.0, -20.0, 70.0, 60.0)], ids=["whole", "cut and padded"])
def test_an_image_is_a_volume_of_depth_1(protocol: protocols.Protocol, view: tuple[float, ...] | None) -> None:
    """To the bit, but for boxes: contours there, components here."""
    rng, size = np.random.default_rng(5), (90, 50)
    raw, masks = rng.normal(size=(7, 6)).astype(np.float32), rng.random((2, 50, 90)) > 0.6
    truth = records.GroundTruth(masks=masks, mask_class_ids=np.array([3, 3]), ignore=rng.random((50, 90)) > 0.9)
    flat, flat_pxap = _evidence(raw, _source(size, view), truth, protocol)
    deep = dataclasses.replace(truth, masks=masks[:, None], ignore=truth.ignore[None])
    thick = None if view is None else (view[0], view[1], 0.0, view[2], view[3], 1.0)
    volume, volume_pxap = _evidence(raw[None], _source((*size, 1), thick), deep, protocol)
    assert volume.values == flat.values and "pointing_hit" in flat.values and "mask_iou" in flat.values
    assert (volume.pixels == flat.pixels).all() and volume_pxap == flat_pxap
    boxed = _boxed((20, 10, 60, 44)), _boxed((20, 10, 0, 60, 44, 1))
    image = _values(raw, _source(size, view), boxed[0], protocol)
    same = _values(raw[None], _source((*size, 1), thick), boxed[1], protocol)
    for name in ("pointing_hit", "energy_share", "energy_area", "energy_gain"):
        assert same[name] == image[name]


@pytest.mark.parametrize("protocol", [DEFAULT, WSOL], ids=lambda protocol: protocol.name)
@pytest.mark.parametrize("view", [None, (10.0, 120.0)], ids=["whole", "cut and padded"])
@pytest.mark.parametrize("upright", [True, False], ids=["width 1", "height 1"])
def test_a_series_is_an_image_of_width_1(
    protocol: protocols.Protocol, view: tuple[float, ...] | None, upright: bool
) -> None:
    """To 1e-8, for OpenCV resizes the two axes of an image in float32; each cell counts 224 times in the histogram.

    A score that rounding moves over the edge of a bin counts in the next one.
    """
    rng, length = np.random.default_rng(6), 100
    raw, masks = rng.normal(size=9).astype(np.float32), rng.random((1, length)) > 0.6
    truth = records.GroundTruth(masks=masks, mask_class_ids=np.array([3]), ignore=rng.random(length) > 0.9)
    one, pxap = _evidence(raw, _source((length,), view), truth, protocol)
    size, shape = ((1, length), (length, 1)) if upright else ((length, 1), (1, length))
    start, end = view or (0.0, float(length))
    plane = (0.0, start, 1.0, end) if upright else (start, 0.0, end, 1.0)
    thick = dataclasses.replace(truth, masks=masks.reshape(1, *shape), ignore=truth.ignore.reshape(shape))
    grid = (9, 1) if upright else (1, 9)
    other, other_pxap = _evidence(raw.reshape(grid), _source(size, plane), thick, protocol)
    assert list(one.values) == list(other.values)
    assert list(one.values.values()) == pytest.approx(list(other.values.values()), abs=1e-8)
    moved = np.abs(np.cumsum(other.pixels - 224 * one.pixels, axis=1))
    assert (other.pixels.sum(axis=1) == 224 * one.pixels.sum(axis=1)).all() and moved.max() <= 224
    assert other_pxap == pytest.approx(pxap, abs=1e-12 if not moved.any() else 1e-4)
    assert one.values["pointing_hit"] == other.values["pointing_hit"]
    boxed = _boxed((20, 60)), _boxed((0, 20, 1, 60) if upright else (20, 0, 60, 1))
    ious = [_values(raw, _source((length,), view), boxed[0], protocol),
            _values(raw.reshape(grid), _source(size, plane), boxed[1], protocol)]  # fmt: skip
    assert ious[0]["energy_share"] == pytest.approx(ious[1]["energy_share"], abs=1e-8)


@pytest.mark.parametrize("rank", [1, 3])
def test_baselines_of_other_ranks(rank: int) -> None:
    maps = baselines.baseline_maps((15,) * rank)
    centre = maps["baseline_centre"]
    assert centre[(7,) * rank] == 1 and centre.argmax() == centre.size // 2
    assert centre[(0,) * rank] == pytest.approx(1 - 14 / 15) and (maps["baseline_uniform"] == 1).all()
    assert maps["baseline_gaussian"][(0,) * rank] == pytest.approx(np.exp(-rank * (7 / 15) ** 2 / (2 / 16)))
    flat = baselines.baseline_maps((1, 15, 15))
    assert all((flat[name][0] == one).all() for name, one in baselines.baseline_maps((15, 15)).items())
    size = (60, 40, 20)[:rank]
    middle = _boxed((*(side / 4 for side in size), *(3 * side / 4 for side in size)))
    source = _source(size)
    truths = localization.truths(middle, source, [3], DEFAULT)
    got = {
        name: one.values for name, (one,) in baselines.evidence(source, truths, [3], [1], DEFAULT, EVERY, 15).items()
    }
    assert got["baseline_uniform"]["energy_share"] == pytest.approx(1 / 2**rank)
    assert got["baseline_uniform"]["energy_gain"] == pytest.approx(0, abs=1e-12)
    assert got["baseline_centre"]["pointing_hit"] == got["baseline_gaussian"]["pointing_hit"] == 1


def test_evidence_of_an_image_of_every_rank() -> None:
    for size, grid in (((50,), (7,)), ((50, 40), (5, 7)), ((50, 40, 30), (3, 5, 7))):
        maps = np.random.default_rng(1).normal(size=(2, *grid)).astype(np.float32)
        truth = _boxed((*(1.0,) * len(size), *map(float, size)))
        explanation = records.Explanation(
            _source(size), truth, np.array([3, 4]), (("label",), ("predicted",)), np.zeros(2, np.float32),
            np.full(2, 0.5, np.float32), np.array([1, 2]), 3, (records.MethodMaps("cam", "layer", maps),),
        )  # fmt: skip
        row, evidence = image_evidence.localize(explanation, DEFAULT, EVERY, True)
        assert row.scores[0].boxes.shape == (2, 2 * len(size))
        assert row.true_boxes[1].shape == (0, 2 * len(size)) and (row.true_boxes[0] == truth.boxes).all()
        assert len(evidence.maps) == 1 + 2 + 2 * len(baselines.BASELINES)


def test_energy_over_every_axis() -> None:
    placed = np.arange(24.0).reshape(2, 3, 4) - 4
    placed[0, 0, 0] = np.nan
    inside = np.zeros((2, 3, 4), bool)
    inside[1, 2] = True
    assert energy.energy_share(placed, inside) == (16 + 17 + 18 + 19) / sum(range(1, 20))
    assert energy.energy_share(placed[1, 2], inside[1, 2]) == 1


def test_a_map_of_another_rank_is_refused() -> None:
    with pytest.raises(ValueError, match=r"maps \(1, 7, 7\), 1 frames.*expected \(L, d, h, w\) and L of each"):
        framed = [scored_map.Framed(np.zeros((7, 7)), _source((9, 9, 9)), DEFAULT)]
        truths = (scored_map.Truth(),)
        localization.measure(np.zeros((1, 7, 7)), framed, _source((9, 9, 9)), truths, [3], [1], DEFAULT, EVERY)
