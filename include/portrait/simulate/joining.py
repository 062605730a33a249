"""Members, accounts and consents that a day delivers, chunk by chunk."""

from collections.abc import Iterator

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.simulate import identifiers
from portrait.simulate.columns import Array, mix
from portrait.simulate.names import ACCOUNT, CARD, typed
from portrait.simulate.places import CITIES
from portrait.simulate.receipts import world_store_ids
from portrait.simulate.streams import Stream, generator
from portrait.simulate.world import World

CHUNK = 200_000  # people
PURPOSES = (
    *("marketing_email", "marketing_sms", "ad_audience", "analytics"),
    *("profiling_inference", "personalised_recommendation"),
)
GRANTED = np.array([0.55, 0.45, 0.4, 0.9, 0.85, 0.88])
LATER = 4
"""Purposes from here on are asked of everybody who joins, by draws of their own."""
ANSWERED = np.array([0.9, 0.9, 0.7, 0.6])  # no answer, no row
FORMS = ("membership form", "app registration", "store desk", "app privacy settings")
"""Where a statement was made: on joining by card and by account, and on a change of mind."""
CONSENT_CHANGES = 0.0006  # of people, each day
REGIONS = pa.array([region for region, _, _ in CITIES])
CITY_NAMES = pa.array([city for _, city, _ in CITIES])
LEVELS = pa.array(["bronze", "silver", "gold"])
Dirt = dict[str, int]
_NOTHING = pa.scalar(None, pa.string())


def joining(began: Array, day: int) -> Array:
    """The people whose card or account a day delivers; the first day delivers all who came before."""
    return np.flatnonzero(began <= 0 if day == 0 else began == day)


def members(world: World, day: int) -> Iterator[tuple[pa.Table, Dirt]]:
    """The members of the day's delivery, and the dirt in it."""
    people = world.people
    who = joining(np.where(people.has_card, people.card_day, 2**30), day)
    rng = generator(world.retailer, Stream.MEMBERS, day)
    for person in _chunks(who):
        contact, dirt = _contact(world, rng, person, people.identifiers.phone[person])
        written, more_dirt = typed(world.names, person, CARD)
        card = identifiers.digits(people.identifiers.card[person])
        city = pa.array(people.city[person].astype(np.int64))
        home = world_store_ids(people.home_store[person].astype(np.int64))
        joined = pa.array(_joined(world, person, people.card_day)).cast(pa.string())
        number = pa.array(100_000_000 + person).cast(pa.string())
        yield (
            pa.table(
                {"member_no": pc.binary_join_element_wise("M", number, ""), "card_no": card}
                | contact
                | {
                    "region": REGIONS.take(city),
                    "city": CITY_NAMES.take(city),
                    "level": LEVELS.take(pa.array(people.level[person].astype(np.int64))),
                    "home_store": home,
                    "joined_at": joined,
                }
                | written
            ),
            dirt | more_dirt,
        )


def accounts(world: World, day: int) -> Iterator[tuple[pa.Table, Dirt]]:
    """The app accounts of the day's delivery, and the dirt in it."""
    people = world.people
    who = joining(np.where(people.has_account, people.account_day, 2**30), day)
    rng = generator(world.retailer, Stream.ACCOUNTS, day)
    for person in _chunks(who):
        contact, dirt = _contact(world, rng, person, people.identifiers.account_phone[person])
        written, more_dirt = typed(world.names, person, ACCOUNT)
        card = identifiers.digits(people.identifiers.card[person])
        # a card that comes later cannot be known when the account is opened
        linked = people.identifiers.linked[person] & (people.card_day[person] <= people.account_day[person])
        yield (
            pa.table(
                {
                    "account_id": identifiers.account_id(people.identifiers.account[person]),
                    "phone": contact["phone"],
                    "email": contact["email"],
                    "card_no": pc.if_else(pa.array(linked), card, _NOTHING),
                    "gender": contact["gender"],
                    "birth_date": contact["birth_date"],
                    "city": CITY_NAMES.take(pa.array(people.city[person].astype(np.int64))),
                    "registered_at": _iso(_joined(world, person, people.account_day)),
                }
                | written
            ),
            dirt | more_dirt,
        )


def consents(world: World, day: int) -> Iterator[pa.Table]:
    """Consents given on joining, and changes of mind by people who are still customers."""
    people = world.people
    rng, later = (generator(world.retailer, s, day) for s in (Stream.CONSENTS, Stream.LATER_CONSENTS))
    for is_card, began, has in (
        (True, people.card_day, people.has_card),
        (False, people.account_day, people.has_account),
    ):
        for person in _chunks(joining(np.where(has, began, 2**30), day)):
            answered = rng.random((len(person), LATER)) < ANSWERED
            who, purpose = np.nonzero(answered)
            granted = rng.random(len(who)) < GRANTED[purpose]
            at = _joined(world, person, began)[who]
            yield _consents(world, person[who], is_card, purpose, granted, at, day, joins=True)
            yield _asked_later(world, later, person, is_card, _joined(world, person, began), day)
        old = np.flatnonzero(has & (np.maximum(began, 0) < day) & (day < people.active_to))
        person = old[rng.random(len(old)) < CONSENT_CHANGES]
        purpose = rng.integers(0, len(PURPOSES), len(person))
        seconds = rng.integers(8 * 3600, 23 * 3600, len(person)).astype("timedelta64[s]")
        at = np.datetime64(world.retailer.start, "s") + np.timedelta64(day, "D") + seconds
        granted = rng.random(len(person)) < 0.4
        yield _consents(world, person, is_card, purpose, granted, at, day, joins=False)


def _asked_later(
    world: World, rng: np.random.Generator, person: Array, is_card: bool, at: Array, day: int
) -> pa.Table:
    many = len(PURPOSES) - LATER
    purpose = np.tile(np.arange(LATER, len(PURPOSES)), len(person))
    granted = rng.random(len(purpose)) < GRANTED[purpose]
    return _consents(
        world, np.repeat(person, many), is_card, purpose, granted, np.repeat(at, many), day, joins=True
    )


def _consents(
    world: World,
    person: Array,
    is_card: bool,
    purpose: Array,
    granted: Array,
    at: Array,
    day: int,
    joins: bool,
) -> pa.Table:
    ids = world.people.identifiers
    number = ((day * world.people.size + person) * 8 + purpose) * 2 + is_card
    card = identifiers.digits(ids.card[person] if is_card else np.zeros(len(person), np.int64))
    account = identifiers.account_id(np.zeros(len(person), np.int64) if is_card else ids.account[person])
    return pa.table(
        {
            "consent_id": pc.binary_join_element_wise("c", identifiers.hex16(mix(number)), ""),
            "account_id": account,
            "card_no": card,
            "purpose": pa.array(PURPOSES).take(pa.array(purpose.astype(np.int64))),
            "granted": pa.array(granted),
            "occurred_at": _iso(at),
            "evidence": _evidence(FORMS[(0 if joins else 2) + (not is_card)], at),
        }
    )


def _evidence(form: str, at: Array) -> pa.Array:
    """The form and its version: a new one each quarter."""
    quarter = at.astype("datetime64[M]").astype(np.int64) // 3
    version = [f"{form} {1970 + q // 4}.{q % 4 + 1}" for q in quarter.tolist()]
    return pa.array(version, pa.string())


def _contact(
    world: World, rng: np.random.Generator, person: Array, phone_number: Array
) -> tuple[dict[str, pa.Array], Dirt]:
    """Phone, email, gender and birth date as somebody typed them in."""
    people, rates, n = world.people, world.retailer.dirt, len(person)
    no_phone, no_email = rng.random(n) < rates.missing_phone, rng.random(n) < rates.missing_email
    phone, odd_phone = identifiers.odd_phones(
        identifiers.digits(np.where(no_phone, 0, phone_number)), rng, rates.odd_format
    )
    address = pc.if_else(pa.array(no_email), _NOTHING, identifiers.email(person))
    if rates.email_typo:
        address = identifiers.mistyped_emails(address, rng, rates.email_typo)
    email, odd_email = identifiers.odd_emails(address, rng, rates.odd_format)
    no_birth, no_gender = rng.random(n) < rates.missing_birth_date, rng.random(n) < rates.missing_gender
    impossible = (rng.random(n) < rates.impossible_age) & ~no_birth
    wrong = np.where(rng.random(n) < 0.5, np.datetime64("1900-01-01"), np.datetime64("2099-01-01"))
    birth = np.where(impossible, wrong, people.birth_day[person].astype("datetime64[D]"))
    gender = pa.array(["f", "m"]).take(pa.array(people.gender[person].astype(np.int64), mask=no_gender))
    columns = {
        "phone": phone,
        "email": email,
        "gender": gender,
        "birth_date": pa.array(birth, pa.date32(), mask=no_birth),
    }
    dirt = {
        "missing_phones": no_phone, "missing_emails": no_email, "missing_birth_dates": no_birth,
        "missing_genders": no_gender, "impossible_ages": impossible,
        "odd_phones": odd_phone, "odd_emails": odd_email,
    }  # fmt: skip
    return columns, {name: int(mask.sum()) for name, mask in dirt.items()}


def _joined(world: World, person: Array, began: Array) -> Array:
    """The local time of joining."""
    day = np.datetime64(world.retailer.start, "s") + began[person].astype("timedelta64[D]")
    return day + world.people.joined_second[person].astype("timedelta64[s]")


def _iso(local: Array) -> pa.Array:
    text = pc.replace_substring(pa.array(local.astype("datetime64[s]")).cast(pa.string()), " ", "T")
    return pc.binary_join_element_wise(text, "+08:00", "")


def _chunks(person: Array) -> Iterator[Array]:
    for start in range(0, len(person), CHUNK):
        yield person[start : start + CHUNK]
