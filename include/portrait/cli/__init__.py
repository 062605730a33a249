"""The `portrait` command. Each stage is one; errors a user can mend end with exit code 2 and one line."""

import logging
import os
import signal
import sys

import typer

from portrait.cli import (
    accuracy,
    archives,
    audiences,
    benchmark,
    deliveries,
    identity,
    local,
    night,
    privacy,
    registry,
    serving,
    warehouse,
)
from portrait.errors import PortraitError

app = typer.Typer(
    help="Customer profiles for retailers: identity, features, nightly models, profile tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for commands in (
    local.app,
    deliveries.app,
    night.app,
    serving.app,
    benchmark.app,
    accuracy.app,
    registry.app,
):
    app.add_typer(commands)
app.add_typer(warehouse.db, name="db")
app.add_typer(deliveries.quarantine, name="quarantine")
app.add_typer(identity.review, name="review")
app.add_typer(identity.rule, name="rule")
app.add_typer(audiences.audience, name="audience")
app.add_typer(archives.archive, name="archive")
app.add_typer(serving.api_key, name="api-key")
app.add_typer(privacy.privacy, name="privacy")


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # A closed terminal or `kill` must not leave Airflow's services behind: leave through every `finally`.
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    try:
        logging.getLogger().setLevel(_log_level())
        app()
    except PortraitError as error:
        typer.echo("portrait: " + " ".join(str(error).splitlines()), err=True)
        sys.exit(2)


def _log_level() -> str:
    level, known = os.environ.get("PORTRAIT_LOG_LEVEL") or "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")
    if level not in known:
        raise PortraitError(f"PORTRAIT_LOG_LEVEL is '{level}'; set one of {', '.join(known)}")
    return level
