"""One measurement in a process of its own: ``python -m tests.benchmarks.child TASK.json RESULT.json``.

A process has one set of TensorFlow threads and one peak of memory, so what is compared runs in processes of its own, in
turn. A `Child` lasts: it works on a pattern of files when it is told to, so that processes which take long to start can
be compared often. `in_slices` lets several work at once, one running at a time. `spawn` works on all the patterns of a
task and ends.
"""

from __future__ import annotations

import gc
import importlib
import json
import logging
import os
import pathlib
import resource
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from typing import Any, Protocol

from tests.support import paths

SLICE_S = 1.0
"""Of a turn in `in_slices`: several batches, so that stopping costs nothing, yet short beside a machine's moods."""

Stretch = tuple[float, float]
"""Begin and end of a time in which a process ran, in seconds of `time.perf_counter`, which processes share."""

_COMMAND = (sys.executable, "-m", "tests.benchmarks.child")


class ChildFailed(RuntimeError):
    """The process ended without a result; the message is the end of what it said."""


class Child:
    """A process that works on one of its task's patterns each time it is told to, and waits in between.

    Args:
        task: ``kind`` (``module:class`` of a `Worker`), ``patterns`` and the other arguments of the kind; JSON values.
            Variables of its ``environment``, if it has one, are set in the process.
    """

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._kind = task["kind"]
        self._folder = tempfile.TemporaryDirectory(prefix="heatbeam-bench-")
        self._result = pathlib.Path(self._folder.name, "result.json")
        self._said = pathlib.Path(self._folder.name, "stderr.txt")
        given = pathlib.Path(self._folder.name, "task.json")
        given.write_text(json.dumps({**task, "spawned": time.time()}), encoding="utf-8")
        with self._said.open("wb") as said:
            self._process = subprocess.Popen(
                [*_COMMAND, str(given), str(self._result)],
                bufsize=0,  # `answers_within` looks at the pipe, not at what was read ahead from it
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=said,
                cwd=paths.ROOT,  # where `tests` is imported from
                env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2", **task.get("environment", {})},
            )

    def __enter__(self) -> Child:
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()
        self._folder.cleanup()

    def work(self, number: int) -> float:
        """Work on the pattern of that number; the seconds that it took.

        Raises:
            ChildFailed: the process ended.
        """
        self.begin(number)
        return self._answer()

    def begin(self, number: int) -> None:
        """Tell the process to work on the pattern of that number, without waiting for it.

        Raises:
            ChildFailed: the process ended.
        """
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(f"{number}\n".encode("ascii"))
        except BrokenPipeError:
            raise self._failure() from None

    def answers_within(self, seconds: float) -> bool:
        """Wait that long, or less, for the end of the work that was begun; whether it came.

        Raises:
            ChildFailed: the process ended.
        """
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], seconds)[0]:
            return False
        self._answer()
        return True

    def _answer(self) -> float:
        assert self._process.stdout is not None
        answer = self._process.stdout.readline()
        if not answer:
            raise self._failure()
        return float(answer)

    def pause(self) -> None:
        """Stop the process, whatever it is at, until `go_on`; nothing if it has ended."""
        self._process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let the process run after `pause`; nothing if it runs or has ended."""
        self._process.send_signal(signal.SIGCONT)

    def finish(self) -> dict[str, Any]:
        """What the process measured, with the ``seconds`` and ``cpu_seconds`` of each piece of work; it ends.

        The seconds are of its clock, which goes on while it is stopped.

        Raises:
            ChildFailed: the process failed.
        """
        self._process.communicate()
        if self._process.returncode or not self._result.exists():
            raise self._failure()
        return json.loads(self._result.read_text(encoding="utf-8"))

    def _failure(self) -> ChildFailed:
        status = self._process.wait()
        said = self._said.read_text(encoding="utf-8", errors="replace")
        return ChildFailed(f"{self._kind} failed with status {status}:\n{said[-2000:]}")


def in_slices(children: Mapping[str, Child], number: int, slice_s: float = SLICE_S) -> dict[str, list[Stretch]]:
    """Let all work on the pattern of that number, one running at a time: each in turn for a slice, until it answers.

    What is compared is then done within the same seconds, so that what else the machine does meets all of them alike.

    Args:
        children: by name, in the order of their turns.
        number: of the pattern.
        slice_s: seconds of a turn.

    Returns:
        The stretches in which each ran, in order.

    Raises:
        ChildFailed: a process ended. The others are left where they were.
    """
    ran: dict[str, list[Stretch]] = {name: [] for name in children}
    for process in children.values():
        process.pause()
        process.begin(number)
    waiting = dict(children)
    while waiting:
        for name, process in list(waiting.items()):
            begin = time.perf_counter()
            process.go_on()
            if process.answers_within(slice_s):
                del waiting[name]
            process.pause()
            ran[name].append((begin, time.perf_counter()))
    for process in children.values():
        process.go_on()
    return ran


def spawn(task: Mapping[str, Any]) -> dict[str, Any]:
    """Work on each pattern of `task` once, in order, in a new process.

    Args:
        task: as of `Child`.

    Returns:
        What the kind of task measures.

    Raises:
        ChildFailed: the process failed.
    """
    with Child(task) as child:
        for number in range(len(task["patterns"])):
            child.work(number)
        return child.finish()


def peak_bytes() -> int:
    """The most memory this process has held at once."""
    try:
        status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


class Worker(Protocol):
    """What a process does: made of its task, in the process."""

    def work(self, number: int) -> float:
        """Work on the pattern of that number; the seconds that it took."""

    def result(self) -> dict[str, Any]:
        """What else was measured, as JSON values."""


def main(given: str, result: str) -> None:
    """Work as asked on standard input on the task in the file `given`; write what it measures to `result`.

    Each line asked is the number of a pattern; each line answered, the seconds that it took.
    """
    logging.basicConfig(level=logging.ERROR, force=True)
    task = json.loads(pathlib.Path(given).read_text(encoding="utf-8"))
    answers, sys.stdout = sys.stdout, sys.stderr  # what libraries print is no answer
    module, _, name = task["kind"].partition(":")
    worker: Worker = getattr(importlib.import_module(module), name)(task)
    seconds, cpu_seconds = [], []
    for line in sys.stdin:
        gc.collect()
        before = time.process_time()
        seconds.append(worker.work(int(line)))
        cpu_seconds.append(time.process_time() - before)
        print(seconds[-1], file=answers, flush=True)
    measured = {"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak_bytes(), **worker.result()}
    pathlib.Path(result).write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
