"""The `portrait` command. Each stage is one; errors a user can mend end with exit code 2 and one line."""

import logging
import os
import signal
import sys
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portrait.config import Settings, load_settings
from portrait.errors import PortraitError
from portrait.run import Run

if TYPE_CHECKING:
    from rich.console import Console

app = typer.Typer(
    help="Customer profiles for retailers: identity, features, nightly models, profile tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
db = typer.Typer(help="The warehouse database.", no_args_is_help=True)
app.add_typer(db, name="db")
quarantine = typer.Typer(help="Rows that a contract refused.", no_args_is_help=True)
app.add_typer(quarantine, name="quarantine")
review = typer.Typer(help="Probable duplicates that wait for a decision.", no_args_is_help=True)
app.add_typer(review, name="review")
rule = typer.Typer(help="Manual identity rules: the last word.", no_args_is_help=True)
app.add_typer(rule, name="rule")
audience = typer.Typer(help="Groups of customers for a purpose.", no_args_is_help=True)
app.add_typer(audience, name="audience")
api_key = typer.Typer(help="Keys of the profile API.", no_args_is_help=True)
app.add_typer(api_key, name="api-key")

Sources = Annotated[
    Path | None,
    typer.Option("--sources", help="A sources.yaml in place of PORTRAIT_SOURCES.", show_default=False),
]
AsOf = Annotated[datetime, typer.Option("--date", formats=["%Y-%m-%d"], help="Business date.")]
RunId = Annotated[str, typer.Option("--run", help="run_id of ops.run; `portrait begin` makes one.")]


def main() -> None:
    """Entry point."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    for ending in (signal.SIGTERM, signal.SIGHUP):
        # A closed terminal or `kill` must not leave Airflow's services behind: leave through every `finally`.
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    try:
        logging.getLogger().setLevel(_log_level())
        app()
    except PortraitError as error:
        typer.echo("portrait: " + " ".join(str(error).splitlines()), err=True)
        sys.exit(2)


def _log_level() -> str:
    level, known = os.environ.get("PORTRAIT_LOG_LEVEL") or "INFO", ("DEBUG", "INFO", "WARNING", "ERROR")
    if level not in known:
        raise PortraitError(f"PORTRAIT_LOG_LEVEL is '{level}'; set one of {', '.join(known)}")
    return level


def _settings(sources: Path | None = None) -> Settings:
    return load_settings(sources_path=sources)


def _console() -> "Console":
    from rich.console import Console

    console = Console()
    # A log file or pipe has no width: give the tables room.
    return console if console.is_terminal else Console(width=120)


def _day(value: datetime) -> date:
    return value.replace(tzinfo=UTC).date()


def _run(settings: Settings, run_id: str) -> Run:
    from portrait.stages import find_run

    return find_run(settings, run_id)


@app.command()
def run(sources: Sources = None) -> None:
    """Everything from nothing: set up, ingest and nightly Dags through Airflow, a look at the result."""
    from portrait.local.session import run_session

    logging.getLogger().setLevel(logging.WARNING)
    run_session(_settings(sources), _console())


@app.command()
def ui(sources: Sources = None) -> None:
    """Airflow's UI on this machine, until Ctrl-C."""
    from portrait.local.session import ui_session

    logging.getLogger().setLevel(logging.WARNING)
    ui_session(_settings(sources), _console())


@app.command("airflow", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def airflow_command(context: typer.Context, sources: Sources = None) -> None:
    """Airflow's own command line on this workspace: portrait airflow connections list."""
    from portrait.local.airflow import run_airflow

    run_airflow(_settings(sources), context.args)


@app.command()
def show(sources: Sources = None) -> None:
    """The published night: models, tables, three customers."""
    from portrait.local.report import print_report

    print_report(_console(), _settings(sources))


@app.command()
def check(sources: Sources = None) -> None:
    """Check sources.yaml against its files without loading anything."""
    from portrait.ingest import check_sources

    for report in check_sources(_settings(sources)):
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
        retailer = replace(retailer, start=_day(start))
    last = _day(end) if end else date.fromordinal(retailer.start.toordinal() + retailer.history_days - 1)
    folder = out or _settings().simulated_dir
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

    result = pull_source(_settings(sources), source, _day(as_of), _day(since) if since else None)
    typer.echo(f"{source}: {result.files} files, {result.sentence}")


By = Annotated[str, typer.Option("--by", help="Who decides.")]
Reason = Annotated[str, typer.Option(help="Why; it is kept with the decision.")]


@review.command("list")
def list_reviews(
    everything: Annotated[bool, typer.Option("--all", help="Decided ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1)] = 50,
    sources: Sources = None,
) -> None:
    """Probable duplicates, the likeliest first."""
    from portrait.identity.review import review_table

    _console().print(review_table(_settings(sources), everything, limit))


@review.command("show")
def show_review(number: int, sources: Sources = None) -> None:
    """Why a pair is likely: the weight of each comparison."""
    from portrait.identity.review import waterfall_table

    _console().print(waterfall_table(_settings(sources), number))


@review.command("accept")
def accept_review(number: int, by: By, reason: Reason, sources: Sources = None) -> None:
    """They are one customer from the next night on."""
    from portrait.identity.review import accept

    typer.echo(f"rule {accept(_settings(sources), number, by, reason)}: must_link")


@review.command("reject")
def reject_review(number: int, by: By, reason: Reason, sources: Sources = None) -> None:
    """They are two customers, whatever the identifiers say."""
    from portrait.identity.review import reject

    typer.echo(f"rule {reject(_settings(sources), number, by, reason)}: cannot_link")


@rule.command("add")
def add_rule(
    kind: Annotated[str, typer.Argument(help="must_link or cannot_link.")],
    first: Annotated[str, typer.Argument(help="kind:value, for example phone:13800138000.")],
    second: Annotated[str, typer.Argument(help="kind:value, for example card:C12345.")],
    by: By,
    reason: Reason,
    sources: Sources = None,
) -> None:
    """Two identifiers are one customer's, or are not: the last word, from the next night on."""
    from portrait.identity.rules import add_rule as add

    ends = [tuple(end.split(":", 1)) for end in (first, second)]
    if any(len(end) != 2 for end in ends):
        raise PortraitError("write each identifier as kind:value, for example phone:13800138000")
    (kind_a, value_a), (kind_b, value_b) = ends
    number = add(_settings(sources), kind, (kind_a, value_a), (kind_b, value_b), reason, by)
    typer.echo(f"rule {number}: {kind}")


@rule.command("revoke")
def revoke_rule(number: int, sources: Sources = None) -> None:
    """Take a rule back; `select * from identity.manual_rule` lists them."""
    from portrait.identity.rules import revoke_rule as revoke

    revoke(_settings(sources), number)
    typer.echo(f"rule {number} revoked")


@quarantine.command("list")
def list_refused(
    source: Annotated[str | None, typer.Option(help="One source; all unless given.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    sources: Sources = None,
) -> None:
    """Refused rows by reason, the most frequent first."""
    from portrait.ingest.refused import refused_table

    settings = _settings(sources)
    if source:
        settings.sources.source(source)
    _console().print(refused_table(settings, source, everything))


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

    result = replay_source(_settings(sources), source, code, _day(as_of) if as_of else None)
    loaded = f" ({result.pull.sentence})" if result.pull else ""
    typer.echo(
        f"{source}: {result.tried} rows tried again, {result.resolved} resolved, "
        f"{result.still_refused} still in quarantine{loaded}"
    )


@app.command()
def nightly(as_of: AsOf, sources: Sources = None) -> None:
    """Every stage after ingest, in this process (Airflow's nightly Dag runs the same ones as tasks)."""
    from portrait import stages

    settings = _settings(sources)
    run = stages.begin_run(settings, _day(as_of), f"cli/{_day(as_of)}")
    try:
        stages.nightly(settings, run)
    except Exception as error:
        stages.fail_run(settings, f"cli/{_day(as_of)}", str(error))
        raise
    typer.echo(f"published {run.run_id}")


@app.command()
def begin(as_of: AsOf, sources: Sources = None) -> None:
    """Make (or find) the command line's run of a business date and print its run_id."""
    from portrait.stages import begin_run

    typer.echo(begin_run(_settings(sources), _day(as_of), f"cli/{_day(as_of)}").run_id)


@app.command()
def resolve(run_id: RunId, sources: Sources = None) -> None:
    """Identity: one customer across channels."""
    from portrait import stages

    settings = _settings(sources)
    stages.resolve(settings, _run(settings, run_id))


@app.command()
def features(
    run_id: RunId,
    sources: Sources = None,
    rebuild: Annotated[
        bool, typer.Option(help="Copy the whole of raw and compute all customers anew.")
    ] = False,
) -> None:
    """Snapshot of raw, features, matrices."""
    from portrait import stages

    settings = _settings(sources)
    run = _run(settings, run_id)
    stages.snapshot(settings, run, rebuild)
    stages.features(settings, run, rebuild)


@app.command()
def train(
    run_id: RunId,
    model: Annotated[str | None, typer.Option(help="One name of model.yaml; all unless given.")] = None,
    sources: Sources = None,
) -> None:
    """Train candidates up to the holdout."""
    from portrait import stages

    settings = _settings(sources)
    for name in [model] if model else [c.name for c in settings.models.candidates]:
        stages.train(settings, _run(settings, run_id), name)


@app.command()
def evaluate(run_id: RunId, sources: Sources = None) -> None:
    """Judge the candidates and the champion, promote, score every customer."""
    from portrait import stages

    settings = _settings(sources)
    run = _run(settings, run_id)
    for stage in (stages.evaluate, stages.promote, stages.score):
        stage(settings, run)


@app.command()
def profile(run_id: RunId, sources: Sources = None) -> None:
    """Compute the profile tables and load them where no reader looks."""
    from portrait import stages

    settings = _settings(sources)
    run = _run(settings, run_id)
    for stage in (stages.profile, stages.load, stages.audit):
        stage(settings, run)


@app.command()
def publish(run_id: RunId, sources: Sources = None) -> None:
    """Show a run to every reader."""
    from portrait import stages

    settings = _settings(sources)
    stages.publish(settings, _run(settings, run_id))


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="run_id or date; the run before unless given.")] = None,
    sources: Sources = None,
) -> None:
    """Show an earlier run again."""
    from portrait.profiles.publish import rollback as move_back

    typer.echo(f"published run is now {move_back(_settings(sources), to)}")


@app.command()
def serve(
    host: Annotated[str | None, typer.Option(help="Address; serving.yaml's unless given.")] = None,
    port: Annotated[int | None, typer.Option(min=1, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Processes.")] = None,
    sources: Sources = None,
) -> None:
    """The profile API and its page, until Ctrl-C."""
    from portrait.serving.serve import serve as run_api

    settings = _settings(sources)
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
    typer.echo(create_key(_settings(sources), name, scopes, requests_per_second, days))


@api_key.command("list")
def list_api_keys(sources: Sources = None) -> None:
    """Whose keys there are, what they may ask, and whether they hold."""
    from portrait.serving.keys import key_table

    _console().print(key_table(_settings(sources)))


@api_key.command("revoke")
def revoke_api_key(
    key_id: Annotated[str, typer.Argument(help="The part between the underscores.")], sources: Sources = None
) -> None:
    """Refuse a key from now on."""
    from portrait.serving.keys import revoke_key

    revoke_key(_settings(sources), key_id)
    typer.echo(f"key {key_id} revoked")


@app.command()
def diff(
    run_a: Annotated[str, typer.Argument(help="The earlier run.")],
    run_b: Annotated[str, typer.Argument(help="The later run.")],
    limit: Annotated[int, typer.Option(min=0, help="Customers that are shown.")] = 20,
    sources: Sources = None,
) -> None:
    """Who came, who went, who changed segment or lifecycle between two kept runs, and why."""
    from portrait.profiles.diff import difference_tables

    for table in difference_tables(_settings(sources), run_a, run_b, limit):
        _console().print(table)


@audience.command("list")
def list_audiences(sources: Sources = None) -> None:
    """The audiences of audiences.yaml, with their size on the last night."""
    from portrait.audiences.show import audience_table

    _console().print(audience_table(_settings(sources)))


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
    settings = _settings(sources)
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

    settings = _settings(sources)
    refresh(settings, code)
    sent = export_audience(settings, code)
    done = "sent to" if sent.sent_now else "was sent before to"
    typer.echo(
        f"{code} as of {sent.as_of}: {sent.customers:,} customers {done} {sent.target}, "
        f"{sent.held_back:,} held back, {sent.capped:,} capped"
    )


@app.command()
def benchmark(
    dataset: Annotated[Path, typer.Argument(help="Folder of the data set's files.")],
    protocol: Annotated[str, typer.Option(help="strong, next-basket or temporal.")] = "strong",
    models: Annotated[
        str, typer.Option(help="Comma-separated names, see docs/models.md.")
    ] = "popularity,ease",
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="model.param=value, as often as needed.", show_default=False),
    ] = None,
    keysets: Annotated[
        list[Path] | None,
        typer.Option("--keyset", help="next-basket: JSON of train/val/test users; all of the folder's."),
    ] = None,
    holdout_days: Annotated[int, typer.Option(min=1, help="temporal: length of each window.")] = 14,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all figures here.")] = None,
    seed: int = 0,
    threads: Annotated[int, typer.Option(min=0, help="0: all cores.")] = 0,
) -> None:
    """Models on plain files, judged as papers judge them; prints a table.

    strong: train.csv, validation_tr.csv, validation_te.csv, test_tr.csv, test_te.csv with uid,sid, as Liang's
    code writes them.

    next-basket: history.csv and future.csv with user_id,order_number,product_id, and keysets in JSON.

    temporal: interactions.csv with user_id,item_id,date; validated and tested on its last days.
    """
    from portrait.models.benchmark import Options, model_requests, run_benchmark
    from portrait.models.benchmark.report import table, write_json

    requests = model_requests(models, settings or ())
    options = Options(seed, threads, holdout_days, tuple(keysets or ()))
    rows = []
    try:
        for row in run_benchmark(dataset, protocol, requests, options):
            rows.append(row)
    finally:  # what was measured is shown, whatever happened to a later model
        if rows:
            _console().print(table(f"{dataset.name}, {protocol}", rows))
            if json_file is not None:
                write_json(json_file, dataset, protocol, rows)


@db.command()
def up(sources: Sources = None) -> None:
    """Start the embedded server, create the database, migrate it."""
    from portrait.warehouse import open_warehouse

    typer.echo(open_warehouse(_settings(sources), create=True).url.render_as_string(hide_password=True))


@db.command()
def down(sources: Sources = None) -> None:
    """Stop the embedded server."""
    from portrait.warehouse.server import stop_server

    typer.echo("stopped" if stop_server(_settings(sources).server_dir) else "was not running")


@db.command()
def url(sources: Sources = None) -> None:
    """Print the database's libpq URL."""
    from portrait.warehouse import open_warehouse

    typer.echo(open_warehouse(_settings(sources)).libpq_uri)


@db.command()
def migrate(sources: Sources = None) -> None:
    """Bring the database's schema up to date."""
    from portrait.warehouse import open_warehouse

    open_warehouse(_settings(sources), create=True)


@db.command()
def describe(sources: Sources = None) -> None:
    """Print every table and column with its comment, as Markdown (docs/tables.md)."""
    from portrait.warehouse import open_warehouse
    from portrait.warehouse.describe import describe as describe_tables

    typer.echo(describe_tables(open_warehouse(_settings(sources))), nl=False)


@db.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def psql(context: typer.Context, sources: Sources = None) -> None:
    """Open psql on the database; further arguments go to psql (-c 'select 1')."""
    from portrait.warehouse import open_warehouse
    from portrait.warehouse.server import psql_path

    uri = open_warehouse(_settings(sources)).libpq_uri
    os.execv(psql_path(), [str(psql_path()), uri, *context.args])
