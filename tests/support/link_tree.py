"""Lays the import package ``heatbeam`` out as folders, by links, for tools that do not know setup.py's `package_dir`.

    python tests/support/link_tree.py build/tree

Then ``build/tree/heatbeam`` holds a link to each entry of ``pipeline/`` and one to ``transforms/``.
"""

from __future__ import annotations

import pathlib
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]


def make(tree: pathlib.Path) -> None:
    """Make `tree` anew."""
    shutil.rmtree(tree, ignore_errors=True)
    package = tree / "heatbeam"
    package.mkdir(parents=True)
    for entry in (*(ROOT / "pipeline").iterdir(), ROOT / "transforms"):
        if entry.name != "__pycache__":
            (package / entry.name).symlink_to(entry)


if __name__ == "__main__":
    make(pathlib.Path(sys.argv[1]))
