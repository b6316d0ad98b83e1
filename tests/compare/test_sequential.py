"""Audits that may stop early: whole ones, from the command, and what the decisions at a look say."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import pathlib

import numpy as np
import pytest
import yaml

from heatbeam import cli, config
from heatbeam.compare import gate_looks, gate_rules, sequential, verdicts
from heatbeam.job import parts, run
from heatbeam.runs import decisions, history, run_directory
from heatbeam.transforms import sampling
from heatbeam.transforms.metrics.alarms import looks, mean_tests
from heatbeam.transforms.metrics.alarms.samples import Sample
from tests.benchmarks.audit import early_stops
from tests.support import manifests, small_runs
from tests.support.audit_runs import Row, write_run

COUNT = 64
TENTH = looks.LOOKS[1]
LEVEL = 0.05 / 52


def of_values(values, allowed: float = 0.02, look: looks.Look = TENTH, **promise) -> verdicts.Check:
    """The check of one sample of candidate - baseline at a look."""
    gate = early_stops.rules(**{"rate": 0.05, "audits": 52, **promise})
    (check,), _, _ = gate_looks.decide(gate, early_stops.judged([Sample.of(values)], allowed), look)
    return check


def exact(mean: float, n: int = 2000, deviation: float = 0.2) -> np.ndarray:
    """n values of that mean and deviation, normal scores."""
    values = np.random.default_rng(0).normal(size=n)
    values = (values - values.mean()) / values.std(ddof=1)
    return mean + deviation * values


# Decisions at a look.


def test_a_check_fails_at_a_look_by_both_its_levels():
    error = 0.2 / math.sqrt(2000)
    # 10 errors beyond 0 and 2.1 beyond the limit of 7.9: 0.8 x 0.025 is one-sided 2.05 standard errors.
    assert of_values(exact(-10 * error), allowed=7.9 * error).outcome == "fail"
    assert of_values(exact(-10 * error), allowed=8.0 * error).outcome == "inconclusive"
    # 3.2 beyond 0 and beyond the limit: 0.4 x 0.05 / 52 is one-sided 3.36.
    assert of_values(exact(-3.2 * error), allowed=0.0).outcome == "inconclusive"
    check = of_values(exact(-3.5 * error), allowed=0.0)
    assert check.outcome == "fail" and check.p_value == pytest.approx(
        mean_tests.guarded_student(2000, 3.5, 44.72, 0), rel=0.3
    )


def test_a_check_passes_at_a_look_where_the_loss_is_surely_within():
    error = 0.2 / math.sqrt(2000)
    assert of_values(exact(0.0), allowed=2.1 * error).outcome == "pass"
    assert of_values(exact(0.0), allowed=2.0 * error).outcome == "inconclusive"
    # Of the last look a loss within the limit by 1.96 errors is not enough any more, 0.12 x 0.025 asks for 2.75.
    last = looks.LOOKS[-1]
    assert of_values(exact(0.0), allowed=2.7 * error, look=last).outcome == "inconclusive"
    assert of_values(exact(0.0), allowed=2.8 * error, look=last).outcome == "pass"


def test_when_everything_is_read_the_gate_decides_with_what_is_left():
    error = 0.2 / math.sqrt(2000)
    last = looks.LOOKS[-1]
    # Beyond the limit, not only beyond 0: 0.4 x 0.05 / 52 is one-sided 3.36 standard errors.
    assert of_values(exact(-13.3 * error), allowed=10 * error, look=last).outcome == "inconclusive"
    assert of_values(exact(-13.5 * error), allowed=10 * error, look=last).outcome == "fail"


def test_what_no_image_has_shown_yet_keeps_an_audit_reading():
    # 200 images of which none differs: a loss of 0.02 hides behind them in 0.98^200 = 0.0176 of the draws.
    assert of_values(np.zeros(200)).outcome == "pass"
    assert of_values(np.zeros(190)).outcome == "inconclusive"  # 0.0215
    # When everything is read nothing is unread.
    assert of_values(np.zeros(100), look=looks.LOOKS[-1]).outcome == "pass"


def test_one_failure_decides_and_all_must_pass():
    def decided(*outcomes):
        check = of_values(np.zeros(100))
        return gate_looks.is_decided([dataclasses.replace(check, outcome=o, fails=o == "fail") for o in outcomes])

    assert decided("fail", "inconclusive") and decided("pass", "pass") and not decided("pass", "inconclusive")


def test_dividing_the_level_among_the_looks_is_what_keeps_it():
    """Equal models at five looks: any failure in at most the level; without dividing it, beyond it."""
    gate = early_stops.rules(rate=0.05, audits=1)
    rng = np.random.default_rng(0)
    planned = looks.planned(400, 20)
    mutant = [one._replace(of_rate=1.0, of_interval=2.0) for one in planned]
    failed = np.zeros(2)
    draws = 800
    for _ in range(draws):
        values = rng.normal(0, 0.2, 400)
        for i, given in enumerate((planned, mutant)):
            for look in given:
                read = Sample.of(values[: round(look.share * 400)])
                if -read.mean * math.sqrt(read.n) < 1.5 * read.deviation:
                    continue  # p is above 0.05, and fails at no look
                if early_stops.decided(gate, [read], 0.0, look) == "fail":
                    failed[i] += 1
                    break
    assert failed[0] / draws <= 0.05
    assert failed[1] / draws > 0.08


def test_a_tenth_shows_an_effect_of_twelve_standard_errors_as_often_as_is_wanted():
    found = early_stops.power("normal", "beyond", 0.02, 1, 100, 1)["value"]
    assert found >= 0.9  # 0.967 +- 0.018; the bar of 0.95 is for the 10,000 cases of make bench-audit
    # By arithmetic: 12 sqrt(0.1), with what a tenth drawn from the whole leaves of its own noise.
    error = math.sqrt(0.9)
    needed = 12 * math.sqrt(0.1) - 1.6449 * error
    level = 0.5 * math.erfc(needed / math.sqrt(2))
    assert TENTH.of_interval * looks.LEVEL_OF_INTERVALS > level == pytest.approx(0.0128, abs=1e-4)
    assert early_stops.best_possible() == pytest.approx(0.767, abs=0.002)  # with nothing allowed, for any test


# What does not go.


def rules(*given, **gate) -> gate_rules.Gate:
    return gate_rules.Gate.model_validate({"rules": given, "false_alarms": {"rate": 0.05, "audits": 52}, **gate})


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"metric": "entropy", "slice": "class", "upper": 1}, "rules.0.slice: class; only rules over everything"),
        ({"metric": "entropy", "upper": 1, "judge": "value"}, "rules.0.judge: value; a value alone"),
        ({"metric": "max_box_acc_v2", "lower": 0.1}, "rules.0.metric: max_box_acc_v2 is no mean over images"),
        ({"metric": "root_mean_squared_error", "upper": 1}, "rules.0.metric: root_mean_squared_error is no mean"),
    ],
)
def test_rules_that_a_part_of_the_images_cannot_tell(whole, given, problem):
    with pytest.raises(config.ConfigError, match=r"--sequential: 1 problem\n  " + problem):
        sequential.Sequential(rules(given), whole.path)


def test_a_gate_must_make_a_promise(whole):
    with pytest.raises(config.ConfigError, match="false_alarms: missing; an audit that may stop early divides"):
        sequential.Sequential(rules({"metric": "entropy", "upper": 1}, false_alarms=None), whole.path)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        (["--sequential"], "run: --sequential needs --gate GATE.yaml and --baseline RUN"),
        (["--gate", "gate.yaml"], "run: --gate and --baseline go with --sequential; a run that explains everything"),
    ],
)
def test_options_that_do_not_go_together(data, tmp_path, capsys, options, problem):
    path = tmp_path / "audit.yaml"
    path.write_text(yaml.safe_dump(small_runs.settings(data, tmp_path / "run").as_dict()))
    assert cli.main(["run", str(path), *options]) == 2
    assert problem in capsys.readouterr().err


# Whole audits.


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> str:
    return small_runs.write(tmp_path_factory.mktemp("data"), [small_runs.record(i) for i in range(COUNT)], 2)


METHOD = (
    "explain.methods=[cam]",
    "explain.batch_size=1",
    "explain.compute=tensorflow",
    "evaluate.slices=[]",
    "evaluate.replicates=20",
)


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory) -> run_directory.RunDirectory:
    return small_runs.run_quietly(small_runs.settings(data, tmp_path_factory.mktemp("whole") / "run", *METHOD))


def command_of(data, baseline: str, folder: pathlib.Path, rule: dict, min_n: int = 3) -> list[str]:
    """What follows ``heatbeam run``."""
    (folder / "audit.yaml").write_text(yaml.safe_dump(small_runs.settings(data, folder / "run", *METHOD).as_dict()))
    gate = {"min_n": min_n, "false_alarms": {"rate": 0.05}, "rules": [rule]}
    (folder / "gate.yaml").write_text(yaml.safe_dump(gate))
    return [str(folder / "audit.yaml"), "--sequential", "--gate", str(folder / "gate.yaml"), "--baseline", baseline]


def test_an_audit_stops_when_the_verdict_is_certain_and_goes_on_to_the_tables_of_a_whole_one(
    data, whole, tmp_path, capsys
):
    # The same model: no map moves, so that a first tenth shows that no more than nine of ten flip.
    status = cli.main(["run", *command_of(data, whole.path, tmp_path, {"metric": "map_flip", "upper": 0.9})])
    said = capsys.readouterr()
    found = run_directory.RunDirectory(str(tmp_path / "run"))
    manifest = found.read_manifest()
    counts, share = manifest.counts, manifest.drawn.share
    part = sampling.Part(share, manifest.drawn.seed)
    explained = {f"image{i:04d}" for i in range(COUNT) if part.has(f"image{i:04d}")}
    assert status == 0 and share < 1
    assert set(found.open_table("explanations").to_table()["image_id"].to_pylist()) == explained
    assert (counts.records_read, counts.images_explained, counts.not_needed) == (
        COUNT, len(explained), COUNT - len(explained)
    )  # fmt: skip
    assert f"of the images ({len(explained)}): of 1 checks 1 within their limits, 0 beyond" in said.err
    assert "stopped: the verdict is certain" in said.err
    assert f"{counts.not_needed} not needed" in said.out and "gate: pass (1 passed" in said.out
    kept = decisions.read(found)
    assert kept.gate and kept.looks[-1] == decisions.Taken(share, len(explained), 1, 0, 0)
    assert decisions.words(kept) == f"gate passed on {share:.0%} of the images"
    assert history.history(str(tmp_path), ()).runs[0].decision == kept
    # It is no baseline of another, and a run that goes on from it is the whole one.
    rule_file = str(tmp_path / "gate.yaml")
    assert cli.main(["compare", whole.path, found.path, "--gate", rule_file]) in (0, 1)
    assert f"explained {share:.0%} of its images, drawn at random until a gate was certain" in capsys.readouterr().err
    with pytest.raises(config.ConfigError, match="go on with it first"):
        sequential.Sequential(rules({"metric": "entropy", "upper": 1}), found.path)
    gone_on = small_runs.run_quietly(small_runs.settings(data, tmp_path / "run", *METHOD, "output.resume=true"))
    assert gone_on.read_manifest().drawn is None and decisions.read(gone_on) is None
    assert gone_on.read_manifest().counts.images_reused == len(explained)
    small_runs.assert_same_rows(small_runs.rows(gone_on), small_runs.rows(whole))


# Runs that are written, not explained.

IMAGES = 400


def lost(number: int) -> float:
    """What an image of the candidate has less than in the baseline, 0.2 on average."""
    return 0.1 + 0.2 * (number * 7 % 11) / 10


class Written:
    """A stand-in for `parts.Growing`: writes the run of a share of the images at once."""

    start = 0.0

    def __init__(self, folder: pathlib.Path, loss, said) -> None:
        self._folder, self._loss, self._said = folder, loss, said
        self.shares: list[float] = []

    def explain(self, share: float) -> str:
        self.shares.append(share)
        part = sampling.Part(share, 0)
        rows = [Row(f"i{n}", energy_share=0.6 - self._loss(n)) for n in range(IMAGES) if part.has(f"i{n}")]
        counts = {"records_read": IMAGES, "images_explained": len(rows), "not_needed": IMAGES - len(rows)}
        path = write_run(self._folder / f"run{len(self.shares)}", rows, counts=counts)
        directory = run_directory.RunDirectory(path)
        self.result = run.Result(directory, directory.read_manifest())
        return path

    def tell(self, text: str) -> None:
        self._said(text)


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> str:
    counts = {"records_read": IMAGES, "images_explained": IMAGES}
    rows = [Row(f"i{n}", energy_share=0.6) for n in range(IMAGES)]
    return write_run(tmp_path_factory.mktemp("written") / "baseline", rows, counts=counts)


LOSS = {"metric": "energy_pointing_game", "change": {"absolute": 0.08}}


def test_an_audit_that_cannot_tell_yet_reads_on(written, tmp_path):
    said: list[str] = []
    growing = Written(tmp_path, lost, said.append)
    _, verdict = sequential.Sequential(rules(LOSS, min_n=10), written).audit(growing.explain, said.append)
    # 0.12 beyond. Images that gain 1, one in eight, would hide behind 20 others in about 0.88^20 = 0.08 of the draws,
    # which is more than 0.04 x 0.025, and behind 48 in 0.002, which is less than 0.8 x 0.025.
    assert growing.shares == [0.05, 0.1] and not verdict.passed
    assert [(one.share, one.failed, one.inconclusive) for one in verdict.looks] == [(0.05, 0, 1), (0.1, 1, 0)]
    assert said[0].endswith("of 1 checks 0 within their limits, 0 beyond, 1 not certain yet; reading on to 10%")
    assert said[1].endswith("1 beyond, 0 not certain yet; stopped: the verdict is certain")
    # One that was interrupted goes on where it was.
    growing = Written(tmp_path / "again", lost, said.append)
    sequential.Sequential(rules(LOSS, min_n=10), written).audit(growing.explain, said.append, start=0.1)
    assert growing.shares == [0.1]


def test_an_audit_of_few_images_reads_them_all(written, tmp_path):
    said: list[str] = []
    growing = Written(tmp_path, lost, said.append)
    close = LOSS | {"change": {"absolute": 0.2}}
    _, verdict = sequential.Sequential(rules(close, min_n=200), written).audit(growing.explain, said.append)
    assert growing.shares == [1.0] and verdict.passed
    (line,) = said
    assert line.startswith(
        "look at 100% of the images (400): of 1 checks 0 within their limits, 0 beyond, 1 inconclusive;"
    )


@pytest.mark.parametrize(
    ("rule", "shares", "passed"),
    [
        (LOSS, [0.05], False),
        ({"metric": "map_flip", "upper": 0.001}, [0.05, 0.1, 0.2, 0.4, 1.0], True),
    ],
    ids=["change", "bound"],
)
def test_runs_that_cannot_be_compared_end_an_audit_of_changes_and_not_one_of_bounds(
    written, tmp_path, monkeypatch, rule, shares, passed
):
    compared = sequential.compare.compare
    monkeypatch.setattr(
        sequential.compare,
        "compare",
        lambda *paths: dataclasses.replace(compared(*paths), incomparable=("other targets",)),
    )
    growing = Written(tmp_path, lost, str)
    _, verdict = sequential.Sequential(rules(rule, min_n=10), written).audit(growing.explain, growing.tell)
    assert (growing.shares, verdict.passed) == (shares, passed)


def test_other_images_say_nothing(written, tmp_path):
    other = write_run(tmp_path / "other", [Row(f"o{n}") for n in range(20)], counts={"images_explained": 20})
    with pytest.raises(
        config.ConfigError, match=r"is over other images \(0 are in both\); an audit stops early by pairs"
    ):
        sequential.Sequential(rules(LOSS), written).audit(lambda share: other, lambda text: None)


def test_the_command_says_what_was_found_and_fails(data, written, tmp_path, monkeypatch, capsys):
    growing = Written(tmp_path, lost, lambda text: None)
    monkeypatch.setattr(parts, "Growing", lambda *given: growing)
    status = cli.main(["run", *command_of(data, written, tmp_path, LOSS, min_n=10), "--json", "--no-report"])
    document = json.loads(capsys.readouterr().out)
    assert status == 1 and document["verdict"]["verdict"] == "fail"
    assert [(one["share"], one["failed"]) for one in document["verdict"]["looks"]] == [(0.05, 0), (0.1, 1)]
    assert document["counts"]["not_needed"] == IMAGES - document["counts"]["images_explained"] > 350
    assert decisions.read(growing.result.directory).looks == tuple(
        decisions.Taken(**one) for one in document["verdict"]["looks"]
    )


def test_a_run_that_grows_needs_a_place_of_its_own(data, tmp_path):
    settings = small_runs.settings(data, tmp_path / "run")
    with pytest.raises(config.ConfigError, match=r"output.directory: .* is the baseline; give another directory"):
        parts.Growing(settings, (), io.StringIO(), str(tmp_path / "run"))
    newest = {"output": {"root": str(tmp_path), "reuse": "newest"}}
    dated = config.RunConfig.model_validate({**settings.as_dict(), **newest})
    with pytest.raises(config.ConfigError, match=r"output.reuse: newest; give the path of a run"):
        parts.Growing(dated, (), io.StringIO(), str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("drawn", "start"), [({"share": 0.2, "seed": 0}, 0.2), ({"share": 0.2, "seed": 1}, 0.0), (None, 1.0)]
)
def test_an_interrupted_audit_goes_on_where_it_was(data, tmp_path, drawn, start):
    run_directory.RunDirectory(str(tmp_path / "run")).create(manifests.manifest(drawn=drawn), overwrite=False)
    settings = small_runs.settings(data, tmp_path / "run", "output.resume=true")
    assert parts.Growing(settings, (), io.StringIO(), "baseline").start == start


def test_decisions_of_before_there_were_looks_are_read(written):
    directory = run_directory.RunDirectory(written)
    old = {"format": "heatbeam-decision", "baseline": "runs/old", "gate": False, "failed": 2, "inconclusive": 0,
           "reasons_p": None, "reasons_share": None}  # fmt: skip
    directory.write_file(run_directory.DECISION, json.dumps(old).encode())
    kept = decisions.read(directory)
    assert kept == decisions.Decision("runs/old", False, 2) and decisions.words(kept) == "gate failed (2)"
