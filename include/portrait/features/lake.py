"""What the Parquet lake holds and where: the one place that knows its layout."""

import json
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from portrait.contracts import CONTRACTS, Column

LAKE_TABLES = ("online_event", "pos_receipt", "pos_receipt_line", "member", "product", "store")

_LEFT_OUT = ("business_date", "updated_at")
_ARROW = {
    "text": pa.string(),
    "timestamp": pa.timestamp("us", tz="UTC"),
    "date": pa.date32(),
    "integer": pa.int64(),
    "decimal": pa.float64(),
    "boolean": pa.bool_(),
}


@dataclass(frozen=True)
class LakeTable:
    """One `raw` table in the lake: a file a business date, or one file where it is not partitioned.

    `occurred_on` of `member` is the day of `occurred_at` in the retailer's time zone.
    """

    folder: Path
    name: str

    @property
    def partitioned(self) -> bool:
        return CONTRACTS[self.name].partitioned

    @property
    def path(self) -> Path:
        """Folder of the table."""
        return self.folder / self.name

    def file(self, business_date: date | None = None) -> Path:
        """The file of one business date, or the only file."""
        if not self.partitioned:
            return self.path / "part.parquet"
        return self.path / f"business_date={business_date}" / "part.parquet"

    def dates(self) -> set[date]:
        """Business dates that have a file."""
        found = self.path.glob("business_date=*/part.parquet")
        return {date.fromisoformat(f.parent.name.partition("=")[2]) for f in found}

    @property
    def schema(self) -> pa.Schema:
        """Columns as a reader sees them; a partition's files leave `business_date` to the folder name."""
        fields = [("source", pa.string()), ("source_row_id", pa.string()), ("batch_id", pa.int64())]
        fields += [(c.stored_as, _ARROW[c.type]) for c in self._columns]
        if self.name == "member":
            fields.append(("occurred_on", pa.date32()))
        return pa.schema([*fields, ("business_date", pa.date32())])

    def select(self, timezone: str) -> str:
        """SELECT list over `raw`; numeric becomes double, which Arrow can read."""
        columns = ["source", "source_row_id", "batch_id"]
        columns += [
            f"{c.stored_as}::double precision as {c.stored_as}" if c.type == "decimal" else c.stored_as
            for c in self._columns
        ]
        if self.name == "member":
            columns.append(f"(occurred_at at time zone '{timezone}')::date as occurred_on")
        return ", ".join([*columns, "business_date"])

    @property
    def _columns(self) -> list[Column]:
        return [c for c in CONTRACTS[self.name].stored if c.stored_as not in _LEFT_OUT]


@dataclass
class Manifest:
    """What the lake holds: for each table the last batch copied, and the rows of each file.

    The file is written last, so that it never promises what is not there.
    """

    path: Path
    last_batch_id: dict[str, int] = field(default_factory=dict)
    rows: dict[str, dict[str, int]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        path = folder / "manifest.json"
        if not path.is_file():
            return cls(path)
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return cls(path, content["last_batch_id"], content["rows"])

    def write(self) -> None:
        content = {"last_batch_id": self.last_batch_id, "rows": self.rows}
        beside = self.path.with_suffix(".writing")
        beside.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
        beside.replace(self.path)
