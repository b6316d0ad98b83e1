"""The whole job against the loops: the arithmetic of rounds and sittings; never their times."""

from __future__ import annotations

import math
from typing import ClassVar

import pytest

from tests.benchmarks import child, trace, whole_job


def test_steady_time_is_the_long_run_less_the_short_one() -> None:
    assert whole_job.steady_seconds({"seconds": [9.0, 3.0, 10.0]}) == 7.0
    assert math.isnan(whole_job.steady_seconds({"seconds": [9.0, 3.0, 2.5]}))
    assert whole_job.steady_seconds({"cpu_seconds": [1.0, 3.0]}, "cpu_seconds") == 2.0


def _round(job: float, loop: float, threads: float) -> dict[str, dict]:
    facts = {"first_image_s": 4.0, "utilisation": 0.5, "shares": {"explain": 0.75}, "bytes": 4 * 224 * 224, "rows": 2}

    def took(seconds: float) -> dict:
        return {"seconds": [1, 1 + seconds], "cpu_seconds": [3, 3.5 + seconds]}

    return {
        "job": {**took(job), **facts},
        "loop": {**took(loop), "first_image_s": 2.0},
        "threads": {**took(threads), "first_image_s": 8.0},
        "defaults": {**took(threads / 2), "first_image_s": 8.0},
    }


def test_the_job_is_compared_with_the_loop_that_is_faster_in_the_median_round() -> None:
    # Of each round the luckier one would give 8, 5 and 12; the medians are 12 and 9, so it is the second.
    rounds = [_round(10, 8, 9), _round(10, 20, 5), _round(10, 12, 30)]
    assert whole_job.faster_loop(rounds) == "threads"
    throughput, defaults, cpu, start, busy, size = whole_job._figures(
        "ResNet50V2", [rounds[:1], rounds[1:]], (0, 40, 140)
    )
    assert (throughput.ratio, throughput.spread, throughput.met) == (0.9, (0.5, 3.0), False)
    assert throughput.measured["ours_images_per_s"] == 10
    assert (defaults.ratio, defaults.spread, defaults.goal) == (0.45, (0.25, 1.5), None)
    assert (cpu.ratio, cpu.spread, cpu.goal) == (10.5 / 9.5, (10.5 / 30.5, 10.5 / 5.5), None)
    assert cpu.measured == {"ours_ms_per_image": 105.0, "reference_ms_per_image": 95.0}
    assert (start.ratio, start.measured["ours_s"], start.measured["reference_s"]) == (2.0, 4.0, 2.0)
    assert (busy.ratio, busy.met, busy.measured["explain"]) == (0.5, False, 0.75)
    assert (size.ratio, size.measured["bytes_per_row"]) == (0.5, 2 * 224 * 224)


def test_a_loop_of_which_every_round_was_disturbed_is_not_the_faster_one() -> None:
    assert whole_job.faster_loop([_round(10, 8, -1), _round(10, 8, -1)]) == "loop"


def test_sizes_fill_whole_batches_in_every_shard() -> None:
    for name in whole_job.GOALS:
        for quick in (True, False):
            _, short, long = whole_job._sizes(name, quick)
            assert long > short and short % whole_job.BATCH == long % whole_job.BATCH == 0
    assert whole_job._sizes("ResNet50V2", False)[1] % (whole_job.BATCH * whole_job._SHARDS) == 0


class _Turns:
    """Stands in for a `child.Child`: notes whose turn it was; piece of work n takes n seconds, 0 is the warm-up."""

    log: ClassVar[list[tuple[str, int]]] = []

    def __init__(self, task: dict) -> None:
        self._name, self._done = task["name"], 0

    def __enter__(self) -> _Turns:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def work(self, number: int) -> None:
        self.log.append((self._name, number))
        self._done += 1

    def finish(self) -> dict:
        done = range(self._done)
        taken = {"seconds": [99.0 for _ in done], "cpu_seconds": [2.0 * n for n in done]}
        return taken | ({"spans": [self._spans(float(n)) for n in done]} if self._name == "job" else {})

    @staticmethod
    def _spans(n: float) -> list[list]:
        """In running time from 1 to 1 + n and from 2 + n to 3 + n, as `_in_slices` stops it."""
        return [["explain", 1, 1.0, 1.0 + n], ["explain", 2, 6.0 + n, 7.0 + n]]


def _in_slices(children: dict[str, _Turns], number: int) -> dict[str, list[child.Stretch]]:
    """In piece of work n all run from 0 to ``n + 1`` and from ``n + 5`` to ``n + 15``."""
    for process in children.values():
        process.work(number)
    return {name: [(0.0, p._done), (p._done + 4.0, p._done + 14.0)] for name, p in children.items()}


def test_in_a_sitting_every_other_round_goes_backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(child, "Child", _Turns)
    monkeypatch.setattr(child, "in_slices", _in_slices)
    _Turns.log.clear()
    rounds = whole_job.sitting({name: {"name": name} for name in ("job", "loop", "threads", "defaults")}, rounds=2)
    order = ["loop", "job", "threads", "defaults"]
    turns = [(name, number) for names in (order, order[::-1]) for number in (1, 2) for name in names]
    assert _Turns.log == [*((name, 0) for name in order), *turns]
    # Running time, whatever the process' own clock says; the job's spans are of the long runs, pieces of work 2 and 4.
    assert [r["threads"]["seconds"] for r in rounds] == [[12.0, 13.0], [14.0, 15.0]]
    assert [r["defaults"]["cpu_seconds"] for r in rounds] == [[2.0, 4.0], [6.0, 8.0]]
    assert [[(s.begin, s.end) for s in r["job"]["spans"]] for r in rounds] == [[(1, 3), (4, 5)], [(1, 5), (6, 7)]]
    assert [r["job"]["utilisation"] for r in rounds] == [3 / 4, 5 / 6]
    assert rounds[0]["job"]["shares"] == {"explain": 3 / 8, trace.OTHER: 5 / 8}
