"""The groups of figures as ``python -m tests.benchmarks`` runs them."""

from __future__ import annotations

import json
import math
import pathlib

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import figures, groups, peers, results, settings
from tests.benchmarks.families import summary

PAIRS = [(1.0, 2.0), (3.0, 3.0), (2.0, 8.0)]
PLACE = results.Place("A, 2 cores", "abc", {"tensorflow": "2.21.0"})
VGG16 = {
    "job_images_per_s": 12.34,
    "job_way": "openvino",
    "loop_images_per_s": 3.0,
    "loop_way": "1 thread",
    "Xplique_left_out": "2 in memory",
    "explain_ms": 150.0,
    "decode_ms": 2.5,
}
MADE = {
    "one_pass": [figures.cost("good", PAIRS, figures.Goal(high=1.0), "x")],
    "peers": [figures.cost("bad", PAIRS, figures.Goal(low=1.0), "y")],
    "VGG16": [figures.Figure(summary.name_of("VGG16"), 4.0, (3.9, 4.1), figures.Goal(low=1.0), "z", VGG16)],
    "Xception": [figures.single(summary.name_of("Xception"), 1.0, figures.Goal(low=1.0), "z")],
}


@pytest.fixture
def bench_json(tmp_path, monkeypatch) -> str:
    """A file that is not there yet; everything measured is `MADE`."""
    monkeypatch.setattr(groups, "_in_a_process", lambda name, options: MADE.get(options.part or name))
    monkeypatch.setattr(results.Place, "here", lambda: PLACE)
    return str(tmp_path / "deep" / "bench.json")


def test_tables_of_a_file_that_is_not_there_are_refused(bench_json, tmp_path, capsys) -> None:
    with pytest.raises(SystemExit):
        command.main(["--markdown", str(tmp_path / "page.md"), "--json", bench_json])
    assert f"{bench_json} is not there: measure first" in capsys.readouterr().err


def test_figures_are_written_and_judged_unless_quick(bench_json, capsys) -> None:
    assert command.main(["--only", "one_pass", "--json", bench_json]) == 0
    assert [one.name for one in results.read_any(bench_json).all()] == ["good"]
    assert command.main(["--only", "one_pass", "--only", "peers", "--json", bench_json]) == 1
    assert "1 miss their goal: bad" in capsys.readouterr().out
    assert command.main(["--only", "peers", "--quick", "--json", bench_json]) == 0
    assert command.main(["--only", "scaling", "--quick", "--json", bench_json]) == 1  # could not be measured


def test_families_are_measured_alone_and_kept_until_the_commit_is_another(bench_json, capsys, monkeypatch) -> None:
    assert command.main(["--family", "VGG16", "--json", bench_json]) == 0
    assert command.main(["--family", "Xception", "--json", bench_json]) == 0
    kept = results.read_any(bench_json)
    assert list(kept.groups) == ["families"] and list(kept.groups["families"]) == ["VGG16", "Xception"]
    assert [one.ratio for one in kept.figures("families")[2:]] == [pytest.approx(2**0.5), 1.5, 1.0]  # at most 2 of 4
    assert json.loads(pathlib.Path(bench_json).read_text())["together"][0]["ratio"] == pytest.approx(2**0.5)
    capsys.readouterr()
    assert command.main(["--family", "VGG16", "--resume", "--json", bench_json]) == 0
    said = capsys.readouterr().out
    assert "geometric mean" in said and "families:" not in said
    monkeypatch.setattr(results.Place, "here", lambda: results.Place("A, 2 cores", "def", {}))
    assert command.main(["--only", "one_pass", "--json", bench_json]) == 0
    assert list(results.read_any(bench_json).groups) == ["one_pass"]


def test_one_command_writes_the_tables_of_a_page(bench_json, tmp_path) -> None:
    command.main(["--family", "VGG16", "--only", "families", "--only", "one_pass", "--json", bench_json])
    page = tmp_path / "README.md"
    page.write_text(f"before\n{results.BEGIN}\nold\n{results.END}\nafter\n")
    assert command.main(["--markdown", str(page), "--json", bench_json]) == 0
    lines = page.read_text().splitlines()
    assert lines[0] == "before" and lines[-1] == "after" and "old" not in lines
    assert f"Of A, 2 cores, commit abc, {results.read_any(bench_json).date}; tensorflow 2.21.0." in lines
    assert "| VGG16 | 12.3 (openvino) | 3 (1 thread) | 2 in memory | 4.00 | 3.90 to 4.10 | >= 1 |" in lines
    assert "| **geometric mean**, each at most 2 |  |  |  | **2.00** |  |  |" in lines
    assert "| VGG16 | 150.00 | 0.00 | 2.50 | 0.00 | 0.00 | 0.00 | 0.00 | 0.00 |" in lines
    assert "| good | 0.5 | 0.25 to 1.00 | <= 1 | x |" in lines
    lost = {**VGG16, "job_images_per_s": None, "decode_ms": None}  # every round was disturbed
    found = figures.Figure(summary.name_of("VGG16"), math.nan, (math.nan, math.nan), None, "z", lost)
    text = results.markdown(results.Results(PLACE, "2026-01-31", {"families": {"VGG16": [found]}}))
    assert "| VGG16 |  (openvino) | 3 (1 thread) | 2 in memory | nan | nan to nan |  |" in text.splitlines()
    page.write_text("no marks")
    with pytest.raises(ValueError, match="must have the lines"):
        command.main(["--markdown", str(page), "--json", bench_json])


def test_the_readme_has_the_lines_between_which_the_tables_stand() -> None:
    page = pathlib.Path(groups.__file__).with_name("README.md").read_text(encoding="utf-8")
    assert page.index(results.BEGIN) < page.index(results.END)


def test_a_group_that_is_none_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "speed"])
    assert "'families', 'whole_passes'" in capsys.readouterr().err


def test_a_group_leaves_its_figures_and_says_what_is_missing(tmp_path, monkeypatch, capsys) -> None:
    asked = []
    made = figures.single("counted", 2.0, None, "how")
    monkeypatch.setattr(peers, "measure", lambda options: asked.append(options) or [made])
    monkeypatch.setattr(peers, "missing", lambda: ["no peer"])
    groups.main("peers", str(tmp_path / "figures.json"), json.dumps({"quick": True}))
    assert asked == [settings.Options(quick=True, trace=None)]
    assert figures.read_json(str(tmp_path / "figures.json")) == [made] and capsys.readouterr().out == "no peer\n"
