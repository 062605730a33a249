"""Changing the key: the same people keep their ids, erased ones stay away, and a key that is missing says so."""

import re
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from portrait import stages
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.identity.rules import add_rule
from portrait.ingest import pull
from portrait.ingest.keys import keyring
from portrait.ingest.seal import Seal
from portrait.privacy.erase import erase
from portrait.privacy.keys import key_counts, make_next_key
from portrait.privacy.receipt import check_receipts
from portrait.privacy.rotation import rotate_keys
from portrait.privacy.verify import verify
from portrait.run import Run
from portrait.warehouse import Warehouse
from sqlalchemy import text

from .conftest import EVENTS, LI_PHONE, MEMBERS, TILLS, warehouse_run, write

OLD, NEW = "test-key", "v2:the next key"
NIGHT = date(2025, 3, 2)


def with_new_key(settings: Settings) -> Settings:
    """The settings after the new key was set beside the former one."""
    return settings.model_copy(update={"pii_key": NEW, "former_pii_keys": f"v1:{OLD}"})


def without_former(settings: Settings) -> Settings:
    return settings.model_copy(update={"pii_key": NEW, "former_pii_keys": None})


@pytest.fixture
def loaded(loaded: Settings, warehouse: Warehouse) -> Settings:
    """Both people loaded and resolved, in a night that has ended."""
    end_nights(warehouse)
    return loaded


def night(settings: Settings, warehouse: Warehouse, day: date) -> dict[str, Any]:
    run = Run(f"{day}.1", day)
    warehouse_run(settings, run)
    result = stages.resolve(settings, run)
    end_nights(warehouse)
    return result


def end_nights(warehouse: Warehouse) -> None:
    warehouse.execute("update ops.run set status = 'published'")


def customers(warehouse: Warehouse) -> dict[str, str]:
    """Account -> customer id, of today."""
    rows = warehouse.rows(
        "select value, customer_id from identity.customer_identifier where kind = 'account' and valid_to is null"
    )
    return {r["value"]: r["customer_id"] for r in rows}


def former_hashes(warehouse: Warehouse) -> dict[str, int]:
    """Table.column -> rows in which a hash of v1 is, wherever in the database a text may be."""
    columns = warehouse.rows(
        "select table_schema || '.' || table_name as place, column_name as name from information_schema.columns "
        "where table_schema in ('raw', 'identity', 'pii', 'privacy', 'quarantine', 'ops') and table_name not like '%_20%' "
        "and data_type in ('text', 'jsonb', 'ARRAY')"
    )
    found = {}
    for column in columns:
        number = warehouse.scalar(
            f"select count(*) from {column['place']} where {column['name']}::text ~ 'v1:[0-9a-f]{{64}}'"
        )
        if number:
            found[f"{column['place']}.{column['name']}"] = number
    return found


def deliver_again(settings: Settings, folder: Path, name: str, day: date = NIGHT) -> None:
    for source, rows in (("members", MEMBERS), ("events", EVENTS), ("tills", TILLS)):
        write(folder / f"{source}{name}.csv", [{**row, "file": name} for row in rows])
        pull(settings, source, day)


def test_the_same_people_after_a_rotation_between_two_nights(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    before = customers(warehouse)
    # A purchase whose till shows the phone, so that identity joins by a hash after the rotation, too.
    assert former_hashes(warehouse)["raw.member.phone_hash"] == 2
    rotated = with_new_key(loaded)
    done = rotate_keys(rotated, at_a_time=1)
    # Two cards and two phones; each card is in a row of member and one of a till.
    assert (done.identifiers, done.rows, done.held_back) == (4, 6, 0)
    assert former_hashes(warehouse) == {}
    new = without_former(loaded)
    deliver_again(new, tmp_path, "2")
    result = night(new, warehouse, NIGHT)
    assert result["customers"] == 2
    assert customers(warehouse) == before
    assert warehouse.scalar("select count(*) from identity.identifier where kind in ('card', 'phone')") == 4
    seal = Seal(b"the next key")
    opened = {
        seal.open(bytes(r["sealed"]), r["kind"])
        for r in warehouse.rows("select kind, sealed from pii.contact")
    }
    assert opened == {"+8613764125093", "+8613900139000", "LEI0001", "HAN0001"}
    # The refused row was listed once, and is the same one when it is delivered again under the new key.
    assert (
        warehouse.scalar(
            "select count(*) from quarantine.rejected_row where row_number > 0 and path like '%events1%'"
        )
        == 1
    )
    assert rotate_keys(new).nothing


def test_a_night_in_the_middle_of_a_rotation(loaded: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    """Broken off after its first step, a delivery and a night come, and it goes on."""
    before = customers(warehouse)
    rotated = with_new_key(loaded)
    _break_off_after(rotated, warehouse, steps=2)
    under = {
        r["v"]
        for r in warehouse.rows("select left(value, 2) as v from identity.identifier where kind = 'card'")
    }
    assert under == {"v1", "v2"}
    deliver_again(rotated, tmp_path, "2")
    assert night(rotated, warehouse, NIGHT)["customers"] == 2
    assert customers(warehouse) == before
    done = rotate_keys(rotated)
    assert done.identifiers == 3
    assert former_hashes(warehouse) == {}
    deliver_again(rotated, tmp_path, "3", date(2025, 3, 3))
    assert night(rotated, warehouse, date(2025, 3, 3))["customers"] == 2
    assert customers(warehouse) == before


def _break_off_after(settings: Settings, warehouse: Warehouse, steps: int) -> None:
    """A rotation of one identifier a step that is killed after some steps."""
    from portrait.privacy import rotation

    class Killed(Exception):
        pass

    real, left = rotation._Rotation._if_alone, [steps]

    def some(self: Any, connection: Any, work: Any) -> Any:
        if not left[0]:
            raise Killed
        left[0] -= 1
        return real(self, connection, work)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rotation._Rotation, "_if_alone", some)
        with pytest.raises(Killed):
            rotate_keys(settings, at_a_time=1)


def test_erased_people_stay_away(loaded: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    erase(loaded, [f"phone:{LI_PHONE}"], "tests")
    rotated = with_new_key(loaded)
    rotate_keys(rotated)
    deliver_again(rotated, tmp_path, "2")
    assert warehouse.scalar("select count(*) from raw.member") == 1
    assert warehouse.scalar("select sum(rows_suppressed) from ops.batch") == 4
    assert verify(rotated, dump=False).traces == {}
    assert erase(rotated, [f"phone:{LI_PHONE}"], "tests").already_erased == 1
    assert [c.problem for c in check_receipts(rotated)] == [None, None]
    # Without the former key they could come back, and nobody would see it.
    with pytest.raises(
        PortraitError, match="erased customers could come back unseen.*v1.*PORTRAIT_PII_KEY_FORMER=v1"
    ):
        deliver_again(without_former(loaded), tmp_path, "3")
    (first, second) = check_receipts(without_former(loaded))
    assert (first.problem, second.problem) == ("signed with key v1; the settings have v2", None)


def test_who_is_erased_after_a_rotation_needs_no_former_key(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    rotate_keys(with_new_key(loaded))
    new = without_former(loaded)
    erase(new, [f"phone:{LI_PHONE}"], "tests")
    deliver_again(new, tmp_path, "2")
    assert warehouse.scalar("select count(*) from raw.member") == 1
    assert verify(new, dump=False).traces == {}


def test_erased_while_the_key_is_being_changed(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    rotated = with_new_key(loaded)
    _break_off_after(rotated, warehouse, steps=3)
    erase(rotated, [f"phone:{LI_PHONE}"], "tests")
    done = rotate_keys(rotated)
    assert done.held_back == 0
    new = without_former(loaded)
    deliver_again(new, tmp_path, "2")
    assert warehouse.scalar("select count(*) from raw.member") == 1
    assert verify(rotated, dump=False).traces == {}


def test_what_has_no_clear_value_goes_on_under_its_former_hash(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    before = customers(warehouse)
    warehouse.execute("delete from pii.contact where kind = 'phone'")
    rotated = with_new_key(loaded)
    assert rotate_keys(rotated).held_back == 2
    assert former_hashes(warehouse)["raw.member.phone_hash"] == 2
    with pytest.raises(PortraitError, match="clear values are not held.*of key v1"):
        deliver_again(without_former(loaded), tmp_path, "2")
    deliver_again(rotated, tmp_path, "3")
    assert night(rotated, warehouse, NIGHT)["customers"] == 2
    assert customers(warehouse) == before
    assert warehouse.scalar("select count(*) from identity.identifier where kind = 'phone'") == 2
    # Delivered again, their clear values are known.
    again = rotate_keys(rotated)
    assert (again.identifiers, again.held_back) == (2, 0)
    assert former_hashes(warehouse) == {}


def test_rules_and_the_log_of_access_follow(loaded: Settings, warehouse: Warehouse) -> None:
    add_rule(loaded, "cannot_link", ("phone", LI_PHONE), ("account", "acc-hanmei"), "two people", "tests")
    phone = keyring(loaded).current.hash("+8613764125093")
    warehouse.rows("select * from pii.open_contact(:h, 'tests')", h=[phone])
    warehouse.execute(
        "insert into privacy.request (kind, subject, requested_by) values ('erase', :s, 'tests')",
        s=f"phone:{phone}",
    )
    rotate_keys(with_new_key(loaded))
    new = keyring(without_former(loaded)).current.hash("+8613764125093")
    assert (
        warehouse.scalar("select count(*) from identity.manual_rule where :h in (value_a, value_b)", h=new)
        == 1
    )
    assert warehouse.scalar("select subjects from privacy.access_log") == [new]
    assert warehouse.scalar("select subject from privacy.request") == f"phone:{new}"


def test_keys_that_are_wrong(loaded: Settings, warehouse: Warehouse, tmp_path: Path) -> None:
    lost = without_former(loaded)
    with pytest.raises(
        PortraitError, match="hashes of this warehouse are of key v1.*PORTRAIT_PII_KEY_FORMER=v1"
    ):
        rotate_keys(lost)
    with pytest.raises(PortraitError, match="of key v1"):
        deliver_again(lost, tmp_path, "2")
    mistyped = loaded.model_copy(update={"pii_key": "tset-key"})
    with pytest.raises(PortraitError, match="PORTRAIT_PII_KEY is not the key that v1 was"):
        deliver_again(mistyped, tmp_path, "3")
    twice = loaded.model_copy(update={"pii_key": "v1:a", "former_pii_keys": "v1:b"})
    with pytest.raises(PortraitError, match="two keys are called v1"):
        rotate_keys(twice)
    bare = loaded.model_copy(update={"pii_key": NEW, "former_pii_keys": OLD})
    with pytest.raises(PortraitError, match="with its version in front"):
        rotate_keys(bare)
    assert warehouse.scalar("select count(*) from privacy.key_rotation") == 0
    rotate_keys(with_new_key(loaded))
    back = loaded.model_copy(update={"former_pii_keys": NEW})
    with pytest.raises(PortraitError, match="was this warehouse's key before v2"):
        rotate_keys(back)


def test_a_rotation_waits_for_a_pull(loaded: Settings, warehouse: Warehouse) -> None:
    from portrait.ingest.hashing import GATE

    with warehouse.begin() as pulling:
        pulling.execute(text("select pg_advisory_xact_lock_shared(:k)"), {"k": GATE})
        with pytest.raises(PortraitError, match="run `portrait privacy rotate-keys` again"):
            rotate_keys(with_new_key(loaded), patience_s=0.3)
    # Nor does it come between the map of identities and the copy of `raw`, which must know the same hashes.
    warehouse_run(loaded, Run("2025-03-02.1", NIGHT))
    warehouse.execute("insert into ops.stage_result values ('2025-03-02.1', 'identity', now(), 1, '{}')")
    with pytest.raises(PortraitError, match="run `portrait privacy rotate-keys` again"):
        rotate_keys(with_new_key(loaded), patience_s=0.3)
    warehouse.execute("insert into ops.stage_result values ('2025-03-02.1', 'features', now(), 1, '{}')")
    assert rotate_keys(with_new_key(loaded)).identifiers == 4


def test_keys_are_listed_and_never_shown(loaded: Settings, warehouse: Warehouse) -> None:
    from portrait.privacy.keys import keys_table
    from rich.console import Console

    erase(loaded, ["account:acc-hanmei"], "tests")
    counts = key_counts(loaded)
    # Li Lei's card and phone, his name and address, and his refused order.
    assert (counts["identifiers"], counts["sealed"]) == ({"v1": 2}, {"v1": 4})
    rotated = with_new_key(loaded)
    rotate_keys(rotated)
    counts = key_counts(rotated)
    assert (counts["identifiers"], counts["contacts"], counts["sealed"]) == ({"v2": 2}, {"v2": 2}, {"v2": 4})
    assert set(counts["suppression"]) == {"v1"}
    console = Console(width=200, record=True)
    console.print(keys_table(rotated))
    said = console.export_text()
    assert OLD not in said
    assert "the next key" not in said
    assert re.search(r"v2 +│ +[0-9a-f]{16}", said)


def test_an_embedded_set_up_makes_its_own_key(
    make_settings: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    from .conftest import SOURCES

    url = make_settings(SOURCES).database_url
    embedded = make_settings(SOURCES, PORTRAIT_PII_KEY="").model_copy(update={"database_url": None})
    monkeypatch.setattr("portrait.warehouse.server.start_server", lambda folder: _server_of(str(url)))
    monkeypatch.setattr(
        Settings, "database_name", property(lambda self: str(url).rsplit("/", 1)[1].split("?")[0])
    )
    first = keyring(embedded).current
    rotate_keys(embedded)
    assert make_next_key(embedded) == "v2"
    path = embedded.home / "pii.key"
    assert path.stat().st_mode & 0o777 == 0o600
    ring = keyring(embedded)
    assert (ring.current.version, ring.former) == ("v2", (first,))
    with pytest.raises(PortraitError, match="everything is not there yet"):
        make_next_key(embedded)
    assert rotate_keys(embedded).to_version == "v2"
    assert make_next_key(embedded) == "v3"


def _server_of(url: str) -> Any:
    from sqlalchemy import make_url

    return make_url(url).set(drivername="postgresql+psycopg2")


def test_a_warehouse_that_is_older_than_the_record_of_keys(
    loaded: Settings, warehouse: Warehouse, tmp_path: Path
) -> None:
    """The migration knows the version from the hashes; a new key in the settings does not become theirs unseen."""
    warehouse.execute("update privacy.key_version set fingerprint = ''")
    with pytest.raises(PortraitError, match="hashes of this warehouse are of key v1"):
        deliver_again(without_former(loaded), tmp_path, "2")
    deliver_again(loaded, tmp_path, "3")
    (row,) = warehouse.rows("select version, fingerprint from privacy.key_version")
    assert row == {"version": "v1", "fingerprint": keyring(loaded).current.fingerprint}
    working = loaded.workspace_dir / "identity" / "working.duckdb"
    assert working.is_file()
    assert rotate_keys(loaded).nothing
    assert working.is_file()  # a rotation that has nothing to do costs the next night nothing
