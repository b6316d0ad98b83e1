"""States add up: any split, any order, and the values by hand."""

from __future__ import annotations

import dataclasses
import math
import pickle

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from heatbeam.transforms.metrics import intervals, protocols, summary
from heatbeam.transforms.metrics.localization import localization

PROTOCOL = protocols.DEFAULT
SHAPE = (2, 3, 1000)


def _evidence(seed: int) -> localization.Evidence:
    """Something random of every kind, of one of three classes; some images lack boxes, some masks."""
    rng = np.random.default_rng(seed)
    values = {"entropy": float(rng.normal()), "pointing_hit": float(rng.integers(2)), "box_hit": float(rng.integers(2))}
    if seed % 3 == 0:
        del values["pointing_hit"]
    hits = np.arange(1000) < rng.integers(1000, size=(2, 3, 1)) if seed % 4 else None
    pixels = rng.integers(0, 9, size=(2, 1001)) if seed % 5 else None
    return localization.Evidence(int(rng.integers(3)), values, hits, pixels)


def _state(seeds: list[int], replicates: int) -> summary.MetricState:
    state = summary.MetricState(PROTOCOL, replicates)
    for seed in seeds:
        curve = {"insertion": np.linspace(0, seed, 5)} if seed % 2 else {}
        state.add(_evidence(seed), f"image-{seed}", curve)
    return state


def _points(state: summary.MetricState, every: int) -> list[tuple[str, float, float, int]]:
    return [(c.name, x, y, c.n) for c in state.curves(every) for x, y in zip(c.thresholds, c.values, strict=True)]


def _merged(*states: summary.MetricState) -> summary.MetricState:
    merged = summary.MetricState(PROTOCOL, states[0].replicates)
    for state in states:
        merged.absorb(state)
    return merged


def _same(first: summary.MetricState, second: summary.MetricState) -> None:
    for rows, others in ((first.summary_rows(), second.summary_rows()), (_points(first, 50), _points(second, 50))):
        assert [row[0] for row in rows] == [row[0] for row in others]
        numbers, more = (np.array([row[1:] for row in each], float) for each in (rows, others))
        assert np.allclose(numbers, more, rtol=1e-12, atol=1e-12, equal_nan=True)
    for name in ("_box_hits", "_pixels", "_pixel_replicates"):
        one, other = getattr(first, name), getattr(second, name)
        assert (one is None and other is None) or (one == other).all()


@hypothesis.settings(max_examples=40, deadline=None)
@hypothesis.given(st.data())
def test_any_split_and_order_of_merging_gives_the_same(data: st.DataObject) -> None:
    seeds = data.draw(st.lists(st.integers(0, 200), min_size=1, max_size=12))
    replicates = data.draw(st.sampled_from([0, 7]))
    whole = _state(seeds, replicates)
    shuffled = data.draw(st.permutations(seeds))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(seeds)), max_size=4)))
    parts = [shuffled[a:b] for a, b in zip([0, *cuts], [*cuts, len(seeds)], strict=True)]
    states = [pickle.loads(pickle.dumps(_state(part, replicates))) for part in parts]
    while len(states) > 1:
        first = states.pop(data.draw(st.integers(0, len(states) - 1)))
        states.append(_merged(states.pop(0), first))
    _same(whole, states[0])


def test_merge_leaves_its_inputs_alone() -> None:
    first, second = _state([1, 2, 3], 5), _state([4, 7, 300], 5)
    before = [pickle.dumps((one.summary_rows(), _points(one, 1))) for one in (first, second)]
    merged = _merged(first, second)
    merged.absorb(second)
    assert [pickle.dumps((one.summary_rows(), _points(one, 1))) for one in (first, second)] == before


def test_counts_outgrow_their_type_without_loss() -> None:
    state = summary.MetricState(PROTOCOL, 0)
    evidence = localization.Evidence(0, {}, np.ones(SHAPE, dtype=bool), np.full((2, 1001), 40))
    for _ in range(300):
        state.add(evidence, "one")
    doubled = _merged(state, state, state)
    assert state._box_hits is not None and state._box_hits.dtype == np.uint16
    for one, count in ((state, 300), (doubled, 900)):
        assert (one._box_hits == count).all() and (one._pixels == 40 * count).all()


def test_counts_grow_when_they_must_and_not_before() -> None:
    state = summary.MetricState(PROTOCOL, 0)
    for number in range(1, 258):
        state.add(localization.Evidence(0, {}, np.ones(SHAPE, dtype=bool)), str(number))
        assert state._box_hits is not None and (state._box_hits == number).all()
        assert state._box_hits.dtype == (np.uint8 if number < 256 else np.uint16)


@pytest.mark.parametrize("hit", [0.0, 1.0, math.nan, math.inf])
def test_a_heatmap_counts_in_several_states_as_it_does_in_one(hit: float) -> None:
    def evidence(seed: int) -> localization.Evidence:
        return dataclasses.replace(_evidence(seed), values={"area": -math.inf, "pointing_hit": hit, "entropy": seed})

    several = [summary.MetricState(PROTOCOL, replicates) for replicates in (7, 0, 5)]
    for seed in range(1, 9):
        one = evidence(seed)
        for state in several:
            state.add(one, f"image-{seed}")
    for state in several:
        alone = summary.MetricState(PROTOCOL, state.replicates)
        for seed in range(1, 9):
            alone.add(evidence(seed), f"image-{seed}")
        _same(state, alone)
        assert _rows(state).keys().isdisjoint({"area"} if math.isfinite(hit) else {"area", "pointing_game"})
        assert state.nbytes == alone.nbytes


def _rows(state: summary.MetricState, **options: dict[str, float]) -> dict[str, summary.SummaryRow]:
    return {row.metric: row for row in state.summary_rows(**options)}


def _hits(single: int, multi: int) -> np.ndarray:
    """Right below threshold number `single` (`multi`), at every limit."""
    return np.stack([np.broadcast_to(np.arange(1000) < stop, (3, 1000)) for stop in (single, multi)])


def test_box_accuracy_uses_one_threshold_for_all_images() -> None:
    state = summary.MetricState(PROTOCOL, 0)
    late = ~_hits(600, 600)
    for number, hits in enumerate([_hits(100, 200), _hits(50, 700), late]):
        state.add(localization.Evidence(0, {}, hits), str(number))
    rows = _rows(state)
    assert rows["max_box_acc"][1:] == (2 / 3, 3, *intervals.wilson(2, 3))  # not 3/3, an own threshold per image
    assert rows["max_box_acc_v2"].value == pytest.approx(2 / 3)
    assert rows["max_box_acc_v2"].lower == pytest.approx(intervals.wilson(2, 3)[0])
    assert rows["best_box_threshold_single_50"].value == 0 and rows["best_box_threshold_multi_50"].value == 0
    at_run = _rows(state, run_thresholds={"single_50": 0.06, "multi_50": 0.65})
    assert at_run["box_acc_at_run_threshold_single_50"].value == 1 / 3
    assert at_run["box_acc_at_run_threshold_multi_50"].value == 2 / 3
    curve = {(name, threshold): value for name, threshold, value, _ in _points(state, 50)}
    assert curve["box_acc_iou50", 0.05] == 1 / 3 and curve["box_acc_v2_iou70", 0.65] == 2 / 3


def test_proportions_means_and_missing_values() -> None:
    state = summary.MetricState(PROTOCOL, 0)
    for number, value in enumerate([1.0, 2.0, 6.0]):
        state.add(
            localization.Evidence(0, {"box_hit": float(number > 0), "entropy": value, "area": math.nan}), str(number)
        )
    rows = _rows(state)
    assert rows["gt_known_loc"][1:] == (2 / 3, 3, *intervals.wilson(2, 3))
    assert rows["entropy"][1:] == pytest.approx((3, 3, *intervals.student(9, 41, 3)))
    assert "area" not in rows and "max_box_acc" not in rows and "pxap" not in rows


def test_pointing_game_per_class_is_a_mean_over_classes_with_examples() -> None:
    state = summary.MetricState(PROTOCOL, 200)
    for number in range(40):
        class_id = 5 if number < 36 else 9
        state.add(localization.Evidence(class_id, {"pointing_hit": float(class_id == 5)}), str(number))
    state.add(localization.Evidence(11, {}), "no truth")
    rows = _rows(state)
    assert rows["pointing_game"][1:3] == (36 / 40, 40)
    assert rows["pointing_game_per_class"][1:3] == (1 / 2, 2)


def test_bootstrap_of_a_mean_is_as_wide_as_its_standard_error() -> None:
    state = summary.MetricState(PROTOCOL, 400)
    numbers = np.random.default_rng(0).normal(10, 3, size=500)
    for number, value in enumerate(numbers):
        state.add(localization.Evidence(0, {"entropy": float(value)}), f"i{number}")
    row = _rows(state)["entropy"]
    assert row.value == pytest.approx(numbers.mean())
    half = 1.96 * numbers.std() / math.sqrt(500)
    assert (row.value - row.lower, row.upper - row.value) == pytest.approx((half, half), rel=0.2)


def test_bootstrap_of_pxap_holds_its_value_and_shrinks_with_images() -> None:
    rng = np.random.default_rng(1)

    def width(images: int) -> float:
        state = summary.MetricState(PROTOCOL, 200)
        for number in range(images):
            objects = rng.integers(1, 200)
            right = np.bincount(rng.integers(300, 1001, size=objects), minlength=1001)
            wrong = np.bincount(rng.integers(0, 800, size=200), minlength=1001)
            state.add(localization.Evidence(0, {}, None, np.stack([right, wrong])), f"i{number}")
        row = _rows(state)["pxap"]
        assert row.lower < row.value < row.upper
        return row.upper - row.lower

    assert width(20) > 2 * width(500)


def test_bootstrap_of_the_best_overlap_is_that_of_the_images() -> None:
    """Of 70 images the object is found exactly, of 30 not at all: the pooled IoU is the share of images found."""
    state = summary.MetricState(PROTOCOL, 400)
    found, missed = np.zeros((2, 1001), np.int64), np.zeros((2, 1001), np.int64)
    found[0, 705] = missed[0, 5] = found[1, 5] = missed[1, 5] = 50
    for number in range(100):
        state.add(localization.Evidence(0, {}, None, missed if number % 10 < 3 else found), f"i{number}")
    rows = _rows(state)
    assert (rows["best_mask_iou"].value, rows["best_mask_f1"].value) == (0.7, 2 * 0.7 / (1 + 0.7))
    assert (
        rows["best_mask_f1_threshold"].value == rows["best_mask_iou_threshold"].value == 0.006
    )  # the lowest of equals
    half = 1.96 * math.sqrt(0.7 * 0.3 / 100)
    low, high = 0.7 - half, 0.7 + half
    assert rows["best_mask_iou"][3:] == pytest.approx((low, high), abs=0.2 * half)
    assert rows["best_mask_f1"][3:] == pytest.approx((2 * low / (1 + low), 2 * high / (1 + high)), abs=0.2 * half)


def test_bytes_are_those_of_the_arrays() -> None:
    state = summary.MetricState(PROTOCOL, 10)
    assert state.nbytes == 0
    state.add(localization.Evidence(0, {"entropy": 1.0}, np.ones(SHAPE, dtype=bool)), "one", {"deletion": np.zeros(9)})
    assert state.nbytes == 8 + 8 + 2 * 11 * 8 + 2 * 3 * 1000 + 9 * 8


def test_mean_curves_skip_missing_ones_and_refuse_another_length() -> None:
    state = summary.MetricState(PROTOCOL, 0)
    evidence = localization.Evidence(0, {})
    state.add(evidence, "a", {"deletion": np.array([1.0, 0.5, 0])})
    state.add(evidence, "b", {"deletion": np.array([0.5, 0.5, 0.5])})
    state.add(evidence, "c", {"deletion": np.array([0.5, np.nan, 0.5])})
    assert _points(state, 1) == [("deletion", 0, 0.75, 2), ("deletion", 0.5, 0.5, 2), ("deletion", 1, 0.25, 2)]
    with pytest.raises(ValueError, match="4 points here, 3 elsewhere"):
        state.add(evidence, "d", {"deletion": np.zeros(4)})


def test_states_of_different_settings_do_not_merge() -> None:
    with pytest.raises(ValueError, match="do not merge"):
        summary.MetricState(PROTOCOL, 0).absorb(summary.MetricState(PROTOCOL, 5))


def test_a_thousand_classes_fit_into_64_mib() -> None:
    """Boxes, masks, curves and thirty values of 300 images each: pickled, as it travels."""
    state = summary.MetricState(PROTOCOL, 0)
    names = {f"value_{i}": 1.0 for i in range(30)}
    evidence = localization.Evidence(0, names, np.ones(SHAPE, dtype=bool), np.full((2, 1001), 25))
    curves = {"insertion": np.zeros(225), "deletion": np.zeros(225)}
    for _ in range(300):
        state.add(evidence, "one", curves)
    assert 1000 * len(pickle.dumps(state)) < 64 * 2**20
