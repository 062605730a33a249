"""What each tag says of each customer of a night, and why."""

import ibis
import pyarrow as pa
from ibis.backends.duckdb import Backend
from ibis.expr import types as ir

from portrait.config.expressions import columns_of, parse_expression
from portrait.config.tags import Tag
from portrait.profiles.tables import CUSTOMER_PROFILE, CUSTOMER_TAG, TAG_DEFINITION
from portrait.profiles.tags.check import duckdb_sql, is_condition
from portrait.purposes import SERVICE

UNKNOWN = "unknown"
PRICE_SENSITIVITY = "price_sensitivity"


def customer_tags(
    connection: Backend, profile: str, tags: tuple[Tag, ...], may: str | None = None
) -> ir.Table:
    """One row a customer and tag they have: customer_id, tag, value, reason.

    Who does not allow a tag's purpose does not have it.

    `reason` is what the tag's columns say of the customer: ``recency_days = 9, frequency = 5``.

    Parameters
    ----------
    profile : name of a table with the columns of `profile.customer_profile`.
    may : name of the table that `permissions` makes; without it everybody allows everything.

    Raises
    ------
    ValueError : when a tag cannot be computed; `check_tags` says so before.
    """
    if not tags:
        return ibis.memtable(ibis.schema(CUSTOMER_TAG.columns).to_pyarrow().empty_table())
    rows = "\nunion all\n".join(_of_tag(_allowing(profile, may, tag), tag) for tag in tags)
    connection.raw_sql(f"create temp table {CUSTOMER_TAG.name} as {rows}")
    return connection.table(CUSTOMER_TAG.name)


def tag_definitions(tags: tuple[Tag, ...]) -> ir.Table:
    """The definitions as they were this night, one row a tag."""
    rows = [
        {
            "tag": tag.code,
            "version": tag.version,
            "type": tag.type,
            "name_en": tag.name.en,
            "name_zh": tag.name.zh,
            "description_en": tag.description.en,
            "description_zh": tag.description.zh,
            "expression": tag.expression,
            "owner": tag.owner,
            "purpose": tag.purpose,
            "null_policy": tag.null_policy,
            "use": tag.use,
            "price_limited": reads_price_sensitivity(tag),
        }
        for tag in tags
    ]
    return ibis.memtable(pa.Table.from_pylist(rows, ibis.schema(TAG_DEFINITION.columns).to_pyarrow()))


def reads_price_sensitivity(tag: Tag) -> bool:
    """Whether the tag says something of how much a price matters to a customer."""
    return PRICE_SENSITIVITY in columns_of(parse_expression(tag.expression))


def _allowing(profile: str, may: str | None, tag: Tag) -> str:
    if may is None or tag.purpose == SERVICE:
        return profile
    return f"(select p.* from {profile} as p semi join (from {may} where {tag.purpose}) as m using (customer_id))"


def _of_tag(profile: str, tag: Tag) -> str:
    value = duckdb_sql(tag.expression)
    if is_condition(tag):
        text = f"case when {value} then 'true' when ({value}) is null then '{UNKNOWN}' end"
    else:
        text = f"coalesce(cast({value} as varchar), '{UNKNOWN}')"
    kept = f"value <> '{UNKNOWN}'" if tag.null_policy == "omit" else "value is not null"
    return (
        f"select customer_id, '{tag.code}' as tag, value, reason from ("
        f"select customer_id, {text} as value, {_reason(tag)} as reason from {profile}) where {kept}"
    )


def _reason(tag: Tag) -> str:
    """SQL of the reason: the columns the expression names, with the customer's values."""
    said = []
    for column in columns_of(parse_expression(tag.expression)):
        value = f"round({column}, 2)" if CUSTOMER_PROFILE.columns[column] == "float64" else column
        said.append(f"'{column} = ' || coalesce(cast({value} as varchar), 'null')")
    return f"concat_ws(', ', {', '.join(said)})" if said else "'for everybody'"
