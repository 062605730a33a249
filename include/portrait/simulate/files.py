"""Writers that give the same bytes for the same rows, and folders that appear complete or not at all."""

import gzip
import io
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.parquet as pq

ROWS_AT_ONCE = 200_000
GZIP_LEVEL = 3


def day_name(day: date) -> str:
    """The folder of a delivery date: date=2025-01-31."""
    return f"date={day:%Y-%m-%d}"


@contextmanager
def complete_folder(folder: Path) -> Iterator[Path]:
    """A hidden folder to write into, beside the target; it takes the target's place when all went well."""
    hidden = folder.with_name(f".{folder.name}.tmp")
    shutil.rmtree(hidden, ignore_errors=True)
    hidden.mkdir(parents=True)
    yield hidden
    shutil.rmtree(folder, ignore_errors=True)
    if any(hidden.iterdir()):
        hidden.rename(folder)
    else:
        hidden.rmdir()


def write_whole(path: Path, text: str) -> None:
    """The text as a file that appears complete or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_text(text, encoding="utf-8")
    hidden.replace(path)


def write_csv(path: Path, tables: Iterable[pa.Table]) -> int:
    """Rows as CSV without quotes; without rows no file. Gives the number of rows.

    Gzipped, without a time stamp, when the name ends in .gz. Raises when a text holds a comma or a quote.
    """
    written = 0
    file: io.BufferedWriter | gzip.GzipFile | None = None
    raw: io.BufferedWriter | None = None
    for table in tables:
        if not table.num_rows:
            continue
        if file is None:
            raw = path.open("wb")
            zipped = path.suffix == ".gz"
            file = gzip.GzipFile("", "wb", GZIP_LEVEL, raw, mtime=0) if zipped else raw
        for start in range(0, table.num_rows, ROWS_AT_ONCE):
            options = pacsv.WriteOptions(
                include_header=written + start == 0, quoting_style="none", quoting_header="none"
            )
            sink = pa.BufferOutputStream()
            pacsv.write_csv(table.slice(start, ROWS_AT_ONCE), sink, options)
            file.write(sink.getvalue())
        written += table.num_rows
    if file is not None and raw is not None:
        file.close()
        raw.close()
    return written


def write_jsonl(path: Path, tables: Iterable[pa.Table]) -> int:
    """Rows as JSON objects, one a line; without rows no file. Gives the number of rows."""
    written = 0
    for table in tables:
        if table.num_rows:
            with path.open("ab") as file:
                for start in range(0, table.num_rows, ROWS_AT_ONCE):
                    lines = json_lines(table.slice(start, ROWS_AT_ONCE))
                    first, last = lines.offset, lines.offset + len(lines)
                    offsets = memoryview(lines.buffers()[1]).cast("i")
                    file.write(memoryview(lines.buffers()[2])[offsets[first] : offsets[last]])
            written += table.num_rows
    return written


def write_parquet(path: Path, table: pa.Table) -> int:
    """Rows as zstd Parquet; without rows no file. Gives the number of rows."""
    if table.num_rows:
        pq.write_table(table, path, compression="zstd", row_group_size=1_000_000)
    return table.num_rows


def json_lines(table: pa.Table) -> pa.StringArray:
    """Each row as one JSON object and a newline.

    Texts must not hold quotes, backslashes or control characters.
    """
    parts = []
    for position, name in enumerate(table.column_names):
        column = table[name].combine_chunks()
        start = ("{" if position == 0 else ",") + f'"{name}":'
        if pa.types.is_string(column.type) or pa.types.is_date(column.type):
            value = pc.binary_join_element_wise(f'{start}"', column.cast(pa.string()), '"', "")
        else:
            value = pc.binary_join_element_wise(start, column.cast(pa.string()), "")
        parts.append(pc.coalesce(value, start + "null"))
    return pc.binary_join_element_wise(*parts, "}\n", "")
