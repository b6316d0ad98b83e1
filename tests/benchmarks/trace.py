"""When each worker thread was in which step: a timeline, the share of each step, and how busy the model was."""

from __future__ import annotations

import collections
import contextlib
import functools
import json
import pathlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

COMPUTE = "explain"
OTHER = "other"
"""Beam, reading of bytes, waiting for Python's lock or for work: what is between the steps."""


class Span(NamedTuple):
    """A call: name of the step, thread, and begin and end in seconds of `time.perf_counter`."""

    step: str
    thread: int
    begin: float
    end: float


class Recorder:
    """The spans of a run; safe to add to from several threads."""

    def __init__(self) -> None:
        self.spans: list[Span] = []

    def wrap(self, step: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """`function`, whose calls are noted as `step`."""

        @functools.wraps(function)
        def noted(*args: Any, **kwargs: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.spans.append(Span(step, threading.get_ident(), begin, time.perf_counter()))

        return noted


def _steps() -> tuple[tuple[str, Any, str], ...]:
    """The steps, and the place and name of the function that does the work of each."""
    # Imported here, because a process that only counts with spans should not load TensorFlow.
    from heatbeam.transforms import decode, write
    from heatbeam.transforms.engine import engine
    from heatbeam.transforms.metrics import image_evidence, summary
    from heatbeam.transforms.sources import features
    from heatbeam.transforms.tables import rows

    return (
        ("parse", features, "example_of"),
        ("decode", decode, "decode_example"),
        (COMPUTE, engine.Engine, "explain"),
        ("localize", image_evidence, "localize"),
        ("aggregate", summary.MetricState, "add"),
        ("rows", rows, "explanation_table"),
        ("write", write.ParquetSink, "write_record"),
    )


@contextlib.contextmanager
def recording() -> Iterator[Recorder]:
    """Note every step of jobs that run in this process while the context is open."""
    recorder = Recorder()
    originals = [(step, place, name, getattr(place, name)) for step, place, name in _steps()]
    for step, place, name, function in originals:
        setattr(place, name, recorder.wrap(step, function))
    try:
        yield recorder
    finally:
        for _, place, name, function in originals:
            setattr(place, name, function)


def in_running_time(spans: Sequence[Span], stretches: Sequence[tuple[float, float]]) -> list[Span]:
    """The spans in seconds for which their process had been running, instead of those of the clock.

    Args:
        spans: of a process that was stopped now and then.
        stretches: begin and end of each time in which it ran, in order and by the clock of the spans. The first one
            begins at 0 of the running time; between them it stands still.
    """
    passed = np.cumsum([0.0, *(end - begin for begin, end in stretches)])
    at_bounds = np.repeat(passed, 2)[1:-1]  # a stretch begins where the one before it ended
    moved = np.interp([(s.begin, s.end) for s in spans], np.ravel(stretches), at_bounds).tolist()
    return [span._replace(begin=begin, end=end) for span, (begin, end) in zip(spans, moved, strict=True)]


def utilisation(spans: Sequence[Span], step: str = COMPUTE) -> float:
    """Share of the time, from the first begin of `step` to its last end, in which some thread was in it."""
    mine = sorted((s.begin, s.end) for s in spans if s.step == step)
    if not mine:
        return 0.0
    busy, reached = 0.0, mine[0][0]
    for begin, end in mine:
        busy += max(0.0, end - max(begin, reached))
        reached = max(reached, end)
    return busy / (reached - mine[0][0])


def shares(spans: Sequence[Span]) -> dict[str, float]:
    """Share of the worker threads' time in each step, largest first, and `OTHER`; they add up to 1.

    The time is from the first begin of `COMPUTE` to its last end, for each thread that computes: what comes before and
    after happens once in a run. Spans do not contain one another.
    """
    computing = [span for span in spans if span.step == COMPUTE]
    if not computing:
        return {}
    begin, end = min(s.begin for s in computing), max(s.end for s in computing)
    threads = {span.thread for span in computing}
    whole = len(threads) * (end - begin)
    found: dict[str, float] = collections.defaultdict(float)
    for span in spans:
        inside = min(span.end, end) - max(span.begin, begin)
        if span.thread in threads and inside > 0:
            found[span.step] += inside / whole
    ordered = dict(sorted(found.items(), key=lambda item: -item[1]))
    return {**ordered, OTHER: 1.0 - sum(found.values())}


def write_timeline(spans: Sequence[Span], path: str) -> None:
    """The spans in the trace event format, which Perfetto and Chrome's tracing page open."""
    start = min((s.begin for s in spans), default=0.0)
    threads = {thread: number for number, thread in enumerate(dict.fromkeys(s.thread for s in spans))}
    events = [
        {
            "name": s.step,
            "ph": "X",
            "pid": 0,
            "tid": threads[s.thread],
            "ts": round(1e6 * (s.begin - start), 1),
            "dur": round(1e6 * (s.end - s.begin), 1),
        }
        for s in spans
    ]
    pathlib.Path(path).write_text(json.dumps({"traceEvents": events}), encoding="utf-8")
