"""Whose each interaction is."""

from pathlib import Path

import duckdb
import ibis
import pyarrow as pa
from ibis.expr import types as ir

from portrait.errors import PortraitError
from portrait.features.codes import code_of
from portrait.features.positions import extend_index


def write_owners(identity_map: Path, index: Path, target: Path) -> pa.Table:
    """The run's identity map in integers: kind, code, customer (position), valid_from, valid_to (never null).

    Customers without a position get one in `index`.

    Returns
    -------
    The index: row, customer_id.

    Raises
    ------
    PortraitError : when the run has no identity map, or two identifiers have one code.
    """
    if not identity_map.is_file():
        raise PortraitError(f"{identity_map}: no such file; run `portrait resolve` first")
    with duckdb.connect() as connection:
        connection.execute("set threads = 2")
        ids = connection.sql(f"select distinct customer_id from read_parquet('{identity_map}')")
        customers = extend_index(
            index, ids.to_arrow_table()["customer_id"].combine_chunks(), ("row", "customer_id")
        )
        connection.register("customers", customers)
        connection.execute(
            f"""
            create table owners as
            select kind, {code_of("value")} as code, "row" as customer,
                   coalesce(valid_from, date '0001-01-01') as valid_from,
                   coalesce(valid_to, date '9999-12-31') as valid_to, value
            from read_parquet('{identity_map}') join customers using (customer_id)
            """
        )
        shared = connection.execute(
            "select kind, min(value), max(value) from owners group by kind, code having min(value) <> max(value)"
        ).fetchone()
        if shared is not None:
            raise PortraitError(
                f"{identity_map}: two values of kind {shared[0]} have one code ({shared[1]}, {shared[2]}); "
                "this needs another hash in features/codes.py"
            )
        connection.execute(
            f"copy (select * exclude (value) from owners) to '{target}' (format parquet, compression zstd)"
        )
    return customers


def attribute(rows: ir.Table, owners: ir.Table, priority: tuple[str, ...]) -> ir.Table:
    """Add `customer`: the owner of the first kind in `priority` that has one on the row's business date."""
    found = []
    for kind in (k for k in priority if f"{k}_code" in rows.columns):
        owner = owners.filter(owners.kind == kind).select(
            **{f"{kind}_owned": owners.code, f"{kind}_customer": owners.customer},
            valid_from=owners.valid_from,
            valid_to=owners.valid_to,
        )
        its = [
            rows[f"{kind}_code"] == owner[f"{kind}_owned"],
            rows.business_date >= owner.valid_from,
            rows.business_date < owner.valid_to,
        ]
        rows = rows.left_join(owner, its).drop(f"{kind}_owned", "valid_from", "valid_to")
        found.append(f"{kind}_customer")
    if not found:
        return rows.mutate(customer=ibis.null("int32"))
    return rows.mutate(customer=ibis.coalesce(*(rows[c] for c in found)).cast("int32")).drop(*found)


def touching(rows: ir.Table, owners: ir.Table) -> ir.Table:
    """The rows with an identifier of these owners, whoever they are credited to."""
    kinds = [c.removesuffix("_code") for c in rows.columns if c.endswith("_code")]
    theirs = [rows[f"{k}_code"].isin(owners.filter(owners.kind == k).code) for k in kinds]
    if not theirs:
        return rows.limit(0)
    wanted = theirs[0]
    for other in theirs[1:]:
        wanted = wanted | other
    return rows.filter(wanted)


def without_codes(rows: ir.Table) -> ir.Table:
    return rows.drop(*(c for c in rows.columns if c.endswith("_code")))
