"""Opening the warehouse, and Arrow in and out of it."""

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.partitions import ensure_months
from sqlalchemy import URL


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (
            "nonsense",
            "PORTRAIT_DATABASE_URL is not a database URL; for example postgresql://user:password@host",
        ),
        ("postgresql://host:port/x", "PORTRAIT_DATABASE_URL is not a database URL; for example"),
        (
            "postgresql://me:secret@127.0.0.1:9/portrait",
            "cannot reach the database postgresql+psycopg2://me:***@127.0.0.1:9/portrait: connection to server at",
        ),
    ],
)
def test_a_server_that_cannot_be_reached(
    make_settings: Callable[..., Settings], url: str, expected: str
) -> None:
    with pytest.raises(PortraitError) as caught:
        open_warehouse(make_settings(PORTRAIT_DATABASE_URL=url))
    message = str(caught.value)
    assert message.startswith(expected)
    assert len(message.splitlines()) == 1
    assert "secret" not in message


def test_a_database_that_does_not_exist(make_settings: Callable[..., Settings], server: URL) -> None:
    url = server.set(database="nowhere").render_as_string(hide_password=False)
    with pytest.raises(PortraitError, match='database "nowhere" does not exist; .*`portrait db migrate`'):
        open_warehouse(make_settings(PORTRAIT_DATABASE_URL=url))


def test_a_database_that_nobody_migrated(make_settings: Callable[..., Settings], server: URL) -> None:
    create_database(server, "unmigrated")
    url = server.set(database="unmigrated").render_as_string(hide_password=False)
    with pytest.raises(PortraitError, match="is empty; run `portrait db migrate`"):
        open_warehouse(make_settings(PORTRAIT_DATABASE_URL=url))


def test_a_url_needs_no_driver(make_settings: Callable[..., Settings], warehouse: Warehouse) -> None:
    plain = warehouse.url.set(drivername="postgresql").render_as_string(hide_password=False)
    opened = open_warehouse(make_settings(PORTRAIT_DATABASE_URL=plain))
    assert opened.scalar("select current_database()") == warehouse.url.database
    assert opened.scalar("show timezone") == "UTC"


def test_creating_a_database_from_many_processes_at_once(server: URL) -> None:
    errors = together([lambda: create_database(server, "created_once")] * 6)
    assert errors == []


def test_a_transaction_rolls_back(warehouse: Warehouse) -> None:
    warehouse.execute("create table t (a integer)")

    def fail() -> None:
        with warehouse.begin() as connection:
            connection.exec_driver_sql("insert into t values (1)")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    warehouse.execute("insert into t values (:a)", a=2)
    assert warehouse.rows("select * from t") == [{"a": 2}]


MOMENT = datetime(2025, 3, 1, 17, 30, 0, 123456, tzinfo=UTC)
COLUMNS = [
    ("text", pa.string(), ["茶 and\t\"'\\", "", None]),
    ("smallint", pa.int16(), [-(2**15), 7, None]),
    ("integer", pa.int32(), [-(2**31), 7, None]),
    ("bigint", pa.int64(), [2**62, 7, None]),
    ("real", pa.float32(), [0.5, -1.25, None]),
    ("double precision", pa.float64(), [0.1, -1e300, None]),
    ("boolean", pa.bool_(), [True, False, None]),
    ("date", pa.date32(), [date(1970, 1, 1), date(2025, 2, 28), None]),
    ("timestamptz", pa.timestamp("us", "UTC"), [MOMENT, datetime(1969, 12, 31, tzinfo=UTC), None]),
    ("bytea", pa.binary(), [b"\x00\xff", b"", None]),
    ("real[]", pa.list_(pa.float32()), [[0.5, -1.0], [], None]),
]


@pytest.mark.parametrize(("sql_type", "arrow_type", "values"), COLUMNS, ids=[c[0] for c in COLUMNS])
def test_arrow_round_trip(warehouse: Warehouse, sql_type: str, arrow_type: pa.DataType, values: list) -> None:
    warehouse.execute(f"create table t (place integer, v {sql_type})")
    table = pa.table({"place": pa.array([1, 2, 3], pa.int32()), "v": pa.array(values, arrow_type)})
    assert warehouse.copy_in("public", "t", table) == 3
    back = warehouse.read_arrow("select v from t order by place")
    assert back["v"].to_pylist() == values
    assert back["v"].type == arrow_type


def test_numeric_goes_in_as_decimal_and_comes_out_by_a_cast(warehouse: Warehouse) -> None:
    values = [Decimal("12345678901234.5678"), Decimal("-0.0001"), None]
    warehouse.execute("create table t (place integer, v numeric(18,4))")
    table = pa.table({"place": pa.array([1, 2, 3], pa.int32()), "v": pa.array(values, pa.decimal128(18, 4))})
    warehouse.copy_in("public", "t", table)
    assert [r["v"] for r in warehouse.rows("select v from t order by place")] == values
    back = warehouse.read_arrow("select v::text as v from t order by place")["v"].to_pylist()
    assert [None if v is None else Decimal(v) for v in back] == values


def test_copying_a_stream_is_all_or_nothing(warehouse: Warehouse) -> None:
    warehouse.execute("create table t (a bigint)")
    schema = pa.schema([("a", pa.int64())])

    def batches(count: int, fail: bool):  # type: ignore[no-untyped-def]
        for n in range(count):
            yield pa.record_batch([pa.array([n] * 1000)], schema=schema)
        if fail:
            raise RuntimeError("the source broke off")

    with pytest.raises(Exception, match="the source broke off"):
        warehouse.copy_in("public", "t", pa.RecordBatchReader.from_batches(schema, batches(50, True)))
    assert warehouse.scalar("select count(*) from t") == 0
    assert (
        warehouse.copy_in("public", "t", pa.RecordBatchReader.from_batches(schema, batches(5, False))) == 5000
    )


def test_a_large_result_comes_in_batches(warehouse: Warehouse) -> None:
    total = 0
    with warehouse.arrow_reader(
        "select generate_series(1, 300000) as n, 'x' || repeat('y', 100) as t"
    ) as reader:
        sizes = [total := total + batch.num_rows for batch in reader]
    assert total == 300_000
    assert len(sizes) > 1


def test_months_are_made_once_by_many_creators(warehouse: Warehouse) -> None:
    """In opposite order: neither an error nor a deadlock."""
    months = [date(2024, m, 17) for m in range(1, 13)]
    gate = threading.Barrier(4)

    def create(dates: list[date]) -> None:
        gate.wait(10)
        ensure_months(warehouse, "online_event", [d.replace(day=1) for d in dates])

    assert together([lambda d=d: create(d) for d in (months, months[::-1], months[6:], months[:6])]) == []
    names = warehouse.rows(
        "select inhrelid::regclass::text as n, pg_get_expr(relpartbound, c.oid) as bound "
        "from pg_inherits i join pg_class c on c.oid = inhrelid "
        "where inhparent = 'raw.online_event'::regclass order by 1"
    )
    assert [n["n"] for n in names] == [f"raw.online_event_2024_{m:02d}" for m in range(1, 13)]
    assert names[11]["bound"] == "FOR VALUES FROM ('2024-12-01') TO ('2025-01-01')"


def together(calls: list[Callable[[], None]]) -> list[Exception]:
    errors: list[Exception] = []

    def run(call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive()
    return errors


SESSION = "select pg_backend_pid()"


def test_a_connection_is_used_again(settings: Settings) -> None:
    assert len({open_warehouse(settings).scalar(SESSION) for _ in range(5)}) == 1


def test_a_connection_that_was_ended_is_opened_anew(warehouse: Warehouse) -> None:
    ended = warehouse.scalar(SESSION)
    warehouse.read_arrow("select 1 as a")
    other = Warehouse(warehouse.url.set(database="postgres"))
    other.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity where datname = :d", d=warehouse.url.database
    )
    assert warehouse.scalar(SESSION) != ended
    assert warehouse.read_arrow("select 1 as a").to_pylist() == [{"a": 1}]


def test_a_forked_process_opens_its_own(warehouse: Warehouse) -> None:
    def seen() -> set[int]:
        return {warehouse.scalar(SESSION), warehouse.read_arrow(f"{SESSION} as pid")["pid"][0].as_py()}

    before = warehouse.scalar(SESSION)
    seen()
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        # Whatever happens, it must not go on with the other tests.
        try:
            os.write(writer, json.dumps(sorted(seen())).encode())
        finally:
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        of_child = set(json.loads(answer.read()))
    os.waitpid(child, 0)
    assert len(of_child) == 2
    assert before not in of_child
    assert warehouse.scalar(SESSION) == before
    assert len(seen()) == 2
