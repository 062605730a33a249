"""Making, listing and revoking keys."""

import hashlib
import io
import re

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.serving.keys import create_key, key_id_of, key_table, revoke_key, scopes_of
from portrait.serving.scopes import Scope
from portrait.warehouse import Warehouse


def test_only_the_hash_is_kept(settings: Settings, warehouse: Warehouse) -> None:
    key = create_key(settings, "crm", (Scope.CUSTOMERS,), 5.0, 30)
    assert re.fullmatch(r"portrait_[a-z2-7]{8}_[a-z2-7]{32}", key)
    (row,) = warehouse.rows("select * from ops.api_key")
    assert row["secret_sha256"] == hashlib.sha256(key.encode()).hexdigest()
    assert key.split("_")[2] not in str(row)
    assert (row["key_id"], row["scopes"], row["requests_per_second"]) == (key_id_of(key), ["customers"], 5.0)
    assert (row["expires_at"] - row["created_at"]).days in (29, 30)


def test_two_keys_differ(settings: Settings) -> None:
    assert len({create_key(settings, "x", (Scope.PREDICT,)) for _ in range(5)}) == 5


def test_a_role_is_a_set_of_scopes() -> None:
    assert scopes_of("marketing", ()) == (Scope.CUSTOMERS, Scope.SEGMENTS, Scope.AUDIENCES)
    assert scopes_of("monitoring", ["predict"]) == (Scope.PREDICT, Scope.OPERATIONS)


@pytest.mark.parametrize(
    ("role", "scopes", "said"),
    [
        ("boss", (), "no role 'boss'; choose one of marketing"),
        (None, ("pii",), "no scope 'pii'; choose from customers"),
        (None, (), "say what the key may ask"),
    ],
)
def test_what_is_no_scope(role: str | None, scopes: tuple[str, ...], said: str) -> None:
    with pytest.raises(PortraitError, match=said):
        scopes_of(role, scopes)


def test_a_key_is_revoked_once(settings: Settings) -> None:
    key_id = key_id_of(create_key(settings, "crm", (Scope.CUSTOMERS,)))
    assert key_id is not None
    revoke_key(settings, key_id)
    with pytest.raises(PortraitError, match="no key"):
        revoke_key(settings, key_id)


def test_the_list_shows_what_holds(settings: Settings, warehouse: Warehouse) -> None:
    from rich.console import Console

    gone = key_id_of(create_key(settings, "old", (Scope.CUSTOMERS,)))
    assert gone is not None
    revoke_key(settings, gone)
    create_key(settings, "crm", (Scope.PREDICT,))
    shown = io.StringIO()
    Console(width=200, file=shown).print(key_table(settings))
    text = shown.getvalue()
    assert re.search(rf"{gone}.*old.*customers.*revoked", text)
    assert re.search(r"crm.*predict.*holds", text)


@pytest.mark.parametrize("key", ["", "x", "portrait_abc_def", "other_abcdefgh_x", "portrait_abcdefgh_x_y"])
def test_what_does_not_look_like_a_key(key: str) -> None:
    assert key_id_of(key) is None
