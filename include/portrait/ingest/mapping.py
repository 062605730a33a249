"""From a source's columns to a contract's, as one DuckDB query over a record batch.

The query types every mapped column and names, for each row, the first rule it breaks. It is built from
named pieces: `source` (the file's columns), `raw` (text as mapped), `typed`, `checked`.
"""

import difflib
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import duckdb

from portrait.config import ColumnMapping, Settings, SourceSpec
from portrait.contracts import CONTRACTS, Column, Contract
from portrait.errors import PortraitError
from portrait.sources.readers import JSON_LINE

EARLIEST = date(1970, 1, 2)
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
    """Whether the natural key says the business date, so that a correction cannot move a row to another day."""
    contract = CONTRACTS[source.entity]
    if not source.key:
        return "business_date" in contract.key
    dated = source.columns.get(contract.dated_by or "")
    return dated is not None and dated.column in source.key


def check_columns(path: Path, source: SourceSpec, found: Sequence[str]) -> None:
    """Refuse a mapping that names a column which the file does not have.

    Raises
    ------
    PortraitError : naming the file, the key and the nearest column.
    """
    if source.format == "jsonl":
        return  # a key may be absent from any line; a required one is refused row by row
    for column, key in referenced_columns(source).items():
        if column not in found:
            near = difflib.get_close_matches(column, found, n=1)
            hint = f"did you mean {near[0]!r}?" if near else "it has " + ", ".join(found)
            raise PortraitError(f"{path}: no column {column!r} (sources[{source.name}].{key}); {hint}")


def mapping_sql(settings: Settings, source: SourceSpec, columns: Sequence[str], as_of: date) -> str:
    """The query over a relation `batch(file_number, row_number, delivered_for, ...)`.

    Gives `file_number, row_number, source_row_id, reason_code, not_due, business_date, payload` and every contract
    column under its own name (pii columns still in clear), for the rows that the source's `where` picks.
    """
    contract = CONTRACTS[source.entity]
    mapped = [c for c in contract.columns if c.name in source.columns]
    names = list(dict.fromkeys([*columns, *(referenced_columns(source) if source.format == "jsonl" else ())]))
    raw = ",\n    ".join(
        [f"{_raw_value(source.columns[c.name])} as {quote('raw ' + c.name)}" for c in mapped]
        + [f"{_reject_case(source)} as rule_code", f"{_payload(source, names)} as payload"]
        + ([f"{_source_key(source)} as source_row_id"] if source.key else [])
    )
    typed = ",\n    ".join(f"{_typed_value(c, source.columns[c.name])} as {quote(c.name)}" for c in mapped)
    key = "source_row_id" if source.key else _contract_key(contract)
    absent = ",\n    ".join(
        f"null::{_DUCKDB_TYPE[c.type]} as {quote(c.name)}" for c in contract.columns if c.name not in source.columns
    )
    dated = f"cast({contract.dated_by} as date)" if contract.dated_by else f"date {literal(str(as_of))}"
    return f"""
with source as (
    {_source_relation(source, names)}
), raw as (
    select file_number, row_number, delivered_for, {raw}
    from source
    where {f"coalesce(({source.where}), false)" if source.where else "true"}
), typed as (
    select file_number, row_number, delivered_for, rule_code, payload, {_raw_names(mapped)},
    {typed}{"," if absent else ""}
    {absent}{", source_row_id as given_key" if source.key else ""}
    from raw
), keyed as (
    select *, {"given_key" if source.key else key} as source_row_id, {dated} as row_date
    from typed
)
select
    file_number, row_number, source_row_id, row_date as business_date,
    {_reason_case(source, contract, mapped)} as reason_code,
    coalesce(row_date > date {literal(str(as_of))}, false) as not_due,
    case when reason_code is not null then cast(payload as varchar) end as payload,
    {", ".join(quote(c.name) for c in contract.columns if c.name != "business_date")}
from keyed
"""


def bind(connection: duckdb.DuckDBPyConnection, sql: str, source: SourceSpec, columns: Sequence[str]) -> None:
    """Prepare the query on an empty batch, so that a wrong expression is refused before any row is read.

    Raises
    ------
    PortraitError : with DuckDB's own words on what is wrong.
    """
    names = [JSON_LINE] if source.format == "jsonl" else list(columns)
    connection.execute(
        "create or replace temp table batch as select 0::bigint as file_number, 0::bigint as row_number, null::date as delivered_for, "
        + ", ".join(f"null::varchar as {quote(n)}" for n in names)
        + " limit 0"
    )
    try:
        connection.execute(sql)
    except duckdb.Error as error:
        first = str(error).splitlines()[0]
        raise PortraitError(f"sources[{source.name}]: an sql expression does not work: {first}") from None
    finally:
        connection.execute("drop table batch")


def quote(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def literal(text: str) -> str:
    """A text as an SQL literal."""
    return "'" + text.replace("'", "''") + "'"


def _source_relation(source: SourceSpec, names: Sequence[str]) -> str:
    if source.format != "jsonl":
        return "select * from batch"
    shape = "{" + ",".join(f'"{n}":"VARCHAR"' for n in names) + "}"
    fields = ", ".join(f"content.{quote(n)} as {quote(n)}" for n in names)
    return f"""select file_number, row_number, delivered_for, {JSON_LINE}, {fields + ", " if fields else ""}content is null as no_json
    from (select file_number, row_number, delivered_for, {JSON_LINE},
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
        return f"to_timestamp(try_cast({raw} as double))"
    if mapping.format == "epoch_millis":
        return f"to_timestamp(try_cast({raw} as double) / 1000)"
    if mapping.format is not None:
        # A strptime result without an offset is local time, as everywhere in the session.
        return f"try_cast(try_strptime({raw}, {literal(mapping.format)}) as {_DUCKDB_TYPE[column.type]})"
    if column.type == "integer":
        return f"try_cast(try_cast({raw} as decimal(38,4)) as bigint)"
    return f"try_cast({raw} as {_DUCKDB_TYPE[column.type]})"


def _raw_names(mapped: Sequence[Column]) -> str:
    return ", ".join(quote("raw " + c.name) for c in mapped)


def _source_key(source: SourceSpec) -> str:
    parts = ", ".join(f"coalesce(trim(cast({quote(k)} as varchar)), '')" for k in source.key)
    return f"nullif(concat_ws('|', {parts}), {literal('|' * (len(source.key) - 1))})"


def _contract_key(contract: Contract) -> str:
    parts = " || '|' || ".join(f"cast({quote(k)} as varchar)" for k in contract.key)
    return f"({parts})"


def _reject_case(source: SourceSpec) -> str:
    rules = "".join(f" when ({r.when}) then {literal(r.code)}" for r in source.reject)
    return f"case{rules} end" if rules else "null::varchar"


def _payload(source: SourceSpec, names: Sequence[str]) -> str:
    """The row as JSON, for quarantine: what is mapped to personal data is masked."""
    contract = CONTRACTS[source.entity]
    personal = {
        m.column for target, m in source.columns.items() if contract.column(target).pii and m.column is not None
    }
    pairs = ", ".join(f"{literal(n)}, {literal('***') if n in personal else quote(n)}" for n in names)
    row = f"json_object({pairs})" if pairs else "json_object()"
    if source.format != "jsonl":
        return row
    masked = f"regexp_replace(regexp_replace({JSON_LINE}, '[0-9]{{7,}}', '***', 'g'), '[^\" ]+@[^\" ]+', '***', 'g')"
    return f"case when no_json then json_object('line', {masked}) else {row} end"


def _reason_case(source: SourceSpec, contract: Contract, mapped: Sequence[Column]) -> str:
    rules: list[tuple[str, str]] = []
    for column in mapped:
        raw, typed = f"nullif(trim(cast({quote('raw ' + column.name)} as varchar)), '')", quote(column.name)
        if column.required:
            rules.append((f"{raw} is null", f"missing:{column.name}"))
        if column.type != "text":
            rules.append((f"{raw} is not null and {typed} is null", f"bad_{column.type}:{column.name}"))
        if column.values:
            allowed = ", ".join(literal(v) for v in column.values)
            rules.append((f"{typed} not in ({allowed})", f"unknown_value:{column.name}"))
        if column.minimum is not None:
            rules.append((f"{typed} < {column.minimum}", f"too_small:{column.name}"))
        if column.maximum is not None:
            rules.append((f"{typed} > {column.maximum}", f"too_large:{column.name}"))
    rules.append(("source_row_id is null", "missing:key"))
    if contract.dated_by:
        rules.append((f"row_date < date '{EARLIEST}'", f"implausible_date:{contract.dated_by}"))
    if contract.dated_by and source.dated:
        rules.append(("row_date > delivered_for", f"future_date:{contract.dated_by}"))
    rules += [(f"not ({check.sql})", f"check:{check.code}") for check in contract.checks]
    whens = "\n        ".join(f"when {condition} then {literal(code)}" for condition, code in rules)
    return f"case when rule_code is not null then 'rule:' || rule_code\n        {whens} end"
