"""Files of the same bytes are recognised without being read, unless they may be news."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from portrait.config import Settings
from portrait.ingest import pull, validate
from portrait.warehouse import Warehouse

from .conftest import AS_OF, source, sources_yaml, write_csv

COLUMNS = {"sku": "sku", "list_price": "price"}


@pytest.fixture
def products(make_settings: Callable[..., Settings]) -> Settings:
    return make_settings(sources_yaml(source("product", columns=COLUMNS)))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that were read."""
    names: list[str] = []
    read = validate.Validator._numbered

    def noted(self: Any, number: int, file: Any) -> Any:
        names.append(Path(file.name).name)
        return read(self, number, file)

    monkeypatch.setattr(validate.Validator, "_numbered", noted)
    return names


def prices(warehouse: Warehouse) -> dict[str, int]:
    return {r["sku"]: int(r["list_price"]) for r in warehouse.rows("select sku, list_price from raw.product")}


def test_a_touched_or_copied_file_is_not_read(
    products: Settings, warehouse: Warehouse, tmp_path: Path, reads: list[str]
) -> None:
    write_csv(tmp_path / "things1.csv", [{"sku": "a", "price": 1}, {"sku": "", "price": 2}])
    first = pull(products, "things", AS_OF)
    assert (first.rows_inserted, first.rows_rejected) == (1, 1)
    os.utime(tmp_path / "things1.csv", ns=(1, 1))
    (tmp_path / "things2.csv").write_bytes((tmp_path / "things1.csv").read_bytes())
    result = pull(products, "things", AS_OF)
    assert (result.files, result.rows_read, result.rows_unchanged) == (2, 4, 4)
    assert reads == ["things1.csv"]
    assert warehouse.scalar("select count(*) from quarantine.rejected_row where resolved_at is null") == 1
    assert pull(products, "things", AS_OF).files == 0


def test_a_price_that_goes_back_is_news(
    products: Settings, warehouse: Warehouse, tmp_path: Path, reads: list[str]
) -> None:
    """The same bytes as the first list, but another one came in between."""
    for number, price in enumerate([1, 2, 1]):
        write_csv(tmp_path / f"things{number}.csv", [{"sku": "a", "price": price}])
        pull(products, "things", AS_OF)
        assert prices(warehouse) == {"a": price}
    assert reads == ["things0.csv", "things1.csv", "things2.csv"]


def test_after_a_change_of_the_mapping_it_is_read(
    products: Settings, make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path
) -> None:
    write_csv(tmp_path / "things1.csv", [{"sku": "a", "price": 1}])
    pull(products, "things", AS_OF)
    os.utime(tmp_path / "things1.csv", ns=(1, 1))
    doubled = make_settings(
        sources_yaml(source("product", columns={**COLUMNS, "list_price": {"sql": "price::int * 2"}}))
    )
    assert pull(doubled, "things", AS_OF).rows_updated == 1
    assert prices(warehouse) == {"a": 2}


def test_since_reads_everything_again(products: Settings, tmp_path: Path, reads: list[str]) -> None:
    write_csv(tmp_path / "things1.csv", [{"sku": "a", "price": 1}])
    pull(products, "things", AS_OF)
    assert pull(products, "things", AS_OF, since=AS_OF).rows_unchanged == 1
    assert reads == ["things1.csv"] * 2
