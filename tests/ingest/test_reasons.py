"""Every reason for which a row is refused, met by a row."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from portrait.contracts import CONTRACTS
from portrait.ingest.reasons import _SENTENCES

from .conftest import GOOD, source, sources_yaml

CASES: list[tuple[str, dict[str, str], str]] = [
    ("online_event", {"event_name": ""}, "missing:event_name"),
    ("online_event", {"event_name": "   "}, "missing:event_name"),
    ("online_event", {"event_id": ""}, "missing:key"),
    ("online_event", {"occurred_at": ""}, "missing:occurred_at"),
    ("online_event", {"occurred_at": "yesterday"}, "bad_timestamp:occurred_at"),
    ("online_event", {"occurred_at": "2025-02-30 10:00"}, "bad_timestamp:occurred_at"),
    ("online_event", {"occurred_at": "infinity"}, "bad_timestamp:occurred_at"),
    ("online_event", {"occurred_at": "1969-12-31 23:00"}, "implausible_date:occurred_at"),
    ("online_event", {"event_name": "order"}, "unknown_value:event_name"),
    ("online_event", {"quantity": "two"}, "bad_decimal:quantity"),
    ("online_event", {"quantity": "1e30"}, "bad_decimal:quantity"),
    ("online_event", {"quantity": "-1"}, "too_small:quantity"),
    ("online_event", {"rating": "-0.5"}, "too_small:rating"),
    ("online_event", {"sku": ""}, "check:order_without_item"),
    ("online_event", {"quantity": ""}, "check:order_without_item"),
    ("online_event", {"amount": "-9"}, "check:negative_amount"),
    ("online_event", {"order_id": "o\0"}, "bad_text:order_id"),
    ("pos_receipt", {"business_date": "2025-02-30"}, "bad_date:business_date"),
    ("pos_receipt", {"business_date": "infinity"}, "bad_date:business_date"),
    ("pos_receipt", {"business_date": "1970-01-01"}, "implausible_date:business_date"),
    ("pos_receipt", {"sequence_number": "7.5"}, "bad_integer:sequence_number"),
    ("pos_receipt", {"sequence_number": "seven"}, "bad_integer:sequence_number"),
    ("pos_receipt", {"sequence_number": "99999999999999999999"}, "bad_integer:sequence_number"),
    ("pos_receipt", {"sequence_number": "-7"}, "too_small:sequence_number"),
    ("pos_receipt", {"kind": "SALE"}, "unknown_value:kind"),
    ("pos_receipt", {"total_amount": "-10"}, "check:receipt_sign"),
    ("pos_receipt", {"kind": "return"}, "check:receipt_sign"),
    ("pos_receipt_line", {"line_amount": "10.02"}, "check:line_total"),
    ("pos_receipt_line", {"sku": ""}, "missing:sku"),
    ("member", {"card": ""}, "check:no_identifier"),
    ("member", {"birth_date": "28.2.1990"}, "bad_date:birth_date"),
    ("product", {"list_price": "free"}, "bad_decimal:list_price"),
    ("store", {"city_tier": "first"}, "bad_integer:city_tier"),
    ("consent_event", {"granted": "maybe"}, "bad_boolean:granted"),
    ("consent_event", {"granted": ""}, "missing:granted"),
    ("consent_event", {"account_id": ""}, "check:no_identifier"),
]


@pytest.mark.parametrize("entity", GOOD)
def test_a_good_row_is_accepted(one_row: Callable, entity: str) -> None:
    result = one_row(entity)
    assert result.codes == []
    assert len(result.rows) == 1


@pytest.mark.parametrize(("entity", "changes", "code"), CASES)
def test_a_bad_cell(one_row: Callable, entity: str, changes: dict[str, str], code: str) -> None:
    result = one_row(entity, changes)
    assert result.codes == [code]
    assert result.rows == []
    (row,) = result.rejected
    assert row["row_number"] == 1
    assert Path(row["path"]).name == "things.csv"


@pytest.mark.parametrize(
    ("entity", "changes"),
    [
        ("online_event", {"event_name": "product_viewed", "sku": "", "quantity": ""}),
        ("online_event", {"quantity": " 2.0 "}),
        ("pos_receipt", {"sequence_number": "7.0"}),
        ("pos_receipt", {"kind": "return", "total_amount": "-10"}),
        ("pos_receipt", {"kind": "return", "total_amount": "0"}),
        ("pos_receipt", {"business_date": "1970-01-02"}),
        ("pos_receipt_line", {"line_amount": "10.01"}),
        ("pos_receipt_line", {"line_amount": "", "discount_amount": ""}),
        ("pos_receipt_line", {"quantity": "-3", "line_amount": "-14"}),
        ("consent_event", {"granted": "0"}),
        ("member", {"card": "", "email": "a@b.cn"}),
    ],
)
def test_a_cell_at_the_edge_is_accepted(one_row: Callable, entity: str, changes: dict[str, str]) -> None:
    assert one_row(entity, changes).codes == []


def test_a_maximum(one_row: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    product = CONTRACTS["product"]
    columns = tuple(replace(c, maximum=100) if c.name == "list_price" else c for c in product.columns)
    monkeypatch.setitem(CONTRACTS, "product", replace(product, columns=columns))
    assert one_row("product", {"list_price": "100.01"}).codes == ["too_large:list_price"]
    assert one_row("product", {"list_price": "100"}).codes == []


def test_a_row_dated_after_its_delivery(one_row: Callable) -> None:
    path = "things_{business_date}.csv"
    assert one_row("online_event", {"occurred_at": "2025-03-02 00:00"}, path=path).codes == [
        "future_date:occurred_at"
    ]
    assert one_row("online_event", {"occurred_at": "2025-03-01 23:59:59.999"}, path=path).codes == []


def test_a_row_dated_after_its_file_was_written(one_row: Callable) -> None:
    """Nobody knew of it then: a till's clock is wrong. It must not wait for its day."""
    assert one_row("online_event", {"occurred_at": "2099-01-01"}).codes == ["future_date:occurred_at"]


def test_another_currency_than_the_retailers(one_row: Callable) -> None:
    result = one_row(
        "pos_receipt", {"currency": "USD"}, columns={c: c for c in [*GOOD["pos_receipt"], "currency"]}
    )
    assert result.codes == ["other_currency:currency"]


def test_a_rule_of_the_source(one_row: Callable) -> None:
    rule = {"code": "test_order", "when": "account_id = 'a1'", "reason": "orders of the test account"}
    result = one_row("online_event", reject=[rule])
    assert result.codes == ["rule:test_order"]
    assert result.rejected[0]["reason"] == "orders of the test account"


def test_a_rule_comes_before_the_contract(one_row: Callable) -> None:
    rule = {"code": "odd", "when": "quantity = 'two'", "reason": "odd"}
    assert one_row("online_event", {"quantity": "two"}, reject=[rule]).codes == ["rule:odd"]


def test_a_nul_in_the_key(one_row: Callable) -> None:
    assert one_row("online_event", {"device_id": "d\0"}, key=["device_id"]).codes == ["bad_text:device_id"]
    columns = {k: k for k in GOOD["online_event"] if k != "device_id"}
    result = one_row("online_event", {"device_id": "d\0"}, key=["device_id"], columns=columns)
    assert result.codes == ["bad_text:key"]


def test_lines_that_are_no_rows(validate: Callable, tmp_path: Path) -> None:
    (tmp_path / "things.csv").write_text("sku,list_price,launched_on\np1,4.5\np2,1,2020-01-01\n\np3,4,,\n")
    result = validate(sources_yaml(source("product")))
    assert [(r["reason_code"], r["row_number"], r["reason"]) for r in result.rejected] == [
        (
            "bad_line:columns",
            1,
            "the line does not have the header's number of columns: 3 columns expected, 2 found",
        ),
        (
            "bad_line:columns",
            3,
            "the line does not have the header's number of columns: 3 columns expected, 4 found",
        ),
    ]
    assert [r["sku"] for r in result.rows] == ["p2"]


@pytest.mark.parametrize("where", [None, "sku is not null"])
def test_lines_that_are_no_json(validate: Callable, tmp_path: Path, where: str | None) -> None:
    """They are refused whatever `where` says: nobody knows which entity they were."""
    lines = ['{"sku": "p1"}', '{"sku": "p2"', "[1]", "null", '{"sku": "\x01"}', '{"sku": "p6"}']
    (tmp_path / "things.jsonl").write_text("\n".join(lines) + "\n")
    keys: dict[str, Any] = {"format": "jsonl", "path": "things.jsonl", "columns": {"sku": "sku"}}
    result = validate(sources_yaml(source("product", **keys, **({"where": where} if where else {}))))
    assert sorted((r["row_number"], r["reason_code"]) for r in result.rejected) == [
        (n, "bad_json:line") for n in (2, 3, 4, 5)
    ]
    assert [r["sku"] for r in result.rows] == ["p1", "p6"]


def test_every_kind_of_reason_is_met_above() -> None:
    met = {code.partition(":")[0] for _, _, code in CASES}
    met |= {"too_large", "future_date", "rule", "bad_line", "bad_json", "other_currency"}
    assert met - {"check", "rule"} == set(_SENTENCES)
    checks = {check.code for contract in CONTRACTS.values() for check in contract.checks}
    assert {code.partition(":")[2] for _, _, code in CASES if code.startswith("check:")} == checks


@pytest.mark.parametrize(
    ("entity", "changes", "sentence"),
    [
        ("online_event", {"event_id": ""}, "the natural key is required and is empty"),
        ("online_event", {"quantity": "two"}, "quantity is not a number"),
        (
            "online_event",
            {"event_name": "order"},
            "event_name is not one of its allowed values: product_viewed, products_searched, product_added, "
            "product_favorited, product_shared, product_reviewed, order_completed, order_refunded",
        ),
        (
            "consent_event",
            {"purpose": "newsletter"},
            "purpose is not one of its allowed values: analytics, personalised_recommendation, marketing_email, "
            "marketing_sms, ad_audience, profiling_inference",
        ),
        ("online_event", {"sku": ""}, "an order line needs a sku and a quantity"),
        ("consent_event", {"granted": "maybe"}, "granted is neither true nor false"),
    ],
)
def test_a_reason_is_a_sentence(
    one_row: Callable, entity: str, changes: dict[str, str], sentence: str
) -> None:
    assert one_row(entity, changes).rejected[0]["reason"] == sentence


def test_a_source_with_other_words_for_a_purpose_maps_them(one_row: Callable) -> None:
    columns = {
        "consent_id": "consent_id",
        "account_id": "account_id",
        "purpose": {"column": "purpose", "values": {"newsletter": "marketing_email"}},
        "granted": "granted",
        "occurred_at": "occurred_at",
        "evidence": {"constant": "web form 3"},
    }
    (row,) = one_row("consent_event", {"purpose": "newsletter"}, columns=columns).rows
    assert (row["purpose"], row["evidence"]) == ("marketing_email", "web form 3")
