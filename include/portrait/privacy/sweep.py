"""Files that a night wrote after an erasure that came while it was at work.

The night read the customer before, and nobody holds their identifiers any more to look for: the suppression list tells
which of the ids, numbers and rows in the files are erased ones.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.config import Settings
from portrait.features.positions import customer_index
from portrait.ingest.suppression import CODE, CUSTOMER, MEMBER, PRIORITY, Suppression, read_suppression
from portrait.privacy.files import FileEraser
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.grants import PRIVACY

log = logging.getLogger(__name__)

_ENDED = """
select run_id from ops.run as run
where status <> 'running' and not exists (select from privacy.file_sweep as swept where swept.run_id = run.run_id)
    and exists (select from privacy.erasure_receipt as r where r.customers > r.already_erased
        and r.erased_at between run.started_at and coalesce(run.finished_at, now()))
order by run_id
"""


@dataclass
class _Found:
    """What of erased customers is in the files."""

    ids: set[str] = field(default_factory=set)
    codes: dict[str, set[int]] = field(default_factory=dict)
    members: set[tuple[str, str]] = field(default_factory=set)


def sweep_ended_nights(settings: Settings) -> dict[str, dict[str, int]]:
    """Go through the files once more for each night that has ended and during which somebody was erased; run -> what went."""
    settings = settings.acting_as(PRIVACY)
    warehouse = open_warehouse(settings)
    runs = [row["run_id"] for row in warehouse.rows(_ENDED)]
    if not runs:
        return {}
    counts = sweep_files(settings, warehouse)
    for run_id in runs:
        warehouse.execute(
            "insert into privacy.file_sweep (run_id, files) values (:r, :f) on conflict (run_id) do nothing",
            r=run_id,
            f=sum(counts.values()),
        )
        log.info("files after the night %s: %s", run_id, counts or "nothing of erased customers")
    return dict.fromkeys(runs, counts)


def sweep_files(settings: Settings, warehouse: Warehouse) -> dict[str, int]:
    """Erase from the workspace's files whoever is on the suppression list; gives the files changed, by place."""
    suppression = read_suppression(settings, warehouse)
    if not suppression:
        return {}
    found = _Found()
    for path in _files(settings):
        _look(path, suppression, found)
    eraser = FileEraser(settings, warehouse, sorted(found.ids), [], sorted(found.members))
    eraser.codes = {k: pa.array(sorted(v), pa.int64()) for k, v in found.codes.items()}
    eraser.erase()
    return dict(sorted(eraser.counts.items()))


def _files(settings: Settings) -> Iterator[Path]:
    yield from sorted(settings.lake_dir.rglob("*.parquet"))
    yield from sorted((settings.workspace_dir / "runs").rglob("*.parquet"))
    yield from sorted((settings.workspace_dir / "exports").rglob("*.parquet"))
    if customer_index(settings).is_file():
        yield customer_index(settings)


def _look(path: Path, suppression: Suppression, found: _Found) -> None:
    names = pq.read_schema(path).names
    telling = ["customer_id"] if "customer_id" in names else []
    coded = [f"{kind}_code" for kind in PRIORITY if f"{kind}_code" in names]
    rows = ["source", "source_row_id"] if {"member_id", "source", "source_row_id"} <= set(names) else []
    if not (telling or coded or rows):
        return
    table = pq.ParquetFile(path).read(columns=[*telling, *coded, *rows])
    for name in telling:
        found.ids |= suppression.among(CUSTOMER, _distinct(table[name]))
    for name in coded:
        listed = suppression.among(CODE, (str(c) for c in _distinct(table[name])))
        found.codes.setdefault(name.removesuffix("_code"), set()).update(map(int, listed))
    if rows:
        known = suppression.among(MEMBER, _distinct(table["source_row_id"]))
        pairs = zip(table["source"].to_pylist(), table["source_row_id"].to_pylist(), strict=True)
        found.members |= {pair for pair in pairs if pair[1] in known}


def _distinct(values: pa.ChunkedArray) -> list[Any]:
    found: list[Any] = pc.unique(values).drop_null().to_pylist()
    return found
