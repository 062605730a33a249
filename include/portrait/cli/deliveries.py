"""What sources deliver: check, simulate, load, and the rows that were refused."""

from dataclasses import replace
from datetime import date, datetime
from pathlib import Path
from typing import Annotated

import typer

from portrait.cli.common import AsOf, Sources, console, day_of, settings_of

app = typer.Typer()
quarantine = typer.Typer(help="Rows that a contract refused.", no_args_is_help=True)


@app.command()
def check(sources: Sources = None) -> None:
    """Check sources.yaml against its files without loading anything."""
    from portrait.ingest import check_sources

    for report in check_sources(settings_of(sources)):
        last = f", up to {report.latest}" if report.latest else ""
        typer.echo(f"{report.source}: {report.files} file(s) for {report.entity}{last}")
        for warning in report.warnings:
            typer.echo(f"  warning: {warning}", err=True)


@app.command()
def simulate(
    start: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="First day.")] = None,
    end: Annotated[datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Last day.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder; the workspace's sources unless given.")] = None,
    customers: Annotated[int, typer.Option(min=100)] = 3000,
    products: Annotated[int, typer.Option(min=96)] = 600,
    stores: Annotated[int, typer.Option(min=1)] = 12,
    seed: int = 7,
) -> None:
    """Write a simulated retailer's deliveries, day by day, with the truth beside them."""
    from portrait.simulate import Retailer
    from portrait.simulate import simulate as write

    retailer = Retailer(customers=customers, products=products, stores=stores, seed=seed)
    if start:
        retailer = replace(retailer, start=day_of(start))
    last = day_of(end) if end else date.fromordinal(retailer.start.toordinal() + retailer.history_days - 1)
    folder = out or settings_of().simulated_dir
    counts = write(retailer, folder, retailer.start, last)
    typer.echo(f"{folder}: {counts.days} days, {counts.events:,} events, {counts.receipts:,} receipts")


@app.command()
def pull(
    source: str,
    as_of: AsOf,
    since: Annotated[
        datetime | None,
        typer.Option(formats=["%Y-%m-%d"], help="Also read again what was delivered from this date on."),
    ] = None,
    sources: Sources = None,
) -> None:
    """Load what one source has delivered up to a business date."""
    from portrait.ingest import pull as pull_source

    result = pull_source(settings_of(sources), source, day_of(as_of), day_of(since) if since else None)
    typer.echo(f"{source}: {result.files} files, {result.sentence}")


@quarantine.command("list")
def list_refused(
    source: Annotated[str | None, typer.Option(help="One source; all unless given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    sources: Sources = None,
) -> None:
    """Refused rows by reason, the most frequent first."""
    from portrait.ingest.refused import refused_table

    settings = settings_of(sources)
    if source:
        settings.sources.source(source)
    console().print(refused_table(settings, source, everything))


@quarantine.command()
def replay(
    source: str,
    code: Annotated[
        str | None, typer.Option(help="Only rows refused for this reason, bad_decimal:price.")
    ] = None,
    as_of: Annotated[
        datetime | None,
        typer.Option("--date", formats=["%Y-%m-%d"], help="Business date; the source's last unless given."),
    ] = None,
    sources: Sources = None,
) -> None:
    """Try refused rows again after a correction in sources.yaml; good ones are loaded and marked as resolved."""
    from portrait.ingest.replay import replay as replay_source

    result = replay_source(settings_of(sources), source, code, day_of(as_of) if as_of else None)
    loaded = f" ({result.pull.sentence})" if result.pull else ""
    typer.echo(
        f"{source}: {result.tried} rows tried again, {result.resolved} resolved, "
        f"{result.still_refused} still in quarantine{loaded}"
    )
