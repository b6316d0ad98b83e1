"""One measurement in a process of its own: ``python -m pipeline.bench.child TASK.json RESULT.json``.

A process has one set of TensorFlow threads and one peak of memory, so what is compared runs in processes of its own, in
turn. `spawn` starts one and gives back what it wrote.
"""

from __future__ import annotations

import io
import json
import logging
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping
from typing import Any


class ChildFailed(RuntimeError):
    """The process ended without a result; the message is the end of what it said."""


def spawn(task: Mapping[str, Any]) -> dict[str, Any]:
    """Do `task` in a new process.

    Args:
        task: ``kind`` (``job``, ``loop`` or ``straight``) and its arguments; JSON values.

    Returns:
        What the kind of task measures.

    Raises:
        ChildFailed: the process failed.
    """
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        given, result = pathlib.Path(folder, "task.json"), pathlib.Path(folder, "result.json")
        given.write_text(json.dumps({**task, "spawned": time.time()}), encoding="utf-8")
        command = [sys.executable, "-m", "pipeline.bench.child", str(given), str(result)]
        done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"})
        if done.returncode or not result.exists():
            raise ChildFailed(f"{task['kind']} failed with status {done.returncode}:\n{done.stderr[-2000:]}")
        return json.loads(result.read_text(encoding="utf-8"))


def peak_bytes() -> int:
    """The most memory this process has held at once."""
    try:
        status = pathlib.Path("/proc/self/status").read_text(encoding="ascii")
        return 1024 * int(status.split("VmHWM:")[1].split()[0])
    except (OSError, IndexError):  # not Linux
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def _job(task: Mapping[str, Any]) -> dict[str, Any]:
    """Whole jobs over each of ``patterns``, the first one a warm-up; seconds of each, and a trace of the last one."""
    from pipeline import config, plan, run
    from pipeline.bench import trace
    from transforms import explain

    def settings(number: int) -> config.RunConfig:
        text = {
            **task["settings"],
            "input": {**task["settings"].get("input", {}), "tfrecord": task["patterns"][number]},
            "output": {"directory": f"{task['directory']}/run{number}", "overwrite": True},
        }
        return config.RunConfig.model_validate(text)

    first = _FirstImage(task["spawned"])
    # Held here, so that the second run finds the model loaded.
    engine, _ = explain.acquire_engine(plan.make(settings(0)).engine_spec)
    seconds = []
    for number in range(len(task["patterns"])):
        last = number == len(task["patterns"]) - 1
        with trace.recording() as recorder:
            started = time.perf_counter()
            finished = run.run(settings(number), (), io.StringIO())
            seconds.append(time.perf_counter() - started)
        first.stop()
        if last and task.get("trace"):
            trace.write_timeline(recorder.spans, task["trace"])
    del engine
    table = finished.manifest["tables"]["explanations"]
    return {
        "seconds": seconds,
        "first_image_s": first.seconds,
        "utilisation": trace.utilisation(recorder.spans),
        "shares": trace.shares(recorder.spans),
        "rows": table["rows"],
        "bytes": table["bytes"],
        "peak_bytes": peak_bytes(),
    }


class _FirstImage:
    """Notes when the first image of this process was explained, in seconds since the process was asked for."""

    def __init__(self, spawned: float) -> None:
        self.seconds = 0.0
        self._spawned = spawned
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        from transforms import progress

        while not self._done.wait(0.005):
            if progress.TALLY.snapshot().get("images_explained"):
                self.seconds = time.time() - self._spawned
                return

    def stop(self) -> None:
        """Stop watching."""
        self._done.set()
        self._thread.join()


def _loop(task: Mapping[str, Any]) -> dict[str, Any]:
    from pipeline.bench import hand_written

    loop = hand_written.Loop(task["application"], task["batch_size"], task["threads"], task["as_job"])
    seconds, first = [], 0.0
    for pattern in task["patterns"]:
        started = time.perf_counter()
        loop.run(pattern)
        seconds.append(time.perf_counter() - started)
        first = first or loop.first_batch_at - task["spawned"]
    return {"seconds": seconds, "first_image_s": first, "peak_bytes": peak_bytes()}


def _straight(task: Mapping[str, Any]) -> dict[str, Any]:
    """The steps of the job one after another, without Beam, over each of ``patterns``."""
    from pipeline import config, plan
    from pipeline.bench import stages

    seconds = []
    for pattern in task["patterns"]:
        text = {**task["settings"], "input": {"tfrecord": pattern}, "output": {"directory": task["directory"]}}
        steps = stages.Stages(plan.make(config.RunConfig.model_validate(text)), task["directory"])
        started = time.perf_counter()
        steps.run()
        seconds.append(time.perf_counter() - started)
    return {"seconds": seconds, "peak_bytes": peak_bytes()}


KINDS = {"job": _job, "loop": _loop, "straight": _straight}


def main(given: str, result: str) -> None:
    """Do the task in the file `given` and write what it measures to `result`."""
    logging.basicConfig(level=logging.ERROR, force=True)
    task = json.loads(pathlib.Path(given).read_text(encoding="utf-8"))
    measured = KINDS[task["kind"]](task)
    pathlib.Path(result).write_text(json.dumps(measured), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
