"""From a source's columns to a contract's, as one DuckDB query over a record batch.

The query types every mapped column and names, for each row, the first rule it breaks. It is built from
named pieces: `source` (the file's columns), `raw` (text as mapped), `typed`, `checked`.
"""

import difflib
import json
from collections.abc import Iterator, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

import duckdb
import pyarrow as pa

from portrait.config import ColumnMapping, Settings, SourceSpec
from portrait.contracts import CONTRACTS, Column, Contract
from portrait.errors import PortraitError
from portrait.sources.readers import JSON_LINE

EARLIEST = date(1970, 1, 2)
LONGEST_KEY = 500  # characters; an entry of Postgres's index may have 2,700 bytes
FILE, ROW = "portrait_file", "portrait_row"
DELIVERED_FOR, LOADED_THROUGH = "portrait_delivered_for", "portrait_loaded_through"
_PLACE = f"{FILE}, {ROW}, {DELIVERED_FOR}, {LOADED_THROUGH}"
_RULE = "'rule:' || rule_code"
_DUCKDB_TYPE = {
    "text": "varchar",
    "timestamp": "timestamptz",
    "date": "date",
    "integer": "bigint",
    "decimal": "decimal(18,4)",
    "boolean": "boolean",
}


def connect(settings: Settings, source: SourceSpec) -> duckdb.DuckDBPyConnection:
    """A DuckDB session whose time zone is the source's: text without an offset means local time."""
    connection = duckdb.connect(
        config={"enable_external_access": "false", "threads": "2", "memory_limit": "512MB"}
    )
    connection.execute(f"set timezone = {literal(settings.sources.timezone_of(source))}")
    return connection


def referenced_columns(source: SourceSpec) -> dict[str, str]:
    """Source columns that the mapping names, each with the key that names it."""
    named = {m.column: f"columns.{target}" for target, m in source.columns.items() if m.column is not None}
    return {**dict.fromkeys(source.key, "key"), **named}


def key_has_date(source: SourceSpec) -> bool:
    """Whether the natural key says the business date: a row with another date is then another row."""
    contract = CONTRACTS[source.entity]
    if not source.key:
        return "business_date" in contract.key
    dated = source.columns.get(contract.dated_by or "")
    return dated is not None and dated.column in source.key


def check_columns(name: str, source: SourceSpec, found: Sequence[str]) -> None:
    """Refuse a mapping that names a column which the file does not have.

    Raises
    ------
    PortraitError : naming the file, the key and the nearest column.
    """
    if source.lines:
        return  # a key may be absent from any line; a required one is refused row by row
    for column, key in referenced_columns(source).items():
        if column not in found:
            near = difflib.get_close_matches(column, found, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "it has " + ", ".join(found)
            raise PortraitError(f"{name}: no column {column!r} (sources[{source.name}].{key}); {hint}")


def mapping_sql(settings: Settings, source: SourceSpec, columns: pa.Schema, as_of: date) -> str:
    """The query over a relation `batch`: the file's columns and FILE, ROW, DELIVERED_FOR, LOADED_THROUGH.

    Gives `file_number, row_number, source_row_id, reason_code, not_due, loaded, business_date, payload` and
    every contract column under its own name (pii columns still in clear), for the rows that the source's
    `where` picks.
    """
    contract = CONTRACTS[source.entity]
    mapped = [c for c in contract.columns if c.name in source.columns]
    names = _names(source, columns)
    raw = ",\n    ".join(
        [f"{_raw_value(source.columns[c.name])} as {quote('raw ' + c.name)}" for c in mapped]
        + [f"{_reject_case(source)} as rule_code", f"{_payload(source, names, columns)} as payload"]
        + ([f"{_source_key(source)} as source_row_id"] if source.key else [])
    )
    typed = ",\n    ".join(f"{_typed_value(c, source.columns[c.name])} as {quote(c.name)}" for c in mapped)
    key = "source_row_id" if source.key else _contract_key(contract)
    absent = ",\n    ".join(
        f"null::{_DUCKDB_TYPE[c.type]} as {quote(c.name)}"
        for c in contract.columns
        if c.name not in source.columns
    )
    delivered = f"coalesce({DELIVERED_FOR}, date {literal(str(as_of))})"
    dated = f"cast({contract.dated_by} as date)" if contract.dated_by else delivered
    where = f"coalesce(({source.where}), false)" if source.where else "true"
    return f"""
with source as (
    {_source_relation(source, names)}
), raw as (
    select {_PLACE}, no_json, {raw}
    from source
    where no_json or {where}
), typed as (
    select {_PLACE}, no_json, rule_code, payload, {_raw_names(mapped)},
    {typed}{"," if absent else ""}
    {absent}{", source_row_id as given_key" if source.key else ""}
    from raw
), keyed as (
    select *, {_short("given_key" if source.key else key)} as source_row_id, {dated} as row_date
    from typed
)
select
    {FILE} as file_number, {ROW} as row_number, source_row_id, row_date as business_date,
    {_reason_case(source, contract, mapped)} as reason_code,
    coalesce(row_date > date {literal(str(as_of))}, false) as not_due,
    coalesce(row_date <= {LOADED_THROUGH}, false) as loaded,
    case when reason_code is not null then cast(payload as varchar) end as payload,
    {", ".join(quote(c.name) for c in contract.columns if c.name != "business_date")}
from keyed
"""


def bind(connection: duckdb.DuckDBPyConnection, sql: str, source: SourceSpec, columns: pa.Schema) -> None:
    """Prepare the query on an empty batch, so that a wrong expression is refused before any row is read.

    Raises
    ------
    PortraitError : with DuckDB's own words on what is wrong.
    """
    schema = pa.schema([(JSON_LINE, pa.string())]) if source.lines else columns
    place = [
        (FILE, pa.int64()),
        (ROW, pa.int64()),
        (DELIVERED_FOR, pa.date32()),
        (LOADED_THROUGH, pa.date32()),
    ]
    connection.register("batch", pa.schema([*schema, *(pa.field(n, t) for n, t in place)]).empty_table())
    try:
        connection.execute(sql)
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise PortraitError(
            f"sources[{source.name}]: an sql expression does not work: {first}; "
            "correct it under columns, where or reject"
        ) from None
    finally:
        connection.unregister("batch")


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _names(source: SourceSpec, columns: pa.Schema) -> list[str]:
    """The columns of the file; for JSON Lines also those mapped, which the first lines may lack."""
    if not source.lines:
        return list(columns.names)
    # DuckDB's names have no case: of "SKU" and "sku" the one that is mapped counts.
    named = [*referenced_columns(source), *columns.names, *sorted(_mentioned(source))]
    return list({n.lower(): n for n in reversed(named)}.values())[::-1]


def _mentioned(source: SourceSpec, personal: bool | None = None) -> set[str]:
    """Columns that the source's mappings, key and expressions mention.

    `personal` picks what is mapped to personal data (True) or everything else (False).
    """
    contract = CONTRACTS[source.entity]
    found: set[str] = set()
    for target, mapping in source.columns.items():
        if personal is None or personal == bool(contract.column(target).pii):
            found |= {mapping.column} if mapping.column else expression_columns(mapping.sql or "null")
    if not personal:
        found |= set(source.key)
        for expression in [source.where, *(r.when for r in source.reject)]:
            found |= expression_columns(expression or "null")
    return found


@lru_cache(maxsize=256)
def expression_columns(sql: str) -> frozenset[str]:
    """Names of the columns that a DuckDB expression reads; none when it is no expression."""
    with duckdb.connect() as session:
        parsed = session.execute("select json_serialize_sql(?::varchar)", [f"select ({sql})"]).fetchone()
    return frozenset(_column_names(json.loads(parsed[0]))) if parsed else frozenset()


def _column_names(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if node.get("class") == "COLUMN_REF":
            yield from node["column_names"]
        for child in node.values():
            yield from _column_names(child)
    elif isinstance(node, list):
        for child in node:
            yield from _column_names(child)


def _source_relation(source: SourceSpec, names: Sequence[str]) -> str:
    if not source.lines:
        return "select *, false as no_json from batch"
    shape = json.dumps(dict.fromkeys(names, "VARCHAR"), ensure_ascii=False)
    fields = "".join(f", content.{quote(n)} as {quote(n)}" for n in names)
    return f"""select {_PLACE}{fields}, content is null as no_json
    from (select {_PLACE},
        json_transform(case when json_valid({JSON_LINE}) and json_type({JSON_LINE}) = 'OBJECT'
            then {JSON_LINE} end, {literal(shape)}) as content from batch)"""


def _raw_value(mapping: ColumnMapping) -> str:
    if mapping.constant is not None:
        return literal(str(mapping.constant))
    value = f"({mapping.sql})" if mapping.sql is not None else quote(str(mapping.column))
    if mapping.format is None and not mapping.values:
        return value
    text = f"nullif(trim(cast({value} as varchar)), '')"
    if not mapping.values:
        return text
    cases = " ".join(f"when {literal(k)} then {literal(v)}" for k, v in mapping.values.items())
    return f"case {text} {cases} else {text} end"


def _typed_value(column: Column, mapping: ColumnMapping) -> str:
    raw = quote("raw " + column.name)
    if column.type == "text":
        return f"nullif(trim(cast({raw} as varchar)), '')"
    if mapping.format == "epoch_seconds":
        raw = f"try(to_timestamp(try_cast({raw} as double)))"
    elif mapping.format == "epoch_millis":
        raw = f"try(to_timestamp(try_cast({raw} as double) / 1000))"
    elif mapping.format is not None:
        # A strptime result without an offset is local time, as everywhere in the session.
        raw = f"try_strptime({raw}, {literal(mapping.format)})"
    value = f"try_cast({raw} as {_DUCKDB_TYPE[column.type]})"
    if column.type in ("timestamp", "date"):
        return f"case when isfinite({value}) then {value} end"  # DuckDB reads 'infinity'
    if column.type == "integer":
        # Spreadsheets write 3 as 3.0; a cast alone would make 2 of 1.7.
        number = f"try_cast({raw} as decimal(38,4))"
        return f"case when {number} = trunc({number}) then try_cast({number} as bigint) end"
    return value


def _raw_names(mapped: Sequence[Column]) -> str:
    return ", ".join(quote("raw " + c.name) for c in mapped)


def _source_key(source: SourceSpec) -> str:
    parts = ", ".join(_key_part(k, len(source.key)) for k in source.key)
    return f"nullif(concat_ws('|', {parts}), {literal('|' * (len(source.key) - 1))})"


def _contract_key(contract: Contract) -> str:
    parts = " || '|' || ".join(
        _escaped(f"cast({quote(k)} as varchar)", len(contract.key)) for k in contract.key
    )
    return f"({parts})"


def _key_part(name: str, parts: int) -> str:
    return f"coalesce({_escaped(f'trim(cast({quote(name)} as varchar))', parts)}, '')"


def _escaped(text: str, parts: int) -> str:
    """A bar inside a part is marked, or a|b + c and a + b|c were one key."""
    return f"replace(replace({text}, '\\', '\\\\'), '|', '\\|')" if parts > 1 else text


def _short(key: str) -> str:
    """A key too long for Postgres's index is replaced by its digest."""
    return f"case when length({key}) > {LONGEST_KEY} then 'sha256:' || sha256({key}) else {key} end"


def _reject_case(source: SourceSpec) -> str:
    rules = "".join(f" when ({r.when}) then {literal(r.code)}" for r in source.reject)
    return f"case{rules} end" if rules else "null::varchar"


def _payload(source: SourceSpec, names: Sequence[str], columns: pa.Schema) -> str:
    """The row as JSON, for quarantine.

    What is mapped to personal data is masked, and so is what no mapping or rule reads: it may be anything.
    Of a line that is no JSON only the place is kept.
    """
    personal = {n.lower() for n in _mentioned(source, personal=True)}
    shown = {n.lower() for n in _mentioned(source, personal=False)} - personal
    texts = {f.name for f in columns if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)}

    def value(name: str) -> str:
        if name.lower() not in shown:
            return f"case when {quote(name)} is not null then '***' end"
        if source.lines or name in texts:
            return f"replace({quote(name)}, chr(0), '')"  # jsonb holds none
        return quote(name)

    row = f"json_object({', '.join(f'{literal(n)}, {value(n)}' for n in names)})"
    return f"case when no_json then json_object('line', 'see the file') else {row} end"


def _reason_case(source: SourceSpec, contract: Contract, mapped: Sequence[Column]) -> str:
    rules: list[tuple[str, str]] = [("no_json", "bad_json:line"), ("rule_code is not null", "")]
    for column in mapped:
        raw, typed = f"nullif(trim(cast({quote('raw ' + column.name)} as varchar)), '')", quote(column.name)
        if column.required:
            rules.append((f"{raw} is null", f"missing:{column.name}"))
        if column.type != "text":
            rules.append((f"{raw} is not null and {typed} is null", f"bad_{column.type}:{column.name}"))
        elif not column.pii:
            rules.append((f"contains({typed}, chr(0))", f"bad_text:{column.name}"))
        if column.values:
            allowed = ", ".join(literal(v) for v in column.values)
            rules.append((f"{typed} not in ({allowed})", f"unknown_value:{column.name}"))
        if column.minimum is not None:
            rules.append((f"{typed} < {column.minimum}", f"too_small:{column.name}"))
        if column.maximum is not None:
            rules.append((f"{typed} > {column.maximum}", f"too_large:{column.name}"))
    rules.append(("source_row_id is null", "missing:key"))
    rules.append(("contains(source_row_id, chr(0))", "bad_text:key"))
    if contract.dated_by:
        rules.append((f"row_date < date '{EARLIEST}'", f"implausible_date:{contract.dated_by}"))
    if contract.dated_by and source.dated:
        rules.append((f"row_date > {DELIVERED_FOR}", f"future_date:{contract.dated_by}"))
    rules += [(f"not ({check.sql})", f"check:{check.code}") for check in contract.checks]
    whens = "\n        ".join(
        f"when {condition} then {literal(code) if code else _RULE}" for condition, code in rules
    )
    return f"case {whens} end"
