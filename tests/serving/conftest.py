"""One published night of a small simulated retailer, and the API in front of it on loopback."""

import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from portrait import stages
from portrait.config import Settings, load_settings
from portrait.config.settings import CONFIG_DIR
from portrait.ingest import pull
from portrait.run import Run
from portrait.serving.app import create_app
from portrait.serving.keys import create_key
from portrait.serving.scopes import Scope
from portrait.simulate import Dirt, Retailer, simulate
from portrait.stages import begin_run
from portrait.warehouse import Warehouse
from portrait.warehouse.database import create_database
from portrait.warehouse.migrate import migrate
from sqlalchemy import URL

RETAILER = Retailer(customers=150, products=96, stores=2, history_days=30, dirt=Dirt(late=0))
NIGHT = RETAILER.start + timedelta(days=29)
MODELS = """
candidates:
  - {name: popularity}
  - {name: article, params: {hidden: 16, latent: 4, batch_size: 32, epochs: 2}}
embedding_model: article
holdout_days: 4
threads: 1
seed: 7
"""
SERVING = "refresh_seconds: 0.1\nrequests_per_second: 10000\nburst: 20000\n"


@dataclass
class Shop:
    """A workspace with a published night."""

    settings: Settings
    warehouse: Warehouse
    run: Run

    def key(self, *scopes: Scope, **limits: Any) -> str:
        """A new key; every scope unless told."""
        return create_key(self.settings, "test", scopes or tuple(Scope), **limits)


def make_shop(folder: Path, warehouse: Warehouse) -> Shop:
    """Simulate, pull and run a whole night, but for the review queue, which the API does not read."""
    config = folder / "config"
    config.mkdir(parents=True)
    for file in CONFIG_DIR.glob("*.yaml"):
        shutil.copy(file, config)
    (config / "model.yaml").write_text(MODELS)
    (config / "serving.yaml").write_text(SERVING)
    settings = load_settings(
        {
            "PORTRAIT_HOME": str(folder / "home"),
            "PORTRAIT_CONFIG_DIR": str(config),
            "PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False),
            "PORTRAIT_PII_KEY": "test-key",
        }
    )
    simulate(RETAILER, settings.simulated_dir, RETAILER.start, NIGHT)
    for source in settings.sources.sources:
        pull(settings, source.name, NIGHT)
    return Shop(settings, warehouse, night(settings, "first"))


def night(settings: Settings, key: str) -> Run:
    """The night of the last day, under this run key."""
    run = begin_run(settings, NIGHT, key)
    for stage in (stages.resolve, stages.snapshot, stages.features):
        stage(settings, run)
    for candidate in settings.models.candidates:
        stages.train(settings, run, candidate.name)
    for stage in (
        *(stages.evaluate, stages.promote, stages.score),
        *(stages.profile, stages.load, stages.audit, stages.publish),
    ):
        stage(settings, run)
    return run


@pytest.fixture(scope="session")
def shop(server: URL, tmp_path_factory: pytest.TempPathFactory) -> Shop:
    """The night that tests only read."""
    create_database(server, "portrait_serving")
    warehouse = Warehouse(server.set(database="portrait_serving"))
    migrate(warehouse)
    return make_shop(tmp_path_factory.mktemp("serving"), warehouse)


@contextmanager
def listening(settings: Settings) -> Iterator[str]:
    """The API on a free port of loopback; gives its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = uvicorn.Config(
        create_app(settings), host="127.0.0.1", port=port, log_config=None, access_log=False, http="httptools"
    )
    running = uvicorn.Server(config)
    thread = threading.Thread(target=running.run, daemon=True)
    thread.start()
    until(lambda: running.started, 20)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        running.should_exit = True
        thread.join(15)


def until(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    """Wait for something to become true; gives it."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)
    return found


@pytest.fixture(scope="session")
def address(shop: Shop) -> Iterator[str]:
    with listening(shop.settings) as where:
        yield where


@pytest.fixture(scope="session")
def api(shop: Shop, address: str) -> Iterator[httpx.Client]:
    """A caller with every scope, whose key is known already."""
    with httpx.Client(base_url=address, headers={"X-API-Key": shop.key()}, timeout=20) as client:
        until(lambda: client.get("/openapi.json").status_code == 200)
        yield client


@pytest.fixture(scope="session")
def caller(shop: Shop, address: str) -> Callable[..., httpx.Client]:
    """A caller with these scopes."""

    def make(*scopes: Scope, **limits: Any) -> httpx.Client:
        client = httpx.Client(
            base_url=address, headers={"X-API-Key": shop.key(*scopes, **limits)}, timeout=20
        )
        until(lambda: client.get("/openapi.json").status_code == 200)
        return client

    return make


@pytest.fixture(scope="session")
def listen() -> Callable[[Settings], Any]:
    """`with listen(settings) as address`."""
    return listening


@pytest.fixture(scope="session")
def wait() -> Callable[..., Any]:
    """`wait(condition, seconds)`."""
    return until
