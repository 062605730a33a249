"""Arrow's CSV reader on a stream, and an end to it.

The reader's own thread reads up to 32 blocks ahead and goes on for a while when nobody wants the rest. Reading a store
or decoding takes Python; a thread that comes back to an interpreter that is ending brings the process down. So its
bytes come through Python always, stop when they are told to, and the last reference tells that it is done.
"""

import logging
import threading
import weakref
from collections.abc import Generator

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

log = logging.getLogger(__name__)
_LAST_READ_SECONDS = 60


class Feed:
    """What Arrow took of a file: `quoted` when a quote was among it. Nothing more is given once `stopped`."""

    def __init__(self) -> None:
        self.quoted = False
        self.stopped = False


def csv_batches(
    stream: pa.NativeFile,
    feed: Feed,
    read: pacsv.ReadOptions,
    parse: pacsv.ParseOptions,
    convert: pacsv.ConvertOptions,
) -> Generator[pa.RecordBatch, None, None]:
    """Read a stream. When this ends, early or not, nothing reads it any more."""
    source = _Source(stream, feed)
    done = threading.Event()
    weakref.finalize(source, done.set).atexit = False
    file = pa.PythonFile(source, "r")
    del source, stream
    reader = None
    try:
        reader = pacsv.open_csv(file, read, parse, convert)
        yield from reader
    finally:
        feed.stopped = True
        del file, reader
        if not done.wait(_LAST_READ_SECONDS):
            log.warning("a read of a file that is no longer needed is still going on")


def holds(buffer: pa.Buffer, character: bytes) -> bool:
    """Whether a character is anywhere in a buffer: one `memchr`, nothing copied."""
    if not buffer.size:
        return False
    return bool(np.strings.find(np.frombuffer(buffer, f"S{buffer.size}"), character)[0] >= 0)


class _Source:
    """The file object that Arrow's thread reads."""

    mode = "rb"
    closed = False

    def __init__(self, stream: pa.NativeFile, feed: Feed) -> None:
        self._stream, self._feed = stream, feed

    def read(self, size: int = -1) -> pa.Buffer | bytes:
        stream, feed = self._stream, self._feed
        del self  # an error keeps this frame, and so what is in it
        if feed.stopped:
            return b""
        block = stream.read_buffer(size)
        # Arrow takes "\r\n" over the end of a block for the end of a row, also where it is a cell's text.
        while block.size and block[-1] == ord("\r") and (following := stream.read(1)):
            block = pa.py_buffer(block.to_pybytes() + following)
        if not feed.quoted:
            feed.quoted = holds(block, b'"')
        return block

    def readable(self) -> bool:
        return True

    def close(self) -> None: ...
