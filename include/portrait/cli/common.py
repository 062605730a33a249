"""Options that several commands take, and what they are turned into."""

from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait.config import Settings, load_settings
from portrait.run import Run

if TYPE_CHECKING:
    from rich.console import Console

Sources = Annotated[
    Path | None,
    typer.Option("--sources", help="A sources.yaml in place of PORTRAIT_SOURCES.", show_default=False),
]
AsOf = Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Business date.")]
RunId = Annotated[str, typer.Option("--run", help="run_id of ops.run; `portrait begin` makes one.")]


def settings_of(sources: Path | None = None) -> Settings:
    return load_settings(sources_path=sources)


def console() -> "Console":
    from rich.console import Console

    terminal = Console()
    # A log file or pipe has no width: give the tables room.
    return terminal if terminal.is_terminal else Console(width=120)


def day_of(value: datetime) -> date:
    return value.replace(tzinfo=UTC).date()


def run_of(settings: Settings, run_id: str) -> Run:
    from portrait.stages import find_run

    return find_run(settings, run_id)
