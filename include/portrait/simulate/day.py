"""One delivery date's files."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from datetime import date
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.simulate import event_delivery, files, joining, receipts
from portrait.simulate.columns import Columns, take
from portrait.simulate.delivery import Arrivals
from portrait.simulate.retailer import Counts, Retailer
from portrait.simulate.streams import Stream, generator
from portrait.simulate.world import World, build_world

DATASETS = ("members", "accounts", "receipts", "receipt_lines", "app_events", "web_events", "consents")


def write_day(retailer: Retailer, out: Path, day: date) -> Counts:
    """Write everything that is delivered on one date, whether it is there already or not.

    A delivery without any row leaves no folder. The record under `truth/dirt` is written last: a day is
    complete once it is there.

    Parameters
    ----------
    out
        The folder of all sources; made if need be.
    day
        Delivery date, from the retailer's start on.

    Returns
    -------
    Counts
        Rows written.
    """
    world, number = build_world(retailer), retailer.day(day)
    record_of(out, day).unlink(missing_ok=True)
    with ExitStack() as folders:
        paths = {
            name: folders.enter_context(files.complete_folder(out / name / files.day_name(day)))
            for name in DATASETS
        }
        counts, dirt = _write(world, number, paths)
    record = {"date": str(day), "rows": counts, "dirt": dict(sorted(dirt.items()))}
    files.write_whole(record_of(out, day), json.dumps(record, indent=1) + "\n")
    return Counts(days=1, **counts)


def record_of(out: Path, day: date) -> Path:
    """The file that counts the rows and the dirt of a complete day."""
    return out / "truth" / "dirt" / f"{files.day_name(day)}.json"


def counts_of(out: Path, day: date) -> Counts | None:
    """The rows of a day that is complete, else None."""
    record = record_of(out, day)
    if not record.exists():
        return None
    return Counts(days=1, **json.loads(record.read_text(encoding="utf-8"))["rows"])


@lru_cache(maxsize=2)
def _arrivals(world: World) -> tuple[Arrivals, Arrivals]:
    return (
        Arrivals(partial(event_delivery.caused_events, world)),
        Arrivals(partial(receipts.caused_receipts, world)),
    )


def _write(world: World, day: int, paths: dict[str, Path]) -> tuple[dict[str, int], Counter[str]]:
    """Write all files of the day into their folders."""
    dirt: Counter[str] = Counter()
    online, stores = _arrivals(world)
    counts = {
        "members": files.write_csv(
            paths["members"] / "members.csv.gz", _counting(joining.members(world, day), "member", dirt)
        ),
        "accounts": files.write_jsonl(
            paths["accounts"] / "accounts.jsonl", _counting(joining.accounts(world, day), "account", dirt)
        ),
        "consents": files.write_jsonl(paths["consents"] / "consents.jsonl", joining.consents(world, day)),
    }
    counts |= _write_receipts(world, day, stores.on(day), paths, dirt)
    counts |= _write_events(world, day, online.on(day)["events"], paths, dirt)
    return counts, dirt


def _counting(
    tables: Iterator[tuple[pa.Table, dict[str, int]]], what: str, dirt: Counter[str]
) -> Iterable[pa.Table]:
    for table, found in tables:
        dirt.update({f"{what}_{name}": number for name, number in found.items()})
        yield table


def _write_receipts(
    world: World, day: int, arrived: dict[str, Columns], paths: dict[str, Path], dirt: Counter[str]
) -> dict[str, int]:
    slips, lines = arrived["receipts"], arrived["lines"]
    good = slips["bad"] == receipts.GOOD
    till = (slips["phone"] == world.stores.phone[slips["store"]]) & good
    dirt["late_receipts"] = int((slips["arrival"] > slips["day"]).sum())
    dirt["returns"] = int(((slips["total"] < 0) & good).sum())
    dirt["anonymous_receipts"] = int(((slips["card"] == 0) & good).sum())
    dirt["till_phone_receipts"] = int(till.sum())
    for name, table in (("receipt", slips), ("line", lines)):
        for way, number in enumerate(np.bincount(table["bad"], minlength=len(receipts.BAD_RECEIPTS))[1:], 1):
            dirt[f"bad_{name}_{receipts.BAD_RECEIPTS[way]}"] = int(number)
    rng = generator(world.retailer, Stream.TYPING, day)
    table, odd = receipts.receipts_table(world, slips, rng)
    dirt["receipt_odd_phones"] = odd
    return {
        "receipts": files.write_csv(paths["receipts"] / "receipts.csv.gz", [table]),
        "receipt_lines": files.write_csv(
            paths["receipt_lines"] / "receipt_lines.csv.gz", [receipts.lines_table(world, lines)]
        ),
    }


def _write_events(
    world: World, day: int, events: Columns, paths: dict[str, Path], dirt: Counter[str]
) -> dict[str, int]:
    events = event_delivery.in_file_order(events)
    once = events["copy"] == 0
    dirt["duplicate_events"] = int((~once).sum())
    dirt["late_events"] = int((once & (events["arrival"] > events["day"])).sum())
    counts = {}
    for name, table in (("app", take(events, ~events["web"])), ("web", take(events, events["web"]))):
        ways = np.bincount(table["bad"], minlength=len(event_delivery.BAD_EVENTS))
        for way, number in enumerate(ways[1:], 1):
            dirt[f"bad_{name}_event_{event_delivery.BAD_EVENTS[way]}"] = int(number)
        folder, rows = paths[f"{name}_events"], event_delivery.events_table(world, table)
        if name == "web" or world.retailer.app_format == "parquet":
            counts[f"{name}_events"] = files.write_parquet(folder / "events.parquet", _with_floats(rows))
        else:
            text = _with_text_time(rows, table)
            counts[f"{name}_events"] = files.write_jsonl(folder / "events.jsonl", [text])
    return counts


def _with_floats(events: pa.Table) -> pa.Table:
    """Prices as doubles, as most producers of Parquet write them."""
    return _replaced(events, ("unit_price", "amount"), lambda column: column.cast(pa.float64()))


def _with_text_time(events: pa.Table, numbers: Columns) -> pa.Table:
    """Times as ISO 8601 text with Z; where a bad row wants it, as nonsense."""
    spoilt = pa.array(numbers["bad"] == event_delivery.BAD_TIME)

    def text(column: pa.ChunkedArray) -> pa.Array:
        plain = column.combine_chunks().cast(pa.timestamp("ms")).cast(pa.string())
        iso = pc.binary_join_element_wise(pc.replace_substring(plain, " ", "T"), "Z", "")
        return pc.if_else(spoilt, "yesterday, around noon", iso)

    return _replaced(events, ("occurred_at",), text)


def _replaced(
    table: pa.Table, names: tuple[str, ...], change: Callable[[pa.ChunkedArray], pa.Array | pa.ChunkedArray]
) -> pa.Table:
    for name in names:
        table = table.set_column(table.column_names.index(name), name, change(table[name]))
    return table
