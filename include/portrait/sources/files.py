"""Which files a source has for a business date."""

import glob
import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa

from portrait.config import Settings, SourceSpec
from portrait.errors import PortraitError
from portrait.sources.delivery import BadLine, Delivery
from portrait.sources.readers import read_batches, source_schema

_DATE = r"(\d{4}-?\d{2}-?\d{2})"


class FileConnector:
    """A source of files: a path or pattern of `sources.yaml`."""

    def __init__(self, settings: Settings, source: SourceSpec) -> None:
        self.settings, self.source = settings, source

    def pending(self, as_of: date | None, mark: int | None = None) -> list[Delivery]:
        return pending_files(self.settings, self.source, as_of)

    def schema(self, delivery: Delivery) -> pa.Schema:
        return source_schema(Path(delivery.name), self.source)

    def batches(self, delivery: Delivery, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
        return read_batches(Path(delivery.name), self.source, bad_line)


def pending_files(settings: Settings, source: SourceSpec, as_of: date | None = None) -> list[Delivery]:
    """Files that the source's path names, delivered up to `as_of` (all when None), oldest first.

    `{business_date}` in the path stands for a date (2026-03-01 or 20260301), `*` and `**` for anything.

    Raises
    ------
    PortraitError : when the path names no file at all.
    """
    pattern = settings.source_path(str(source.path))
    if source.dated:
        first, *rest = pattern.split("{business_date}")
        # Only the first date is captured, further ones must be the same.
        dated = re.compile(_wildcards(first) + _DATE + r"\1".join(map(_wildcards, rest)))
    found = []
    # A bracket in a folder's name is no wildcard. Path.glob takes no absolute pattern.
    everything = pattern.replace("[", "[[]").replace("{business_date}", "*")
    for name in sorted(glob.glob(everything, recursive=True)):  # noqa: PTH207
        path = Path(name)
        if not path.is_file():
            continue
        if not source.dated:
            found.append(_delivery(path, None))
        elif match := dated.fullmatch(name):
            day = _date(match.group(1))
            if day is not None:
                found.append(_delivery(path, day))
    if not found:
        raise PortraitError(
            f"sources[{source.name}].path: no file matches {pattern}; "
            f"correct the path in {settings.sources_path} or deliver the file"
        )
    found.sort(key=lambda f: (f.delivered_for or date.min, f.name))
    return [f for f in found if as_of is None or f.delivered_for is None or f.delivered_for <= as_of]


def _delivery(path: Path, day: date | None) -> Delivery:
    status = path.stat()
    written = datetime.fromtimestamp(status.st_mtime, UTC).date()
    return Delivery(
        str(path),
        delivered_for=day,
        fingerprint=f"{status.st_size}-{status.st_mtime_ns}",
        size=status.st_size,
        # A day ahead: the file's business date may be further east than UTC.
        latest=written + timedelta(days=1),
    )


def _wildcards(text: str) -> str:
    """The regular expression of a glob pattern's fixed and starred parts."""
    parts = re.split(r"(\*\*/|\*\*|\*|\?)", text)
    return "".join(
        {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}.get(p, re.escape(p)) for p in parts
    )


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
