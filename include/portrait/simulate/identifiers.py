"""Cards, accounts, phones, emails and devices, and how people mistype them."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from portrait.simulate.columns import Array, mix, scatter
from portrait.simulate.retailer import Retailer

FAMILY = pa.array(
    [
        "wang",
        "li",
        "zhang",
        "liu",
        "chen",
        "yang",
        "zhao",
        "huang",
        "zhou",
        "wu",
        "xu",
        "sun",
        "hu",
        "zhu",
        "gao",
        "lin",
        "he",
        "guo",
        "ma",
        "luo",
    ]
)
GIVEN = pa.array(
    [
        "wei",
        "fang",
        "min",
        "jing",
        "lei",
        "yan",
        "tao",
        "hui",
        "na",
        "jun",
        "ping",
        "ling",
        "hao",
        "yu",
        "xin",
        "jie",
        "mei",
        "qiang",
        "bo",
        "ting",
    ]
)
DOMAINS = pa.array(["example.com", "example.org", "example.net"])
DEVICES = 3  # at most, a person
DEVICE_SHARES = (0.45, 0.40, 0.15)  # one, two, three
_HEX = np.frombuffer(b"".join(b"%02x" % i for i in range(256)), "S2")


@dataclass(frozen=True)
class Identifiers:
    """Numbers that stand for identifiers, one a person; 0 where there is none.

    Attributes
    ----------
    card, account, phone
        Numbers whose text the functions of this module give.
    account_phone
        The phone in the account; differs from `phone` for a few people.
    device
        Person x 3. Two people of one household may have one number in common.
    linked
        Whether the account carries the card number.
    shared
        The device numbers that two people use.
    """

    card: Array
    account: Array
    phone: Array
    account_phone: Array
    device: Array
    linked: Array
    shared: Array


def build_identifiers(
    retailer: Retailer, rng: np.random.Generator, has_card: Array, has_account: Array
) -> Identifiers:
    """Identifiers of everybody, unique but for the devices shared within a household."""
    n = len(has_card)
    number = np.arange(n)
    both = has_card & has_account
    phone = 13_000_000_000 + scatter(number, 3_000_000_000, 1_299_709, 48_271)
    other = 16_000_000_000 + scatter(number, 3_000_000_000, 1_299_709, 16_807)
    second = both & (rng.random(n) < retailer.dirt.second_phone)
    devices = rng.choice([1, 2, 3], n, p=DEVICE_SHARES)
    device = number[:, None] * DEVICES + np.arange(DEVICES) + 1
    device[np.arange(DEVICES) >= devices[:, None]] = 0
    device[~has_account] = 0

    online = np.flatnonzero(has_account)
    couples = online[: len(online) // 2 * 2].reshape(-1, 2)  # two neighbours with accounts are a household
    together = couples[rng.random(len(couples)) < 0.6]
    together = together[rng.random(len(together)) < retailer.dirt.shared_device]
    device[together[:, 1], 0] = device[together[:, 0], 0]
    return Identifiers(
        card=np.where(has_card, 600_000_000_000 + scatter(number, 99_999_999_977, 15_485_863, 77), 0),
        account=np.where(has_account, 1_000_000_000 + scatter(number, 999_999_937, 15_485_863, 331), 0),
        phone=phone,
        account_phone=np.where(second, other, phone),
        device=device,
        linked=both & (rng.random(n) < retailer.dirt.linked_card),
        shared=device[together[:, 0], 0],
    )


def digits(number: Array) -> pa.Array:
    """Card or phone numbers as text; 0 gives null."""
    return pa.array(number, pa.int64(), mask=number == 0).cast(pa.string())


def account_id(number: Array) -> pa.Array:
    """Account numbers as text; 0 gives null."""
    return pc.binary_join_element_wise("u", digits(number), "")


def hex16(number: Array) -> pa.Array:
    """64-bit numbers as 16 hexadecimal digits after a one-to-one mixing."""
    octets = np.ascontiguousarray(mix(number)).view(np.uint8)
    text = np.ascontiguousarray(_HEX[octets])
    offsets = np.arange(len(number) + 1, dtype=np.int32) * 16
    return pa.StringArray.from_buffers(len(number), pa.py_buffer(offsets), pa.py_buffer(text))


def device_id(number: Array) -> pa.Array:
    """Device numbers as text; 0 gives null."""
    text = pc.binary_join_element_wise("d", hex16(number), "")
    return pc.if_else(pa.array(number != 0), text, pa.scalar(None, pa.string()))


def email(person: Array) -> pa.Array:
    """The email of each person number."""
    code = mix(person + 1).astype(np.uint64)
    number = pa.array(scatter(person, 1_000_000_007, 179_424_673, 12_345)).cast(pa.string())
    family = FAMILY.take(pa.array((code % np.uint64(20)).astype(np.int64)))
    given = GIVEN.take(pa.array((code // np.uint64(20) % np.uint64(20)).astype(np.int64)))
    domain = DOMAINS.take(pa.array((code // np.uint64(400) % np.uint64(3)).astype(np.int64)))
    name = pc.binary_join_element_wise(given, family, ".")
    return pc.binary_join_element_wise(pc.binary_join_element_wise(name, number, ""), domain, "@")


def odd_phones(phone: pa.Array, rng: np.random.Generator, rate: float) -> tuple[pa.Array, Array]:
    """The phones, some written otherwise, and which of them are."""
    a, b, c = (pc.utf8_slice_codeunits(phone, i, j) for i, j in ((0, 3), (3, 7), (7, 11)))
    forms = [
        phone,
        pc.binary_join_element_wise(a, b, c, " "),
        pc.binary_join_element_wise(a, b, c, "-"),
        pc.binary_join_element_wise("+86", phone, " "),
        pc.binary_join_element_wise("+86", phone, ""),
    ]
    odd = rng.random(len(phone)) < rate
    form = np.where(odd, rng.integers(1, len(forms), len(phone)), 0)
    return pc.choose(pa.array(form), *forms), odd & phone.is_valid().to_numpy(zero_copy_only=False)


def odd_emails(address: pa.Array, rng: np.random.Generator, rate: float) -> tuple[pa.Array, Array]:
    """The emails, some in capitals or with blanks around, and which of them are."""
    forms = [
        address,
        pc.utf8_upper(address),
        pc.utf8_capitalize(address),
        pc.binary_join_element_wise("", address, "", " "),
    ]
    odd = rng.random(len(address)) < rate
    form = np.where(odd, rng.integers(1, len(forms), len(address)), 0)
    return pc.choose(pa.array(form), *forms), odd & address.is_valid().to_numpy(zero_copy_only=False)


def mistyped_emails(address: pa.Array, rng: np.random.Generator, rate: float) -> pa.Array:
    """The emails, some with the third and fourth letter swapped, or the third left out where both are the same."""
    a, b, c, d = (pc.utf8_slice_codeunits(address, i, j) for i, j in ((0, 2), (2, 3), (3, 4), (4, None)))
    swapped = pc.binary_join_element_wise(a, c, b, d, "")
    shorter = pc.binary_join_element_wise(a, c, d, "")
    wrong = pc.if_else(pc.equal(b, c), shorter, swapped)
    return pc.if_else(pa.array(rng.random(len(address)) < rate), wrong, address)
