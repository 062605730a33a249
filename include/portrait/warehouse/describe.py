"""The warehouse's tables and columns as a page of Markdown, in the words of their database comments."""

from itertools import groupby
from typing import Any

from portrait.warehouse.database import Warehouse

SCHEMAS = (
    *("profile", "mart_marketing", "mart_service", "mart_inventory", "audience", "privacy"),
    *("ops", "identity", "raw", "quarantine", "pii"),
)
"""In the order in which a reader wants them."""

_HEAD = """# Tables

Written by `portrait db describe` from the comments in the database: change a comment in a migration, not here.
Dates are business dates in the retailer's time zone; times are stored with their zone; amounts are in the currency of
`sources.yaml`. `profile_store` holds the columns of `profile` and a `run_id`, for every night that is kept.
"""

_COLUMNS = """
select n.nspname as schema, c.relname as relation, c.relkind = 'v' as is_view,
       obj_description(n.oid, 'pg_namespace') as schema_comment,
       obj_description(c.oid, 'pg_class') as relation_comment,
       a.attname as name, format_type(a.atttypid, a.atttypmod) as type,
       coalesce(a.attnum = any(k.conkey), false) as is_key,
       col_description(c.oid, a.attnum) as comment
from pg_class c
join pg_namespace n on n.oid = c.relnamespace
join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
left join pg_constraint k on k.conrelid = c.oid and k.contype = 'p'
where n.nspname = any(:schemas) and c.relkind in ('r', 'p', 'v') and not c.relispartition
order by array_position(:schemas, n.nspname::text), c.relname, a.attnum
"""


def describe(warehouse: Warehouse) -> str:
    """Every table and view of `SCHEMAS` with its columns, types, primary keys and comments, as Markdown.

    Partitions are left out: the page is the same whatever the database holds.
    """
    rows = warehouse.rows(_COLUMNS, schemas=list(SCHEMAS))
    pages = [_HEAD]
    for schema, of_schema in groupby(rows, key=lambda r: r["schema"]):
        columns = list(of_schema)
        pages.append(f"\n## {schema}\n\n{_sentence(columns[0]['schema_comment'])}\n")
        for relation, of_relation in groupby(columns, key=lambda r: r["relation"]):
            pages.append(_relation(f"{schema}.{relation}", list(of_relation)))
    return "".join(pages)


def _relation(name: str, columns: list[dict[str, Any]]) -> str:
    kind = " (view)" if columns[0]["is_view"] else ""
    lines = [f"\n### {name}{kind}", "", _sentence(columns[0]["relation_comment"]), ""]
    lines += ["| column | type | what |", "|---|---|---|"]
    for column in columns:
        key = " 🔑" if column["is_key"] else ""
        what = (column["comment"] or "").replace("|", "\\|")
        lines.append(f"| `{column['name']}`{key} | {column['type']} | {what} |")
    return "\n".join(lines) + "\n"


def _sentence(comment: str | None) -> str:
    return f"{comment}." if comment else ""
