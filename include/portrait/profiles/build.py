"""Computing the profile tables of one run: features and model outputs in, one Parquet file a table out."""

import json
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import ibis
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config import Settings
from portrait.profiles.customer_profile import city_tiers, customer_profile
from portrait.profiles.history import last_night
from portrait.profiles.inferred import inferred
from portrait.profiles.inputs import Embeddings, Inputs, read_embeddings, read_inputs
from portrait.profiles.partitions import partition
from portrait.profiles.permission import permissions, take_over_purposes
from portrait.profiles.repurchase import repurchase
from portrait.profiles.search_interest import search_interest
from portrait.profiles.segments import segment_tables
from portrait.profiles.spending_power import spending_power
from portrait.profiles.tables import (
    AFFINITY,
    CUSTOMER_PROFILE,
    CUSTOMER_TAG,
    CUSTOMER_VALUE,
    EMBEDDING,
    POPULAR,
    RECOMMENDATION,
    REPURCHASE,
    RFM,
    SEARCH_INTEREST,
    SEGMENT,
    TABLES,
    TAG_DEFINITION,
    ProfileTable,
    profiles_dir,
    value_model_file,
)
from portrait.profiles.tags.compute import customer_tags, tag_definitions
from portrait.profiles.unpersonal import popular_items, without_personal
from portrait.profiles.value.customer_value import customer_value
from portrait.run import Run
from portrait.warehouse import Warehouse, open_warehouse

log = logging.getLogger(__name__)

SEGMENT_CENTRES = "segment_centres.parquet"
"""Beside the tables: each segment's number, name, customers and centre."""

VALUE_INPUTS = (
    "customer_id",
    "first_purchase_on",
    "last_purchase_on",
    "interpurchase_days",
    "frequency",
    "monetary",
    "refunded",
    "frequency_90d",
    "monetary_90d",
)
"""Columns of features/rfm that the value models read."""


@dataclass(frozen=True)
class ProfileResult:
    """Rows of each profile table, and the names of the segments by number."""

    run_id: str
    rows: dict[str, int]
    segments: dict[int, str]


def build(settings: Settings, run: Run) -> ProfileResult:
    """Compute the profile tables and write them below the run's `profiles/` folder.

    The folder appears whole or not at all; building again replaces it. The same inputs give the same tables:
    only the numbers of the segments depend on an earlier run, the one that is published.

    Raises
    ------
    PortraitError : when a file of the features stage is missing or embeddings are unusable.
    """
    finished = profiles_dir(settings, run)
    folder = finished.with_name("profiles.tmp")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    connection = ibis.duckdb.connect(
        memory_limit=settings.features.memory_limit, temp_directory=str(folder / "spill")
    )
    try:
        inputs = read_inputs(connection, settings, run)
        embeddings = read_embeddings(settings, run)
        may = permissions(connection, _purposes(settings), inputs.customer)
        popular = _named(inputs, popular_items(settings, run))
        values, fitted = customer_value(inputs.rfm.select(*VALUE_INPUTS).to_pyarrow(), run.as_of, run.seed)
        value = ibis.memtable(values)
        profile = connection.create_table("profile", _profile(settings, run, inputs, value, may), temp=True)
        segment, centres = _segments(settings, run, embeddings, profile)
        segments = ibis.memtable(segment)
        wide = connection.create_table("wide", _with_segments(profile, segments), temp=True)
        tables = {
            CUSTOMER_PROFILE.name: wide,
            RFM.name: inputs.rfm,
            AFFINITY.name: inputs.affinity,
            SEGMENT.name: segments,
            RECOMMENDATION.name: without_personal(_recommendation(inputs), popular, may),
            POPULAR.name: popular,
            CUSTOMER_VALUE.name: value,
            REPURCHASE.name: repurchase(inputs.repurchase, run.as_of),
            SEARCH_INTEREST.name: search_interest(inputs.search),
            CUSTOMER_TAG.name: customer_tags(connection, "wide", settings.tags.tags, may.get_name()),
            TAG_DEFINITION.name: tag_definitions(settings.tags.tags),
        }
        for name, rows in tables.items():
            _write(connection, TABLES[name], rows, run, folder)
    finally:
        connection.disconnect()
    _write_embeddings(embeddings, run, folder)
    pq.write_table(centres, folder / SEGMENT_CENTRES)
    (folder / value_model_file(settings, run).name).write_text(
        json.dumps(fitted.parameters), encoding="utf-8"
    )
    shutil.rmtree(folder / "spill", ignore_errors=True)
    shutil.rmtree(finished, ignore_errors=True)
    folder.rename(finished)

    counts = {t.name: pq.read_metadata(t.file(settings, run)).num_rows for t in TABLES.values()}
    log.info("run %s: profile tables computed, rows %s", run.run_id, counts)
    names = dict(zip(centres["segment_id"].to_pylist(), centres["segment_name"].to_pylist(), strict=True))
    return ProfileResult(run.run_id, counts, names)


def _purposes(settings: Settings) -> Warehouse:
    """The warehouse, going by the purposes of `privacy.yaml`."""
    warehouse = open_warehouse(settings)
    take_over_purposes(settings, warehouse)
    return warehouse


def _profile(settings: Settings, run: Run, inputs: Inputs, value: ir.Table, may: ir.Table) -> ir.Table:
    power = spending_power(settings.run_dir(run.run_id) / "features")
    cities = inputs.customer.select("city").distinct().to_pyarrow()["city"].drop_null().to_pylist()
    return customer_profile(
        inputs,
        value,
        ibis.memtable(power),
        inferred(settings, run, may),
        city_tiers(sorted(cities)),
        run.as_of,
    )


def _segments(
    settings: Settings, run: Run, embeddings: Embeddings, profile: ir.Table
) -> tuple[pa.Table, pa.Table]:
    if not embeddings.table.num_rows:
        log.warning("run %s has no embeddings: no segments", run.run_id)
        return _empty(SEGMENT.columns), _empty({"segment_id": "int32", "segment_name": "string"})
    traits = profile.select("customer_id", "favourite_category", "spending_tier", "lifecycle").to_pyarrow()
    return segment_tables(
        embeddings, traits.to_pandas(), _last_segments(settings, run), settings.models.segments, run.seed
    )


def _empty(columns: Mapping[str, str]) -> pa.Table:
    return ibis.schema(columns).to_pyarrow().empty_table()


def _last_segments(settings: Settings, run: Run) -> pd.Series:
    """Segment number of each customer in the night before this one; empty on the first night."""
    warehouse = open_warehouse(settings)
    with warehouse.begin() as connection:
        before = last_night(connection, run)
    if before is None:
        return pd.Series(dtype="int64")
    rows = warehouse.read_arrow(
        f"select customer_id, segment_id from profile_store.{partition('segment', before)}"
    )
    return pd.Series(rows["segment_id"].to_numpy(), index=rows["customer_id"].to_pylist())


def _with_segments(profile: ir.Table, segments: ir.Table) -> ir.Table:
    named = segments.select("customer_id", "segment_id", "segment_name")
    return profile.left_join(named, "customer_id")


def _names(inputs: Inputs) -> ir.Table:
    """The name of each product, else the Chinese one, else null."""
    product = inputs.product
    return product.group_by("sku").agg(product_name=product["name"].coalesce(product["name_zh"]).min())


def _named(inputs: Inputs, rows: ir.Table) -> ir.Table:
    return rows.left_join(_names(inputs), "sku").drop("sku_right")


def _recommendation(inputs: Inputs) -> ir.Table:
    """The models' lists with the names of products and reasons."""
    names = _names(inputs)
    reason = names.select(because_sku="sku", reason_name="product_name")
    found = inputs.recommendation.left_join(names, "sku")
    found = found.left_join(reason, found["because_of"] == reason["because_sku"])
    named = ibis.ifelse(found["because_kind"] == "category", found["because_of"], found["reason_name"])
    return found.mutate(because_name=named)


def _write(connection: Backend, table: ProfileTable, rows: ir.Table, run: Run, folder: Path) -> None:
    """Write exactly the table's columns, in its types, ordered by its key: equal tables are equal files."""
    columns = [rows[c].cast(kind).name(c) for c, kind in table.columns.items()]
    finished = rows.select(ibis.literal(run.run_id).name("run_id"), *columns).order_by(list(table.key))
    connection.to_parquet(finished, folder / f"{table.name}.parquet")


def _write_embeddings(embeddings: Embeddings, run: Run, folder: Path) -> None:
    run_id = pa.array([run.run_id] * embeddings.table.num_rows, pa.string())
    pq.write_table(
        embeddings.table.add_column(0, "run_id", run_id),
        folder / f"{EMBEDDING.name}.parquet",
        row_group_size=65_536,
    )
