"""The groups of figures: each is measured in a process of its own, printed as a table and written as JSON."""

from __future__ import annotations

import importlib
import os
import pathlib
import subprocess
import sys
import tempfile
from typing import TextIO

from tests.benchmarks import figures, settings

GROUPS = {
    "one_pass": "one-pass methods over a forward pass",
    "many_pass": "Score-CAM and Ablation-CAM over the passes they are made of",
    "localization_cost": "localization over the plain procedure and over a forward pass",
    "whole_job": "the whole job over the best hand-written loop",
    "scaling": "Beam's overhead; memory and time against size",
    "choices": "threads, oneDNN, XLA, memory and images to a pass",
    "peers": "images per second over other libraries",
}
"""The groups, each a module of this package with a function ``measure``, and what they measure."""


def bench(options: settings.Options, only: tuple[str, ...], path: str, stream: TextIO) -> bool:
    """Measure every group, or those named in `only`, and write the figures to `path`.

    Returns:
        Whether every group was measured and, unless `options.quick`, every goal was met.
    """
    found: list[figures.Figure] = []
    complete = True
    for name, what in GROUPS.items():
        if only and name not in only:
            continue
        stream.write(f"# {name}: {what}\n")
        stream.flush()
        measured = _in_a_process(name, options)
        if measured is None:
            complete = False
            stream.write(f"{name} could not be measured; its error is above\n\n")
            continue
        stream.write(figures.table(measured) + "\n")
        found += measured
    figures.write_json(found, path)
    missed = [f.name for f in found if f.met is False]
    stream.write(f"{len(found)} figures in {path}")
    stream.write(f"; {len(missed)} miss their goal: {', '.join(missed)}\n" if missed else "\n")
    return complete and (options.quick or not missed)


def _in_a_process(name: str, options: settings.Options) -> list[figures.Figure] | None:
    """The figures of a group, or None if it failed; TensorFlow starts afresh for each group."""
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        result = pathlib.Path(folder, "figures.json")
        arguments = [name, str(result), str(int(options.quick)), options.trace or ""]
        command = [sys.executable, "-m", "tests.benchmarks.groups", *arguments]
        done = subprocess.run(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}, check=False)
        if done.returncode or not result.exists():
            return None
        return figures.read_json(str(result))


def main(name: str, path: str, quick: str, trace: str) -> None:
    """Measure one group in this process and write its figures to `path`."""
    group = importlib.import_module(f"tests.benchmarks.{name}")
    figures.write_json(group.measure(settings.Options(quick=quick == "1", trace=trace or None)), path)
    for line in group.missing() if hasattr(group, "missing") else ():
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
