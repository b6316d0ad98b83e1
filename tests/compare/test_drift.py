"""Whether the model's reasons moved between runs over different images: runs of drawn maps, every change planted."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

from heatbeam.compare import compare, compare_files, gate, gate_rules, pairs
from heatbeam.compare.drift import moved, reasons, words
from heatbeam.runs import run_directory
from heatbeam.transforms import records
from heatbeam.transforms.metrics import two_sample
from tests.support import audit_runs
from tests.support.audit_runs import Row, summary_row, write_run

METHOD = "grad_cam"  # of the manifest that `write_run` writes


def maps_of(seed: int, count: int = 240, cue: float = 0.0) -> list[Row]:
    """Images of three classes in turn with energy in the middle; `cue` of the class dog light up at the top left."""
    generator = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        one = generator.gamma(1, 1, (7, 7))
        one[2:5, 2:5] += generator.gamma(4, 1, (3, 3))
        if i % 3 == 1 and generator.random() < cue:
            one[0, 0] += 40
        rows.append(
            Row(f"{seed}-{i}", map=one, class_id=i % 3, predicted=i % 3, labels=(i % 3,), method=METHOD,
                targets=("label", "predicted"))
        )  # fmt: skip
    return rows


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    root = tmp_path_factory.mktemp("runs")
    accuracy = [[summary_row("accuracy", value, value - 0.1, value + 0.1, method="model")] for value in (0.5, 0.75)]
    return {
        "baseline": write_run(root / "a", maps_of(1), accuracy[0]),
        "same": write_run(root / "b", maps_of(2), accuracy[1]),
        "cue": write_run(root / "c", maps_of(3, cue=0.4)),
        "few": write_run(root / "d", maps_of(4, count=30)),
    }


@pytest.fixture(scope="module")
def with_cue(runs):
    return compare.compare(runs["baseline"], runs["cue"])


def test_runs_over_the_same_images_are_compared_by_their_pairs_alone(runs):
    assert compare.compare(runs["baseline"], runs["baseline"]).drift is None


def test_metrics_of_different_images_are_those_of_independent_samples(runs):
    found = compare.compare(runs["baseline"], runs["same"])
    assert found.different_images
    (row,) = (row for row in found.differences if row.metric == "accuracy")
    # Both intervals reach 0.1 to either side: sqrt(0.1^2 + 0.1^2).
    half = math.sqrt(0.02)
    assert row.interval == "unpaired"
    assert (row.difference, row.lower, row.upper) == pytest.approx((0.25, 0.25 - half, 0.25 + half))


def test_a_few_shared_images_do_not_make_pairs_of_the_runs(tmp_path, runs):
    shared = [*maps_of(1)[:12], *maps_of(6)[12:]]
    loss = [summary_row("accuracy", 0.2, 0.15, 0.25, method="model")]
    candidate = write_run(tmp_path / "e", shared, loss)
    found = compare.compare(runs["baseline"], candidate)
    # 12 of 240 images are in both: less than a tenth.
    assert found.counts["images_in_both"] == 12 and found.different_images
    assert not [row for row in found.differences if row.interval in ("bootstrap", "student")]
    # Nor do they judge a change of all images: only measures of pairs have samples.
    assert found.samples and {key[3] for key in found.samples} <= set(compare.MEASURES)
    rule = {"metric": "accuracy", "method": "model", "change": {"absolute": 0.02, "direction": "higher"}}
    (check,) = gate.judge(gate_rules.Gate(rules=[rule], false_alarms={"rate": 0.05}), candidate, found).checks
    # 0.5 +- 0.1 to 0.2 +- 0.05.
    assert (check.test, check.outcome) == ("interval", "fail")
    assert check.p_value == pytest.approx(stats.norm.sf(0.28 / math.hypot(0.1, 0.05) * 1.959964))


def test_reasons_that_did_not_move_are_not_said_to(runs):
    found = compare.compare(runs["baseline"], runs["same"]).drift
    assert not found.moved and found.p_value > 0.05
    assert found.images == (240, 240) and (found.method, found.target) == (METHOD, "predicted")


def test_what_moved_is_named_class_place_and_images(with_cue):
    found = with_cue.drift
    assert found.moved and found.p_value <= 0.01
    assert [one.class_name for one in found.classes if one.p_value <= 0.05] == ["dog"]
    # The cell at the top left of seven: its centre is at 0.5 / 7.
    assert found.features[0][:2] == ("place", "x 0.07, y 0.07")
    assert found.features[0].candidate > 0.2 and found.features[0].baseline < 0.05
    assert {one.class_name for one in found.examples} == {"dog"}
    baseline, unlike = found.places
    assert baseline.sum() == pytest.approx(1) and unlike.sum() == pytest.approx(1)
    assert np.unravel_index(unlike.argmax(), unlike.shape) == (0, 0)


def test_the_images_shown_carry_the_cue(with_cue):
    lit = {row.image_id for row in maps_of(3, cue=0.4) if np.asarray(row.map)[0, 0] > 30}
    assert {one.image_id for one in with_cue.drift.examples} <= lit


def test_it_is_told_in_words_and_in_json(with_cue):
    stream = io.StringIO()
    compare_files.print_comparison(with_cue, stream)
    text = stream.getvalue()
    assert "The model's reasons moved, of dog (p = " in text
    assert "energy at x 0.07, y 0.07: " in text
    assert "images whose first choice differs" not in text  # of no pairs that would say nothing
    told = compare_files.as_dict(with_cue)["drift"]
    json.dumps(told, allow_nan=False)
    assert told["moved"] and told["classes"][0]["class_name"] == "dog"
    assert told["examples"][0]["image_id"] == with_cue.drift.examples[0].image_id


def test_the_images_are_shown_on_the_page(tmp_path, with_cue):
    compare_files.write_html(with_cue, tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert "The model&#39;s reasons moved, of dog" in page
    assert with_cue.drift.examples[0].image_id in page


def test_too_few_images_are_not_tested_but_said(runs):
    found = compare.compare(runs["baseline"], runs["few"]).drift
    assert not found.moved
    assert found.why_not == f"a run has 30 maps of {METHOD} for predicted; a test needs 50"
    assert words.document(found) == {"tested": False, "why_not": found.why_not}


def test_runs_that_share_no_class_are_not_tested_but_said(tmp_path, runs):
    others = [dataclasses.replace(row, class_id=3, predicted=3) for row in maps_of(9, count=60)]
    named = write_run(tmp_path / "f", others, class_names=("cat", "dog", "owl", "emu"))
    found = compare.compare(runs["baseline"], named).drift
    assert found.why_not == "no class was explained for predicted in both runs, and reasons are compared class by class"


def test_an_image_of_several_classes_counts_once_and_no_blank_map_makes_a_sample(tmp_path):
    several = [dataclasses.replace(row, class_id=c, record=i) for i, row in enumerate(maps_of(12, 20)) for c in (0, 1)]
    blank = Row("blank", map=np.zeros((7, 7)), method=METHOD, record=20)
    table = run_directory.RunDirectory(write_run(tmp_path / "g", [*several, blank])).open_table("explanations")
    found = reasons.read(table, METHOD, "label", [], channels=False)
    assert found.image_ids == [row.image_id for row in maps_of(12, 20)] and not found.sampled
    assert set(found.class_ids.tolist()) == {0, 1} and len(found.places) == 20


def test_a_feature_that_one_side_lacks_is_not_told():
    values = np.array([[1.0, np.nan], [2, np.nan], [5, 3], [6, 4]])
    sides = np.array([True, True, False, False]), np.array([2, 3])
    found = moved._differing(["statistic"] * 2, ["a", "b"], values, np.zeros(4, np.int64), *sides)
    assert [(one.name, one.baseline, one.candidate) for one in found] == [("a", 1.5, 5.5)]


def test_what_the_baseline_has_no_images_of_is_not_shown_as_moved():
    second, strata = np.arange(40) >= 20, np.where(np.arange(40) < 30, 0, 1)
    whole = two_sample.Shift(0.01, 0.9, 0.1, np.arange(40.0), (20, 20))
    unlike = moved._unlike(two_sample.Shifts(0.01, whole, {}), second, strata)
    # The rows from 30 on have the largest scores, and are of a class of the candidate alone.
    assert unlike.tolist() == list(range(29, 19, -1))


def test_channels_that_newly_carry_the_score_are_named(tmp_path, monkeypatch):
    plain = audit_runs.localization

    def with_evidence(row: Row):
        generator = np.random.default_rng(int(row.image_id.split("-")[1]))
        values = np.array([[4.0, 2.0, 1.0]], np.float32) + generator.normal(0, 0.2, (1, 3)).astype(np.float32)
        odd = row.image_id.startswith("8") and generator.random() < 0.2
        channels = np.array([[5, 9, 77 if odd else 2]], np.int32)
        one = plain(row)
        evidence = records.ChannelEvidence(channels, values, values.sum(1), np.abs(values).sum(1))
        object.__setattr__(one.explanation, "evidence", evidence)
        return one

    monkeypatch.setattr(audit_runs, "localization", with_evidence)
    baseline, candidate = (write_run(tmp_path / str(seed), maps_of(seed)) for seed in (7, 8))
    found = compare.compare(baseline, candidate).drift
    assert found.moved and found.channels == 4
    top = {one.name: one for one in found.features if one.kind == "channel"}
    # 1 of 7 units of evidence came from channel 2, and in the odd images comes from channel 77.
    assert top["77"].baseline == 0 and top["77"].candidate == pytest.approx(1 / 7, abs=0.03)
    assert top["2"].baseline == pytest.approx(1 / 7, abs=0.03) and top["2"].candidate == 0


def test_a_class_that_the_candidate_does_not_name_is_none_of_the_baselines():
    found = pairs.of_baseline(np.array([0, 2, 5, -1]), np.array([3, 1, 0]))
    assert found.tolist() == [3, 0, -1, -1]


def test_the_strongest_channels_are_chosen_over_both_runs_together():
    first = np.array([[0.5, -0.25, 0, 0], [np.nan] * 4], np.float32)
    second = np.array([[0, 0, 0, 0, 0.125]], np.float32)
    assert moved.strongest_channels([first, second]).tolist() == [0, 1, 4]


def test_a_fixed_sample_of_many_images_is_tested(monkeypatch, runs):
    monkeypatch.setattr(reasons, "MAX_IMAGES", 100)
    found = [compare.compare(runs["baseline"], runs["same"]).drift for _ in range(2)]
    assert found[0].sampled and found[0].images == (100, 100)
    assert found[0].p_value == found[1].p_value


@pytest.mark.parametrize("shape", [(64,), (5,), (7, 7), (32, 16), (14, 14, 14), (1, 7, 7)])
def test_places_are_a_coarse_grid_of_any_rank(shape):
    grid = reasons.grid_of(shape)
    assert len(grid) == len(shape) and all(side <= whole for side, whole in zip(grid, shape, strict=True))
    assert np.prod(grid) <= 64
    assert moved.MIN_IMAGES > 2 * 20  # a class of either run alone could not be the whole test
