from __future__ import annotations

import errno
import importlib
import inspect
import pkgutil

import pytest

import heatbeam
from heatbeam.transforms import errors


def kinds_of(kind: type) -> list[type]:
    """`kind`'s subclasses, at any depth."""
    return [one for inner in kind.__subclasses__() for one in (inner, *kinds_of(inner))]


def test_the_tree_that_is_drawn_is_the_tree_that_is():
    skipped = ("__main__", "heatbeam.bench")
    for module in pkgutil.walk_packages(heatbeam.__path__, "heatbeam."):
        if not module.name.endswith(skipped[0]) and not module.name.startswith(skipped[1]):
            importlib.import_module(module.name)
    known = [kind for kind in kinds_of(errors.UserError) if kind.__module__.startswith("heatbeam.")]
    drawn = {line.split()[0]: line for line in inspect.getdoc(errors).splitlines() if line.startswith(" " * 6)}
    assert sorted(kind.__name__ for kind in known) == sorted(drawn)
    for kind in known:
        line = drawn[kind.__name__]
        assert issubclass(kind, ValueError) == ("(ValueError)" in line)
        assert kind.status == (1 if "exit status 1" in line else 2)


def test_an_error_about_a_path_says_what_was_wanted_where_and_why(tmp_path):
    missing = pytest.raises(errors.PathError, match=f"cannot read {tmp_path}/x: No such file or directory")
    with missing, errors.about(tmp_path / "x", "read"):
        (tmp_path / "x").read_text()
    full = pytest.raises(errors.PathError, match="cannot write out: No space left on device")
    with full, errors.about("out", "write"):
        raise OSError(errno.ENOSPC, "[Errno 28] Error writing bytes to file. Detail: [errno 28]")


def test_a_reason_without_a_number_is_put_on_one_line():
    assert errors.reason(OSError("two\n  lines")) == "two lines"
    assert errors.reason(OSError()) == "OSError"


def test_other_errors_pass():
    with pytest.raises(ZeroDivisionError), errors.about("x", "read"):
        1 / 0  # noqa: B018
