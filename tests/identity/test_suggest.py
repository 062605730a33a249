"""Probable duplicates: how right the suggestions are on simulated truth, what a decision does, what never leaks.

`pytest tests/identity/test_suggest.py -o log_cli=true -o log_cli_level=INFO` prints the table of docs/review.md.
"""

import io
import json
import logging
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from portrait.config import Settings, load_settings
from portrait.config.review import Review
from portrait.config.settings import CONFIG_DIR
from portrait.errors import PortraitError
from portrait.identity import resolve
from portrait.identity.likeness import address_forms, believable, name_forms, name_parts
from portrait.identity.review import accept, reject, review_table, waterfall_table, why
from portrait.identity.suggest import Suggestions, suggest
from portrait.identity.suggest_input import RECORD, read_records
from portrait.identity.suggest_model import COMPARISONS, default_parameters, score
from portrait.ingest import pull
from portrait.run import Run
from portrait.simulate import Dirt, Retailer, simulate
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from rich.console import Console
from sqlalchemy import URL

log = logging.getLogger(__name__)
DAY = date(2025, 3, 1)


def reviewing(settings: Settings, **review: Any) -> Settings:
    """The settings with other values of `review`."""
    return settings.model_copy(
        update={"identity": settings.identity.model_copy(update={"review": Review(**review)})}
    )


# --- what is compared


@pytest.mark.parametrize(
    ("typed", "parts"),
    [
        ("王小明", ["wang", "xiaoming"]),
        ("王Xiaoming", ["wang", "xiaoming"]),
        ("Wang Xiaoming", ["wang", "xiaoming"]),
        ("Xiaoming WANG", ["xiaoming", "wang"]),
        ("欧阳娜", ["ouyang", "na"]),
        ("Zoë Müller", ["zoe", "muller"]),
        ("王", ["wang"]),
    ],
)
def test_parts_of_a_name(typed: str, parts: list[str]) -> None:
    assert name_parts(typed) == parts


def test_a_name_is_the_same_in_whatever_order_and_script() -> None:
    written = ("王小明", "王Xiaoming", "WANG  Xiaoming", "Xiaoming Wang", "小明王")
    assert len({name_forms(name)["name_key"] for name in written}) == 1
    assert name_forms(" - ")["name_key"] is None
    assert name_forms(None)["name_key"] is None


@pytest.mark.parametrize(
    ("typed", "street", "numbers"),
    [
        ("上海市人民路128号5幢101室", "人民路", ["128", "5", "101"]),
        ("人民路 128号 5幢101室", "人民路", ["128", "5", "101"]),
        ("江苏省南京市人民路128号", "人民路", ["128"]),
        ("128 Nanjing Road", "nanjingroad", ["128"]),
        (None, None, []),
    ],
)
def test_parts_of_an_address(typed: str | None, street: str | None, numbers: list[str]) -> None:
    assert address_forms(typed)[1:] == (street, numbers)


def test_birth_dates_that_are_believed() -> None:
    assert believable(date(1980, 2, 3), DAY) == "1980-02-03"
    assert [believable(d, DAY) for d in (None, date(1900, 1, 1), date(2099, 1, 1), date(2024, 1, 1))] == [
        None
    ] * 4


def test_the_default_model_is_one() -> None:
    parameters = default_parameters()
    for comparison in COMPARISONS:
        for which in (0, 1):
            total = sum(parameters[comparison.column, level.label][which] for level in comparison.levels)
            assert total == pytest.approx(1, abs=0.01), comparison.column


# --- measured on the simulated retailer


@dataclass(frozen=True)
class Measured:
    settings: Settings
    warehouse: Warehouse
    out: Path
    run: Run
    first: Suggestions
    records: pa.Table

    def person_of(self) -> dict[str, str]:
        """person_id by the row id of its card or account."""
        import pandas as pd

        people = pd.read_parquet(self.out / "truth" / "customers.parquet")
        members = pd.read_csv(next((self.out / "members").rglob("*.gz")), dtype=str)
        by_card = members.merge(people[["card_no", "person_id"]], on="card_no")
        return dict(zip(by_card["member_no"], by_card["person_id"], strict=True)) | dict(
            zip(people["account_id"], people["person_id"], strict=True)
        )

    def clear(self) -> set[str]:
        """Names, addresses, phones and e-mails as delivered."""
        import pandas as pd

        members = pd.read_csv(next((self.out / "members").rglob("*.gz")), dtype=str)
        accounts = pd.read_json(next((self.out / "accounts").rglob("*.jsonl")), lines=True, dtype=str)
        return {
            str(v).strip()
            for table in (members, accounts)
            for column in ("name", "address", "phone", "email", "birth_date")
            for v in table[column].dropna()
            if str(v) not in ("None", "nan")
        }


@pytest.fixture(scope="module")
def measured(server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Measured]:
    """Members and accounts of 10,000 customers, resolved; e-mails mistyped, numbers recycled."""
    retailer = Retailer(
        customers=10_000, products=100, stores=12, history_days=30, start=DAY,
        events_per_customer_day=0.02, receipts_per_customer_day=0.002,
        dirt=Dirt(email_typo=0.03, recycled_phone=0.01),
    )  # fmt: skip
    folder = tmp_path_factory.mktemp("suggest")
    out = folder / "retailer"
    simulate(retailer, out, DAY, DAY)
    create_database(server, "portrait_suggest")
    warehouse = Warehouse(server.set(database="portrait_suggest"))
    migrate(warehouse)
    for name in ("identity.yaml", "features.yaml", "model.yaml"):
        shutil.copy(CONFIG_DIR / name, folder)
    sources = (CONFIG_DIR / "sources.yaml").read_text()
    (folder / "sources.yaml").write_text(sources.replace("{simulated}", str(out)))
    settings = load_settings(
        {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_CONFIG_DIR": str(folder),
            "PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False),
            "PORTRAIT_PII_KEY": "test-key",
        }
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("portrait.config.sources.SETTLE_SECONDS", 0.0)
        pull(settings, "members", DAY)
        pull(settings, "accounts", DAY)
    run = Run(f"{DAY}.1", DAY)
    resolve(settings, run)
    root, handler = logging.getLogger(), _Kept()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    first = suggest(settings, run)
    root.setLevel(level)
    root.removeHandler(handler)
    (folder / "log.txt").write_text("\n".join(handler.lines))
    yield Measured(settings, warehouse, out, run, first, read_records(warehouse, settings, DAY))
    warehouse.engine.dispose()


class _Kept(logging.Handler):
    """Everything that was logged, at every level."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def judged(measured: Measured, settings: Settings) -> tuple[list[tuple[float, bool]], int]:
    """Weight and rightness of the likely pairs, and how many people identifiers left in two customers or more."""
    records = measured.records
    person = measured.person_of()
    who = [person[row] for row in records["source_row_id"].to_pylist()]
    customers: dict[str, set[str]] = {}
    for p, c in zip(who, records["customer_id"].to_pylist(), strict=True):
        customers.setdefault(p, set()).add(c)
    missed = sum(len(c) > 1 for c in customers.values())
    scored = score(records, Review(**{**settings.identity.review.model_dump(), "review_from": -8}), 2)  # type: ignore[attr-defined]
    assert scored is not None
    pairs = [
        (sum(s["weight"] for s in scored.waterfall(p)), who[p["place_l"]] == who[p["place_r"]])
        for p in scored.pairs.to_pylist()
    ]
    return pairs, missed


@pytest.mark.parametrize("train_from", [5000, 10**9], ids=["trained", "default model"])
def test_precision_and_what_is_found(measured: Measured, train_from: int) -> None:
    """Above the default threshold hardly a pair is wrong, and most people that identifiers missed are found."""
    pairs, missed = judged(measured, reviewing(measured.settings, train_from=train_from))
    lines = []
    for threshold in (-5, -2, 0, Review().review_from, 5, 10):
        above = [right for weight, right in pairs if weight >= threshold]
        lines.append(
            f"| {threshold:g} | {len(above)} | {sum(above) / len(above):.3f} | {sum(above) / missed:.3f} |"
        )
    log.info("\n%d people missed by identifiers\n| from | pairs | right | found |\n|---:|---:|---:|---:|\n%s", missed, "\n".join(lines))  # fmt: skip
    above = [right for weight, right in pairs if weight >= Review().review_from]
    assert missed > 100
    assert sum(above) / len(above) > 0.93
    assert sum(above) / missed > 0.55


def test_the_night(measured: Measured) -> None:
    assert measured.first.trained
    assert measured.first.likely == measured.first.new == measured.first.open > 60
    assert measured.first.closed == measured.first.linked == 0
    assert measured.first.records > 9000


def test_a_rerun_changes_nothing(measured: Measured) -> None:
    read = "select * from identity.review_queue order by review_id"
    before = measured.warehouse.rows(read)
    again = suggest(measured.settings, measured.run)
    assert (again.new, again.closed, again.likely) == (0, 0, measured.first.likely)
    assert measured.warehouse.rows(read) == before


def test_a_past_run_leaves_the_queue_alone(measured: Measured) -> None:
    past = suggest(measured.settings, Run("2025-02-01.1", DAY - timedelta(days=28)))
    assert (past.records, past.open) == (0, measured.first.open)


def test_the_waterfall_adds_up(measured: Measured) -> None:
    rows = measured.warehouse.rows("select * from identity.review_queue")
    for row in rows:
        assert sum(s["weight"] for s in row["waterfall"]) == pytest.approx(row["match_weight"], abs=5e-4)
        assert row["match_probability"] == pytest.approx(1 / (1 + 2 ** -row["match_weight"]), abs=1e-5)
        assert row["match_weight"] > Review().review_from - 0.01
        assert row["customer_a"] < row["customer_b"]
        assert {"prior", *(c.column for c in COMPARISONS)} == {s["column"] for s in row["waterfall"]}


def test_nothing_in_clear_is_written(measured: Measured) -> None:
    """Not in the queue, in no other table but the delivered birth dates in raw, and in no log line."""
    clear = measured.clear()
    assert len(clear) > 20_000
    queue = json.dumps(measured.warehouse.rows("select * from identity.review_queue"), default=str)
    logged = (measured.out.parent / "log.txt").read_text()
    assert "trained on" in logged
    # identity ids and hashes are long: only values that could not be part of one by chance
    for value in (v for v in clear if len(v) >= 5 or not v.isascii()):
        assert value not in logged, "in the log"
        assert value not in queue, "in the queue"
    labels = {level.label for c in COMPARISONS for level in c.levels}
    labels |= {"any two records"} | {
        f"{c.column} {x}" for c in COMPARISONS for x in ("not known", "rare", "common")
    }
    found = measured.warehouse.rows(
        "select distinct step ->> 'level' as level from identity.review_queue, jsonb_array_elements(waterfall) as step"
    )
    assert {row["level"] for row in found} <= labels
    texts = measured.warehouse.rows(
        "select table_schema, table_name, column_name from information_schema.columns "
        "where data_type in ('text', 'jsonb') and table_schema in ('raw', 'identity', 'ops', 'pii', 'profile', 'public')"
    )
    names = [v for v in clear if not v.isascii()][:400]
    for t in texts:
        hit = measured.warehouse.scalar(
            f'select count(*) from {t["table_schema"]}."{t["table_name"]}" '
            f'where cast("{t["column_name"]}" as text) = any(:v)',
            v=names,
        )
        assert hit == 0, t


# --- decisions, on a handful of records

SOURCES = """
workspace: test
timezone: Asia/Shanghai
currency: CNY
phone_region: CN
sources:
  - name: members
    entity: member
    path: "members_{business_date}.csv"
    format: csv
    columns: {member_id: id, card: card, phone: phone, email: email, name: name, address: address, birth_date: born, city: city}
"""
HEAD = "id,card,phone,email,name,address,born,city\n"
FIRST = (
    "m1,600001,13912340001,,王小明,上海市人民路128号5幢101室,1980-02-03,Shanghai\n"
    "m2,600002,13912340002,,Xiaoming Wang,人民路128号5幢101室,1980-02-03,Shanghai\n"
    "m3,600003,13912340003,,,,1990-01-01,Beijing\n"
    "m4,600004,13912340004,,,,,\n"
    "m5,600005,13912340005,,李娜,成都市中山路1号,1991-05-06,Chengdu\n"
    "m6,600006,13912340006,,李娜,武汉市建设路7号,1975-11-30,Wuhan\n"
)


@dataclass
class Shop:
    """A shop of a few members: deliver a day, resolve it, suggest."""

    settings: Settings
    warehouse: Warehouse
    folder: Path
    day: date = DAY

    def night(self, rows: str = "", settings: Settings | None = None) -> Suggestions:
        if rows:
            (self.folder / f"members_{self.day}.csv").write_text(HEAD + rows)
            pull(self.settings, "members", self.day)
        run = Run(f"{self.day}.1", self.day)
        resolve(self.settings, run)
        return suggest(settings or self.settings, run)

    def queue(self) -> list[dict[str, Any]]:
        return self.warehouse.rows("select * from identity.review_queue order by review_id")

    def customers(self) -> dict[str, str]:
        """Customer of each card, by its member."""
        rows = self.warehouse.rows(
            "select member_id, customer_id from raw.member join identity.customer_identifier "
            "on kind = 'card' and value = card_hash where valid_to is null"
        )
        return {r["member_id"]: r["customer_id"] for r in rows}


@pytest.fixture
def shop(make_settings: Callable[..., Settings], warehouse: Warehouse, tmp_path: Path) -> Shop:
    return Shop(make_settings(SOURCES), warehouse, tmp_path)


def test_too_few_records_use_the_default_model(shop: Shop) -> None:
    found = shop.night(FIRST)
    assert not found.trained
    assert (found.records, found.new, found.open) == (6, 1, 1)
    (row,) = shop.queue()
    assert {row["source_row_id_a"], row["source_row_id_b"]} == {"m1", "m2"}
    assert row["status"] == "open"
    assert row["match_weight"] > 15
    levels = [s["level"] for s in row["waterfall"] if s["weight"] > 5]
    assert levels == ["name the same in pinyin", "birth_date exact", "address exact"]


def test_nobody_to_compare(shop: Shop) -> None:
    """No member, one member, members without names and dates."""
    assert shop.night() == Suggestions(0, 0, 0, 0, 0, 0, False)
    shop.day += timedelta(days=1)
    assert shop.night("m1,600001,13912340001,,王小明,,1980-02-03,Shanghai\n").likely == 0
    shop.day += timedelta(days=1)
    found = shop.night("m2,600002,13912340002,,,,,\nm3,600003,,,,,,\n")
    assert (found.records, found.likely) == (3, 0)


def test_an_accepted_pair_merges_in_the_next_night(shop: Shop) -> None:
    shop.night(FIRST)
    rule = accept(shop.settings, shop.queue()[0]["review_id"], "anna", "called: same person")
    (row,) = shop.queue()
    assert (row["status"], row["decided_by"], row["reason"]) == ("accepted", "anna", "called: same person")
    assert row["rule_id"] == rule
    (made,) = shop.warehouse.rows("select * from identity.manual_rule")
    assert (made["kind"], made["created_by"], made["reason"]) == ("must_link", "anna", "called: same person")
    shop.day += timedelta(days=1)
    assert shop.night() == Suggestions(6, 0, 0, 0, 0, 0, False)
    assert shop.customers()["m1"] == shop.customers()["m2"]
    assert shop.queue() == [row]


def test_a_rejected_pair_stays_rejected_until_its_evidence_changes(shop: Shop) -> None:
    shop.night(FIRST)
    first = shop.queue()[0]
    reject(shop.settings, first["review_id"], "anna", "father and son")
    shop.day += timedelta(days=1)
    assert shop.night().open == 0
    assert shop.night().new == 0
    shop.day += timedelta(days=1)
    # the first one's name is corrected: more alike than before
    changed = shop.night("m2,600002,13912340002,,王小明,上海市人民路128号5幢101室,1980-02-03,Shanghai\n")
    assert (changed.new, changed.open) == (1, 1)
    rejected, again = shop.queue()
    assert rejected["status"] == "rejected"
    assert again["evidence"] != rejected["evidence"]
    assert again["waterfall"][1]["level"] == "name exact"
    # a person changes their mind: the old rule gives way
    accept(shop.settings, again["review_id"], "ben", "one and the same after all")
    rules = shop.warehouse.rows(
        "select kind, revoked_at is null as counts from identity.manual_rule order by rule_id"
    )
    assert [tuple(r.values()) for r in rules] == [("cannot_link", False), ("must_link", True)]
    shop.day += timedelta(days=1)
    shop.night()
    assert shop.customers()["m1"] == shop.customers()["m2"]


def test_a_pair_that_merged_meanwhile_is_closed(shop: Shop) -> None:
    settings = shop.settings
    no_unique = settings.model_copy(update={"identity": settings.identity.model_copy(update={"unique": ()})})
    shop.settings = no_unique
    shop.night(FIRST)
    shop.day += timedelta(days=1)
    found = shop.night("m2,600002,13912340001,,Xiaoming Wang,人民路128号5幢101室,1980-02-03,Shanghai\n")
    assert shop.customers()["m1"] == shop.customers()["m2"]
    assert (found.closed, found.open) == (1, 0)
    (row,) = shop.queue()
    assert (row["status"], row["decided_by"], row["reason"]) == (
        "closed",
        "portrait",
        "they are one customer by now",
    )


def test_a_pair_that_is_not_likely_any_more_is_closed_and_comes_back(shop: Shop) -> None:
    shop.night(FIRST)
    other = shop.night(settings=reviewing(shop.settings, review_from=50))
    assert (other.closed, other.open) == (1, 0)
    assert shop.queue()[0]["reason"] == "not likely any more"
    assert shop.night().new == 1
    (row,) = shop.queue()
    assert (row["status"], row["reason"], row["decided_at"]) == ("open", None, None)


def test_a_rule_made_by_hand_is_not_questioned(shop: Shop) -> None:
    from portrait.identity import add_rule

    shop.night(FIRST)
    add_rule(shop.settings, "cannot_link", ("card", "600001"), ("phone", "13912340002"), "twins", "carl")
    found = shop.night()
    assert (found.closed, found.open, found.likely) == (1, 0, 1)
    assert shop.queue()[0]["reason"] == "a manual rule decides"


def test_auto_link_makes_rules_of_splinks(shop: Shop) -> None:
    auto = reviewing(shop.settings, auto_link_from=15)
    found = shop.night(FIRST, settings=auto)
    assert (found.new, found.linked, found.open) == (1, 1, 0)
    (made,) = shop.warehouse.rows("select * from identity.manual_rule")
    assert (made["kind"], made["created_by"]) == ("must_link", "splink")
    assert "auto_link_from is 15" in made["reason"]
    again = shop.night(settings=auto)
    assert (again.new, again.linked) == (0, 0)
    assert shop.customers()["m1"] == shop.customers()["m2"]


def test_what_a_person_rejected_is_never_linked_by_itself(shop: Shop) -> None:
    shop.night(FIRST)
    reject(shop.settings, shop.queue()[0]["review_id"], "anna", "father and son")
    shop.day += timedelta(days=1)
    changed = "m2,600002,13912340002,,王小明,上海市人民路128号5幢101室,1980-02-03,Shanghai\n"
    found = shop.night(changed, settings=reviewing(shop.settings, auto_link_from=5))
    assert (found.new, found.linked, found.open) == (1, 0, 1)


def test_decisions_that_are_refused(shop: Shop) -> None:
    shop.night(FIRST)
    number = shop.queue()[0]["review_id"]
    with pytest.raises(PortraitError, match="no suggestion 99"):
        accept(shop.settings, 99, "anna", "x")
    with pytest.raises(PortraitError, match="author and a reason"):
        accept(shop.settings, number, "anna", " ")
    accept(shop.settings, number, "anna", "same")
    with pytest.raises(PortraitError, match="accepted already, by anna: same"):
        reject(shop.settings, number, "ben", "different")
    with pytest.raises(PortraitError, match="no suggestion 99"):
        waterfall_table(shop.settings, 99)
    with pytest.raises(ValueError, match="below review_from"):
        Review(review_from=5, auto_link_from=4)


def test_tables_for_people(shop: Shop) -> None:
    assert "None." in printed(review_table(shop.settings))
    shop.night(FIRST)
    shown = printed(review_table(shop.settings))
    assert "members m1" in shown
    assert "birth_date exact +14" in shown
    assert "小明" not in shown
    (row,) = shop.queue()
    steps = printed(waterfall_table(shop.settings, row["review_id"]))
    assert "any two records" in steps
    assert f"{row['match_weight']:.1f} bits" in steps
    reject(shop.settings, row["review_id"], "anna", "two people")
    assert "rejected by anna: two people" in printed(review_table(shop.settings, everything=True))


def printed(table: Any) -> str:
    console = Console(width=220, record=True, file=io.StringIO())
    console.print(table)
    return console.export_text()


def test_why_names_what_counts_first() -> None:
    steps = [
        {"column": "prior", "level": "any two records", "weight": -19.0},
        {"column": "name", "level": "name exact", "weight": 8.0},
        {"column": "city", "level": "city not known", "weight": 0.0},
        {"column": "birth_date", "level": "birth_date exact", "weight": 14.25},
    ]
    assert why(steps) == "birth_date exact +14.2, name exact +8.0"


def test_a_common_key_compares_nobody() -> None:
    """All born on the same day: the date alone would compare everybody with everybody."""
    rows = [
        {**dict.fromkeys(RECORD.names), "place": n, "customer_id": f"c{n:04d}", "birth_date": "1970-01-01",
         **name_forms("王小明"), "city": "x"}
        for n in range(60)
    ]  # fmt: skip
    records = pa.Table.from_pylist(rows, RECORD)
    few = score(records, Review(review_from=-50, largest_block=50), 1)
    many = score(records, Review(review_from=-50, largest_block=60), 1)
    assert few is not None
    assert many is not None
    assert few.pairs.num_rows == 0
    assert many.pairs.num_rows == 60 * 59 // 2
