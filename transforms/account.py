"""Count every record through the pipeline, exactly: read = explained + skipped + dead letters.

Runners may run a bundle twice, and then metrics count twice. These counts are elements of the pipeline, so they are
what the tables hold.
"""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Iterable, Iterator

import apache_beam as beam
from apache_beam.io import filesystems
from apache_beam.transforms import window
from apache_beam.utils import windowed_value


@dataclasses.dataclass
class Account(beam.PTransform):
    """Counts of named collections, written as one JSON object ``{name: count}``.

    Takes a dict of collections; an empty one is counted as 0.

    Attributes:
        path: of the file to write, on any Beam file system.
    """

    path: str

    def expand(self, counted: dict[str, beam.PCollection]) -> beam.PCollection:
        counts = [elements | f"Count {name}" >> beam.ParDo(_CountFn(name)) for name, elements in counted.items()]
        return (
            tuple(counts)
            | beam.Flatten()
            | "Add" >> beam.CombineGlobally(_AddFn())
            | "Write" >> beam.Map(_write, tuple(counted), self.path).with_output_types(str)
        )


@beam.typehints.with_output_types(dict[str, int])
class _CountFn(beam.DoFn):
    """One ``{name: count}`` per bundle."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def start_bundle(self) -> None:
        self._count = 0

    def process(self, _: object) -> None:
        self._count += 1

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        whole = window.GlobalWindow()
        yield windowed_value.WindowedValue({self._name: self._count}, whole.max_timestamp(), [whole])


@beam.typehints.with_input_types(dict[str, int])
@beam.typehints.with_output_types(dict[str, int])
class _AddFn(beam.CombineFn):
    def create_accumulator(self) -> dict[str, int]:
        return {}

    def add_input(self, accumulator: dict[str, int], counts: dict[str, int]) -> dict[str, int]:
        return self.merge_accumulators([accumulator, counts])

    def merge_accumulators(self, accumulators: Iterable[dict[str, int]]) -> dict[str, int]:
        total: collections.Counter[str] = collections.Counter()
        for counts in accumulators:
            total.update(counts)
        return dict(total)

    def extract_output(self, accumulator: dict[str, int]) -> dict[str, int]:
        return accumulator


def _write(counts: dict[str, int], names: tuple[str, ...], path: str) -> str:
    with filesystems.FileSystems.create(path) as file:
        file.write(json.dumps({name: counts.get(name, 0) for name in names}).encode())
    return path


def read_counts(path: str) -> dict[str, int]:
    """The counts that `Account` wrote."""
    with filesystems.FileSystems.open(path) as file:
        counts: dict[str, int] = json.loads(file.read())
    return counts


def totals(counts: dict[str, int]) -> dict[str, int]:
    """The counts of the manifest, from the counts of the collections.

    Args:
        counts: ``parsed``, ``decoded``, ``explained``, ``skipped`` and ``dead_letters_STAGE`` for the stages
            ``read``, ``decode``, ``explain``; ``reused`` and ``computed`` in a run that reuses an earlier one.

    Returns:
        ``records_read``, ``images_explained``, ``images_skipped`` and ``dead_letters``; with ``reused``, also
        ``images_reused``: how many of ``images_explained`` were taken from the earlier run without asking the model.
    """
    reused = {"images_reused": counts["reused"]} if "reused" in counts else {}
    return reused | {
        "records_read": counts["parsed"] + counts["dead_letters_read"],
        "images_explained": counts["explained"],
        "images_skipped": counts["skipped"],
        "dead_letters": sum(counts[f"dead_letters_{stage}"] for stage in ("read", "decode", "explain")),
    }


def problems(counts: dict[str, int]) -> list[str]:
    """What does not add up, in words, step by step; nothing if every record is accounted for."""
    steps: list[tuple[str, int, tuple[str, ...]]] = [
        ("decode", counts["parsed"], ("decoded", "dead_letters_decode")),
        ("explain", counts["decoded"], ("explained", "skipped", "dead_letters_explain")),
        ("localize", counts["explained"], ("localized",)),
    ]
    if "reused" in counts:
        steps.append(("the explanations", counts["explained"], ("reused", "computed")))
    found = []
    for step, came, outputs in steps:
        left = sum(counts[name] for name in outputs)
        if came != left:
            parts = " + ".join(f"{counts[name]} {name}" for name in outputs)
            found.append(f"{came} records went into {step}, but {parts} = {left} came out")
    return found
