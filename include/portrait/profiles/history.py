"""Which runs were published, which still have their tables, and which one counts as the last night."""

from sqlalchemy import Connection, text

from portrait.errors import PortraitError
from portrait.profiles.tables import TABLES
from portrait.run import Run


def published_run(connection: Connection) -> str | None:
    """The run that the views show; None before the first publication."""
    found: str | None = connection.execute(text("select run_id from ops.published_run")).scalar()
    return found


def stored_runs(connection: Connection) -> set[str]:
    """Runs with a partition in every profile table."""
    rows = connection.execute(
        text(
            """
            select substring(pg_get_expr(c.relpartbound, c.oid) from '''(.*)''') as run_id
            from pg_inherits i
            join pg_class c on c.oid = i.inhrelid
            join pg_class p on p.oid = i.inhparent
            where p.relnamespace = 'profile_store'::regnamespace and p.relname = any(:tables)
            group by 1 having count(*) = cardinality(:tables)
            """
        ),
        {"tables": list(TABLES)},
    )
    return {r.run_id for r in rows}


def restored_runs(connection: Connection) -> set[str]:
    """Runs whose tables came back from their archive: to be read only."""
    return set(
        connection.execute(text("select run_id from ops.archive where restored_at is not null")).scalars()
    )


def refuse_restored(connection: Connection, run_id: str) -> None:
    """Raises PortraitError when the run was restored from its archive."""
    if run_id in restored_runs(connection):
        raise PortraitError(
            f"run {run_id} was restored from its archive and is there to be read only: query it with profile.as_of"
            " or `portrait diff`, or make a new run for its date"
        )


def published_runs(connection: Connection) -> list[str]:
    """Runs ever published that still have their tables, the latest publication first; without restored ones."""
    rows = connection.execute(
        text(
            "select run_id from ops.publication where action = 'publish'"
            " group by run_id order by max(publication_id) desc"
        )
    )
    stored = stored_runs(connection) - restored_runs(connection)
    return [r.run_id for r in rows if r.run_id in stored]


def earlier_run(connection: Connection, run_id: str) -> str | None:
    """The run that readers saw before `run_id` was published, if it still has its tables.

    Where that one is gone, the one before it, and so on. A run that was rolled back from is passed over: it
    was no longer shown when the next one was published.
    """
    replaced = {
        r.run_id: r.replaced_run_id
        for r in connection.execute(
            text(
                "select run_id, replaced_run_id from ops.publication"
                " where action = 'publish' order by publication_id"
            )
        )
    }
    stored, seen = stored_runs(connection) - restored_runs(connection), {run_id}
    candidate = replaced.get(run_id)
    while candidate is not None and candidate not in seen:
        if candidate in stored:
            return candidate
        seen.add(candidate)
        candidate = replaced.get(candidate)
    return None


def last_night(connection: Connection, run: Run) -> str | None:
    """The published run that `run` is compared with: the one it will replace, or has replaced already."""
    current = published_run(connection)
    return earlier_run(connection, run.run_id) if current == run.run_id else current
