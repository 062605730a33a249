"""Groups of customers for a purpose."""

from typing import Annotated

import typer

from portrait.cli.common import Sources, console, settings_of
from portrait.errors import PortraitError

audience = typer.Typer(help="Groups of customers for a purpose.", no_args_is_help=True)


@audience.command("list")
def list_audiences(sources: Sources = None) -> None:
    """The audiences of audiences.yaml, with their size on the last night."""
    from portrait.audiences.show import audience_table

    console().print(audience_table(settings_of(sources)))


@audience.command("preview")
def preview_audience(
    code: Annotated[str | None, typer.Argument(help="An audience of audiences.yaml.")] = None,
    where: Annotated[str | None, typer.Option(help="A condition in place of an audience.")] = None,
    purpose: Annotated[str, typer.Option(help="With --where: whose consent is needed.")] = "service",
    sources: Sources = None,
) -> None:
    """Who would be in an audience now; nothing is recorded."""
    from portrait.audiences.definitions import find_audience
    from portrait.audiences.show import preview, sketch

    if (code is None) == (where is None):
        raise PortraitError("give the code of an audience, or a condition with --where")
    settings = settings_of(sources)
    wanted = find_audience(settings, code) if code else sketch(str(where), purpose)
    found = preview(settings, wanted)
    typer.echo(
        f"{found['members']:,} customers as of {found['as_of']} (run {found['run_id']}), "
        f"{found['without_consent']:,} more without consent for {wanted.purpose}"
    )
    for customer in found["customers"]:
        typer.echo(f"  {customer}")


@audience.command("export")
def export_audience_command(code: str, sources: Sources = None) -> None:
    """Bring an audience up to the published night and send it to its destination, once a night."""
    from portrait.audiences.export import export_audience
    from portrait.audiences.refresh import refresh

    settings = settings_of(sources)
    refresh(settings, code)
    sent = export_audience(settings, code)
    done = "sent to" if sent.sent_now else "was sent before to"
    typer.echo(
        f"{code} as of {sent.as_of}: {sent.customers:,} customers {done} {sent.target}, "
        f"{sent.held_back:,} held back, {sent.capped:,} capped"
    )
