"""Files as streams of Arrow record batches, a few megabytes at a time.

CSV columns stay text: the contract, not the file's first rows, decides their type. JSON Lines come as one
text column, so that a line that is no JSON can be refused by itself. Parquet keeps its types.
"""

import csv
import io
import json
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

import pyarrow as pa
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

from portrait.config import SourceSpec
from portrait.errors import PortraitError
from portrait.sources.delivery import BadLine

BLOCK_BYTES = 16 << 20
BATCH_ROWS = 131_072
JSON_LINE = "portrait_line"
_SAMPLED_LINES = 1000


def source_schema(path: Path, source: SourceSpec) -> pa.Schema:
    """The columns (JSON Lines: the keys in the first lines) of a file; an empty header cell is ``column_3``.

    Raises
    ------
    PortraitError : when the file is empty, is not of the declared format, or cannot be decoded.
    """
    try:
        if source.format == "parquet":
            schema = pq.read_schema(path).remove_metadata()
            _refuse_twins(path, schema.names)
            return schema
        with _text(path, source.encoding) as file:
            if source.format == "csv":
                header = next(csv.reader(file, delimiter=source.delimiter), None)
                if header is None:
                    raise PortraitError(f"{path}: the file is empty; deliver it again, with its header line")
                if not any(header):
                    raise PortraitError(
                        f"{path}: the first line is blank; deliver it again, with its header line"
                    )
                names = [name or f"column_{place}" for place, name in enumerate(header, 1)]
                _refuse_twins(path, names)
                return pa.schema([(name, pa.string()) for name in names])
            keys: dict[str, None] = {}
            lines = 0
            for line in islice(file, _SAMPLED_LINES):
                lines += 1
                try:
                    content = json.loads(line)
                except json.JSONDecodeError:
                    continue
                if isinstance(content, dict):
                    keys.update(dict.fromkeys(content))
            if not lines:
                raise PortraitError(f"{path}: the file is empty; deliver it again")
            return pa.schema([(key, pa.string()) for key in keys])
    except UnicodeDecodeError:
        raise _undecodable(path, source) from None
    except (pa.ArrowInvalid, OSError, EOFError, csv.Error) as error:
        raise PortraitError(
            f"{path}: cannot be read as {source.format} ({_brief(error)}); "
            f"check sources[{source.name}].format and deliver the file again"
        ) from None


def _refuse_twins(path: Path, names: list[str]) -> None:
    """SQL knows no case: `Name` and `name` could not be told apart."""
    lower = [n.lower() for n in names]
    for name in names:
        if lower.count(name.lower()) > 1:
            raise PortraitError(f"{path}: column {name!r} appears twice in the header; rename one")


def read_batches(path: Path, source: SourceSpec, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
    """Stream a file.

    Parameters
    ----------
    bad_line : called with (row number, text, columns expected, columns found) for each line whose number of
        columns is wrong; the row is left out. The row number counts data rows from 1, bad ones included and
        blank lines not.

    Raises
    ------
    PortraitError : when the file cannot be decoded or is damaged.
    """
    try:
        if source.format == "parquet":
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=BATCH_ROWS)
        elif source.format == "csv":
            yield from _csv(path, source, bad_line)
        else:
            yield from _lines(path, source, bad_line)
    except UnicodeDecodeError:
        raise _undecodable(path, source) from None
    except (pa.ArrowInvalid, OSError, EOFError, csv.Error) as error:
        # A row that the handler of bad lines could not even decode comes out as a parse error, with its text.
        if "UTF8" in str(error) or "CSV parse error: Row" in str(error):
            raise _undecodable(path, source) from None
        raise PortraitError(f"{path}: {_brief(error)}; deliver the file again") from None


def _csv(path: Path, source: SourceSpec, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
    names = source_schema(path, source).names
    if not _has_rows(path, source):
        return
    with pacsv.open_csv(
        _open(path),
        read_options=pacsv.ReadOptions(
            use_threads=False,
            block_size=BLOCK_BYTES,
            encoding=source.encoding,
            column_names=names,
            skip_rows_after_names=1,
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=source.delimiter, newlines_in_values=True, invalid_row_handler=_skip(bad_line, 1)
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False, check_utf8=True
        ),
    ) as reader:
        yield from reader


def _skip(bad_line: BadLine, headers: int) -> Callable[[pacsv.InvalidRow], str]:
    def skip(row: pacsv.InvalidRow) -> str:
        bad_line(row.number - headers, row.text, row.expected_columns, row.actual_columns)
        return "skip"

    return skip


def _has_rows(path: Path, source: SourceSpec) -> bool:
    """Whether anything follows the header; Arrow takes a header alone for a broken file."""
    with _text(path, source.encoding) as file:
        rows = csv.reader(file, delimiter=source.delimiter)
        next(rows)
        return any(rows)


def _lines(path: Path, source: SourceSpec, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
    with pacsv.open_csv(
        _open(path),
        read_options=pacsv.ReadOptions(
            use_threads=False, block_size=BLOCK_BYTES, encoding=source.encoding, column_names=[JSON_LINE]
        ),
        # No JSON text holds a raw \x01: the whole line is one column.
        parse_options=pacsv.ParseOptions(
            delimiter="\x01",
            quote_char=False,
            ignore_empty_lines=True,
            invalid_row_handler=_skip(bad_line, 0),
        ),
        convert_options=pacsv.ConvertOptions(
            column_types={JSON_LINE: pa.string()}, strings_can_be_null=False
        ),
    ) as reader:
        yield from reader


def _open(path: Path) -> pa.NativeFile:
    return pa.input_stream(str(path), compression="detect")


def _text(path: Path, encoding: str) -> IO[str]:
    codec = "utf-8-sig" if encoding.lower().replace("_", "-") in ("utf-8", "utf8") else encoding
    return io.TextIOWrapper(io.BufferedReader(_open(path)), encoding=codec, newline="")


def _undecodable(path: Path, source: SourceSpec) -> PortraitError:
    return PortraitError(
        f"{path}: is not {source.encoding} text; set sources[{source.name}].encoding, for example gb18030"
    )


def _brief(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:200] if str(error).strip() else type(error).__name__
