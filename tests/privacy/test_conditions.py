"""A condition of audiences.yaml cannot reach personal data nor write: it is refused when the file is read, and its role could not."""

import pytest
from portrait.audiences.query import ROLE
from portrait.config.expressions import parse_expression
from portrait.warehouse import Warehouse
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

TRICKS = {
    "a query": "customer_id in (select hash from pii.contact)",
    "a door": "pii.open_contact(array['v1:a'], 'x') is not null",
    "a file": "pg_read_file('/etc/passwd') is not null",
    "a setting": "set_config('role', 'postgres', false) is not null",
    "the role": "true; set role postgres",
    "the path": "true; set search_path = pii",
    "a write in a CTE": "(with gone as (delete from raw.member returning 1) select true from gone)",
    "a table's column": "pii.contact.hash = 'x'",
    "a program": "true; copy raw.member to program 'cat'",
    "another function": "query_to_xml('select 1', true, true, '') is not null",
    "a comment": "true) -- ",
    "a union": "true union select true from pii.contact",
}
AT_THE_DATABASE = {
    "contact data": "select sealed from pii.contact",
    "the door": "select pii.open_contact(array['v1:a'], 'x')",
    "events": "select * from raw.member",
    "identifiers": "select * from identity.identifier",
    "a write": "delete from profile_store.rfm",
    "a write in a CTE": "with gone as (delete from raw.member returning 1) select 1 from gone",
    "the log": "select privacy.note_access('export', 'x', 1)",
    "a view of one's own": "create view profile.mine as select 1",
}


@pytest.mark.parametrize("sql", TRICKS.values(), ids=TRICKS.keys())
def test_it_is_refused_when_it_is_read(sql: str) -> None:
    with pytest.raises(ValueError) as refused:
        parse_expression(sql, questions=True)
    assert str(refused.value)


@pytest.mark.parametrize("sql", AT_THE_DATABASE.values(), ids=AT_THE_DATABASE.keys())
def test_the_role_of_conditions_could_not_do_it(warehouse: Warehouse, sql: str) -> None:
    with warehouse.engine.connect() as connection:
        connection.execute(text("set transaction read only"))
        connection.execute(text(f"set local role {ROLE}"))
        with pytest.raises(DBAPIError, match="permission denied|read-only"):
            connection.execute(text(sql))
