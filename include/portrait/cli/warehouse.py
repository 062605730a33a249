"""The warehouse database."""

import os

import typer

from portrait.cli.common import Sources, settings_of

db = typer.Typer(help="The warehouse database.", no_args_is_help=True)


@db.command()
def up(sources: Sources = None) -> None:
    """Start the embedded server, create the database, migrate it."""
    from portrait.warehouse import open_warehouse

    typer.echo(open_warehouse(settings_of(sources), create=True).url.render_as_string(hide_password=True))


@db.command()
def down(sources: Sources = None) -> None:
    """Stop the embedded server."""
    from portrait.warehouse.server import stop_server

    typer.echo("stopped" if stop_server(settings_of(sources).server_dir) else "was not running")


@db.command()
def url(sources: Sources = None) -> None:
    """Print the database's libpq URL."""
    from portrait.warehouse import open_warehouse

    typer.echo(open_warehouse(settings_of(sources)).libpq_uri)


@db.command()
def migrate(sources: Sources = None) -> None:
    """Bring the database's schema up to date."""
    from portrait.warehouse import open_warehouse

    open_warehouse(settings_of(sources), create=True)


@db.command()
def describe(sources: Sources = None) -> None:
    """Print every table and column with its comment, as Markdown (docs/tables.md)."""
    from portrait.warehouse import open_warehouse
    from portrait.warehouse.describe import describe as describe_tables

    typer.echo(describe_tables(open_warehouse(settings_of(sources))), nl=False)


@db.command("access-matrix")
def print_access_matrix(sources: Sources = None) -> None:
    """Print which role may do what to which table, as Markdown (docs/access-matrix.md)."""
    from portrait.privacy.matrix import access_matrix
    from portrait.warehouse import open_warehouse

    typer.echo(access_matrix(open_warehouse(settings_of(sources))), nl=False)


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, sources: Sources = None) -> None:
    """Open psql on the database; further arguments go to psql (-c 'select 1')."""
    from portrait.warehouse import open_warehouse
    from portrait.warehouse.server import psql_path

    uri = open_warehouse(settings_of(sources)).libpq_uri
    os.execv(psql_path(), [str(psql_path()), uri, *context.args])
