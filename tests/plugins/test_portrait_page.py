"""The menu entry and the mounted API, as Airflow's API server takes them."""

import os
import subprocess
import sys
from pathlib import Path

PLUGINS = Path(__file__).parents[2] / "plugins"

LOOK = """
import sys
from airflow import plugins_manager
(view,) = [v for v in plugins_manager._get_ui_plugins()[0] if v["name"] == "Portrait"]
(app,) = [a for a in plugins_manager.get_fastapi_plugins()[0] if a["name"] == "Portrait"]
from airflow.api_fastapi.core_api.datamodels.plugins import ExternalViewResponse
print("SAID", ExternalViewResponse(**view).href, app["url_prefix"], view["url_route"])
assert "portrait.serving.app" not in sys.modules, "made before anybody asked"
from fastapi import FastAPI
from fastapi.testclient import TestClient
outer = FastAPI()
outer.mount(app["url_prefix"], app["app"])
client = TestClient(outer)
page = client.get("/portrait/ui/")
print("SAID", page.status_code, "<title>Portrait</title>" in page.text, client.get("/portrait/ui/app.js").status_code)
answer = client.get("/portrait/segments")
print("SAID", answer.status_code, answer.json()["title"])
"""


def test_airflow_shows_the_page_and_mounts_the_api(tmp_path: Path) -> None:
    """In a process of its own: Airflow reads its plugins once. Without a database the page is there, the data is not."""
    environment = {
        **os.environ,
        "AIRFLOW_HOME": str(tmp_path),
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PLUGINS),
        "AIRFLOW__API__BASE_URL": "http://localhost:8080/shop",
        "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{tmp_path}/airflow.db",
        "PORTRAIT_HOME": str(tmp_path / "home"),
        "PORTRAIT_DATABASE_URL": "postgresql://x@127.0.0.1:1/x",
        "PORTRAIT_PII_KEY": "x",
    }
    done = subprocess.run(
        [sys.executable, "-c", LOOK], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    # Airflow's logging writes there, too.
    said = [line.removeprefix("SAID ") for line in done.stdout.splitlines() if line.startswith("SAID ")]
    assert said == [
        "/shop/portrait/ui/ /portrait portrait",
        "200 True 200",
        "503 Not available",
    ]
