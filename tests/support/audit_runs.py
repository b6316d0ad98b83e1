"""Small finished runs, written through the real schemas, for the tests of what reads runs."""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from heatbeam.runs import run_directory
from heatbeam.transforms import records
from heatbeam.transforms.tables import rows, schemas
from tests.support import manifests

CLASS_NAMES = ("cat", "dog", "owl")
VALUES = ("energy_share", "box_hit", "entropy")


@dataclasses.dataclass(frozen=True)
class Row:
    """One image explained for one class: what the tests vary; the rest has a plain value."""

    image_id: str
    map: Sequence[Sequence[float]] = ((4, 3), (2, 1))
    class_id: int = 0
    predicted: int = 0
    labels: tuple[int, ...] = (0,)
    targets: tuple[str, ...] = ("label",)
    energy_share: float = 0.5
    box_hit: float = 1.0
    entropy: float = 1.0
    rank: int = 1
    probability: float = 0.75
    slice: str | None = None
    method: str = "cam"
    view: tuple[float, float, float, float] = (0, 0, 200, 100)
    sha256: str = "ab"
    record: int = 0


def localization(row: Row) -> records.Localization:
    slices = (("weather", row.slice),) if row.slice is not None else ()
    source = records.Source(row.image_id, "shard-0", row.record, row.sha256, (200, 100), row.view, row.labels, slices)
    maps = np.array([row.map], np.float32)
    explanation = records.Explanation(
        source=source,
        ground_truth=records.GroundTruth(),
        class_ids=np.array([row.class_id]),
        targets=(row.targets,),
        logits=np.array([1.0], np.float32),
        probabilities=np.array([row.probability], np.float32),
        ranks=np.array([row.rank]),
        predicted_class_id=row.predicted,
        methods=(records.MethodMaps(row.method, "last", maps),),
    )
    values = tuple((name, np.array([getattr(row, name)])) for name in VALUES)
    return records.Localization(
        explanation, (records.MethodScores(row.method, np.array([[10.0, 20, 30, 40]]), values, ((),)),), (None,)
    )


def summary_row(
    metric: str,
    value: float,
    lower: float = math.nan,
    upper: float = math.nan,
    *,
    n: int = 100,
    method: str = "cam",
    slice_name: str = "all",
    slice_value: str = "",
) -> dict[str, Any]:
    return {
        "method": method, "slice_name": slice_name, "slice_value": slice_value, "metric": metric, "value": value,
        "n": n, "lower": lower, "upper": upper,
    }  # fmt: skip


def write_run(
    path: pathlib.Path,
    explained: Sequence[Row] = (),
    summary: Sequence[Mapping[str, Any]] = (),
    *,
    files: int = 1,
    class_names: Sequence[str] = CLASS_NAMES,
    **changes: Any,
) -> str:
    """A finished run; its path. `changes` are of `manifests.manifest`."""
    directory = run_directory.RunDirectory(str(path))
    content = manifests.manifest(**{"model": {"class_names": list(class_names)}, **changes})
    directory.create(content, overwrite=False)
    schema = schemas.explanations([schemas.ValueColumn(name) for name in VALUES], ["weather"], heatmap_dtype="int16")
    table = rows.explanation_table([localization(row) for row in explained], schema, class_names)
    _write(path, "explanations", table, files)
    _write(path, "summary", schemas.table_from_rows(schemas.SUMMARY, summary), 1)
    directory.finish(content)
    return str(path)


def _write(path: pathlib.Path, name: str, table: pa.Table, files: int) -> None:
    for i in range(files):
        start, end = table.num_rows * i // files, table.num_rows * (i + 1) // files
        pq.write_table(table.slice(start, end - start), path / name / f"part-{i:05d}-of-{files:05d}.parquet")
