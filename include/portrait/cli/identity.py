"""Decisions of people about who is who."""

from typing import Annotated

import typer

from portrait.cli.common import Sources, console, settings_of
from portrait.errors import PortraitError

review = typer.Typer(help="Probable duplicates that wait for a decision.", no_args_is_help=True)
rule = typer.Typer(help="Manual identity rules: the last word.", no_args_is_help=True)

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

    console().print(review_table(settings_of(sources), everything, limit))


@review.command("show")
def show_review(number: int, sources: Sources = None) -> None:
    """Why a pair is likely: the weight of each comparison."""
    from portrait.identity.review import waterfall_table

    console().print(waterfall_table(settings_of(sources), number))


@review.command("accept")
def accept_review(number: int, by: By, reason: Reason, sources: Sources = None) -> None:
    """They are one customer from the next night on."""
    from portrait.identity.review import accept

    typer.echo(f"rule {accept(settings_of(sources), number, by, reason)}: must_link")


@review.command("reject")
def reject_review(number: int, by: By, reason: Reason, sources: Sources = None) -> None:
    """They are two customers, whatever the identifiers say."""
    from portrait.identity.review import reject

    typer.echo(f"rule {reject(settings_of(sources), number, by, reason)}: cannot_link")


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
    number = add(settings_of(sources), kind, (kind_a, value_a), (kind_b, value_b), reason, by)
    typer.echo(f"rule {number}: {kind}")


@rule.command("revoke")
def revoke_rule(number: int, sources: Sources = None) -> None:
    """Take a rule back; `select * from identity.manual_rule` lists them."""
    from portrait.identity.rules import revoke_rule as revoke

    revoke(settings_of(sources), number)
    typer.echo(f"rule {number} revoked")
