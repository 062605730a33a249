"""What a source's Dag says about itself in the Airflow UI. Nothing here is a login."""

from urllib.parse import urlsplit

from portrait.config import SourcesFile, SourceSpec


def describe(source: SourceSpec, sources: SourcesFile) -> str:
    """Markdown: what a source is, where its rows come from, when it runs and who looks after it."""
    cron = sources.schedule_of(source)
    lines = {
        "fills": f"`raw.{source.entity}`",
        "rows from": origin(source),
        "runs": f"`{cron}` ({sources.timezone})" if cron else "when triggered",
        "due by": f"{source.deadline:%H:%M} ({sources.timezone})" if source.deadline else "no deadline",
        "tried again": f"{source.retries} times, every {source.retry_minutes:g} minutes",
        "pool": f"`{source.pool}`",
        "owner": source.owner,
    }
    rows = "\n".join(f"| {name} | {value} |" for name, value in lines.items())
    return f"**Source** `{source.name}`: {source.description}\n\n| | |\n|---|---|\n{rows}"


def origin(source: SourceSpec) -> str:
    """Where a source's rows come from: a path, or a table or address of a connection."""
    if source.database is not None:
        what = f"table `{source.database.table}`" if source.database.table else "a query"
        return f"{what} of {_place(source.database.connection, source.database.url)}"
    if source.http is not None:
        path = f"`{source.http.path}` of " if source.http.path else ""
        return f"{path}{_place(source.http.connection, source.http.url)}"
    return f"`{source.path}`"


def _place(connection: str | None, url: str | None) -> str:
    if connection is not None:
        return f"connection `{connection}`"
    parts = urlsplit(url or "")
    # Neither login nor query: an API's key may be in either.
    return f"`{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}`"
