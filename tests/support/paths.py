"""Where the repository, its pages and its golden arrays are."""

from __future__ import annotations

import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden"
READMES = (
    "README.md",
    *(
        str(page.relative_to(ROOT))
        for folder in ("pipeline", "transforms", "configs", "tests")
        for page in sorted((ROOT / folder).rglob("README.md"))
    ),
)
"""Every page, by its path from the root."""
