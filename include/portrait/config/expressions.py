"""SQL expressions that a user writes in a configuration file: what they may say, and what they are about.

They are parsed, never pasted: whatever is not on the list below is refused, so that an expression can compare the
columns of one row and nothing else. It cannot name a table, start a query or call a function that does anything.
"""

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlglot import exp

QUESTIONS = {"has_tag": (1, 2), "likes": (2, 3)}
"""Questions about a customer's other rows -> fewest and most arguments, all of them literals."""

_ALLOWED = (
    *(
        "Column",
        "Identifier",
        "Literal",
        "Boolean",
        "Null",
        "Paren",
        "Tuple",
        "And",
        "Or",
        "Not",
        "EQ",
        "NEQ",
    ),
    *(
        "GT",
        "GTE",
        "LT",
        "LTE",
        "Between",
        "In",
        "Is",
        "Like",
        "ILike",
        "Escape",
        "NullSafeEQ",
        "NullSafeNEQ",
    ),
    *("Add", "Sub", "Mul", "Div", "Neg", "Case", "If", "Coalesce", "Nullif", "Greatest", "Least"),
    *("Abs", "Round", "Floor", "Ceil", "Ln", "Sqrt", "Cast", "DataType", "DataTypeParam"),
    *("Concat", "DPipe", "Lower", "Upper", "Length", "Substring", "Trim", "StartsWith"),
)
"""Names of sqlglot's nodes."""
_TYPES = ("TEXT", "INT", "BIGINT", "DOUBLE", "DECIMAL", "DATE", "BOOLEAN")


def parse_expression(sql: str, questions: bool = False) -> "exp.Expression":
    """The expression as a tree, in PostgreSQL's dialect.

    Parameters
    ----------
    questions : also allow `has_tag('code')`, `has_tag('code', 'value')`, `likes('dimension', 'value')` and
        `likes('dimension', 'value', least_score)`.

    Raises
    ------
    ValueError : naming what is not allowed, or where the text cannot be read.
    """
    import sqlglot
    from sqlglot import exp
    from sqlglot.errors import SqlglotError

    try:
        trees = sqlglot.parse(sql, read="postgres")
    except SqlglotError as error:
        reason = str(error).splitlines()[0].replace("\x1b[4m", "").replace("\x1b[0m", "")
        raise ValueError(f"is no SQL expression ({reason}); correct it") from None
    if len(trees) != 1 or trees[0] is None:
        raise ValueError("must be one expression; take out the semicolon and what follows it")
    tree = trees[0]
    allowed = tuple(getattr(exp, name) for name in _ALLOWED)
    for node in tree.walk():
        if questions and isinstance(node, exp.Anonymous) and node.name.lower() in QUESTIONS:
            _check_question(node)
        elif not isinstance(node, allowed):
            raise ValueError(
                f"`{_shown(node)}` is not allowed; compare columns and values with operators, CASE and plain functions"
            )
        elif isinstance(node, exp.Column) and node.table:
            raise ValueError(f"`{_shown(node)}` names a table; write the column alone")
        elif isinstance(node, exp.DataType) and getattr(node.this, "value", None) not in _TYPES:
            raise ValueError(
                f"`{_shown(node)}` is no type to cast to; take one of {', '.join(_TYPES).lower()}"
            )
    return tree


def columns_of(tree: "exp.Expression") -> list[str]:
    """Names of the columns in the expression, each once, in order of appearance."""
    from sqlglot import exp

    return list(dict.fromkeys(column.name for column in tree.find_all(exp.Column, bfs=False)))


def check_columns(tree: "exp.Expression", known: Collection[str]) -> None:
    """Raise ValueError when the expression names a column that there is not, with the nearest one there is."""
    from difflib import get_close_matches

    for column in columns_of(tree):
        if column not in known:
            near = get_close_matches(column, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "docs/tables.md lists them"
            raise ValueError(f"there is no column '{column}'; {hint}")


def _check_question(node: "exp.Anonymous") -> None:
    from sqlglot import exp

    fewest, most = QUESTIONS[node.name.lower()]
    if not fewest <= len(node.expressions) <= most:
        raise ValueError(f"`{_shown(node)}` takes {fewest} to {most} arguments")
    if not all(isinstance(a, exp.Literal) for a in node.expressions):
        raise ValueError(f"`{_shown(node)}` takes text and numbers only; put them in quotes")


def _shown(node: "exp.Expression") -> str:
    text = node.sql(dialect="postgres")
    return text if len(text) <= 60 else f"{text[:57]}..."
