"""What the parts of `make bench-audit` that simulate say of each figure, and leave behind."""

from __future__ import annotations

import json
import pathlib
import sys
from collections.abc import Mapping, Sequence
from typing import Any


def tell(row: Mapping[str, Any]) -> None:
    """Print a figure: whether it is met, its value, 99 % limit and goal, what it is of, and its seconds if known."""
    goal = "no goal" if row["goal"] is None else f"goal {row['goal']:.3g}"
    took = f", {row['seconds']:.0f} s" if "seconds" in row else ""
    sys.stdout.write(
        f"{'ok  ' if row['met'] else 'MISS'} {row['value']:.4f} (99 % limit {row['limit']:.4f}, {goal})"
        f"  {row['what']}, n {row['n']:,}{took}\n"
    )
    sys.stdout.flush()


def keep(rows: Sequence[Mapping[str, Any]], file: str) -> int:
    """Write the figures as JSON; the exit status, 1 where one is missed."""
    path = pathlib.Path(file)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n")
    return 0 if all(row["met"] for row in rows) else 1
