"""The maps of paired rows: how alike they are, which flipped, and the ones that changed most."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from heatbeam.transforms.metrics import map_similarity
from heatbeam.transforms.tables import axis_columns, stored_maps

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Rights = tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]

MEASURES = {
    **map_similarity.MEASURES,
    "map_flip": "share of pairs whose strongest areas share less than half",
}

BINS = {"map_spearman": (-1.0, 1.0), "map_top20_overlap": (0.0, 1.0), "map_centroid_shift": (0.0, 1.0)}
"""Range of the histogram of each measure, in `BIN_COUNT` equal bins; values beyond it go to the last."""

BIN_COUNT = 20

CHANGES = ("now wrong", "now right", "wrong in both", "right in both")
"""What may become of a decision that flips, what is worst first."""

_CHANGE = np.array([[2, 1], [0, 3]])
"""Position in `CHANGES`, by whether the first choice was a label before and is one now."""

_PLAIN = (
    "image_id", "image_sha256", "shard", "record_index", "label_ids", "targets", "class_id", "class_name",
    "predicted_class_id", "method", "probability", "rank",
)  # fmt: skip


def columns(names: Collection[str]) -> tuple[str, ...]:
    """What is read of both tables of explanations, beside metrics and slices.

    Args:
        names: of the columns that both have.
    """
    return (*_PLAIN, *stored_maps.placed_columns(names))


PAIRS = pa.schema([
    pa.field("image_id", pa.string(), nullable=False),
    pa.field("class_id", pa.int32(), nullable=False),
    pa.field("class_name", pa.string(), nullable=False),
    pa.field("method", pa.string(), nullable=False),
    *(pa.field(name, pa.float32(), metadata={"description": text}) for name, text in map_similarity.MEASURES.items()),
    pa.field("map_flip", pa.bool_(), metadata={"description": "the strongest areas share less than half"}),
    pa.field("decision_flip", pa.bool_(), nullable=False, metadata={"description": "the first choice differs"}),
    pa.field("baseline_probability", pa.float32()),
    pa.field("candidate_probability", pa.float32()),
])  # fmt: skip
"""One row per pair, class ids being the baseline's."""


@dataclasses.dataclass(frozen=True, eq=False)
class Example:
    """A pair whose maps changed much, or whose first choice differs.

    Attributes:
        image_id, class_name, method: of the pair.
        place: shard, index and digest of the baseline's image, as of `source_images`.
        similarity: the measures.
        decision_flip: whether the first choice differs.
        probabilities: of the class, baseline and candidate; None of values.
        maps: raw maps, baseline and candidate.
        image_size: of the baseline's image, x first.
        views: of both maps, in pixels.
        first_choices: the class that each run chose, by the baseline's ids.
        right: whether these are labels.
    """

    image_id: str
    place: tuple[str, int, str]
    class_name: str
    method: str
    similarity: dict[str, float]
    decision_flip: bool
    probabilities: tuple[float | None, float | None]
    maps: tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]
    image_size: tuple[int, ...]
    views: tuple[tuple[float, ...], tuple[float, ...]]
    first_choices: tuple[int, int]
    right: tuple[bool, bool]

    @property
    def change(self) -> str:
        """What became of the decision: one of `CHANGES`."""
        return CHANGES[_CHANGE[int(self.right[0]), int(self.right[1])]]


def similarity(baseline: pa.Table, candidate: pa.Table) -> dict[str, Floats]:
    """Every measure of `map_similarity` for the rows of two tables, pair by pair."""
    count = baseline.num_rows
    found = {name: np.full(count, np.nan) for name in map_similarity.MEASURES}
    sides = [_Side(baseline), _Side(candidate)]
    moved = np.abs(sides[0].views - sides[1].views).max(axis=1, initial=0) > 1e-4
    kinds = np.column_stack([sides[0].shapes, sides[1].shapes, moved])
    for kind in np.unique(kinds, axis=0):
        rows = np.flatnonzero((kinds == kind).all(axis=1))
        first, second = (side.maps(rows) for side in sides)
        if kind[-1] or first.shape != second.shape:
            kept, first, second = _aligned(first, second, sides[0].views[rows], sides[1].views[rows])
            rows = rows[kept]
        if len(rows):
            for name, values in map_similarity.similarity(first, second).items():
                found[name][rows] = values
    return found


class _Side:
    """The maps of one run: shapes ``(R, rank)``, views ``(R, 2 rank)`` in fractions of the image, the maps by row."""

    def __init__(self, table: pa.Table):
        stored = stored_maps.StoredMaps(table)
        self.shapes, self.maps = stored.shapes, stored.maps
        rank = axis_columns.rank_of(table.column_names)
        corners = np.column_stack([table[name].to_numpy() for name in axis_columns.views(rank)])
        image = np.column_stack([table[name].to_numpy() for name in axis_columns.sizes(rank)]).astype(np.float64)
        self.views = corners / np.tile(image, 2)


def _aligned(
    first: npt.NDArray[np.float32], second: npt.NDArray[np.float32], first_views: Floats, second_views: Floats
) -> tuple[Ints, npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Positions of the pairs whose views meet, and both maps on a common grid."""
    kept, placed = [], []
    for i in range(len(first)):
        both = map_similarity.on_common_grid(first[i], second[i], tuple(first_views[i]), tuple(second_views[i]))
        if both is not None:
            kept.append(i)
            placed.append(both)
    stacks = [np.stack([pair[side] for pair in placed]) if placed else first[:0] for side in (0, 1)]
    return np.array(kept, np.int64), stacks[0], stacks[1]


def most_changed(
    baseline: pa.Table,
    candidate: pa.Table,
    measures: dict[str, Floats],
    right: Rights,
    limit: int,
) -> list[Example]:
    """Of each method the `limit` pairs with the smallest overlap, the smallest first.

    Args:
        baseline, candidate: the rows of both runs, pair by pair.
        measures: of the pairs.
        right: whether the first choice of each row is a label, in either run.
        limit: pairs of a method.
    """
    overlap = measures["map_top20_overlap"]
    methods, names = (np.array(baseline[name].to_pylist(), object) for name in ("method", "image_id"))
    rows = [
        row
        for method in sorted(set(methods))
        for row in _smallest(np.where(methods == method, overlap, np.nan), names, limit)
    ]
    return _examples(baseline, candidate, measures, right, rows)


def flips(
    baseline: pa.Table,
    candidate: pa.Table,
    measures: dict[str, Floats],
    right: Rights,
    wanted: npt.NDArray[np.bool_],
    limit: int,
) -> list[Example]:
    """Of each method and each of `CHANGES` `limit` pairs whose first choice differs, in the order of `by_decision`.

    Args:
        baseline, candidate, measures, right: as of `most_changed`.
        wanted: the pairs to choose from, whose first choice differs.
        limit: pairs of a method and a change.
    """
    kinds = _CHANGE[right[0].astype(np.int64), right[1].astype(np.int64)]
    methods, names = (np.array(baseline[name].to_pylist(), object) for name in ("method", "image_id"))
    moved = _moved(baseline["probability"].to_numpy(), candidate["probability"].to_numpy())
    rows = []
    for method in sorted(set(methods)):
        for kind in range(len(CHANGES)):
            rows += _smallest(np.where(wanted & (methods == method) & (kinds == kind), -moved, np.nan), names, limit)
    return _examples(baseline, candidate, measures, right, rows)


def by_overlap(example: Example) -> tuple[Any, ...]:
    """The method, and the order within it of pairs whose maps changed."""
    return example.method, example.similarity["map_top20_overlap"], example.image_id, example.class_name


def by_decision(example: Example) -> tuple[Any, ...]:
    """Method and change together, and the order within these: the furthest move of the probability first."""
    first, second = (np.array([one], np.float64) for one in example.probabilities)
    moved = float(_moved(first, second)[0])
    return (example.method, CHANGES.index(example.change)), -moved, example.image_id, example.class_name


def _moved(first: Floats, second: Floats) -> Floats:
    """How far probabilities moved, in float32 as they are stored; 0 where there are none."""
    return np.nan_to_num(np.abs(first.astype(np.float32) - second.astype(np.float32))).astype(np.float64)


def _examples(
    baseline: pa.Table, candidate: pa.Table, measures: dict[str, Floats], right: Rights, rows: list[int]
) -> list[Example]:
    """The pairs at `rows`."""
    if not rows:
        return []
    before, after = baseline.take(rows), candidate.take(rows)
    sides = [_Side(before), _Side(after)]
    sizes = axis_columns.sizes(axis_columns.rank_of(baseline.column_names))
    plain = before.select([name for name in (*_PLAIN, *sizes) if not name.startswith(("targets", "label"))])
    second = after.select(["probability", "predicted_class_id"])
    examples = []
    for at, (row, one, other) in enumerate(zip(rows, plain.to_pylist(), second.to_pylist(), strict=True)):
        size = tuple(one[name] for name in sizes)
        views = [tuple((side.views[at] * (size * 2)).tolist()) for side in sides]
        maps = [side.maps(np.array([at]))[0] for side in sides]
        examples.append(Example(
            image_id=one["image_id"], class_name=one["class_name"], method=one["method"],
            place=(one["shard"], one["record_index"], one["image_sha256"]),
            similarity={name: float(values[row]) for name, values in measures.items()},
            decision_flip=one["predicted_class_id"] != other["predicted_class_id"],
            probabilities=(one["probability"], other["probability"]),
            maps=(maps[0], maps[1]), image_size=size, views=(views[0], views[1]),
            first_choices=(one["predicted_class_id"], other["predicted_class_id"]),
            right=(bool(right[0][row]), bool(right[1][row])),
        ))  # fmt: skip
    return examples


def _smallest(values: Floats, names: npt.NDArray[np.object_], limit: int) -> list[int]:
    """Rows of the smallest finite values; equal ones go by name, so that parts of a run do not change the choice."""
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) > limit:
        rows = rows[values[rows] <= np.partition(values[rows], limit - 1)[limit - 1]]
    return sorted(rows.tolist(), key=lambda row: (values[row], names[row]))[:limit]
