"""Columns that come, go and change their names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest import pull
from portrait.warehouse import Warehouse

from .conftest import AS_OF, source, sources_yaml, write_csv

COLUMNS: dict[str, Any] = {"sku": "sku", "name": ["name", "产品名", "title"], "brand": "brand"}


@pytest.fixture
def products(make_settings: Callable[..., Settings]) -> Callable[..., Settings]:
    def make(**keys: Any) -> Settings:
        return make_settings(sources_yaml(source("product", **{"columns": COLUMNS, **keys})))

    return make


def alerts(warehouse: Warehouse) -> list[tuple[str, str]]:
    return [
        (r["kind"], r["message"])
        for r in warehouse.rows("select kind, message from ops.alert order by alert_id")
    ]


def test_a_new_column_is_recorded_and_ignored(
    products: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write_csv(tmp_path / "things1.csv", [{"sku": "a", "name": "A", "brand": "b"}])
    pull(products(), "things", AS_OF)
    assert alerts(warehouse) == []
    write_csv(tmp_path / "things2.csv", [{"sku": "c", "name": "C", "brand": "b", "colour": "red"}])
    assert pull(products(), "things", AS_OF).rows_inserted == 1
    (alert,) = alerts(warehouse)
    assert alert[0] == "column_added"
    assert alert[1].startswith("things delivers a column 'colour' that it did not have before; it is ignored")
    assert alert[1] in caplog.text
    rows = warehouse.rows("select column_name, mapped from ops.source_column order by 1")
    assert {r["column_name"]: r["mapped"] for r in rows} == {
        "brand": True, "colour": False, "name": True, "sku": True,
    }  # fmt: skip


def test_a_missing_optional_column_is_null(
    products: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "things1.csv", [{"sku": "a", "name": "A"}])
    assert pull(products(), "things", AS_OF).rows_inserted == 1
    assert warehouse.rows("select sku, name, brand from raw.product") == [
        {"sku": "a", "name": "A", "brand": None}
    ]
    (alert,) = alerts(warehouse)
    assert alert[0] == "column_missing"
    assert "things1.csv has no column 'brand', which is mapped; it is null" in alert[1]


@pytest.mark.parametrize(
    ("keys", "column"),
    [
        ({}, "sku"),
        ({"key": ["brand"]}, "brand"),
        ({"columns": {"sku": "sku", "brand": {"column": "brand", "required": True}}}, "brand"),
    ],
)
def test_a_missing_required_column_refuses_the_file(
    products: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path, keys: dict[str, Any], column: str
) -> None:
    row = {"sku": "a", "name": "A", "brand": "b"}
    del row[column]
    write_csv(tmp_path / "things1.csv", [row])
    with pytest.raises(PortraitError, match=f"things1.csv: no column '{column}' \\(sources\\[things\\]"):
        pull(products(**keys), "things", AS_OF)
    assert warehouse.scalar("select count(*) from raw.product") == 0


@pytest.mark.parametrize("header", ["name", "产品名", "title", "NAME"])
def test_a_column_under_another_name(
    products: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path, header: str
) -> None:
    write_csv(tmp_path / "things1.csv", [{"sku": "a", header: "A", "brand": "b"}])
    pull(products(), "things", AS_OF)
    assert warehouse.scalar("select name from raw.product") == "A"
    assert alerts(warehouse) == []


def test_a_key_under_another_name_line_by_line(
    make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    lines = ['{"sku": "a", "name": "A"}', '{"sku": "b", "title": "B"}', '{"sku": "c"}']
    (tmp_path / "things.jsonl").write_text("\n".join(lines) + "\n")
    settings = make_settings(
        sources_yaml(source("product", columns=COLUMNS, format="jsonl", path="things.jsonl"))
    )
    pull(settings, "things", AS_OF)
    rows = warehouse.rows("select sku, name from raw.product order by 1")
    assert [(r["sku"], r["name"]) for r in rows] == [("a", "A"), ("b", "B"), ("c", None)]
