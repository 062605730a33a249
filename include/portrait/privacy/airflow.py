"""What Airflow keeps of its own: results of tasks, rendered fields, notes, logs. Tasks hand on run ids and counts only; an
error that quotes a value, or a parameter typed in by hand, may name somebody all the same.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import make_url, text

from portrait.config import Settings
from portrait.drafts import draft_of
from portrait.errors import PortraitError
from portrait.privacy.traces import Tracer
from portrait.warehouse import Warehouse
from portrait.warehouse.server import start_server

ERASED = "[erased]"
LOG_SUFFIXES = (".log", ".jsonl")
_PLACES = (
    ("xcom", "value"),
    ("rendered_task_instance_fields", "rendered_fields"),
    ("dag_run", "conf"),
    ("dag_run_note", "content"),
    ("task_instance_note", "content"),
    ("log", "extra"),
    ("asset_event", "extra"),
    ("import_error", "stacktrace"),
)
"""Tables and columns of Airflow's database that hold what tasks and people said; those that there are not are passed over."""


def airflow_database(settings: Settings) -> Warehouse | None:
    """Airflow's database; None when nobody said where it is, or there is none yet.

    Raises
    ------
    PortraitError : for an address that is no PostgreSQL database's.
    """
    if settings.airflow_database_url:
        try:
            url = make_url(settings.airflow_database_url)
        except Exception:
            url = None
        if url is None or not url.drivername.startswith("postgres"):
            raise PortraitError(
                "PORTRAIT_AIRFLOW_DATABASE_URL is not the URL of a PostgreSQL database; for example "
                "postgresql://user:password@host/airflow"
            )
        return Warehouse(url.set(drivername="postgresql+psycopg2"))
    if settings.database_url:
        return None
    server = start_server(settings.server_dir)
    name = f"airflow_{settings.workspace}"
    known = Warehouse(server).scalar("select 1 from pg_database where datname = :n", n=name)
    return Warehouse(server.set(database=name)) if known else None


def airflow_logs(settings: Settings) -> Iterator[Path]:
    """Log files of tasks."""
    folders = {settings.workspace_dir / "airflow" / "logs"}
    if settings.airflow_logs is not None:
        folders.add(settings.airflow_logs)
    for folder in sorted(folders):
        for path in sorted(folder.rglob("*")):
            if path.suffix in LOG_SUFFIXES and path.is_file():
                yield path


def erase_from_airflow(settings: Settings, tracer: Tracer) -> Counter[str]:
    """Put `[erased]` in place of identifiers in Airflow's database and logs; gives what was changed, by place."""
    counts: Counter[str] = Counter()
    database = airflow_database(settings)
    if database is not None:
        for table, column in _PLACES:
            if changed := _clean_column(database, table, column, tracer):
                counts[f"airflow.{table} anonymous"] += changed
    for path in airflow_logs(settings):
        if _clean_log(path, tracer):
            counts["files airflow logs rewritten"] += 1
    return counts


def without(said: str, tracer: Tracer) -> str:
    """A text without the identifiers in it, the longest first: one may be part of another."""
    for _, token in sorted(tracer.find(said, named=False), key=lambda found: -len(found[1])):
        said = said.replace(token, ERASED)
    return said


def _clean_column(database: Warehouse, table: str, column: str, tracer: Tracer) -> int:
    kind = database.scalar(
        "select format_type(a.atttypid, a.atttypmod) from pg_attribute as a "
        "where a.attrelid = to_regclass(:t) and a.attname = :c and a.attnum > 0",
        t=table,
        c=column,
    )
    if kind not in ("json", "jsonb", "text", "character varying"):
        return 0
    changed = 0
    with database.engine.connect() as connection:
        rows = connection.execution_options(stream_results=True).execute(
            text(
                f'select ctid::text as place, "{column}"::text as said from "{table}" where "{column}" is not null'
            )
        )
        cleaned = [
            {"p": row.place, "s": clean, "was": row.said}
            for row in rows
            if (clean := without(row.said, tracer)) != row.said
        ]
    for values in cleaned:
        with database.begin() as connection:
            changed += connection.execute(
                # A row that was written anew meanwhile has moved; the next erasure, or `verify`, meets it.
                text(
                    f'update "{table}" set "{column}" = cast(:s as {kind}) '
                    f'where ctid = cast(:p as tid) and "{column}"::text = :was'
                ),
                values,
            ).rowcount
    return changed


def _clean_log(path: Path, tracer: Tracer) -> bool:
    said = path.read_text(encoding="utf-8", errors="replace")
    lines = said.splitlines(keepends=True)
    cleaned = [without(line, tracer) for line in lines]
    if cleaned == lines:
        return False
    with draft_of(path) as draft:
        draft.write_text("".join(cleaned), encoding="utf-8")
    return True
