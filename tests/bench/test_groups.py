"""The groups of figures as ``python -m tests.benchmarks`` runs them."""

from __future__ import annotations

import json
import pathlib

import pytest

from tests.benchmarks import __main__ as command
from tests.benchmarks import figures, groups, peers, settings

PAIRS = [(1.0, 2.0), (3.0, 3.0), (2.0, 8.0)]


def test_figures_are_written_and_judged_unless_quick(tmp_path, monkeypatch, capsys) -> None:
    made = {
        "one_pass": [figures.cost("good", PAIRS, figures.Goal(high=1.0), "x")],
        "peers": [figures.cost("bad", PAIRS, figures.Goal(low=1.0), "y")],
    }
    monkeypatch.setattr(groups, "_in_a_process", lambda name, _: made.get(name))
    path = str(tmp_path / "deep" / "bench.json")
    assert command.main(["--only", "one_pass", "--json", path]) == 0
    assert [f["name"] for f in json.loads(pathlib.Path(path).read_text())] == ["good"]
    assert command.main(["--only", "one_pass", "--only", "peers", "--json", path]) == 1
    assert "1 miss their goal: bad" in capsys.readouterr().out
    assert command.main(["--only", "peers", "--quick", "--json", path]) == 0
    assert command.main(["--only", "scaling", "--quick", "--json", path]) == 1  # could not be measured


def test_a_group_that_is_none_is_refused(capsys) -> None:
    with pytest.raises(SystemExit):
        command.main(["--only", "speed"])
    assert "'one_pass', 'many_pass'" in capsys.readouterr().err


def test_a_group_leaves_its_figures_and_says_what_is_missing(tmp_path, monkeypatch, capsys) -> None:
    asked = []
    made = figures.single("counted", 2.0, None, "how")
    monkeypatch.setattr(peers, "measure", lambda options: asked.append(options) or [made])
    monkeypatch.setattr(peers, "missing", lambda: ["no peer"])
    groups.main("peers", str(tmp_path / "figures.json"), "1", "")
    assert asked == [settings.Options(quick=True, trace=None)]
    assert figures.read_json(str(tmp_path / "figures.json")) == [made] and capsys.readouterr().out == "no peer\n"
