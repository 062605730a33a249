"""Which deliveries a pull has to read: new ones, changed ones, and those with rows that were not due."""

import hashlib
import logging
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

from portrait.config import SourceSpec
from portrait.sources import Delivery
from portrait.warehouse import Warehouse

log = logging.getLogger(__name__)


@dataclass
class Unread:
    """What there is to do.

    Attributes
    ----------
    files : deliveries to read, oldest first.
    again : files whose very bytes are loaded already, with the number of rows they hold.
    digests : SHA-256 of the files' bytes, where they could be taken.
    """

    files: list[Delivery] = field(default_factory=list)
    again: dict[str, int] = field(default_factory=dict)
    again_files: list[Delivery] = field(default_factory=list)
    digests: dict[str, str] = field(default_factory=dict)


def spec_digest(source: SourceSpec) -> str:
    """Changes when the way in which a source's rows are read does."""
    return hashlib.md5(source.model_dump_json().encode(), usedforsecurity=False).hexdigest()


def find_unread(
    warehouse: Warehouse, source: SourceSpec, deliveries: list[Delivery], as_of: date, since: date | None
) -> Unread:
    """Of the deliveries up to `as_of` those that must be read; from `since` on all of them."""
    known = {
        r["path"]: r
        for r in warehouse.rows(
            "select f.path, f.fingerprint, f.rows_read, f.rows_not_due, f.content_sha256, f.spec_md5, f.batch_id, "
            "b.business_date from ops.batch_file f join ops.batch b using (batch_id) where f.source = :s",
            s=source.name,
        )
    }
    repeats = _Repeats(warehouse, source, known)
    unread = Unread()
    for delivery in deliveries:
        seen = known.get(delivery.name)
        forced = since is not None and (delivery.delivered_for or as_of) >= since
        if not delivery.numbered or forced:
            unread.files.append(delivery)
        elif seen is None or seen["fingerprint"] != delivery.fingerprint:
            digest = _sha256(delivery)
            if digest is not None:
                unread.digests[delivery.name] = digest
            rows = repeats.rows(delivery, digest)
            if rows is None:
                unread.files.append(delivery)
            else:
                unread.again[delivery.name] = rows
                unread.again_files.append(delivery)
        elif seen["rows_not_due"] and seen["business_date"] < as_of:
            # Its other rows are loaded; a later file may have corrected them since.
            unread.files.append(replace(delivery, loaded_through=seen["business_date"]))
    return unread


class _Repeats:
    """Recognises a file whose bytes are loaded already and cannot be news."""

    def __init__(self, warehouse: Warehouse, source: SourceSpec, known: dict[str, dict[str, Any]]) -> None:
        self._source, self._known, self._spec = source, known, spec_digest(source)
        self._by_digest = {r["content_sha256"]: r for r in known.values() if r["content_sha256"]}
        last = warehouse.scalar(
            "select max(batch_id) from ops.batch where source = :s and status = 'loaded' "
            "and rows_inserted + rows_updated > 0",
            s=source.name,
        )
        of_last = [r for r in known.values() if r["batch_id"] == last]
        self._last = of_last[0] if len(of_last) == 1 else None

    def rows(self, delivery: Delivery, digest: str | None) -> int | None:
        """Rows in the file when there is no need to read it, else None."""
        seen = self._by_digest.get(digest) if digest else None
        if seen is None or seen["spec_md5"] != self._spec or seen["rows_not_due"]:
            return None
        # The same bytes may be news: a price list that goes back to an older state. Not so where the rows say when
        # they were changed, where the file was only touched, or where nothing was loaded in between.
        touched = seen["path"] == delivery.name
        if touched or "updated_at" in self._source.columns or (not self._source.dated and seen is self._last):
            return int(seen["rows_read"])
        return None


def _sha256(delivery: Delivery) -> str | None:
    if "://" in delivery.name:
        return None
    with Path(delivery.name).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
