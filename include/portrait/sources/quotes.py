"""CSV quotes that are opened and never properly closed.

Arrow reads on to the next quote, whatever stands there: lines become text of one cell, and where the next quote is in
the same column, nothing looks wrong. Telling such a cell from a text of several lines takes the characters around the
quotes, and a reader as strict and as slow as Python's `csv`. So only a file in which a cell has a line break
(`has_line_breaks`: one `memchr` a column) is read again (`unclosed_quote`), once.
"""

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import pyarrow as pa

from portrait.sources.feed import holds

_ROWS_INSIDE = 3


@dataclass(frozen=True)
class UnclosedQuote:
    """The data row (from 1, blank lines not counted; 0 is the header) and the line of the file where it starts."""

    row: int
    line: int


def has_line_breaks(batch: pa.RecordBatch) -> bool:
    """Whether a value of a batch of texts has more than one line."""
    return any(holds(text, b"\n") for column in batch.columns if (text := column.buffers()[2]) is not None)


def unclosed_quote(
    lines: Iterable[str], delimiter: str, longest: int, rows: int | None = None
) -> UnclosedQuote | None:
    """Read CSV strictly up to the first cell over several lines that is not properly quoted, or that holds rows.

    Parameters
    ----------
    longest : of a cell, in characters: what bounds the memory.
    rows : how many data rows to look at; all unless given.
    """
    width = 0
    row = -1
    for line, spans, cells in _records(lines, delimiter, longest):
        if cells == []:
            continue
        row += 1
        if rows is not None and row > rows:
            break
        if cells is None:
            if spans:
                return UnclosedQuote(row, line)
            continue
        width = width or len(cells)
        if spans and any(_holds_rows(cell, delimiter, width) for cell in cells):
            return UnclosedQuote(row, line)
    return None


def _records(
    lines: Iterable[str], delimiter: str, longest: int
) -> Iterator[tuple[int, bool, list[str] | None]]:
    """First line, whether others belong to it, and cells (None where the quotes are wrong) of each record."""
    before = csv.field_size_limit(longest)
    try:
        reader = csv.reader(lines, delimiter=delimiter, strict=True)
        while True:
            read = reader.line_num
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                open_at_the_end = str(error) == "unexpected end of data"
                yield read + 1, open_at_the_end or reader.line_num - read > 1, None
            else:
                yield read + 1, reader.line_num - read > 1, cells
    finally:
        csv.field_size_limit(before)


def _holds_rows(cell: str, delimiter: str, width: int) -> bool:
    """Whether the lines within a cell have the file's number of columns, one as the other."""
    inner = cell.split("\n")[1:-1]
    return (
        width > _ROWS_INSIDE
        and len(inner) >= _ROWS_INSIDE
        and all(line.count(delimiter) == width - 1 for line in inner)
    )
