"""Images whose label may be wrong: the model is sure of another class, and sees it somewhere else.

For every image that the model assigns to none of its labels, the map of the label is held against the map of the
predicted class. Where the prediction is confident and the two maps share little of their strongest area, the image
shows something else than its label says (or more than it says). Where they share it, the model merely confuses two
classes on the same object.

`SCHEMA` is the queue for relabelling: one row per suspect, the surest first.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from heatbeam.audit import map_health, map_scan
from heatbeam.transforms.metrics import map_similarity
from heatbeam.transforms.tables import schemas, stored_maps

FILE = "label_suspects.parquet"

MIN_PROBABILITY = 0.5
"""The predicted class has at least this probability."""

MAX_OVERLAP = 0.25
"""The strongest 20 % of both maps overlap (IoU) by at most this; 1/9 by chance."""

_COLUMNS = (
    "image_id", "image_sha256", "shard", "record_index", "label_ids", "class_id", "class_name", "predicted_class_id",
    "probability",
)  # fmt: skip


def _column(name: str, arrow_type: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, arrow_type, nullable=False, metadata={"description": description})


SCHEMA = pa.schema([
    _column("image_id", pa.string(), "id of the image"),
    _column("image_sha256", pa.string(), "SHA-256 of the encoded image bytes"),
    _column("shard", pa.string(), "base name of the file the record came from"),
    _column("record_index", pa.int64(), "position of the record in its shard"),
    _column("label_id", pa.int32(), "the label that is doubted; of several the most probable"),
    _column("label_name", pa.string(), "its name"),
    _column("label_probability", pa.float32(), "the model's probability for it"),
    _column("predicted_id", pa.int32(), "the model's first choice"),
    _column("predicted_name", pa.string(), "its name"),
    _column("predicted_probability", pa.float32(), "the model's probability for that"),
    _column("method", pa.string(), "method of the maps"),
    _column("overlap", pa.float32(), "IoU of the strongest 20 % of both maps, 0 to 1"),
    _column("spearman", pa.float32(), "rank correlation of both maps, -1 to 1"),
    _column("score", pa.float32(), "predicted_probability * (1 - overlap): rows are ordered by it"),
])  # fmt: skip


class Collector:
    """Finds the suspects among batches of ``explanations``. Rows of an image lie together, but may be cut by a batch.

    Args:
        method: whose maps are held against each other.
    """

    columns = (*_COLUMNS, "method")

    def __init__(self, method: str):
        self._method = method
        self._waiting: pa.Table | None = None
        self._found: list[pa.Table] = []
        self.mistaken = 0
        """Images whose first choice is none of their labels, and which were explained for both."""
        self.same_maps = 0
        """Of those, how many have the same map for both classes: `map_health.same_maps`."""

    def add(self, batch: pa.Table) -> None:
        """Count a batch that has `columns` and those of its maps (`stored_maps.columns`)."""
        columns = [*self.columns, *stored_maps.columns(batch.column_names)]
        table = batch.select(columns).filter(pc.equal(batch["method"], self._method))
        kinds = _kinds(table)
        table = table.append_column("kind", pa.array(kinds)).filter(pa.array(kinds != ""))
        if self._waiting is not None:
            table = pa.concat_tables([self._waiting, table])
        if table.num_rows:
            self._waiting = self._pair(table, keep_last=True)

    def _pair(self, table: pa.Table, keep_last: bool) -> pa.Table:
        """Measure every image that has both maps; with `keep_last` the rows of the last image, which may go on."""
        # By record, not by id alone: an id may stand for several records.
        columns = [table[name].to_pylist() for name in ("image_id", "shard", "record_index")]
        names = list(zip(*columns, strict=True))
        probability = table["probability"].to_numpy()
        label_row: dict[tuple[Any, ...], int] = {}
        predicted_row: dict[tuple[Any, ...], int] = {}
        for row, (name, kind) in enumerate(zip(names, table["kind"].to_pylist(), strict=True)):
            if kind == "predicted":
                predicted_row[name] = row
            elif name not in label_row or probability[row] > probability[label_row[name]]:
                label_row[name] = row
        open_image = names[-1] if keep_last and names else None
        complete = [name for name in label_row if name in predicted_row and name != open_image]
        self._measure(table, [label_row[n] for n in complete], [predicted_row[n] for n in complete])
        return table.filter(pa.array([name == open_image for name in names], pa.bool_()))

    def _measure(self, table: pa.Table, labels: list[int], predictions: list[int]) -> None:
        if not labels:
            return
        label, predicted = table.take(pa.array(labels)), table.take(pa.array(predictions))
        overlap, spearman = _likeness(label, predicted)
        self.mistaken += len(labels)
        self.same_maps += int(map_health.same_maps(spearman).sum())
        sure = predicted["probability"].to_numpy() >= MIN_PROBABILITY
        chosen = np.flatnonzero(sure & (overlap <= MAX_OVERLAP))
        if len(chosen):
            self._found.append(
                _queue_rows(label.take(chosen), predicted.take(chosen), overlap[chosen], spearman[chosen])
            )

    def result(self) -> pa.Table:
        """The queue, `SCHEMA`, ordered by falling score and image id. Call it once, after the last batch."""
        if self._waiting is not None and self._waiting.num_rows:
            self._waiting = self._pair(self._waiting, keep_last=False)
        found = pa.concat_tables(self._found) if self._found else SCHEMA.empty_table()
        return found.sort_by([("score", "descending"), ("image_id", "ascending")])


def _kinds(table: pa.Table) -> npt.NDArray[np.str_]:
    """``label`` and ``predicted`` for the rows of mistaken images, empty for all others."""
    classes, first = table["class_id"].to_numpy(), table["predicted_class_id"].to_numpy()
    lists = schemas.whole(table["label_ids"])
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    labels = pc.list_flatten(lists).to_numpy(zero_copy_only=False)
    right, is_label = np.zeros(len(classes), bool), np.zeros(len(classes), bool)
    right[parents[labels == first[parents]]] = True
    is_label[parents[labels == classes[parents]]] = True
    labelled = lists.value_lengths().to_numpy(zero_copy_only=False) > 0
    kinds = np.where(is_label, "label", np.where(classes == first, "predicted", ""))
    return np.where(right | ~labelled, "", kinds)


def _likeness(label: pa.Table, predicted: pa.Table) -> tuple[map_scan.Floats, map_scan.Floats]:
    """Overlap and rank correlation of pairs of maps; NaN where a map is constant or the sizes differ."""
    overlap, spearman = np.full(label.num_rows, np.nan), np.full(label.num_rows, np.nan)
    first, second = (stored_maps.StoredMaps(table).each() for table in (label, predicted))
    by_shape: dict[tuple[int, ...], list[int]] = {}
    for i, (one, other) in enumerate(zip(first, second, strict=True)):
        if one.shape == other.shape:
            by_shape.setdefault(one.shape, []).append(i)
    for chosen in by_shape.values():
        pair = np.stack([first[i] for i in chosen]), np.stack([second[i] for i in chosen])
        overlap[chosen] = map_similarity.top_area_overlap(*pair, map_similarity.TOP_SHARE)
        spearman[chosen] = map_similarity.spearman(*pair)
    return overlap, spearman


def _queue_rows(label: pa.Table, predicted: pa.Table, overlap: map_scan.Floats, spearman: map_scan.Floats) -> pa.Table:
    columns = {name: label[name] for name in ("image_id", "image_sha256", "shard", "record_index", "method")}
    for prefix, table in (("label", label), ("predicted", predicted)):
        columns |= {f"{prefix}_id": table["class_id"], f"{prefix}_name": table["class_name"]}
        columns[f"{prefix}_probability"] = table["probability"]
    columns |= {"overlap": pa.array(overlap, pa.float32()), "spearman": pa.array(spearman, pa.float32())}
    score = predicted["probability"].to_numpy() * (1 - overlap)
    columns["score"] = pa.array(score, pa.float32())
    return pa.table({name: columns[name] for name in SCHEMA.names}).cast(SCHEMA)


def parquet(queue: pa.Table, run_id: str | None) -> bytes:
    """The queue of a run as a Parquet file; `run_id` stands in every row, as in the tables of the run."""
    buffer = io.BytesIO()
    pq.write_table(schemas.stamped(queue, run_id), buffer, compression="zstd")
    return buffer.getvalue()
