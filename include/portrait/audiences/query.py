"""The query that finds the members of an audience, and running it where it can read the published night and no more."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from psycopg2.errors import InsufficientPrivilege, InvalidParameterValue, QueryCanceled
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from portrait.config import Settings
from portrait.config.audiences import Audience
from portrait.config.expressions import check_columns, parse_expression
from portrait.errors import PortraitError
from portrait.profiles.inferred import COLUMNS as INFERRED
from portrait.profiles.tables import CUSTOMER_PROFILE
from portrait.purposes import ANALYTICS, CODES, PROFILING_INFERENCE, SERVICE
from portrait.warehouse import Warehouse

if TYPE_CHECKING:
    from sqlglot import exp

ROLE = "portrait_audience"


_SEGMENTS = ("segment_id", "segment_name")


def allowed(purpose: str, customer: str) -> str:
    """SQL: whether the customer whose id is in the column `customer` allows the purpose at this moment.

    Raises ValueError for what is no purpose: it becomes a column's name.
    """
    if purpose == SERVICE:
        return "true"
    if purpose not in CODES:
        raise ValueError(f"'{purpose}' is no purpose")
    return (
        f"coalesce((select said.{purpose} from privacy.permission as said where said.customer_id = {customer}),"
        f" (select otherwise.{purpose} from privacy.unstated as otherwise))"
    )


# The run by its id, not the views of `profile`: only so the planner knows which partition it is, and how large.
# What a customer allows is looked at as the view profile.customer_tag does.
_TAGGED = (
    "select t.customer_id from profile_store.customer_tag as t"
    " join profile_store.tag_definition as d on d.run_id = t.run_id and d.tag = t.tag"
    " left join privacy.permission as said on said.customer_id = t.customer_id"
    " cross join privacy.unstated as otherwise"
    " where t.run_id = %(run_id)s and t.tag = {} and case d.purpose when 'service' then true"
    + "".join(f" when '{code}' then coalesce(said.{code}, otherwise.{code})" for code in CODES)
    + " else false end"
)
_LIKING = (
    "select a.customer_id from profile_store.affinity as a"
    " where a.run_id = %(run_id)s and a.dimension = {} and a.value = {}"
)


@dataclass(frozen=True)
class Query:
    """SQL with psycopg's named parameters, and their values; all text of the condition is among them."""

    sql: str
    parameters: dict[str, Any]


@dataclass(frozen=True)
class Found:
    """Who fulfils an audience's condition.

    Attributes
    ----------
    run_id, as_of : the published night that was asked.
    members : ids of those with consent, in order.
    without_consent : how many others there are.
    """

    run_id: str
    as_of: Any
    members: list[str]
    without_consent: int


def members_query(audience: Audience, run_id: str = "") -> Query:
    """The query of an audience on the profiles of a run: customer_id and whether they allow its purpose.

    Of who does not allow it a condition sees neither inferred columns nor segments, as in `profile.customer_profile`.

    Raises
    ------
    PortraitError : when the condition names a column that there is not.
    """
    tree = parse_expression(audience.where, questions=True)
    try:
        check_columns(tree, CUSTOMER_PROFILE.columns)
    except ValueError as error:
        raise PortraitError(f"audiences.yaml: audiences[{audience.code}].where: {error}") from None
    parameters: dict[str, Any] = {"run_id": run_id}
    condition = _bound(tree.copy(), parameters).sql(dialect="postgres", comments=False)
    consented = "true"
    if audience.purpose != SERVICE:
        consented = f"coalesce(said.{audience.purpose}, otherwise.{audience.purpose})"
    sql = (
        f"select p.customer_id, {consented} as consented from profile_store.customer_profile as p"
        " left join privacy.permission as said on said.customer_id = p.customer_id"
        " cross join privacy.unstated as otherwise"
        f" where p.run_id = %(run_id)s and ({condition}) order by p.customer_id"
    )
    return Query(sql, parameters)


def _bound(tree: "exp.Expression", parameters: dict[str, Any]) -> "exp.Expression":
    """Questions become sub-queries, columns those of the profile, texts parameters."""
    from sqlglot import exp

    def rewritten(node: "exp.Expression") -> "exp.Expression":
        if isinstance(node, exp.Anonymous):
            return _sub_query(node, parameters)
        if isinstance(node, exp.Column):
            return _column(node.name)
        if isinstance(node, exp.Literal) and node.is_string:
            return _parameter(node.this, parameters)
        return node

    return tree.transform(rewritten, copy=False)


def _column(name: str) -> "exp.Expression":
    """A column of the profile, null where the customer does not allow what it is for."""
    import sqlglot

    purpose = PROFILING_INFERENCE if name in INFERRED else ANALYTICS if name in _SEGMENTS else None
    if purpose is None:
        return sqlglot.exp.column(name, table="p")
    return sqlglot.parse_one(
        f"case when coalesce(said.{purpose}, otherwise.{purpose}) then p.{name} end", read="postgres"
    )


def _sub_query(question: "exp.Anonymous", parameters: dict[str, Any]) -> "exp.Expression":
    import sqlglot

    said = [
        _parameter(a.this if a.is_string else a.to_py(), parameters).sql("postgres")
        for a in question.expressions
    ]
    if question.name.lower() == "has_tag":
        inner = _TAGGED.format(said[0]) + (f" and t.value = {said[1]}" if len(said) > 1 else "")
    else:
        inner = _LIKING.format(*said[:2]) + (f" and a.score >= {said[2]}" if len(said) > 2 else "")
    return sqlglot.parse_one(f"p.customer_id in ({inner})", read="postgres")


def _parameter(value: Any, parameters: dict[str, Any]) -> "exp.Expression":
    from sqlglot import exp

    name = f"v{len(parameters)}"
    parameters[name] = value
    return exp.Placeholder(this=name)


def check_audiences(settings: Settings) -> None:
    """Every condition names columns and tags that there are.

    Raises
    ------
    PortraitError : naming the first one that does not.
    """
    from sqlglot import exp

    tags = {t.code for t in settings.tags.tags}
    for audience in settings.audiences.audiences:
        members_query(audience)
        for question in parse_expression(audience.where, questions=True).find_all(exp.Anonymous):
            asked = question.expressions[0].this
            if question.name.lower() == "has_tag" and asked not in tags:
                raise PortraitError(
                    f"audiences.yaml: audiences[{audience.code}].where: no tag '{asked}' in tags.yaml; add it there"
                )


def find_members(settings: Settings, warehouse: Warehouse, audience: Audience) -> Found:
    """Ask the published night who is in an audience.

    The query runs in a read-only transaction under a role that may read profiles and consent, for as long as
    `statement_timeout_seconds` allows.

    Raises
    ------
    PortraitError : when nothing is published, the role is missing, the condition compares what cannot be compared,
        or takes too long.
    """
    engine = warehouse.engine.execution_options(isolation_level="REPEATABLE READ")
    with engine.begin() as connection:
        night = connection.execute(
            text("select run_id, as_of from ops.run where run_id = (select run_id from ops.published_run)")
        ).one_or_none()
        if night is None:
            raise PortraitError("nothing is published yet: run the nightly workflow (`make run`) first")
        query = members_query(audience, night.run_id)
        _only_read(connection, settings)
        try:
            rows = connection.exec_driver_sql(query.sql, query.parameters).all()
        except DBAPIError as error:
            raise PortraitError(_reason(audience, settings, error)) from None
    members = [r.customer_id for r in rows if r.consented]
    return Found(night.run_id, night.as_of, members, len(rows) - len(members))


def _only_read(connection: Connection, settings: Settings) -> None:
    seconds = settings.audiences.statement_timeout_seconds
    connection.execute(text("set transaction read only"))
    connection.execute(text(f"set local statement_timeout = '{seconds}s'"))
    try:
        connection.execute(text(f"set local role {ROLE}"))
    except DBAPIError as error:
        if isinstance(error.orig, InsufficientPrivilege | InvalidParameterValue):
            raise PortraitError(
                f"audiences are asked for under the role {ROLE}, which this login may not take; ask the server's"
                f" owner for `create role {ROLE}` and `grant {ROLE}` to it, then migrate again"
            ) from None
        raise


def _reason(audience: Audience, settings: Settings, error: DBAPIError) -> str:
    where = f"audiences.yaml: audiences[{audience.code}].where"
    if isinstance(error.orig, QueryCanceled):
        seconds = settings.audiences.statement_timeout_seconds
        return f"{where}: took longer than {seconds} s; ask for less or raise statement_timeout_seconds"
    return f"{where}: {str(error.orig).strip().splitlines()[0]}; correct it"
