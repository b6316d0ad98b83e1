"""What a run says to a tracker, by value, without one."""

from __future__ import annotations

import json
import math

import pytest

from heatbeam import cli
from heatbeam.export.publish import tracked
from heatbeam.runs import run_directory
from heatbeam.transforms import errors
from tests.support import audit_runs

RUN_ID = "20260102T030405Z-0a0b0c0d"
SUMMARY = [
    audit_runs.summary_row("pointing_game", 0.75, 0.5, 0.875),
    audit_runs.summary_row("pointing_game", 0.25, slice_name="class", slice_value="cat"),
    audit_runs.summary_row("max_box_acc", 0.5, method="my cam: x"),
    audit_runs.summary_row("pxap", math.nan),
]
VERDICT = {
    "format": "heatbeam-verdict", "verdict": "fail", "counts": {"pass": 2, "fail": 1, "inconclusive": 0}, "checks": [],
}  # fmt: skip


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> run_directory.RunDirectory:
    path = tmp_path_factory.mktemp("tracked") / "monday"
    return run_directory.RunDirectory(
        audit_runs.write_run(path, [audit_runs.Row("a")], SUMMARY, run_id=RUN_ID, warnings=("shards are missing",))
    )


def test_numbers_over_everything_with_their_intervals(run):
    metrics = tracked.of(run).metrics
    assert {name: value for name, value in metrics.items() if not name.startswith("counts/")} == {
        "pointing_game/cam": 0.75, "pointing_game/cam.lower": 0.5, "pointing_game/cam.upper": 0.875,
        "max_box_acc/my cam_ x": 0.5,
    }  # fmt: skip
    assert (metrics["counts/images_explained"], metrics["counts/lost"]) == (3, 0)
    assert "counts/lost_is_estimate" not in metrics


def test_tags_settings_and_times(run):
    content = tracked.of(run)
    assert (content.run_id, content.name) == (RUN_ID, "monday")
    assert content.started == 1767323045000 and content.finished - content.started == 60_000
    assert content.tags["heatbeam.run_id"] == RUN_ID and content.tags["heatbeam.model_digest"] == "d1"
    assert content.tags["heatbeam.warnings"] == "1" and "heatbeam.verdict" not in content.tags
    assert content.parameters["model.path"] == "m.keras"
    assert json.loads(content.parameters["explain.targets"]) == ["label", "predicted"]
    assert all(len(value) <= 500 for value in content.parameters.values())


def test_a_verdict_is_a_tag_and_three_counts(run, tmp_path):
    path = tmp_path / "verdict.json"
    path.write_text(json.dumps(VERDICT))
    content = tracked.of(run, tracked.read_verdict(str(path)))
    assert content.tags["heatbeam.verdict"] == "fail"
    assert [content.metrics[f"verdict/{one}"] for one in ("pass", "fail", "inconclusive")] == [2, 1, 0]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"verdict": "pass"}', '{"format": "heatbeam-verdict", "counts": {"a": "b"}}']
)
def test_what_is_no_verdict_is_refused(tmp_path, text):
    path = tmp_path / "verdict.json"
    path.write_text(text)
    with pytest.raises(errors.PathError, match="is no verdict; expected what heatbeam compare --verdict writes"):
        tracked.read_verdict(str(path))


def test_a_run_without_an_id_is_known_by_its_beginning_and_its_model(tmp_path):
    path = audit_runs.write_run(tmp_path / "old", [audit_runs.Row("a")])
    assert tracked.of(run_directory.RunDirectory(path)).run_id == "2026-01-02T03:04:05+00:00-d1"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["r"], "publish: give --mlflow, --model-card, --iceberg or --bigquery"),
        (["r", "q", "--model-card", "x"], "publish: --model-card and --verdict are about one run"),
        (["r", "--iceberg", "c", "--property", "uri"], "publish: --property 'uri': expected KEY=VALUE"),
        (["r", "--bigquery", "audits"], "r is not in Google Cloud Storage; BigQuery reads gs:// only"),
        (["gs://b/r", "--bigquery", "a`b"], "--bigquery 'a`b' is no data set; expected DATASET or PROJECT.DATASET"),
        (["r", "--model-card", "x"], "r is not a heatbeam run: it has no manifest.json"),
        (["r", "--verdict", "nowhere.json", "--mlflow", "x"], "cannot read nowhere.json: No such file or directory"),
    ],
)
def test_what_cannot_be_published_is_told_in_one_line(arguments, said, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["publish", *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize(("option", "module"), [("mlflow", "mlflow"), ("iceberg", "pyiceberg")])
def test_what_is_not_installed_is_named_with_its_extra(run, option, module, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, module, None)
    assert cli.main(["publish", run.path, f"--{option}", "somewhere"]) == 2
    assert f"pip install 'heatbeam[{option}]'" in capsys.readouterr().err


def test_a_run_that_failed_is_not_published(tmp_path, capsys):
    path = audit_runs.write_run(tmp_path / "run", [audit_runs.Row("a")], run_id=RUN_ID)
    directory = run_directory.RunDirectory(path)
    directory.fail(directory.read_any_manifest())
    assert cli.main(["publish", path, "--model-card", str(tmp_path / "card.md")]) == 2
    assert "failed" in capsys.readouterr().err and not (tmp_path / "card.md").exists()
