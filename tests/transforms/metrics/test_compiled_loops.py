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

from heatbeam.transforms.metrics.contours import (
    basins,
    cell_components,
    compiled,
    component_trees,
    outlines,
    union_find,
)
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


def test_each_loop_is_compiled_for_one_type_of_arguments():
    image = np.kron(np.array([[9, 1, 7], [1, 1, 2], [5, 1, 8]], np.uint8), np.ones((4, 4), np.uint8))
    # Numba infers types in an order that differs from process to process, so a variable of two types may have a loop
    # compiled once or twice. Another test may have had any of them compiled; one that was cached on disk is not seen.
    component_trees.components_at(image, np.array([1, 4]))
    component_trees.by_pixels(image)
    component_trees.holes(image)
    cell_components.components(image)
    outlines.largest(image, *component_trees.by_basins(image)[1:])
    for_each_sign = {component_trees._grow, component_trees._joined}  # once for bright components, once for holes
    for module in (basins, cell_components, component_trees, outlines, union_find):
        for loop in (loop for loop in vars(module).values() if hasattr(loop, "signatures")):
            assert len(loop.signatures) <= 1 + (loop in for_each_sign), loop


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
