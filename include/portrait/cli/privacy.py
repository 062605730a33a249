"""Customers' rights: erasure, its proof and its receipts."""

from pathlib import Path
from typing import Annotated

import typer

from portrait.cli.common import Sources, settings_of

privacy = typer.Typer(help="Customers' rights: erasure, its proof and its receipts.", no_args_is_help=True)
receipts = typer.Typer(help="Receipts of erasures.", no_args_is_help=True)
privacy.add_typer(receipts, name="receipts")


@privacy.command("erase")
def erase_customer(
    customer: Annotated[list[str], typer.Option(help="Customer id, or kind:value (phone:13800138000).")],
    by: Annotated[str, typer.Option("--by", help="Who asks for it.")] = "customer",
    sources: Sources = None,
) -> None:
    """Forget customers everywhere and write a receipt."""
    from portrait.privacy.erase import erase

    done = erase(settings_of(sources), customer, by)
    for place, rows in done.counts.items():
        typer.echo(f"{place}: {rows}")
    again = f", {done.already_erased} of them erased before" if done.already_erased else ""
    typer.echo(f"receipt {done.receipt_id}: {done.customers} customer(s){again}")


@privacy.command("request")
def enter_request(
    customer: Annotated[str, typer.Option(help="Customer id, or kind:value.")],
    by: Annotated[str, typer.Option("--by", help="Who enters it.")],
    reason: Annotated[str | None, typer.Option(help="Why; forgotten with the customer.")] = None,
    sources: Sources = None,
) -> None:
    """Note an erasure for the Dag privacy_requests."""
    from portrait.privacy.requests import request_erasure

    typer.echo(f"request {request_erasure(settings_of(sources), customer, by, reason)}")


@privacy.command("work-off")
def work_off_requests(sources: Sources = None) -> None:
    """Work off the open requests now."""
    from portrait.privacy.requests import work_off

    worked = work_off(settings_of(sources))
    typer.echo(f"{worked.done} done, {worked.refused} refused")


@privacy.command("verify")
def verify_erasure(
    receipt: Annotated[int | None, typer.Option(help="Number of a receipt; all unless given.")] = None,
    customer: Annotated[str | None, typer.Option(help="An erased customer's id, or kind:value.")] = None,
    dump: Annotated[bool, typer.Option(help="Read a pg_dump, too.")] = True,
    sources: Sources = None,
) -> None:
    """Read every table, every file and a dump for traces of erased customers; exit code 1 when there are any."""
    from portrait.privacy.verify import as_lines, verify

    report = verify(settings_of(sources), receipt, customer, dump)
    for line in as_lines(report):
        typer.echo(line)
    raise typer.Exit(0 if report.clean else 1)


@privacy.command("export")
def export_customer_data(
    customer: Annotated[str, typer.Option(help="Customer id, or kind:value (phone:13800138000).")],
    out: Annotated[Path, typer.Option(help="ZIP to write; must not be there yet.")],
    by: Annotated[str, typer.Option("--by", help="Who asks for it.")] = "customer",
    sources: Sources = None,
) -> None:
    """Write all that is held on a customer, for the customer: JSON, CSV and a page in English and Chinese."""
    from portrait.privacy.export import export_customer

    done = export_customer(settings_of(sources), customer, out, by)
    for table, rows in done.tables.items():
        typer.echo(f"{table}: {rows}")
    typer.echo(f"{done.rows} rows in {done.file}")


@privacy.command("object")
def object_to_purpose(
    customer: Annotated[str, typer.Option(help="Customer id, or kind:value (phone:13800138000).")],
    by: Annotated[str, typer.Option("--by", help="Who enters it.")],
    purpose: Annotated[str, typer.Option(help="What the customer objects to.")] = "profiling_inference",
    sources: Sources = None,
) -> None:
    """Withdraw a customer's consent to a purpose, from this moment on."""
    from portrait.privacy.objection import object_to

    done = object_to(settings_of(sources), customer, purpose, by)
    typer.echo(
        f"{done.purpose} is withdrawn since {done.stated_at:%Y-%m-%d %H:%M} UTC ({done.identifiers} identifiers)"
    )


@privacy.command("correct")
def correct_customer(
    customer: Annotated[str, typer.Option(help="Customer id, or kind:value (phone:13800138000).")],
    changes: Annotated[list[str], typer.Option("--set", help="attribute=value (city=Wuhan); several times.")],
    by: Annotated[str, typer.Option("--by", help="Who enters it.")],
    sources: Sources = None,
) -> None:
    """Correct what a customer declared; counts from the next night, whatever is delivered."""
    from portrait.privacy.correction import correct

    done = correct(settings_of(sources), customer, changes, by)
    typer.echo(f"{', '.join(done.attributes)}: corrected from the night of {done.counts_from} on")


@privacy.command("retention")
def delete_old_rows(sources: Sources = None) -> None:
    """Delete rows older than privacy.yaml keeps them, as the Dag maintenance does every day."""
    from portrait.privacy.retention import retain

    done = retain(settings_of(sources))
    for table in done:
        typer.echo(f"{table.place}: {table.rows_deleted} rows before {table.kept_from}")
    if not done:
        typer.echo("privacy.yaml names no table under retention: nothing is deleted")


@privacy.command("rotate-keys")
def rotate(
    make_key: Annotated[
        bool,
        typer.Option("--make-key", help="Make the new key first; embedded set-ups, whose key is in a file."),
    ] = False,
    sources: Sources = None,
) -> None:
    """Bring hashes and sealed texts to the key of PORTRAIT_PII_KEY, while runs go on; goes on where it was broken off."""
    from portrait.privacy.keys import make_next_key
    from portrait.privacy.rotation import rotate_keys

    settings = settings_of(sources)
    if make_key:
        typer.echo(f"made key {make_next_key(settings)}")
    done = rotate_keys(settings)
    if done.nothing:
        typer.echo(f"everything that can have key {done.to_version} has it")
    else:
        typer.echo(
            f"{done.from_version} to {done.to_version}: {done.identifiers} identifiers in {done.rows} rows, "
            f"{done.sealed_again} texts sealed again"
        )
    if done.held_back:
        typer.echo(
            f"{done.held_back} identifiers stay under a former key until they are delivered again: no clear value is held"
        )


@privacy.command("keys")
def list_keys(sources: Sources = None) -> None:
    """Versions of the key, their fingerprints and what is stored under each; never a key."""
    from portrait.cli.common import console
    from portrait.privacy.keys import keys_table

    console().print(keys_table(settings_of(sources)))


@receipts.command("verify")
def verify_receipts(sources: Sources = None) -> None:
    """Check the signature of every receipt and that none is missing; exit code 1 otherwise."""
    from portrait.privacy.receipt import check_receipts

    checked = check_receipts(settings_of(sources))
    for one in checked:
        typer.echo(f"receipt {one.receipt_id}: {one.problem or 'as signed'}")
    raise typer.Exit(1 if any(c.problem for c in checked) else 0)
