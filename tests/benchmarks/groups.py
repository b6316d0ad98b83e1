"""The groups of figures: each part is measured in a process of its own, printed as a table and written as JSON."""

from __future__ import annotations

import dataclasses
import importlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from typing import TextIO

from tests.benchmarks import figures, results, settings
from tests.benchmarks.families import summary

GROUPS = {
    "families": "the whole job over the faster of a hand-written loop and Xplique, ten families of models",
    "whole_passes": "what computes whole passes over TensorFlow, in Score-CAM, insertion and deletion",
    "half_precision": "the whole job in bfloat16 over the same in float32",
    "one_pass": "one-pass methods over a forward pass",
    "many_pass": "Score-CAM and Ablation-CAM over the passes they are made of",
    "localization_cost": "localization over the plain procedure and over a forward pass",
    "peers": "images per second over other libraries",
    "choices": "threads, oneDNN, XLA, memory and images to a pass",
    "scaling": "Beam's overhead; memory and time against size",
    "host": "what an image costs beside the model",
    "reuse": "memory and time of rows that are taken over, up to a million",
    "shards": "ten thousand files of one record, and one file of ten thousand",
    "start": "a run of 64 images over a hand-written loop, from start to end",
}
"""The groups, each a module of this package with a function ``measure``, and what they measure."""

_MODULES = {
    "families": "families.whole_jobs",
    "whole_passes": "families.whole_passes",
    "half_precision": "families.half_precision",
    "scaling": "scaling.size",
    "host": "scaling.host",
    "reuse": "scaling.reuse",
    "shards": "scaling.shards",
    "start": "scaling.start",
}

PARTS: Mapping[str, Sequence[str]] = {
    "families": summary.FAMILIES,
    "whole_passes": summary.OF_WHOLE_PASSES,
    "half_precision": summary.FAMILIES,
}
"""The parts of the groups that have some: each is written when it is measured."""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What to measure.

    Attributes:
        groups: of `GROUPS`; none for all.
        parts: of the groups that have parts; none for all.
        resume: leave out what the file has already, of this machine and commit.
    """

    groups: Sequence[str] = ()
    parts: Sequence[str] = ()
    resume: bool = False

    def of(self, group: str) -> Sequence[str]:
        """The parts of a group that are wanted; the empty one of a group without parts."""
        if self.groups and group not in self.groups:
            return ()
        return [part for part in PARTS.get(group, ("",)) if not (part and self.parts) or part in self.parts]


def bench(options: settings.Options, wanted: Wanted, path: str, stream: TextIO) -> bool:
    """Measure what is wanted, and write the figures to `path`, beside those that it has of this machine and commit.

    Returns:
        Whether everything was measured and, unless `options.quick`, every goal was met.
    """
    kept = results.read(path, results.Place.here())
    complete = True
    measured: list[figures.Figure] = []
    for group, what in GROUPS.items():
        parts = [part for part in wanted.of(group) if not (wanted.resume and kept.has(group, part))]
        if parts:
            stream.write(f"# {group}: {what}\n")
        for part in parts:
            stream.flush()
            found = _in_a_process(group, dataclasses.replace(options, part=part or None))
            if found is None:
                complete = False
                stream.write(f"{part or group} could not be measured; its error is above\n\n")
                continue
            stream.write(figures.table(found) + "\n")
            kept.add(group, part, found)
            results.write(kept, path)
            measured += found
        together = summary.together(group, [one for found in kept.groups.get(group, {}).values() for one in found])
        if wanted.of(group) and together:
            stream.write(figures.table(together) + "\n")
            measured += together
    missed = [f.name for f in measured if f.met is False]
    stream.write(f"{len(measured)} figures in {path}")
    stream.write(f"; {len(missed)} miss their goal: {', '.join(missed)}\n" if missed else "\n")
    return complete and (options.quick or not missed)


def _in_a_process(name: str, options: settings.Options) -> list[figures.Figure] | None:
    """The figures of a group or of its part, or None if it failed; TensorFlow starts afresh for each."""
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        result = pathlib.Path(folder, "figures.json")
        arguments = [name, str(result), json.dumps(dataclasses.asdict(options))]
        command = [sys.executable, "-m", "tests.benchmarks.groups", *arguments]
        done = subprocess.run(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}, check=False)
        if done.returncode or not result.exists():
            return None
        return figures.read_json(str(result))


def main(name: str, path: str, options: str) -> None:
    """Measure one group in this process and write its figures to `path`."""
    group = importlib.import_module(f"tests.benchmarks.{_MODULES.get(name, name)}")
    figures.write_json(group.measure(settings.Options(**json.loads(options))), path)
    for line in group.missing() if hasattr(group, "missing") else ():
        sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
