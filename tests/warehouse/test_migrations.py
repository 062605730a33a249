"""The migrations create what the contracts declare, and every public object says what it is."""

import pytest
from alembic.script import ScriptDirectory
from portrait.contracts import CONTRACTS, Contract
from portrait.warehouse import Warehouse
from portrait.warehouse.migrate import MIGRATIONS, migrate

POSTGRES_TYPE = {
    "text": "text",
    "timestamp": "timestamp with time zone",
    "date": "date",
    "integer": "bigint",
    "decimal": "numeric",
    "boolean": "boolean",
}


@pytest.mark.parametrize("contract", CONTRACTS.values(), ids=lambda c: c.entity)
def test_raw_table_has_the_contracts_columns(warehouse: Warehouse, contract: Contract) -> None:
    rows = warehouse.rows(
        "select column_name, data_type, is_nullable from information_schema.columns "
        "where table_schema = 'raw' and table_name = :t",
        t=contract.entity,
    )
    found = {r["column_name"]: (r["data_type"], r["is_nullable"] == "NO") for r in rows}
    assert not {c.name for c in contract.columns if c.sealed} & set(found)
    for column in contract.stored:
        data_type, not_null = found[column.stored_as]
        assert data_type == POSTGRES_TYPE[column.type], column.name
        assert not_null == column.required, column.name


def test_every_public_relation_and_column_is_commented(warehouse: Warehouse) -> None:
    bare = warehouse.rows(
        """
        select n.nspname || '.' || c.relname || coalesce('.' || a.attname, '') as what
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        left join lateral (
            select attname, attnum from pg_attribute where attrelid = c.oid and attnum > 0 and not attisdropped
            union all select null, 0
        ) a on true
        where c.relkind in ('r', 'p', 'v') and not c.relispartition
          and n.nspname in ('raw', 'quarantine', 'identity', 'ops', 'profile', 'profile_store')
          and col_description(c.oid, a.attnum) is null
          and (a.attnum > 0 or obj_description(c.oid, 'pg_class') is null)
          and not (n.nspname = 'identity' and c.relname = 'progress' and a.attnum > 0)
        """
    )
    assert bare == []


def test_migrating_twice_changes_nothing(warehouse: Warehouse) -> None:
    newest = ScriptDirectory(str(MIGRATIONS)).get_current_head()
    before = warehouse.scalar("select version_num from schema_version")
    migrate(warehouse)
    assert warehouse.scalar("select version_num from schema_version") == before == newest
