"""Who fulfils a condition; and that a condition can read the published night and nothing else."""

from collections.abc import Callable

import pytest
from portrait.audiences.query import check_audiences, find_members, members_query
from portrait.config import load_settings
from portrait.config.audiences import AudiencesFile
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse
from pydantic import ValidationError
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

CUSTOMERS = [
    {"customer_id": "ann", "monetary": 500.0, "lifecycle": "active", "city": "Hang'zhou 100%"},
    {"customer_id": "bob", "monetary": 20.0, "lifecycle": "lost"},
    {"customer_id": "cat", "monetary": 0.0, "lifecycle": "prospect"},
]
TAGS = [
    {"customer_id": "ann", "tag": "big", "value": "true", "reason": "monetary = 500"},
    {"customer_id": "bob", "tag": "stage", "value": "lost", "reason": "lifecycle = lost"},
]
AFFINITY = [
    {"customer_id": "ann", "dimension": "category", "value": "Tea", "rank": 1, "score": 0.6},
    {"customer_id": "cat", "dimension": "category", "value": "Tea", "rank": 2, "score": 0.1},
]


@pytest.fixture
def published(night: Callable[..., str]) -> str:
    return night(1, customer_profile=CUSTOMERS, customer_tag=TAGS, affinity=AFFINITY)


@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("monetary > 10", ["ann", "bob"]),
        ("lifecycle in ('lost', 'prospect') and not monetary > 10", ["cat"]),
        ("city = 'Hang''zhou 100%' or city like '%nowhere%'", ["ann"]),
        ("has_tag('big')", ["ann"]),
        ("has_tag('stage', 'lost') or has_tag('stage', 'x')", ["bob"]),
        ("likes('category', 'Tea')", ["ann", "cat"]),
        ("likes('category', 'Tea', 0.5) and lifecycle = 'active' -- the keen ones", ["ann"]),
        ("city is null and case when monetary > 1 then true else false end", ["bob"]),
    ],
)
def test_members(
    with_audiences: Callable, make_audience: Callable, warehouse: Warehouse, where: str, expected: list[str]
) -> None:
    wanted = make_audience("them", where)
    found = find_members(with_audiences(wanted), warehouse, wanted)
    assert found.members == expected
    assert (found.run_id, found.without_consent) == ("2026-03-01.1", 0)


@pytest.mark.usefixtures("published")
def test_no_consent_is_no(
    with_audiences: Callable, make_audience: Callable, warehouse: Warehouse, consent: Callable[..., None]
) -> None:
    consent("ann", day=1)
    consent("bob", day=1)
    consent("bob", granted=False, day=2)
    consent("cat", purpose="analytics")
    wanted = make_audience("all", "monetary >= 0", purpose="marketing_email")
    found = find_members(with_audiences(wanted), warehouse, wanted)
    assert (found.members, found.without_consent) == (["ann"], 2)
    consent("bob", day=3)
    assert find_members(with_audiences(wanted), warehouse, wanted).members == ["ann", "bob"]


def test_the_latest_statement_counts_and_of_two_the_withdrawal(
    warehouse: Warehouse, consent: Callable[..., None]
) -> None:
    consent("ann", granted=False, day=5)
    consent("ann", granted=True, day=4)
    consent("bob", granted=True, day=4)
    consent("bob", granted=False, day=4)
    rows = warehouse.rows("select customer_id, granted from privacy.consent order by 1")
    assert rows == [{"customer_id": "ann", "granted": False}, {"customer_id": "bob", "granted": False}]


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("customer_id in (select customer_id from pii.contact)", "is not allowed"),
        ("exists (select 1 from pii.contact)", "is not allowed"),
        ("true; delete from ops.run", "must be one expression"),
        ("lo_import('/etc/passwd') > 0", "is not allowed"),
        ("pii.contact.phone = '1'", "names a table"),
        ("'pii.contact'::regclass is not null", "is no type to cast to"),
        ("has_tag(lifecycle)", "takes text and numbers only"),
        ("likes('category')", "takes 2 to 3 arguments"),
        ("current_user = 'postgres'", "is not allowed"),
    ],
)
def test_a_condition_cannot_reach_further(make_audience: Callable, where: str, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make_audience("bad", where)


def test_texts_are_bound_never_pasted(make_audience: Callable) -> None:
    query = members_query(make_audience("a1", "city = 'x'' or true --' and has_tag('big')"))
    assert "or true" not in query.sql
    assert set(query.parameters.values()) == {"", "x' or true --", "big"}


def test_the_role_can_read_the_night_and_not_write_it(warehouse: Warehouse) -> None:
    def as_role(sql: str, **modes: str) -> None:
        with warehouse.begin() as connection:
            connection.execute(text("set local role portrait_audience"))
            connection.execute(text(sql))

    as_role("select * from profile.customer_profile, privacy.permission, privacy.unstated")
    for sql in (
        "select * from pii.contact",
        "select * from raw.member",
        "insert into audience.delivery values ('a', 'c', '2026-01-01', 1)",
        "delete from ops.run",
    ):
        with pytest.raises(DBAPIError, match="permission denied"):
            as_role(sql)


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("monetry > 1", r"audiences\[odd\].where: there is no column 'monetry'; did you mean monetary\?"),
        ("has_tag('bigg')", r"audiences\[odd\].where: no tag 'bigg' in tags.yaml"),
    ],
)
def test_mistakes_are_named(
    with_audiences: Callable, make_audience: Callable, where: str, message: str
) -> None:
    with pytest.raises(PortraitError, match=message):
        check_audiences(with_audiences(make_audience("odd", where)))


@pytest.mark.usefixtures("published")
def test_what_cannot_be_compared_or_takes_too_long_is_refused(
    with_audiences: Callable, make_audience: Callable, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = make_audience("odd", "monetary > 'much'")
    with pytest.raises(PortraitError, match=r"audiences\[odd\].where: invalid input syntax"):
        find_members(with_audiences(wrong), warehouse, wrong)
    slow = make_audience("slow", "monetary > 1")
    query = members_query(slow)
    monkeypatch.setattr(
        "portrait.audiences.query.members_query",
        lambda *_: type(query)("select pg_sleep(5)::text as customer_id, true as consented", {}),
    )
    with pytest.raises(PortraitError, match="took longer than 1 s; ask for less"):
        find_members(with_audiences(slow, timeout=1), warehouse, slow)


def test_nothing_to_ask_before_the_first_night(
    with_audiences: Callable, make_audience: Callable, warehouse: Warehouse
) -> None:
    wanted = make_audience("them", "monetary > 10")
    with pytest.raises(PortraitError, match="nothing is published yet"):
        find_members(with_audiences(wanted), warehouse, wanted)


def test_the_audiences_that_come_with_portrait_are_sound() -> None:
    settings = load_settings({})
    check_audiences(settings)
    assert len(settings.audiences.audiences) >= 5


def test_a_code_stands_for_one_audience(make_audience: Callable) -> None:
    one = make_audience("twin", "monetary > 1")
    with pytest.raises(ValidationError, match="twin stands there twice"):
        AudiencesFile(audiences=(one, one))
