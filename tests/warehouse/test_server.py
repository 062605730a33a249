"""The embedded PostgreSQL of a fresh machine."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.warehouse import Warehouse, open_warehouse
from portrait.warehouse import server as server_module
from portrait.warehouse.server import data_dir, psql_path, start_server, stop_server


def test_start_twice_stop_twice_start_again(
    make_settings: Callable[..., Settings], tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("own") / "postgres"
    assert stop_server(folder) is False
    settings = make_settings(PORTRAIT_DATABASE_URL="", PORTRAIT_SERVER_DIR=str(folder))
    try:
        url = start_server(folder, "fsync = off\n")
        assert start_server(folder) == url
        written = (data_dir(folder) / "postgresql.conf").read_text()
        assert written.count("written by Portrait") == 1
        with pytest.raises(PortraitError, match='database "portrait_test" does not exist'):
            open_warehouse(settings)
        opened = open_warehouse(settings, create=True)
        opened.execute("create table kept (a integer)")
        assert opened.scalar("show shared_buffers") == "256MB"
        assert opened.scalar("show listen_addresses") == ""
        assert stop_server(folder) is True
        assert stop_server(folder) is False
        assert open_warehouse(settings).scalar("select count(*) from kept") == 0
    finally:
        stop_server(folder)


def test_a_folder_in_roots_home_is_replaced(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(server_module.os, "geteuid", lambda: 0)
    monkeypatch.setattr(server_module.Path, "home", classmethod(lambda _: tmp_path / "root"))
    inside = tmp_path / "root" / "project" / ".portrait" / "postgres"
    moved = data_dir(inside)
    assert moved.parent.parent == Path("/var/tmp")
    assert data_dir(inside) == moved != data_dir(inside.with_name("other"))
    assert data_dir(tmp_path / "elsewhere") == tmp_path / "elsewhere"
    monkeypatch.setattr(server_module.os, "geteuid", lambda: 1000)
    assert data_dir(inside) == inside


def test_a_server_that_does_not_start_says_where_its_log_is(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("broken") / "postgres"
    with pytest.raises(PortraitError, match="the embedded PostgreSQL did not start: .*PORTRAIT_DATABASE_URL"):
        start_server(folder, "no_such_setting = 1\n")


def test_psql_is_there(warehouse: Warehouse) -> None:
    command = [psql_path(), warehouse.libpq_uri, "-Atc", "select 6 * 7"]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "42\n"
