"""Faithfulness: by arithmetic on models made of sums, and against Xplique and pytorch-grad-cam."""

from __future__ import annotations

import functools

import numpy as np
import pytest

from heatbeam.transforms.metrics import faithfulness, road
from tests.support import paths

GOLDEN = paths.GOLDEN / "methods_public"
MODELS = ("tiny_gap", "tiny_flat")
TOLERANCE = 1e-5


def left_and_right(inputs: np.ndarray) -> np.ndarray:
    """Score of class 0 is the mean of the left half, that of class 1 the mean of the right half."""
    half = inputs.shape[2] // 2
    return np.stack([inputs[:, :, :half].mean(axis=(1, 2, 3)), inputs[:, :, half:].mean(axis=(1, 2, 3))], axis=1)


def ones(count: int = 1, size: int = 4, channels: int = 3) -> np.ndarray:
    return np.ones((count, size, size, channels), np.float32)


def descending(count: int = 1, size: int = 4) -> np.ndarray:
    """Columns from left to right, strongest first; all pixels differ."""
    order = np.arange(size * size, 0, -1).reshape(size, size).T / (size * size)
    return np.repeat(order[None], count, axis=0)


# Drop, increase, gain


@pytest.mark.parametrize(
    ("before", "after", "drop", "increase", "gain"),
    [
        pytest.param(0.8, 0.2, 0.6 / 0.8, 0, 0, id="drops"),
        pytest.param(0.4, 0.7, 0, 1, 0.3 / 0.6, id="gains"),
        pytest.param(0.5, 0.5, 0, 0, 0, id="equal"),
        pytest.param(0.0, 0.5, 0, 1, 0.5, id="from_zero"),
        pytest.param(0.0, 0.0, 0, 0, 0, id="stays_zero"),
        pytest.param(1.0, 1.0, 0, 0, 0, id="saturated"),
        pytest.param(1.0, 0.25, 0.75, 0, 0, id="from_one"),
        pytest.param(1.0 + 2**-23, 1.0, 2**-23 / (1 + 2**-23), 0, 0, id="softmax_rounded_up"),
        pytest.param(0.5, np.nan, np.nan, np.nan, np.nan, id="nan_after"),
        pytest.param(np.nan, 0.5, np.nan, np.nan, np.nan, id="nan_before"),
        pytest.param(-2.0, -3.0, np.nan, 0, np.nan, id="negative_logit"),
        pytest.param(4.0, 3.0, 0.25, 0, np.nan, id="positive_logit"),
    ],
)
def test_confidence(before: float, after: float, drop: float, increase: float, gain: float) -> None:
    y, o = np.array([before]), np.array([after])
    assert faithfulness.confidence_drop(y, o) == pytest.approx([drop], nan_ok=True)
    assert faithfulness.confidence_increase(y, o) == pytest.approx([increase], nan_ok=True)
    assert faithfulness.confidence_gain(y, o) == pytest.approx([gain], nan_ok=True)


@pytest.mark.parametrize(("baseline", "left"), [(0.0, 0.25 * 3), (1.0, 1 + 0.25 * 2)])
def test_masked_scores_mix_input_and_baseline(baseline: float, left: float) -> None:
    heatmap = np.zeros((1, 4, 4))
    heatmap[:, :, :2] = 0.25
    before, after = faithfulness.masked_scores(
        left_and_right, 3 * ones(), heatmap, np.array([0]), baseline=baseline, batch_size=8
    )
    assert (before[0], after[0]) == (3, left)


def test_masked_scores_are_of_the_class_of_each_image() -> None:
    heatmaps = np.zeros((2, 4, 4))
    heatmaps[:, :, 2:] = 1
    _, after = faithfulness.masked_scores(left_and_right, ones(2), heatmaps, np.array([0, 1]), baseline=0, batch_size=1)
    assert after.tolist() == [0, 1]


# Deletion and insertion


def test_deletion_of_the_strongest_columns_first() -> None:
    """Two columns make the left half: score 1, 1/2, 0, 0, 0."""
    curve = faithfulness.deletion(
        left_and_right, ones(), descending(), np.array([0]), steps=4, baseline=0.0, batch_size=3
    )
    assert curve.scores.tolist() == [[1, 0.5, 0, 0, 0]]
    assert curve.auc.tolist() == [(0.75 + 0.25 + 0 + 0) / 4]


def test_insertion_is_the_other_way_round() -> None:
    curve = faithfulness.insertion(
        left_and_right, ones(2), descending(2), np.array([0, 1]), steps=4, baseline=0.5, batch_size=3
    )
    assert curve.scores.tolist() == [[0.5, 0.75, 1, 1, 1], [0.5, 0.5, 0.5, 0.75, 1]]
    assert curve.auc.tolist() == [(0.625 + 0.875 + 1 + 1) / 4, (0.5 + 0.5 + 0.625 + 0.875) / 4]


def test_steps_that_do_not_divide_the_pixels_use_the_true_shares() -> None:
    """16 pixels in 3 steps: 5, 11 and 16 are gone, of which 5, 8 and 8 are in the left half."""
    curve = faithfulness.deletion(
        left_and_right, ones(), descending(), np.array([0]), steps=3, baseline=0.0, batch_size=9
    )
    assert curve.scores[0] == pytest.approx([1, 3 / 8, 0, 0])
    assert curve.auc[0] == pytest.approx((1 + 3 / 8) / 2 * 5 / 16 + (3 / 8) / 2 * 6 / 16)


def test_equal_pixels_go_in_reading_order() -> None:
    """A constant map deletes row by row, so both halves fall alike."""
    for class_id in (0, 1):
        curve = faithfulness.deletion(
            left_and_right, ones(), np.full((1, 4, 4), 0.5), np.array([class_id]), steps=4, baseline=0.0, batch_size=9
        )
        assert curve.scores.tolist() == [[1, 0.75, 0.5, 0.25, 0]]


def test_a_map_with_a_nan_has_no_curve_and_spoils_no_other() -> None:
    heatmaps = descending(2)
    heatmaps[0, 1, 1] = np.nan
    curve = faithfulness.deletion(
        left_and_right, ones(2), heatmaps, np.array([0, 0]), steps=4, baseline=0.0, batch_size=4
    )
    assert np.isnan(curve.scores[0]).all() and np.isnan(curve.auc[0])
    assert curve.auc[1] == 0.25


def test_mean_baseline_is_the_colour_of_the_image() -> None:
    inputs = np.zeros((1, 2, 2, 2), np.float32)
    inputs[0, 0, :, 0] = 4
    inputs[0, 0, 0, 1] = 4
    assert faithfulness.reference(inputs, "mean").tolist() == [[[[2, 1]] * 2] * 2]


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_blur_baseline_is_the_kernel_of_rise(channels: int) -> None:
    """A kernel of sum 1 keeps a plain image inside, and loses at the corner what it reaches of the zeros outside."""
    plain = faithfulness.reference(2 * ones(1, 24, channels), "blur")
    assert plain.shape == (1, 24, 24, channels) and plain.dtype == np.float32
    assert plain[0, 12, 12] == pytest.approx(2, abs=1e-6)
    # Gaussian of sigma 5 over all integers, folded at -5.5 and 5.5: the weight of each of 11 places.
    places = np.arange(-300, 301)
    weights = np.exp(-(places**2) / 50) * (np.abs(places) <= 20)
    folded = np.zeros(11)
    for place, weight in zip(places, weights / weights.sum(), strict=True):
        there = (place + 5) % 22
        folded[there if there < 11 else 21 - there] += weight
    assert plain[0, 0, 0] == pytest.approx(2 * folded[5:].sum() ** 2, abs=1e-6)
    dot = np.zeros((1, 24, 24, channels), np.float32)
    dot[0, 12, 12] = 1
    assert faithfulness.reference(dot, "blur")[0, 12 + 3, 12 - 5, 0] == pytest.approx(folded[8] * folded[0], abs=1e-7)


def test_unknown_baseline_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected a number, 'mean' or 'blur'"):
        faithfulness.reference(ones(), "noise")  # type: ignore[arg-type]


# ADCC and complexity


def test_adcc_by_hand() -> None:
    """The map is (1, 1, 0, 0) in each row, the second map (0, 1, 0, 1): uncorrelated, so coherency 1/2."""
    heatmap = np.tile(np.array([1.0, 1, 0, 0]), (1, 4, 1))
    again = np.tile(np.array([0.0, 1, 0, 1]), (1, 4, 1))
    seen = []

    def explain(inputs: np.ndarray, class_ids: np.ndarray) -> np.ndarray:
        seen.append((inputs, class_ids))
        return again

    got = faithfulness.adcc(
        explain, ones(), heatmap, np.array([1]), np.array([0.8]), np.array([0.6]), baseline=0.0, batch_size=4
    )
    assert (got.coherency[0], got.complexity[0]) == (0.5, 0.5)
    assert got.drop[0] == pytest.approx(0.25)
    assert got.adcc[0] == pytest.approx(3 / (1 / 0.5 + 1 / 0.5 + 1 / 0.75))
    assert seen[0][1].tolist() == [1]
    assert seen[0][0][0, 0, :, 0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize(
    ("again", "after", "coherency", "adcc"),
    [
        pytest.param([1.0, 1, 0, 0], 0.8, 1, 3 / (1 + 1 / 0.5 + 1), id="same_map"),
        pytest.param([0.0, 0, 1, 1], 0.8, 0, 0, id="opposite_map"),
        pytest.param([0.3, 0.3, 0.3, 0.3], 0.8, 0, 0, id="constant_map"),
        pytest.param([1.0, 1, 0, 0], 0.0, 1, 0, id="whole_drop"),
        pytest.param([1.0, np.nan, 0, 0], 0.8, np.nan, np.nan, id="nan_map"),
    ],
)
def test_adcc_extremes(again: list[float], after: float, coherency: float, adcc: float) -> None:
    heatmap = np.tile(np.array([1.0, 1, 0, 0]), (1, 4, 1))
    got = faithfulness.adcc(
        lambda inputs, _: np.tile(np.array(again), (len(inputs), 4, 1)),
        ones(), heatmap, np.array([0]), np.array([0.8]), np.array([after]), baseline=0.0, batch_size=4,
    )  # fmt: skip
    assert got.coherency == pytest.approx([coherency], nan_ok=True)
    assert got.adcc == pytest.approx([adcc], nan_ok=True)


def test_entropy_and_gini_by_hand() -> None:
    maps = np.array([[[0.25, 0.75], [0, 0]], [[0.5, 0.5], [0.5, 0.5]], [[0, 0], [0, 1]], [[0, 0], [0, 0]]])
    entropy = faithfulness.complexity_entropy(maps, epsilon=0.0)
    assert entropy[:3] == pytest.approx([-(0.25 * np.log(0.25) + 0.75 * np.log(0.75)), np.log(4), 0])
    gini = faithfulness.sparseness_gini(maps)
    # Ascending 0, 0, 1/4, 3/4: 2 (3/4 + 3) / 4 - 5/4.
    assert gini[:3] == pytest.approx([2 * 3.75 / 4 - 5 / 4, 0, 1 - 1 / 4])
    assert np.isnan(entropy[3]) and np.isnan(gini[3])


# ROAD


def _road(
    inputs: np.ndarray, heatmaps: np.ndarray, ids: list[int], percentiles: tuple[float, ...] = (50,)
) -> road.Road:
    return road.road(
        left_and_right, inputs, heatmaps, np.array(ids), percentiles=percentiles, noise=0, seeds=ids, batch_size=2
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


# Contracts


def everything(inputs: np.ndarray, heatmaps: np.ndarray, ids: np.ndarray, seeds: list[int], batch_size: int) -> list:
    given = (left_and_right, inputs, heatmaps, ids)
    size = {"batch_size": batch_size}
    before, after = faithfulness.masked_scores(*given, baseline=0.1, **size)
    deletions = [faithfulness.deletion(*given, steps=7, baseline=b, **size) for b in (0.0, "mean", "blur")]
    inserted = faithfulness.insertion(*given, steps=7, baseline="blur", **size)
    parts = faithfulness.adcc(
        lambda x, _: np.abs(x).mean(axis=-1) / 9, inputs, heatmaps, ids, before, after, baseline=0.1, **size
    )
    roads = road.road(*given, percentiles=[30, 60], noise=0.1, seeds=seeds, **size)
    complexity = [faithfulness.complexity_entropy(heatmaps, epsilon=0), faithfulness.sparseness_gini(heatmaps)]
    curves = [array for curve in (*deletions, inserted) for array in curve]
    return [before, after, *curves, *parts, *roads, *complexity]


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

    faithfulness.deletion(predict, ones(3), descending(3), np.zeros(3, int), steps=4, baseline=0.0, batch_size=4)
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
        pytest.param(ones(), descending(), np.array([2]), 1, "more than 2 classes", id="class_out_of_range"),
    ],
)
def test_arguments_that_do_not_fit(
    inputs: np.ndarray, heatmaps: np.ndarray, class_ids: np.ndarray, batch_size: int, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        faithfulness.masked_scores(left_and_right, inputs, heatmaps, class_ids, baseline=0.0, batch_size=batch_size)


@pytest.mark.parametrize("steps", [0, 17])
def test_steps_are_between_one_and_the_pixels(steps: int) -> None:
    with pytest.raises(ValueError, match="steps over 16 pixels"):
        faithfulness.deletion(
            left_and_right, ones(), descending(), np.array([0]), steps=steps, baseline=0.0, batch_size=1
        )


# Against Xplique and pytorch-grad-cam


@functools.cache
def golden() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "methods_public.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if "faithfulness" in name or name == "images_u8/64x64"}


@functools.cache
def predictor(name: str, output: str) -> faithfulness.Predict:
    import keras
    import tensorflow as tf

    model = keras.models.load_model(GOLDEN / f"{name}.keras")
    activate = tf.nn.softmax if output == "softmax" else tf.identity
    return lambda inputs: activate(model(inputs, training=False)).numpy()


def images() -> np.ndarray:
    return golden()["images_u8/64x64"].astype(np.float32) / np.float32(127.5) - np.float32(1)


def case(model: str, which: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    maps = golden()[f"{model}/faithfulness/maps_u16"][which].astype(np.float32) / np.float32(32768)
    return images(), maps, golden()[f"{model}/faithfulness/target"]


both_models = pytest.mark.parametrize("model", MODELS)
both_outputs = pytest.mark.parametrize("output", ["softmax", "logit"])
both_maps = pytest.mark.parametrize("which", [0, 1])


@both_models
@both_outputs
@both_maps
def test_confidence_golden(model: str, output: str, which: int) -> None:
    ref, prefix = golden(), f"{model}/faithfulness"
    before, after = faithfulness.masked_scores(
        predictor(model, output), *case(model, which), baseline=0.0, batch_size=3
    )
    positive = before > 0  # Xplique divides by negative logits too
    assert positive.all() if output == "softmax" else positive.any()
    drop = faithfulness.confidence_drop(before, after)
    want = ref[f"{prefix}/xplique/average_drop/{output}"][which]
    assert drop[positive] == pytest.approx(want[positive], abs=TOLERANCE)
    assert np.isnan(drop[~positive]).all()
    increase = faithfulness.confidence_increase(before, after)
    assert increase.tolist() == ref[f"{prefix}/xplique/average_increase/{output}"][which].tolist()
    assert increase.mean() == pytest.approx(ref[f"{prefix}/xplique/average_increase_mean/{output}"][which])
    assert increase.tolist() == ref[f"{prefix}/pgc/increase_in_confidence/{output}"][which].tolist()
    if output == "softmax":
        gain = faithfulness.confidence_gain(before, after)
        assert gain == pytest.approx(ref[f"{prefix}/xplique/average_gain/softmax"][which], abs=TOLERANCE)
        assert drop.mean() == pytest.approx(ref[f"{prefix}/xplique/average_drop_mean/softmax"][which], abs=TOLERANCE)
        assert gain.mean() == pytest.approx(ref[f"{prefix}/xplique/average_gain_mean/softmax"][which], abs=TOLERANCE)
    assert np.maximum(before - after, 0) == pytest.approx(
        ref[f"{prefix}/pgc/drop_in_confidence/{output}"][which], abs=TOLERANCE
    )
    assert after - before == pytest.approx(ref[f"{prefix}/pgc/confidence_change/{output}"][which], abs=TOLERANCE)


@both_models
@both_outputs
@both_maps
@pytest.mark.parametrize("metric", ["deletion", "insertion"])
def test_curves_golden(model: str, output: str, which: int, metric: str) -> None:
    ref, prefix = golden(), f"{model}/faithfulness/xplique/{metric}"
    measure = getattr(faithfulness, metric)
    curve = measure(predictor(model, output), *case(model, which), steps=16, baseline=0.0, batch_size=32)
    assert curve.scores == pytest.approx(ref[f"{prefix}_curve/{output}"][which], abs=TOLERANCE)
    assert curve.auc == pytest.approx(ref[f"{prefix}_auc/{output}"][which], abs=TOLERANCE)


@both_models
@both_maps
def test_complexity_golden(model: str, which: int) -> None:
    ref, prefix = golden(), f"{model}/faithfulness"
    _, heatmaps, _ = case(model, which)
    entropy = faithfulness.complexity_entropy(heatmaps, epsilon=1e-8)
    assert entropy == pytest.approx(ref[f"{prefix}/xplique/complexity_entropy"][which], abs=TOLERANCE)
    gini = faithfulness.sparseness_gini(heatmaps)
    assert gini == pytest.approx(ref[f"{prefix}/xplique/sparseness_gini"][which], abs=TOLERANCE)
    mean = faithfulness.adcc(
        lambda x, _: heatmaps, images(), heatmaps, np.zeros(4, int), np.ones(4), np.ones(4), baseline=0.0, batch_size=4
    ).complexity
    assert mean == pytest.approx(ref[f"{prefix}/pgc/complexity_l1"][which], abs=TOLERANCE)


@both_models
@both_outputs
@both_maps
def test_road_golden(model: str, output: str, which: int) -> None:
    ref, prefix = golden(), f"{model}/faithfulness/pgc/road"
    got = road.road(
        predictor(model, output), *case(model, which), percentiles=[20, 50, 80], noise=0, seeds=[0] * 4, batch_size=32
    )
    for place, percentile in enumerate((20, 50, 80)):
        for order, change in (("morf", got.morf), ("lerf", got.lerf)):
            want = ref[f"{prefix}_{order}_noise0_p{percentile}/{output}"][which]
            assert change[:, place] == pytest.approx(want, abs=TOLERANCE)
