"""How right the profiles are, on simulated data."""

from pathlib import Path
from typing import Annotated

import typer

from portrait.cli.common import RunId, Sources, run_of, settings_of

app = typer.Typer()


@app.command()
def accuracy(
    run: RunId,
    truth: Annotated[
        Path | None,
        typer.Option(help="The simulator's folder truth; the workspace's own.", show_default=False),
    ] = None,
    write: Annotated[
        Path | None,
        typer.Option(help="Page to write the table into, between its marks.", show_default=False),
    ] = None,
    sources: Sources = None,
) -> None:
    """Holds a run's profiles against what the simulated retailer planned; prints the table of docs/accuracy.md."""
    from portrait.profiles.accuracy.judge import judge, markdown, write_page

    settings = settings_of(sources)
    table = markdown(judge(settings, run_of(settings, run), truth))
    typer.echo(table)
    if write is not None:
        write_page(write, table)
