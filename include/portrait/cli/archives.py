"""Nights that are in archive files only, and bringing one back."""

from typing import Annotated

import typer

from portrait.cli.common import Sources, console, settings_of

archive = typer.Typer(help="Old nights, archived as Parquet files.", no_args_is_help=True)


@archive.command("list")
def list_archives(sources: Sources = None) -> None:
    """The archived nights, the oldest first."""
    from rich.table import Table

    from portrait.profiles.restore import archived_nights

    table = Table(title="archived nights", title_justify="left")
    for name in ("run", "business date", "rows", "MB", "archived", "restored", "folder"):
        table.add_column(name, justify="right" if name in ("rows", "MB") else "left")
    for night in archived_nights(settings_of(sources)):
        table.add_row(
            night.run_id,
            str(night.as_of),
            f"{night.rows:,}",
            f"{night.octets / 1e6:,.1f}",
            f"{night.archived_at:%Y-%m-%d %H:%M}",
            f"{night.restored_at:%Y-%m-%d %H:%M}" if night.restored_at else "",
            night.path,
        )
    console().print(table)


@archive.command("restore")
def restore_archive(
    run_id: Annotated[str, typer.Argument(help="run_id, as `portrait archive list` shows it.")],
    sources: Sources = None,
) -> None:
    """Bring a night back to be queried, for the days that profiles.yaml says; the archive stays."""
    from portrait.profiles.restore import restore
    from portrait.warehouse.grants import MODEL

    # The tables belong to the role that loads nights.
    rows = restore(settings_of(sources).acting_as(MODEL), run_id)
    typer.echo(f"{run_id} is back: {sum(rows.values()):,} rows in {len(rows)} tables")
