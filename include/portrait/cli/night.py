"""The stages of a night, one command each, and what was published."""

from typing import Annotated

import typer

from portrait.cli.common import AsOf, RunId, Sources, console, day_of, run_of, settings_of
from portrait.errors import PortraitError

app = typer.Typer()


@app.command()
def nightly(as_of: AsOf, sources: Sources = None) -> None:
    """Every stage after ingest, in this process (Airflow's nightly Dag runs the same ones as tasks)."""
    from portrait import stages

    settings = settings_of(sources)
    run = stages.begin_run(settings, day_of(as_of), f"cli/{day_of(as_of)}")
    try:
        stages.nightly(settings, run)
    except Exception as error:
        stages.fail_run(settings, f"cli/{day_of(as_of)}", str(error))
        raise
    typer.echo(f"published {run.run_id}")


@app.command()
def begin(as_of: AsOf, sources: Sources = None) -> None:
    """Make (or find) the command line's run of a business date and print its run_id."""
    from portrait.stages import begin_run

    typer.echo(begin_run(settings_of(sources), day_of(as_of), f"cli/{day_of(as_of)}").run_id)


@app.command()
def resolve(run_id: RunId, sources: Sources = None) -> None:
    """Identity: one customer across channels."""
    from portrait import stages

    settings = settings_of(sources)
    stages.resolve(settings, run_of(settings, run_id))


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

    settings = settings_of(sources)
    run = run_of(settings, run_id)
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

    settings = settings_of(sources)
    for name in [model] if model else [c.name for c in settings.models.candidates]:
        stages.train(settings, run_of(settings, run_id), name)


@app.command()
def evaluate(run_id: RunId, sources: Sources = None) -> None:
    """Judge the candidates and the champion, promote, score every customer."""
    from portrait import stages

    settings = settings_of(sources)
    run = run_of(settings, run_id)
    for stage in (stages.evaluate, stages.promote, stages.score):
        stage(settings, run)


@app.command()
def profile(run_id: RunId, sources: Sources = None) -> None:
    """Compute the profile tables and load them where no reader looks."""
    from portrait import stages

    settings = settings_of(sources)
    run = run_of(settings, run_id)
    for stage in (stages.profile, stages.load, stages.audit):
        stage(settings, run)


@app.command()
def publish(run_id: RunId, sources: Sources = None) -> None:
    """Show a run to every reader."""
    from portrait import stages

    settings = settings_of(sources)
    stages.publish(settings, run_of(settings, run_id))


@app.command()
def rollback(
    to: Annotated[str | None, typer.Option(help="run_id or date; the run before unless given.")] = None,
    model: Annotated[
        str | None,
        typer.Option(help="In place of the run: the champion of this slot (next, new, embedding)."),
    ] = None,
    reason: Annotated[
        str, typer.Option(help="With --model: why; it is kept with the version.")
    ] = "rolled back",
    sources: Sources = None,
) -> None:
    """Show an earlier run again, or put the champion before into service."""
    from portrait.models.nightly.withdraw import withdraw
    from portrait.profiles.publish import rollback as move_back

    if to is not None and model is not None:
        raise PortraitError("--to moves the published run and --model a champion: give one of them")
    if model is not None:
        withdrawn, serving = withdraw(settings_of(sources), model, reason)
        typer.echo(f"{withdrawn} is withdrawn; {serving} serves slot {model}")
    else:
        typer.echo(f"published run is now {move_back(settings_of(sources), to)}")


@app.command()
def diff(
    run_a: Annotated[str, typer.Argument(help="The earlier run.")],
    run_b: Annotated[str, typer.Argument(help="The later run.")],
    limit: Annotated[int, typer.Option(min=0, help="Customers that are shown.")] = 20,
    sources: Sources = None,
) -> None:
    """Who came, who went, who changed segment or lifecycle between two kept runs, and why."""
    from portrait.profiles.diff import difference_tables

    for table in difference_tables(settings_of(sources), run_a, run_b, limit):
        console().print(table)
