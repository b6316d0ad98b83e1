from __future__ import annotations

import argparse
import gc
import sys
from collections.abc import Iterator

import pytest

from heatbeam import command


@pytest.fixture
def collector() -> Iterator[None]:
    """As it was, afterwards; what the tests froze is looked through again."""
    yield
    gc.unfreeze()
    gc.enable()


def test_what_is_imported_first_is_never_looked_through_for_garbage(collector, monkeypatch, capsys):
    monkeypatch.setattr(command, "_import_tensorflow", lambda *, verbose: seen.append((verbose, gc.isenabled())))
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    seen: list[tuple[bool, bool]] = []
    gc.unfreeze()
    with command.loading(argparse.Namespace(verbose=True)):
        made = [[] for _ in range(1000)]  # as a module that is imported inside
        assert not gc.isenabled()
    assert seen == [(True, False)]
    assert gc.isenabled() and gc.get_freeze_count() >= len(made)
    assert capsys.readouterr().err == "loading TensorFlow and Apache Beam ...\n"


def test_a_process_that_has_tensorflow_collects_as_before(collector, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "tensorflow", argparse)
    gc.unfreeze()
    with command.loading(argparse.Namespace(verbose=True)):
        assert gc.isenabled()
    assert gc.get_freeze_count() == 0
    assert capsys.readouterr().err == ""


def test_a_collector_that_was_off_stays_off_and_a_failed_import_leaves_it_as_it_was(collector, monkeypatch):
    def fail(*, verbose: bool) -> None:
        raise ImportError("no TensorFlow")

    monkeypatch.setattr(command, "_import_tensorflow", fail)
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    for on in (True, False):
        (gc.enable if on else gc.disable)()
        with pytest.raises(ImportError), command.loading(argparse.Namespace(verbose=True)):
            pass
        assert gc.isenabled() == on


def test_imports_inside_do_without_what_no_command_uses(monkeypatch):
    monkeypatch.delitem(sys.modules, "this", raising=False)
    with command._without(["this", "argparse"]):
        import argparse as there  # is imported already

        with pytest.raises(ImportError, match="this"):
            import this  # noqa: F401
    assert there is argparse
    assert "this" not in sys.modules  # it can be imported later
