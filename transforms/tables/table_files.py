"""Random access to the blocks of a table's file: row groups of Parquet, record batches of Arrow's file format.

Files are read through Beam's filesystems, so they may be remote.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io import filesystem, filesystems

from heatbeam.transforms.tables import journal


class DamagedFile(ValueError):
    """The file is not complete: its writer was stopped."""


class TableFile:
    """An open file.

    Args:
        path: of a Parquet file, or of an Arrow file by its suffix `journal.SUFFIX`.

    Attributes:
        schema: of its rows.
        starts: int64 (blocks + 1,), the first row of each block, and the number of rows.

    Raises:
        DamagedFile: it has no readable end.
    """

    schema: pa.Schema
    starts: np.ndarray

    def __init__(self, path: str) -> None:
        uncompressed = filesystem.CompressionTypes.UNCOMPRESSED
        self._stream = filesystems.FileSystems.open(path, compression_type=uncompressed)
        self._file = pa.PythonFile(self._stream, mode="r")
        try:
            self._parquet = None if path.endswith(journal.SUFFIX) else pq.ParquetFile(self._file)
            if self._parquet is not None:
                self.schema = self._parquet.schema_arrow
                metadata = self._parquet.metadata
                counts = [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)]
            else:
                self.schema = pa.ipc.open_file(self._file).schema
                reader = self._reader(self.schema.names[:1])
                counts = [reader.get_batch(i).num_rows for i in range(reader.num_record_batches)]
        except pa.ArrowInvalid as error:
            self._stream.close()
            raise DamagedFile(f"{path} is not complete: {error}") from error
        self.starts = np.concatenate([[0], np.cumsum(counts, dtype=np.int64)]).astype(np.int64)

    def blocks_of(self, row: int, count: int) -> tuple[int, int]:
        """The blocks, first and last, that hold `count` rows from `row` on."""
        first, last = np.searchsorted(self.starts, (row, row + count - 1), side="right") - 1
        return int(first), int(last)

    def read(self, first: int, last: int, columns: Sequence[str]) -> pa.Table:
        """The rows of the blocks `first` to `last`."""
        if self._parquet is not None:
            return self._parquet.read_row_groups(list(range(first, last + 1)), columns=list(columns), use_threads=False)
        reader = self._reader(columns)
        return pa.Table.from_batches([reader.get_batch(i) for i in range(first, last + 1)])

    def _reader(self, columns: Sequence[str]) -> pa.RecordBatchFileReader:
        # Without threads: workers are as many as there are cores already.
        options = pa.ipc.IpcReadOptions(
            included_fields=[self.schema.get_field_index(name) for name in columns], use_threads=False
        )
        return pa.ipc.open_file(self._file, options=options)

    def close(self) -> None:
        """Close the file."""
        self._stream.close()
