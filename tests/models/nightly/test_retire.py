"""Old nights' files go; what a champion needs stays."""

from datetime import date
from pathlib import Path

from portrait.config import Settings
from portrait.models.nightly.retire import forget
from portrait.warehouse import Warehouse


def _version(warehouse: Warehouse, run_id: str, slot: str, model: str, status: str) -> None:
    warehouse.execute(
        "insert into ops.run (run_id, as_of, run_key, seed, status) values (:r, :d, :r, 0, 'published') "
        "on conflict do nothing",
        r=run_id,
        d=date.fromisoformat(run_id[:10]),
    )
    warehouse.execute(
        "insert into ops.model_version (model_version, slot, model, parameters, run_id, trained_through, path, "
        "status, reason) values (:v, :s, :m, '{}', :r, :d, :p, :status, 'test')",
        v=f"{run_id}/{slot}/{model}",
        s=slot,
        m=model,
        r=run_id,
        d=date.fromisoformat(run_id[:10]),
        p=f"{run_id}/{model}",
        status=status,
    )


def _file(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("x")
    return path


def test_a_champion_of_an_old_night_keeps_its_model(settings: Settings, warehouse: Warehouse) -> None:
    old, new = "2025-01-01.1", "2025-01-09.1"
    # The old night's `ease` still serves slot `new`; its `repeat` was replaced.
    _version(warehouse, old, "new", "ease", "champion")
    _version(warehouse, old, "next", "repeat", "retired")
    _version(warehouse, new, "next", "repeat", "champion")
    files = {
        name: _file(settings.models_dir / run_id / name / "serving" / "model.json")
        for run_id, name in ((old, "ease"), (old, "repeat"))
    }
    current = _file(settings.models_dir / new / "repeat" / "serving" / "model.json")
    leftover = _file(settings.run_dir(old) / "features" / "rfm.parquet")
    kept = _file(settings.run_dir(new) / "features" / "rfm.parquet")

    assert forget(settings, [old]) == [f"{old}/repeat"]

    assert files["ease"].exists()
    assert not files["repeat"].exists()
    assert current.exists()
    assert not leftover.exists()
    assert kept.exists()
    paths = {
        r["model_version"]: r["path"]
        for r in warehouse.rows("select model_version, path from ops.model_version")
    }
    assert paths == {
        f"{old}/new/ease": f"{old}/ease",
        f"{old}/next/repeat": None,
        f"{new}/next/repeat": f"{new}/repeat",
    }


def test_nothing_to_forget(settings: Settings) -> None:
    assert forget(settings, []) == []
