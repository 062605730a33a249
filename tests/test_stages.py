"""The book of a night's stages, and whole nights of a small simulated retailer in this process."""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from portrait import stages
from portrait.config import Settings, load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.errors import PortraitError
from portrait.ingest import pull
from portrait.profiles.publish import rollback
from portrait.run import Run
from portrait.simulate import Dirt, Retailer, simulate
from portrait.stages import begin_run, fail_run, find_run
from portrait.warehouse import Warehouse
from sqlalchemy import URL

from .conftest import copied

DAY = date(2026, 3, 1)


def book(warehouse: Warehouse) -> list[dict[str, Any]]:
    return warehouse.rows("select run_id, run_key, status, error from ops.run order by run_id")


def test_the_same_key_is_the_same_run(settings: Settings, warehouse: Warehouse) -> None:
    run = begin_run(settings, DAY, "airflow/a")
    assert run == Run("2026-03-01.1", DAY, settings.models.seed)
    assert begin_run(settings, DAY, "airflow/a") == run
    assert find_run(settings, "2026-03-01.1") == run
    assert [r["run_key"] for r in book(warehouse)] == ["airflow/a"]


def test_another_key_for_the_date_is_a_second_attempt(settings: Settings) -> None:
    begin_run(settings, DAY, "airflow/a")
    assert begin_run(settings, DAY, "airflow/b").run_id == "2026-03-01.2"
    assert begin_run(settings, DAY + timedelta(days=1), "airflow/c").run_id == "2026-03-02.1"


def test_a_key_is_for_one_date(settings: Settings) -> None:
    begin_run(settings, DAY, "airflow/a")
    with pytest.raises(PortraitError, match="'airflow/a' is for 2026-03-01, not 2026-03-02; start a new run"):
        begin_run(settings, DAY + timedelta(days=1), "airflow/a")


def test_a_run_keeps_the_seed_it_started_with(settings: Settings, warehouse: Warehouse) -> None:
    begin_run(settings, DAY, "a")
    changed = settings.model_copy(update={"models": settings.models.model_copy(update={"seed": 99})})
    assert begin_run(changed, DAY, "a").seed == settings.models.seed
    assert begin_run(changed, DAY, "b").seed == 99


def test_a_failed_run_goes_on(settings: Settings, warehouse: Warehouse) -> None:
    run = begin_run(settings, DAY, "a")
    fail_run(settings, "a", "no space left on device")
    assert book(warehouse)[0] | {"run_key": ""} == {
        "run_id": run.run_id,
        "run_key": "",
        "status": "failed",
        "error": "no space left on device",
    }
    assert warehouse.scalar("select finished_at is not null from ops.run")
    assert begin_run(settings, DAY, "a") == run
    assert (book(warehouse)[0]["status"], book(warehouse)[0]["error"]) == ("running", None)


def test_a_published_run_does_not_fail_any_more(settings: Settings, warehouse: Warehouse) -> None:
    begin_run(settings, DAY, "a")
    warehouse.execute("update ops.run set status = 'published'")
    fail_run(settings, "a", "a late report")
    assert (book(warehouse)[0]["status"], book(warehouse)[0]["error"]) == ("published", None)
    begin_run(settings, DAY, "a")
    assert book(warehouse)[0]["status"] == "published"


def test_an_unknown_run(settings: Settings) -> None:
    with pytest.raises(PortraitError, match="no run '2026-03-01.1'"):
        find_run(settings, "2026-03-01.1")


def test_a_stage_is_recorded_once(settings: Settings, warehouse: Warehouse) -> None:
    run = begin_run(settings, DAY, "a")
    first = stages.resolve(settings, run)
    assert first["customers"] == 0
    sql = "select stage, result, finished_at from ops.stage_result where run_id = :r"
    (before,) = warehouse.rows(sql, r=run.run_id)
    assert (before["stage"], before["result"]) == ("identity", first)
    stages.resolve(settings, run)
    (after,) = warehouse.rows(sql, r=run.run_id)
    assert after["result"] == first
    assert after["finished_at"] > before["finished_at"]


def test_a_stage_that_fails_is_not_recorded(settings: Settings, warehouse: Warehouse) -> None:
    run = begin_run(settings, DAY, "a")
    with pytest.raises(PortraitError):
        stages.train(settings, run, "ease2")
    assert warehouse.scalar("select count(*) from ops.stage_result") == 0


def test_a_model_that_fails_is_left_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever it fails with, as in the Dag; the night goes on with the others."""
    asked: list[str] = []

    def train(settings: Settings, run: Run, model: str) -> dict[str, Any]:
        asked.append(model)
        raise MemoryError(model) if model == "ease" else PortraitError(model)

    def nothing(*_: Any) -> dict[str, Any]:
        return {}

    monkeypatch.setattr(stages, "train", train)
    for name in (
        "resolve",
        "suggest",
        "snapshot",
        "features",
        "profile_model",
        "evaluate",
        "promote",
        "score",
        "profile",
        "load",
        "audit",
    ):
        monkeypatch.setattr(stages, name, _named(nothing, name))
    monkeypatch.setattr(stages, "publish", _named(nothing, "publish"))
    results = stages.nightly(settings, Run("r", DAY))
    assert asked == [c.name for c in settings.models.candidates]
    assert "publish" in results
    assert not [name for name in results if name.startswith("train")]
    assert caplog.text.count("is left out tonight") == len(asked)


def _named(stage: Callable[..., dict[str, Any]], name: str) -> Callable[..., dict[str, Any]]:
    def call(*arguments: Any) -> dict[str, Any]:
        return stage(*arguments)

    call.__name__ = name
    return call


# Whole nights

MODELS = """
candidates:
  - {name: popularity}
  - {name: repeat}
  - {name: ease, params: {regularisation: 100.0}}
  - {name: multvae, params: {hidden: 32, latent: 8, epochs: 5, patience: 2, anneal_epochs: 2, batch_size: 50}}
embedding_model: multvae
profile_model: true
holdout_days: 5
threads: 1
seed: 7
"""
TABLES = {
    "customer_profile": "customer_id",
    "rfm": "customer_id",
    "affinity": "customer_id, dimension, value",
    "segment": "customer_id",
    "recommendation": "customer_id, kind, rank",
    "customer_value": "customer_id",
    "customer_tag": "customer_id, tag",
    "tag_definition": "tag",
    "embedding": "customer_id",
    "repurchase": "customer_id, category",
    "search_interest": "customer_id, rank",
    "popular": "rank",
}
# No late rows: a late row of the first night would rightly change it.
RETAILER = Retailer(customers=300, products=300, stores=3, history_days=45, dirt=Dirt(late=0))
FIRST = RETAILER.start + timedelta(days=39)
SECOND = FIRST + timedelta(days=3)
Tables = dict[str, list[dict[str, Any]]]


class Shop:
    """A workspace on a database of its own, and nights in it."""

    def __init__(self, folder: Path, warehouse: Warehouse) -> None:
        config = folder / "config"
        config.mkdir()
        for name in ("identity.yaml", "features.yaml", "sources.yaml", "tags.yaml"):
            shutil.copy(CONFIG_DIR / name, config)
        (config / "model.yaml").write_text(MODELS)
        self.warehouse = warehouse
        self.settings = load_settings(
            {
                "PORTRAIT_HOME": str(folder / "home"),
                "PORTRAIT_CONFIG_DIR": str(config),
                "PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False),
                "PORTRAIT_PII_KEY": "test-key",
            }
        )

    def deliver(self, until: date) -> None:
        simulate(RETAILER, self.settings.simulated_dir, RETAILER.start, until)

    def pull(self, until: date) -> None:
        for source in self.settings.sources.sources:
            pull(self.settings, source.name, until)

    def night(self, day: date, key: str) -> Tables:
        run = begin_run(self.settings, day, key)
        self.results = stages.nightly(self.settings, run)
        return self.tables()

    def tables(self) -> Tables:
        """What readers see."""
        return {
            name: self.warehouse.rows(
                f"select {'customer_id, model_version, embedding::text' if name == 'embedding' else '*'} "
                f"from profile.{name} order by {key}"
            )
            for name, key in TABLES.items()
        }


@dataclass
class Story:
    """What readers saw, night after night."""

    shop: Shop
    results: dict[str, dict[str, Any]]
    first: Tables
    again: Tables
    with_later_deliveries: Tables
    second: Tables
    first_after_second: Tables


@pytest.fixture(scope="module")
def story(server: URL, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with copied(server, template) as warehouse:
        shop = Shop(tmp_path_factory.mktemp("story"), warehouse)
        shop.deliver(FIRST)
        shop.pull(FIRST)
        first = shop.night(FIRST, "first")
        results = shop.results
        again = shop.night(FIRST, "first")
        shop.deliver(SECOND)
        shop.pull(SECOND)
        later = shop.night(FIRST, "first, once more")
        second = shop.night(SECOND, "second")
        after = shop.night(FIRST, "first, after the second")
        yield Story(shop, results, first, again, later, second, after)


def without_run(tables: Tables) -> Tables:
    """Versions are named after the run that trained them."""
    return {
        name: [{k: v for k, v in row.items() if k != "model_version"} for row in rows]
        for name, rows in tables.items()
    }


@pytest.mark.slow
def test_a_night_is_published(story: Story) -> None:
    assert all(story.first.values())
    assert {r["as_of"] for r in story.first["customer_profile"]} == {FIRST}
    runs = story.shop.warehouse.rows("select run_id, status from ops.run order by started_at")
    assert runs == [
        {"run_id": f"{FIRST}.1", "status": "published"},
        {"run_id": f"{FIRST}.2", "status": "published"},
        {"run_id": f"{SECOND}.1", "status": "published"},
        {"run_id": f"{FIRST}.3", "status": "published"},
    ]
    recorded = story.shop.warehouse.rows(
        "select stage, result from ops.stage_result where run_id = :r", r=f"{FIRST}.1"
    )
    assert {r["stage"] for r in recorded} == {
        *("identity", "snapshot", "features", "evaluate", "promote", "score"),
        *("train.popularity", "train.repeat", "train.ease", "train.multvae"),
        *("suggest", "profile_model", "profile", "load", "audit", "publish"),
    }
    # Stages that may fail without stopping the night did not.
    assert [(r["stage"], r["result"]) for r in recorded if "error" in (r["result"] or {})] == []
    assert story.shop.warehouse.scalar(r"select count(*) from ops.alert where kind like 'no\_%'") == 0
    stored = dict(story.results["profile"]["rows"])
    shown = {name: len(rows) for name, rows in story.first.items()}
    # These views leave out who does not allow what they show.
    for name in ("segment", "search_interest"):
        assert 0 < shown.pop(name) < stored.pop(name)
    assert stored == shown


@pytest.mark.slow
def test_the_profile_knows_everybody_who_was_seen(story: Story) -> None:
    mapped = story.shop.warehouse.scalar(
        "select count(distinct customer_id) from identity.customer_identifier where valid_from <= :d "
        "and (valid_to is null or valid_to > :d)",
        d=FIRST,
    )
    assert len(story.first["customer_profile"]) == mapped


@pytest.mark.slow
def test_what_is_inferred_is_shown_of_those_who_allow_it(story: Story) -> None:
    allowed = {
        r["customer_id"]
        for r in story.shop.warehouse.rows(
            "select customer_id from privacy.consent where purpose = 'profiling_inference' and granted"
        )
    }
    shown = {
        r["customer_id"]: r["gender_confidence"]
        for r in story.first["customer_profile"]
        if r["gender_confidence"] is not None
    }
    assert len(shown) > 50
    assert set(shown) <= allowed
    assert all(0 <= p <= 1 for p in shown.values())


@pytest.mark.slow
def test_the_same_night_under_the_same_key_gives_the_same_rows(story: Story) -> None:
    for name, rows in story.first.items():
        assert story.again[name] == rows, name


@pytest.mark.slow
def test_later_deliveries_change_nothing(story: Story) -> None:
    """Nothing dated after as_of is used: the date again, as a second attempt, with three more days in `raw`."""
    newest = story.shop.warehouse.scalar("select max(business_date) from raw.online_event")
    assert newest == SECOND
    expected, found = without_run(story.first), without_run(story.with_later_deliveries)
    for name in expected:
        assert found[name] == expected[name], name


@pytest.mark.slow
def test_a_later_night_changes_nothing(story: Story) -> None:
    """The date again after a later night has learnt new customers, items and a champion."""
    expected, found = without_run(story.first), without_run(story.first_after_second)
    for name in ("customer_profile", "rfm", "affinity", "recommendation", "embedding"):
        assert found[name] == expected[name], name


@pytest.mark.slow
def test_the_second_night_goes_on(story: Story) -> None:
    assert {r["as_of"] for r in story.second["customer_profile"]} == {SECOND}
    assert {r["role"] for r in _evaluated(story, f"{SECOND}.1")} == {"candidate", "champion"}
    assert {r["role"] for r in _evaluated(story, f"{FIRST}.1")} == {"candidate"}
    replaced = story.shop.warehouse.rows(
        "select replaces from ops.model_version where run_id = :r and slot = 'next'", r=f"{SECOND}.1"
    )
    assert replaced[0]["replaces"].startswith(f"{FIRST}.2/next/")
    serving = story.shop.warehouse.rows(
        "select distinct trained_through from ops.model_version where slot = 'embedding' and status = 'champion'"
    )
    assert serving == [{"trained_through": SECOND}]


def _evaluated(story: Story, run_id: str) -> list[dict[str, Any]]:
    return story.shop.warehouse.rows("select role from ops.evaluation where run_id = :r", r=run_id)


@pytest.mark.slow
def test_rolling_back_to_the_first_of_the_nights(story: Story) -> None:
    settings = story.shop.settings
    shown = story.shop.warehouse.scalar("select run_id from ops.published_run")
    try:
        assert rollback(settings, f"{FIRST}.1") == f"{FIRST}.1"
        found = story.shop.tables()
    finally:
        rollback(settings, shown)
    for name, rows in story.first.items():
        assert found[name] == rows, name
