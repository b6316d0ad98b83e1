from __future__ import annotations

import io
import time
from collections.abc import Callable

import pytest

from heatbeam.job import progress
from heatbeam.transforms import tally


@pytest.mark.parametrize(
    ("snapshot", "line"),
    [
        (progress.Snapshot(0, 0, 0, 0, 1000, 12.4), "waiting for the first image since 12 s"),
        (progress.Snapshot(0, 2, 0, 0, 1000, 1.0), "0 images explained, 0.0 images/s"),
        # half of the bytes in 60 s: another 60 s to go
        (
            progress.Snapshot(1200, 0, 0, 500, 1000, 60.0),
            "1,200 images explained, 20.0 images/s, 50%, about 1 min 00 s left",
        ),
        (progress.Snapshot(10, 0, 3, 0, 0, 2.0), "10 images explained, 5.0 images/s, 3 dead letters"),
        (progress.Snapshot(10, 0, 0, 1000, 1000, 2.0), "10 images explained, 5.0 images/s"),
        (progress.Snapshot(10, 0, 0, 996, 1000, 2.0), "10 images explained, 5.0 images/s"),
        (progress.Snapshot(1, 0, 0, 1, 101, 72.0), "1 images explained, 0.0 images/s, 1%, about 2 h 00 min left"),
    ],
)
def test_line(snapshot, line):
    assert snapshot.line() == line


def test_nothing_is_written_of_a_short_run_into_a_log():
    stream = io.StringIO()
    with progress.shown(stream, progress.of_run(100)):
        tally.TALLY.add("images_explained", 5)
    assert stream.getvalue() == ""


def test_a_log_gets_a_line_every_few_seconds_from_the_first_on(monkeypatch):
    monkeypatch.setattr(progress, "_LOG_INTERVAL_S", 0.01)
    tally.TALLY.clear()
    stream = io.StringIO()
    with progress.shown(stream, progress.of_run(0)):
        _until(lambda: "waiting for the first image since 0 s\n" in stream.getvalue())
        tally.TALLY.add("images_explained", 5)
        _until(lambda: "\n5 images explained, " in stream.getvalue())
    tally.TALLY.clear()
    assert "\r" not in stream.getvalue()


def _until(reached: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_tally_adds_and_forgets():
    counts = tally.Tally()
    counts.add("a")
    counts.add("a", 4)
    assert counts.snapshot() == {"a": 5}
    counts.clear()
    assert counts.snapshot() == {}


def test_a_tally_counts_what_other_processes_show(tmp_path):
    counts, paths = tally.Tally(), [tmp_path / "0", tmp_path / "1"]
    counts.add("images_read", 2)
    for path in paths:
        counts.watch(path)
    others = [tally.Tally(str(path)) for path in paths]
    others[0].add("images_read", 3)
    others[1].add("read_bytes", 1 << 40)
    others[1].add("images_read", 4)
    others[1].add("images_read", 5)
    assert counts.snapshot() == {"images_read": 14, "read_bytes": 1 << 40}
    paths[1].unlink()
    assert counts.snapshot() == {"images_read": 5}
    counts.clear()
    assert counts.snapshot() == {}
