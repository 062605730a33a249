"""What the Parquet lake holds and where: the one place that knows its layout."""

import json
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa

from portrait.contracts import CONTRACTS, Column
from portrait.drafts import draft_of
from portrait.identity.kinds import KIND_COLUMNS, kinds_of

LAKE_TABLES = ("online_event", "pos_receipt", "pos_receipt_line", "member", "product", "store")

_LEFT_OUT = ("business_date", "updated_at")
_KINDS = {column: kind for kind, column in KIND_COLUMNS.items()}
_HOUR = {"local_hour": (pa.int8(), "extract(hour from {local})::smallint")}
_LOCAL: dict[str, dict[str, tuple[pa.DataType, str]]] = {
    "online_event": _HOUR,
    "pos_receipt": _HOUR,
    "member": {"occurred_on": (pa.date32(), "{local}::date")},
}
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

    An identifier is kept as a 63-bit code, `<kind>_code`, which joins faster than a keyed hash and says nothing by
    itself. `local_hour` (events, receipts) and `occurred_on` (members) are the hour and the day of `occurred_at`
    in the retailer's time zone.
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
    def kinds(self) -> dict[str, str]:
        """Kind of identifier -> column of `raw` that the lake holds as a code."""
        return kinds_of(self.name)

    @property
    def schema(self) -> pa.Schema:
        """Columns as a reader sees them; a partition's files leave `business_date` to the folder name."""
        fields = [("source", pa.string()), ("source_row_id", pa.string()), ("batch_id", pa.int64())]
        for column in self._columns:
            kind = _KINDS.get(column.stored_as)
            fields.append((f"{kind}_code", pa.int64()) if kind else (column.stored_as, _ARROW[column.type]))
        fields += [(name, kind) for name, (kind, _) in _LOCAL.get(self.name, {}).items()]
        return pa.schema([*fields, ("business_date", pa.date32())])

    def select(self, timezone: str) -> str:
        """SELECT list over `raw`; numeric becomes double, which Arrow can read. Identifiers are still text."""
        columns = ["source", "source_row_id", "batch_id"]
        columns += [
            f"{c.stored_as}::double precision as {c.stored_as}" if c.type == "decimal" else c.stored_as
            for c in self._columns
        ]
        columns += [
            sql.format(local=f"(occurred_at at time zone '{timezone}')") + f" as {name}"
            for name, (_, sql) in _LOCAL.get(self.name, {}).items()
        ]
        return ", ".join([*columns, "business_date"])

    @property
    def totals(self) -> str:
        """Control totals over `raw`, as `Totals` has them."""
        texts = ("source_row_id", *(c.stored_as for c in self._columns if c.type == "text"))
        octets = " + ".join(f"coalesce(octet_length({c}), 0)" for c in texts)
        return f"count(*) as rows, sum(batch_id)::bigint as batches, sum({octets})::bigint as octets"

    @property
    def _columns(self) -> list[Column]:
        return [c for c in CONTRACTS[self.name].stored if c.stored_as not in _LEFT_OUT]


@dataclass(frozen=True)
class Totals:
    """What is compared between a file and Postgres: rows, sum of batch ids, octets of all texts."""

    rows: int = 0
    batches: int = 0
    octets: int = 0

    def __add__(self, other: "Totals") -> "Totals":
        return Totals(self.rows + other.rows, self.batches + other.batches, self.octets + other.octets)


@dataclass(frozen=True)
class LakeFile:
    """One file: its rows, and the BLAKE2 digest of its bytes, by which others see that it changed."""

    rows: int
    digest: str


@dataclass
class Manifest:
    """What the lake holds: how it was made, for each table the last batch copied, and its files.

    The file is written last, so that it never promises what is not there.
    """

    path: Path
    made_with: str = ""
    last_batch_id: dict[str, int] = field(default_factory=dict)
    files: dict[str, dict[str, LakeFile]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Manifest":
        """The lake's manifest; an empty one where there is none."""
        path = folder / "manifest.json"
        if not path.is_file():
            return cls(path)
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        files = {t: {k: LakeFile(**f) for k, f in of.items()} for t, of in content["files"].items()}
        return cls(path, content["made_with"], content["last_batch_id"], files)

    def write(self) -> None:
        content = {
            "made_with": self.made_with,
            "last_batch_id": self.last_batch_id,
            "files": {t: {k: asdict(f) for k, f in of.items()} for t, of in self.files.items()},
        }
        with draft_of(self.path) as draft:
            draft.write_text(json.dumps(content, indent=1, sort_keys=True), encoding="utf-8")
