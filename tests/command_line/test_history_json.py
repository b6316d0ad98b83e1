from __future__ import annotations

import json

from heatbeam import cli
from tests.support import audit_runs


def test_history_answers_in_json_alone(tmp_path, capsys):
    summary = [audit_runs.summary_row("pointing_game", 0.75, 0.5, 0.875), audit_runs.summary_row("pxap", 0.25)]
    path = audit_runs.write_run(tmp_path / "monday", [audit_runs.Row("a")], summary)
    (tmp_path / "tuesday").mkdir()
    (tmp_path / "tuesday" / "manifest.json").write_text("{")
    assert cli.main(["history", str(tmp_path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["root"], found["removed"]) == (str(tmp_path), [])
    assert [one["name"] for one in found["unfinished"]] == ["tuesday"] and found["unfinished"][0]["why"]
    (run,) = found["runs"]
    numbers = run.pop("numbers")
    assert run == {
        "name": "monday", "path": path, "started": "2026-01-02T03:04:05+00:00", "images_explained": 3,
        "dead_letters_and_lost": 0, "model_digest": "d1", "decision": None,
    }  # fmt: skip
    assert numbers == [
        {"method": "cam", "metric": "pointing_game", "value": 0.75, "n": 100, "lower": 0.5, "upper": 0.875},
        {"method": "cam", "metric": "pxap", "value": 0.25, "n": 100, "lower": None, "upper": None},
    ]
