"""MaxBoxAcc and V2: equal to wsolevaluation, hand-made boxes, and a plain procedure."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np
import pytest

from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import box_accuracy, boxes
from tests.support import paths

GOLDEN = paths.GOLDEN / "wsol_public" / "wsol_public.npz"
WSOL = protocols.WSOLEVALUATION


@pytest.fixture(scope="module")
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN) as arrays:
        wanted = [name for name in arrays.files if not name.startswith(("in/mask", "in/ignore", "pre/", "pointing/"))]
        found = {name: arrays[name] for name in wanted}
    found["maps"] = np.cumsum(found.pop("in/maps_dx_u16"), axis=2, dtype=np.uint16) / 2048.0
    return found


@pytest.fixture(scope="module")
def measured(golden: dict[str, np.ndarray]) -> list[tuple[box_accuracy.LevelBoxes, box_accuracy.LevelIous]]:
    results = []
    for number, (width, height) in enumerate(golden["in/image_sizes_wh"]):
        truth = golden["in/boxes"][golden["in/boxes"][:, 0] == number, 1:].astype(float)
        found = box_accuracy.level_boxes(box_accuracy.to_bytes(golden["maps"][number]), hole_boxes=True)
        results.append((found, box_accuracy.level_ious(found, boxes.to_frame(truth, (width, height), WSOL), WSOL)))
    return results


@pytest.mark.parametrize("step", ["0.001", "0.01"])
def test_counts_equal_wsolevaluation(golden, measured, step: str) -> None:
    thresholds = box_accuracy.thresholds(float(step))
    assert (thresholds == golden[f"out/thresholds_{step}"]).all()
    counts = sum(box_accuracy.box_hits(ious, thresholds, WSOL.iou_limits).astype(int) for _, ious in measured)
    for mode in (box_accuracy.SINGLE, box_accuracy.MULTI):
        assert (counts[mode] == golden[f"out/multi{mode}/step{step}/num_correct"]).all()
    first = counts[box_accuracy.SINGLE, WSOL.iou_limits.index(0.5)].max() / 60
    second = box_accuracy.max_box_acc_v2(counts, 60)
    assert 100 * first == pytest.approx(golden["out/MaxBoxAcc"], abs=1e-12)
    assert 100 * second == pytest.approx(golden["out/MaxBoxAccV2"], abs=1e-12)


def test_best_iou_equals_wsolevaluation_to_the_bit(golden, measured) -> None:
    thresholds = golden["out/thresholds_0.01"]
    for number, (_, ious) in enumerate(measured):
        for mode in (box_accuracy.SINGLE, box_accuracy.MULTI):
            want = golden[f"out/multi{mode}/step0.01/best_iou"][number]
            assert (ious.best[mode, box_accuracy.levels(ious.peak, thresholds)] == want).all(), number


def test_boxes_equal_wsolevaluation(golden, measured) -> None:
    thresholds = golden["out/thresholds_0.01"]
    for number, (found, _) in enumerate(measured):
        levels = box_accuracy.levels(found.peak, thresholds)
        alive = (found.spans[:, :1] <= levels) & (levels < found.spans[:, 1:])
        count = np.maximum(alive.sum(axis=0), 1)  # the box at the origin
        assert (count == golden["out/multi1/step0.01/num_boxes"][number]).all(), number
        got = np.array([np.nan_to_num(box_accuracy.box_at(found, threshold)) for threshold in thresholds])
        got[:, 2:] = np.minimum(got[:, 2:], 223)
        assert (got == golden["out/multi0/step0.01/box"][number]).all(), number


def test_true_boxes_are_truncated_as_in_wsolevaluation(golden) -> None:
    for number, (width, height) in enumerate(golden["in/image_sizes_wh"]):
        chosen = golden["in/boxes"][:, 0] == number
        resized = boxes.to_frame(golden["in/boxes"][chosen, 1:].astype(float), (width, height), WSOL)
        assert (resized == golden["out/boxes_resized"][chosen, 1:]).all()


def _ones(shape: tuple[int, int], *regions: tuple[slice, slice]) -> np.ndarray:
    image = np.zeros(shape)
    for region in regions:
        image[region] = 1
    return image


def _hand_made(image: np.ndarray) -> tuple[list[list[float]], list[float]]:
    protocol = dataclasses.replace(WSOL, frame_px=len(image))
    found = box_accuracy.level_boxes(box_accuracy.to_bytes(image), hole_boxes=True)
    height, width = image.shape
    alive = (found.spans[:, 0] <= 127) & (found.spans[:, 1] > 127)
    limit = [np.inf, np.inf, width - 1, height - 1]
    assert protocol.clip_box_end
    single = np.minimum(box_accuracy.box_at(found, 0.5), limit)
    return sorted(np.minimum(found.all[alive], limit).tolist()), single.tolist()


@pytest.mark.parametrize(
    ("image", "all_boxes", "single"),
    [
        pytest.param(
            _ones((9, 9), np.s_[1:8, 1:8]) - _ones((9, 9), np.s_[3:6, 3:6]),
            [[1, 1, 8, 8], [2, 2, 7, 7]], [1, 1, 8, 8], id="ring"),
        pytest.param(
            _ones((9, 12), np.s_[1:2, 1:9], np.s_[5:7, 5:7]),
            [[1, 1, 9, 2], [5, 5, 7, 7]], [5, 5, 7, 7], id="line and blob"),
        pytest.param(
            _ones((9, 9), np.s_[1:2, 1:2], np.s_[6:7, 6:7]),
            [[1, 1, 2, 2], [6, 6, 7, 7]], [6, 6, 7, 7], id="two single pixels"),
        pytest.param(
            _ones((9, 9), np.s_[1:2, 1:2], np.s_[2:3, 2:3]), [[1, 1, 3, 3]], [1, 1, 3, 3], id="diagonal pair"),
        pytest.param(_ones((6, 6), np.s_[4:6, 4:6]), [[4, 4, 5, 5]], [4, 4, 5, 5], id="clipped at the border"),
    ],
)  # fmt: skip
def test_hand_made_boxes(image: np.ndarray, all_boxes: list[list[int]], single: list[int]) -> None:
    assert _hand_made(image) == (all_boxes, single)


def _plain(heatmap: np.ndarray, truth: np.ndarray, *, multi: bool) -> np.ndarray:
    """Best IoU at each of 1000 thresholds as the reference computes it: one contour search per threshold."""
    side = len(heatmap)
    image = (heatmap * 255).astype(np.uint8)
    best = []
    for threshold in np.arange(0, 1, 0.001):
        _, binary = cv2.threshold(image, int(threshold * image.max()), 255, cv2.THRESH_BINARY)
        contours = cv2.findContours(binary, cv2.RETR_TREE, cv2.CHAIN_APPROX_SIMPLE)[0]
        if contours and not multi:
            contours = [max(contours, key=cv2.contourArea)]
        found = [[0, 0, 0, 0]] if not contours else []
        for x, y, w, h in map(cv2.boundingRect, contours):
            found.append([x, y, min(x + w, side - 1), min(y + h, side - 1)])
        best.append(boxes.iou(np.array(found, float), truth, inclusive=True).max())
    return np.array(best)


@pytest.mark.parametrize("cells", [7, 14])
@pytest.mark.parametrize("multi", [False, True], ids=["V1", "V2"])
def test_upsampled_maps_equal_the_plain_procedure(cells: int, multi: bool) -> None:
    rng = np.random.default_rng(cells)
    smooth = cv2.resize(rng.normal(size=(cells, cells)).astype(np.float32), (96, 96), interpolation=cv2.INTER_CUBIC)
    heatmap = (smooth - smooth.min()) / np.ptp(smooth)
    truth = np.array([[10.0, 20, 60, 70], [50, 5, 95, 40]])
    protocol = dataclasses.replace(WSOL, frame_px=96)
    found = box_accuracy.level_boxes(box_accuracy.to_bytes(heatmap), hole_boxes=True)
    ious = box_accuracy.level_ious(found, truth, protocol)
    got = ious.best[int(multi), box_accuracy.levels(ious.peak, box_accuracy.thresholds(0.001))]
    assert (got == _plain(heatmap, truth, multi=multi)).all()


def test_default_protocol_measures_continuous_boxes() -> None:
    image = _ones((10, 10), np.s_[2:6, 2:6])
    image[3:5, 3:5] = 0.2  # a hole above level 51, foreground at or below
    protocol = dataclasses.replace(protocols.DEFAULT, frame_px=10)
    found = box_accuracy.level_boxes(box_accuracy.to_bytes(image), hole_boxes=protocol.hole_boxes)
    ious = box_accuracy.level_ious(found, np.array([[2.0, 2, 6, 10]]), protocol)
    assert box_accuracy.iou_at(ious, 0.5).tolist() == [16 / 32, 16 / 32]
    assert box_accuracy.box_at(found, 0.5).tolist() == [2, 2, 6, 6]


def test_blank_map_has_no_box_except_at_the_origin_of_wsolevaluation() -> None:
    found = box_accuracy.level_boxes(np.zeros((224, 224), np.uint8), hole_boxes=True)
    truth = np.array([[0.0, 0, 1, 0]])
    assert np.isnan(box_accuracy.box_at(found, 0.5)).all()
    assert box_accuracy.level_ious(found, truth, WSOL).best.tolist() == [[1 / 2] * 256] * 2
    assert box_accuracy.level_ious(found, truth, protocols.DEFAULT).best.max() == 0


def test_hits_are_inclusive_at_the_limit() -> None:
    ious = box_accuracy.LevelIous(255, np.full((2, 256), 0.5))
    hits = box_accuracy.box_hits(ious, np.array([0.0, 0.9]), (0.3, 0.5, 0.7))
    assert hits[0].tolist() == [[True, True], [True, True], [False, False]]


@pytest.mark.parametrize("peak", [0, 1, 200, 255])
@pytest.mark.parametrize("fixed", [0.0, 0.2, 0.29, 0.999])
def test_scores_of_a_protocol_are_those_at_its_thresholds(peak: int, fixed: float) -> None:
    smooth = cv2.resize(np.random.default_rng(peak).random((5, 5)), (224, 224))
    image = (peak * (smooth - smooth.min()) / np.ptp(smooth)).astype(np.uint8)
    truth = np.array([[0.0, 0, 224, 224], [40, 50, 150, 180]])
    for named in (WSOL, protocols.DEFAULT):
        protocol = dataclasses.replace(named, box_threshold=fixed)
        found = box_accuracy.level_boxes(image, hole_boxes=protocol.hole_boxes)
        ious = box_accuracy.level_ious(found, truth, protocol)
        for _ in range(2):
            iou, hits = box_accuracy.protocol_scores(found, truth, protocol)
            assert iou == box_accuracy.iou_at(ious, fixed)[box_accuracy.SINGLE]
            thresholds = box_accuracy.thresholds(protocol.threshold_step)
            assert (hits == box_accuracy.box_hits(ious, thresholds, protocol.iou_limits)).all()
            assert hits.any() or peak < 200


@pytest.mark.parametrize("value", [1.5, -0.1, np.nan])
def test_a_map_outside_0_to_1_is_refused(value: float) -> None:
    with pytest.raises(ValueError, match="expected \\[0, 1\\]"):
        box_accuracy.to_bytes(np.array([[0.5, value]]))
