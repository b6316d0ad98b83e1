"""Spans of the steps: shares, running time and the timeline."""

from __future__ import annotations

import json
import pathlib

import pytest

from heatbeam.transforms.engine import engine
from tests.benchmarks import trace
from tests.support import small_runs

SPANS = [
    trace.Span("decode", 1, 0.0, 1.0),
    trace.Span("explain", 1, 1.0, 4.0),
    trace.Span("explain", 2, 3.0, 6.0),
    trace.Span("explain", 1, 8.0, 9.0),
    trace.Span("write", 1, 9.0, 10.0),
]


def test_utilisation_is_the_union_of_the_threads_spans() -> None:
    assert trace.utilisation(SPANS) == 6 / 8  # 1 to 6 and 8 to 9, of 1 to 9
    assert trace.utilisation(SPANS, "localize") == 0


def test_shares_are_of_the_time_from_the_first_batch_to_the_last() -> None:
    # From 1 to 9 in two threads: 16 s. Decoding from 0 to 1 and writing from 9 on lie outside.
    more = [trace.Span("decode", 2, 0.5, 3.0), trace.Span("write", 3, 2.0, 3.0)]
    assert trace.shares([*SPANS, *more]) == pytest.approx({"explain": 7 / 16, "decode": 2 / 16, trace.OTHER: 7 / 16})
    assert trace.shares([]) == {}


def test_running_time_stands_still_while_the_process_is_stopped() -> None:
    stretches = [(10.0, 12.0), (15.0, 16.0), (20.0, 30.0)]  # begin at 0, 2 and 3 of the running time
    clock = [(9.5, 10.5), (11.0, 15.5), (12.5, 14.0), (16.0, 20.0), (15.25, 24.0), (29.0, 31.0)]
    running = [(0.0, 0.5), (1.0, 2.5), (2.0, 2.0), (3.0, 3.0), (2.25, 7.0), (12.0, 13.0)]
    found = trace.in_running_time([trace.Span("write", 3, *times) for times in clock], stretches)
    assert found == [trace.Span("write", 3, *times) for times in running]
    assert trace.in_running_time([], stretches) == []


def test_timeline_is_in_microseconds_from_the_first_span(tmp_path: pathlib.Path) -> None:
    path = tmp_path / "trace.json"
    trace.write_timeline([span._replace(begin=span.begin + 5, end=span.end + 5) for span in SPANS], str(path))
    events = json.loads(path.read_text())["traceEvents"]
    assert events[2] == {"name": "explain", "ph": "X", "pid": 0, "tid": 1, "ts": 3e6, "dur": 3e6}


def test_recording_notes_the_steps_of_a_run_and_leaves_no_trace(tmp_path: pathlib.Path) -> None:
    before = engine.Engine.explain
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(6)], 2)
    with trace.recording() as recorder:
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", "explain.methods=[grad_cam]"))
    steps = [span.step for span in recorder.spans]
    assert engine.Engine.explain is before
    assert steps.count("decode") == steps.count("localize") == steps.count("parse") == 6
    assert {"explain", "aggregate", "rows", "write"} <= set(steps)
