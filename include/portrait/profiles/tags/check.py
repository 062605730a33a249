"""Whether every tag can be computed, before the night starts."""

from functools import lru_cache
from typing import TYPE_CHECKING

from portrait.config import Settings
from portrait.config.expressions import check_columns, parse_expression
from portrait.config.tags import Tag
from portrait.errors import PortraitError
from portrait.profiles.tables import CUSTOMER_PROFILE

if TYPE_CHECKING:
    import duckdb

DUCKDB_TYPES = {
    "string": "varchar",
    "date": "date",
    "boolean": "boolean",
    "int32": "integer",
    "float64": "double",
}


def check_tags(settings: Settings) -> None:
    """Every expression names columns that there are and compares like with like.

    Raises
    ------
    PortraitError : naming the first tag that does not, and why.
    """
    for tag in settings.tags.tags:
        try:
            value_type(tag)
        except ValueError as error:
            raise PortraitError(f"tags.yaml: tags[{tag.code}].expression: {error}") from None


def is_condition(tag: Tag) -> bool:
    """Whether the tag is a condition: who fulfils it has the tag."""
    return value_type(tag) == "BOOLEAN"


def value_type(tag: Tag) -> str:
    """DuckDB's type of the expression's value. Raises ValueError when it has none."""
    return _value_type(tag.expression)


def duckdb_sql(expression: str) -> str:
    """The expression in DuckDB's words, without comments."""
    tree = parse_expression(expression)
    check_columns(tree, CUSTOMER_PROFILE.columns)
    return tree.sql(dialect="duckdb", comments=False)


@lru_cache(maxsize=512)
def _value_type(expression: str) -> str:
    import duckdb

    sql = f"describe select {duckdb_sql(expression)} as value from profile"
    try:
        (found,) = _empty_profile().execute(sql).fetchall()
    except duckdb.Error as error:
        raise ValueError(f"{str(error).splitlines()[0]}; correct it") from None
    return str(found[1])


@lru_cache(maxsize=1)
def _empty_profile() -> "duckdb.DuckDBPyConnection":
    """A table `profile` without rows, made once: connecting costs more than asking."""
    import duckdb

    columns = ", ".join(f"{c} {DUCKDB_TYPES[kind]}" for c, kind in CUSTOMER_PROFILE.columns.items())
    connection = duckdb.connect(config={"threads": "1"})
    connection.execute(f"create table profile ({columns})")
    return connection
