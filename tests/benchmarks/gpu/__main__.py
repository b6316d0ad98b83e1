"""``python -m tests.benchmarks.gpu``, from the repository's root: the table of the GPU that is here.

Exit status 1 where a part failed or maps are further from the CPU's than they may be.
"""

from __future__ import annotations

import argparse
import functools
import itertools
import pathlib
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TextIO

from heatbeam.transforms.models import processors
from tests.benchmarks import child
from tests.benchmarks.gpu import device, passes, report, whole_jobs

MODELS = (passes.Model("ResNet50V2", (8, 32, 128)), passes.Model("MobileNetV2", (8, 32, 128)))
SMALL = (passes.Model("MobileNetV3Small", (1, 8), {"input_shape": (96, 96, 3), "classes": 100}),)

FURTHEST = {"float32": 0.05, "mixed_bfloat16": 0.5, "mixed_float16": 0.5}
"""How far the median map may be from the CPU's in float32, of its largest value, by precision: GPUs multiply float32 by
TensorFloat-32, up to 3 % off with random weights, and bfloat16 has 8 bits. What is found is a wrong map, not a rounded
one."""

_ON_THE_CPU = {"CUDA_VISIBLE_DEVICES": "-1"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=8.0, help="begin nothing that would end later (default: 8)")
    parser.add_argument("--json", default="build/gpu.json", metavar="FILE", help="default: build/gpu.json")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="heatbeam-gpu-") as folder:
        return 0 if Check(pathlib.Path(folder), 60 * given.minutes, sys.stdout).run(given.json) else 1


class Check:
    """One run of all parts, the most telling first.

    Args:
        folder: for models, maps, data and runs.
        seconds: in which all of it has to be done.
        stream: for the table.
    """

    def __init__(self, folder: pathlib.Path, seconds: float, stream: TextIO) -> None:
        self._folder = folder
        self._until = time.monotonic() + seconds
        self._stream = stream
        self._longest = 0.0  # of the parts so far: the next one may take as long
        self._failed = False
        self._left_out: list[str] = []
        self._lines: list[report.Line] = []
        self._photos: list[str] = []

    def run(self, path: str) -> bool:
        """Measure, print and write to `path`; whether every part ran, and no map is too far from the CPU's."""
        found = child.spawn({"kind": f"{device.__name__}:Device", "patterns": [None]})
        here = found["device"]
        self._say(*device.lines(here))
        small = not here["gpus"]
        if small:
            self._say(_why_small())
        for what, part in self._parts(small):
            self._part(what, part)
        self._stream.write(report.table(self._lines))
        self._say(*(f"left out for want of time: {what}" for what in self._left_out))
        report.write_json(path, here, self._lines, self._left_out)
        self._say(f"{len(self._lines)} figures in {path}")
        return not self._failed

    def _parts(self, small: bool) -> Iterator[tuple[str, Callable[[], None]]]:
        seconds = 0.2 if small else 3.0
        models, precisions = (SMALL, ("float32", "mixed_bfloat16")) if small else (MODELS, tuple(FURTHEST))
        for model, precision in itertools.product(models, precisions[:2]):
            yield f"{model.name} in {precision}", functools.partial(self._passes, model, precision, seconds)
        workers = 2 if small else min(16, max(4, processors.count()))
        sizes = (8, 16, 48) if small else (64, 512, 3584)
        jobs = [whole_jobs.Job(processes, workers) for processes in ((1, 2) if small else (1, 2, 4))]
        jobs.insert(1, whole_jobs.Job(1, workers, "mixed_bfloat16"))
        for job in jobs:
            yield f"whole job, {job.in_words()}", functools.partial(self._job, job, models[-1], sizes)
        for model, precision in itertools.product(models, precisions[2:]):
            yield f"{model.name} in {precision}", functools.partial(self._passes, model, precision, seconds)

    def _part(self, what: str, part: Callable[[], None]) -> None:
        if time.monotonic() + self._longest > self._until:
            self._left_out.append(what)
            return
        started = time.monotonic()
        try:
            part()
        except child.ChildFailed as error:
            self._failed = True
            self._say(f"FAILED   {what}: {error}")
        self._longest = max(self._longest, time.monotonic() - started)
        sys.stderr.write(f"{what}: {time.monotonic() - started:.0f} s\n")

    def _passes(self, model: passes.Model, precision: str, seconds: float) -> None:
        task = {
            "kind": f"{passes.__name__}:Passes", "patterns": [None], "name": model.name, "arguments": model.arguments,
            "batches": model.batches, "model": str(self._folder / f"{model.name}.keras"),
        }  # fmt: skip
        reference = self._folder / f"{model.name}-cpu.npz"
        if not reference.exists():
            on_cpu = {"precision": "float32", "seconds": 0, "maps": str(reference), "environment": _ON_THE_CPU}
            child.spawn(task | on_cpu)
        maps = str(self._folder / f"{model.name}-{precision}.npz")
        result = child.spawn(task | {"precision": precision, "seconds": seconds, "maps": maps})
        title = f"{model.name}, {precision}"
        self._lines += [report.Line(f"{title}: {what}", rate, "images/s") for what, rate in result["rates"].items()]
        if result["peak_mib"] is not None:
            self._lines.append(report.Line(f"{title}: tensors at their peak", result["peak_mib"], "MiB"))
        for method, (median, greatest) in passes.differences(maps, str(reference)).items():
            unit = f"of the largest value (greatest {greatest:.2g})"
            self._lines.append(report.Line(f"{title}: {method} from the CPU's, median map", median, unit))
            if median > FURTHEST[precision]:
                self._failed = True
                self._say(f"FAILED   {title}: maps of {method} are {median:.2g} of the largest value from the CPU's")

    def _job(self, job: whole_jobs.Job, model: passes.Model, sizes: Sequence[int]) -> None:
        if not self._photos:
            self._photos = whole_jobs.photos(self._folder / "photos", sizes)
        section = {"path": str(self._folder / f"{model.name}.keras"), "preprocessing": {"mode": model.name}}
        runs = tempfile.mkdtemp(dir=self._folder)
        rate, peak = whole_jobs.measure(job, section, self._photos, sizes[-1] - sizes[-2], runs)
        title = f"{model.name}, whole job, {job.in_words()}"
        self._lines.append(report.Line(title, rate, "images/s"))
        if peak is not None:
            self._lines.append(report.Line(f"{title}: the GPU's memory at its peak", peak, "MiB"))

    def _say(self, *lines: str) -> None:
        self._stream.writelines(f"{line}\n" for line in lines)
        self._stream.flush()


def _why_small() -> str:
    """Why all of it is small, for the reader of the table."""
    asked = device.asked_of_driver("name")
    small = "everything below is small and runs on the CPU: it says that the check runs, and nothing about a GPU"
    if asked is not None:
        return f"TensorFlow does not see the {asked[0]} that is here (pip install 'tensorflow[and-cuda]'); {small}"
    return f"no GPU is here; {small}"


if __name__ == "__main__":
    sys.exit(main())
