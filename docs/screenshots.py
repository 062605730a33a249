"""The screenshots of images/, taken anew from a workspace with published nights.

    PORTRAIT_HOME=... python docs/screenshots.py [--customer C0f1e2d3c4b5a697]

Starts Airflow as `make ui` does and Debian's Chromium (requirements-dev.txt), and goes in by Airflow's own menu.
Pictures above 200 KiB (whole pages) want fewer colours before they are committed, for example with pngquant.
"""

import argparse
import shutil
from pathlib import Path
from typing import Any
from urllib.parse import quote

from playwright.sync_api import sync_playwright
from portrait.config import load_settings
from portrait.local.airflow import LOGIN, AirflowServices
from portrait.serving.keys import create_key
from portrait.serving.scopes import Scope
from portrait.warehouse import open_warehouse

FOLDER = Path(__file__).parent / "images"
SOMEONE = """
select p.customer_id from profile.customer_profile p
where p.channels = 'both' and p.frequency between 8 and 14 and p.lifecycle = 'active' and p.is_known
  and (select count(*) from profile.customer_tag t where t.customer_id = p.customer_id) > 5
order by p.customer_id limit 1
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--customer", help="whose card is shown; a buyer in both channels unless told")
    customer = parser.parse_args().customer
    settings = load_settings()
    customer = customer or open_warehouse(settings).scalar(SOMEONE)
    key = create_key(settings, "screenshots", tuple(Scope), days=1)
    services = AirflowServices(settings)
    services.prepare()
    with services.running(), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 2000, "height": 1000}, locale="en-GB")
        page.set_default_timeout(90_000)
        _enter(page, services)
        _night(page, services.address)
        _assets(page, services.address)
        _from_the_menu(page, services.address, key)
        page.close()
        _pages(browser, services.address, key, customer)
        browser.close()


def _enter(page: Any, services: AirflowServices) -> None:
    page.goto(services.address)
    page.fill("input[name=username]", LOGIN)
    page.fill("input[name=password]", services.password)
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Portrait").wait_for()


def _night(page: Any, address: str) -> None:
    """The graph of the last night, its groups open."""
    runs = page.request.get(f"{address}/api/v2/dags/nightly/dagRuns?limit=1&order_by=-run_after").json()
    page.goto(f"{address}/dags/nightly/runs/{quote(runs['dag_runs'][0]['dag_run_id'], safe='')}")
    page.get_by_role("button", name="Show Graph").click()
    page.get_by_role("button", name="Expand all task groups").click()
    page.get_by_role("button", name="Collapse Details Panel").click()
    _graph(page, FOLDER / "nightly.png")


def _assets(page: Any, address: str) -> None:
    found = page.request.get(f"{address}/api/v2/assets?name_pattern=profile.customer_profile").json()
    page.goto(f"{address}/assets/{found['assets'][0]['id']}")
    _graph(page, FOLDER / "assets.png")


def _graph(page: Any, path: Path) -> None:
    """What is drawn, without the empty room around it."""
    page.locator(".react-flow__node").first.wait_for()
    page.wait_for_timeout(4000)
    page.locator(".react-flow__controls-fitview").click()
    page.wait_for_timeout(2000)
    page.locator(".react-flow__minimap, .react-flow__controls").evaluate_all(
        "all => all.forEach(e => e.remove())"
    )
    boxes = [node.bounding_box() for node in page.locator(".react-flow__node").all()]
    left, top = min(b["x"] for b in boxes) - 12, min(b["y"] for b in boxes) - 12
    right = max(b["x"] + b["width"] for b in boxes) + 12
    bottom = max(b["y"] + b["height"] for b in boxes) + 12
    page.screenshot(path=path, clip={"x": left, "y": top, "width": right - left, "height": bottom - top})


def _from_the_menu(page: Any, address: str, key: str) -> None:
    page.set_viewport_size({"width": 1400, "height": 900})
    page.goto(address)
    page.get_by_role("link", name="Portrait").click()
    frame = page.frame_locator("iframe")
    frame.locator("input[name=key]").fill(key)
    frame.locator("input[name=key]").press("Enter")
    frame.locator(".chart canvas").first.wait_for()
    page.wait_for_timeout(3000)
    page.screenshot(path=FOLDER / "page-in-airflow.png")


def _pages(browser: Any, address: str, key: str, customer: str) -> None:
    for name, where, locale in (
        ("page-overview-zh", "overview", "zh-CN"),
        ("page-segments", "segments", "en-GB"),
        ("page-models", "models", "en-GB"),
        ("page-customer", f"customer/{customer}", "en-GB"),
    ):
        page = browser.new_page(viewport={"width": 960, "height": 900}, locale=locale)
        page.set_default_timeout(90_000)
        page.add_init_script(f"sessionStorage.setItem('portrait.key', '{key}')")
        page.goto(f"{address}/portrait/ui/#/{where}")
        page.locator("main section.card").first.wait_for()
        page.wait_for_timeout(4000)
        page.screenshot(path=FOLDER / f"{name}.png", full_page=True)
        page.close()


if __name__ == "__main__":
    main()
