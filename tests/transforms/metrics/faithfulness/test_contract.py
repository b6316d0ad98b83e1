"""What holds for every metric: batches, arguments, inputs."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import adcc, batch, complexity, insertion_deletion, road
from tests.support import scored_inputs

descending = scored_inputs.descending
left_and_right = scored_inputs.left_and_right
ones = scored_inputs.ones


def everything(inputs: np.ndarray, heatmaps: np.ndarray, ids: np.ndarray, seeds: list[int], batch_size: int) -> list:
    given = (left_and_right, inputs, heatmaps, ids)
    size = {"batch_size": batch_size}
    before, after = batch.masked_scores(*given, baseline=0.1, **size)
    deletions = [insertion_deletion.deletion(*given, steps=7, baseline=b, **size) for b in (0.0, "mean", "blur")]
    inserted = insertion_deletion.insertion(*given, steps=7, baseline="blur", **size)
    parts = adcc.adcc(
        lambda x, _: np.abs(x).mean(axis=-1) / 9, inputs, heatmaps, ids, before, after, baseline=0.1, **size
    )
    roads = road.road(*given, percentiles=[30, 60], noise=0.1, seeds=seeds, **size)
    spread = [complexity.complexity_entropy(heatmaps, epsilon=0), complexity.sparseness_gini(heatmaps)]
    curves = [array for curve in (*deletions, inserted) for array in curve]
    return [before, after, *curves, *parts, *roads, *spread]


def test_a_batch_equals_its_images_alone_to_the_bit_and_nothing_is_changed() -> None:
    rng = np.random.default_rng(4)
    inputs = rng.normal(size=(5, 14, 16, 3)).astype(np.float32)
    heatmaps = rng.random((5, 14, 16)).astype(np.float32)
    heatmaps[1] = np.round(heatmaps[1], 1)
    heatmaps[2] = 0
    ids, seeds = np.array([0, 1, 0, 1, 1]), [11, 12, 13, 14, 15]
    copies = inputs.copy(), heatmaps.copy()
    together = everything(inputs, heatmaps, ids, seeds, batch_size=4)
    for i in range(5):
        one = slice(i, i + 1)
        for whole, alone in zip(together, everything(inputs[one], heatmaps[one], ids[one], seeds[one], 7), strict=True):
            assert whole.dtype == np.float64
            np.testing.assert_array_equal(whole[one], alone)
    assert (inputs == copies[0]).all() and (heatmaps == copies[1]).all()


def test_no_more_than_batch_size_inputs_exist_at_a_time() -> None:
    sizes = []

    def predict(inputs: np.ndarray) -> np.ndarray:
        sizes.append(len(inputs))
        return left_and_right(inputs)

    insertion_deletion.deletion(
        predict,
        ones(3),
        descending(3),
        np.zeros(3, int),
        steps=4,
        baseline=0.0,
        batch_size=4,
    )
    assert sizes == [4, 4, 4, 3]


@pytest.mark.parametrize(
    ("inputs", "heatmaps", "class_ids", "batch_size", "message"),
    [
        pytest.param(ones(), descending(1, 5), np.array([0]), 1, "resize the maps", id="size"),
        pytest.param(ones(2), descending(2), np.array([0]), 1, "expected", id="class_ids"),
        pytest.param(ones(), descending(), np.array([0.5]), 1, "integers", id="float_class"),
        pytest.param(ones(), descending(), np.array([-1]), 1, "integers", id="no_class"),
        pytest.param(ones(), descending(), np.array([0]), 0, "batch_size", id="batch_size"),
        pytest.param(ones(), descending() - 0.5, np.array([0]), 1, "min-max it", id="negative"),
        pytest.param(ones(), descending() * 2, np.array([0]), 1, "min-max it", id="above_one"),
        pytest.param(
            ones(),
            descending(),
            np.array([2]),
            1,
            "more than 2 classes",
            id="class_out_of_range",
        ),
    ],
)
def test_arguments_that_do_not_fit(
    inputs: np.ndarray, heatmaps: np.ndarray, class_ids: np.ndarray, batch_size: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        batch.masked_scores(left_and_right, inputs, heatmaps, class_ids, baseline=0.0, batch_size=batch_size)
