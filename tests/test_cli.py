"""The `portrait` command as a person or a Makefile calls it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from portrait.config import Settings
from portrait.warehouse import Warehouse

SOURCES = """
workspace: test
timezone: Asia/Shanghai
sources:
  - name: stores
    entity: store
    path: stores.csv
    format: csv
    columns: {store_id: id, name: name}
  - name: events
    entity: online_event
    path: events_{business_date}.csv
    format: csv
    columns: {event_id: id, event_name: what, occurred_at: at}
"""
COMMANDS = [
    "run", "ui", "show", "check", "simulate", "pull", "nightly", "begin", "resolve", "features", "train", "evaluate",
    "profile", "publish", "rollback", "db",
]  # fmt: skip

Call = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def portrait(tmp_path: Path) -> Call:
    """Run the command in a process of its own, without any database unless one is given."""

    def call(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
        given = {k: v for k, v in os.environ.items() if not k.startswith("PORTRAIT_")}
        given |= {"PORTRAIT_HOME": str(tmp_path / "home"), "COLUMNS": "200", **environ}
        return subprocess.run(
            [sys.executable, "-c", "from portrait.cli import main; main()", *arguments],
            env=given, capture_output=True, text=True, timeout=60, cwd=tmp_path,
        )  # fmt: skip

    return call


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    path = tmp_path / "sources.yaml"
    path.write_text(SOURCES)
    (tmp_path / "stores.csv").write_text("id,name\nS1,One\nS2,Two\n")
    (tmp_path / "events_20250301.csv").write_text("id,what,at\ne1,product_viewed,2025-03-01 10:00\n")
    (tmp_path / "events_20250302.csv").write_text("id,what,at\ne2,product_viewed,2025-03-02 10:00\n")
    return path


def refusal(ended: "subprocess.CompletedProcess[str]") -> str:
    """The one line on stderr of a command that was refused."""
    assert ended.returncode == 2, ended
    assert ended.stdout == ""
    (line,) = ended.stderr.splitlines()
    return line


def test_help_lists_every_command(portrait: Call) -> None:
    from portrait.cli import app

    known = set(typer.main.get_command(app).commands)
    assert known >= set(COMMANDS)
    ended = portrait("--help")
    assert ended.returncode == 0
    assert [c for c in known if f" {c} " not in ended.stdout] == []
    ended = portrait("db", "--help")
    assert [c for c in ("up", "down", "url", "migrate", "psql") if f" {c} " not in ended.stdout] == []


def test_check_says_what_there_is_and_needs_no_database(portrait: Call, sources: Path) -> None:
    ended = portrait("check", "--sources", str(sources))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == [
        "stores: 1 file(s) for store",
        "events: 2 file(s) for online_event, up to 2025-03-02",
    ]


def test_a_wrong_setting(portrait: Call, sources: Path) -> None:
    sources.write_text(SOURCES.replace("entity: store", "entitty: store"))
    assert refusal(portrait("check", "--sources", str(sources))) == (
        f"portrait: {sources}: sources[stores].entitty: unknown key; did you mean 'entity'?"
    )


def test_a_missing_file(portrait: Call, sources: Path) -> None:
    sources.with_name("stores.csv").unlink()
    assert refusal(portrait("check", PORTRAIT_SOURCES=str(sources))) == (
        f"portrait: sources[stores].path: no file matches {sources.with_name('stores.csv')}; "
        f"correct the path in {sources} or deliver the file"
    )


def test_a_wrong_column(portrait: Call, sources: Path) -> None:
    sources.with_name("stores.csv").write_text("idd,name\nS1,One\n")
    line = refusal(portrait("check", "--sources", str(sources)))
    assert line.endswith("stores.csv: no column 'id' (sources[stores].columns.store_id); did you mean 'idd'?")


def test_a_missing_configuration(portrait: Call, tmp_path: Path) -> None:
    line = refusal(portrait("check", "--sources", str(tmp_path / "none.yaml")))
    assert (
        line == f"portrait: {tmp_path}/none.yaml: no such file; copy include/config/sources.yaml and adapt it"
    )


def test_a_wrong_log_level(portrait: Call, sources: Path) -> None:
    line = refusal(portrait("check", "--sources", str(sources), PORTRAIT_LOG_LEVEL="loud"))
    assert line == "portrait: PORTRAIT_LOG_LEVEL is 'loud'; set one of DEBUG, INFO, WARNING, ERROR"


def test_a_database_that_cannot_be_reached(portrait: Call, sources: Path) -> None:
    url = "postgresql://me:secret@127.0.0.1:9/x"
    line = refusal(
        portrait(
            "pull", "stores", "--date", "2025-03-01", "--sources", str(sources), PORTRAIT_DATABASE_URL=url
        )
    )
    assert line.startswith("portrait: cannot reach the database postgresql+psycopg2://me:***@127.0.0.1:9/x: ")
    assert "secret" not in line


def test_pull(portrait: Call, sources: Path, settings: Settings, warehouse: Warehouse) -> None:
    sources.write_text(SOURCES)  # `settings` writes its own there
    environ = {
        "PORTRAIT_DATABASE_URL": str(settings.database_url), "PORTRAIT_PII_KEY": "k", "PORTRAIT_LOG_LEVEL": "WARNING",
    }  # fmt: skip
    ended = portrait("pull", "events", "--date", "2025-03-01", "--sources", str(sources), **environ)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == (
        "events: 1 files, 1 rows read, 1 inserted, 0 updated, 0 unchanged, 0 outdated, 0 duplicate, "
        "0 refused, 0 not due, 0 skipped\n"
    )
    assert warehouse.scalar("select count(*) from raw.online_event") == 1
    line = refusal(portrait("pull", "evnts", "--date", "2025-03-01", "--sources", str(sources), **environ))
    assert line == "portrait: unknown source 'evnts'; sources.yaml has stores, events"


def test_a_wrong_date_is_a_usage_error(portrait: Call, sources: Path) -> None:
    ended = portrait("pull", "events", "--date", "01.03.2025", "--sources", str(sources))
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
