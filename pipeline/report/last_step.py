"""The report as the last step of a run: the run is finished whether it can be written or not."""

from __future__ import annotations

import time
from typing import TextIO

from heatbeam import command
from heatbeam.transforms import errors


class Interrupted(KeyboardInterrupt):
    """The user stopped the report; the message says that the run is finished."""


def write(run_path: str, stream: TextIO) -> str | None:
    """Write the report of a run that has just been finished; its path, or None where that failed.

    Args:
        run_path: the run.
        stream: where to say what is waited for, how long it took, and what went wrong.

    Raises:
        Interrupted: it was, by Ctrl-C.
    """
    command.waiting("writing the report", stream)
    started = time.monotonic()
    try:
        from heatbeam.report import report

        path = report.write_report(run_path)
    except KeyboardInterrupt as error:
        how = f"the run is finished, and heatbeam report {run_path} writes its report"
        raise Interrupted(f"interrupted; {how}") from error
    except Exception as error:  # noqa: BLE001 - the tables are right and complete, whatever a page of them lacks
        why = f"{error}" if isinstance(error, errors.UserError) else f"{type(error).__name__}: {error}"
        stream.write(
            f"warning: the run is finished, but its report could not be written: {why}; heatbeam report {run_path} "
            "tries again\n"
        )
        return None
    stream.write(f"report written in {time.monotonic() - started:.1f} s\n")
    return path
