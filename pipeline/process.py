"""What the console script and ``python -m heatbeam`` start: the command line, and what a signal does to it.

Imports nothing of heatbeam before it listens to signals, so that Ctrl-C is answered in one line from the beginning.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import traceback
import types


def start() -> int:
    """`cli.main` of the process's arguments: the exit status. Does not return where a signal ended the command."""
    signals = _Signals()
    try:
        from heatbeam import cli

        sys.excepthook = _show_traceback
        status = cli.main()
        signals.status = status
    except BaseException:
        if signals.received is None:
            raise
        sys.stderr.write("interrupted\n")
        status = 128 + signals.received
    if signals.received is None or status == 0:
        return status
    # Without the interpreter's end: threads of TensorFlow that still compute would abort it.
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError):
            stream.flush()
    os._exit(128 + signals.received)


def _show_traceback(kind: type[BaseException], error: BaseException, trace: types.TracebackType | None) -> None:
    """The traceback of a bug, without the secrets that stand in it."""
    from heatbeam import cli

    sys.stderr.write(cli.safe("".join(traceback.format_exception(kind, error, trace))))


class _Signals:
    """What SIGINT and SIGTERM do from now on: the first has the command end in order, a second ends the process.

    Attributes:
        received: the first, or None.
        status: exit status of the command once it is done: a signal then only hastens the end.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.status: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            # Ignored by nohup, and by a shell for what it leaves in the background: then they stay so.
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._act)

    def _act(self, number: int, _: types.FrameType | None) -> None:
        if self.status is not None:
            os._exit(self.status)
        if self.received is not None:
            os._exit(128 + self.received)
        self.received = number
        logging.disable()  # what threads meet that are stopped is no news
        raise KeyboardInterrupt
