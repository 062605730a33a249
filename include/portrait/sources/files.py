"""Which files a source has for a business date."""

import logging
import re
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa

from portrait.config import Settings, SourceSpec
from portrait.errors import PortraitError, SourceUnavailable
from portrait.sources.delivery import BadLine, Delivery
from portrait.sources.pattern import PathPattern, day_of
from portrait.sources.readers import read_batches, source_schema
from portrait.sources.storage import Entry, Storage, open_storage, without_password

log = logging.getLogger(__name__)


class FileConnector:
    """A source of files: a path or pattern of `sources.yaml`, on this machine or in an object store."""

    def __init__(self, settings: Settings, source: SourceSpec) -> None:
        self.settings, self.source = settings, source
        self._storage = open_storage(source)

    def pending(self, as_of: date | None, mark: int | None = None) -> list[Delivery]:
        return pending_files(self.settings, self.source, as_of, self._storage)

    def schema(self, delivery: Delivery) -> pa.Schema:
        return source_schema(delivery.name, self.source, self._storage)

    def batches(self, delivery: Delivery, bad_line: BadLine) -> Iterator[pa.RecordBatch]:
        return read_batches(delivery.name, self.source, bad_line, self._storage)


def pending_files(
    settings: Settings, source: SourceSpec, as_of: date | None = None, storage: Storage | None = None
) -> list[Delivery]:
    """Files that the source's path names and that are complete, delivered up to `as_of` (all when None), oldest first.

    `{business_date}` in the path stands for a date (2026-03-01 or 20260301), `*` and `**` for anything. A file without
    its `ready_marker`, or that is still being written, is left for the next time.

    Raises
    ------
    PortraitError : when the path names no file at all, complete or not.
    SourceUnavailable : when the store does not answer, or a `daily` source has no complete file for `as_of`.
    """
    storage = storage or open_storage(source)
    path = settings.source_path(str(source.path))
    pattern = PathPattern(without_password(path).removeprefix("file://"))
    found = _dated(source, pattern, storage.find(pattern, as_of))
    # A storage may have passed over later dates; with those the path is right.
    if not found and not (as_of and _dated(source, pattern, storage.find(pattern, None))):
        if source.daily and as_of is not None:
            raise _not_delivered(source, pattern, as_of)
        raise PortraitError(
            f"sources[{source.name}].path: no file matches {pattern.text}; "
            f"correct the path in {settings.sources_path} or deliver the file"
        )
    due = {e: day for e, day in found.items() if as_of is None or day is None or day <= as_of}
    ready = _settled(source, storage, _marked(source, storage, list(due)))
    if source.daily and as_of is not None and as_of not in (due[e] for e in ready):
        raise _not_delivered(source, pattern, as_of)
    return sorted(
        (_delivery(entry, due[entry]) for entry in ready),
        key=lambda f: (f.delivered_for or date.min, f.name),
    )


def _not_delivered(source: SourceSpec, pattern: PathPattern, as_of: date) -> SourceUnavailable:
    return SourceUnavailable(
        f"sources[{source.name}]: no file for {as_of} yet ({pattern.text}); it is tried again, "
        "deliver it or set daily: false"
    )


def _dated(source: SourceSpec, pattern: PathPattern, entries: list[Entry]) -> dict[Entry, date | None]:
    """Data files and the date that each is for; markers and what has no date where one is expected are none."""
    found = {}
    for entry in entries:
        match = pattern.match(entry.name)
        day = day_of(match) if match else None
        if (day is not None or not source.dated) and not _is_marker(source, entry.name):
            found[entry] = day
    return found


def _is_marker(source: SourceSpec, name: str) -> bool:
    if source.ready_marker is None:
        return False
    names = ".+".join(map(re.escape, source.ready_marker.split("{name}")))
    return re.fullmatch(names, name.rpartition("/")[2]) is not None


def _marked(source: SourceSpec, storage: Storage, entries: list[Entry]) -> list[Entry]:
    """Files whose marker lies beside them."""
    if source.ready_marker is None:
        return entries
    marker_of = {}
    for entry in entries:
        folder, _, name = entry.name.rpartition("/")
        marker_of[entry] = f"{folder}/{source.ready_marker.replace('{name}', name)}"
    there = storage.exist(set(marker_of.values()))
    ready = [e for e in entries if marker_of[e] in there]
    if len(ready) < len(entries):
        first = next(e for e in entries if marker_of[e] not in there)
        log.info(
            "%s: %d files wait for their marker, %s the first",
            source.name, len(entries) - len(ready), first.name,
        )  # fmt: skip
    return ready


def _settled(source: SourceSpec, storage: Storage, entries: list[Entry]) -> list[Entry]:
    """Files that did not change within `settle_seconds`; for the young ones that takes one wait, together."""
    if not storage.settles:
        return entries
    now = datetime.now(UTC)
    ages = {e: (now - e.written).total_seconds() for e in entries if e.written is not None}
    young = {e: age for e, age in ages.items() if age < source.settle_seconds}
    if not young:
        return entries
    time.sleep(min(source.settle_seconds, source.settle_seconds - min(young.values())))
    moving = set()
    for entry in young:
        again = storage.look(entry.name)
        if again is None or again.fingerprint != entry.fingerprint:
            log.warning("%s: %s is still being written; it is left for the next run", source.name, entry.name)
            moving.add(entry)
    return [e for e in entries if e not in moving]


def _delivery(entry: Entry, day: date | None) -> Delivery:
    return Delivery(
        entry.name,
        delivered_for=day,
        fingerprint=entry.fingerprint,
        size=entry.size,
        # A day ahead: the file's business date may be further east than UTC.
        latest=entry.written and entry.written.date() + timedelta(days=1),
    )
