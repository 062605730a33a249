"""Sources on real files, read through the contract alone or pulled into a real warehouse."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from portrait.config import Settings, load_settings
from portrait.contracts import CONTRACTS
from portrait.ingest.validate import Validator
from portrait.sources.files import pending_files

AS_OF = date(2025, 3, 10)

GOOD: dict[str, dict[str, str]] = {
    "online_event": {
        "event_id": "e1", "event_name": "order_completed", "occurred_at": "2025-03-01 10:00:00", "account_id": "a1",
        "device_id": "d1", "session_id": "s1", "sku": "p1", "quantity": "2", "unit_price": "4.5", "amount": "9",
        "currency": "CNY", "order_id": "o1", "rating": "5", "channel": "web",
    },
    "pos_receipt": {
        "store_id": "S1", "workstation_id": "1", "sequence_number": "7", "business_date": "2025-03-01",
        "occurred_at": "2025-03-01 10:00", "kind": "sale", "total_amount": "10",
    },
    "pos_receipt_line": {
        "store_id": "S1", "workstation_id": "1", "sequence_number": "7", "business_date": "2025-03-01",
        "line_number": "1", "sku": "p1", "quantity": "3", "unit_price": "4", "discount_amount": "2",
        "line_amount": "10",
    },
    "member": {"member_id": "m1", "card": "C1", "phone": "", "email": "", "birth_date": "1990-02-28"},
    "product": {"sku": "p1", "list_price": "4.5", "launched_on": "2020-01-01"},
    "store": {"store_id": "S1", "city_tier": "1"},
    "consent_event": {
        "consent_id": "c1", "account_id": "a1", "purpose": "marketing_email", "granted": "true",
        "occurred_at": "2025-03-01 10:00",
    },
}  # fmt: skip


def sources_yaml(*sources: dict[str, Any], **top: Any) -> str:
    given = {
        "workspace": "test", "timezone": "Asia/Shanghai", "phone_region": "CN", "currency": "CNY", **top,
    }  # fmt: skip
    return yaml.safe_dump({**given, "sources": list(sources)}, allow_unicode=True, sort_keys=False)


def source(entity: str, name: str = "things", **keys: Any) -> dict[str, Any]:
    """A source of an entity whose columns have the contract's own names; any number of bad rows is allowed."""
    return {
        "name": name,
        "entity": entity,
        "path": f"{name}*.csv",
        "format": "csv",
        "columns": {c: c for c in GOOD[entity]},
        "max_rejected_share": 1,
        **keys,
    }


def write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


@dataclass
class Validated:
    """What became of the rows of a source's files."""

    rows: list[dict[str, Any]]
    rejected: list[dict[str, Any]]
    tally: Any
    codes: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.codes = [r["reason_code"] for r in self.rejected]


@pytest.fixture
def validate(tmp_path: Path) -> Callable[..., Validated]:
    """Read the files of the one source of a `sources.yaml` through its contract."""

    def run(text: str, as_of: date = AS_OF) -> Validated:
        settings = read_settings(tmp_path, text)
        spec = settings.sources.sources[0]
        validator = Validator(settings, spec, pending_files(settings, spec, as_of), as_of)
        rows = [row for batch in validator.accepted() for row in batch.to_pylist()]
        rejected = validator.rejected.reader().read_all().to_pylist()
        assert validator.tally.read == (
            len(rows) + len(rejected) + validator.tally.not_due.total() + validator.tally.skipped
        )
        for row in rejected:
            json.loads(row["payload"])
        return Validated(rows, rejected, validator.tally)

    return run


def read_settings(folder: Path, text: str) -> Settings:
    path = folder / "sources.yaml"
    path.write_text(text, encoding="utf-8")
    return load_settings({"PORTRAIT_HOME": str(folder / "home"), "PORTRAIT_PII_KEY": "test-key"}, path)


@pytest.fixture
def one_row(validate: Callable[..., Validated], tmp_path: Path) -> Callable[..., Validated]:
    """Read one row of an entity, good but for the cells given."""

    def run(entity: str, changes: dict[str, str] | None = None, **keys: Any) -> Validated:
        spec = source(entity, **keys)
        row = {**GOOD[entity], **(changes or {})}
        path = spec["path"].replace("{business_date}", "2025-03-01").replace("*", "")
        write_csv(tmp_path / path, [row])
        return validate(sources_yaml(spec))

    return run


def contract_columns(entity: str) -> list[str]:
    return [c.stored_as for c in CONTRACTS[entity].stored]
