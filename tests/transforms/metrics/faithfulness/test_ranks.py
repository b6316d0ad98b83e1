"""Faithfulness, stability and sanity on one and three position axes: the equations, and what an image says of them."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from scipy import ndimage

from heatbeam.transforms.metrics import registry
from heatbeam.transforms.metrics.faithfulness import batch, complexity, insertion_deletion, measure, road, stability

CLASSES = 2
SETTINGS = batch.Settings(
    mask_baseline=0.1,
    steps=5,
    deletion_baseline="mean",
    insertion_baseline="blur",
    road_percentiles=(30.0, 70.0),
    road_noise=0.01,
    sensitivity_radius=0.02,
    sensitivity_samples=2,
    seed=5,
    batch_size=4,
)
RNG = np.random.default_rng


def explain(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """The map of class c: channel c."""
    return np.clip(np.stack([one[..., c] for one, c in zip(inputs, class_ids, strict=True)]), 0, 1)


def upside_down(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    return explain(inputs.reshape(len(inputs), -1, CLASSES)[:, ::-1].reshape(inputs.shape), class_ids)


def predict(inputs: np.ndarray) -> np.ndarray:
    """Class 0 sees the first half of the positions, class 1 the second; float64 sums in reading order."""
    flat = inputs.reshape(len(inputs), -1, CLASSES).mean(axis=-1, dtype=np.float64)
    half = flat.shape[1] // 2
    return np.stack([flat[:, :half].mean(axis=1), flat[:, half:].mean(axis=1)], axis=1)


def measured(inputs: np.ndarray) -> dict[str, np.ndarray]:
    """Every column and curve of images whose maps are a channel of them."""
    ids = np.arange(len(inputs)) % CLASSES
    names = [f"image-{number}" for number in range(len(inputs))]
    one = batch.Batch(predict, explain, upside_down, inputs, explain(inputs, ids), ids, names, CLASSES, SETTINGS)
    columns, curves = measure.measure(tuple(registry.FAITHFULNESS), one)
    return columns | {f"{name} curve": values for name, values in curves.items()}


@pytest.mark.parametrize(
    ("shape", "flat"),
    [
        pytest.param((13, 12), (1, 13, 12), id="volume_of_one_slice"),
        pytest.param((13, 12), (13, 1, 12), id="volume_of_one_row"),
        pytest.param((13, 12), (13, 12, 1), id="volume_of_one_column"),
        pytest.param((40,), (1, 40), id="series_as_image_of_height_1"),
        pytest.param((40,), (40, 1), id="series_as_image_of_width_1"),
        pytest.param((40,), (1, 40, 1), id="series_as_volume"),
    ],
)
def test_an_axis_of_one_position_changes_no_metric(shape: tuple[int, ...], flat: tuple[int, ...]) -> None:
    inputs = RNG(0).random((3, *shape, CLASSES)).astype(np.float32)
    want = measured(inputs)
    got = measured(inputs.reshape(3, *flat, CLASSES))
    assert list(got) == list(want)
    for name, values in want.items():
        assert np.isfinite(values).all(), name
        np.testing.assert_allclose(got[name], values, rtol=1e-6, atol=1e-9, err_msg=name)


def test_metrics_of_a_small_volume_are_finite_and_do_not_depend_on_the_batch() -> None:
    inputs = RNG(1).random((3, 4, 6, 5, CLASSES)).astype(np.float32)
    together = measured(inputs)
    assert all(np.isfinite(values).all() for values in together.values())
    first = measured(inputs[:1])
    for name, values in first.items():
        np.testing.assert_array_equal(together[name][:1], values)


@pytest.mark.parametrize("shape", [(16,), (2, 2, 4)])
def test_deletion_takes_the_strongest_positions_first(shape: tuple[int, ...]) -> None:
    """The map falls in reading order, so each of 4 steps takes a quarter of what is left, in that order."""
    inputs = np.ones((1, *shape, CLASSES), np.float32)
    heatmap = (np.arange(16, 0, -1) / 16).reshape(1, *shape)
    given = (predict, inputs, heatmap, np.array([0]))
    curve = insertion_deletion.deletion(*given, steps=4, baseline=0.0, batch_size=3)
    assert curve.scores.tolist() == [[1, 0.5, 0, 0, 0]]
    inserted = insertion_deletion.insertion(*given, steps=4, baseline=0.0, batch_size=3)
    assert inserted.scores.tolist() == [[0, 0.5, 1, 1, 1]]
    assert complexity.complexity_entropy(np.ones((1, *shape)), epsilon=0.0) == pytest.approx([np.log(16)])


@pytest.mark.parametrize("shape", [(30,), (14, 5, 12)])
def test_blur_is_the_kernel_along_each_axis(shape: tuple[int, ...]) -> None:
    """The kernel of RISE, along one axis after the other in float64."""
    inputs = RNG(2).normal(size=(2, *shape, 3)).astype(np.float32)
    kernel = ndimage.gaussian_filter1d(np.eye(11)[5], 5.0, mode="reflect")
    want = inputs.astype(np.float64)
    for axis in range(1, want.ndim - 1):
        want = ndimage.correlate1d(want, kernel, axis=axis, mode="constant")
    np.testing.assert_allclose(insertion_deletion.reference(inputs, "blur"), want, atol=1e-6)
    means = insertion_deletion.reference(inputs, "mean").reshape(2, -1, 3)
    np.testing.assert_allclose(means, np.broadcast_to(inputs.reshape(2, -1, 3).mean(1, keepdims=True), means.shape),
                               atol=1e-6)  # fmt: skip


@pytest.mark.parametrize("solver", ["band", "limit"])
@pytest.mark.parametrize("shape", [(25,), (6, 9), (5, 4, 6), (4, 1, 7)])
def test_imputed_positions_satisfy_the_equations(
    shape: tuple[int, ...], solver: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is the mean of its neighbours, weighted by one over the square of their distance."""
    if solver == "limit":
        monkeypatch.setattr(road, "BAND_LIMIT", 0)
        monkeypatch.setattr(road, "VOLUME_BAND_LIMIT", 0)
    rng = RNG(3)
    image = rng.normal(size=(*shape, 2)).astype(np.float32)
    image[..., 1] = 0
    removed = rng.random(shape) < 0.7
    filled = road.impute(image, removed, noise=0, rng=rng)
    assert (filled[~removed] == image[~removed]).all() and (filled[..., 1] == 0).all()
    for place in np.argwhere(removed):
        total, weights = 0.0, 0.0
        for step in itertools.product((-1, 0, 1), repeat=len(shape)):
            there = place + step
            if any(step) and (there >= 0).all() and (there < shape).all():
                weight = 1 / np.square(step).sum()
                total, weights = total + weight * filled[(*there, 0)], weights + weight
        assert filled[(*place, 0)] == pytest.approx(total / weights, abs=2e-6)


def test_a_series_is_filled_by_straight_lines() -> None:
    image = np.array([[0], [7], [7], [9], [7]], np.float32)
    removed = np.array([False, True, True, False, True])
    assert road.impute(image, removed, noise=0, rng=RNG(0))[:, 0] == pytest.approx([0, 3, 6, 9, 9], abs=1e-6)


def test_ssim_of_a_window_of_a_series_and_of_a_volume_by_hand() -> None:
    """A window of 11 samples; one of 5 x 11 x 7 voxels, as the axes of 6, 11 and 8 have no room for 11."""
    for shape, window in (((11,), (11,)), ((6, 11, 8), (5, 11, 7))):
        a, b = RNG(5).random((2, *shape))
        weights = np.ones(())
        for size in window:
            line = np.exp(-((np.arange(size) - size // 2) ** 2) / (2 * 1.5**2))
            weights = np.multiply.outer(weights, line / line.sum())
        starts = itertools.product(*(range(n - w + 1) for n, w in zip(shape, window, strict=True)))
        likeness = []
        for start in starts:
            part = tuple(slice(at, at + size) for at, size in zip(start, window, strict=True))
            x, y = a[part], b[part]
            m1, m2 = (weights * x).sum(), (weights * y).sum()
            v1, v2 = (weights * (x - m1) ** 2).sum(), (weights * (y - m2) ** 2).sum()
            c = (weights * (x - m1) * (y - m2)).sum()
            likeness.append((2 * m1 * m2 + 1e-4) * (2 * c + 9e-4) / ((m1**2 + m2**2 + 1e-4) * (v1 + v2 + 9e-4)))
        assert stability.ssim(a[None], b[None])[0] == pytest.approx(np.mean(likeness), rel=1e-9)


def test_a_broken_map_of_a_volume_is_missing_and_spoils_no_other() -> None:
    inputs = RNG(6).random((2, 3, 4, 5, CLASSES)).astype(np.float32)
    ids = np.array([0, 1])
    maps = explain(inputs, ids)
    maps[0, 1, 2, 3] = np.nan
    one = batch.Batch(predict, explain, explain, inputs, maps, ids, ["a", "b"], CLASSES, SETTINGS)
    columns, _ = measure.measure(["insertion", "deletion", "road", "adcc"], one)
    whole, _ = measure.measure(["insertion", "deletion", "road", "adcc"],
                               dataclasses.replace(one, heatmaps=explain(inputs, ids)))  # fmt: skip
    for name, values in columns.items():
        assert np.isnan(values[0]) and values[1] == whole[name][1], name


def test_maps_of_another_rank_than_the_input_are_refused() -> None:
    inputs = np.ones((1, 8, CLASSES), np.float32)
    with pytest.raises(ValueError, match=r"heatmaps \(1, 1, 8\)"):
        batch.checked(inputs, np.ones((1, 1, 8)), np.array([0]), 1)
    with pytest.raises(ValueError, match="1 to 3 axes"):
        batch.checked(np.ones((1, CLASSES), np.float32), np.ones(1), np.array([0]), 1)
