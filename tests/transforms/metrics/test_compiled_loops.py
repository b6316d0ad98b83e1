"""Compiled loops hold nothing that takes Numba long to compile: the first run waits until all of them are."""

from __future__ import annotations

import ast
import importlib
import pathlib
import sys
import types
from collections.abc import Iterator

import numpy as np
import pytest

from heatbeam.transforms.metrics.contours import basins, compiled, component_trees, union_find
from tests.support import paths

DECORATORS = {"compiled.function", "compiled.short"}
SLOW_FUNCTIONS = {
    "append", "arange", "argmax", "argmin", "array", "asarray", "broadcast_to", "concatenate", "flatnonzero", "full",
    "max", "min", "nonzero", "repeat", "sort", "stack", "sum", "where",
}  # fmt: skip
SLOW_METHODS = {"all", "any", "argmax", "argmin", "astype", "max", "mean", "min", "sum"}


def compiled_loops() -> Iterator[tuple[str, ast.FunctionDef]]:
    for path in sorted((paths.ROOT / "transforms").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and DECORATORS.intersection(map(ast.unparse, node.decorator_list)):
                yield f"{path.name}: {node.name}", node


def test_loops_call_nothing_of_numpy_that_is_slow_to_compile():
    found = []
    for where, loop in compiled_loops():
        for call in (node for node in ast.walk(loop) if isinstance(node, ast.Call)):
            if isinstance(call.func, ast.Attribute):
                of_numpy = isinstance(call.func.value, ast.Name) and call.func.value.id == "np"
                if call.func.attr in (SLOW_FUNCTIONS if of_numpy else SLOW_METHODS):
                    found.append(f"{where}: {ast.unparse(call)}")
    assert not found


def test_each_loop_that_others_call_is_compiled_for_one_type_of_arguments():
    image = np.kron(np.array([[9, 1, 7], [1, 1, 2], [5, 1, 8]], np.uint8), np.ones((4, 4), np.uint8))
    # Called as Python, so that the types are those of the compiled call; a loop that was cached on disk is not seen.
    component_trees.by_basins(image)
    component_trees.components_at(image, np.array([1, 4]))
    within = (basins._write, basins._slope_of, basins._touch, basins._highest_pair, union_find.root)
    for loop in (*within, component_trees._absorb, component_trees._extents_above):
        assert len(loop.signatures) <= 1


def test_a_cached_loop_is_compiled_anew_when_the_file_of_another_that_it_calls_has_changed(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "loops_of_a_test"
    package.mkdir()
    (package / "__init__.py").touch()
    start = "from heatbeam.transforms.metrics.contours import compiled\n"
    calling = "from loops_of_a_test import called\n\n@compiled.short\ndef calling(x):\n    return called.called(x)\n"
    (package / "calling.py").write_text(start + calling, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def imported(number: int) -> types.ModuleType:
        called = f"@compiled.short\ndef called(x):\n    return x + {number}\n"
        (package / "called.py").write_text(start + called, encoding="utf-8")
        for name in [name for name in sys.modules if name.startswith("loops_of_a_test")]:
            monkeypatch.delitem(sys.modules, name)
        importlib.invalidate_caches()
        compiled._file_digest.cache_clear()  # as in another process
        return importlib.import_module("loops_of_a_test.calling")

    assert imported(1).calling(5) == 6
    again = imported(1).calling
    assert again(5) == 6
    assert again.stats.cache_hits  # what is as it was is not compiled
    assert imported(2).calling(5) == 7
