"""Files as streams of Arrow record batches, a few megabytes at a time.

CSV columns stay text: the contract, not the file's first rows, decides their type. JSON Lines come as one
text column, so that a line that is no JSON can be refused by itself. Parquet keeps its types.
"""

import csv
import io
import json
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import partial
from itertools import chain, islice
from pathlib import Path, PurePosixPath

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from portrait.config import SourceSpec
from portrait.errors import PortraitError
from portrait.sources.delivery import BadLine
from portrait.sources.feed import Feed, csv_batches
from portrait.sources.quotes import has_line_breaks, unclosed_quote
from portrait.sources.remote import RemoteStorage
from portrait.sources.storage import Storage, is_remote

# Arrow reads up to 32 of them ahead. No row may be longer.
BLOCK_BYTES = 4 << 20
BATCH_ROWS = 131_072
JSON_LINE = "portrait_line"
_HEAD_BYTES = 1 << 20
_SAMPLED_LINES = 1000
_PACKED = {".gz": "gzip", ".zst": "zstd", ".bz2": "bz2", ".lz4": "lz4"}

Start = Callable[[], pa.NativeFile]
"""Reads a file's bytes, unpacked, from the beginning."""


def source_schema(name: Path | str, source: SourceSpec, storage: Storage | None = None) -> pa.Schema:
    """The columns (JSON Lines: the keys in the first lines) of a file; an empty header cell is ``column_3``.

    `name` is a path or a URL; `storage` is the URL's, opened anew unless given.

    Raises
    ------
    PortraitError : when the file is empty, is not of the declared format, or cannot be decoded.
    SourceUnavailable : when the store does not answer.
    """
    name = str(name)
    try:
        if source.format == "parquet":
            with _parquet(name, source, storage) as file:
                schema = file.schema_arrow.remove_metadata()
            _refuse_twins(name, schema.names)
            return schema
        with _opened(name, source, storage, _HEAD_BYTES) as start:
            if source.format == "csv":
                return pa.schema([(column, pa.string()) for column in _header(name, source, start)])
            return _keys(name, source, start)
    except UnicodeDecodeError:
        raise _undecodable(name, source) from None
    except (pa.ArrowInvalid, OSError, EOFError, csv.Error) as error:
        raise PortraitError(
            f"{name}: cannot be read as {source.format} ({_brief(error)}); "
            f"check sources[{source.name}].format and deliver the file again"
        ) from None


def _header(name: str, source: SourceSpec, start: Start) -> list[str]:
    try:
        with _text(start, source.encoding) as lines:
            header = next(csv.reader(lines, delimiter=source.delimiter), None)
    except csv.Error:
        _refuse_unclosed(name, source, start, rows=0)
        raise
    if header is None:
        raise PortraitError(f"{name}: the file is empty; deliver it again, with its header line")
    if not any(header):
        raise PortraitError(f"{name}: the first line is blank; deliver it again, with its header line")
    if any("\n" in column for column in header):
        _refuse_unclosed(name, source, start, rows=0)
    columns = [column or f"column_{place}" for place, column in enumerate(header, 1)]
    _refuse_twins(name, columns)
    return columns


def _keys(name: str, source: SourceSpec, start: Start) -> pa.Schema:
    keys: dict[str, None] = {}
    read = 0
    with _text(start, source.encoding) as lines:
        for line in islice(lines, _SAMPLED_LINES):
            read += 1
            try:
                content = json.loads(line)
            except json.JSONDecodeError:
                continue
            if isinstance(content, dict):
                keys.update(dict.fromkeys(content))
    if not read:
        raise PortraitError(f"{name}: the file is empty; deliver it again")
    return pa.schema([(key, pa.string()) for key in keys])


def _refuse_twins(name: str, columns: list[str]) -> None:
    """SQL knows no case: `Name` and `name` could not be told apart."""
    lower = [c.lower() for c in columns]
    for column in columns:
        if lower.count(column.lower()) > 1:
            raise PortraitError(f"{name}: column {column!r} appears twice in the header; rename one")


def read_batches(
    name: Path | str, source: SourceSpec, bad_line: BadLine, storage: Storage | None = None
) -> Iterator[pa.RecordBatch]:
    """Stream a file: a path or a URL.

    Parameters
    ----------
    bad_line : called with (row number, text, columns expected, columns found) for each line whose number of
        columns is wrong; the row is left out. The row number counts data rows from 1, bad ones included and
        blank lines not.
    storage : the URL's, opened anew unless given.

    Raises
    ------
    PortraitError : when the file cannot be decoded, is damaged, or has an unclosed quote that takes other lines in.
    SourceUnavailable : when the store does not answer, or the file was replaced meanwhile.
    """
    name = str(name)
    try:
        if source.format == "parquet":
            yield from _parquet_batches(name, source, storage)
        elif source.format == "csv":
            yield from _csv(name, source, bad_line, storage)
        else:
            yield from _lines(name, source, bad_line, storage)
    except UnicodeDecodeError:
        raise _undecodable(name, source) from None
    except (pa.ArrowInvalid, OSError, EOFError, csv.Error) as error:
        # A row that the handler of bad lines could not even decode comes out as a parse error, with its text.
        if "UTF8" in str(error) or "CSV parse error: Row" in str(error):
            raise _undecodable(name, source) from None
        if "straddles two block boundaries" in str(error):
            raise PortraitError(
                f"{name}: a row is longer than {BLOCK_BYTES >> 20} MB; split it, and deliver the file again"
            ) from None
        raise PortraitError(f"{name}: {_brief(error)}; deliver the file again") from None


def _parquet_batches(name: str, source: SourceSpec, storage: Storage | None) -> Iterator[pa.RecordBatch]:
    with _parquet(name, source, storage) as file:
        # By group: what is fetched ahead from a store stays in memory until its reader is done.
        for group in range(file.num_row_groups):
            yield from file.iter_batches(batch_size=BATCH_ROWS, row_groups=[group])


@contextmanager
def _parquet(name: str, source: SourceSpec, storage: Storage | None) -> Iterator[pq.ParquetFile]:
    if not is_remote(name):
        with pq.ParquetFile(name) as file:
            yield file
        return
    with (
        _remote(source, storage).open(name, None) as stream,
        pq.ParquetFile(pa.PythonFile(stream, "r"), pre_buffer=True) as file,
    ):
        yield file


def _csv(
    name: str, source: SourceSpec, bad_line: BadLine, storage: Storage | None
) -> Iterator[pa.RecordBatch]:
    long_bad_lines = []

    def note_bad_line(row: int, text: str, expected: int, found: int) -> None:
        if "\n" in text or "\r" in text:
            long_bad_lines.append(row)
        bad_line(row, text, expected, found)

    with _opened(name, source, storage, BLOCK_BYTES) as start:
        names = _header(name, source, start)
        if not _has_rows(source, start):
            return
        feed, suspect = Feed(), True
        with closing(_arrow_csv(source, start, names, note_bad_line, feed)) as batches:
            try:
                for batch in batches:
                    if suspect and feed.quoted and (long_bad_lines or has_line_breaks(batch)):
                        _refuse_unclosed_again(name, source, storage)
                        suspect = False
                    yield batch
            except pa.ArrowInvalid as error:
                if "straddles" in str(error):
                    _refuse_unclosed_again(name, source, storage)
                raise
            if suspect and long_bad_lines:
                _refuse_unclosed_again(name, source, storage)


def _arrow_csv(
    source: SourceSpec, start: Start, names: list[str], bad_line: BadLine, feed: Feed
) -> Generator[pa.RecordBatch, None, None]:
    return csv_batches(
        start(),
        feed,
        pacsv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            encoding=source.encoding,
            column_names=names,
            skip_rows_after_names=1,
        ),
        pacsv.ParseOptions(
            delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=_skip(bad_line, 1)
        ),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
        ),
    )


def _skip(bad_line: BadLine, headers: int) -> Callable[[pacsv.InvalidRow], str]:
    def skip(row: pacsv.InvalidRow) -> str:
        bad_line(row.number - headers, row.text, row.expected_columns, row.actual_columns)
        return "skip"

    return skip


def _has_rows(source: SourceSpec, start: Start) -> bool:
    """Whether anything follows the header; Arrow takes a header alone for a broken file."""
    with _text(start, source.encoding) as lines:
        next(csv.reader(lines, delimiter=source.delimiter))
        return any(line.strip("\r\n") for line in lines)


def _refuse_unclosed_again(name: str, source: SourceSpec, storage: Storage | None) -> None:
    """The same from the start: Arrow may be reading ahead in the stream that is open."""
    with _opened(name, source, storage, BLOCK_BYTES) as start:
        _refuse_unclosed(name, source, start)


def _refuse_unclosed(name: str, source: SourceSpec, start: Start, rows: int | None = None) -> None:
    with _text(start, source.encoding) as lines:
        found = unclosed_quote(lines, source.delimiter, 4 * BLOCK_BYTES, rows)
    if found is not None:
        where = f"row {found.row}" if found.row else "the header"
        raise PortraitError(
            f"{name}: {where} (line {found.line}) opens a quote that is not closed where its cell ends, and takes "
            'the lines after it in; write a quote within a cell twice (""), and deliver the file again'
        )


def _lines(
    name: str, source: SourceSpec, bad_line: BadLine, storage: Storage | None
) -> Iterator[pa.RecordBatch]:
    with _opened(name, source, storage, BLOCK_BYTES) as start:
        yield from csv_batches(
            start(),
            Feed(),
            pacsv.ReadOptions(
                use_threads=False, block_size=BLOCK_BYTES, encoding=source.encoding, column_names=[JSON_LINE]
            ),
            # No JSON text holds a raw \x01: the whole line is one column.
            pacsv.ParseOptions(
                delimiter="\x01",
                quote_char=False,
                ignore_empty_lines=True,
                invalid_row_handler=_skip(bad_line, 0),
            ),
            pacsv.ConvertOptions(column_types={JSON_LINE: pa.string()}, strings_can_be_null=False),
        )


@contextmanager
def _opened(name: str, source: SourceSpec, storage: Storage | None, block_bytes: int) -> Iterator[Start]:
    if not is_remote(name):
        yield lambda: pa.input_stream(name, compression="detect")
        return
    packed = _PACKED.get(PurePosixPath(name).suffix)
    with _remote(source, storage).open(name, block_bytes) as stream:
        yield lambda: pa.input_stream(stream.rewind(), compression=packed)


def _remote(source: SourceSpec, storage: Storage | None) -> RemoteStorage:
    return storage if isinstance(storage, RemoteStorage) else RemoteStorage(source)


@contextmanager
def _text(start: Start, encoding: str) -> Iterator[Iterator[str]]:
    """Lines as `csv` wants them, without a byte order mark; an endless one comes in pieces."""
    with io.TextIOWrapper(io.BufferedReader(start()), encoding=encoding, newline="") as file:
        lines = iter(partial(file.readline, 4 * BLOCK_BYTES), "")
        first = next(lines, "").removeprefix("\ufeff")
        yield chain([first] if first else [], lines)


def _undecodable(name: str, source: SourceSpec) -> PortraitError:
    return PortraitError(
        f"{name}: is not {source.encoding} text; set sources[{source.name}].encoding, for example gb18030"
    )


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
