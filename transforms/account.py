"""Count every record through the pipeline, exactly: read = explained + skipped + dead letters.

Runners may run a bundle twice, and then metrics count twice. These counts are elements of the pipeline, so they are
what the tables hold.
"""

from __future__ import annotations

import dataclasses
import json

import apache_beam as beam
from apache_beam.io import filesystems


@dataclasses.dataclass
class Account(beam.PTransform):
    """Counts of named collections, written as one JSON object ``{name: count}``.

    Takes a dict of collections; an empty one is counted as 0.

    Attributes:
        path: of the file to write, on any Beam file system.
    """

    path: str

    def expand(self, collections: dict[str, beam.PCollection]) -> beam.PCollection:
        counts = [
            elements
            | f"Count {name}" >> beam.combiners.Count.Globally()
            | f"Name {name}" >> beam.Map(_named, name).with_output_types(tuple[str, int])
            for name, elements in collections.items()
        ]
        return (
            tuple(counts)
            | beam.Flatten()
            | beam.combiners.ToDict()
            | "Write" >> beam.Map(_write, self.path).with_output_types(str)
        )


def _named(count: int, name: str) -> tuple[str, int]:
    return name, count


def _write(counts: dict[str, int], path: str) -> str:
    with filesystems.FileSystems.create(path) as file:
        file.write(json.dumps(counts).encode())
    return path


def read_counts(path: str) -> dict[str, int]:
    """The counts that `Account` wrote."""
    with filesystems.FileSystems.open(path) as file:
        return json.loads(file.read())


def totals(counts: dict[str, int]) -> dict[str, int]:
    """The counts of the manifest, from the counts of the collections.

    Args:
        counts: ``parsed``, ``decoded``, ``explained``, ``skipped`` and ``dead_letters_STAGE`` for the stages
            ``read``, ``decode``, ``explain``.

    Returns:
        ``records_read``, ``images_explained``, ``images_skipped`` and ``dead_letters``.
    """
    return {
        "records_read": counts["parsed"] + counts["dead_letters_read"],
        "images_explained": counts["explained"],
        "images_skipped": counts["skipped"],
        "dead_letters": sum(counts[f"dead_letters_{stage}"] for stage in ("read", "decode", "explain")),
    }


def problems(counts: dict[str, int]) -> list[str]:
    """What does not add up, in words, step by step; nothing if every record is accounted for."""
    steps = (
        ("decode", counts["parsed"], ("decoded", "dead_letters_decode")),
        ("explain", counts["decoded"], ("explained", "skipped", "dead_letters_explain")),
        ("localize", counts["explained"], ("localized",)),
    )
    found = []
    for step, came, outputs in steps:
        left = sum(counts[name] for name in outputs)
        if came != left:
            parts = " + ".join(f"{counts[name]} {name}" for name in outputs)
            found.append(f"{came} records went into {step}, but {parts} = {left} came out")
    return found
