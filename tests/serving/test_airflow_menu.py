"""From Airflow's own menu to a night's figures: login, menu entry, frame, both languages; no customer in Airflow's log."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from portrait.serving.scopes import Scope

if TYPE_CHECKING:
    from tests.serving.conftest import Shop

pytestmark = [pytest.mark.slow, pytest.mark.airflow]
REPOSITORY = Path(__file__).parents[2]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
playwright = pytest.importorskip("playwright.sync_api", reason="needs requirements-dev.txt")


@dataclass
class Airflow:
    """Airflow's own web server with the plugin, in front of the shop's tables."""

    address: str
    log: Path
    key: str


@pytest.fixture(scope="module")
def airflow(shop: Shop, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    home = tmp_path_factory.mktemp("airflow")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    (home / "passwords.json").write_text(json.dumps({"admin": "correct horse"}))
    environment = {
        **{k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW__")},
        "AIRFLOW_HOME": str(home),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(REPOSITORY / "plugins"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home}/airflow.db",
        "AIRFLOW__API__HOST": "127.0.0.1",
        "AIRFLOW__API__PORT": str(port),
        "AIRFLOW__API__BASE_URL": f"http://127.0.0.1:{port}",
        "PORTRAIT_HOME": str(shop.settings.home),
        "PORTRAIT_CONFIG_DIR": str(shop.settings.home.parent / "config"),
        "PORTRAIT_DATABASE_URL": shop.warehouse.url.render_as_string(hide_password=False),
        "PORTRAIT_PII_KEY": "test-key",
    }
    command = str(Path(sys.executable).parent / "airflow")
    subprocess.run([command, "db", "migrate"], env=environment, check=True, capture_output=True, timeout=180)
    found = Airflow(f"http://127.0.0.1:{port}", home / "api-server.log", shop.key(*Scope))
    with found.log.open("wb") as log:
        process = subprocess.Popen(
            [command, "api-server"], env=environment, stdout=log, stderr=log, start_new_session=True
        )
    try:
        _wait_until_healthy(found, process)
        yield found
    finally:
        os.killpg(process.pid, 15)
        process.wait(timeout=30)


def _wait_until_healthy(airflow: Airflow, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, airflow.log.read_text()[-3000:]
        try:
            if httpx.get(f"{airflow.address}/api/v2/version", timeout=5).status_code == 200:
                return
        except httpx.HTTPError:
            time.sleep(0.5)
    raise AssertionError(airflow.log.read_text()[-3000:])


@pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")
def test_from_the_menu_to_the_figures_in_both_languages(airflow: Airflow, shop: Shop, tmp_path: Path) -> None:
    customers = shop.warehouse.scalar("select count(*) from profile.served_customer where in_statistics")
    someone = shop.warehouse.scalar(
        "select customer_id from profile.customer_profile where frequency > 2 limit 1"
    )
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1400, "height": 900}, locale="en-GB")
        page.set_default_timeout(60_000)
        page.goto(airflow.address)
        page.fill("input[name=username]", "admin")
        page.fill("input[name=password]", "correct horse")
        page.keyboard.press("Enter")
        page.get_by_role("link", name="Portrait").click()
        frame = page.frame_locator("iframe")
        frame.locator("input[name=key]").fill(airflow.key)
        frame.locator("input[name=key]").press("Enter")
        frame.locator(".figures").wait_for()
        assert frame.locator(".figure:first-child b").inner_text() == f"{customers:,}"
        for english, selector in (
            ("Segments", "section.third"),
            ("Models", "table"),
            ("Customer", "form.search"),
        ):
            frame.get_by_role("link", name=english, exact=True).click()
            frame.locator(f"main {selector}").first.wait_for()
        frame.locator("form.search input").fill(someone)
        frame.locator("form.search input").press("Enter")
        frame.locator("section.card dl").first.wait_for()
        assert someone in frame.locator("main").inner_text()
        frame.locator("#language").click()
        frame.get_by_role("link", name="概览", exact=True).click()
        frame.get_by_text("生命周期").first.wait_for()
        assert frame.locator(".figure:first-child b").inner_text() == f"{customers:,}"
        browser.close()
    log = airflow.log.read_text()
    assert "/portrait/customers/{" in log
    assert someone not in log


def test_cards_do_not_reach_the_access_log(airflow: Airflow) -> None:
    key = {"X-API-Key": airflow.key}
    answer = httpx.get(f"{airflow.address}/portrait/customers/card:6200004242?note=13764125093", headers=key)
    assert answer.status_code == 404
    httpx.get(f"{airflow.address}/portrait/nothing/6200004242", headers=key)
    httpx.get(f"{airflow.address}/portrait/customers/card:6200004242")
    time.sleep(1)
    log = airflow.log.read_text()
    assert "6200004242" not in log
    assert "13764125093" not in log
