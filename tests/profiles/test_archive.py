"""Old nights leave the database for files, whole, and come back from them as they were."""

from collections.abc import Callable
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from portrait.cli import app
from portrait.config import Settings
from portrait.config.profiles import ProfilesConfig
from portrait.errors import PortraitError
from portrait.ingest.suppression import Suppression
from portrait.privacy.files import FileEraser
from portrait.profiles import archive as archive_module
from portrait.profiles import retention
from portrait.profiles.archive_files import archive_dir, check_files, read_manifest
from portrait.profiles.diff import difference
from portrait.profiles.history import stored_runs
from portrait.profiles.publish import load, publish, rollback
from portrait.profiles.restore import archived_nights, restore
from portrait.profiles.tables import TABLES
from portrait.run import Run
from portrait.warehouse import Warehouse
from typer.testing import CliRunner

Night = Callable[..., Run]
FIRST, SECOND = Run("2026-03-01.1", date(2026, 3, 1), 7), Run("2026-03-02.1", date(2026, 3, 2), 7)
AS_OF = "select distinct run_id from profile.as_of('2026-03-0{}')"


@pytest.fixture
def archived(night: Night, settings: Settings) -> Path:
    """Two nights of which one is kept; the archive of the first."""
    for day in (1, 2):
        night(day, f"night {day}", keep=1)
    return archive_dir(settings, FIRST.run_id)


def stored(warehouse: Warehouse) -> set[str]:
    with warehouse.begin() as connection:
        return stored_runs(connection)


def contents(warehouse: Warehouse, suffix: str) -> dict[str, list[dict]]:
    """Every row of a night's tables."""
    return {
        t.name: warehouse.rows(
            f"select {', '.join(f'{c}::text' for c in ('run_id', *t.columns))} from profile_store.{t.name}_{suffix}"
            f" order by {', '.join(t.key)}"
        )
        for t in TABLES.values()
    }


def mentions(folder: Path, customer_id: str) -> set[str]:
    """Tables whose files hold rows of a customer."""
    return {
        file.parent.name
        for file in folder.rglob("*.parquet")
        if "customer_id" in pq.read_schema(file).names
        and customer_id in pq.read_table(file, columns=["customer_id"])["customer_id"].to_pylist()
    }


def test_a_night_is_archived_whole_and_then_dropped(
    archived: Path, warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert stored(warehouse) == {SECOND.run_id}
    manifest = read_manifest(archived)
    rows = {t: sum(p.rows for p in parts) for t, parts in manifest.tables.items()}
    assert set(rows) == set(TABLES)
    # 6 customers, 2 affinities each, 2 recommendations of 2 kinds each
    assert (rows["customer_profile"], rows["affinity"], rows["recommendation"]) == (6, 12, 24)
    file = archived / "customer_profile" / "part-0001.parquet"
    assert set(pq.read_table(file)["region"].to_pylist()) == {"night 1"}
    assert pq.read_metadata(file).row_group(0).column(0).compression == "ZSTD"
    assert [f.name for f in archived.parent.iterdir()] == [FIRST.run_id]  # nothing half-written
    [noted] = archived_nights(settings)
    assert (noted.run_id, noted.as_of, noted.path) == (FIRST.run_id, FIRST.as_of, "archive/2026-03-01.1")
    assert (noted.rows, noted.octets, noted.restored_at) == (manifest.rows, manifest.octets, None)

    assert warehouse.scalar(AS_OF.format(2)) == SECOND.run_id
    named = (
        "2026-03-01.1, valid on 2026-03-01, is archived in archive/2026-03-01.1/customer_profile/part-0001"
    )
    with pytest.raises(Exception, match=named):
        warehouse.scalar(AS_OF.format(1))

    monkeypatch.setattr("portrait.cli.archives.settings_of", lambda _: settings)
    assert "archive/2026-03-01.1" in CliRunner().invoke(app, ["archive", "list"]).output


def test_restored_it_is_what_it_was_and_only_read(
    night: Night, small_night: Callable, warehouse: Warehouse, settings: Settings
) -> None:
    night(1, "night 1", keep=1)
    before = contents(warehouse, "20260301_1")
    profiles = settings.run_dir(FIRST.run_id) / "profiles"
    night(2, "night 2", keep=1)
    restore(settings, FIRST.run_id)
    assert contents(warehouse, "20260301_1") == before
    assert warehouse.scalar(AS_OF.format(1)) == FIRST.run_id
    assert difference(settings, FIRST.run_id, SECOND.run_id).came == 0
    with pytest.raises(PortraitError, match="is in the database: there is nothing to restore"):
        restore(settings, FIRST.run_id)
    with pytest.raises(PortraitError, match="restored from its archive"):
        publish(settings, FIRST)
    assert profiles.is_dir()
    with pytest.raises(PortraitError, match="restored from its archive"):
        load(settings, FIRST)
    with pytest.raises(PortraitError, match="tables are gone; kept runs: 2026-03-02.1$"):
        rollback(settings, FIRST.run_id)


def test_a_restored_night_goes_after_its_days(
    archived: Path, warehouse: Warehouse, settings: Settings
) -> None:
    written = (archived / "manifest.json").stat().st_mtime_ns
    restore(settings, FIRST.run_id)
    assert retention.drop_old_runs(settings, warehouse, keep=1) == []
    warehouse.execute("update ops.archive set restored_at = restored_at - interval '8 days'")
    assert retention.drop_old_runs(settings, warehouse, keep=1) == [FIRST.run_id]
    assert (archived / "manifest.json").stat().st_mtime_ns == written  # it was not archived again
    assert archived_nights(settings)[0].restored_at is None
    short = ProfilesConfig(kept_nights=1, kept_month_ends=0, restored_days=7, archive_days=1)
    warehouse.execute("update ops.run set as_of = as_of - 1 where run_id = :r", r=FIRST.run_id)
    warehouse.execute("update ops.archive set as_of = as_of - 1")
    retention.drop_old_runs(settings.model_copy(update={"profiles": short}), warehouse)
    assert not archived.exists()
    assert archived_nights(settings) == []


def test_an_erased_customer_is_gone_from_the_archive(
    archived: Path, warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert mentions(archived, "c3") == {
        "customer_profile", "rfm", "affinity", "segment", "embedding", "recommendation", "customer_value",
    }  # fmt: skip
    FileEraser(settings, warehouse, ["c3"], [], []).erase()
    assert mentions(archived, "c3") == set()
    manifest = read_manifest(archived)
    check_files(archived, manifest)  # the list knows the new files
    assert sum(p.rows for p in manifest.tables["recommendation"]) == 20
    monkeypatch.setattr("portrait.cli.archives.settings_of", lambda _: settings)
    restored = CliRunner().invoke(app, ["archive", "restore", FIRST.run_id])
    assert f"2026-03-01.1 is back: {manifest.rows} rows in {len(TABLES)} tables" in restored.output
    assert (
        warehouse.scalar(
            f"select count(*) from ({AS_OF.format(1).replace('distinct run_id', 'customer_id')}) p"
        )
        == 5
    )


def test_a_damaged_file_is_not_restored(archived: Path, warehouse: Warehouse, settings: Settings) -> None:
    file = archived / "affinity" / "part-0001.parquet"
    octets = bytearray(file.read_bytes())
    octets[len(octets) // 2] ^= 1
    file.write_bytes(octets)
    said = r"affinity/part-0001.parquet: has checksum .* restore the archive from a backup"
    with pytest.raises(PortraitError, match=said):
        restore(settings, FIRST.run_id)
    assert stored(warehouse) == {SECOND.run_id}
    with pytest.raises(PortraitError, match="no archive of run 'nobody'; archived runs: 2026-03-01.1"):
        restore(settings, "nobody")


def test_what_cannot_be_archived_stays(
    night: Night, warehouse: Warehouse, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: Path) -> None:
        raise OSError("No space left on device")

    night(1)
    with monkeypatch.context() as patched:
        patched.setattr(archive_module, "_sync", full)
        night(2, keep=1)
    assert stored(warehouse) == {FIRST.run_id, SECOND.run_id}
    [alert] = warehouse.rows("select message from ops.alert where kind = 'not_archived'")
    assert "run 2026-03-01.1 could not be archived and keeps its tables: No space left" in alert["message"]
    assert not archive_dir(settings, FIRST.run_id).exists()
    # The last night of a month that is over
    warehouse.execute("update ops.run set as_of = '2026-02-28' where run_id = :r", r=FIRST.run_id)
    assert retention.drop_old_runs(settings, warehouse, keep=1) == []
    warehouse.execute("update ops.run set as_of = '2026-03-01' where run_id = :r", r=FIRST.run_id)
    assert retention.drop_old_runs(settings, warehouse, keep=1) == [FIRST.run_id]


def test_month_ends(
    warehouse: Warehouse, add_run: Callable[[Run], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    days = ("2025-11-30", "2025-12-30", "2025-12-31", "2026-01-30", "2026-02-01", "2026-02-02")
    nights = [f"{day}.1" for day in days] + ["2025-12-31.2"]
    for run_id in nights:
        add_run(Run(run_id, date.fromisoformat(run_id[:10])))
    # The latest publication first: December was corrected yesterday.
    monkeypatch.setattr(retention, "published_runs", lambda _: nights[::-1])
    with warehouse.begin() as connection:
        assert retention.month_ends(connection, 2) == ["2026-01-30.1", "2025-12-31.2"]
        assert retention.month_ends(connection, 0) == []
        assert retention.month_ends(connection, 9) == ["2026-01-30.1", "2025-12-31.2", "2025-11-30.1"]


def test_who_is_erased_while_it_is_archived_is_not_in_it(
    night: Night, settings: Settings, warehouse: Warehouse, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The list grows between reading the tables and the folder's appearance: it is written again, without them."""
    night(1)
    empty = Suppression(b"key")
    grown = Suppression(b"key", {empty.hash("c3"): frozenset({"customer"})})
    lists = iter([empty, grown, grown, grown])
    monkeypatch.setattr(archive_module, "read_suppression", lambda *_: next(lists))
    manifest = archive_module.archive(settings, warehouse, FIRST.run_id, FIRST.as_of)
    assert sum(p.rows for p in manifest.tables["customer_profile"]) == 5
    assert mentions(archive_dir(settings, FIRST.run_id), "c3") == set()


def test_many_rows_are_several_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "PART_ROWS", 4)
    batches = [pa.record_batch({"n": pa.array(range(i, i + 2))}) for i in range(0, 10, 2)]
    reader = pa.RecordBatchReader.from_batches(batches[0].schema, iter(batches))
    portions = [[n for b in p for n in b["n"].to_pylist()] for p in archive_module._portions(reader)]
    assert portions == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
