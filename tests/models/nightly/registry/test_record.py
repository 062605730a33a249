"""Nights in MLflow, on the real PostgreSQL, acting as the role of the stages."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pytest
from portrait.models import load
from portrait.models.nightly.registry import record as module
from portrait.models.nightly.registry.record import record_nights
from portrait.models.nightly.registry.store import open_client
from portrait.models.nightly.withdraw import withdraw
from portrait.warehouse.grants import MODEL

Make = Callable[..., Any]

OWN = [[0, 2, 0, 0], [0, 0, 2, 0], [0, 0, 0, 2], [3, 0, 0, 0], [3, 0, 0, 0]] * 4
AGAIN = [[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0]] * 4


def stage(nights: Any) -> list[str]:
    """As the stage writes them."""
    return record_nights(nights.settings.acting_as(MODEL))


def alias(client: Any, slot: str, name: str) -> str | None:
    """The version of ours that an alias stands for."""
    number = client.get_registered_model(slot).aliases.get(name)
    if number is None:
        return None
    tags: dict[str, str] = client.get_model_version(slot, number).tags
    return tags["portrait.model_version"]


def test_nights_are_runs_and_versions_and_aliases_follow(
    make_nights: Make, article: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    nights = make_nights("repeat", "popularity", article, embedding="article", k=1)
    first = nights.write(1, OWN, AGAIN)
    nights.whole(first)
    assert stage(nights) == ["2026-03-01.1"]
    assert stage(nights) == []  # once is enough

    client = open_client(nights.settings, nights.warehouse)
    experiment = client.get_experiment_by_name("nightly")
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert set(runs) == {f"2026-03-01.1/{m}" for m in ("repeat", "popularity", "article")}
    # MLflow's own experiment is not to write where the task happens to run.
    assert client.get_experiment("0").artifact_location.startswith(nights.settings.home.as_uri())
    repeat, trained = runs["2026-03-01.1/repeat"], runs["2026-03-01.1/article"]
    assert (repeat.info.status, repeat.data.params["seed"]) == ("FINISHED", "7")
    # Each buys their own item again: the own list is right for all, the most popular item for nobody.
    assert repeat.data.metrics["next/ndcg_at_1"] == 1
    assert runs["2026-03-01.1/popularity"].data.metrics["next/ndcg_at_1"] == 0
    assert trained.data.params["hidden"] == "8"
    curve = client.get_metric_history(trained.info.run_id, "training/loss")
    assert [m.step for m in curve] == [1, 2, 3]

    manifest = artifact(client, repeat, "manifest.json")
    assert manifest == json.loads(
        (nights.settings.models_dir / "2026-03-01.1" / "repeat" / "manifest.json").read_text()
    )
    assert manifest["index"]["customers"]["positions"] == 20
    assert manifest["metrics"]["next/ndcg_at_1"] == 1
    assert repeat.data.tags["portrait.source"] == manifest["code"]["source"]

    version = client.get_model_version_by_alias("next", "champion")
    assert (version.tags["portrait.model_version"], version.run_id) == (
        "2026-03-01.1/next/repeat",
        repeat.info.run_id,
    )
    assert load(Path(unquote(urlparse(version.source).path))).name == "repeat"
    assert alias(client, "embedding", "champion") == "2026-03-01.1/embedding/article"

    # A night that loses: everybody's own list is cut to nothing, the challenger is not put into service.
    monkeypatch.setattr("portrait.models.nightly.evaluate.compare", lambda *a, **k: LOSES)
    nights.whole(nights.write(3, OWN, AGAIN))
    assert stage(nights) == ["2026-03-03.1"]
    assert alias(client, "next", "champion") == "2026-03-01.1/next/repeat"
    assert alias(client, "next", "challenger") == "2026-03-03.1/next/repeat"
    monkeypatch.undo()

    # One that wins; then people take it out of service.
    nights.whole(nights.write(5, OWN, AGAIN))
    stage(nights)
    assert alias(client, "next", "champion") == "2026-03-05.1/next/repeat"
    assert alias(client, "next", "challenger") is None
    withdraw(nights.settings, "next", "complaints")
    assert alias(client, "next", "champion") == "2026-03-01.1/next/repeat"

    # The same night decided again: written again, not twice.
    nights.whole(first)
    assert stage(nights) == ["2026-03-01.1"]
    named = [r.info.run_name for r in client.search_runs([experiment.experiment_id])]
    assert sorted(named) == sorted(set(named))
    tags = [v.tags["portrait.model_version"] for v in client.search_model_versions("name = 'next'")]
    assert sorted(tags) == [f"2026-03-0{day}.1/next/repeat" for day in (1, 3, 5)]


class Loses:
    difference, low, high, n_users = -1.0, -1.0, -0.5, 20


LOSES = Loses()


def artifact(client: Any, run: Any, name: str) -> dict[str, Any]:
    folder = Path(unquote(urlparse(run.info.artifact_uri).path))
    found: dict[str, Any] = json.loads((folder / name).read_text())
    return found


def test_a_failing_mlflow_stops_no_night_and_the_next_one_writes_both(
    make_nights: Make, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))

    def broken(*_: Any) -> Any:
        raise ConnectionError("no route to MLflow")

    with monkeypatch.context() as patched:
        patched.setattr(module, "open_client", broken)
        assert stage(nights) == []
    assert "no route to MLflow" in caplog.text
    alerts = nights.warehouse.rows("select kind, message from ops.alert")
    assert [a["kind"] for a in alerts] == ["mlflow"]

    nights.whole(nights.write(2, OWN, AGAIN))
    assert stage(nights) == ["2026-03-01.1", "2026-03-02.1"]
    client = open_client(nights.settings, nights.warehouse)
    assert alias(client, "next", "champion") == "2026-03-02.1/next/repeat"


def test_half_a_night_is_written_again(make_nights: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    with monkeypatch.context() as patched:
        patched.setattr(module, "_record_version", lambda *a: 1 / 0)
        assert stage(nights) == []
    assert stage(nights) == ["2026-03-01.1"]
    client = open_client(nights.settings, nights.warehouse)
    experiment = client.get_experiment_by_name("nightly")
    assert [r.info.run_name for r in client.search_runs([experiment.experiment_id])] == [
        "2026-03-01.1/repeat"
    ]


def test_it_can_be_turned_off(make_nights: Make) -> None:
    nights = make_nights("repeat", k=1)
    nights.whole(nights.write(1, OWN, AGAIN))
    models = nights.settings.models.model_copy(update={"mlflow": False})
    nights.settings = nights.settings.model_copy(update={"models": models})
    assert stage(nights) == []
    assert nights.warehouse.scalar("select to_regclass('mlflow.runs')") is None


def test_manifest_says_what_the_lake_held(make_nights: Make) -> None:
    """Rows and days up to as_of only; another file of the same day is another digest."""
    from portrait.features.lake import LakeFile, Manifest
    from portrait.models.nightly.registry.manifest import manifest_of

    nights = make_nights("repeat", k=1)
    run = nights.write(2, OWN, AGAIN)
    lake = Manifest(nights.settings.lake_dir / "manifest.json")
    lake.path.parent.mkdir(parents=True, exist_ok=True)
    days = {str(date(2026, 3, d)): LakeFile(10 * d, f"digest{d}") for d in (1, 2, 3)}
    lake.files = {"online_event": days, "store": {"all": LakeFile(4, "stores")}}
    lake.write()
    data = manifest_of(nights.settings, run, "repeat")["data"]
    events = data["online_event"]
    assert (events["rows"], events["first"], events["last"]) == (30, "2026-03-01", "2026-03-02")
    assert data["store"]["rows"] == 4
    days["2026-03-02"] = LakeFile(20, "other")
    lake.write()
    assert manifest_of(nights.settings, run, "repeat")["data"]["online_event"]["digest"] != events["digest"]
    days["2026-03-02"], days["2026-03-03"] = LakeFile(20, "digest2"), LakeFile(1, "later")
    lake.write()
    assert manifest_of(nights.settings, run, "repeat")["data"]["online_event"] == events
