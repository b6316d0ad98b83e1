"""Sensitivity to noise, shuffled weights and the likeness of maps."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import stability

RANGE = 4.0


def brightness(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
    """The map of class c is channel c of the input."""
    return np.stack([one[..., c] for one, c in zip(inputs, class_ids, strict=True)])


def scene(count: int = 3, size: int = 6) -> np.ndarray:
    inputs = np.random.default_rng(0).uniform(-1, 1, (count, size, size, 2)).astype(np.float32)
    inputs[:, 0, 0] = -RANGE / 2
    inputs[:, 0, 1] = RANGE / 2
    return inputs


def sensitivity(inputs: np.ndarray, explain=brightness, maps=None, **changes) -> stability.Sensitivity:
    ids = np.zeros(len(inputs), int)
    options = {"radius": 0.02, "samples": 10, "seeds": list(range(len(inputs))), "batch_size": 4} | changes
    return stability.sensitivity(explain, inputs, explain(inputs, ids) if maps is None else maps, ids, **options)


def test_sensitivity_is_the_relative_size_of_the_noise() -> None:
    """The map is the image, so |M' - M| is the norm of uniform noise: radius * range * sqrt(pixels / 3)."""
    inputs = scene(1, 40)
    got = sensitivity(inputs, samples=20)
    norm = np.linalg.norm(inputs[0, ..., 0].astype(float))
    expected = 0.02 * RANGE * np.sqrt(1600 / 3) / norm
    # Relative spread of the mean square of 1600 uniform numbers: sqrt(4/5 / 1600) = 2.2 %, half of it after the root.
    assert got.average[0] == pytest.approx(expected, rel=4 * 0.0112 / np.sqrt(20))
    assert got.average[0] < got.maximum[0] < expected * (1 + 4 * 0.0112)


def test_noise_reaches_the_radius_and_no_further() -> None:
    inputs = scene(1, 40)
    seen = []

    def explain(noisy: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        seen.append(noisy - inputs)
        return brightness(noisy, class_ids)

    sensitivity(inputs, explain, brightness(inputs, np.array([0])))
    noise = np.concatenate(seen)
    assert noise.shape == (10, 40, 40, 2)
    assert 0.99 * 0.02 * RANGE < np.abs(noise).max() <= 0.02 * RANGE * (1 + 1e-5)
    assert abs(noise.mean()) < 4 * 0.02 * RANGE / np.sqrt(3 * noise.size)
    assert len(np.unique(noise[:, 5, 5, 0])) == 10


def test_sensitivity_does_not_depend_on_the_scale_of_the_input() -> None:
    inputs = scene()
    scaled = sensitivity(inputs * 64)
    assert scaled.maximum == pytest.approx(sensitivity(inputs).maximum, rel=1e-5)


def test_two_explanations_by_hand() -> None:
    """|(3, 4)| = 5; the noisy maps are (3, 4) + (0, 1) and (3, 4) + (3, 4)."""
    answers = iter([[[3.0, 5.0]], [[6.0, 8.0]]])

    def explain(noisy: np.ndarray, _: np.ndarray) -> np.ndarray:
        return np.array([next(answers) for _ in noisy])

    got = sensitivity(scene(1), explain, np.array([[[3.0, 4.0]]]), samples=2, batch_size=1)
    assert (got.maximum[0], got.average[0]) == pytest.approx((5 / 5, (1 / 5 + 5 / 5) / 2))


def test_a_map_of_zeros_counts_as_norm_one_and_a_nan_is_missing() -> None:
    maps = np.zeros((2, 1, 2))
    maps[1] = np.nan
    got = sensitivity(scene(2), lambda noisy, _: np.full((len(noisy), 1, 2), 0.5), maps)
    assert got.maximum[0] == pytest.approx(np.sqrt(0.5)) and np.isnan(got.maximum[1]) and np.isnan(got.average[1])


def test_a_constant_image_gets_no_noise() -> None:
    got = sensitivity(np.ones((1, 4, 4, 2), np.float32))
    assert (got.maximum[0], got.average[0]) == (0, 0)


def test_a_batch_equals_its_images_alone_to_the_bit() -> None:
    inputs = scene(5)
    before = inputs.copy()
    together = sensitivity(inputs, batch_size=7, seeds=[3, 1, 4, 1, 5])
    for i, seed in enumerate([3, 1, 4, 1, 5]):
        alone = sensitivity(inputs[i : i + 1], seeds=[seed])
        assert (together.maximum[i], together.average[i]) == (alone.maximum[0], alone.average[0])
    assert (inputs == before).all()


def test_sensitivity_arguments_that_do_not_fit() -> None:
    with pytest.raises(ValueError, match="as many of each"):
        sensitivity(scene(2), seeds=[1])
    with pytest.raises(ValueError, match="samples 0"):
        sensitivity(scene(2), samples=0)
    with pytest.raises(ValueError, match="explain gave maps"):
        sensitivity(scene(2), maps=np.zeros((2, 3, 3)))


# Randomized weights


def _weights() -> list[np.ndarray]:
    rng = np.random.default_rng(2)
    return [rng.normal(size=(3, 3, 2, 8)).astype(np.float32), np.arange(8.0), np.array([3, 4], np.uint32), np.ones(5)]


def test_shuffled_weights_are_the_same_numbers_in_other_places() -> None:
    weights = _weights()
    twin = stability.randomized_weights(weights, share=1.0, seed=1)
    for old, new in zip(weights, twin, strict=True):
        assert new.shape == old.shape and new.dtype == old.dtype
        np.testing.assert_array_equal(np.sort(new, axis=None), np.sort(old, axis=None))
    # 144 different numbers: one is expected to stay in its place.
    assert (twin[0] == weights[0]).sum() < 8
    assert twin[2].tolist() == [3, 4]
    np.testing.assert_array_equal(weights[0], _weights()[0])


def test_shuffle_is_fixed_by_the_seed_and_the_place() -> None:
    first, again, other = (stability.randomized_weights(_weights(), share=1.0, seed=seed) for seed in (1, 1, 2))
    assert all((a == b).all() for a, b in zip(first, again, strict=True))
    assert (first[0] != other[0]).any()
    two = stability.randomized_weights([np.arange(50.0)] * 2, share=1.0, seed=1)
    assert (two[0] != two[1]).any()


def test_a_share_shuffles_from_the_output_back() -> None:
    weights = [np.arange(100.0)] * 4
    twin = stability.randomized_weights(weights, share=0.5, seed=0)
    assert [(new != np.arange(100)).any() for new in twin] == [False, False, True, True]
    assert twin[0] is not weights[0]
    with pytest.raises(ValueError, match="share of 0"):
        stability.randomized_weights(weights, share=0, seed=0)


# Agreement


def test_ssim_of_constant_maps_by_hand() -> None:
    """No variance: only the means count."""
    a, b = np.full((1, 16, 16), 0.2), np.full((1, 16, 16), 0.7)
    assert stability.ssim(a, b)[0] == pytest.approx((2 * 0.14 + 1e-4) / (0.04 + 0.49 + 1e-4), rel=1e-9)
    assert stability.ssim(np.zeros_like(a), np.zeros_like(a))[0] == 1


def test_ssim_of_one_window_by_hand() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.random((2, 11, 11))
    x = np.arange(-5, 6)
    weights = np.exp(-(x[:, None] ** 2 + x[None] ** 2) / (2 * 1.5**2))
    weights /= weights.sum()
    m1, m2 = (weights * a).sum(), (weights * b).sum()
    v1, v2 = (weights * (a - m1) ** 2).sum(), (weights * (b - m2) ** 2).sum()
    c = (weights * (a - m1) * (b - m2)).sum()
    expected = (2 * m1 * m2 + 1e-4) * (2 * c + 9e-4) / ((m1**2 + m2**2 + 1e-4) * (v1 + v2 + 9e-4))
    assert stability.ssim(a[None], b[None])[0] == pytest.approx(expected, rel=1e-9)


def test_ssim_equals_tensorflow() -> None:
    import tensorflow as tf

    a, b = np.random.default_rng(6).random((2, 3, 20, 25)).astype(np.float32)
    want = tf.image.ssim(a[..., None], b[..., None], max_val=1.0).numpy()
    assert stability.ssim(a, b) == pytest.approx(want, abs=1e-5)


def test_ssim_needs_a_whole_window() -> None:
    with pytest.raises(ValueError, match="11 x 11"):
        stability.ssim(np.zeros((1, 10, 20)), np.zeros((1, 10, 20)))


def test_agreement_of_a_map_with_itself_its_opposite_and_another() -> None:
    ramp = np.arange(400.0).reshape(1, 20, 20) / 399
    same, opposite = stability.agreement(ramp, ramp), stability.agreement(ramp, 1 - ramp)
    assert (same.spearman[0], same.ssim[0], same.top_overlap[0]) == pytest.approx((1, 1, 1))
    assert (opposite.spearman[0], opposite.top_overlap[0]) == pytest.approx((-1, 0))
    assert opposite.ssim[0] < 0.5
    noise = np.random.default_rng(7).random((1, 60, 60, 2))
    unlike = stability.agreement(noise[..., 0], noise[..., 1])
    assert abs(unlike.spearman[0]) < 4 / 60
    assert unlike.top_overlap[0] == pytest.approx(1 / 9, abs=0.03)


def test_agreement_with_a_constant_or_a_broken_map() -> None:
    maps = np.random.default_rng(8).random((3, 12, 12))
    other = maps.copy()
    other[1] = 0.5
    other[2, 0, 0] = np.nan
    got = stability.agreement(maps, other)
    assert np.isnan(got.spearman).tolist() == [False, True, True]
    assert np.isnan(got.top_overlap).tolist() == [False, True, True]
    assert np.isnan(got.ssim).tolist() == [False, False, True]
    with pytest.raises(ValueError, match="expected the same"):
        stability.agreement(maps, other[:2])
