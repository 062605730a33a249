"""The worked examples on real files; the counts come from pandas."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from portrait.config import Settings, load_settings
from portrait.ingest import check_sources, pull
from portrait.warehouse import Warehouse

EXAMPLES = Path(__file__).parents[2] / "include" / "config" / "examples"
LAST = date(2011, 12, 9)


@pytest.fixture
def example(warehouse: Warehouse, tmp_path: Path) -> Callable[..., Settings]:
    """Settings of an example on this test's warehouse."""

    def load(name: str, **environ: str) -> Settings:
        url = warehouse.url.render_as_string(hide_password=False)
        return load_settings(
            {
                "PORTRAIT_PII_KEY": "test-key",
                "PORTRAIT_HOME": str(tmp_path),
                "PORTRAIT_DATABASE_URL": url,
                **environ,
            },
            EXAMPLES / f"{name}.yaml",
        )

    return load


def test_the_articles_csv(example: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path) -> None:
    """1677667800 is 2023-03-01 10:50 UTC."""
    (tmp_path / "r.csv").write_text(
        "user_id,item_id,rating,timestamp\n1,10,4.5,1677667800\n1,11,3,1677667800\n2,10,5,1677754200\n"
        "2,10,4,1677754200\n3,,5,1677754200\n"
    )
    settings = example("article_csv", ARTICLE_CSV=str(tmp_path / "r.csv"))
    (report,) = check_sources(settings)
    assert report.latest == date(2023, 3, 2)
    result = pull(settings, "ratings", date(2023, 3, 2))
    assert (result.rows_inserted, result.rows_duplicate, result.rows_rejected) == (3, 1, 1)
    rows = warehouse.rows("select * from raw.online_event order by account_id, sku")
    assert [
        (r["account_id"], r["sku"], float(r["rating"]), r["event_name"], int(r["quantity"]), r["occurred_at"])
        for r in rows
    ] == [
        ("1", "10", 4.5, "order_completed", 1, datetime(2023, 3, 1, 10, 50, tzinfo=UTC)),
        ("1", "11", 3, "order_completed", 1, datetime(2023, 3, 1, 10, 50, tzinfo=UTC)),
        ("2", "10", 4, "order_completed", 1, datetime(2023, 3, 2, 10, 50, tzinfo=UTC)),
    ]
    assert rows[0]["source_row_id"] == "1|10|1677667800"


def test_without_a_variable_the_articles_csv_is_beside_its_configuration(
    example: Callable[..., Settings],
) -> None:
    settings = example("article_csv")
    assert settings.source_path(str(settings.sources.sources[0].path)) == str(EXAMPLES / "ratings.csv")


def expected_order_lines(table: pd.DataFrame) -> tuple[dict[str, int], int]:
    """Rows by what must become of them, and how many are repeated in all columns of the key."""
    stock_code = table["StockCode"].str.strip().str.upper()
    merchandise = stock_code.str.fullmatch("[0-9]{5}[A-Z]{0,2}")
    cancelled = table["InvoiceNo"].str.startswith("C")
    quantity = table["Quantity"].astype(int)
    free = table["UnitPrice"].astype(float) <= 0
    fate = pd.Series("purchase", index=table.index)
    fate[cancelled] = "refund"
    fate[free] = "rule:no_price"
    fate[~cancelled & (quantity <= 0)] = "rule:stock_correction"
    fate[~merchandise] = "rule:not_merchandise"
    key = ["InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID"]
    good = fate.isin(["purchase", "refund"])
    trimmed = table.loc[good, key].apply(lambda column: column.str.strip())
    repeated = trimmed.duplicated()
    counts = fate.value_counts().to_dict()
    kept = fate[good][~repeated].value_counts().to_dict()
    return {**counts, **kept}, int(repeated.sum())


@pytest.mark.slow
def test_online_retail(example: Callable[..., Settings], warehouse: Warehouse, shared_data: Path) -> None:
    file = shared_data / "online_retail.csv.gz"
    table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding="utf-8")
    assert len(table) == 541_909
    expected, repeated = expected_order_lines(table)
    settings = example("online_retail", ONLINE_RETAIL=str(file))

    orders = pull(settings, "order_lines", LAST)
    by_event = {
        r["event_name"]: r["n"]
        for r in warehouse.rows("select event_name, count(*) as n from raw.online_event group by 1")
    }
    by_reason = {
        r["reason_code"]: r["n"]
        for r in warehouse.rows("select reason_code, count(*) as n from quarantine.rejected_row group by 1")
    }
    assert by_event == {"order_completed": expected["purchase"], "order_refunded": expected["refund"]}
    assert by_reason == {k: v for k, v in expected.items() if k.startswith("rule:")}
    assert orders.rows_duplicate == repeated
    assert orders.rows_read == 541_909

    amount = warehouse.scalar("select sum(amount) from raw.online_event where event_name = 'order_completed'")
    spent = warehouse.scalar(
        "select sum(quantity * unit_price) from raw.online_event where event_name = 'order_completed'"
    )
    assert amount == spent > 8_000_000

    customers = pull(settings, "customers", LAST)
    identified = table["CustomerID"].str.strip() != ""
    assert customers.rows_skipped == 541_909 - identified.sum() == 135_080
    members = warehouse.rows("select member_id, account_id from raw.member")
    assert len(members) == 4_372
    assert {m["member_id"] for m in members} == set(
        table["CustomerID"][identified].str.removesuffix(".0").str.strip()
    )

    products = pull(settings, "products", LAST)
    described = table[
        table["StockCode"].str.strip().str.upper().str.fullmatch("[0-9]{5}[A-Z]{0,2}")
        & (table["Description"].str.strip() != "")
        & (table["Description"] == table["Description"].str.upper())
    ]
    assert products.rows_inserted == described["StockCode"].str.strip().str.upper().nunique()
    assert warehouse.scalar("select count(*) from raw.product") == products.rows_inserted

    again = pull(settings, "order_lines", LAST)
    assert again.files == 0
