"""Runs over time: what is listed, what is drawn, and what retention may remove."""

from __future__ import annotations

import datetime
import io
import math
import pathlib

import numpy as np
import pytest
from PIL import Image

from heatbeam.runs import decisions, history, registrations, run_directory
from tests.support import manifests
from tests.support.audit_runs import Row, summary_row, write_run


def at(root: pathlib.Path, day: int, value: float, **changes) -> str:
    rows = [
        summary_row("pxap", value, value - 0.1, value + 0.1, n=50),
        summary_row("pxap", 0.1, method="baseline_centre"),
        summary_row("pxap", 0.9, slice_name="class", slice_value="cat"),
        summary_row("entropy", 1.0),
    ]
    return write_run(root / f"2026-01-{day:02d}", [Row("i1")], rows, started=f"2026-01-{day:02d}T00:00:00", **changes)


@pytest.fixture
def root(tmp_path) -> pathlib.Path:
    """Three finished runs written out of order, one that failed, one that runs, and things that are no runs."""
    root = tmp_path / "audits"
    for day, value in ((20, 0.5), (6, 0.25), (13, 0.75)):
        at(root, day, value)
    failed = run_directory.RunDirectory(str(root / "2026-01-27"))
    failed.create(manifests.manifest(), overwrite=False)
    failed.fail(manifests.manifest(error="no record"))
    run_directory.RunDirectory(str(root / "2026-01-28")).create(manifests.manifest(), overwrite=False)
    (root / "notes").mkdir()
    (root / "notes" / "text").write_text("mine")
    (root / "other").mkdir()
    (root / "other" / "manifest.json").write_text("{}")
    (root / "latest").symlink_to("2026-01-20")
    return root


def test_dated_directories_sort_by_time_in_any_zone():
    east = datetime.timezone(datetime.timedelta(hours=2))
    one = history.dated_directory("gs://bucket/audits", datetime.datetime(2026, 1, 31, 8, 5, 9, tzinfo=east))
    assert one == "gs://bucket/audits/2026-01-31T06-05-09Z"
    with pytest.raises(ValueError, match="no time zone"):
        history.dated_directory("root", datetime.datetime(2026, 1, 31))  # noqa: DTZ001 - what is to be refused


def test_history_lists_finished_runs_by_time_and_the_others_apart(root):
    found = history.history(str(root))
    assert [point.name for point in found.runs] == ["2026-01-06", "2026-01-13", "2026-01-20"]
    assert [point.numbers["cam", "pxap"].value for point in found.runs] == [0.25, 0.75, 0.5]
    assert found.series() == [("cam", "pxap")]
    assert (found.runs[0].images, found.runs[0].model) == (3, "d1")
    names = dict(found.unfinished)
    assert names.keys() == {"2026-01-27", "2026-01-28", "other"}
    assert names["2026-01-27"] == "failed" and names["2026-01-28"] == "running"
    assert "not the manifest" in names["other"]


def test_what_a_schedule_decided_is_shown_over_time(root):
    first, second = (run_directory.RunDirectory(str(root / f"2026-01-{day}")) for day in ("06", "13"))
    decided = decisions.Decision("before", gate=False, failed=2, inconclusive=1, reasons_p=0.004, reasons_share=0.03)
    decisions.write(first, decided)
    decisions.write(second, decisions.Decision("before", reasons_p=0.25, reasons_share=0.0))
    found = history.history(str(root))
    assert [point.decision for point in found.runs] == [
        decided,
        decisions.Decision("before", None, 0, 0, 0.25, 0.0),
        None,
    ]
    stream = io.StringIO()
    history.print_history(found, stream)
    ends = [line.partition("model d1")[2] for line in stream.getvalue().splitlines()[1:4]]
    assert ends == ["   gate failed (2), reasons p 0.004", "   reasons p 0.25", ""]
    assert history.document(found)["runs"][0]["decision"] == decided._asdict()
    first.remove()
    assert not (root / "2026-01-06").exists()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", '{"format": "heatbeam-decision"}', '{"format": "x", "baseline": 3}']
)
def test_a_decision_that_cannot_be_read_is_none(root, content):
    (root / "2026-01-06" / "decision.json").write_text(content)
    assert history.history(str(root)).runs[0].decision is None


def test_the_table_has_a_line_per_run_and_number(root):
    stream = io.StringIO()
    history.print_history(history.history(str(root)), stream)
    text = stream.getvalue()
    assert "audits: 3 finished runs" in text
    assert "pxap                   cam                  ▁█▅  0.2500 -> 0.5000 (0.4000 to 0.6000)" in text
    assert text.index("not finished") < text.index("2026-01-27")


@pytest.mark.parametrize(
    ("values", "expected"),
    [([0, 1, 7], "▁▂█"), ([3, 3], "▄▄"), ([1, math.nan, 0], "█ ▁"), ([math.nan], " "), ([], "")],
)
def test_sparkline(values, expected):
    assert history.sparkline(values) == expected


def test_other_metrics_can_be_asked_for(root):
    assert history.history(str(root), ["entropy"]).series() == [("cam", "entropy")]


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_the_plot_is_drawn(root, tmp_path, suffix):
    path = tmp_path / "plots" / f"history{suffix}"
    history.plot(history.history(str(root)), path)
    if suffix == ".png":
        pixels = np.asarray(Image.open(path).convert("RGB"))
        # matplotlib's first line colour, #1f77b4, is there: the line was drawn.
        assert (np.abs(pixels.astype(int) - (0x1F, 0x77, 0xB4)).sum(axis=2) < 10).sum() > 100
    else:
        text = path.read_text()
        assert text.startswith("<?xml") and text.count("<use") >= 3


def test_nothing_to_plot_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    found = history.history(str(tmp_path / "empty"))
    assert found.runs == ()
    with pytest.raises(run_directory.RunDirectoryError, match="no finished run"):
        history.newest_pair(str(tmp_path / "empty"))
    with pytest.raises(ValueError, match="nothing to plot"):
        history.plot(found, tmp_path / "x.png")


def test_a_root_that_is_not_there(tmp_path):
    with pytest.raises(run_directory.RunDirectoryError, match="not a directory"):
        history.history(str(tmp_path / "none"))


def test_the_newest_run_is_compared_with_the_one_before(root):
    assert history.newest_pair(str(root)) == (f"{root}/2026-01-13", f"{root}/2026-01-20")
    history.prune(str(root), 1)
    assert history.newest_pair(str(root)) is None


def files(root: pathlib.Path) -> set[str]:
    return {path.relative_to(root).as_posix() for path in root.rglob("*")}


def test_retention_removes_the_oldest_finished_runs_and_nothing_else(root):
    (root / "2026-01-06" / "mine.txt").write_text("mine")
    (root / "2026-01-06" / "report.html").write_text("ours")
    before = files(root)
    assert history.prune(str(root), 1) == [f"{root}/2026-01-06", f"{root}/2026-01-13"]
    gone = before - files(root)
    assert all(path.startswith(("2026-01-06/", "2026-01-13")) for path in gone)
    assert {p for p in files(root) if p.startswith("2026-01-06")} == {"2026-01-06", "2026-01-06/mine.txt"}
    assert not (root / "2026-01-13").exists()
    assert [point.name for point in history.history(str(root)).runs] == ["2026-01-20"]
    assert history.prune(str(root), 1) == []


def test_a_run_whose_files_a_catalogue_names_stays_until_it_does_not(root):
    kept = run_directory.RunDirectory(str(root / "2026-01-06"))
    first, second = registrations.Registration("prod", "heatbeam"), registrations.Registration("lab", "audits")
    kept.register(first)
    kept.register(second, first)
    before, said = files(root / "2026-01-06"), io.StringIO()
    assert history.prune(str(root), 1, said) == [f"{root}/2026-01-13"]
    assert files(root / "2026-01-06") == before
    assert said.getvalue().splitlines() == [
        f"warning: {kept.path} is not removed, as tables of the Iceberg catalogue {name} name its files; "
        f"heatbeam publish {kept.path} --iceberg {name}{own} --withdraw takes them out"
        for name, own in (("lab", " --namespace audits"), ("prod", ""))
    ]
    kept.withdraw(second)
    with pytest.raises(run_directory.RunDirectoryError, match="--iceberg prod --withdraw"):
        kept.remove()
    kept.withdraw(first)
    assert files(root / "2026-01-06") == before - {"registered.json"}
    assert history.prune(str(root), 1) == [kept.path]
    assert not (root / "2026-01-06").exists()


def test_a_removal_that_was_interrupted_does_not_look_finished(root, monkeypatch):
    directory = run_directory.RunDirectory(str(root / "2026-01-06"))
    monkeypatch.setattr(directory, "_remove_outputs", lambda: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        directory.remove()
    assert run_directory.RunDirectory(str(root / "2026-01-06")).read_any_manifest().status == "running"


def test_only_a_finished_run_is_removed(root):
    with pytest.raises(run_directory.RunDirectoryError, match="not a finished run"):
        run_directory.RunDirectory(str(root / "2026-01-27")).remove()
    assert (root / "2026-01-27" / "manifest.json").exists()


def test_the_newest_run_cannot_be_pruned(root):
    with pytest.raises(ValueError, match="keep is 0"):
        history.prune(str(root), 0)
