"""Which simulated person each customer is."""

from pathlib import Path
from typing import Literal

import pandas as pd
import pyarrow as pa

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity import map_path
from portrait.ingest.hashing import hashing
from portrait.ingest.pii import hash_column
from portrait.run import Run
from portrait.warehouse import open_warehouse

KINDS = {
    "card_no": "card",
    "account_id": "account",
    "phone": "phone",
    "email": "email",
    "device_id": "device",
}
"""Kind in the truth -> kind of identifier."""

HASHED: tuple[Literal["card", "phone", "email"], ...] = ("card", "phone", "email")


def read_truth(truth: Path, name: str) -> pd.DataFrame:
    """A table of the simulator's truth.

    Raises
    ------
    PortraitError : when the folder holds none.
    """
    path = truth / f"{name}.parquet"
    if not path.is_file():
        raise PortraitError(
            f"{path}: no such file; the truth is written by `portrait simulate`, name its folder"
        )
    return pd.read_parquet(path)


def person_of_customer(settings: Settings, run: Run, truth: Path) -> pd.Series:
    """person_id by customer_id: the person who owns most of the customer's identifiers.

    Identifiers of several people (till phones, household devices) say nothing. A customer glued together from two
    people is counted as one of them: what identity gets wrong counts against the profile.
    """
    held = pd.read_parquet(map_path(settings, run), columns=["kind", "value", "customer_id"])
    owned = held.merge(_identifiers(settings, truth), on=["kind", "value"])
    counted = owned.groupby(["customer_id", "person_id"]).size().reset_index(name="number")
    order = counted.sort_values(["number", "person_id"], ascending=[False, True])
    return order.drop_duplicates("customer_id").set_index("customer_id")["person_id"].sort_index()


def _identifiers(settings: Settings, truth: Path) -> pd.DataFrame:
    """person_id, kind, value as stored."""
    table, shared = read_truth(truth, "identifiers"), read_truth(truth, "shared")
    table = table[~table["value"].isin(shared["value"])]
    parts, hasher = [], hashing(settings, open_warehouse(settings))
    for written, kind in KINDS.items():
        part = table[table["kind"] == written].assign(kind=kind)
        for hashed in HASHED:
            if kind == hashed:
                values = pa.array(part["value"], pa.string())
                region = settings.sources.phone_region
                part["value"] = hash_column(values, hashed, hasher, region).to_pylist()
        parts.append(part)
    return pd.concat(parts, ignore_index=True)
