"""What an id may mean."""

import hashlib
import hmac

import pyarrow as pa
import pytest
from portrait.ingest.keys import Key, Keyring
from portrait.ingest.pii import hash_column
from portrait.serving.lookup import Hasher, identifiers, is_customer_id

KEY = Key("v2", b"secret")
HASHER = Hasher(Keyring(KEY), "CN")


def hashed(plain: str) -> str:
    return "v2:" + hmac.new(b"secret", plain.encode(), hashlib.sha256).hexdigest()


@pytest.mark.parametrize(
    ("asked", "bare", "given"),
    [
        ("card:62-01 55a", "", [("card", hashed("620155A"))]),
        ("card:0000", "", []),
        ("phone:138 0013 8000", "", [("phone", hashed("+8613800138000"))]),
        ("email: Li@Example.com ", "", [("email", hashed("li@example.com"))]),
        ("account:a:b", "", [("account", "a:b")]),
        ("device:d1", "", [("device", "d1")]),
        ("customer:C1", "C1", []),
        ("A7", "A7", [("card", hashed("A7")), ("account", "A7")]),
        ("abc", "abc", [("account", "abc")]),
        ("shop:7", "shop:7", [("card", hashed("SHOP7")), ("account", "shop:7")]),
        ("card:", "card:", [("account", "card:")]),
    ],
)
def test_what_may_be_meant(asked: str, bare: str, given: list[tuple[str, str]]) -> None:
    assert identifiers(asked, HASHER) == (bare, given)


@pytest.mark.parametrize(
    ("asked", "is_one"),
    [("C0123456789abcdef", True), ("C0123456789ABCDEF", False), ("C0123456789abcde", False), ("C1", False)],
)
def test_ids_of_portraits_making(asked: str, is_one: bool) -> None:
    assert is_customer_id(asked) is is_one


@pytest.mark.parametrize(
    ("kind", "value"),
    [("card", "62-01 55a"), ("phone", "+44 20 7946 0958"), ("email", "Li@Example.com"), ("phone", "x")],
)
def test_a_value_is_hashed_as_a_column_is_at_ingest(kind: str, value: str) -> None:
    (stored,) = hash_column(pa.array([value]), kind, b"v2:secret", HASHER.region).to_pylist()
    assert HASHER.stored(kind, value) == ((stored,) if stored else ())


def test_after_a_change_of_the_key_both_forms_are_asked_for() -> None:
    both = Hasher(Keyring(KEY, (Key("v1", b"former"),)), HASHER.region)
    (former,) = hash_column(pa.array(["62-01 55a"]), "card", b"v1:former", "CN").to_pylist()
    assert both.stored("card", "62-01 55a") == (*HASHER.stored("card", "62-01 55a"), former)
    assert both.stored("account", "A1") == ("A1",)
