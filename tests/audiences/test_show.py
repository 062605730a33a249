"""What people see on the command line, and what they are refused."""

import io
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from portrait.audiences.refresh import refresh
from portrait.audiences.show import audience_table, preview, sketch
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse
from rich.console import Console

PEOPLE = [{"customer_id": f"c{i}", "monetary": float(i)} for i in range(8)]


def portrait(home: Path, *arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    given = {k: v for k, v in os.environ.items() if not k.startswith("PORTRAIT_")}
    return subprocess.run(
        [sys.executable, "-c", "from portrait.cli import main; main()", *arguments],
        env={**given, "PORTRAIT_HOME": str(home), "PORTRAIT_LOG_LEVEL": "ERROR", **environ},
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize(
    "where",
    [
        "customer_id in (select customer_id from pii.contact)",
        "monetary > 0; delete from profile_store.customer_profile",
        "pg_read_file('/etc/passwd') is not null",
    ],
)
def test_sql_that_reaches_further_ends_with_2(tmp_path: Path, where: str) -> None:
    ended = portrait(tmp_path, "audience", "preview", "--where", where)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("portrait: --where: ")
    assert len(ended.stderr.splitlines()) == 1


def test_preview_export_and_list(night: Callable, warehouse: Warehouse, tmp_path: Path) -> None:
    night(1, customer_profile=[{**p, "refunded": 0.5 * p["monetary"], "frequency": 3} for p in PEOPLE])
    url = {"PORTRAIT_DATABASE_URL": warehouse.url.render_as_string(hide_password=False)}
    ended = portrait(tmp_path, "audience", "preview", "--where", "monetary >= 6", **url)
    assert ended.stdout.splitlines() == [
        "2 customers as of 2026-03-01 (run 2026-03-01.1), 0 more without consent for service",
        "  c6",
        "  c7",
    ]
    ended = portrait(tmp_path, "audience", "export", "returns_advice", **url)
    assert ended.stdout == (
        "returns_advice as of 2026-03-01: 0 customers sent to audience.delivery, 0 held back, 0 capped\n"
    )
    ended = portrait(tmp_path, "audience", "export", "nobody", **url)
    assert ended.returncode == 2


def test_the_list_has_sizes_where_there_are_some(
    night: Callable, with_audiences: Callable, make_audience: Callable
) -> None:
    settings = with_audiences(make_audience("rich", "monetary >= 6"), make_audience("poor", "monetary < 6"))
    night(1, customer_profile=PEOPLE)
    refresh(settings, "rich")
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(audience_table(settings))
    rich, poor = [line.split() for line in console.export_text().splitlines() if "service" in line]
    assert rich[1] == "rich"
    assert "2026-03-01" in rich
    assert "2026-03-01" not in poor


def test_a_preview_records_nothing(night: Callable, with_audiences: Callable, warehouse: Warehouse) -> None:
    night(1, customer_profile=PEOPLE)
    found = preview(with_audiences(), sketch("monetary >= 2", "marketing_email"))
    assert (found["members"], found["without_consent"], found["customers"]) == (0, 6, [])
    assert warehouse.scalar("select count(*) from audience.membership") == 0
    with pytest.raises(PortraitError, match="--purpose: "):
        sketch("monetary > 1", "Not A Purpose")
