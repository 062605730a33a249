"""The working state of identity resolution: a DuckDB file that any night can make anew from `raw.*`.

PostgreSQL holds the record. Both carry the token of the night that wrote them last; a file with another token is
thrown away, so a crash between the two commits costs a full reading and nothing else.
"""

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import duckdb

from portrait.config import Settings

log = logging.getLogger(__name__)

_FORM = "3"
_TABLES = """
create table meta (key varchar primary key, value varchar);
create table identifier (code integer, kind varchar, hash ubigint, value varchar);
create table sighting (entity varchar, day date, a integer, b integer, n integer, batch bigint, evidence varchar);
create table edge (a integer, b integer, entity varchar, first date, last date, n integer, evidence varchar);
create table node (code integer, demoted boolean, block integer, customer_id varchar);
create table former (code integer, since date, until date, customer_id varchar);
create table recorded (code integer, first date, last date);
create table ended (a integer, b integer, entity varchar, code integer, until date);
create table born (customer_id varchar, born date);
"""
"""identifier: each value ever seen has a code, the identifier_id of the record. sighting: which codes met, a business
date each (a < b), and codes that were alone in their row (a = b). edge: the same over all dates up to the last night.
node: the last night's outcome. former: times before a number was handed on. recorded: what the record holds of
identifiers. ended: links that hold no more, since which number (one of the two) was handed on when. born: the first day of every customer id."""


class Working:
    """The open file."""

    def __init__(self, engine: duckdb.DuckDBPyConnection) -> None:
        self.engine = engine

    def get(self, key: str) -> Any:
        """A remembered value, None when there is none."""
        row = self.one("select value from meta where key = ?", [key])
        return None if row is None else json.loads(row[0])

    def put(self, key: str, value: Any) -> None:
        self.engine.execute("insert or replace into meta values (?, ?)", [key, json.dumps(value)])

    def count(self, table: str) -> int:
        return int(self.engine.execute(f"select count(*) from {table}").fetchall()[0][0])

    def one(self, sql: str, parameters: list[Any] | None = None) -> tuple[Any, ...] | None:
        """The first row; None when there is none. DuckDB wants a result read to its end."""
        rows = self.engine.execute(sql, parameters).fetchall()
        return rows[0] if rows else None

    def empty(self) -> None:
        """Forget everything."""
        for table in (
            "meta",
            "identifier",
            "sighting",
            "edge",
            "node",
            "former",
            "recorded",
            "ended",
            "born",
        ):
            self.engine.execute(f"drop table if exists {table}")
        self.engine.execute(_TABLES)


def working_path(settings: Settings) -> Path:
    return settings.workspace_dir / "identity" / "working.duckdb"


@contextmanager
def open_working(settings: Settings, token: str | None, fresh: bool = False) -> Iterator[Working]:
    """The working state inside one transaction: kept on leaving the block, dropped on an exception.

    Parameters
    ----------
    token : the record's; a file of another night is emptied.
    fresh : empty it in any case.
    """
    path = working_path(settings)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        engine = duckdb.connect(str(path))
    except duckdb.IOException:
        log.warning("%s cannot be read, it is made anew", path)
        path.unlink()
        engine = duckdb.connect(str(path))
    try:
        engine.execute(f"set memory_limit = '{settings.identity.memory_limit}'")
        engine.execute(f"set temp_directory = '{path.parent / 'spill'}'")
        engine.execute("set threads = 2")
        engine.execute("set preserve_insertion_order = false")
        engine.execute("begin")
        working = Working(engine)
        known = working.one("select count(*) from duckdb_tables() where table_name = 'meta'")
        if fresh or known != (1,) or working.get("form") != _FORM or working.get("token") != token:
            working.empty()
            working.put("form", _FORM)
        yield working
        engine.execute("commit")
    finally:
        engine.close()
