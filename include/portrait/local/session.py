"""`make run` and `make ui`: everything on this machine, from nothing."""

import logging
import time
from datetime import date, timedelta

from rich.console import Console
from rich.progress import Progress

from portrait.config import Settings
from portrait.config.settings import CONFIG_DIR
from portrait.ingest import check_sources
from portrait.local.airflow import LOGIN, AirflowServices
from portrait.local.dates import is_simulated, next_business_date
from portrait.local.nightly import Step, run_night
from portrait.local.report import print_report
from portrait.simulate import Retailer, simulate
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)

_MARK = {"running": "..", "success": "ok", "failed": "!!", "up_for_retry": "again", "upstream_failed": "--"}


def run_session(settings: Settings, console: Console) -> date:
    """Set up what is missing, run the next business date through Airflow, and print what came out.

    Returns the business date.

    Raises
    ------
    PortraitError : for the first thing that its owner can mend.
    """
    started = time.monotonic()
    console.print(f"[bold]Portrait[/] workspace {settings.workspace}, files under {settings.workspace_dir}")
    with console.status("PostgreSQL: start, migrate"):
        open_warehouse(settings, create=True)
    if is_simulated(settings):
        simulate_up_to(settings, console, _simulated_until(settings))
    as_of = next_business_date(settings)
    for report in check_sources(settings, find_latest=False):
        console.print(f"  source {report.source}: {report.files} file(s) for {report.entity}")
    console.print(f"Business date [bold]{as_of}[/]")
    services = AirflowServices(settings)
    with console.status("Airflow: migrate its database, start its services"):
        services.prepare()
    with services.running() as client:
        console.print(f"Airflow runs at {services.address} (login {LOGIN} / {services.password})")
        run_night(services, client, settings, as_of, lambda step: _show(console, step))
    print_report(console, settings)
    chosen = "" if settings.sources_path == CONFIG_DIR / "sources.yaml" else f" DATA={settings.sources_path}"
    console.print(
        f"Done in {time.monotonic() - started:.0f} s. Next:\n"
        f"  make ui{chosen}      the Airflow UI, with its address and login\n"
        f"  make psql{chosen}    SQL: select * from profile.customer_profile limit 5;\n"
        f"  make run{chosen}     the next business date\n"
        f"  psql '{open_warehouse(settings).libpq_uri}'",
        highlight=False,
        soft_wrap=True,
    )
    return as_of


def ui_session(settings: Settings, console: Console) -> None:
    """Airflow's services until Ctrl-C."""
    open_warehouse(settings, create=True)
    services = AirflowServices(settings)
    services.prepare()
    with services.running():
        console.print(f"Airflow UI: [bold]{services.address}[/]  login {LOGIN}  password {services.password}")
        console.print("Ctrl-C stops it.")
        try:
            while True:
                services.check()
                time.sleep(2)
        except KeyboardInterrupt:
            console.print("Stopping.")


def simulate_up_to(settings: Settings, console: Console, end: date) -> None:
    """Let the simulated retailer deliver every day up to `end`; days already delivered stay as they are."""
    retailer = Retailer()
    with Progress(console=console, transient=True) as progress:
        bar = progress.add_task("Simulated retailer", total=(end - retailer.start).days + 1)
        simulate(
            retailer, settings.simulated_dir, retailer.start, end, progress=lambda *_: progress.advance(bar)
        )
    console.print(f"Simulated retailer: deliveries up to {end} in {settings.simulated_dir}")


def _simulated_until(settings: Settings) -> date:
    """The business date to come; asked before the first files exist."""
    if (
        settings.sources.business_date is None
        and open_warehouse(settings).scalar("select max(as_of) from ops.run") is None
    ):
        return Retailer().start + timedelta(days=Retailer().history_days - 1)
    return next_business_date(settings)


def _show(console: Console, step: Step) -> None:
    took = f" {step.seconds:.1f} s" if step.seconds is not None and step.state != "running" else ""
    console.print(
        f"  [{_MARK[step.state]}] {step.dag_id} {step.task_id}{took}", highlight=False, markup=False
    )
