"""The tables of a run of any format, in the columns of today.

A column that the run does not have is read as nulls; one that was called otherwise has today's name. Nulls cost
nothing; for renamed columns the table is copied once to a temporary folder, which lasts as long as the process.
"""

from __future__ import annotations

import pathlib
import tempfile
import threading
from collections.abc import Mapping, Sequence

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from heatbeam.runs import formats
from heatbeam.transforms.tables import axis_columns, schemas

_WITHOUT_PLACES: Mapping[str, pa.Schema] = {
    "summary": schemas.SUMMARY,
    "curves": schemas.CURVES,
    "dead_letters": schemas.DEAD_LETTERS,
}

_SAID_OTHERWISE = ("heatmap_shape",)
"""Not read as nulls where a run lacks them: what they say follows from other columns (`stored_maps.columns`)."""

_COPIES: dict[tuple[str, ...], tempfile.TemporaryDirectory[str]] = {}
_COPYING = threading.Lock()


def fixed(name: str, rank: int) -> pa.Schema:
    """The columns that every run of today has, whatever its settings.

    Args:
        name: of the table.
        rank: how many position axes the inputs of the run have.
    """
    if name == "explanations":
        return schemas.of_run(schemas.explanations([], [], heatmap_dtype="int16", rank=rank))
    if name == "localizations":
        return schemas.of_run(schemas.localizations([], rank))
    return schemas.of_run(_WITHOUT_PLACES[name])


def opened(name: str, paths: Sequence[str], filesystem: pafs.FileSystem, version: int) -> ds.Dataset:
    """A table.

    Args:
        name: of the table.
        paths: of its files.
        filesystem: they lie on.
        version: format of the run.
    """
    found = ds.dataset(list(paths), filesystem=filesystem, format="parquet")
    old_names = formats.renamed(name, version)
    if old_names:
        new_names = {old: new for new, old in old_names.items()}
        found = ds.dataset(_copied(found, (filesystem.type_name, *paths), new_names), format="parquet")
    names = found.schema.names
    wanted = [field for field in fixed(name, axis_columns.rank_of(names)) if field.name not in _SAID_OTHERWISE]
    missing = [field.with_nullable(True) for field in wanted if field.name not in names]
    return found.replace_schema(pa.schema([*found.schema, *missing], found.schema.metadata)) if missing else found


def _copied(table: ds.Dataset, key: tuple[str, ...], new_names: Mapping[str, str]) -> str:
    """Path of a copy in which columns have other names; batch by batch, so that memory does not grow with it."""
    with _COPYING:
        if key not in _COPIES:
            folder = tempfile.TemporaryDirectory(prefix="heatbeam-")
            fields = [field.with_name(new_names.get(field.name, field.name)) for field in table.schema]
            schema = pa.schema(fields, table.schema.metadata)
            with pq.ParquetWriter(pathlib.Path(folder.name) / "table.parquet", schema, compression="zstd") as writer:
                for batch in table.to_batches():
                    writer.write_batch(pa.RecordBatch.from_arrays(batch.columns, schema=schema))
            _COPIES[key] = folder
    return str(pathlib.Path(_COPIES[key].name) / "table.parquet")
