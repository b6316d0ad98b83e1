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

from pipeline import run_directory

_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


class ConditionError(ValueError):
    """The condition is wrong; the message says how."""


def choose(
    run: run_directory.RunDirectory, where: str, limit: int, columns: Sequence[str]
) -> tuple[list[dict[str, Any]], int]:
    """The first `limit` rows that fulfil a condition, in order of image, method and class, and how many do.

    Args:
        run: a finished run.
        where: SQL condition, such as ``method = 'grad_cam' and probability > .9``; empty for every row.
        limit: at most so many rows.
        columns: to read; those that the run does not have are None.

    Raises:
        ConditionError: if the condition is not one, or names a column that is not there.
        run_directory.RunDirectoryError: if the run is not finished.
    """
    table = run.open_table("explanations")
    known = set(table.schema.names)
    selected = ", ".join(name if name in known else f"NULL AS {name}" for name in columns)
    # The condition may only look at the table: no files, no network, no other statement.
    with duckdb.connect(":memory:", config={"python_enable_replacements": "false"}) as connection:
        connection.register("explanations", table)
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        chosen = f"FROM explanations WHERE (\n{where.strip() or 'true'}\n)"
        query = (
            f"SELECT {selected} {chosen} ORDER BY image_id, shard, record_index, method, class_id LIMIT {int(limit)}"
        )
        try:
            if len(connection.extract_statements(query)) != 1:
                raise ConditionError(f"--where {where!r} is more than one statement; give one condition")
            found = connection.execute(query)
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
            count = connection.execute(f"SELECT count(*) {chosen}").fetchone()
        except duckdb.Error as error:
            problem = " ".join(str(error).split())
            raise ConditionError(
                f"--where {where!r} is no condition over explanations: {problem}; columns: {', '.join(sorted(known))}"
            ) from None
    assert count is not None
    return rows, int(count[0])


def file_name(number: int, row: Mapping[str, Any], parts: Sequence[str], suffix: str) -> str:
    """A file name that is safe on any disk, whatever the ids hold, and of its own for every row.

    Args:
        number: of the row; begins the name.
        row: the row.
        parts: columns that make the name readable and unlike those of other rows.
        suffix: ``.png`` and the like.
    """
    key = json.dumps([row[name] for name in parts]).encode()
    readable = [_UNSAFE.sub("-", str(row[name])).strip("-")[:40] for name in parts]
    return "_".join([f"{number:05d}", *filter(None, readable), hashlib.sha256(key).hexdigest()[:8]]) + suffix
