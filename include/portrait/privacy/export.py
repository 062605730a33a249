"""Giving a customer all that is held on them: a ZIP of JSON and CSV, and a page that says what it is."""

import csv
import io
import json
import logging
import os
import tempfile
import zipfile
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.privacy.customer import AlreadyErased, find_person, subject_of
from portrait.privacy.export_page import page
from portrait.privacy.held import Rows, held_on
from portrait.warehouse import open_warehouse
from portrait.warehouse.grants import PRIVACY

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SubjectExport:
    """What was written: rows by table, tables without rows left out."""

    file: Path
    tables: dict[str, int]

    @property
    def rows(self) -> int:
        return sum(self.tables.values())


def export_customer(settings: Settings, asked: str, out: Path, by: str) -> SubjectExport:
    """Write what is held on a customer, named by an id or ``kind:value``, into a new ZIP that only its owner may read.

    The database is read as `portrait_privacy`; who asked, and that contact data was opened, is in `privacy.access_log`
    before the file appears.

    Raises
    ------
    PortraitError : for a customer who is unknown or erased, a file that is there already or cannot be written, and
        contact data that was sealed with another key than PORTRAIT_PII_KEY.
    """
    if not by.strip():
        raise PortraitError("say who asks for the export")
    _check(out)
    subject = subject_of(settings, asked)
    warehouse = open_warehouse(settings.acting_as(PRIVACY))
    try:
        person = find_person(settings, warehouse, *subject)
    except AlreadyErased:
        raise PortraitError(
            "this customer was erased: nothing is held on them but the keyed hashes that keep them from coming back"
        ) from None
    # The log outlives the customer: it says who asked, not about whom but in `subjects`, which an erasure empties.
    reason = f"access request, entered by {by.strip()}"
    found = held_on(settings, warehouse, person, reason)
    made_at = datetime.now(UTC)
    with tempfile.NamedTemporaryFile(dir=out.parent, prefix=".export-", delete=False) as file:  # mode 600
        draft = Path(file.name)
    try:
        _write(draft, found, page(found, sorted(person.ids), made_at))
        done = SubjectExport(out, {table: len(rows) for table, rows in found.items() if rows})
        warehouse.execute(
            "select privacy.note_subject_access(cast(:s as text[]), :r, :n)",
            s=sorted(v for _, v in person.identifiers),
            r=reason,
            n=done.rows,
        )
        _put(draft, out)
    finally:
        draft.unlink(missing_ok=True)
    log.info("%d rows of %d tables given out", done.rows, len(done.tables))
    return done


def _check(out: Path) -> None:
    """Before anything is opened and logged."""
    if out.suffix.lower() != ".zip":
        raise PortraitError(f"--out {out}: the export is a ZIP; name a file that ends with .zip")
    if out.exists():
        raise _taken(out)
    if not out.parent.is_dir() or not os.access(out.parent, os.W_OK):
        raise PortraitError(
            f"--out {out}: {out.parent} is no folder that can be written; make it, or name another"
        )


def _put(draft: Path, out: Path) -> None:
    """Give the finished file its name; never over another."""
    try:
        os.link(draft, out)
    except FileExistsError:
        raise _taken(out) from None
    except OSError:  # a file system without hard links
        if out.exists():
            raise _taken(out) from None
        draft.rename(out)


def _taken(out: Path) -> PortraitError:
    return PortraitError(f"--out {out}: is there already; name another file or remove it")


def _write(draft: Path, found: dict[str, Rows], html: str) -> None:
    with zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED) as bundle:
        bundle.writestr("index.html", html)
        for table, rows in found.items():
            if rows:
                bundle.writestr(f"json/{table}.json", _as_json(rows))
                bundle.writestr(f"csv/{table}.csv", _as_csv(rows))


def _as_json(rows: Rows) -> str:
    return json.dumps(rows, ensure_ascii=False, indent=1, default=_plain) + "\n"


def _as_csv(rows: Rows) -> bytes:
    """With the mark by which spreadsheets recognise UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(dict.fromkeys(column for row in rows for column in row)))
    writer.writeheader()
    writer.writerows({k: _cell(v) for k, v in row.items()} for row in rows)
    return text.getvalue().encode("utf-8-sig")


def _cell(value: Any) -> Any:
    if isinstance(value, date):
        return value.isoformat()
    return json.dumps(value, ensure_ascii=False, default=_plain) if isinstance(value, dict | list) else value


def _plain(value: Any) -> Any:
    if isinstance(value, date):  # a datetime is one, too
        return value.isoformat()
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    raise TypeError(f"a {type(value).__name__} has no form in JSON")
