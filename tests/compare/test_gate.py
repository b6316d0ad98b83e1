"""The gate: what passes, what fails, what cannot be told, and what is a mistake in the file."""

from __future__ import annotations

import dataclasses
import io
import json
import math
from xml.etree import ElementTree

import pytest

from heatbeam import config
from heatbeam.compare import compare, gate, gate_rules, verdict_files, verdicts
from heatbeam.transforms.metrics import paired
from tests.support import paths
from tests.support.audit_runs import Row, summary_row, write_run

KEY = ("cam", "all", "", "pxap")


def mean(value: float, lower: float = math.nan, upper: float = math.nan, n: int = 100) -> paired.Mean:
    return paired.Mean(value, n, lower, upper, "none" if math.isnan(lower) else "unpaired")


def difference(
    value: float, lower: float, upper: float, *, key=KEY, n=100, base=0.5, better="higher"
) -> compare.Difference:
    return compare.Difference(*key, base, base + value, value, lower, upper, n, "bootstrap", better)


@pytest.fixture(scope="module")
def comparison(tmp_path_factory) -> compare.Comparison:
    run = write_run(tmp_path_factory.mktemp("same") / "run", [Row("i1")])
    return compare.compare(run, run)


def bounds(rule: dict, numbers: dict, **settings) -> list[verdicts.Check]:
    return list(
        gate.evaluate_gate(gate_rules.Gate(rules=[{"metric": "pxap", **rule}], **settings), numbers, {}, None).checks
    )


def changes(comparison, rule: dict, *rows: compare.Difference, **settings) -> verdicts.Verdict:
    found = dataclasses.replace(comparison, differences=rows)
    numbers = {row[:4]: mean(row.candidate) for row in rows}
    return gate.evaluate_gate(gate_rules.Gate(rules=[{"metric": "pxap", **rule}], **settings), numbers, numbers, found)


@pytest.mark.parametrize(
    ("rule", "number", "outcome"),
    [
        ({"lower": 0.4}, mean(0.5, 0.4, 0.6), "pass"),  # inclusive
        ({"lower": 0.4}, mean(0.3, 0.2, 0.39), "fail"),
        ({"lower": 0.4}, mean(0.3, 0.2, 0.4), "inconclusive"),
        ({"lower": 0.4}, mean(0.5, 0.39, 0.6), "inconclusive"),
        ({"upper": 0.6}, mean(0.5, 0.4, 0.6), "pass"),
        ({"upper": 0.6}, mean(0.7, 0.61, 0.8), "fail"),
        ({"upper": 0.6}, mean(0.5, 0.4, 0.7), "inconclusive"),
        ({"lower": 0.4, "judge": "value"}, mean(0.4, 0.1, 0.7), "pass"),
        ({"lower": 0.4, "judge": "value"}, mean(0.39, 0.1, 0.7), "fail"),
        ({"lower": 0.4}, mean(0.4), "pass"),  # no interval: the value decides
        ({"lower": 0.4}, mean(0.39), "fail"),
        ({"lower": 0.4}, mean(0.1, 0.05, 0.2, n=29), "inconclusive"),
        ({"lower": 0.4, "min_n": 29}, mean(0.1, 0.05, 0.2, n=29), "fail"),
    ],
)
def test_bounds(rule, number, outcome):
    (check,) = bounds(rule, {KEY: number})
    assert (check.outcome, check.value, check.n) == (outcome, number.value, number.n)


def test_both_bounds_are_two_checks():
    assert [(c.kind, c.outcome) for c in bounds({"lower": 0.1, "upper": 0.3}, {KEY: mean(0.5, 0.4, 0.6)})] == [
        ("lower", "pass"), ("upper", "fail"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "row", "outcome"),
    [
        ({"absolute": 0.02}, difference(-0.01, -0.02, 0.0), "pass"),  # inclusive
        ({"absolute": 0.02}, difference(-0.05, -0.08, -0.03), "fail"),
        ({"absolute": 0.02}, difference(-0.05, -0.08, -0.02), "inconclusive"),  # within noise
        ({"absolute": 0.02}, difference(0.0, -0.30, 0.30), "inconclusive"),  # too small to tell
        ({"absolute": 0.02}, difference(0.30, 0.20, 0.40), "pass"),  # better
        ({"absolute": 0.0}, difference(0.0, 0.0, 0.0), "pass"),
        ({"absolute": 0.02}, difference(0.05, 0.03, 0.08, better="lower"), "fail"),
        ({"absolute": 0.02, "direction": "lower"}, difference(0.05, 0.03, 0.08), "fail"),
        ({"absolute": 0.02, "direction": "higher"}, difference(0.05, 0.03, 0.08, better="lower"), "pass"),
        ({"absolute": 0.02, "direction": "either"}, difference(0.05, 0.03, 0.08), "fail"),
        ({"absolute": 0.02, "direction": "either"}, difference(-0.05, -0.08, -0.03), "fail"),
        ({"absolute": 0.02, "direction": "either"}, difference(0.0, -0.02, 0.01), "pass"),
        ({"absolute": 0.02, "direction": "either"}, difference(0.0, -0.03, 0.01), "inconclusive"),
        ({"relative": 0.1}, difference(-0.05, -0.05, -0.04), "pass"),  # a tenth of 0.5 is 0.05
        ({"relative": 0.1}, difference(-0.08, -0.10, -0.06), "fail"),
        ({"relative": 0.1, "absolute": 0.02}, difference(-0.04, -0.05, -0.03), "fail"),  # both must hold
        ({"absolute": 0.02}, difference(-0.3, -0.4, -0.2, n=29), "inconclusive"),
        ({"absolute": 0.02}, difference(0.48 - 0.5, math.nan, math.nan), "pass"),  # 0.0200...02 is 0.02
        ({"absolute": 0.02}, difference(-0.03, math.nan, math.nan), "fail"),
    ],
)
def test_changes(comparison, change, row, outcome):
    verdict = changes(comparison, {"change": change}, row)
    (check,) = verdict.checks
    assert (check.kind, check.outcome, check.value) == ("change", outcome, row.difference)
    assert verdict.passed == (outcome != "fail")


@pytest.mark.parametrize(
    ("settings", "rule", "passed"),
    [({}, {}, True), ({"inconclusive": "fail"}, {}, False), ({"inconclusive": "fail"}, {"inconclusive": "warn"}, True),
     ({}, {"inconclusive": "fail"}, False)],
)  # fmt: skip
def test_what_cannot_be_told_warns_or_fails_as_set(comparison, settings, rule, passed):
    row = difference(0.0, -0.3, 0.3)
    verdict = changes(comparison, {"change": {"absolute": 0.02}, **rule}, row, **settings)
    assert verdict.passed is passed and verdict.count("inconclusive") == 1


def test_an_inconclusive_check_says_how_many_measurements_would_tell(comparison):
    (check,) = changes(comparison, {"change": {"absolute": 0.1}}, difference(0.0, -0.3, 0.3, n=100)).checks
    # The half width 0.3 must become 0.1: nine times as many.
    assert "within noise; about 900 measurements would tell" in check.message


CLASSES = {
    ("cam", "all", "", "pxap"): mean(0.9, 0.8, 1.0),
    ("cam", "class", "cat", "pxap"): mean(0.9, 0.8, 1.0),
    ("cam", "class", "dog", "pxap"): mean(0.1, 0.0, 0.2),
    ("grad_cam", "all", "", "pxap"): mean(0.1, 0.0, 0.2),
    ("baseline_centre", "all", "", "pxap"): mean(0.0, 0.0, 0.1),
    ("cam", "all", "", "other"): mean(0.0, 0.0, 0.1),
}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, {("cam", "all", ""): "pass", ("grad_cam", "all", ""): "fail"}),
        ({"method": "cam"}, {("cam", "all", ""): "pass"}),
        ({"method": "baseline_centre"}, {("baseline_centre", "all", ""): "fail"}),
        ({"method": "cam", "slice": "class"}, {("cam", "class", "cat"): "pass", ("cam", "class", "dog"): "fail"}),
        (
            {"method": "cam", "slice": ["all", "class=cat"]},
            {("cam", "all", ""): "pass", ("cam", "class", "cat"): "pass"},
        ),
        ({"method": "layer_cam"}, {("layer_cam", "all", ""): "fail"}),
        ({"method": "cam", "slice": "class=owl"}, {("cam", "class", "owl"): "fail"}),
        ({"method": "cam", "slice": "weather"}, {("cam", "weather", "*"): "fail"}),
        ({"metric": "unheard_of"}, {("*", "all", ""): "fail"}),
    ],
)
def test_which_numbers_a_rule_is_about(rule, expected):
    checks = bounds({"lower": 0.5, **rule}, CLASSES)
    assert {(c.method, c.slice_name, c.slice_value): c.outcome for c in checks} == expected


def test_a_random_method_is_gated_only_by_name(tmp_path):
    """Its label is what the configuration says, so the manifest tells which it is."""
    explain = {"methods": ["cam", {"method": "random_cam", "name": "noise", "wrapper": None}]}
    rows = [summary_row("pxap", 0.9, 0.8, 1.0), summary_row("pxap", 0.1, 0.0, 0.2, method="noise")]
    run = write_run(tmp_path / "a", [Row("i1"), Row("i1", method="noise")], rows, config={"explain": explain})
    rule = {"metric": "pxap", "lower": 0.5}

    def judged(**changes):
        rules = gate_rules.Gate(rules=[{**rule, **changes}])
        one_run = gate.judge(rules, run).checks
        compared = gate.judge(rules, run, compare.compare(run, run)).checks
        assert [c.outcome for c in one_run] == [c.outcome for c in compared]
        return [(c.method, c.outcome) for c in one_run]

    assert judged() == [("cam", "pass")]
    assert judged(method="noise") == [("noise", "fail")]
    assert judged(method=["*", "noise"]) == [("cam", "pass"), ("noise", "fail")]


def test_slices_of_the_comparison_are_known_too(comparison):
    rows = [difference(0, 0, 0, key=("cam", "class", name, "pxap")) for name in ("cat", "dog")]
    found = dataclasses.replace(comparison, differences=tuple(rows))
    rules = gate_rules.Gate(rules=[{"metric": "pxap", "slice": "class", "change": {"absolute": 0}}])
    assert [(c.slice_value, c.outcome) for c in gate.evaluate_gate(rules, {}, {}, found).checks] == [
        ("cat", "pass"),
        ("dog", "pass"),
    ]


def test_what_is_gone_from_the_candidate_fails():
    rules = gate_rules.Gate(rules=[{"metric": "pxap", "method": "cam", "slice": "class", "lower": 0.0}])
    candidate = {key: value for key, value in CLASSES.items() if key[2] != "dog"}
    checks = gate.evaluate_gate(rules, candidate, CLASSES, None).checks
    assert [(c.slice_value, c.kind, c.outcome) for c in checks] == [
        ("cat", "lower", "pass"),
        ("dog", "missing", "fail"),
    ]


def test_a_number_that_could_not_be_measured_fails():
    (check,) = bounds({"lower": 0.5}, {KEY: mean(math.nan, n=0)})
    assert (check.kind, check.outcome) == ("missing", "fail") and "nothing could be measured" in check.message


def test_runs_that_are_not_comparable_fail_a_change_and_not_a_bound(comparison):
    found = dataclasses.replace(comparison, incomparable=("conventions.protocol.frame_px is 224 ... 448",))
    rules = gate_rules.Gate(rules=[{"metric": "pxap", "lower": 0.1, "change": {"absolute": 0.5}}])
    checks = gate.evaluate_gate(rules, {KEY: mean(0.5, 0.4, 0.6)}, {}, found).checks
    assert [(c.kind, c.outcome) for c in checks] == [("lower", "pass"), ("missing", "fail")]
    assert "not comparable" in checks[1].message


@pytest.fixture
def runs(tmp_path) -> tuple[str, str]:
    rows = [Row(f"i{i}", energy_share=i / 40) for i in range(40)]
    worse = [Row(f"i{i}", energy_share=i / 80, map=((1, 2), (3, 4)) if i % 2 else ((4, 3), (2, 1))) for i in range(40)]
    return (
        write_run(tmp_path / "a", rows, [summary_row("energy_pointing_game", 0.49, 0.4, 0.58, n=40)]),
        write_run(tmp_path / "b", worse, [summary_row("energy_pointing_game", 0.24, 0.2, 0.29, n=40)]),
    )


GATE = """
rules:
  - metric: energy_pointing_game
    lower: 0.1
    change: {absolute: 0.02}
  - metric: map_flip
    upper: 0.9
  - metric: decision_flip
    upper: 0.0
  - metric: map_spearman
    lower: 0.5
"""


def test_two_runs_and_a_file(runs, tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text(GATE)
    verdict = gate.judge(gate_rules.load(path), runs[1], compare.compare(*runs))
    assert [(c.metric, c.kind, c.method, c.outcome) for c in verdict.checks] == [
        ("energy_pointing_game", "lower", "cam", "pass"),
        ("energy_pointing_game", "change", "cam", "fail"),
        ("map_flip", "upper", "cam", "pass"),
        ("decision_flip", "upper", "model", "pass"),
        ("map_spearman", "lower", "cam", "fail"),
    ]
    # The mean of i / 40 over 40 images is 19.5 / 40; half of it is lost.
    assert verdict.checks[1].value == pytest.approx(-19.5 / 80) and not verdict.passed


def test_one_run_alone_keeps_bounds_only(runs):
    rules = gate_rules.Gate(rules=[{"metric": "energy_pointing_game", "lower": 0.1}])
    assert gate.judge(rules, runs[1]).passed
    with pytest.raises(config.ConfigError, match=r"rules.0.change: there is no baseline"):
        gate.judge(gate_rules.Gate(rules=[{"metric": "pxap", "change": {"absolute": 0}}]), runs[1])


def test_a_metric_without_a_direction_needs_one(comparison):
    with pytest.raises(config.ConfigError, match="direction of entropy is better"):
        changes(comparison, {"metric": "entropy", "change": {"absolute": 0.1}})


def test_every_problem_of_a_file_is_told_at_once(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("""
min_n: -1
rules:
  - {metric: pxap, lowr: 0.5}
  - {metric: pxap, lower: 0.6, upper: 0.5}
  - {metric: pxap, change: {direction: up, absolute: -0.1}}
  - {lower: .nan}
""")
    with pytest.raises(config.ConfigError) as caught:
        gate_rules.load(path)
    said = "\n".join(caught.value.problems)
    for part in (
        "min_n: Input should be greater than or equal to 0", "rules.0.lowr: unknown key; did you mean lower?",
        "rules.1: lower is 0.6 and upper is 0.5", "rules.2.change.absolute: Input should be greater than or equal to 0",
        "rules.2.change.direction: Input should be", "rules.3.metric: is missing",
        "rules.3.lower: Input should be a finite",
    ):  # fmt: skip
        assert part in said, part


@pytest.mark.parametrize(
    ("text", "problem"),
    [("rules: []", "at least 1 item"), ("- a", "expected a mapping"), ("rules: [", "while parsing"),
     ("rules: [{metric: pxap}]", "give lower, upper or change"),
     ("rules: [{metric: x, change: {}}]", "give absolute, relative or both"),
     ("rules: [{metric: x, lower: 0, slice: []}]", "at least 1 item")],
)  # fmt: skip
def test_wrong_files(tmp_path, text, problem):
    path = tmp_path / "gate.yaml"
    path.write_text(text)
    with pytest.raises(config.ConfigError, match=problem):
        gate_rules.load(path)


def test_a_missing_file_is_a_configuration_error(tmp_path):
    with pytest.raises(config.ConfigError, match="No such file"):
        gate_rules.load(tmp_path / "none.yaml")


def test_the_example_file_is_valid():
    loaded = gate_rules.load(paths.ROOT / "configs" / "gate.yaml")
    assert loaded.inconclusive == "warn" and {"energy_pointing_game", "map_flip"} <= {
        rule.metric for rule in loaded.rules
    }


def verdict_of_three(comparison) -> verdicts.Verdict:
    rows = [
        difference(-0.3, -0.4, -0.2, key=("cam", "class", "a & <b>\x00", "pxap")), difference(0.1, 0.1, 0.1),
        difference(0, -1, 1, key=("cam", "class", "\U0001f408", "pxap")),
    ]  # fmt: skip
    return changes(comparison, {"slice": ["all", "class"], "change": {"absolute": 0.02}}, *rows)


def test_junit_holds_what_ci_systems_read(comparison, tmp_path):
    verdict_files.write_junit(verdict_of_three(comparison), tmp_path / "out" / "junit.xml")
    root = ElementTree.parse(tmp_path / "out" / "junit.xml").getroot()
    (suite,) = root
    assert (root.tag, suite.tag) == ("testsuites", "testsuite")
    for element in (root, suite):
        assert {name: element.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
            "tests": "3", "failures": "1", "errors": "0", "skipped": "1",
        }  # fmt: skip
    cases = [(c.get("classname"), c.get("name"), [child.tag for child in c]) for c in suite]
    assert cases == [
        ("cam.all", "pxap change (rule 1)", ["system-out"]),
        ("cam.class=a & <b>\ufffd", "pxap change (rule 1)", ["failure"]),
        ("cam.class=\U0001f408", "pxap change (rule 1)", ["skipped"]),
    ]
    assert "a change of -0.3 (-0.4 to -0.2)" in suite[1][0].get("message") and suite[1][0].get("type") == "fail"


def test_json_holds_every_check(comparison, tmp_path):
    verdict_files.write_json(verdict_of_three(comparison), tmp_path / "verdict.json")
    content = json.loads((tmp_path / "verdict.json").read_text())
    assert content["verdict"] == "fail" and content["counts"] == {"pass": 1, "fail": 1, "inconclusive": 1}
    assert [(c["outcome"], c["fails"], c["value"], c["limit"]) for c in content["checks"]] == [
        ("pass", False, 0.1, 0.02), ("fail", True, -0.3, 0.02), ("inconclusive", False, 0, 0.02),
    ]  # fmt: skip


def test_the_printed_verdict_says_what_failed(comparison):
    stream = io.StringIO()
    verdict_files.print_verdict(verdict_of_three(comparison), stream)
    lines = stream.getvalue().splitlines()
    assert lines[0].startswith("  FAIL  pxap of cam, class=a & <b>") and lines[1].startswith("  ?     pxap of cam")
    assert lines[2] == "gate: FAIL (1 passed, 1 failed, 1 inconclusive)"


def test_what_is_missing_for_one_reason_is_told_once():
    rules = gate_rules.Gate(
        rules=[{"metric": "pxap", "method": ["cam", "gone"], "slice": ["all", "class"], "lower": 0.5}]
    )
    verdict = gate.evaluate_gate(rules, {KEY: mean(0.1, 0.0, 0.2)}, CLASSES, None)
    assert verdict_files.grouped(verdict) == [
        ("fail", True, 1, "pxap of cam, all is 0.1 (0 to 0.2); at least 0.5"),
        ("fail", True, 1, ("pxap of cam, gone; class=cat, class=dog, all, class=*: there is no such number in the"
         " candidate (4 checks)")),
    ]  # fmt: skip
    stream = io.StringIO()
    verdict_files.print_verdict(verdict, stream)
    assert stream.getvalue().count("FAIL  ") == 2 and "5 failed" in stream.getvalue()


def test_a_mistake_in_the_only_rule_is_one_problem(tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text("rules:\n  - {metric: pxap, lowr: 1}\n")
    with pytest.raises(config.ConfigError) as caught:
        gate_rules.load(path)
    assert "1 problem\n" in str(caught.value) and "did you mean lower?" in str(caught.value)
    path.write_text("rules: []\n")
    with pytest.raises(config.ConfigError, match="rules: "):
        gate_rules.load(path)
