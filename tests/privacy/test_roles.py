"""Each role logs in and tries every table: what the server lets it do is what the list says, and nothing else."""

from collections.abc import Callable
from pathlib import Path

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.privacy.matrix import access_matrix
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.grants import PRIVILEGES, ROLES, SCHEMAS, expected, relations
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

REPOSITORY = Path(__file__).parents[2]
REFUSED, NO_UPDATABLE_VIEW = "42501", "55000"


@pytest.fixture
def logged_in(warehouse: Warehouse) -> Callable[[str], Warehouse]:
    """`logged_in(role)`: the warehouse through a login that is a member of the role and of nothing else."""

    def login(role: str) -> Warehouse:
        name = f"test_{role}"
        with warehouse.begin() as connection:
            connection.execute(text("select pg_advisory_xact_lock(hashtext('test logins'))"))
            if not connection.execute(
                text("select 1 from pg_roles where rolname = :n"), {"n": name}
            ).scalar():
                connection.exec_driver_sql(f"create role {name} login in role {role}")
        return Warehouse(warehouse.url.set(username=name, password=None))

    return login


def _columns(connection: Connection) -> dict[str, str]:
    """A column of each relation that an UPDATE may set."""
    rows = connection.execute(
        text(
            "select n.nspname || '.' || c.relname as name, min(a.attname) as col from pg_class as c"
            " join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid"
            " where a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attidentity = ''"
            " and n.nspname = any(:s) group by 1"
        ),
        {"s": list(SCHEMAS)},
    )
    return {r.name: r.col for r in rows}


def _attempt(privilege: str, name: str, column: str) -> str:
    return {
        "select": f"select * from {name} limit 0",
        "insert": f"insert into {name} default values",
        "update": f"update {name} set {column} = null where false",
        "delete": f"delete from {name} where false",
    }[privilege]


def _allowed(connection: Connection, statement: str) -> bool:
    """Whether the server lets the statement through; that it then fails for another reason is no refusal."""
    attempt = connection.begin_nested()
    try:
        connection.exec_driver_sql(statement)
    except DBAPIError as error:
        return getattr(error.orig, "pgcode", None) not in (REFUSED, NO_UPDATABLE_VIEW)
    finally:
        attempt.rollback()
    return True


@pytest.mark.parametrize("role", ROLES)
def test_what_a_role_can_do_is_what_the_list_says(
    warehouse: Warehouse, logged_in: Callable[[str], Warehouse], role: str
) -> None:
    with warehouse.begin() as connection:
        names, columns = relations(connection), _columns(connection)
    rights = expected(names)
    wrong = []
    with logged_in(role).begin() as connection:
        for name in names:
            for privilege in PRIVILEGES:
                may = privilege in rights.get((role, name), set())
                if _allowed(connection, _attempt(privilege, name, columns.get(name, "x"))) != may:
                    wrong.append(f"{role} {privilege} {name}: expected {'yes' if may else 'no'}")
    assert wrong == []


def test_a_login_without_a_role_can_do_nothing(
    warehouse: Warehouse, logged_in: Callable[[str], Warehouse]
) -> None:
    with warehouse.begin() as connection:
        names = relations(connection)
        if not connection.execute(text("select 1 from pg_roles where rolname = 'test_nobody'")).scalar():
            connection.exec_driver_sql("create role test_nobody login")
    with Warehouse(warehouse.url.set(username="test_nobody", password=None)).begin() as connection:
        assert [n for n in names if _allowed(connection, f"select * from {n} limit 0")] == []
        assert not _allowed(connection, "select pii.open_contact('{x}', 'why not')")
        assert not _allowed(connection, "create table public.mine (x integer)")


def test_the_page_is_up_to_date(warehouse: Warehouse) -> None:
    page = (REPOSITORY / "docs" / "access-matrix.md").read_text(encoding="utf-8")
    assert page == access_matrix(warehouse), "run `portrait db access-matrix > docs/access-matrix.md`"


def test_a_stage_acts_as_its_role(settings: Settings) -> None:
    warehouse = open_warehouse(settings.acting_as("portrait_loader"))
    assert warehouse.scalar("select current_user") == "portrait_loader"
    assert warehouse.read_arrow("select current_user::text as u")["u"].to_pylist() == ["portrait_loader"]
    with warehouse.transaction() as transaction:
        assert transaction.rows("select current_user::text as u") == [{"u": "portrait_loader"}]
    with pytest.raises(DBAPIError, match="permission denied"):
        warehouse.execute("delete from identity.assignment")


def test_a_role_that_the_login_may_not_take_is_named(settings: Settings) -> None:
    with pytest.raises(PortraitError, match="acts as portrait_nobody.*create role portrait_nobody nologin"):
        open_warehouse(settings.acting_as("portrait_nobody"))


def test_marketing_and_service_see_the_audiences_of_their_purpose(
    warehouse: Warehouse, logged_in: Callable[[str], Warehouse]
) -> None:
    for code, purpose in (("offers", "marketing_email"), ("advice", "service")):
        warehouse.execute(
            "insert into audience.definition values (:c, :c, :c, 'true', :p, 'email', 'crm', 0, null, null, 'csv', true,"
            " '2026-03-01')",
            c=code,
            p=purpose,
        )
        warehouse.execute(
            "insert into audience.membership values (:c, 'C1', '2026-03-01', null, false)", c=code
        )
    warehouse.execute("insert into privacy.permission (customer_id, marketing_email) values ('C1', true)")
    for role, seen in (("marketing", ["offers"]), ("service", ["advice"]), ("reader", ["advice", "offers"])):
        found = logged_in(f"portrait_{role}").rows("select audience from audience.member order by 1")
        assert [r["audience"] for r in found] == seen, role


def test_contact_data_is_opened_by_one_door_that_notes_it(
    warehouse: Warehouse, logged_in: Callable[[str], Warehouse]
) -> None:
    warehouse.execute("insert into pii.contact (kind, hash, sealed) values ('phone', 'v1:a', '\\x01')")
    privacy = logged_in("portrait_privacy")
    (row,) = privacy.rows("select kind, hash from pii.open_contact(array['v1:a', 'v1:b'], 'request 7')")
    assert row == {"kind": "phone", "hash": "v1:a"}
    (noted,) = warehouse.rows("select login, what, reason, records, subjects from privacy.access_log")
    assert noted == {
        "login": "test_portrait_privacy",
        "what": "contact",
        "reason": "request 7",
        "records": 1,
        "subjects": ["v1:a", "v1:b"],
    }
    with pytest.raises(DBAPIError, match="say why"):
        privacy.rows("select * from pii.open_contact(array['v1:a'], ' ')")
    for change in ("delete from privacy.access_log", "update privacy.access_log set reason = 'x'"):
        with pytest.raises(DBAPIError, match="permission denied"):
            privacy.execute(change)


def test_those_who_set_prices_see_no_customer(warehouse: Warehouse) -> None:
    """PIPL Art. 24: what one customer would pay is in no column that pricing can read."""
    columns = _readable_columns(warehouse, "portrait_inventory")
    assert {place.split(".")[0] for place, _ in columns} == {"mart_inventory"}
    assert not {"customer_id", "price_sensitivity", "promotion_sensitivity"} & {c for _, c in columns}


def test_what_a_price_matters_to_somebody_is_not_for_the_api(
    warehouse: Warehouse, logged_in: Callable[[str], Warehouse]
) -> None:
    """Whoever shows prices asks the API: neither the column nor a tag that is made of it can be read by its role."""
    assert "price_sensitivity" not in {c for _, c in _readable_columns(warehouse, "portrait_api")}
    api = logged_in("portrait_api")
    for refused in ("profile.customer_profile", "profile.customer_tag", "profile.as_of('2026-03-01')"):
        with pytest.raises(DBAPIError, match="permission denied"):
            api.rows(
                f"select price_sensitivity from {refused}"
                if "tag" not in refused
                else f"select * from {refused}"
            )


@pytest.mark.parametrize(
    "role", ["portrait_marketing", "portrait_service", "portrait_inventory", "portrait_api"]
)
def test_who_acts_on_customers_sees_no_table_that_a_view_filters(warehouse: Warehouse, role: str) -> None:
    """Consent is in the views: nobody may go round them."""
    places = {place for place, _ in _readable_columns(warehouse, role)}
    assert not {p for p in places if p.split(".")[0] == "profile_store"}
    assert not places & {
        "raw.consent_event",
        "privacy.consent",
        "privacy.consent_history",
        "privacy.statement",
    }


def _readable_columns(warehouse: Warehouse, role: str) -> set[tuple[str, str]]:
    """Relation and column of all that the server lets a role select, by the server's own word."""
    rows = warehouse.rows(
        "select n.nspname || '.' || c.relname as place, a.attname as name from pg_class as c"
        " join pg_namespace as n on n.oid = c.relnamespace join pg_attribute as a on a.attrelid = c.oid"
        " where n.nspname = any(:s) and c.relkind in ('r', 'p', 'v', 'm') and a.attnum > 0 and not a.attisdropped"
        " and has_column_privilege(:r, c.oid, a.attnum, 'select') and has_schema_privilege(:r, n.oid, 'usage')",
        s=list(SCHEMAS),
        r=role,
    )
    assert rows
    return {(r["place"], r["name"]) for r in rows}
