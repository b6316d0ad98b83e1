"""Compare and gate as a schedule calls them: exit status, files, the first run."""

from __future__ import annotations

import io
import json
import pathlib
from xml.etree import ElementTree

import pytest
from audit_runs import Row, summary_row, write_run

from pipeline import audit, config, run_directory

GATE = "rules: [{metric: energy_pointing_game, lower: 0.1, change: {absolute: 0.05}}]"
BOUNDS = "rules: [{metric: energy_pointing_game, lower: 0.1}]"


def run_at(root: pathlib.Path, day: int, energy: float) -> str:
    rows = [Row(f"i{i}", energy_share=energy) for i in range(40)]
    return write_run(
        root / f"2026-01-{day:02d}",
        rows,
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


@pytest.mark.parametrize("energy, status", [(0.5, 0), (0.46, 0), (0.4, 1)])
def test_the_newest_run_is_held_against_the_one_before(root, gate_file, tmp_path, energy, status):
    run_at(root, 8, energy)
    stream, output = io.StringIO(), tmp_path / "out"
    assert audit.compare_newest(str(root), gate_path=gate_file, output=str(output), stream=stream) == status
    assert f"gate: {'FAIL' if status else 'pass'}" in stream.getvalue()
    assert json.loads((output / "verdict.json").read_text())["verdict"] == ("fail" if status else "pass")
    assert ElementTree.parse(output / "junit.xml").getroot().get("failures") == str(status)
    assert json.loads((output / "comparison.json").read_text())["baseline"].endswith("2026-01-01")
    assert (output / "comparison.html").exists() and (output / "pairs.parquet").exists()


def test_the_first_run_of_a_schedule_passes(root, gate_file):
    stream = io.StringIO()
    assert audit.compare_newest(str(root), gate_path=gate_file, output=None, stream=stream) == 0
    assert "nothing to compare it with yet" in stream.getvalue()


def test_a_mistake_in_the_gate_does_not_wait_for_the_second_run(root, tmp_path):
    (tmp_path / "gate.yaml").write_text("rules: [{metrik: pxap}]")
    with pytest.raises(audit.ERRORS):
        audit.compare_newest(str(root), gate_path=str(tmp_path / "gate.yaml"), output=None, stream=io.StringIO())


def test_a_root_without_a_finished_run_is_an_error(tmp_path):
    with pytest.raises(run_directory.RunDirectoryError, match="no finished run"):
        audit.compare_newest(str(tmp_path), gate_path=None, output=None, stream=io.StringIO())


def test_a_single_run_keeps_bounds(root, gate_file, tmp_path):
    (tmp_path / "bounds.yaml").write_text(BOUNDS)
    run = str(root / "2026-01-01")
    assert audit.gate_run(run, str(tmp_path / "bounds.yaml"), output=None, stream=io.StringIO()) == 0
    with pytest.raises(config.ConfigError, match="no baseline"):
        audit.gate_run(run, gate_file, output=None, stream=io.StringIO())


def test_without_a_gate_a_comparison_always_succeeds(root):
    stream = io.StringIO()
    worse = run_at(root, 8, 0.1)
    assert audit.compare_runs(str(root / "2026-01-01"), worse, gate_path=None, output=None, stream=stream) == 0
    assert "gate:" not in stream.getvalue()
