"""What the features and the models would leave for `profiles.build`, of any number of customers.

Contents are drawn by hash, so that a size gives the same files; shares and sizes are those of a grocer: most customers
buy, everybody has five affinities and twenty recommendations.
"""

import shutil
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from portrait.config import Settings
from portrait.features.matrix import write_csr
from portrait.run import Run
from scipy.sparse import csr_matrix

ITEMS = 20_000
CATEGORIES = 60
BRANDS = 400
STORES = 200
HISTORY = 10
"""Products a customer has touched."""
DIMENSIONS = 64
"""Of an embedding."""
RECOMMENDED = 10
"""Products a customer and kind (new, again)."""


def make_inputs(settings: Settings, run: Run, customers: int, seed: int = 7) -> None:
    """Write the run's `features/` and `models/`, and the products of the lake."""
    folder = settings.run_dir(run.run_id)
    shutil.rmtree(folder, ignore_errors=True)
    for room in ("features/matrix", "models"):
        (folder / room).mkdir(parents=True)
    with duckdb.connect() as engine:
        engine.execute("set memory_limit = '2GB'; set preserve_insertion_order = true")
        engine.execute(_person(customers, run, seed))
        for name, sql in {**_features(run), **_models(run, seed)}.items():
            _write(engine, sql, folder / f"{name}.parquet")
        product = settings.lake_dir / "product" / "part.parquet"
        product.parent.mkdir(parents=True, exist_ok=True)
        _write(
            engine,
            f"select 'i' || n as sku, 'Product ' || n as name, null::text as name_zh from range({ITEMS}) r(n)",
            product,
        )
        _embeddings(engine, customers, folder / "models" / "embedding.parquet", run, seed)
    _matrix(customers, folder / "features" / "matrix", seed)


def _write(engine: duckdb.DuckDBPyConnection, sql: str, path: Path) -> None:
    engine.execute(f"copy ({sql}) to '{path}' (format parquet, row_group_size 122880)")


def _person(customers: int, run: Run, seed: int) -> str:
    """One row a customer: position, id, a few independent numbers in [0, 1), and the dates of first and last purchase."""
    unit = ", ".join(f"(hash(n, {seed}, {k}) % 1000003) / 1000003.0 as u{k}" for k in range(8))
    return f"""
        create table person as
        select *, u0 < 0.85 as buys, 1 + floor(-6 * ln(1 - u1))::int as frequency,
               date '{run.as_of}' - (1 + 700 * u2)::int as first_on,
               date '{run.as_of}' - floor((1 + 700 * u2) * u3 * u3)::int as last_on
        from (select n, printf('c_%016x', n * 1000003) as customer_id, {unit} from range({customers}) r(n))
        order by customer_id
    """


def _features(run: Run) -> dict[str, str]:
    spans = (("30d", 30), ("90d", 90), ("365d", 365))
    within = ", ".join(
        f"greatest(1, frequency * least(1, {days} / 400.0))::int * (date '{run.as_of}' - last_on < {days})::int as frequency_{name},"
        f" monetary * least(1, {days} / 400.0) * (date '{run.as_of}' - last_on < {days})::int as monetary_{name}"
        for name, days in spans
    )
    fifth = "(1 + floor(5 * {}))::int"
    share = "case when buys then {} end"
    return {
        "features/customer": f"""
            select customer_id, u4 < 0.8 as is_known, (u4 < 0.6)::int as cards, (u5 < 0.5)::int as accounts,
                   (u5 < 0.4)::int as devices, case when u4 < 0.5 then case when u5 < 0.5 then 'F' else 'M' end end as gender,
                   case when u4 < 0.4 then date '1950-01-01' + floor(20000 * u6)::int end as birth_date,
                   'Province ' || floor(30 * u6)::int as region, 'City ' || floor(300 * u6)::int as city,
                   case when u4 < 0.6 then 'level ' || floor(4 * u7)::int end as member_level,
                   case when u4 < 0.6 then 'S' || floor({STORES} * u5)::int end as home_store, first_on as joined_on
            from person order by customer_id""",
        "features/rfm": f"""
            select customer_id, first_on as first_purchase_on, last_on as last_purchase_on,
                   (date '{run.as_of}' - last_on)::int as recency_days, frequency, monetary, {within},
                   monetary * u6 * 0.02 as refunded, frequency * 3 as items,
                   case when frequency > 1 and last_on > first_on then (last_on - first_on)::double / (frequency - 1) end
                       as interpurchase_days,
                   monetary * u5 as store_monetary, floor(frequency * u5)::int as store_frequency,
                   {fifth.format("u3")} as r_score, {fifth.format("u1")} as f_score, {fifth.format("u6")} as m_score,
                   'value type ' || floor(8 * u6)::int as value_type
            from (select *, frequency * exp(3 + 1.2 * (u6 - 0.5)) as monetary from person where buys) order by customer_id""",
        "features/activity": f"""
            select customer_id, first_on as first_seen_on, last_on as last_seen_on, floor(40 * u7)::int as online_events,
                   floor(frequency * u5)::int as store_receipts, floor(20 * u7)::int as views_30d,
                   floor(4 * u7)::int as searches_30d, floor(3 * u7)::int as carts_30d,
                   'S' || floor({STORES} * u5)::int as favourite_store
            from person order by customer_id""",
        "features/affinity": f"""
            select customer_id, dimension, value, rank::int as rank, score, evidence::int as evidence, last_on
            from (
                select customer_id, last_on, case when k < 3 then 'category' else 'brand' end as dimension,
                       case when k < 3 then 'Category ' || (n * 7 + k * 13) % {CATEGORIES}
                            else 'Brand ' || (n * 11 + k * 17) % {BRANDS} end as value,
                       case when k < 3 then k + 1 else k - 2 end as rank,
                       case when k < 3 then 0.5 / (k + 1) else 0.6 / (k - 2) end as score, 1 + floor(9 * u1) as evidence
                from person cross join range(5) e(k)
            ) order by customer_id, dimension, rank""",
        "features/features": f"""
            select customer_id, {share.format("1 + 4 * u6")} as price_tier_mean, {share.format("u7 * 0.4")} as discount_share,
                   {share.format("u6 * 0.1")} as return_rate, u4 * 0.1 as night_share, u5 * 0.5 as morning_share,
                   u6 * 0.5 as afternoon_share, u7 * 0.5 as evening_share
            from person order by customer_id""",
        "features/repurchase": f"""
            select customer_id, 'Category ' || (n * 7) % {CATEGORIES} as category, least(frequency, 30) as purchase_days,
                   first_on, last_on
            from person where buys and frequency > 1 and last_on > first_on order by customer_id""",
        "features/search": """
            select customer_id, 'search words ' || floor(5000 * u6 * u7)::int as query, 1 + floor(3 * u7)::int as searches,
                   last_on, u7 as weight
            from person where u7 > 0.3 order by customer_id""",
        "features/catalogue": f"""
            select n::int as item, 'i' || n as sku, 'Category ' || n % {CATEGORIES} as category,
                   'Brand ' || n % {BRANDS} as brand, exp(2 + (hash(n) % 1000) / 500.0) as list_price
            from range({ITEMS}) r(n)""",
        "features/matrix/customers": "select n::int as row, customer_id, true as current from person order by n",
    }  # fmt: skip


def _models(run: Run, seed: int) -> dict[str, str]:
    """`model_version` is the run's, so that a reader can tell a recommendation's night."""
    return {
        "models/recommendation": f"""
            select customer_id, kind, (k + 1)::int as rank,
                   'i' || floor({ITEMS} * pow((hash(n, k, kind, {seed}) % 1000003) / 1000003.0, 2))::int as sku,
                   1 - k / 11.0 + u1 / 100 as score, '{run.run_id}' as model_version
            from person cross join (values ('again'), ('new')) v(kind) cross join range({RECOMMENDED}) e(k)
            order by customer_id, kind, rank"""
    }


def _embeddings(engine: duckdb.DuckDBPyConnection, customers: int, path: Path, run: Run, seed: int) -> None:
    """Vectors about eight centres, in the order of the ids."""
    random = np.random.default_rng(seed)
    centres = random.normal(size=(8, DIMENSIONS)).astype(np.float32)
    schema = pa.schema(
        [("customer_id", pa.string()), ("embedding", pa.list_(pa.float32())), ("model_version", pa.string())]
    )
    ids = engine.sql("select customer_id from person order by customer_id").to_arrow_table()["customer_id"]
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, customers, 100_000):
            some = ids.slice(start, 100_000).combine_chunks()
            noise = random.normal(size=(len(some), DIMENSIONS)).astype(np.float32)
            vectors = centres[random.integers(0, 8, len(some))] + noise
            offsets = np.arange(0, vectors.size + 1, DIMENSIONS, dtype=np.int32)
            lists = pa.ListArray.from_arrays(pa.array(offsets), pa.array(vectors.ravel()))
            version = pa.array([run.run_id] * len(some))
            writer.write_table(pa.table([some, lists, version], schema=schema))


def _matrix(customers: int, folder: Path, seed: int) -> None:
    random = np.random.default_rng(seed)
    column = np.sort(
        (ITEMS * random.random((customers, HISTORY), dtype=np.float32) ** 2).astype(np.int32), axis=1
    )
    touched = csr_matrix(
        (
            random.random(column.size, dtype=np.float32) + 0.1,
            column.ravel(),
            np.arange(0, column.size + 1, HISTORY, dtype=np.int32),
        ),
        shape=(customers, ITEMS),
    )
    touched.sum_duplicates()
    write_csr(touched, folder / "full_weights")
