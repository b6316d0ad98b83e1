"""The report at the end of a run; the run through the command line is in tests/command_line/test_cli.py."""

from __future__ import annotations

import io

import pytest

from heatbeam.report import last_step, report
from heatbeam.transforms import errors


def ends(monkeypatch, error: BaseException) -> tuple[str | None, str]:
    def fails(path: str) -> str:
        raise error

    monkeypatch.setattr(report, "write_report", fails)
    stream = io.StringIO()
    return last_step.write("runs/one", stream), stream.getvalue()


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (errors.PathError("cannot write runs/one/report.html: No space left on device"), "cannot write runs/one/"),
        (ZeroDivisionError("division by zero"), "ZeroDivisionError: division by zero"),
    ],
)
def test_what_goes_wrong_is_a_warning_with_what_to_do(error, why, monkeypatch):
    path, said = ends(monkeypatch, error)
    assert path is None
    assert f"warning: the run is finished, but its report could not be written: {why}" in said
    assert "heatbeam report runs/one tries again\n" in said


def test_an_interrupt_says_that_the_run_is_finished(monkeypatch):
    with pytest.raises(KeyboardInterrupt, match="the run is finished, and heatbeam report runs/one writes its report"):
        ends(monkeypatch, KeyboardInterrupt())
