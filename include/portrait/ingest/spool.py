"""Rows set aside while others stream past: on disk, so that memory does not grow with them."""

import tempfile
from collections.abc import Iterator
from typing import IO, Any

import pyarrow as pa


class Spool:
    """A temporary file of Arrow batches, gone when it is closed or the process ends.

    No personal data in clear may be put in.
    """

    def __init__(self, schema: pa.Schema) -> None:
        self.schema, self.rows = schema, 0
        self._file: IO[bytes] | None = None
        self._writer: Any = None

    def write(self, table: pa.Table) -> None:
        if not table.num_rows:
            return
        if self._writer is None:
            self._file = tempfile.TemporaryFile(prefix="portrait-")  # noqa: SIM115
            self._writer = pa.ipc.new_stream(
                self._file, self.schema, options=pa.ipc.IpcWriteOptions(compression="lz4")
            )
        self._writer.write_table(table)
        self.rows += table.num_rows

    def reader(self) -> pa.RecordBatchReader:
        """Everything written, once; nothing can be added afterwards."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        return pa.RecordBatchReader.from_batches(self.schema, self._batches())

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
        if self._file is not None:
            self._file.close()

    def _batches(self) -> Iterator[pa.RecordBatch]:
        if self._file is not None:
            self._file.seek(0)
            with pa.ipc.open_stream(self._file) as stream:
                yield from stream
