"""MLflow's UI on the warehouse."""

from typing import Annotated

import typer

from portrait.cli.common import Sources, settings_of

app = typer.Typer()


@app.command()
def mlflow(
    host: Annotated[str, typer.Option(help="Address. MLflow asks nobody for a password.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=1, max=65535)] = 5000,
    uri: Annotated[bool, typer.Option("--uri", help="Print the store's URI for `mlflow …` and end.")] = False,
    sources: Sources = None,
) -> None:
    """Nights, candidates and model versions in MLflow's UI, until Ctrl-C."""
    from portrait.models.nightly.registry.ui import serve, uri_of

    settings = settings_of(sources)
    if uri:
        typer.echo(uri_of(settings))
    else:
        serve(settings, host, port)
