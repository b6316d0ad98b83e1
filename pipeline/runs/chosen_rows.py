"""Rows of a run that fulfil an SQL condition, for what draws or exports them; and file names for them.

The condition is DuckDB SQL over the columns of ``explanations`` and can look at nothing else. Ids and names are data:
they never become a path.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from heatbeam.runs import run_directory
from heatbeam.transforms import errors

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


class ConditionError(errors.UserError, ValueError):
    """The condition is wrong; the message says how."""


def choose(run: run_directory.RunDirectory, where: str, limit: int, columns: Sequence[str]) -> tuple[pa.Table, int]:
    """The first `limit` rows that fulfil a condition, in order of image, method and class, and how many do.

    Args:
        run: a finished run.
        where: SQL condition, such as ``method = 'grad_cam' and probability > .9``; empty for every row.
        limit: at most so many rows.
        columns: to read.

    Raises:
        ConditionError: if the condition is not one, or names a column that is not there.
        run_directory.RunDirectoryError: if the run is not finished.
    """
    table = run.open_table("explanations")
    known = set(table.schema.names)
    selected = ", ".join(f'"{name}"' for name in columns)
    order = "image_id, shard, record_index, method, class_id"
    # The condition may only look at the table: no files, no network, no other statement.
    with duckdb.connect(":memory:", config={"python_enable_replacements": "false"}) as connection:
        connection.register("explanations", table)
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        chosen = f"FROM explanations WHERE (\n{where.strip() or 'true'}\n)"
        query = f"SELECT {selected} {chosen} ORDER BY {order} LIMIT {int(limit)}"
        try:
            if len(connection.extract_statements(query)) != 1:
                raise ConditionError(f"--where {where!r} is more than one statement; give one condition")
            rows = connection.sql(query).to_arrow_table()
            count = connection.execute(f"SELECT count(*) {chosen}").fetchone()
        except duckdb.Error as error:
            problem = " ".join(str(error).split())
            raise ConditionError(
                f"--where {where!r} is no condition over explanations: {problem}; columns: {', '.join(sorted(known))}"
            ) from None
    assert count is not None
    return rows, int(count[0])


def without_maps(rows: pa.Table) -> list[dict[str, Any]]:
    """The rows as dictionaries, without their maps, which would be lists of as many numbers as a map has cells."""
    plain: list[dict[str, Any]] = rows.drop_columns(["heatmap"]).to_pylist()
    return plain


def with_map(rows: pa.Table, number: int, row: Mapping[str, Any]) -> dict[str, Any]:
    """`row`, number `number` of `rows`, with its map as an array."""
    return {**row, "heatmap": rows["heatmap"][number].values.to_numpy()}


def file_name(number: int, row: Mapping[str, Any], parts: Sequence[str], suffix: str, *, readable: bool = True) -> str:
    """A file name that is safe on any disk, whatever the ids hold, and of its own for every row.

    Args:
        number: of the row; begins the name.
        row: the row.
        parts: columns that the name is made of, beside the number.
        suffix: ``.png`` and the like.
        readable: whether letters and digits of the parts are in the name; without them it says nothing.
    """
    key = json.dumps([row[name] for name in parts]).encode()
    words = [_UNSAFE.sub("-", str(row[name])).strip("-")[:40] for name in parts] if readable else []
    return "_".join([f"{number:05d}", *filter(None, words), hashlib.sha256(key).hexdigest()[:8]]) + suffix
