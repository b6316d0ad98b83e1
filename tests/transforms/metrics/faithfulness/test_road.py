"""ROAD: the equations of the imputation, and the scores, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import road
from tests.support import scored_inputs

descending = scored_inputs.descending
left_and_right = scored_inputs.left_and_right
ones = scored_inputs.ones


def _road(
    inputs: np.ndarray, heatmaps: np.ndarray, ids: list[int], percentiles: tuple[float, ...] = (50,)
) -> road.Road:
    return road.road(
        left_and_right,
        inputs,
        heatmaps,
        np.array(ids),
        percentiles=percentiles,
        noise=0,
        seeds=ids,
        batch_size=2,
    )


def test_a_single_pixel_is_the_weighted_mean_of_its_neighbours() -> None:
    image = np.arange(9, dtype=np.float32).reshape(3, 3, 1) ** 2
    removed = np.zeros((3, 3), bool)
    removed[1, 1] = True
    filled = road.impute(image, removed, noise=0, rng=np.random.default_rng(0))
    assert filled[1, 1, 0] == pytest.approx((1 + 9 + 25 + 49) / 6 + (0 + 4 + 36 + 64) / 12, rel=1e-6)
    corner = np.zeros((3, 3), bool)
    corner[0, 0] = True
    filled = road.impute(image, corner, noise=0, rng=np.random.default_rng(0))
    assert filled[0, 0, 0] == pytest.approx(((1 + 9) / 6 + 16 / 12) / (2 / 6 + 1 / 12), rel=1e-6)


def test_two_neighbouring_pixels_are_solved_together() -> None:
    """In a row, a and b lie between 0 and 9: a = (0 + b) / 2, b = (a + 9) / 2."""
    image = np.array([[[0], [7], [7], [9]]], np.float32)
    filled = road.impute(image, np.array([[False, True, True, False]]), noise=0, rng=np.random.default_rng(0))
    assert filled[0, :, 0] == pytest.approx([0, 3, 6, 9], abs=1e-6)


@pytest.mark.parametrize("shape", [(12, 9), (9, 12)])
def test_imputed_pixels_satisfy_the_equations(shape: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    removed = rng.random(shape) < 0.7
    filled = road.impute(image, removed, noise=0, rng=rng)
    assert (filled[~removed] == image[~removed]).all()
    for y, x in np.argwhere(removed):
        total, weight = np.zeros(2), 0.0
        for dy in (-1, 0, 1):
            for dx in (-1, 0, 1):
                if (dy or dx) and 0 <= y + dy < shape[0] and 0 <= x + dx < shape[1]:
                    share = 1 / 12 if dy and dx else 1 / 6
                    total, weight = total + share * filled[y + dy, x + dx], weight + share
        assert filled[y, x] == pytest.approx(total / weight, abs=2e-6)
    monkeypatch.setattr(road, "BAND_LIMIT", 0)
    assert road.impute(image, removed, noise=0, rng=rng) == pytest.approx(filled, abs=1e-6)


def test_nothing_to_fill_from_is_an_error() -> None:
    with pytest.raises(ValueError, match="leaves a pixel"):
        road.impute(ones()[0], np.ones((4, 4), bool), noise=0, rng=np.random.default_rng(0))


def test_road_of_columns() -> None:
    """Columns 0, 3, 6, 9. At 50 %, 8 of 16 pixels stay.

    ``morf`` takes the two left columns, which become 6; ``lerf`` the two right ones, which become 3.
    """
    inputs = np.tile(np.array([0, 3, 6, 9], np.float32)[None, None, :, None], (1, 4, 1, 1))
    got = _road(inputs, descending(), [0])
    assert got.morf[0] == pytest.approx([6 - 1.5], abs=1e-5)
    assert got.lerf[0] == pytest.approx([0], abs=1e-5)
    assert got.combined == pytest.approx([-4.5 / 2], abs=1e-5)
    right = _road(inputs, descending(), [1])
    assert (right.morf[0, 0], right.lerf[0, 0]) == pytest.approx((0, 3 - 7.5), abs=1e-5)


def test_road_of_a_map_of_many_zeros_removes_the_right_number() -> None:
    """12 of 16 pixels are zero, so a threshold at 20 % would keep nothing; ceil(15 * 0.2) = 3 stay."""
    heatmap = np.zeros((1, 4, 4))
    heatmap[0, 0] = [1, 0.9, 0.8, 0.7]
    kept = []

    def predict(inputs: np.ndarray) -> np.ndarray:
        kept.append([np.flatnonzero(one[..., 0] == np.arange(16).reshape(4, 4)) for one in inputs])
        return left_and_right(inputs)

    inputs = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    got = road.road(predict, inputs, heatmap, np.array([0]), percentiles=[20], noise=0, seeds=[0], batch_size=2)
    assert np.isfinite(got.combined).all()
    morf, lerf = kept[1]
    assert (morf.tolist(), lerf.tolist()) == ([13, 14, 15], [0, 1, 2])


def test_road_of_a_map_with_a_nan_is_missing() -> None:
    heatmaps = descending(2)
    heatmaps[1, 0, 0] = np.nan
    got = _road(ones(2), heatmaps, [0, 0])
    assert np.isfinite(got.combined[0]) and np.isnan(got.combined[1]) and np.isnan(got.morf[1]).all()


def test_noise_has_its_size_and_belongs_to_the_image() -> None:
    removed = np.ones((40, 40), bool)
    removed[0, 0] = False
    image = np.zeros((40, 40, 3), np.float32)
    noisy = [road.impute(image, removed, noise=0.01, rng=np.random.default_rng([seed, 0])) for seed in (1, 1, 2)]
    values = noisy[0][removed]
    assert abs(values.std() / 0.01 - 1) < 4 / np.sqrt(2 * values.size)
    assert (noisy[0] == noisy[1]).all() and (noisy[0] != noisy[2])[removed].all()


@pytest.mark.parametrize("percentiles", [(), (0,), (100,)])
def test_percentiles_that_keep_all_or_nothing_are_an_error(percentiles: tuple[float, ...]) -> None:
    with pytest.raises(ValueError, match="percentiles"):
        _road(ones(), descending(), [0], percentiles=percentiles)
