"""Reading a data set's CSV files, plain or gzipped."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
from pyarrow import csv

from portrait.errors import PortraitError


def read_columns(file: Path, columns: Sequence[str]) -> pa.Table:
    """Some columns of a CSV file with a heading, in the order asked for; `file.gz` is read where `file` is absent.

    Raises
    ------
    PortraitError
        If the file is absent, unreadable or without rows, or a column is missing or has an empty value.
    """
    zipped = file.with_name(file.name + ".gz")
    found = file if file.exists() or not zipped.exists() else zipped
    if not found.exists():
        raise PortraitError(f"{file} is missing: the protocol needs it, with the columns {','.join(columns)}")
    try:
        rows = csv.read_csv(found)
    except (pa.ArrowInvalid, OSError) as error:
        raise PortraitError(f"{found} cannot be read as CSV: {error}") from error
    missing = [name for name in columns if name not in rows.column_names]
    if missing:
        raise PortraitError(
            f"{found} has no column {', '.join(missing)}; it has {', '.join(rows.column_names)}"
        )
    if not len(rows):
        raise PortraitError(f"{found} has a heading and no rows")
    for name in columns:
        if empty := rows[name].null_count:
            raise PortraitError(f"{found}: column {name} has {empty} empty value(s); fill or drop those rows")
    return rows.select(list(columns))
