"""ADCC, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import adcc
from tests.support import scored_inputs

ones = scored_inputs.ones


def test_adcc_by_hand() -> None:
    """The map is (1, 1, 0, 0) in each row, the second map (0, 1, 0, 1): uncorrelated, so coherency 1/2."""
    heatmap = np.tile(np.array([1.0, 1, 0, 0]), (1, 4, 1))
    again = np.tile(np.array([0.0, 1, 0, 1]), (1, 4, 1))
    seen = []

    def explain(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        seen.append((inputs, class_ids))
        return again

    got = adcc.adcc(
        explain,
        ones(),
        heatmap,
        np.array([1]),
        np.array([0.8]),
        np.array([0.6]),
        baseline=0.0,
        batch_size=4,
    )
    assert (got.coherency[0], got.complexity[0]) == (0.5, 0.5)
    assert got.drop[0] == pytest.approx(0.25)
    assert got.adcc[0] == pytest.approx(3 / (1 / 0.5 + 1 / 0.5 + 1 / 0.75))
    assert seen[0][1].tolist() == [1]
    assert seen[0][0][0, 0, :, 0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("again", "after", "coherency", "wanted"),
    [
        pytest.param([1.0, 1, 0, 0], 0.8, 1, 3 / (1 + 1 / 0.5 + 1), id="same_map"),
        pytest.param([0.0, 0, 1, 1], 0.8, 0, 0, id="opposite_map"),
        pytest.param([0.3, 0.3, 0.3, 0.3], 0.8, 0, 0, id="constant_map"),
        pytest.param([1.0, 1, 0, 0], 0.0, 1, 0, id="whole_drop"),
        pytest.param([1.0, np.nan, 0, 0], 0.8, np.nan, np.nan, id="nan_map"),
    ],
)
def test_adcc_extremes(again: list[float], after: float, coherency: float, wanted: float) -> None:
    heatmap = np.tile(np.array([1.0, 1, 0, 0]), (1, 4, 1))
    got = adcc.adcc(
        lambda inputs, _: np.tile(np.array(again), (len(inputs), 4, 1)),
        ones(), heatmap, np.array([0]), np.array([0.8]), np.array([after]), baseline=0.0, batch_size=4,
    )  # fmt: skip
    assert got.coherency == pytest.approx([coherency], nan_ok=True)
    assert got.adcc == pytest.approx([wanted], nan_ok=True)
