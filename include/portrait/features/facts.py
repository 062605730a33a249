"""The facts: events and receipt lines as features need them, cleaned and in integers, one file a month.

They do not know whose they are: an identity that changes tonight changes no file. A month is written anew when one
of its business dates in the lake changed. A file's name says what it was made from, so that the facts that an
earlier run used can be compared with tonight's as long as they are there.
"""

import json
import logging
import time
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path
from typing import Any

import ibis
import pyarrow as pa
from ibis.expr import types as ir

from portrait.config import FeatureConfig, Settings
from portrait.drafts import draft_of
from portrait.features.clean import clean_events
from portrait.features.engine import Engine
from portrait.features.interactions import FACT, in_store, online
from portrait.features.lake import LakeTable, Manifest
from portrait.features.positions import extend_index, item_index
from portrait.features.tables import lake_days, visible

log = logging.getLogger(__name__)

FORMAT = 1
PARTS = {"online": ("online_event",), "store": ("pos_receipt", "pos_receipt_line")}
"""Part -> the lake's tables it is made of."""

Days = dict[str, dict[str, str]]
"""Table -> business date -> digest of the lake's file."""


@dataclass(frozen=True)
class Facts:
    """What the facts are made from.

    Attributes
    ----------
    folder : of the files.
    days : digests of the lake's files.
    files : part -> month (``2026-03``) -> file name.
    """

    folder: Path
    days: Days
    files: dict[str, dict[str, str]]

    def paths(self, part: str, months: set[str] | None = None) -> list[Path]:
        """Files of a part, of all months or of some."""
        wanted = sorted(self.files.get(part, {}).items())
        return [self.folder / name for month, name in wanted if months is None or month in months]

    @property
    def is_there(self) -> bool:
        """Whether every file still is."""
        return all(path.is_file() for part in PARTS for path in self.paths(part))

    def until(self, as_of: date) -> Days:
        """Digests of the dates that a run for `as_of` may see."""
        return {t: {d: x for d, x in days.items() if d <= str(as_of)} for t, days in self.days.items()}

    def remove_others(self) -> None:
        """Delete files that earlier facts were made of."""
        named = {name for months in self.files.values() for name in months.values()}
        for path in self.folder.glob("*.parquet"):
            if path.name.removesuffix(".cleaned.parquet").removesuffix(".parquet") + ".parquet" not in named:
                path.unlink()


def facts_dir(settings: Settings) -> Path:
    return settings.lake_dir / "facts"


def update_facts(engine: Engine, settings: Settings, rebuild: bool = False) -> Facts:
    """Bring the facts up to date with the lake."""
    started = time.monotonic()
    folder = facts_dir(settings)
    folder.mkdir(parents=True, exist_ok=True)
    manifest = Manifest.read(settings.lake_dir)
    made_with = _made_with(engine, settings.features, manifest)
    days = {
        t: {d: f.digest for d, f in manifest.files.get(t, {}).items()} for of in PARTS.values() for t in of
    }
    files: dict[str, dict[str, str]] = {}
    written = 0
    for part, tables in PARTS.items():
        files[part] = {}
        months = sorted({d[:7] for t in tables for d in days[t]})
        for month in months:
            of_month = {t: {d: x for d, x in days[t].items() if d[:7] == month} for t in tables}
            name = f"{part}-{month}-{digest([made_with, of_month], octets=8)}.parquet"
            files[part][month] = name
            if rebuild or not (folder / name).is_file():
                _write_month(
                    engine, settings, part, {t: sorted(d) for t, d in of_month.items()}, folder / name
                )
                written += 1
    facts = Facts(folder, days, files)
    log.info(
        "facts: %d of %d files written in %.1f s",
        written,
        sum(map(len, files.values())),
        time.monotonic() - started,
    )
    return facts


def _made_with(engine: Engine, config: FeatureConfig, manifest: Manifest) -> list[Any]:
    rules = config.model_dump(include={"purchases", "refunds", "bot_events_per_day", "quantity_cap"})
    return [FORMAT, engine.name, manifest.made_with, rules]


def _write_month(
    engine: Engine, settings: Settings, part: str, dates: dict[str, list[str]], target: Path
) -> None:
    tables = {t: lake_days(engine, settings, t, days) for t, days in dates.items()}
    if part == "online":
        cleaned = clean_events(tables["online_event"], settings.features)
        record = cleaned.record
        items = _items(engine, settings, tables["online_event"])
        rows = online(cleaned.rows, items, settings.features)
    else:
        items = _items(engine, settings, tables["pos_receipt_line"])
        rows = in_store(tables["pos_receipt_line"], tables["pos_receipt"], items)
        record = None
    if record is not None:
        engine.write(record, cleaned_file(target))
    with draft_of(target) as draft:
        engine.write(rows, draft)


def cleaned_file(target: Path) -> Path:
    """The record of what was taken out of a file of facts."""
    return target.with_name(target.name.removesuffix(".parquet") + ".cleaned.parquet")


def _items(engine: Engine, settings: Settings, rows: ir.Table) -> ir.Table:
    """Positions of all items, those of these rows included."""
    skus = engine.arrow(rows.select("sku").distinct())["sku"].combine_chunks()
    return ibis.memtable(extend_index(item_index(settings), skus))


def fact_rows(
    engine: Engine, facts: Facts, part: str, as_of: date, months: set[str] | None = None
) -> ir.Table:
    """What may be seen at `as_of` of a part."""
    paths = facts.paths(part, months)
    if not paths:
        return ibis.memtable(_empty(part))
    return visible(engine.read(*paths), as_of)


def cleaned(engine: Engine, facts: Facts, as_of: date) -> ir.Table:
    """What cleaning took out up to `as_of`: rule, business_date, rows."""
    found = [cleaned_file(p) for p in facts.paths("online")]
    if not found:
        schema = {"business_date": pa.date32(), "rows": pa.int64(), "rule": pa.string()}
        return ibis.memtable(pa.schema(schema).empty_table())
    table = visible(engine.read(*found), as_of)
    return table.select("rule", "business_date", "rows").order_by("business_date", "rule")


def _empty(part: str) -> pa.Table:
    types = {
        "item": pa.int32(),
        "basket": pa.int64(),
        "quantity": pa.float64(),
        "amount": pa.decimal128(18, 4),
        "discount": pa.decimal128(18, 4),
        "rating": pa.float64(),
        "occurred_at": pa.timestamp("us", tz="UTC"),
        "local_hour": pa.int8(),
        "business_date": pa.date32(),
    }
    entity = {"online": "online_event", "store": "pos_receipt"}[part]
    codes = {f"{k}_code": pa.int64() for k in LakeTable(Path(), entity).kinds}
    return pa.schema({**{c: types.get(c, pa.string()) for c in FACT}, **codes}).empty_table()


def digest(content: Any, octets: int) -> str:
    """BLAKE2 digest of what JSON can hold, in so many octets."""
    return blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=octets).hexdigest()
