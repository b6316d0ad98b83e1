"""Statistics and health of raw maps, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heatbeam.transforms.metrics import map_statistics


def _one(raw: list[list[float]] | np.ndarray) -> dict[str, float]:
    return {name: float(values[0]) for name, values in map_statistics.statistics(np.array([raw], np.float32)).items()}


def test_statistics_by_hand() -> None:
    got = _one([[0, 0, 0], [-4, 3, 0], [0, 1, 0]])
    assert got["entropy"] == pytest.approx(-(0.75 * math.log(0.75) + 0.25 * math.log(0.25)))
    assert got["area"] == pytest.approx(1 / 9)
    assert (got["centroid_x"], got["peak_x"]) == pytest.approx((0.5, 0.5))
    assert got["centroid_y"] == pytest.approx(0.75 * 0.5 + 0.25 * 5 / 6)
    assert (got["peak_y"], got["peak"], got["positive_share"]) == pytest.approx((0.5, 3, 4 / 8))
    assert (got["border_share"], got["corner_share"]) == pytest.approx((0.25, 0))


def test_uniform_map() -> None:
    got = _one([[2.0] * 8] * 8)
    assert got["entropy"] == pytest.approx(math.log(64))
    assert got["area"] == 1
    assert (got["border_share"], got["corner_share"]) == pytest.approx((28 / 64, 16 / 64))
    assert (got["centroid_x"], got["peak_x"]) == pytest.approx((0.5, 1 / 16))


def test_one_cell_map() -> None:
    got = _one([[5.0]])
    assert (got["entropy"], got["area"], got["border_share"], got["corner_share"]) == (0, 1, 1, 1)


@pytest.mark.parametrize(("value", "peak"), [(0.0, 0.0), (-2.0, -2.0)])
def test_a_map_without_energy_has_a_peak_and_no_shares(value: float, peak: float) -> None:
    got = _one([[value] * 3] * 3)
    assert got.pop("peak") == peak
    positive = got.pop("positive_share")
    assert math.isnan(positive) if value == 0 else positive == 0
    assert all(math.isnan(number) for number in got.values())


def test_a_map_with_a_nan_has_no_statistics_and_spoils_no_other() -> None:
    maps = np.array([[[1.0, np.inf], [0, 0]], [[1.0, 0], [0, 0]]])
    got = map_statistics.statistics(maps)
    assert all(math.isnan(values[0]) for values in got.values())
    assert got["peak"][1] == 1 and got["area"][1] == 0.25


def test_maps_together_equal_maps_alone() -> None:
    maps = np.random.default_rng(0).normal(size=(5, 7, 6)).astype(np.float32)
    together = map_statistics.statistics(maps)
    for number in range(5):
        for name, values in map_statistics.statistics(maps[number : number + 1]).items():
            assert together[name][number] == pytest.approx(values[0])


def _at(shape: tuple[int, int], *cells: tuple[int, int], value: float = 1.0) -> np.ndarray:
    raw = np.zeros(shape)
    for cell in cells:
        raw[cell] = value
    return raw


_SMOOTH = np.exp(-((np.arange(7)[:, None] - 3.0) ** 2 + (np.arange(7)[None] - 2.0) ** 2) / 4)


@pytest.mark.parametrize(
    ("raw", "flags"),
    [
        pytest.param(_SMOOTH, (), id="healthy"),
        pytest.param(_SMOOTH - 5, ("blank",), id="negative"),
        pytest.param(np.zeros((7, 7)), ("constant", "blank"), id="zeros"),
        pytest.param(np.ones((7, 7)), ("constant",), id="ones"),
        pytest.param(_at((7, 7), (0, 0), value=np.nan), ("nan",), id="nan"),
        pytest.param(np.where(np.arange(49).reshape(7, 7) < 30, 1.0, 0.0), ("saturated",), id="saturated"),
        pytest.param(_at((7, 7), (3, 3)), ("single_cell",), id="one cell"),
        pytest.param(_at((7, 7), (0, 1), (6, 3), (2, 6)), ("edge_locked",), id="border"),
        pytest.param(_at((7, 7), (0, 0)), ("single_cell", "edge_locked"), id="corner"),
        pytest.param(_at((2, 2), (0, 0), (1, 1)), ("saturated",), id="no inner cells"),
    ],
)
def test_health(raw: np.ndarray, flags: tuple[str, ...]) -> None:
    assert map_statistics.health(raw[None]) == (flags,)
    assert set(flags) <= map_statistics.HEALTH_FLAGS.keys()


def of_volume(raw: np.ndarray) -> dict[str, float]:
    """The statistics of a map of three axes of several cells, by their definitions."""
    energy = np.maximum(raw, 0).astype(np.float64)
    share = energy / energy.sum()
    grid = np.meshgrid(*(np.arange(side) for side in raw.shape), indexing="ij")
    from_edge = [np.minimum(i, side - 1 - i) for i, side in zip(grid, raw.shape, strict=True)]
    corner = np.all([d < max(1, side // 4) for d, side in zip(from_edge, raw.shape, strict=True)], axis=0)
    centres = [float(((i + 0.5) / side * share).sum()) for i, side in zip(grid, raw.shape, strict=True)]
    peaks = [(i + 0.5) / side for i, side in zip(np.unravel_index(raw.argmax(), raw.shape), raw.shape, strict=True)]
    return {
        "entropy": float(-(share[share > 0] * np.log(share[share > 0])).sum()),
        "area": float((energy >= energy.max() / 2).mean()),
        "centroid_x": centres[2], "centroid_y": centres[1], "centroid_z": centres[0],
        "peak_x": peaks[2], "peak_y": peaks[1], "peak_z": peaks[0], "peak": float(raw.max()),
        "positive_share": float(energy.sum() / np.abs(raw.astype(np.float64)).sum()),
        "border_share": float(share[np.min(from_edge, axis=0) == 0].sum()), "corner_share": float(share[corner].sum()),
    }  # fmt: skip


def test_a_volume_follows_the_definitions() -> None:
    raw = np.random.default_rng(5).normal(size=(8, 5, 9)).astype(np.float32)
    got = _one(raw)
    assert list(got) == list(of_volume(raw)) == list(map_statistics.names(3))
    assert got == pytest.approx(of_volume(raw), rel=1e-12)


def test_a_volume_of_depth_one_is_a_picture_and_a_series_a_picture_of_width_one() -> None:
    maps = np.random.default_rng(6).normal(size=(20, 6, 5)).astype(np.float32)
    maps[1], maps[2], maps[3, 2, 2] = 0, 7, np.nan
    maps[4] = 0
    maps[4, 0, 1] = 3
    flat, picture = map_statistics.statistics(maps[:, None]), map_statistics.statistics(maps)
    for name, values in picture.items():
        np.testing.assert_array_equal(flat[name], values)
    assert map_statistics.health(maps[:, None]) == map_statistics.health(maps)
    assert {flag for flags in map_statistics.health(maps) for flag in flags} >= {"nan", "constant", "single_cell"}
    narrow, series = map_statistics.statistics(maps[:, :, :1]), map_statistics.statistics(maps[:, :, 0])
    assert list(series) == list(map_statistics.names(1))
    for name, values in series.items():
        other = {"centroid_x": "centroid_y", "peak_x": "peak_y"}.get(name, name)
        np.testing.assert_array_equal(values, narrow[other])
    assert map_statistics.health(maps[:, :, :1]) == map_statistics.health(maps[:, :, 0])


def test_the_ends_of_a_series_are_its_border() -> None:
    assert _one(np.array([3, 1, 0, 0, 0, 0, 0, 4.0]))["border_share"] == 7 / 8
    assert _one(np.array([3, 1, 0, 0, 0, 0, 0, 4.0]))["corner_share"] == 1
    assert _one(np.array([2.0]))["border_share"] == 1
