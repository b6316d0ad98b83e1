"""The public face: its names, what importing it loads, and the examples of every docstring."""

from __future__ import annotations

import ast
import dataclasses
import doctest
import importlib
import inspect
import pkgutil
import subprocess
import sys

import pytest

import heatbeam
from tests.support import paths

MODULES = sorted(
    module.name for module in pkgutil.walk_packages(heatbeam.__path__, "heatbeam.") if "__main__" not in module.name
)


def test_public_names_are_listed_once_and_typed():
    """What is looked up lazily, what is listed and what type checkers see are the same names."""
    (seen,) = (
        {alias.asname or alias.name for part in node.body for alias in part.names}
        for node in ast.parse((paths.ROOT / "pipeline" / "__init__.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.If)
    )
    assert heatbeam.__all__ == sorted(heatbeam._DEFINED_IN) and seen == set(heatbeam.__all__) == set(dir(heatbeam))


@pytest.mark.parametrize("name", heatbeam.__all__)
def test_every_public_name_is_there_and_says_what_it_is(name):
    value = getattr(heatbeam, name)
    assert inspect.getdoc(value)
    assert value is getattr(importlib.import_module(value.__module__), heatbeam._CALLED_THERE.get(name, name))


@pytest.mark.parametrize(
    "name", ["EngineSpec", "FeatureMap", "ImageOptions", "MaskOptions", "MethodSpec", "ModelSource", "Preprocessing"]
)
def test_specifications_have_defaults_but_for_what_only_the_user_knows(name):
    without = [
        field.name
        for field in dataclasses.fields(getattr(heatbeam, name))
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    ]
    only_the_user_knows = {"EngineSpec": ["model"], "ImageOptions": ["height", "width"], "MethodSpec": ["method"]}
    assert without == only_the_user_knows.get(name, [])


def test_other_names_are_refused_by_name():
    with pytest.raises(AttributeError, match="no public name 'Explian'"):
        _ = heatbeam.Explian


def test_importing_heatbeam_loads_nothing_heavy():
    code = "import sys, heatbeam; heatbeam.load_config\n"
    code += "print([m for m in ('apache_beam', 'tensorflow', 'keras', 'cv2', 'pyarrow') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("name", ["heatbeam", *MODULES])
def test_examples_in_docstrings(name):
    module = importlib.import_module(name)
    result = doctest.testmod(module, optionflags=doctest.NORMALIZE_WHITESPACE | doctest.ELLIPSIS)
    assert result.failed == 0
