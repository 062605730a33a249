"""The size, the dirt and the dates of a simulated retailer."""

import json
from dataclasses import asdict, dataclass, field, fields
from datetime import date
from typing import Literal

from portrait.errors import PortraitError

FEWEST_PRODUCTS = 96  # two a second-level category


@dataclass(frozen=True)
class Dirt:
    """How often each kind of real-world dirt is planted; every value is a share between 0 and 1.

    Attributes
    ----------
    missing_birth_date, missing_gender
        Of member and account rows.
    impossible_age
        Of member and account rows: born in 1900 or in a future year.
    missing_phone, missing_email
        Of member and account rows.
    missing_name, missing_address
        Of member and account rows.
    odd_name
        Of member and account rows: the given name or all of it in pinyin, the parts in the other order, one wrong
        character.
    odd_address
        Of member and account rows: the city, the number or the room left out.
    odd_format
        Of phones (spaces, dashes, +86) and emails (upper case, blanks around) in members, accounts, receipts.
    second_phone
        Of the people with card and account: the account has another phone than the card.
    linked_card
        Of the people with card and account: the account carries the card number.
    duplicate_events
        Of online events: delivered twice, on the same day or on the next.
    late
        Of online events and of receipts (with their lines): delivered 1-7 days late.
    refunds
        Of online orders and of store receipts: given back 1-7 days later.
    bad_rows
        Of online events, receipts and receipt lines: a spoilt copy of a good row is delivered beside it.
    shared_device
        Of the households where two people have an account: both use one device.
    till_phone
        Of receipts: the store's own phone is typed in.
    anonymous_receipts
        Of receipts: without a card number, most of them by people who have none.
    logged_out
        Of browsing sessions: without an account, only a device.
    recycled_phone
        Of people: they join after the start with the number of somebody who joined long before it and is gone.
    email_typo
        Of emails in member and account rows: two letters are swapped.
    """

    missing_birth_date: float = 0.30
    missing_gender: float = 0.30
    impossible_age: float = 0.005
    missing_phone: float = 0.10
    missing_email: float = 0.30
    missing_name: float = 0.08
    missing_address: float = 0.25
    odd_name: float = 0.15
    odd_address: float = 0.20
    odd_format: float = 0.08
    second_phone: float = 0.06
    linked_card: float = 0.30
    duplicate_events: float = 0.01
    late: float = 0.01
    refunds: float = 0.03
    bad_rows: float = 0.002
    shared_device: float = 0.05
    till_phone: float = 0.02
    anonymous_receipts: float = 0.35
    logged_out: float = 0.25
    recycled_phone: float = 0.0
    email_typo: float = 0.0

    def __post_init__(self) -> None:
        for each in fields(self):
            share = getattr(self, each.name)
            if not 0 <= share <= 1:
                raise PortraitError(f"Dirt.{each.name} is {share}; give a share between 0 and 1.")


@dataclass(frozen=True)
class Retailer:
    """A retailer whose whole life follows from these values.

    Attributes
    ----------
    customers
        People known to the retailer by a card or an account; a quarter of them join after `start`.
    products, stores
        Sizes of the assortment and of the chain.
    start
        First business date (Asia/Shanghai).
    history_days
        The span over which joining, leaving and launches are spread and volumes are calibrated. Simulating
        past it is fine.
    seed
        The same seed gives the same bytes.
    events_per_customer_day
        Online events a day divided by `customers`, on average over the history.
    receipts_per_customer_day
        Store receipts, anonymous ones included, a day divided by `customers`.
    app_format
        Format of the app's events; `parquet` for large sizes.
    dirt
        Rates of dirt.

    Raises
    ------
    PortraitError
        For a size that is too small or too large.
    """

    customers: int = 3000
    products: int = 600
    stores: int = 12
    start: date = date(2025, 1, 1)
    history_days: int = 180
    seed: int = 7
    events_per_customer_day: float = 0.6
    receipts_per_customer_day: float = 0.06
    app_format: Literal["jsonl", "parquet"] = "jsonl"
    dirt: Dirt = field(default_factory=Dirt)

    def __post_init__(self) -> None:
        limits = {
            "customers": (1, 50_000_000),
            "products": (FEWEST_PRODUCTS, 100_000),
            "stores": (1, 10_000),
            "history_days": (1, 10_000),
            "seed": (0, 2**32 - 1),
            "events_per_customer_day": (0, 50),
            "receipts_per_customer_day": (0, 1),
        }
        for name, (low, high) in limits.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise PortraitError(f"Retailer.{name} is {value}; give a value from {low} to {high}.")
        if self.app_format not in ("jsonl", "parquet"):
            raise PortraitError(f"Retailer.app_format is {self.app_format!r}; give 'jsonl' or 'parquet'.")

    def day(self, day: date) -> int:
        """Days since `start`; day 0 is the first.

        Raises
        ------
        PortraitError
            When the date lies before `start`.
        """
        offset = (day - self.start).days
        if offset < 0:
            raise PortraitError(f"The simulated retailer opens on {self.start}; {day} is before that.")
        return offset

    def to_json(self) -> str:
        """The retailer as one JSON object, to tell later whether a folder is of the same retailer."""
        return json.dumps(asdict(self), default=str, indent=2) + "\n"


@dataclass(frozen=True)
class Counts:
    """Rows delivered, dirt included."""

    days: int = 0
    members: int = 0
    accounts: int = 0
    consents: int = 0
    receipts: int = 0
    receipt_lines: int = 0
    app_events: int = 0
    web_events: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, f.name) + getattr(other, f.name) for f in fields(self)))

    @property
    def events(self) -> int:
        """Online events of app and web."""
        return self.app_events + self.web_events
