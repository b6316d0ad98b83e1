"""Count every record through the pipeline, exactly: read = explained + skipped + dead letters (+ not needed).

What is lost behind damage comes on top: the records of the shards are those read and those lost. Runners may run a
bundle twice, and then metrics count twice. These counts are elements of the pipeline, so they are what the tables hold.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Mapping

import apache_beam as beam
from apache_beam.io import filesystems
from apache_beam.transforms import window
from apache_beam.utils import windowed_value

from heatbeam.transforms import records
from heatbeam.transforms.sources import losses


@dataclasses.dataclass(frozen=True)
class Counted:
    """What a job counted.

    Attributes:
        counts: by name of the collection, or of the amount.
        shards: by name of the shard, what was read of it.
    """

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    shards: dict[str, losses.ShardRead] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Account(beam.PTransform):
    """Counts of named collections and what was read of each shard, written as one JSON object for `read_counts`.

    Takes a dict of collections; an empty one is counted as 0. The one called `SHARDS`, of `losses.ShardRead`, is joined
    by shard; the one called `AMOUNTS`, of ``{name: number}``, is added up.

    Attributes:
        path: of the file to write, on any Beam file system.
    """

    path: str

    def expand(self, counted: dict[str, beam.PCollection]) -> beam.PCollection:
        names = tuple(name for name in counted if name not in (SHARDS, AMOUNTS))
        parts = [counted[name] | f"Count {name}" >> beam.ParDo(_CountFn(name)) for name in names]
        if SHARDS in counted:
            parts.append(counted[SHARDS] | "Shards" >> beam.Map(_of_shard).with_output_types(Counted))
        if AMOUNTS in counted:
            parts.append(counted[AMOUNTS] | "Amounts" >> beam.Map(Counted).with_output_types(Counted))
        return (
            tuple(parts)
            | beam.Flatten()
            | "Add" >> beam.CombineGlobally(_AddFn())
            | "Write" >> beam.Map(_write, names, self.path).with_output_types(str)
        )


SHARDS = "shards"
AMOUNTS = "amounts"


@beam.typehints.with_output_types(Counted)
class _CountFn(beam.DoFn):
    """One `Counted` per bundle."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._count = 0

    def start_bundle(self) -> None:
        self._count = 0

    def process(self, _: object) -> None:
        self._count += 1

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        whole = window.GlobalWindow()
        yield windowed_value.WindowedValue(Counted({self._name: self._count}), whole.max_timestamp(), [whole])


def _of_shard(read: losses.ShardRead) -> Counted:
    return Counted(shards={read.name: read})


@beam.typehints.with_input_types(Counted)
@beam.typehints.with_output_types(Counted)
class _AddFn(beam.CombineFn):
    def create_accumulator(self) -> Counted:
        return Counted()

    def add_input(self, accumulator: Counted, counted: Counted) -> Counted:
        """The accumulator is changed: a copy of all shards for each shard would cost their square."""
        for name, count in counted.counts.items():
            accumulator.counts[name] = accumulator.counts.get(name, 0) + count
        for name, read in counted.shards.items():
            known = accumulator.shards.get(name)
            accumulator.shards[name] = read if known is None else losses.joined(known, read)
        return accumulator

    def merge_accumulators(self, accumulators: Iterable[Counted]) -> Counted:
        total = Counted()
        for accumulator in accumulators:
            self.add_input(total, accumulator)
        return total

    def extract_output(self, accumulator: Counted) -> Counted:
        return accumulator


def _write(counted: Counted, names: tuple[str, ...], path: str) -> str:
    document = {
        "counts": dict.fromkeys(names, 0) | counted.counts,
        "shards": [dataclasses.astuple(read) for read in counted.shards.values()],
    }
    with filesystems.FileSystems.create(path) as file:
        file.write(json.dumps(document).encode())
    return path


def read_counts(path: str) -> Counted:
    """What `Account` wrote."""
    with filesystems.FileSystems.open(path) as file:
        document = json.loads(file.read())
    reads = (losses.ShardRead(*fields) for fields in document["shards"])
    return Counted(document["counts"], {read.name: read for read in reads})


def totals(counted: Counted) -> dict[str, int | bool]:
    """The counts of the manifest, from the counts of the collections.

    Args:
        counted: of the collections ``parsed``, ``decoded``, ``explained``, ``skipped`` and ``dead_letters_STAGE`` for
            the stages ``read``, ``decode``, ``explain``; ``reused`` and ``computed`` in a run that reuses another.

    Returns:
        ``records_read``, ``images_explained``, ``images_skipped`` and ``dead_letters``; ``lost``, which were not read,
        and ``lost_is_estimate``, whether some of them follow from bytes; ``dropped_boxes``; with ``reused``, also
        ``images_reused``: how many of ``images_explained`` were taken from the earlier run without asking the model.
        Of a run that explains a part also ``not_needed``, the records outside of it.
    """
    counts, shards = counted.counts, losses.estimated(counted.shards.values())
    reused = {"images_reused": counts["reused"]} if "reused" in counts else {}
    not_needed = {"not_needed": counts[records.NOT_NEEDED]} if records.NOT_NEEDED in counts else {}
    return (
        reused
        | not_needed
        | {
            "records_read": _read(counts),
            "images_explained": counts["explained"],
            "images_skipped": counts["skipped"],
            "dead_letters": sum(counts[f"dead_letters_{stage}"] for stage in ("read", "decode", "explain")),
            "lost": sum(shard.lost for shard in shards),
            "lost_is_estimate": any(shard.is_estimate for shard in shards),
            "dropped_boxes": counts.get("dropped_boxes", 0),
        }
    )


def _read(counts: Mapping[str, int]) -> int:
    return counts["parsed"] + counts["dead_letters_read"] + counts.get(records.NOT_NEEDED, 0)


def problems(counted: Counted) -> list[str]:
    """What does not add up, in words, step by step; nothing if every record is accounted for.

    What is lost behind damage may be an estimate, so nothing is asked of it.
    """
    counts = counted.counts
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
    given = sum(shard.records for shard in counted.shards.values())
    read = _read(counts)
    if given != read:
        found.append(f"the shards gave {given} records, but {read} were read")
    return found
