"""PxAP against wsolevaluation's histograms, and by hand."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.localization import pixel_precision_recall as pixels
from tests.support import paths

GOLDEN = paths.GOLDEN / "wsol_public" / "wsol_public.npz"


@pytest.fixture(scope="module")
def images() -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    with np.load(GOLDEN) as golden:
        maps = np.cumsum(golden["in/maps_dx_u16"], axis=2, dtype=np.uint16) / 2048.0
        truth = golden["out/gt_mask_224"]
        found = []
        for number, heatmap in enumerate(maps):
            masks = np.stack([golden[k] for k in golden.files if k.startswith(f"in/mask/{number:03d}/")]).astype(bool)
            ignore = golden[f"in/ignore/{number:03d}"].astype(bool)
            inside, scored = pixels.truth_masks(masks, ignore, (224, 224))
            assert (inside == (truth[number] == 1)).all() and (scored == (truth[number] != 255)).all()
            found.append((heatmap, inside, scored))
    return found


@pytest.mark.parametrize("step", ["0.001", "0.01"])
@pytest.mark.parametrize(("which", "count"), [("all", 60), ("first30", 30)])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_histograms_equal_wsolevaluation(images, step: str, which: str, count: int, dtype: type) -> None:
    edges = pixels.edges(float(step))
    got = sum(pixels.histogram(one.astype(dtype), inside, scored, edges) for one, inside, scored in images[:count])
    with np.load(GOLDEN) as golden:
        prefix = f"out/mask/{which}/step{step}/"
        want = np.stack([golden[prefix + "gt_true_hist"], golden[prefix + "gt_false_hist"]])
        score = golden[prefix + "PxAP"]
    assert (got == want[:, :-1]).all() and not want[:, -1].any()
    assert 100 * float(pixels.average_precision(got)) == pytest.approx(score, abs=1e-9)


EDGES = pixels.edges(0.001)
FIRST = np.array([[0.9, 0.8], [0.4, 0.1]])
COLUMN = np.array([[True, False], [True, False]])
EVERY = np.ones((2, 2), dtype=bool)


def test_pxap_by_hand() -> None:
    counts = pixels.histogram(FIRST, COLUMN, EVERY, EDGES)
    assert float(pixels.average_precision(counts)) == pytest.approx(1 * 1 / 2 + 2 / 3 * 1 / 2, abs=1e-12)
    ignored = pixels.histogram(FIRST, COLUMN, FIRST != 0.8, EDGES)
    assert ignored.sum() == 3 and float(pixels.average_precision(ignored)) == 1
    constant = pixels.histogram(np.full((2, 2), 0.5), COLUMN, EVERY, EDGES)
    assert float(pixels.average_precision(constant)) == 0.5


def test_pixels_are_pooled_and_images_are_not_averaged() -> None:
    first = pixels.histogram(FIRST, COLUMN, EVERY, EDGES)
    corner = np.array([[False, False], [False, True]])
    second = pixels.histogram(np.array([[1.0, 0], [0, 0]]), corner, EVERY, EDGES)
    # From the top: 1.0 wrong, .9 right 1/2, .8 wrong, .4 right 2/4, .1 wrong, 0: one right of three, 3/8.
    assert float(pixels.average_precision(first + second)) == pytest.approx((1 / 2 + 2 / 4 + 3 / 8) / 3, abs=1e-12)


def test_foreground_wins_over_ignore() -> None:
    inside, scored = pixels.truth_masks(COLUMN[None], EVERY, (2, 2))
    assert (inside == COLUMN).all() and (scored == COLUMN).all()


def test_iou_f1_precision_and_recall_by_hand() -> None:
    counts = pixels.histogram(FIRST, COLUMN, EVERY, EDGES)
    iou, f1 = pixels.iou_f1(counts)
    precision, recall = pixels.precision_recall(counts)
    at = np.searchsorted(EDGES, 0.4)  # .9 and .4 right, .8 wrong
    assert (iou[at], f1[at], precision[at], recall[at]) == (2 / 3, 4 / 5, 2 / 3, 1)
    assert (iou[0], recall[0], precision[0]) == (2 / 4, 1, 2 / 4)
    assert np.isnan(precision[-1]) and recall[-1] == 0


def test_without_object_pixels_there_is_no_number() -> None:
    counts = pixels.histogram(FIRST, ~EVERY, EVERY, EDGES)
    assert np.isnan(pixels.average_precision(counts)) and np.isnan(pixels.iou_f1(counts)).all()
    assert np.isnan(pixels.mask_iou(FIRST, ~EVERY, EVERY, 0.5))


def test_mask_iou_leaves_ignored_pixels_out() -> None:
    assert pixels.mask_iou(FIRST, COLUMN, EVERY, 0.4) == 2 / 3
    assert pixels.mask_iou(FIRST, COLUMN, FIRST != 0.8, 0.4) == 1


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_on_and_beside_an_edge_fall_left_closed(dtype: type) -> None:
    scores = np.concatenate([EDGES, np.nextafter(EDGES[1:], 0), np.nextafter(EDGES[:-1], 1)]).astype(dtype)[None]
    counts = pixels.histogram(scores, scores >= 0, scores >= 0, EDGES)[pixels.OBJECT]
    want = np.histogram(scores, np.append(EDGES, [2.0]))[0]
    assert (counts == want).all()
