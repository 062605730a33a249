"""What each canonical entity must look like before it may enter `raw.*`.

One declaration serves the configuration check (does a mapping name real columns?), the validation of rows,
and a test that the Alembic migrations create the same columns.
"""

from dataclasses import dataclass
from typing import Literal

from portrait.purposes import CODES

Type = Literal["text", "timestamp", "date", "integer", "decimal", "boolean"]
Pii = Literal["card", "phone", "email", "payment", "name", "address"]

EVENT_NAMES = (
    "product_viewed",
    "products_searched",
    "product_added",
    "product_favorited",
    "product_shared",
    "product_reviewed",
    "order_completed",
    "order_refunded",
)


@dataclass(frozen=True)
class Column:
    """One column of a contract.

    `pii` columns are mapped from clear text (``phone``) and stored as a keyed hash (``phone_hash``); names and
    addresses (`sealed`) are not in `raw` at all, but encrypted in `pii`.
    `minimum`/`maximum` are inclusive; `values` lists the allowed values.
    """

    name: str
    type: Type = "text"
    required: bool = False
    pii: Pii | None = None
    values: tuple[str, ...] = ()
    minimum: float | None = None
    maximum: float | None = None

    @property
    def sealed(self) -> bool:
        return self.pii in ("name", "address")

    @property
    def stored_as(self) -> str:
        """Its column in `raw`; a sealed one has none."""
        return f"{self.pii}_hash" if self.pii else self.name


@dataclass(frozen=True)
class Check:
    """A rule over several columns; `sql` is a DuckDB predicate that must not be false."""

    code: str
    sql: str
    sentence: str


@dataclass(frozen=True)
class Contract:
    """An entity: its columns, natural key (target column names) and cross-field checks.

    `dated_by` names the timestamp or date that gives a row its business date; entities without one
    (products, stores) carry the business date of the delivery and are kept in one unpartitioned table.
    """

    entity: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partitioned: bool
    dated_by: str | None = None
    checks: tuple[Check, ...] = ()

    def column(self, name: str) -> Column:
        return next(c for c in self.columns if c.name == name)

    @property
    def stored(self) -> tuple[Column, ...]:
        """The columns that are in `raw`."""
        return tuple(c for c in self.columns if not c.sealed)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(c.name for c in self.columns)


_ORDER_NEEDS_ITEM = Check(
    "order_without_item",
    "event_name not in ('order_completed', 'order_refunded') or (sku is not null and quantity is not null)",
    "an order line needs a sku and a quantity",
)
_AMOUNT_SIGN = Check(
    "negative_amount",
    "amount is null or amount >= 0",
    "amount must not be negative: a refund is its own event, with a positive amount",
)
_LINE_TOTAL = Check(
    "line_total",
    "line_amount is null or unit_price is null or "
    "abs(line_amount - (quantity * unit_price - coalesce(discount_amount, 0))) <= 0.011",
    "line_amount must be quantity x unit_price - discount_amount, within a cent",
)
_RECEIPT_SIGN = Check(
    "receipt_sign",
    "total_amount is null or kind is null or (kind = 'sale') = (total_amount >= 0) or total_amount = 0",
    "a sale has a positive and a return a negative total",
)
_SOME_IDENTIFIER = Check(
    "no_identifier",
    "card is not null or account_id is not null or phone is not null or email is not null",
    "a member needs a card, an account, a phone or an email",
)

# Which of two versions of a row is the newer one.
_UPDATED_AT = Column("updated_at", "timestamp")

_RECEIPT_KEY = (
    Column("store_id", required=True),
    Column("workstation_id", required=True),
    Column("sequence_number", "integer", required=True, minimum=0),
    Column("business_date", "date", required=True),
)

CONTRACTS: dict[str, Contract] = {
    c.entity: c
    for c in (
        Contract(
            "online_event",
            (
                Column("event_id"),
                Column("event_name", required=True, values=EVENT_NAMES),
                Column("occurred_at", "timestamp", required=True),
                Column("account_id"),
                Column("device_id"),
                Column("session_id"),
                Column("card", pii="card"),
                Column("phone", pii="phone"),
                Column("email", pii="email"),
                Column("sku"),
                Column("search_query"),
                Column("quantity", "decimal", minimum=0),
                Column("unit_price", "decimal", minimum=0),
                Column("amount", "decimal"),
                Column("currency"),
                Column("order_id"),
                Column("rating", "decimal", minimum=0),
                Column("payment_token", pii="payment"),
                Column("channel"),
                Column("store_id"),
                _UPDATED_AT,
            ),
            key=("event_id",),
            partitioned=True,
            dated_by="occurred_at",
            checks=(_ORDER_NEEDS_ITEM, _AMOUNT_SIGN),
        ),
        Contract(
            "pos_receipt",
            (
                *_RECEIPT_KEY,
                Column("occurred_at", "timestamp", required=True),
                Column("card", pii="card"),
                Column("phone", pii="phone"),
                Column("payment_token", pii="payment"),
                Column("kind", required=True, values=("sale", "return")),
                Column("total_amount", "decimal", required=True),
                Column("currency"),
                _UPDATED_AT,
            ),
            key=("store_id", "workstation_id", "sequence_number", "business_date"),
            partitioned=True,
            dated_by="business_date",
            checks=(_RECEIPT_SIGN,),
        ),
        Contract(
            "pos_receipt_line",
            (
                *_RECEIPT_KEY,
                Column("line_number", "integer", required=True, minimum=0),
                Column("sku", required=True),
                Column("quantity", "decimal", required=True),
                Column("unit_price", "decimal", minimum=0),
                Column("discount_amount", "decimal"),
                Column("line_amount", "decimal"),
                _UPDATED_AT,
            ),
            key=("store_id", "workstation_id", "sequence_number", "business_date", "line_number"),
            partitioned=True,
            dated_by="business_date",
            checks=(_LINE_TOTAL,),
        ),
        Contract(
            "member",
            (
                Column("member_id", required=True),
                Column("account_id"),
                Column("card", pii="card"),
                Column("phone", pii="phone"),
                Column("email", pii="email"),
                Column("name", pii="name"),
                Column("address", pii="address"),
                Column("gender"),
                Column("birth_date", "date"),
                Column("region"),
                Column("city"),
                Column("level"),
                Column("home_store"),
                Column("occurred_at", "timestamp"),
                _UPDATED_AT,
            ),
            key=("member_id",),
            partitioned=False,
            checks=(_SOME_IDENTIFIER,),
        ),
        Contract(
            "product",
            (
                Column("sku", required=True),
                Column("gtin"),
                Column("name"),
                Column("name_zh"),
                Column("brand"),
                Column("category_1"),
                Column("category_2"),
                Column("category_3"),
                Column("list_price", "decimal", minimum=0),
                Column("launched_on", "date"),
                _UPDATED_AT,
            ),
            key=("sku",),
            partitioned=False,
        ),
        Contract(
            "store",
            (
                Column("store_id", required=True),
                Column("name"),
                Column("region"),
                Column("city"),
                Column("city_tier", "integer"),
                Column("opened_on", "date"),
                _UPDATED_AT,
            ),
            key=("store_id",),
            partitioned=False,
        ),
        Contract(
            "consent_event",
            (
                Column("consent_id", required=True),
                Column("account_id"),
                Column("card", pii="card"),
                Column("phone", pii="phone"),
                Column("email", pii="email"),
                Column("purpose", required=True, values=CODES),
                Column("granted", "boolean", required=True),
                Column("occurred_at", "timestamp", required=True),
                Column("evidence"),
                _UPDATED_AT,
            ),
            key=("consent_id",),
            partitioned=True,
            dated_by="occurred_at",
            checks=(_SOME_IDENTIFIER,),
        ),
    )
}
