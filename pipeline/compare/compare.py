"""Two runs held against each other, image by image: settings, decisions, maps and metrics.

What is compared with what:
    * Rows with the same image, class and method are pairs. An image is known by its id; an id that stands for several
      records of a run does not say which of them is meant, so its rows are left out, counted and named. Where the two
      models choose different classes, a class may be explained in one run only: such rows have no pair and are counted.
    * A *decision flip* is an image whose first choice differs. A *map flip* is a pair whose maps share less than a
      third of their strongest 20 % (intersection over union), that is, less than half of either area.
    * Differences are candidate - baseline. A metric that is a mean over images is compared over the pairs, with a
      paired bootstrap interval; another one (MaxBoxAcc, PxAP) from both summaries, as if they were independent.
    * Where the runs share less than a tenth of their images, as audits of each week's new ones do, they are different
      samples: every metric comes from both summaries, and `drift` tests whether the model's reasons moved.
    * Slices are those of the summary: ``all``, ``class`` and the slice features, for the maps of the primary target;
      ``target`` for the others. Method ``model`` is the model itself.

Memory does not grow with the runs: rows are joined part by part (`pairs`), and only sums are kept.
"""

from __future__ import annotations

import collections
import dataclasses
import functools
import math
import os
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow.dataset as ds
import pyarrow.parquet as pq

from heatbeam.compare import compare_rows, map_pairs, paired_sums, pairs
from heatbeam.compare.drift import moved
from heatbeam.runs import remote_files, reviews, run_directory, run_methods, settings_diff, summaries
from heatbeam.transforms import errors
from heatbeam.transforms.metrics import paired, registry, slicing
from heatbeam.transforms.metrics.alarms import samples
from heatbeam.transforms.tables import axis_columns

MEASURES = {**map_pairs.MEASURES, "decision_flip": "share of images whose first choice differs"}
"""Name and meaning of every measure of `Agreement`."""

_LOWER_IS_BETTER = ("map_centroid_shift", "map_flip", "decision_flip")
_HIGHER_IS_BETTER = ("map_spearman", "map_top20_overlap")


class ComparisonError(errors.UserError, ValueError):
    """The two runs cannot be compared; the message says why."""


@dataclasses.dataclass(frozen=True)
class Options:
    """How runs are compared.

    Attributes:
        replicates: of the bootstrap.
        map_flip_overlap: a pair with less `map_top20_overlap` is a map flip.
        examples: most changed maps to keep, per method.
        flips: images with another first choice to keep, per method and change (`map_pairs.CHANGES`).
        part_bytes: how much of a run is held in memory at a time, about.
        shared_images: runs that share less than this part of the smaller one's images are different samples.
    """

    replicates: int = 400
    map_flip_overlap: float = 1 / 3
    examples: int = 6
    flips: int = 8
    part_bytes: int = pairs.PART_BYTES
    shared_images: float = 0.1


class Difference(NamedTuple):
    """A metric in both runs; NaN where a number does not exist.

    `baseline` and `candidate` are over the n pairs, or over the whole runs where `interval` is ``unpaired`` (n is the
    smaller of both then). `better` is ``higher``, ``lower`` or ``none``.
    """

    method: str
    slice_name: str
    slice_value: str
    metric: str
    baseline: float
    candidate: float
    difference: float
    lower: float
    upper: float
    n: int
    interval: str
    better: str

    @property
    def noticed(self) -> bool:
        """Whether the interval leaves out 0."""
        return self.lower > 0 or self.upper < 0


class Agreement(NamedTuple):
    """The mean of a measure of how alike the runs are; `measure` is one of `MEASURES`."""

    method: str
    slice_name: str
    slice_value: str
    measure: str
    value: float
    lower: float
    upper: float
    n: int


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    """What `compare` found.

    Attributes:
        baseline, candidate: paths of the runs.
        settings: what differs in the settings.
        incomparable: why metrics were not compared; empty if they were.
        counts: images and rows, in both runs or in one, and flips (`compare_rows.COUNTS`).
        only_baseline, only_candidate: ids of the first images that the other run lacks.
        repeated: ids of the first images left out because an id stands for several records of a run.
        methods_only_baseline, methods_only_candidate: methods of one run.
        controls: methods of either run that are baselines.
        differences, agreements: see `Difference` and `Agreement`.
        samples: of every paired difference and every agreement what a test needs, by the first four fields of its row.
        histograms: per method and measure, counts of the pairs in equal bins (`map_pairs.BINS`).
        examples: the most changed maps.
        flips: images whose first choice differs, in the order of `map_pairs.by_decision`.
        class_names: of the baseline, by id; empty if it has none.
        options: how it was made.
        marks: what people marked in either run, in words, by the digest of the image.
        drift: whether the model's reasons moved; None for runs over the same images, whose pairs say more.
        unread_marks: why the marks of a run are not among `marks`, for each of which they could not be read.
    """

    baseline: str
    candidate: str
    settings: tuple[settings_diff.Setting, ...]
    incomparable: tuple[str, ...]
    counts: dict[str, int]
    only_baseline: tuple[str, ...]
    only_candidate: tuple[str, ...]
    repeated: tuple[str, ...]
    methods_only_baseline: tuple[str, ...]
    methods_only_candidate: tuple[str, ...]
    controls: frozenset[str]
    differences: tuple[Difference, ...]
    agreements: tuple[Agreement, ...]
    samples: Mapping[summaries.Key, samples.Sample]
    histograms: dict[str, dict[str, list[int]]]
    examples: tuple[map_pairs.Example, ...]
    flips: tuple[map_pairs.Example, ...]
    class_names: tuple[str, ...]
    options: Options
    marks: Mapping[str, tuple[str, ...]]
    drift: moved.Drift | None = None
    unread_marks: tuple[str, ...] = ()

    @property
    def different_images(self) -> bool:
        """Whether the runs were compared as different samples."""
        return self.drift is not None


def compare(
    baseline_path: str,
    candidate_path: str,
    pairs_path: str | os.PathLike[str] | None = None,
    options: Options | None = None,
) -> Comparison:
    """Compare two finished runs.

    Args:
        baseline_path, candidate_path: run directories.
        pairs_path: Parquet file to write, one row per pair with its similarity and flips (`map_pairs.PAIRS`), or None.
        options: see `Options`.

    Raises:
        run_directory.RunDirectoryError: if one of them is not a finished run.
        ComparisonError: if the classes of the runs cannot be told apart by name, or their inputs have other axes.
    """
    options = options or Options()
    runs = [run_directory.RunDirectory(path) for path in (baseline_path, candidate_path)]
    both = [run.read_manifest() for run in runs]
    tables = [run.open_table("explanations") for run in runs]
    _check_ranks((baseline_path, candidate_path), tables)
    settings = settings_diff.differences(*both)
    incomparable = settings_diff.incomparable(settings)
    reviewed = [reviews.readable(path) for path in (baseline_path, candidate_path)]
    marks = reviews.by_image(table for table, _ in reviewed)
    work = compare_rows.Work(
        [table.schema for table in tables],
        class_names=slicing.distinct_names(both[0].class_names),
        primary_target=both[0].primary_target,
        replicates=options.replicates,
        map_flip_overlap=options.map_flip_overlap,
        examples=options.examples,
        flips=options.flips,
        marked=marks,
    )
    mapping = class_ids(*(one.class_names for one in both))
    _add_all(work, tables, mapping, options.part_bytes, pairs_path)
    methods = [_methods(table) for table in tables]
    apart = _different_images(work.counts, options.shared_images)
    rows = [] if incomparable or apart else list(_paired(work.sums()))
    rows += [] if incomparable else _unpaired({row[:4] for row in rows}, [summaries.read(run) for run in runs])
    return Comparison(
        baseline=baseline_path,
        candidate=candidate_path,
        settings=tuple(settings),
        incomparable=tuple(incomparable),
        counts=dict(work.counts),
        only_baseline=tuple(work.only_baseline),
        only_candidate=tuple(work.only_candidate),
        repeated=tuple(work.repeated),
        methods_only_baseline=tuple(sorted(methods[0] - methods[1])),
        methods_only_candidate=tuple(sorted(methods[1] - methods[0])),
        controls=run_methods.controls(both[0]) | run_methods.controls(both[1]),
        differences=tuple(sorted(rows, key=lambda row: row[:4])),
        agreements=tuple(_agreements(work.sums())),
        # The few pairs of runs over different images are no sample of a difference that is of both whole runs.
        samples={
            (*key, name): one
            for sums in work.sums()
            for key, name, one in sums.samples()
            if not apart or name in MEASURES
        },
        histograms=work.histograms,
        examples=tuple(work.examples),
        flips=tuple(work.flips),
        class_names=tuple(slicing.distinct_names(both[0].class_names)),
        options=options,
        marks=marks,
        drift=moved.between(both, tables, mapping) if apart else None,
        unread_marks=tuple(why for _, why in reviewed if why),
    )


def _different_images(counts: Mapping[str, int], shared_images: float) -> bool:
    smaller = counts["images_in_both"] + min(counts["images_only_baseline"], counts["images_only_candidate"])
    return counts["images_in_both"] < shared_images * smaller


def _check_ranks(paths: Sequence[str], tables: Sequence[ds.Dataset]) -> None:
    ranks = [axis_columns.rank_of(table.schema.names) for table in tables]
    if ranks[0] != ranks[1]:
        axes = ", ".join(f"those of {path} have {rank}" for path, rank in zip(paths, ranks, strict=True))
        raise ComparisonError(f"the inputs of the runs have other position axes: {axes}; compare runs on the same data")


def _add_all(
    work: compare_rows.Work,
    tables: Sequence[ds.Dataset],
    mapping: npt.NDArray[np.int64] | None,
    part_bytes: int,
    pairs_path: str | os.PathLike[str] | None,
) -> None:
    parts = pairs.join(tables[0], tables[1], work.columns, mapping, part_bytes)
    if pairs_path is None:
        for part in parts:
            work.add(part)
        return
    with (
        remote_files.open_output(pairs_path) as stream,
        pq.ParquetWriter(stream, map_pairs.PAIRS, compression="zstd") as writer,
    ):
        for part in parts:
            writer.write_table(work.add(part))


def class_ids(baseline: Sequence[str], candidate: Sequence[str]) -> npt.NDArray[np.int64] | None:
    """The baseline's id of each class of the candidate, by name; None if the ids mean the same.

    A class that the baseline does not have gets an id beyond the baseline's.

    Args:
        baseline, candidate: names of the classes of the runs, by id.

    Raises:
        ComparisonError: if the names differ and are not unique in a run.
    """
    first, second = list(baseline), list(candidate)
    if first == second or not first or not second:
        return None
    for side, names in (("baseline", first), ("candidate", second)):
        twice = [name for name, count in collections.Counter(names).items() if count > 1]
        if twice:
            raise ComparisonError(
                f"the runs have other classes, and the {side} has {len(twice)} names twice ({', '.join(twice[:3])}), so"
                " that classes cannot be matched by name; give model.class_names with unlike names"
            )
    known = {name: i for i, name in enumerate(first)}
    return np.array([known.get(name, len(first) + i) for i, name in enumerate(second)], np.int64)


def _methods(table: ds.Dataset) -> set[str]:
    return {method for batch in table.to_batches(columns=["method"]) for method in batch["method"].unique().to_pylist()}


@functools.cache
def better(metric: str) -> str:
    """Which direction of a metric is better: ``higher``, ``lower`` or ``none``."""
    if metric in _LOWER_IS_BETTER or metric in _HIGHER_IS_BETTER:
        return "lower" if metric in _LOWER_IS_BETTER else "higher"
    return registry.better(metric)


def _paired(sums: Sequence[paired_sums.PairedSums]) -> Iterator[Difference]:
    for one in sums:
        for (method, name, value), metric, first, second, mean in one.differences():
            yield Difference(
                method, name, value, metric, first, second, mean.value, mean.lower, mean.upper, mean.n, mean.interval,
                better(metric),
            )  # fmt: skip


def _unpaired(
    done: Collection[summaries.Key], summaries: Sequence[dict[summaries.Key, paired.Mean]]
) -> Iterator[Difference]:
    """Metrics of both summaries that no pair tells of."""
    first, second = summaries
    for key in first.keys() & second.keys() - set(done):
        b, c = first[key], second[key]
        lower, upper = paired.unpaired_difference((b.value, b.lower, b.upper), (c.value, c.lower, c.upper))
        kind = "none" if math.isnan(lower) else "unpaired"
        yield Difference(*key, b.value, c.value, c.value - b.value, lower, upper, min(b.n, c.n), kind, better(key[3]))


def _agreements(sums: Sequence[paired_sums.PairedSums]) -> Iterator[Agreement]:
    for one in sums:
        for key, measure, mean in one.agreements():
            yield Agreement(*key, measure, mean.value, mean.lower, mean.upper, mean.n)
