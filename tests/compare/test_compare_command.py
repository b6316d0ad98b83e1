"""``heatbeam compare`` as a schedule calls it: exit status, files, the first run."""

from __future__ import annotations

import json
import pathlib
from xml.etree import ElementTree

import pytest

from heatbeam import cli
from tests.support.audit_runs import Row, summary_row, write_run

GATE = "rules: [{metric: energy_pointing_game, lower: 0.1, change: {absolute: 0.05}}]"


def run_at(root: pathlib.Path, day: int, energy: float) -> str:
    return write_run(
        root / f"2026-01-{day:02d}",
        [Row(f"i{i}", energy_share=energy) for i in range(40)],
        [summary_row("energy_pointing_game", energy, energy - 0.05, energy + 0.05, n=40)],
        started=f"2026-01-{day:02d}",
    )


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    run_at(tmp_path / "audits", 1, 0.5)
    return tmp_path / "audits"


@pytest.fixture
def gate_file(tmp_path) -> str:
    (tmp_path / "gate.yaml").write_text(GATE)
    return str(tmp_path / "gate.yaml")


@pytest.mark.parametrize(("energy", "status"), [(0.5, 0), (0.46, 0), (0.4, 1)])
def test_the_newest_run_is_held_against_the_one_before(root, gate_file, tmp_path, capsys, energy, status):
    run_at(root, 8, energy)
    names = ("comparison.json", "page.html", "pairs.parquet", "verdict.json", "junit.xml")
    paths = [str(tmp_path / "out" / name) for name in names]
    options = ("--json", "--html", "--pairs", "--verdict", "--junit")
    files = [part for pair in zip(options, paths, strict=True) for part in pair]
    assert cli.main(["compare", "--newest", str(root), "--gate", gate_file, *files]) == status
    assert f"gate: {'FAIL' if status else 'pass'}" in capsys.readouterr().out
    assert all(pathlib.Path(path).exists() for path in paths)
    assert json.loads(pathlib.Path(paths[0]).read_text())["baseline"].endswith("2026-01-01")
    assert json.loads(pathlib.Path(paths[3]).read_text())["verdict"] == ("fail" if status else "pass")
    assert ElementTree.parse(paths[4]).getroot().get("failures") == str(status)
    kept = json.loads((root / "2026-01-08" / "decision.json").read_text())
    assert (kept["gate"], kept["failed"], kept["reasons_p"]) == (not status, status, None)
    assert (root / "2026-01-08" / kept["page"]).resolve() == pathlib.Path(paths[1]).resolve()


def test_a_decision_that_cannot_be_kept_is_a_warning_and_no_failure(root, gate_file, capsys):
    (pathlib.Path(run_at(root, 8, 0.5)) / "decision.json").mkdir()  # whatever is in the way
    assert cli.main(["compare", "--newest", str(root), "--gate", gate_file]) == 0
    output = capsys.readouterr()
    assert "gate: pass" in output.out
    assert output.err.count("warning: the decision could not be kept in ") == 1


def test_the_first_run_of_a_schedule_passes(root, gate_file, capsys):
    assert cli.main(["compare", "--newest", str(root), "--gate", gate_file]) == 0
    assert "nothing to compare it with yet" in capsys.readouterr().out


def test_without_a_gate_a_comparison_always_succeeds(root, capsys):
    assert cli.main(["compare", str(root / "2026-01-01"), run_at(root, 8, 0.1)]) == 0
    assert "gate:" not in capsys.readouterr().out
    assert not (root / "2026-01-08" / "decision.json").exists()  # no decision of a schedule


def test_a_single_run_keeps_bounds(root, tmp_path):
    (tmp_path / "gate.yaml").write_text("rules: [{metric: energy_pointing_game, lower: 0.6}]")
    assert cli.main(["compare", str(root / "2026-01-01"), "--gate", str(tmp_path / "gate.yaml")]) == 1


@pytest.mark.parametrize(
    ("gate", "arguments", "said"),
    [
        ("rules: [{metrik: x}]", ["--newest", "{root}"], "unknown key"),
        (GATE, ["{root}/2026-01-01"], "there is no baseline"),
        (GATE, ["--newest", "{root}/2026-01-01"], "no finished run"),
        (GATE, ["--newest", "{root}", "{root}/2026-01-01"], "not both"),
        (GATE, [], "give BASELINE and CANDIDATE"),
        (GATE, ["{root}/2026-01-01", "{root}/none"], "not a heatbeam run"),
    ],
)
def test_a_mistake_has_exit_status_2(root, tmp_path, capsys, gate, arguments, said):
    (tmp_path / "gate.yaml").write_text(gate)
    given = [argument.format(root=root) for argument in arguments]
    assert cli.main(["compare", *given, "--gate", str(tmp_path / "gate.yaml")]) == 2
    assert said in capsys.readouterr().err
