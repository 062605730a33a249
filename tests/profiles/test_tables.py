"""The declared tables are those the migration made."""

import pytest
from portrait.profiles.tables import TABLES, ProfileTable
from portrait.warehouse import Warehouse

POSTGRES_TYPE = {
    "string": "text",
    "date": "date",
    "boolean": "boolean",
    "int32": "integer",
    "float64": "double precision",
    "array<float32>": "USER-DEFINED",
}


@pytest.mark.parametrize("table", TABLES.values(), ids=lambda t: t.name)
def test_columns_are_those_of_the_database(warehouse: Warehouse, table: ProfileTable) -> None:
    found = warehouse.rows(
        "select column_name, data_type from information_schema.columns"
        " where table_schema = 'profile_store' and table_name = :t order by ordinal_position",
        t=table.name,
    )
    declared = [("run_id", "text"), *((c, POSTGRES_TYPE[kind]) for c, kind in table.columns.items())]
    assert [(r["column_name"], r["data_type"]) for r in found] == declared


def test_keys_and_indexes_are_columns() -> None:
    for table in TABLES.values():
        for columns in (table.key, *table.indexes):
            assert set(columns) <= set(table.columns)
