"""What a part of two joined runs adds to a comparison."""

from __future__ import annotations

import collections
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from heatbeam.compare import map_pairs, paired_sums, pairs
from heatbeam.transforms.metrics import registry, slicing
from heatbeam.transforms.metrics.localization import top_k
from heatbeam.transforms.tables import schemas

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

LISTED_IMAGES = 50

COUNTS = {
    "images_in_both": "images in both runs",
    "images_only_baseline": "images only in the baseline",
    "images_only_candidate": "images only in the candidate",
    "images_changed": "images whose bytes differ",
    "images_repeated": "image ids left out: they stand for several records of a run",
    "images_marked": "images in both runs that were marked in a review of either",
    "rows_paired": "rows with the same image, class and method in both runs",
    "rows_unpaired": "rows of shared images and methods whose class is explained in one run only",
    "rows_repeated": "rows left out: image, class and method stand in a run more than once",
    "decision_flips": "images whose first choice differs",
    "decisions_fixed": "of these, wrong before and right now",
    "decisions_broken": "of these, right before and wrong now",
    "decisions_other": "of these, wrong before and after, or without a label",
    "decision_flips_marked": "of these, marked in a review of either run",
    "maps_compared": "pairs whose maps both say something",
    "map_flips": "of these, the strongest areas share less than half",
    "map_flips_same_decision": "of the map flips, those of images whose first choice is the same",
}
"""Name and meaning of each count of a comparison."""

_NOT_METRICS = schemas.OF_THE_MODEL


class Work:
    """Adds up a comparison, part by part.

    Args:
        schemas_: of both tables of explanations.
        class_names: of the baseline, by class id; those beyond it are named by the candidate's rows.
        primary_target: whose maps are in the slices ``all``, ``class`` and the features.
        replicates, map_flip_overlap, examples, flips: as in `compare.Options`.
        marked: digests of the images that people marked in either run.
    """

    def __init__(
        self,
        schemas_: Sequence[pa.Schema],
        *,
        class_names: Sequence[str],
        primary_target: str,
        replicates: int,
        map_flip_overlap: float,
        examples: int,
        flips: int,
        marked: Collection[str] = (),
    ):
        self._values = _common(schemas_, "value", _NOT_METRICS)
        self._slices = _common(schemas_, "slice", ())
        names = set(schemas_[0].names).intersection(*(one.names for one in schemas_))
        self.columns = [*dict.fromkeys([*map_pairs.columns(names), *self._values, *self._slices])]
        self._class_names = class_names
        self._primary = primary_target
        self._replicates = replicates
        self._flip_below = map_flip_overlap
        self._limit, self._flips = examples, flips
        self._marked = pa.array(sorted(marked), pa.string())
        derived = top_k.TOP_COLUMNS if "box_hit" in self._values else ()
        metrics = [registry.dataset_name(name) for name in (*self._values, *derived)]
        self._maps = paired_sums.PairedSums(metrics, tuple(map_pairs.MEASURES), replicates)
        labels = [registry.dataset_name(name) for name in top_k.LABEL_COLUMNS]
        self._labels = paired_sums.PairedSums(labels, (), replicates)
        self._decisions = paired_sums.PairedSums((), ("decision_flip",), replicates)
        self.counts: collections.Counter[str] = collections.Counter(dict.fromkeys(COUNTS, 0))
        self.only_baseline: list[str] = []
        self.only_candidate: list[str] = []
        self.repeated: list[str] = []
        self.histograms: dict[str, dict[str, list[int]]] = {}
        self.examples: list[map_pairs.Example] = []
        self.flips: list[map_pairs.Example] = []

    def sums(self) -> tuple[paired_sums.PairedSums, ...]:
        """Everything that was added up."""
        return self._maps, self._labels, self._decisions

    def add(self, part: pairs.Joined) -> pa.Table:
        """Count a part; its pairs, as rows of `map_pairs.PAIRS`."""
        self._add_images(part)
        flipped = _differ(part.baseline["predicted_class_id"], part.candidate["predicted_class_id"])
        measures = map_pairs.similarity(part.baseline, part.candidate)
        overlap = measures["map_top20_overlap"]
        map_flip = np.where(np.isfinite(overlap), overlap < self._flip_below, np.nan)
        self.counts.update({
            "rows_paired": part.baseline.num_rows,
            "rows_unpaired": part.unpaired,
            "rows_repeated": part.repeated,
            "maps_compared": int(np.isfinite(map_flip).sum()),
            "map_flips": int(np.nansum(map_flip)),
            "map_flips_same_decision": int(np.nansum(map_flip[~flipped])),
        })  # fmt: skip
        targets = _targets_of_both(part)
        self._add_rows(part, {**measures, "map_flip": map_flip}, targets)
        right = (_right(part.baseline), _right(part.candidate))
        self._keep(map_pairs.most_changed(part.baseline, part.candidate, measures, right, self._limit))
        primary = targets.get(self._primary, np.zeros(part.baseline.num_rows, bool))
        found = map_pairs.flips(part.baseline, part.candidate, measures, right, flipped & primary, self._flips)
        self.flips = _first_of_each([*self.flips, *found], map_pairs.by_decision, self._flips)
        return _pairs_table(part, measures, map_flip, flipped)

    def _add_images(self, part: pairs.Joined) -> None:
        first, second = part.baseline_images, part.candidate_images
        flipped = _differ(first["predicted_class_id"], second["predicted_class_id"])
        was, now = _right(first), _right(second)
        digests = (first["image_sha256"], second["image_sha256"])
        changed = _differ(*digests)
        marked = np.logical_or(*(pc.is_in(side, value_set=self._marked).to_numpy() for side in digests))
        self.counts.update({
            "images_in_both": first.num_rows,
            "images_only_baseline": len(part.only_baseline),
            "images_only_candidate": len(part.only_candidate),
            "images_changed": int(changed.sum()),
            "images_repeated": len(part.repeated_images),
            "images_marked": int(marked.sum()),
            "decision_flips": int(flipped.sum()),
            "decisions_fixed": int((flipped & ~was & now).sum()),
            "decisions_broken": int((flipped & was & ~now).sum()),
            "decisions_other": int((flipped & (was == now)).sum()),
            "decision_flips_marked": int((flipped & marked).sum()),
        })  # fmt: skip
        for listed, ids in (
            (self.only_baseline, part.only_baseline), (self.only_candidate, part.only_candidate),
            (self.repeated, part.repeated_images),
        ):  # fmt: skip
            listed[:] = sorted([*listed, *ids])[:LISTED_IMAGES]
        labels = _first_label(first)
        slicings = [_everything(np.ones(first.num_rows, bool)), *self._features(first, np.ones(first.num_rows, bool))]
        slicings.append(self._classes(labels, [None] * len(labels), labels >= 0))
        nothing = np.zeros((first.num_rows, 0))
        weights, images = self._weights(first)
        flips = flipped[:, None].astype(np.float64)
        self._decisions.add(slicing.MODEL, slicings, nothing, nothing, flips, weights, images)

    def _add_rows(self, part: pairs.Joined, measures: dict[str, Floats], targets: Mapping[str, Bools]) -> None:
        first, second = part.baseline, part.candidate
        if not first.num_rows:
            return
        weights, images = self._weights(first)
        values = [self._metrics(table) for table in (first, second)]
        agreement = np.column_stack([measures[name] for name in map_pairs.MEASURES])
        slicings = self._slicings(part, targets)
        methods, of_row = _coded(first["method"])
        for code, method in enumerate(methods):
            rows = np.flatnonzero(of_row == code)
            own = [side[rows] for side in (*values, agreement)]
            self._maps.add(method, _rows_of(slicings, rows), own[0], own[1], own[2], weights, images[rows])
            for name, (low, high) in map_pairs.BINS.items():
                self._count(method, name, measures[name][rows], low, high)
        # The model says the same whatever the method: one row of each image and class is enough.
        labels = np.flatnonzero(_labelled(first) & _labelled(second))
        keys = np.column_stack([images, first["class_id"].to_numpy()])[labels]
        rows = labels[np.sort(np.unique(keys, axis=0, return_index=True)[1])]
        was, now = (_model_metrics(table)[rows] for table in (first, second))
        nothing = np.zeros((len(rows), 0))
        self._labels.add(slicing.MODEL, _rows_of(slicings, rows), was, now, nothing, weights, images[rows])

    def _weights(self, table: pa.Table) -> tuple[npt.NDArray[np.uint8], Ints]:
        ids, images = _coded(table["image_id"])
        return paired_sums.weights_of(ids, self._replicates), images

    def _metrics(self, table: pa.Table) -> Floats:
        columns = {name: _floats(table[name]) for name in self._values}
        if "box_hit" in columns:
            columns |= top_k.top_k(columns["box_hit"], _floats(table["rank"]))
        return np.column_stack([*columns.values()]) if columns else np.zeros((table.num_rows, 0))

    def _slicings(self, part: pairs.Joined, targets: Mapping[str, Bools]) -> list[paired_sums.Slicing]:
        primary = targets.get(self._primary, np.zeros(part.baseline.num_rows, bool))
        ids = np.asarray(part.baseline["class_id"].to_numpy(), np.int64)
        slicings = [
            _everything(primary),
            self._classes(ids, part.baseline["class_name"].to_pylist(), primary),
            *self._features(part.baseline, primary),
        ]
        return slicings + [
            paired_sums.Slicing(slicing.TARGET, np.where(there, 0, -1), [target])
            for target, there in targets.items()
            if target != self._primary
        ]

    def _classes(self, ids: Ints, names: Sequence[str | None], wanted: Bools) -> paired_sums.Slicing:
        found, first, codes = np.unique(ids, return_index=True, return_inverse=True)
        known = len(self._class_names)
        values = [
            self._class_names[i] if 0 <= i < known else names[row] or f"class {i}"
            for i, row in zip(found.tolist(), first, strict=True)
        ]
        return paired_sums.Slicing(slicing.CLASS, np.where(wanted, codes, -1), values)

    def _features(self, table: pa.Table, wanted: Bools) -> list[paired_sums.Slicing]:
        slicings = []
        for name in self._slices:
            values, codes = _coded(table[name])
            slicings.append(
                paired_sums.Slicing(name.removeprefix(schemas.SLICE_PREFIX), np.where(wanted, codes, -1), values)
            )
        return slicings

    def _count(self, method: str, measure: str, values: Floats, low: float, high: float) -> None:
        there = np.clip(values[np.isfinite(values)], low, high)
        counts = np.histogram(there, map_pairs.BIN_COUNT, (low, high))[0]
        bins = self.histograms.setdefault(method, {}).setdefault(measure, [0] * map_pairs.BIN_COUNT)
        bins[:] = [had + more for had, more in zip(bins, counts.tolist(), strict=True)]

    def _keep(self, found: Sequence[map_pairs.Example]) -> None:
        self.examples = _first_of_each([*self.examples, *found], map_pairs.by_overlap, self._limit)


def _first_of_each(
    found: Sequence[map_pairs.Example], order: Callable[[map_pairs.Example], tuple[Any, ...]], limit: int
) -> list[map_pairs.Example]:
    """The first `limit` of each group, which `order` gives first, in that order."""
    kept: collections.Counter[Any] = collections.Counter()
    chosen = []
    for one in sorted(found, key=order):
        group = order(one)[0]
        kept[group] += 1
        if kept[group] <= limit:
            chosen.append(one)
    return chosen


def _common(both: Sequence[pa.Schema], role: str, left_out: Sequence[str]) -> list[str]:
    first, second = (schemas.column_names(schema, role) for schema in both)
    return [name for name in first if name in second and name not in left_out]


def _rows_of(slicings: Sequence[paired_sums.Slicing], rows: Ints) -> list[paired_sums.Slicing]:
    return [paired_sums.Slicing(one.name, one.codes[rows], one.values) for one in slicings]


def _everything(wanted: Bools) -> paired_sums.Slicing:
    return paired_sums.Slicing(slicing.ALL, np.where(wanted, 0, -1), [""])


def _coded(column: pa.ChunkedArray) -> tuple[list[str], Ints]:
    """The values of a string column and the number of each row's; -1 for null."""
    coded = column.combine_chunks().dictionary_encode()
    if isinstance(coded, pa.ChunkedArray):
        coded = coded.combine_chunks() if coded.num_chunks == 1 else coded.unify_dictionaries().combine_chunks()
    return coded.dictionary.to_pylist(), coded.indices.fill_null(-1).to_numpy(zero_copy_only=False).astype(np.int64)


def _floats(column: pa.ChunkedArray) -> Floats:
    return np.asarray(column.to_numpy(), np.float64)


def _differ(first: pa.ChunkedArray, second: pa.ChunkedArray) -> Bools:
    return np.asarray(pc.not_equal(first, second).to_numpy(), bool)


def _lists(table: pa.Table, name: str) -> tuple[pa.Array, Ints, Ints]:
    """Values of a list column, the row of each, and the lengths."""
    lists = table[name].combine_chunks()
    lists = lists if isinstance(lists, pa.Array) else pa.concat_arrays(lists.chunks)
    lengths = pairs.list_lengths(lists)
    return lists.flatten(), np.repeat(np.arange(len(lengths)), lengths), lengths


def _holds(table: pa.Table, ids: Ints) -> Bools:
    """Whether the labels of each row hold the row's id."""
    labels, of_row, _ = _lists(table, "label_ids")
    found = np.zeros(table.num_rows, bool)
    equal = labels.to_numpy(zero_copy_only=False) == ids[of_row]
    found[of_row[equal]] = True
    return found


def _right(table: pa.Table) -> Bools:
    return _holds(table, np.asarray(table["predicted_class_id"].to_numpy(), np.int64))


def _labelled(table: pa.Table) -> Bools:
    return _holds(table, np.asarray(table["class_id"].to_numpy(), np.int64))


def _first_label(table: pa.Table) -> Ints:
    labels, _, lengths = _lists(table, "label_ids")
    starts = np.cumsum(lengths) - lengths
    first = np.full(table.num_rows, -1, np.int64)
    there = lengths > 0
    first[there] = labels.to_numpy(zero_copy_only=False)[starts[there]]
    return first


def _targets_of_both(part: pairs.Joined) -> dict[str, Bools]:
    """Of each target whether it is a reason for the row in both runs."""
    found: list[dict[str, Bools]] = []
    for table in (part.baseline, part.candidate):
        values, of_row, _ = _lists(table, "targets")
        names = np.array(values.to_pylist(), object)
        found.append({})
        for name in sorted(set(names)):
            there = np.zeros(table.num_rows, bool)
            there[of_row[names == name]] = True
            found[-1][name] = there
    return {name: there & found[1][name] for name, there in found[0].items() if name in found[1]}


def _model_metrics(table: pa.Table) -> Floats:
    found = top_k.label_columns(_floats(table["rank"]), _floats(table["probability"]))
    return np.column_stack([found[name] for name in top_k.LABEL_COLUMNS])


def _pairs_table(part: pairs.Joined, measures: dict[str, Floats], map_flip: Floats, flipped: Bools) -> pa.Table:
    columns = {name: part.baseline[name] for name in ("image_id", "class_id", "class_name", "method")}
    columns |= {name: pa.array(values, pa.float32(), from_pandas=True) for name, values in measures.items()}
    columns["map_flip"] = pa.array(map_flip == 1, mask=np.isnan(map_flip))
    columns["decision_flip"] = pa.array(flipped)
    columns["baseline_probability"] = part.baseline["probability"]
    columns["candidate_probability"] = part.candidate["probability"]
    return pa.Table.from_arrays([columns[name] for name in map_pairs.PAIRS.names], schema=map_pairs.PAIRS)
