"""Box convention, IoU and classes of boxes."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import boxes


@pytest.mark.parametrize(
    ("inclusive", "expected"),
    [(True, 100 / 121), (False, 81 / 100)],
    ids=["inclusive", "exclusive"],
)
def test_iou_by_hand(inclusive: bool, expected: float) -> None:
    one, other = np.array([[10.0, 10, 20, 20]]), np.array([[10.0, 10, 19, 19]])
    assert boxes.iou(one, other, inclusive=inclusive)[0, 0] == expected


def test_iou_of_disjoint_and_empty_boxes_is_0() -> None:
    estimated = np.array([[0.0, 0, 2, 2], [5, 5, 5, 5]])
    assert boxes.iou(estimated, np.array([[3.0, 3, 4, 4], [5, 5, 5, 5]]), inclusive=False).tolist() == [[0, 0], [0, 0]]


def test_to_frame_truncates_only_where_the_protocol_says_so() -> None:
    truth = np.array([[10.0, 20, 155, 271]])
    exact = [10 * 224 / 155, 20 * 224 / 272, 224.0, 271 * 224 / 272]
    assert boxes.to_frame(truth, (155, 272), protocols.DEFAULT)[0] == pytest.approx(exact)
    assert boxes.to_frame(truth, (155, 272), protocols.WSOLEVALUATION).tolist() == [[14, 16, 224, 223]]


def test_float32_fractions_do_not_fall_below_an_integer() -> None:
    width = 333
    fractions = (np.arange(width + 1) / width).astype(np.float32).astype(np.float64)
    truth = np.stack([fractions * width] * 4, axis=1)
    want = np.trunc(np.arange(width + 1) * 224 / width)
    assert (boxes.to_frame(truth, (width, width), protocols.WSOLEVALUATION)[:, 0] == want).all()


def test_from_frame_undoes_to_frame() -> None:
    truth = np.array([[10.0, 20, 155, 271]])
    there = boxes.to_frame(truth, (155, 272), protocols.DEFAULT)
    assert boxes.from_frame(there, (155, 272), protocols.DEFAULT) == pytest.approx(truth)


def test_boxes_without_a_class_belong_to_the_labels() -> None:
    ids = np.array([3, records.NO_CLASS, 4])
    assert boxes.belongs(ids, 3, 3, (3,)).tolist() == [True, True, False]
    assert boxes.belongs(ids, 3, 4, (3,)).tolist() == [False, False, True]
    assert boxes.belongs(None, 2, 3, (3,)).tolist() == [True, True]
    assert boxes.belongs(None, 2, 5, (3,)).tolist() == [False, False]


def test_fill_takes_pixels_by_their_centre() -> None:
    mask = boxes.fill(np.array([[0.6, 1, 2.5, 2.4], [3, 0, 4, 1]]), (3, 4))
    assert mask.astype(int).tolist() == [[0, 0, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]
    assert boxes.fill(np.array([[-5.0, -5, 99, 99]]), (2, 2)).all()


@pytest.mark.parametrize("protocol", [protocols.DEFAULT, protocols.WSOLEVALUATION], ids=lambda p: p.name)
def test_the_boxes_of_a_class_are_those_that_belong_in_the_frame_and_filled(protocol: protocols.Protocol) -> None:
    found = np.array([[10.0004, 20, 80, 100], [0, 0, 155, 272], [30.6, 40.5, 77.7, 90.1]], np.float32)
    source = records.Source("", "", 0, "", (155, 272), (0.0, 0.0, 155.0, 272.0), (3,))
    for ids in (np.array([3, 5, records.NO_CLASS]), None, np.array([7, 7, 7])):
        mine, own, scaled, region = boxes.of_class(found, ids, 3, source, protocol)
        assert mine.tolist() == boxes.belongs(ids, 3, 3, (3,)).tolist()
        assert (own == found[mine].astype(np.float64)).all() and len(own) == mine.sum()
        assert (scaled == boxes.to_frame(own, (155, 272), protocol)).all()
        assert (region == boxes.fill(own * np.array([224 / 155, 224 / 272] * 2), (224, 224))).all()
