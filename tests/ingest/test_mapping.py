"""How a source's columns become the contract's."""

from collections.abc import Callable
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.errors import PortraitError

from .conftest import source, sources_yaml, write_csv


@pytest.mark.parametrize(
    ("mapping", "cells", "expected"),
    [
        pytest.param("b", {"b": " blue "}, "blue", id="column, trimmed"),
        pytest.param("b", {"b": "  "}, None, id="blank is null"),
        pytest.param({"constant": "x"}, {"b": "1"}, "x", id="constant"),
        pytest.param({"constant": 7}, {"b": "1"}, "7", id="a number as constant"),
        pytest.param({"sql": "upper(b) || '-' || a"}, {"b": "x"}, "X-p1", id="sql"),
        pytest.param(
            {"column": "b", "values": {"m": "male", "f": "female"}}, {"b": "m"}, "male", id="values"
        ),
        pytest.param({"column": "b", "values": {"m": "male"}}, {"b": "x"}, "x", id="an unlisted value stays"),
        pytest.param({"column": "b", "values": {1: "one"}}, {"b": " 1 "}, "one", id="values of numbers"),
        pytest.param({"sql": "b", "values": {"it's": "a 'quote'"}}, {"b": "it's"}, "a 'quote'", id="quotes"),
    ],
)
def test_a_text(
    validate: Callable, tmp_path: Path, mapping: Any, cells: dict[str, str], expected: str | None
) -> None:
    write_csv(tmp_path / "things.csv", [{"a": "p1", **cells}])
    result = validate(sources_yaml(source("product", columns={"sku": "a", "name": mapping})))
    assert result.rows[0]["name"] == expected


SHANGHAI, LONDON = "Asia/Shanghai", "Europe/London"


@pytest.mark.parametrize(
    ("zone", "cell", "keys", "moment", "day"),
    [
        pytest.param(SHANGHAI, "2025-03-01 23:30", {}, (3, 1, 15, 30), date(2025, 3, 1), id="no offset is local"),
        pytest.param(SHANGHAI, "2025-03-01T17:30Z", {}, (3, 1, 17, 30), date(2025, 3, 2), id="Z"),
        pytest.param(SHANGHAI, "2025-03-01T17:30:00.5Z", {}, (3, 1, 17, 30), date(2025, 3, 2), id="fraction"),
        pytest.param(SHANGHAI, "2025-03-01 15:59:59+00", {}, (3, 1, 15, 59), date(2025, 3, 1), id="last second"),
        pytest.param(SHANGHAI, "2025-03-01 09:00-07:00", {}, (3, 1, 16, 0), date(2025, 3, 2), id="an offset"),
        pytest.param(SHANGHAI, "2025-03-01", {}, (2, 28, 16, 0), date(2025, 3, 1), id="a day is its midnight"),
        pytest.param(SHANGHAI, "1740850200", {"format": "epoch_seconds"}, (3, 1, 17, 30), date(2025, 3, 2), id="s"),
        pytest.param(SHANGHAI, "1740850200.0", {"format": "epoch_seconds"}, (3, 1, 17, 30), date(2025, 3, 2), id="s.0"),
        pytest.param(SHANGHAI, "1740850200999", {"format": "epoch_millis"}, (3, 1, 17, 30), date(2025, 3, 2), id="ms"),
        pytest.param(SHANGHAI, "01/03/2025 23.30", {"format": "%d/%m/%Y %H.%M"}, (3, 1, 15, 30), date(2025, 3, 1),
                     id="strptime is local"),
        pytest.param(SHANGHAI, "01/03/2025 17.30 +0000", {"format": "%d/%m/%Y %H.%M %z"}, (3, 1, 17, 30),
                     date(2025, 3, 2), id="strptime with offset"),
        pytest.param(LONDON, "2025-03-01 00:30", {}, (3, 1, 0, 30), date(2025, 3, 1), id="London, winter"),
    ],
)  # fmt: skip
def test_a_moment_and_its_business_date(
    validate: Callable, tmp_path: Path, zone: str, cell: str, keys: dict[str, str],
    moment: tuple[int, int, int, int], day: date,
) -> None:  # fmt: skip
    write_csv(tmp_path / "things.csv", [{"id": "e1", "what": "product_viewed", "at": cell}])
    columns = {"event_id": "id", "event_name": "what", "occurred_at": {"column": "at", **keys}}
    result = validate(sources_yaml(source("online_event", columns=columns), timezone=zone))
    (row,) = result.rows
    assert row["occurred_at"].replace(second=0, microsecond=0) == datetime(2025, *moment, tzinfo=UTC)
    assert row["business_date"] == day


@pytest.mark.parametrize(
    ("cell", "utc"),
    [
        # Clocks in London go forward on 2025-03-30 at 01:00 UTC and back on 2025-10-26 at 01:00 UTC.
        ("2025-03-29 23:30", datetime(2025, 3, 29, 23, 30, tzinfo=UTC)),
        ("2025-03-30 23:30", datetime(2025, 3, 30, 22, 30, tzinfo=UTC)),
        ("2025-10-25 23:30", datetime(2025, 10, 25, 22, 30, tzinfo=UTC)),
        ("2025-10-26 23:30", datetime(2025, 10, 26, 23, 30, tzinfo=UTC)),
        ("2025-07-01T23:30Z", datetime(2025, 7, 1, 23, 30, tzinfo=UTC)),
    ],
)
def test_summer_time(validate: Callable, tmp_path: Path, cell: str, utc: datetime) -> None:
    write_csv(tmp_path / "things.csv", [{"id": "e1", "what": "product_viewed", "at": cell}])
    columns = {"event_id": "id", "event_name": "what", "occurred_at": "at"}
    text = sources_yaml(source("online_event", columns=columns), timezone=LONDON)
    (row,) = validate(text, as_of=date(2026, 1, 1)).rows
    assert row["occurred_at"] == utc
    local = date(2025, 7, 2) if cell.endswith("Z") else date.fromisoformat(cell[:10])
    assert row["business_date"] == local


def test_a_source_may_have_its_own_time_zone(validate: Callable, tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", [{"id": "e1", "what": "product_viewed", "at": "2025-03-01 23:30"}])
    columns = {"event_id": "id", "event_name": "what", "occurred_at": "at"}
    text = sources_yaml(source("online_event", columns=columns, timezone="America/New_York"))
    (row,) = validate(text).rows
    assert row["occurred_at"] == datetime(2025, 3, 2, 4, 30, tzinfo=UTC)
    assert row["business_date"] == date(2025, 3, 1)


@pytest.mark.parametrize(
    ("mapping", "cell", "expected"),
    [
        ("at", "2020-01-31", date(2020, 1, 31)),
        ("at", "2020-01-31 08:00", date(2020, 1, 31)),
        ({"column": "at", "format": "%Y%m%d"}, "20200131", date(2020, 1, 31)),
        # 17:30 UTC is the next day in Shanghai.
        ({"column": "at", "format": "epoch_seconds"}, "1740850200", date(2025, 3, 2)),
        ({"column": "at", "format": "epoch_millis"}, "1740850200000", date(2025, 3, 2)),
    ],
)
def test_a_date(validate: Callable, tmp_path: Path, mapping: Any, cell: str, expected: date) -> None:
    write_csv(tmp_path / "things.csv", [{"a": "p1", "at": cell}])
    (row,) = validate(sources_yaml(source("product", columns={"sku": "a", "launched_on": mapping}))).rows
    assert row["launched_on"] == expected


@pytest.mark.parametrize("cell", ["1e300", "nan", "inf", "soon"])
@pytest.mark.parametrize("form", ["epoch_seconds", "epoch_millis", "%Y"])
def test_a_moment_that_is_none(validate: Callable, tmp_path: Path, form: str, cell: str) -> None:
    write_csv(tmp_path / "things.csv", [{"id": "e1", "what": "product_viewed", "at": cell}])
    columns = {"event_id": "id", "event_name": "what", "occurred_at": {"column": "at", "format": form}}
    result = validate(sources_yaml(source("online_event", columns=columns)))
    assert result.codes == ["bad_timestamp:occurred_at"]


@pytest.mark.parametrize(
    "name", ["line", "row_number", "file_number", "source", "payload", "reason_code", "batch"]
)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_column_may_have_any_name(validate: Callable, tmp_path: Path, form: str, name: str) -> None:
    if form == "csv":
        write_csv(tmp_path / "things.csv", [{"a": "p1", name: "5", "x": "1"}, {"a": "", name: "6", "x": "1"}])
    else:
        (tmp_path / "things.jsonl").write_text(f'{{"a": "p1", "{name}": 5}}\n{{"a": "", "{name}": 6}}\n')
    columns = {"sku": "a", "list_price": name}
    result = validate(sources_yaml(source("product", columns=columns, format=form, path=f"things.{form}")))
    assert [r["list_price"] for r in result.rows] == [Decimal(5)]
    assert result.codes == ["missing:sku"]


def test_a_name_with_quotes(validate: Callable, tmp_path: Path) -> None:
    name = 'the "best" \\ name'
    write_csv(tmp_path / "things.csv", [{name: "p1"}])
    assert validate(sources_yaml(source("product", columns={"sku": name}))).rows[0]["sku"] == "p1"
    (tmp_path / "things.jsonl").write_text('{"the \\"best\\" \\\\ name": "p1"}\n')
    keys = {"format": "jsonl", "path": "things.jsonl"}
    assert validate(sources_yaml(source("product", columns={"sku": name}, **keys))).rows[0]["sku"] == "p1"


def test_json_values_of_every_type(validate: Callable, tmp_path: Path) -> None:
    (tmp_path / "things.jsonl").write_text(
        '{"a": 17, "b": null, "price": 4.50, "SKU": "other case"}\n'
        '{"a": "18", "b": {"x": [1]}}\n{"a": true, "b": "茶 \\u8336"}\n'
    )
    keys = {"format": "jsonl", "path": "things.jsonl"}
    columns = {
        "sku": "a",
        "name": "b",
        "list_price": "price",
        "brand": "sku",
        "gtin": {"sql": "upper(never)"},
    }
    rows = validate(sources_yaml(source("product", columns=columns, **keys))).rows
    assert [(r["sku"], r["name"], r["list_price"], r["brand"], r["gtin"]) for r in rows] == [
        ("17", None, Decimal("4.5"), None, None),
        ("18", '{"x":[1]}', None, None, None),
        ("true", "茶 茶", None, None, None),
    ]


def test_parquet_types_are_used_as_they_are(validate: Callable, tmp_path: Path) -> None:
    table = pa.table(
        {
            "id": pa.array([1, 2]),
            "what": pa.array(["product_viewed"] * 2).dictionary_encode(),
            "at": pa.array([datetime(2025, 3, 1, 23, 30)] * 2, pa.timestamp("ns")),  # noqa: DTZ001
            "qty": pa.array([2.0, None]),
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    aware = table.set_column(2, "at", pa.array([datetime(2025, 3, 1, 17, 30, tzinfo=UTC)] * 2))
    pq.write_table(aware.set_column(0, "id", pa.array(["3", "4"])), tmp_path / "b.parquet")
    columns = {"event_id": "id", "event_name": "what", "occurred_at": "at", "quantity": {"sql": "qty * 2"}}
    text = sources_yaml(source("online_event", columns=columns, format="parquet", path="*.parquet"))
    rows = validate(text).rows
    assert [(r["event_id"], r["quantity"], r["business_date"].day) for r in rows] == [
        ("1", 4, 1), ("2", None, 1), ("3", 4, 2), ("4", None, 2),
    ]  # fmt: skip
    assert rows[0]["occurred_at"] == datetime(2025, 3, 1, 15, 30, tzinfo=UTC)


def test_where_picks_the_rows_of_an_entity(validate: Callable, tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", [{"a": f"p{n}", "b": b} for n, b in enumerate(["x", "y", "", "x"])])
    result = validate(sources_yaml(source("product", columns={"sku": "a"}, where="nullif(b, '') = 'x'")))
    assert [r["sku"] for r in result.rows] == ["p0", "p3"]
    assert (result.tally.read, result.tally.skipped) == (4, 2)


def test_columns_of_an_older_file_may_be_others(validate: Callable, tmp_path: Path) -> None:
    write_csv(tmp_path / "things1.csv", [{"a": "p1", "old": "1"}])
    write_csv(tmp_path / "things2.csv", [{"new": "2", "a": "p2"}])
    write_csv(tmp_path / "things3.csv", [{"a": "p3", "old": "1"}])
    rows = validate(sources_yaml(source("product", columns={"sku": "a"}))).rows
    assert [r["sku"] for r in rows] == ["p1", "p2", "p3"]


@pytest.mark.parametrize(
    ("rows", "same"),
    [
        ([{"a": "x|y", "b": "z"}, {"a": "x", "b": "y|z"}], False),
        ([{"a": "x\\", "b": "|z"}, {"a": "x\\|", "b": "z"}], False),
        ([{"a": " x", "b": "z"}, {"a": "x", "b": "z "}], True),
        ([{"a": "k" * 3000, "b": "z"}, {"a": "k" * 3001, "b": "z"}], False),
    ],
)
def test_keys_differ_when_their_parts_do(
    validate: Callable, tmp_path: Path, rows: list[dict[str, str]], same: bool
) -> None:
    write_csv(tmp_path / "things.csv", rows)
    result = validate(sources_yaml(source("product", columns={"sku": {"constant": "p"}}, key=["a", "b"])))
    keys = [r["source_row_id"] for r in result.rows]
    assert (keys[0] == keys[1]) is same
    assert all(len(k) < 600 for k in keys)


def test_a_key_of_one_column_is_that_column(validate: Callable, tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", [{"a": "x|y"}, {"a": ""}])
    result = validate(sources_yaml(source("product", columns={"sku": {"constant": "p"}}, key=["a"])))
    assert [r["source_row_id"] for r in result.rows] == ["x|y"]
    assert result.codes == ["missing:key"]


def message(validate: Callable, **keys: Any) -> str:
    with pytest.raises(PortraitError) as caught:
        validate(sources_yaml(source("product", **keys)))
    assert len(str(caught.value).splitlines()) == 1
    return str(caught.value)


def test_a_column_that_the_file_lacks(validate: Callable, tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", [{"article": "p1", "name": "x"}])
    path = tmp_path / "things.csv"
    assert message(validate, columns={"sku": "artcle"}) == (
        f"{path}: no column 'artcle' (sources[things].columns.sku); did you mean 'article'?"
    )
    assert message(validate, columns={"sku": "article"}, key=["zzz"]) == (
        f"{path}: no column 'zzz' (sources[things].key); it has article, name"
    )


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        ({"columns": {"sku": {"sql": "uper(a)"}}}, "uper"),
        ({"columns": {"sku": {"sql": "upper(a"}}}, "syntax error"),
        ({"columns": {"sku": {"sql": "upper(bb)"}}}, '"bb" not found'),
        ({"columns": {"sku": "a"}, "where": "a ="}, "syntax error"),
        (
            {"columns": {"sku": "a"}, "reject": [{"code": "x", "when": "nothing > 1", "reason": "r"}]},
            '"nothing"',
        ),
        ({"columns": {"sku": {"sql": "(select content from read_text('/etc/passwd'))"}}}, "disabled"),
    ],
)
def test_a_wrong_expression_is_refused_in_duckdbs_words(
    validate: Callable, tmp_path: Path, keys: dict[str, Any], words: str
) -> None:
    write_csv(tmp_path / "things.csv", [{"a": "p1", "b": "x"}])
    text = message(validate, **keys)
    assert text.startswith("sources[things]: an sql expression does not work: ")
    assert words in text


def test_an_expression_that_fails_on_a_row_shows_no_value(validate: Callable, tmp_path: Path) -> None:
    write_csv(tmp_path / "things.csv", [{"a": "13800138000x", "b": "x"}])
    text = message(validate, columns={"sku": {"sql": "cast(a as bigint) + 1"}})
    assert text.startswith("sources[things]: an sql expression failed on a row: ")
    assert "try_cast" in text
    assert "13800138000" not in text
