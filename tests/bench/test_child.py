"""Processes that work when they are told to, one running at a time."""

from __future__ import annotations

import itertools
import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tests.benchmarks import child


class Spinning:
    """Spins for tenths of a second of CPU time when a test's child is told to; 99 fails."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._times: list[float] = []

    def work(self, number: int) -> float:
        if number == 99:
            sys.exit(7)
        begun, until = time.perf_counter(), time.process_time() + number / 10
        while time.process_time() < until:
            sum(range(10_000))
            self._times.append(time.perf_counter())
        return time.perf_counter() - begun

    def result(self) -> dict[str, Any]:
        return {"times": self._times}


SPINNING = {"kind": f"{__name__}:Spinning"}


class Echo:
    """Says what a variable of its process is."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        pass

    def work(self, number: int) -> float:
        return 0.0

    def result(self) -> dict[str, Any]:
        return {"found": os.environ.get("HEATBEAM_TRIED")}


class _Slices:
    """Stands in for a `child.Child` that answers in its n-th slice; notes who is told what."""

    def __init__(self, name: str, slices: int, log: list[str]) -> None:
        self._name, self._left, self._log = name, slices, log

    def begin(self, number: int) -> None:
        self._log.append(f"{self._name}{number}")

    def pause(self) -> None:
        self._log.append(f"{self._name}-")

    def go_on(self) -> None:
        self._log.append(f"{self._name}+")

    def answers_within(self, seconds: float) -> bool:
        assert seconds == 0.5
        self._left -= 1
        return self._left == 0


def test_a_child_that_fails_says_why() -> None:
    with pytest.raises(child.ChildFailed, match=r"(?s)nonsense failed with status 1:.*No module named 'nonsense'"):
        child.spawn({"kind": "nonsense", "patterns": ["one"]})


@pytest.mark.parametrize(("order", "turns"), [("abc", "abcbcb"), ("cba", "cbacbb")])
def test_slices_go_round_until_all_have_answered(order: str, turns: str) -> None:
    log: list[str] = []
    slices = {"a": 1, "b": 3, "c": 2}
    ran = child.in_slices({name: _Slices(name, slices[name], log) for name in order}, 7, slice_s=0.5)
    told = [told for name in order for told in (f"{name}-", f"{name}7")]
    took = [took for name in turns for took in (f"{name}+", f"{name}-")]
    assert log == [*told, *took, *(f"{name}+" for name in order)]
    assert {name: len(stretches) for name, stretches in ran.items()} == slices


def test_what_runs_in_slices_runs_alone_and_its_time_stopped_does_not_count() -> None:
    with child.Child(SPINNING) as one, child.Child(SPINNING) as other:
        one.work(0), other.work(0)  # both are loaded
        ran = child.in_slices({"one": one, "other": other}, 5, slice_s=0.02)
        results = {"one": one.finish(), "other": other.finish()}
    stretches = sorted(ran["one"] + ran["other"])
    assert all(end <= begin for (_, end), (begin, _) in itertools.pairwise(stretches))
    for name, result in results.items():
        assert len(ran[name]) > 2  # half a second in slices of 20 ms, however late their ends
        assert sum(end - begin for begin, end in ran[name]) < result["seconds"][-1]
        inside = [any(begin <= at <= end for begin, end in ran[name]) for at in result["times"]]
        assert np.mean(inside) > 0.9  # a stop takes a moment to arrive


def test_a_process_that_ends_in_its_slice_says_why_and_the_others_are_ended() -> None:
    with child.Child(SPINNING) as one, child.Child(SPINNING) as other:
        one.work(0)
        other.begin(50)
        other.pause()
        with pytest.raises(child.ChildFailed, match="Spinning failed with status 7"):
            child.in_slices({"one": one}, 99, slice_s=0.02)
    assert other._process.returncode == -signal.SIGKILL


@pytest.mark.parametrize("paused", [False, True])
def test_a_process_that_was_killed_is_no_endless_wait(paused: bool) -> None:
    with child.Child(SPINNING) as one:
        one.work(0)
        if paused:
            one.pause()
        one._process.kill()
        with pytest.raises(child.ChildFailed, match="Spinning failed with status -9"):
            child.in_slices({"one": one}, 1)


def test_variables_of_a_task_are_set_in_its_process():
    task = {"kind": f"{__name__}:Echo", "patterns": ["one"]}
    assert child.spawn(task)["found"] is None
    assert child.spawn({**task, "environment": {"HEATBEAM_TRIED": "yes"}})["found"] == "yes"
