"""A gate that promises how seldom it fails: tests, corrections, what it could have seen, and three years of audits."""

from __future__ import annotations

import dataclasses
import io
import json
import math

import numpy as np
import pytest
from scipy import stats

from heatbeam import config
from heatbeam.compare import compare, compare_files, gate, gate_rules, gate_tests, verdict_files, verdicts
from heatbeam.compare.drift import moved
from heatbeam.transforms.metrics import intervals, paired
from heatbeam.transforms.metrics.alarms import mean_tests, power
from heatbeam.transforms.metrics.alarms.samples import Sample
from tests.support.audit_runs import Row, summary_row, write_run

YEAR = {"rate": 0.05, "audits": 52}
LEVEL = 0.05 / 52


@pytest.fixture(scope="module")
def nothing(tmp_path_factory) -> compare.Comparison:
    run = write_run(tmp_path_factory.mktemp("same") / "run", [Row("i1")])
    return compare.compare(run, run)


def of_classes(nothing: compare.Comparison, changes: dict[str, np.ndarray], metric="pxap") -> compare.Comparison:
    """A comparison whose classes changed so, image by image."""
    rows, samples = [], {}
    for name, values in changes.items():
        key = ("cam", "class", name, metric)
        one = Sample.of(values)
        lower, upper = intervals.student(one.total, one.squares, one.n)
        rows.append(compare.Difference(*key, 0.5, 0.5 + one.mean, one.mean, lower, upper, one.n, "student", "higher"))
        samples[key] = one
    return dataclasses.replace(nothing, differences=tuple(rows), samples=samples)


def judged(comparison, rule=None, numbers=None, **promise) -> verdicts.Verdict:
    rule = {"metric": "pxap", "slice": "class", "change": {"absolute": 0.02}, **(rule or {})}
    rules = gate_rules.Gate(rules=[rule], false_alarms={**YEAR, **promise})
    return gate.evaluate_gate(rules, numbers or {}, {}, comparison)


def noise(classes: int, seed: int = 0, n: int = 50, shift: float = 0.0) -> dict[str, np.ndarray]:
    drawn = np.random.default_rng(seed).normal(shift, 0.2, (classes, n))
    return {f"c{i}": row for i, row in enumerate(drawn)}


def test_noise_that_fails_classes_one_by_one_fails_none_together(nothing):
    found = of_classes(nothing, noise(1000))
    alone = gate.evaluate_gate(
        gate_rules.Gate(rules=[{"metric": "pxap", "slice": "class", "change": {"absolute": 0.02}}]), {}, {}, found
    )
    together = judged(found)
    assert not alone.passed and together.passed and alone.count("fail") > 0 == together.count("fail")
    assert {one.test for one in together.checks} == {"sign_flip"}
    # What its own interval keeps still passes; what its own interval breaks says why it is no alarm.
    assert together.count("pass") == alone.count("pass")
    assert "noise goes as far among 1,000 checks" in next(
        b.message for a, b in zip(alone.checks, together.checks, strict=True) if a.outcome == "fail"
    )


def test_a_real_loss_is_found_and_told_first(nothing):
    changes = noise(100) | {"lost": np.random.default_rng(1).normal(-0.3, 0.2, 50)}
    verdict = judged(of_classes(nothing, changes))
    (failed,) = [one for one in verdict.checks if one.fails]
    assert (failed.slice_value, failed.adjusted) == ("lost", pytest.approx(101 * failed.p_value))
    stream = io.StringIO()
    verdict_files.print_verdict(verdict, stream)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("  FAIL  pxap of cam, class=lost goes from") and f"{failed.p_value:.2g}" in lines[0]
    # Eight of a rule are shown; then what it could have seen; then the verdict and the promise.
    assert sum(line.startswith("  ?") for line in lines) == 8 and "more checks of rule 1" in lines[9]
    assert lines[-3].startswith("  rule 1  pxap: a loss of ") and "images each in half of them" in lines[-3]
    assert lines[-2].startswith("gate: FAIL (") and lines[-1] == (
        "promise: of 52 audits of equal models any fails in at most 0.05 of the years (Holm over 101 checks at 0.00096)"
    )


def test_the_p_value_is_that_of_the_test(nothing):
    values = np.random.default_rng(2).normal(-0.1, 0.2, 50)
    found = of_classes(nothing, {"a": values})
    (check,) = judged(found).checks
    expected = mean_tests.paired([Sample.of(values)], -1, 0.02)[0]
    assert check.p_value == expected == check.adjusted
    (both,) = judged(found, {"change": {"absolute": 0.02, "direction": "either"}}).checks
    assert both.p_value == pytest.approx(2 * expected)


def test_benjamini_hochberg_finds_more_where_much_is_worse(nothing):
    found = of_classes(nothing, noise(100, 3) | {f"l{i}": v for i, v in enumerate(noise(40, 4, shift=-0.13).values())})
    holm, hochberg = judged(found), judged(found, correct="benjamini_hochberg")
    assert holm.count("fail") < hochberg.count("fail")
    assert all(b.fails for a, b in zip(holm.checks, hochberg.checks, strict=True) if a.fails)


def test_what_could_have_been_seen_is_a_number(nothing):
    values = noise(20, 5)
    verdict = judged(of_classes(nothing, values), {"see": 0.2})
    level = LEVEL / 20
    first = verdict.checks[0]
    deviation = values["c0"].std(ddof=1)
    assert first.smallest_loss == pytest.approx(power.smallest_loss(0.02, deviation, 50, level), rel=1e-5)
    assert first.images == power.images_for(0.2, 0.02, Sample.of(values["c0"]).deviation, level)
    (reach,) = verdict.reach
    losses = sorted(one.smallest_loss for one in verdict.checks)
    assert (reach.tested, reach.loss_in_half, reach.loss_in_all) == (20, losses[9], losses[-1])
    assert reach.see == 0.2 and reach.images_in_all == max(one.images for one in verdict.checks)
    # Without a name the loss is twice what is allowed.
    assert judged(of_classes(nothing, values)).reach[0].see == pytest.approx(0.04)
    content = json.loads(json.dumps(verdicts.as_dict(verdict), allow_nan=False))
    assert content["false_alarms"]["level"] == pytest.approx(LEVEL)
    assert content["rules"][0]["loss_in_all"] == losses[-1]
    assert content["checks"][0]["test"] == "sign_flip"


def test_the_page_and_the_json_of_a_comparison_hold_what_could_have_been_seen(nothing, tmp_path):
    found = of_classes(nothing, noise(30, 5) | {"<lost>": np.random.default_rng(1).normal(-0.3, 0.2, 50)})
    verdict = judged(found, {"see": 0.2})
    compare_files.write_json(found, tmp_path / "c.json", verdict)
    assert json.loads((tmp_path / "c.json").read_text())["gate"]["rules"][0]["tested"] == 31
    compare_files.write_html(found, tmp_path / "c.html", verdict)
    page = (tmp_path / "c.html").read_text()
    gate_part = page[page.index("Gate: ") :]
    # What failed, what cannot be told, at most a few of it, what it would have taken, the promise: in this order.
    more = f"and {verdict.count('inconclusive') - 8} more"
    order = [
        "class=&lt;lost&gt;",
        ">inconclusive<",
        more,
        "What each rule",
        "a loss of 0.2 takes",
        "Promised: of 52 audits",
    ]
    places = [gate_part.find(one) for one in order]
    assert min(places) >= 0, list(zip(order, places, strict=True))
    places[4] = gate_part.find(order[4], places[3])
    assert places == sorted(places)


def test_too_few_images_say_that_nothing_could_be_seen(nothing):
    found = of_classes(nothing, noise(1000, n=15))
    verdict = judged(found, {"min_n": 5})
    assert verdict.reach[0].loss_in_all == math.inf and "no loss could have been seen" in verdict.reach[0].sentence()
    assert verdicts.as_dict(verdict)["rules"][0]["loss_in_all"] is None


def test_a_number_without_an_interval_is_no_alarm_unless_the_rule_says_value(nothing):
    key = ("cam", "all", "", "pxap")
    numbers = {key: paired.Mean(0.1, 100, math.nan, math.nan, "none")}
    rule = {"slice": "all", "change": None, "lower": 0.5}
    (check,) = judged(nothing, rule, numbers).checks
    assert (check.outcome, check.fails) == ("inconclusive", False) and "judge: value" in check.message
    verdict = judged(nothing, rule | {"judge": "value"}, numbers)
    assert not verdict.passed and "of which nothing is promised" in verdict.promise.sentence()


def test_what_is_missing_fails_whatever_is_promised(nothing):
    assert judged(nothing).checks[0].kind == "missing" and not judged(nothing).passed


def test_a_rule_about_pairs_says_that_different_images_have_none(nothing):
    apart = dataclasses.replace(nothing, agreements=(), samples={}, drift=moved.Drift("too few"))
    verdict = judged(apart, {"metric": "map_flip", "slice": "all", "change": None, "upper": 0.2})
    (check,) = verdict.checks
    assert (check.kind, check.outcome) == ("missing", "inconclusive") and verdict.passed
    assert check.message.endswith("the runs are over different images, so there are no pairs to tell it by")


def test_a_change_of_a_class_over_different_images_has_the_tail_of_student(nothing):
    row = compare.Difference("cam", "class", "c0", "pxap", 0.5, 0.3, -0.2, -0.3, -0.1, 30, "unpaired", "higher")
    check = judged(dataclasses.replace(nothing, differences=(row,))).checks[0]
    point = stats.t.ppf(0.975, 29)
    assert check.p_value == pytest.approx(stats.t.sf(0.18 / 0.1 * point, 29))


def test_bounds_of_proportions_are_binomial_and_of_means_from_their_interval():
    share = paired.Mean(0.3, 50, *intervals.wilson(15, 50), "unpaired")
    lower = gate_tests.Question(share, (-1.0,), 0.5, False, None)
    assert (lower.test, lower.p_value()) == ("binomial", pytest.approx(stats.binom.cdf(15, 50, 0.5)))
    values = np.random.default_rng(6).normal(0.3, 0.1, 40)
    mean = paired.Mean(values.mean(), 40, *intervals.student(values.sum(), (values**2).sum(), 40), "unpaired")
    of_class = gate_tests.Question(mean, (-1.0,), 0.32, False, None, student=True)
    expected = stats.ttest_1samp(values, 0.32, alternative="less").pvalue
    assert (of_class.test, of_class.p_value()) == ("interval", pytest.approx(expected))
    assert of_class.deviation() == pytest.approx(values.std(ddof=1))
    # A change of what is no mean over images: the normal tail of its interval on the side of the limit.
    change = gate_tests.Question(paired.Mean(-0.2, 50, -0.26, -0.1, "unpaired"), (-1.0,), 0.05, True, None)
    assert change.p_value() == pytest.approx(stats.norm.sf(0.15 / 0.1 * 1.959964))


def test_hits_that_hardly_differ_still_need_as_many_images_as_coins():
    still = gate_tests.Question(paired.Mean(0.0, 50, 0, 0, "bootstrap"), (-1.0,), 0.02, True, Sample.of(np.zeros(50)))
    assert still.smallest_loss(1e-6) == pytest.approx(0.02 + math.log2(1e6) / 50)
    assert still.images_for(0.12, 1e-6) == math.ceil(math.log2(1e6) / 0.1)


@pytest.mark.parametrize(("differences", "hits"), [([0] * 600, True), ([1, -1, 1] + [0] * 600, True),
                                                   ([0.5, -0.25] * 300, False)])  # fmt: skip
def test_hits_are_known_by_their_sums_where_there_are_too_many_to_be_kept(differences, hits):
    of_many = Sample.of(differences)
    assert of_many.values is None and mean_tests.is_change_of_hits(of_many) == hits
    mean = paired.Mean(of_many.mean, of_many.n, -0.1, 0.1, "bootstrap")
    seen = gate_tests.Question(mean, (-1.0,), 0.01, True, of_many).smallest_loss(2.0**-16)
    # At least 16 of the images must be lost, however few differ.
    assert seen >= 0.01 + 16 / of_many.n or not hits


@pytest.mark.parametrize(
    "strict", [{"inconclusive": "fail"}, {"rules": [{"metric": "a", "lower": 0, "inconclusive": "fail"}]}]
)
def test_a_promise_and_failing_on_noise_exclude_each_other(tmp_path, strict):
    path = tmp_path / "gate.yaml"
    path.write_text(json.dumps({"rules": [{"metric": "a", "lower": 0}], "false_alarms": YEAR, **strict}))
    with pytest.raises(config.ConfigError, match="false_alarms cannot be kept where inconclusive is fail"):
        gate_rules.load(path)


@pytest.mark.parametrize(
    ("promise", "problem"),
    [({}, "rate: is missing"), ({"rate": 0}, "rate"), ({"rate": 0.05, "audits": 0}, "audits"),
     ({"rate": 0.05, "correct": "bonferroni"}, "correct")],
)  # fmt: skip
def test_wrong_promises(tmp_path, promise, problem):
    path = tmp_path / "gate.yaml"
    path.write_text(json.dumps({"rules": [{"metric": "a", "lower": 0}], "false_alarms": promise}))
    with pytest.raises(config.ConfigError, match=f"false_alarms.{problem}"):
        gate_rules.load(path)


IMAGES = 60
AUDITS = 52


def year_of(folder, seed: int, lost: float = 0.0) -> list[verdicts.Verdict]:
    """A year of weekly audits of a model that draws its shares of energy anew each time; a loss in the last."""
    generator = np.random.default_rng(seed)
    names = [f"i{i:02d}" for i in range(IMAGES)]
    rules = gate_rules.Gate(
        false_alarms={"rate": 0.05, "audits": AUDITS},
        rules=[
            {"metric": "energy_pointing_game", "slice": ["all", "class"], "change": {"absolute": 0.0}},
            {"metric": "energy_pointing_game", "lower": 0.2}, {"metric": "gt_known_loc", "change": {"absolute": 0}},
        ],
    )  # fmt: skip
    verdict, before = [], ""
    for audit in range(AUDITS + 1):
        shares = generator.beta(1, 3, IMAGES) * (1 - lost * (audit == AUDITS))
        rows = [
            Row(name, class_id=i % 2, predicted=i % 2, labels=(i % 2,), energy_share=share, box_hit=float(share > 0.2))
            for i, (name, share) in enumerate(zip(names, shares.tolist(), strict=True))
        ]
        ends = intervals.student(shares.sum(), (shares**2).sum(), IMAGES)
        summary = [summary_row("energy_pointing_game", shares.mean(), *ends, n=IMAGES)]
        run = write_run(folder / f"{seed}-{audit}", rows, summary)
        if before:
            verdict.append(gate.judge(rules, run, compare.compare(before, run)))
        before = run
    return verdict


def test_three_years_of_equal_models_and_a_loss_at_the_end(tmp_path):
    years = [year_of(tmp_path, seed) for seed in (11, 12)]
    assert all(verdict.passed for year in years for verdict in year)
    tests = {check.test for year in years for verdict in year for check in verdict.checks}
    assert tests == {"sign_flip", "interval"}
    *quiet, last = year_of(tmp_path, 13, lost=0.9)
    assert all(verdict.passed for verdict in quiet) and not last.passed
    assert last.checks[0].outcome == "fail" and last.checks[0].slice_name == "all"
