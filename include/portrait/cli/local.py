"""The whole of it on this machine: everything from nothing, the UI, a look at the result."""

import logging

import typer

from portrait.cli.common import Sources, console, settings_of

app = typer.Typer()


@app.command()
def run(sources: Sources = None) -> None:
    """Everything from nothing: set up, ingest and nightly Dags through Airflow, a look at the result."""
    from portrait.local.session import run_session

    logging.getLogger().setLevel(logging.WARNING)
    run_session(settings_of(sources), console())


@app.command()
def ui(sources: Sources = None) -> None:
    """Airflow's UI on this machine, until Ctrl-C."""
    from portrait.local.session import ui_session

    logging.getLogger().setLevel(logging.WARNING)
    ui_session(settings_of(sources), console())


@app.command("airflow", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def airflow_command(context: typer.Context, sources: Sources = None) -> None:
    """Airflow's own command line on this workspace: portrait airflow connections list."""
    from portrait.local.airflow import run_airflow

    run_airflow(settings_of(sources), context.args)


@app.command()
def show(sources: Sources = None) -> None:
    """The published night: models, tables, three customers."""
    from portrait.local.report import print_report

    print_report(console(), settings_of(sources))
