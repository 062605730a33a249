"""The profile API and its keys."""

from typing import Annotated

import typer

from portrait.cli.common import Sources, console, settings_of

app = typer.Typer()
api_key = typer.Typer(help="Keys of the profile API.", no_args_is_help=True)


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; serving.yaml's unless given.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes.")] = None,
    sources: Sources = None,
) -> None:
    """The profile API and its page, until Ctrl-C."""
    from portrait.serving.serve import serve as run_api

    settings = settings_of(sources)
    given = settings.serving
    run_api(settings, host or given.host, port or given.port, workers or given.workers)


@api_key.command("create")
def create_api_key(
    name: Annotated[str, typer.Argument(help="Whose it is.")],
    role: Annotated[str | None, typer.Option(help="marketing, service, shop, monitoring or analyst.")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="A further scope, as often as needed.")] = None,
    requests_per_second: Annotated[
        float | None, typer.Option(min=0.01, help="A rate of its own; serving.yaml's unless given.")
    ] = None,
    days: Annotated[int | None, typer.Option(min=1, help="It ends after so many days.")] = None,
    sources: Sources = None,
) -> None:
    """Make a key and print it, once."""
    from portrait.serving.keys import create_key, scopes_of

    scopes = scopes_of(role, scope or ())
    typer.echo(create_key(settings_of(sources), name, scopes, requests_per_second, days))


@api_key.command("list")
def list_api_keys(sources: Sources = None) -> None:
    """Whose keys there are, what they may ask, and whether they hold."""
    from portrait.serving.keys import key_table

    console().print(key_table(settings_of(sources)))


@api_key.command("revoke")
def revoke_api_key(
    key_id: Annotated[str, typer.Argument(help="The part between the underscores.")], sources: Sources = None
) -> None:
    """Refuse a key from now on."""
    from portrait.serving.keys import revoke_key

    revoke_key(settings_of(sources), key_id)
    typer.echo(f"key {key_id} revoked")
