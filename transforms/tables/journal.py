"""What a run has explained so far, in files that are complete while it runs: what a killed run leaves to go on from.

A table's own file can be read only when its writer has closed it, which may be at the end of the job. So the rows are
also written to a series of small Arrow files (IPC file format, LZ4), each of which is closed within moments. The run
directory removes them when the run has finished.

Pure of Beam's graph: files go through Beam's filesystems, so a directory may be remote.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
from apache_beam.io import filesystem, filesystems

SUFFIX = ".arrow"

_COST_SHARE = 100
_GROWTH = 1000


class Pace:
    """Says when it is time again for something worth doing often, so that it takes a hundredth of the time at most.

    The interval is 100 times what it took last, and a thousandth of the time since the start where that is longer: the
    number of times grows with the logarithm of the time.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._began = self._last = clock()
        self._cost_s = 0.0

    def due(self) -> bool:
        """Whether it is time."""
        now = self._clock()
        return now - self._last >= max(_COST_SHARE * self._cost_s, (now - self._began) / _GROWTH)

    def done(self, cost_s: float) -> None:
        """It was done now and took `cost_s` seconds."""
        self._last, self._cost_s = self._clock(), cost_s


class Journal:
    """A series of complete files of the rows of one writer, ``<directory>/<unique>.arrow``.

    Args:
        directory: where they go.
        schema: of the rows.
        pace: when a file is closed; every table's file at once if it is always due.
    """

    def __init__(self, directory: str, schema: pa.Schema, pace: Pace):
        self._directory = directory
        self._schema = schema
        self._pace = pace
        self._stream: Any = None
        self._writer: pa.RecordBatchFileWriter | None = None
        self._cost_s = 0.0

    def write(self, table: pa.Table) -> None:
        """Add rows; closes the file if that is due."""
        started = time.monotonic()
        if self._writer is None:
            self._open()
        assert self._writer is not None
        self._writer.write_table(table)
        self._cost_s += time.monotonic() - started
        if self._pace.due():
            self.close()

    def _open(self) -> None:
        path = filesystems.FileSystems.join(self._directory, uuid.uuid4().hex + SUFFIX)
        self._stream = filesystems.FileSystems.create(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        self._writer = pa.ipc.new_file(pa.PythonFile(self._stream, mode="w"), self._schema, options=options)

    def close(self) -> None:
        """Close the file that is open, if one is: from now on its rows are safe."""
        if self._writer is None:
            return
        started = time.monotonic()
        self._writer.close()
        self._stream.close()
        self._writer = self._stream = None
        self._pace.done(self._cost_s + time.monotonic() - started)
        self._cost_s = 0.0
