"""How alike two maps are: every number worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heatbeam.transforms.metrics import map_similarity


def stack(*maps: list) -> np.ndarray:
    return np.array(maps, np.float32)


def test_spearman_of_ranks_and_ties():
    first = stack([[1, 2], [3, 4]], [[1, 2], [3, 4]], [[1, 2], [3, 4]])
    second = stack([[-8, -7], [0, 900]], [[4, 3], [2, 1]], [[1, 1], [3, 3]])
    # Third: ranks 1.5 1.5 3.5 3.5 against 1 2 3 4; deviations -1 -1 1 1 and -1.5 -.5 .5 1.5.
    tied = (1.5 + 0.5 + 0.5 + 1.5) / math.sqrt(4 * (2.25 + 0.25 + 0.25 + 2.25))
    np.testing.assert_allclose(map_similarity.spearman(first, second), [1, -1, tied], rtol=1e-12)


def test_top_overlap_of_whole_cells():
    first = np.arange(10, dtype=np.float32).reshape(1, 2, 5)
    second = first.copy()
    second[0, 0, 0] = 8.5  # the two strongest are now cells 9 and 0 instead of 9 and 8
    np.testing.assert_allclose(map_similarity.top_area_overlap(first, second, 0.2), [1 / 3])
    np.testing.assert_allclose(map_similarity.top_area_overlap(first, first, 0.2), [1])
    np.testing.assert_allclose(map_similarity.top_area_overlap(first, -first, 0.2), [0])


def test_top_overlap_shares_a_cell_at_the_edge_of_the_area():
    # 20 % of 4 cells is 0.8 of a cell: the strongest cell counts 0.8.
    first, second = stack([[1, 2], [3, 4]]), stack([[1, 2], [4, 4]])
    # Second: two equal cells share 0.8, 0.4 each. min = 0.4, max = 0.8 + 0.4.
    np.testing.assert_allclose(map_similarity.top_area_overlap(first, second, 0.2), [0.4 / 1.2])


def test_equal_cells_are_no_agreement_by_their_order():
    # One strong cell each, elsewhere zeros: 20 % of 20 cells is 4, so 3 of 19 zeros, 3 / 19 each.
    first, second = np.zeros((1, 4, 5)), np.zeros((1, 4, 5))
    first[0, 0, 0] = second[0, 3, 4] = 1
    shared, most = 20 * 3 / 19, 2 * 1 + 18 * 3 / 19
    np.testing.assert_allclose(map_similarity.top_area_overlap(first, second, 0.2), [shared / most])


def test_centroid_shift_ignores_negative_cells():
    first = stack([[1, 0], [0, -5]])  # centre of the top left cell: 0.25, 0.25
    second = stack([[0, 0], [2, 2]])  # between the two lower cells: 0.5, 0.75
    np.testing.assert_allclose(map_similarity.centroid_shift(first, second), [math.hypot(0.25, 0.5)])


@pytest.mark.parametrize(
    ("measure", "first", "second"),
    [
        ("map_spearman", [[2, 2], [2, 2]], [[1, 2], [3, 4]]),
        ("map_top20_overlap", [[1, 2], [3, 4]], [[0, 0], [0, 0]]),
        ("map_centroid_shift", [[-1, -2], [0, 0]], [[1, 2], [3, 4]]),
    ],
)
def test_a_map_that_says_nothing_has_no_similarity(measure, first, second):
    found = map_similarity.similarity(stack(first, [[1, 2], [3, 4]]), stack(second, [[1, 2], [3, 4]]))
    assert np.isnan(found[measure]).tolist() == [True, False]
    assert found["map_spearman"][1] == pytest.approx(1) and found["map_centroid_shift"][1] == 0


def test_other_sizes_meet_on_the_finer_grid():
    coarse, fine = np.array([[1, 3]], np.float32), np.array([[1, 2, 3, 4]], np.float32)
    first, second = map_similarity.on_common_grid(coarse, fine, (0, 0, 1, 1), (0, 0, 1, 1))
    # Half-pixel centres: 1/8 and 3/8 of the width lie 1/4 before and 1/4 after the centre of the first of two cells.
    np.testing.assert_allclose(first, [[1, 1.5, 2.5, 3]])
    np.testing.assert_array_equal(second, fine)


def test_other_views_meet_where_both_see_the_image():
    whole = np.array([[1, 2, 3, 4]], np.float32)  # over the whole width
    half = np.array([[30, 40, 50, 60]], np.float32)  # over the right half
    first, second = map_similarity.on_common_grid(whole, half, (0, 0, 1, 1), (0.5, 0, 1, 1))
    # Four pixels over the right half; their centres are at 9/16 ... 15/16, cells of `whole` at 5/8 (3) and 7/8 (4).
    np.testing.assert_allclose(first, [[2.75, 3.25, 3.75, 4.0]])
    np.testing.assert_allclose(second, half)


def test_views_apart_have_nothing_in_common():
    map_ = np.ones((2, 2), np.float32)
    assert map_similarity.on_common_grid(map_, map_, (0, 0, 0.5, 1), (0.5, 0, 1, 1)) is None


def test_inputs_stay_as_they_are():
    first, second = stack([[1, 2], [3, 4]]), stack([[4, 2], [3, 1]])
    copies = first.copy(), second.copy()
    map_similarity.similarity(first, second)
    np.testing.assert_array_equal(first, copies[0])
    np.testing.assert_array_equal(second, copies[1])


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match="on_common_grid"):
        map_similarity.similarity(np.zeros((1, 2, 2)), np.zeros((1, 2, 3)))


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_an_axis_of_one_cell_changes_no_likeness(axis: int) -> None:
    rng = np.random.default_rng(8)
    first, second = rng.normal(size=(2, 9, 6, 5)).astype(np.float32)
    flat = map_similarity.similarity(first, second)
    volumes = map_similarity.similarity(*(np.expand_dims(one, axis + 1) for one in (first, second)))
    series = map_similarity.similarity(first[:, :, 2], second[:, :, 2])
    narrow = map_similarity.similarity(first[:, :, 2:3], second[:, :, 2:3])
    for name, values in flat.items():
        np.testing.assert_allclose(volumes[name], values, rtol=1e-12)
        np.testing.assert_allclose(series[name], narrow[name], rtol=1e-12)


def test_centroids_of_volumes_are_apart_along_every_axis() -> None:
    first, second = np.zeros((2, 1, 4, 5, 10), np.float32)
    first[0, 0, 1, 2] = second[0, 3, 4, 9] = 2
    shift = np.sqrt((3 / 4) ** 2 + (3 / 5) ** 2 + (7 / 10) ** 2)
    np.testing.assert_allclose(map_similarity.centroid_shift(first, second), [shift], rtol=1e-12)


def test_volumes_and_series_meet_on_a_common_grid() -> None:
    volume = np.random.default_rng(9).normal(size=(4, 3, 6)).astype(np.float32)
    whole, part = (0.0, 0.0, 0.0, 1.0, 1.0, 1.0), (0.5, 0.0, 0.0, 1.0, 1.0, 1.0)
    both = map_similarity.on_common_grid(volume, volume[:, :, 3:], whole, part)
    assert both is not None and both[0].shape == both[1].shape == (4, 3, 6)
    np.testing.assert_allclose(both[0][:, :, 1:5], both[1][:, :, 1:5], atol=0.6)
    np.testing.assert_allclose(both[1][:, :, 5], volume[:, :, 5], atol=1e-6)
    assert map_similarity.on_common_grid(volume[0, 0], volume[0, 0], (0.0, 0.4), (0.5, 1.0)) is None
