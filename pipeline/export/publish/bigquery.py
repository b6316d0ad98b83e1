"""Statements that let BigQuery read the tables of finished runs where they are, as external tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from heatbeam.export.publish import destinations
from heatbeam.runs import run_directory

_DATASET = re.compile(r"[\w-]+(\.\w+)?", re.ASCII)

PublishError = destinations.PublishError


def statements(run_paths: Sequence[str], dataset: str) -> str:
    """One ``create or replace external table`` for each table that any of the runs has.

    A URI may hold one asterisk, so every run has a URI of its own. Lists are columns of arrays
    (``enable_list_inference``). A column that only some runs have is there if the last file in alphabetic order has it.

    Args:
        run_paths: finished runs in Google Cloud Storage, ``gs://...``.
        dataset: ``DATASET`` or ``PROJECT.DATASET``.

    Raises:
        PublishError: a run is elsewhere, or `dataset` is no name of a data set.
        run_directory.RunDirectoryError: a run is not finished.
    """
    if not _DATASET.fullmatch(dataset):
        raise PublishError(f"--bigquery {dataset!r} is no data set; expected DATASET or PROJECT.DATASET")
    elsewhere = [path for path in run_paths if not path.startswith("gs://")]
    if elsewhere:
        raise PublishError(f"{elsewhere[0]} is not in Google Cloud Storage; BigQuery reads gs:// only")
    runs = [run_directory.RunDirectory(path) for path in run_paths]
    return of_tables([(run.path, tuple(run.read_manifest().tables)) for run in runs], dataset)


def of_tables(runs: Sequence[tuple[str, Sequence[str]]], dataset: str) -> str:
    """The statements for runs of which path and names of tables are known."""
    names = dict.fromkeys(name for _, tables in runs for name in tables)
    made = []
    for name in names:
        uris = ",\n".join(f"    '{_quoted(path)}/{name}/part-*.parquet'" for path, tables in runs if name in tables)
        made.append(
            f"CREATE OR REPLACE EXTERNAL TABLE `{dataset}.{name}`\nOPTIONS (\n  format = 'PARQUET',\n"
            f"  enable_list_inference = TRUE,\n  uris = [\n{uris}\n  ]\n);\n"
        )
    return "\n".join(made)


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace("'", "\\'")
