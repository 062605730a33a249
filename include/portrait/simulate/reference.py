"""What does not change from day to day: stores, products and the truth about the customers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from portrait.errors import PortraitError
from portrait.simulate import files, identifiers
from portrait.simulate.assortment import SHELF_NAMES, TIER_NAMES
from portrait.simulate.choice import TASTE_SHARE
from portrait.simulate.columns import Array
from portrait.simulate.joining import CHUNK, REGIONS
from portrait.simulate.people import LIFECYCLES, NEVER
from portrait.simulate.places import store_id
from portrait.simulate.receipts import world_store_ids
from portrait.simulate.retailer import Retailer
from portrait.simulate.world import World, build_world


def write_reference(retailer: Retailer, out: Path) -> None:
    """Write `stores.csv`, `products.csv` and `truth/`; nothing when they are there already.

    Truth: `customers.parquet` (one row a person), `identifiers.parquet` (every identifier of every person),
    `shared.parquet` (till phones of stores, devices of two people) and `retailer.json`.

    Raises
    ------
    PortraitError
        When the folder holds another retailer.
    """
    marker, text = out / "truth" / "retailer.json", retailer.to_json()
    if marker.exists():
        if marker.read_text(encoding="utf-8") != text:
            raise PortraitError(
                f"{marker}: the folder holds a retailer of other size, seed or dirt; "
                "give an empty folder or the same settings."
            )
        return
    world = build_world(retailer)
    marker.parent.mkdir(parents=True, exist_ok=True)
    files.write_csv(out / "stores.csv", [world.stores.table])
    files.write_csv(out / "products.csv", [world.assortment.table])
    for name, part in (("customers", _customers), ("identifiers", _identifiers)):
        path = out / "truth" / f"{name}.parquet"
        writer: pq.ParquetWriter | None = None
        for start in range(0, retailer.customers, CHUNK):
            table = part(world, np.arange(start, min(start + CHUNK, retailer.customers)))
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
        if writer:
            writer.close()
    pq.write_table(_shared(world), out / "truth" / "shared.parquet", compression="zstd")
    files.write_whole(marker, text)


def person_id(person: Array) -> pa.Array:
    """p000000001, ... of person numbers; known to the truth alone."""
    return pc.binary_join_element_wise("p", pc.utf8_lpad(pa.array(person + 1).cast(pa.string()), 9, "0"), "")


def _customers(world: World, person: Array) -> pa.Table:
    people = world.people
    ids = people.identifiers
    start = np.datetime64(world.retailer.start)
    joined = start + people.joined[person].astype("timedelta64[D]")
    left = people.active_to[person]
    churned = start + np.minimum(left, 100_000).astype("timedelta64[D]")
    has_card, has_account = people.has_card[person], people.has_account[person]
    channels = pa.array(["store", "online", "both"]).take(pa.array(np.where(has_card, has_account * 2, 1)))
    home = people.home_store[person].astype(np.int64)
    weight = people.tastes.weight[person]
    return pa.table(
        {
            "person_id": person_id(person),
            "card_no": identifiers.digits(ids.card[person]),
            "account_id": identifiers.account_id(ids.account[person]),
            "phone": identifiers.digits(ids.phone[person]),
            "email": identifiers.email(person),
            "device_ids": _lists(identifiers.device_id, ids.device[person], ids.device[person] > 0),
            "channels": channels,
            "gender": pa.array(["f", "m"]).take(pa.array(people.gender[person].astype(np.int64))),
            "birth_date": pa.array(people.birth_day[person].astype("datetime64[D]"), pa.date32()),
            "region": REGIONS.take(pa.array(people.city[person].astype(np.int64))),
            "archetype": pa.array(people.tastes.archetype[person].astype(np.int32)),
            "taste_categories": _lists(
                lambda shelf: pa.array(SHELF_NAMES).take(pa.array(shelf.astype(np.int64))),
                people.tastes.shelf[person],
                weight > 0,
            ),
            "taste_weights": _lists(lambda w: pa.array(w * np.float32(TASTE_SHARE)), weight, weight > 0),
            "staple_skus": _lists(
                lambda item: world.assortment.table["sku"].combine_chunks().take(pa.array(item)),
                people.tastes.staples[person],
                np.ones_like(people.tastes.staples[person], bool),
            ),
            "spending_tier": pa.array(TIER_NAMES).take(pa.array(people.tier[person].astype(np.int64))),
            "lifecycle": pa.array(LIFECYCLES).take(pa.array(people.lifecycle[person].astype(np.int64))),
            "joined_on": pa.array(joined, pa.date32()),
            "churned_on": pa.array(churned, pa.date32(), mask=left == NEVER),
            "home_store": pc.if_else(
                pa.array(home >= 0), world_store_ids(home), pa.scalar(None, pa.string())
            ),
        }
    )


def _identifiers(world: World, person: Array) -> pa.Table:
    ids = world.people.identifiers
    other = np.where(ids.account_phone != ids.phone, ids.account_phone, 0)[person]
    parts = [
        ("card_no", identifiers.digits(ids.card[person]), person),
        ("account_id", identifiers.account_id(ids.account[person]), person),
        ("phone", identifiers.digits(ids.phone[person]), person),
        ("phone", identifiers.digits(other), person),
        ("email", identifiers.email(person), person),
        *(("device_id", identifiers.device_id(ids.device[person, k]), person) for k in range(3)),
    ]
    tables = [
        pa.table({"person_id": person_id(who), "kind": pa.array([kind] * len(who)), "value": value})
        for kind, value, who in parts
    ]
    table = pa.concat_tables(tables)
    return table.filter(table["value"].is_valid()).combine_chunks()


def _shared(world: World) -> pa.Table:
    """Identifiers that say nothing about who somebody is, and why."""
    phones = identifiers.digits(world.stores.phone)
    devices = identifiers.device_id(world.people.identifiers.shared)
    count, more = len(phones), len(devices)
    return pa.table(
        {
            "kind": ["phone"] * count + ["device_id"] * more,
            "value": pa.concat_arrays([phones, devices]),
            "reason": ["till phone"] * count + ["household"] * more,
            "store_id": [store_id(n) for n in range(count)] + [None] * more,
        }
    )


def _lists(text: Callable[[Array], pa.Array], values: Array, used: Array) -> pa.Array:
    """Row by row a list of the used values."""
    offsets = np.concatenate([[0], np.cumsum(used.sum(axis=1))]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), text(values[used]))
