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
FILE, ROW, AT = "portrait_file", "portrait_row", "portrait_at"
DELIVERED_FOR, LOADED_THROUGH, LATEST = "portrait_delivered_for", "portrait_loaded_through", "portrait_latest"
PLACE = pa.schema(
    [
        (FILE, pa.int64()),
        (ROW, pa.int64()),
        (AT, pa.int64()),
        (DELIVERED_FOR, pa.date32()),
        (LOADED_THROUGH, pa.date32()),
        (LATEST, pa.date32()),
    ]
)
"""Columns that go with each row: file and row number, place in the batch, and the dates of its `Delivery`."""
_PLACE = ", ".join(PLACE.names)
_RULE = "'rule:' || rule_code"
_OFFSET = r"([zZ]|[+-]\d{2}(:?\d{2})?)$"
RAW_LINE = "portrait_line"
"""Key of a sealed payload that is a line as it was, not a row."""
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


def check_columns(name: str, source: SourceSpec, found: Sequence[str]) -> list[str]:
    """Columns that the mapping names and a delivery lacks; they are null in all its rows.

    Raises
    ------
    PortraitError : when a row cannot be had without it, naming the delivery, the key and the nearest column.
    """
    if source.lines:
        return []  # a key may be absent from any line; a required one is refused row by row
    contract = CONTRACTS[source.entity]
    needed = set(source.key) | {
        m.column
        for target, m in source.columns.items()
        if m.required or contract.column(target).required or (target in contract.key and not source.key)
    }
    absent = []
    for column, key in referenced_columns(source).items():
        if column in found:
            continue
        if column in needed:
            raise PortraitError(
                f"{name}: no column {column!r} (sources[{source.name}].{key}); {nearest(column, found)}"
            )
        absent.append(column)
    return absent


def nearest(column: str, found: Sequence[str]) -> str:
    near = difflib.get_close_matches(column, found, n=1)
    return f"did you mean {near[0]!r}?" if near else "it has " + ", ".join(found)


def renamed(source: SourceSpec, found: Sequence[str]) -> list[str]:
    """The columns of a delivery under the names that the mapping uses.

    Where a mapped column is absent its first alias counts, else the column whose name differs in case only.
    """
    other: dict[str, str] = {}
    for mapping in source.columns.values():
        wanted = str(mapping.column)
        if mapping.column is None or wanted in found:
            continue
        same_letters = [n for n in found if n.lower() == wanted.lower()]
        present = [n for n in (*mapping.aliases, *same_letters) if n in found]
        if present:
            other.setdefault(present[0], wanted)
    return [other.get(name, name) for name in found]


def mapping_sql(settings: Settings, source: SourceSpec, columns: pa.Schema, as_of: date) -> str:
    """The query over a relation `batch`: the delivery's columns and those of `PLACE`.

    Gives `file_number, row_number, at, source_row_id, key_hash, reason_code, not_due, loaded, business_date, mark` and
    every contract column under its own name (pii columns still in clear), for the rows that the source's
    `where` picks. `mark` is the row's watermark, null for sources without one.
    """
    contract = CONTRACTS[source.entity]
    mappings = _mappings(source)
    mapped = [c for c in contract.columns if c.name in mappings]
    absent = [c for c in contract.columns if c.name not in mappings]
    raw = [f"{_raw_value(mappings[c.name])} as {quote('raw ' + c.name)}" for c in mapped]
    raw += [f"{_reject_case(source)} as rule_code", f"{_mark(source)} as mark"]
    raw += [f"{_source_key(source)} as given_key"] if source.key else []
    typed = [f"{_typed_value(settings, source, c, mappings[c.name])} as {quote(c.name)}" for c in mapped]
    typed += [f"{_absent_value(settings, source, c)} as {quote(c.name)}" for c in absent]
    key = _short("given_key" if source.key else _contract_key(contract))
    delivered = f"coalesce({DELIVERED_FOR}, date {literal(str(as_of))})"
    dated = _local_date(settings, source, contract.dated_by) if contract.dated_by else delivered
    where = f"coalesce(({source.where}), false)" if source.where else "true"
    stored = [
        f"coalesce(updated_at, cast({DELIVERED_FOR} as timestamptz)) as updated_at"
        if c.name == "updated_at"
        else quote(c.name)
        for c in contract.columns
        if c.name != "business_date"
    ]
    return f"""
with source as (
    {_source_relation(source, columns)}
), raw as (
    select {_PLACE}, no_json, {", ".join(raw)}
    from source
    where no_json or {where}
), typed as (
    select {_PLACE}, no_json, rule_code, mark, {_raw_names(mapped)},
    {", ".join(typed)}{", given_key" if source.key else ""}
    from raw
), keyed as (
    select *, {key} as source_row_id, {dated} as row_date
    from typed
)
select
    {FILE} as file_number, {ROW} as row_number, {AT} as at, source_row_id, hash(source_row_id) as key_hash,
    row_date as business_date,
    {_reason_case(settings, source, contract, mapped)} as reason_code,
    coalesce(row_date > date {literal(str(as_of))}, false) as not_due,
    coalesce(row_date <= {LOADED_THROUGH}, false) as loaded,
    mark, {", ".join(stored)}
from keyed
"""


def payload_sql(source: SourceSpec, columns: pa.Schema) -> str:
    """The rows of a relation `batch` as JSON, for quarantine: `payload` for everybody, `sealed` whole.

    In `payload` what is mapped to personal data is masked, and so is what no mapping or rule reads: it may be
    anything. Of a line that is no JSON only the place is kept.
    """
    names = _names(source, columns)
    personal = {n.lower() for n in _mentioned(source, personal=True)}
    shown = {n.lower() for n in _mentioned(source, personal=False)} - personal
    texts = {f.name for f in columns if pa.types.is_string(f.type) or pa.types.is_large_string(f.type)}

    def value(name: str, masked: bool) -> str:
        if masked and name.lower() not in shown:
            return f"case when {quote(name)} is not null then '***' end"
        if source.lines or name in texts:
            return f"replace({quote(name)}, chr(0), '')"  # jsonb holds none
        return quote(name)

    def row(masked: bool) -> str:
        return f"json_object({', '.join(f'{literal(n)}, {value(n, masked)}' for n in names)})"

    masked, whole = row(masked=True), row(masked=False)
    if source.lines:
        masked = f"case when no_json then json_object('line', 'see the file') else {masked} end"
        whole = f"case when no_json then json_object({literal(RAW_LINE)}, {JSON_LINE}) else {JSON_LINE} end"
    return f"""
with source as ({_source_relation(source, columns, keep_line=True)})
select cast({masked} as varchar) as payload, cast({whole} as varchar) as sealed from source order by {AT}
"""


def bind(connection: duckdb.DuckDBPyConnection, sql: str, source: SourceSpec, columns: pa.Schema) -> None:
    """Prepare the query on an empty batch, so that a wrong expression is refused before any row is read.

    Raises
    ------
    PortraitError : with DuckDB's own words on what is wrong.
    """
    schema = pa.schema([(JSON_LINE, pa.string())]) if source.lines else columns
    connection.register("batch", pa.schema([*schema, *PLACE]).empty_table())
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
    """The columns of the delivery and those mapped that it lacks; for JSON rows also those that expressions read."""
    if not source.lines:
        return list(dict.fromkeys([*columns.names, *referenced_columns(source)]))
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
        found |= set(source.key) | ({source.watermark.column} if source.watermark else set())
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


def _source_relation(source: SourceSpec, columns: pa.Schema, keep_line: bool = False) -> str:
    names = _names(source, columns)
    if not source.lines:
        absent = "".join(f", null::varchar as {quote(n)}" for n in names if n not in columns.names)
        return f"select *{absent}, false as no_json from batch"
    aliases: dict[str, list[str]] = {}
    for mapping in source.columns.values():
        aliases.setdefault(str(mapping.column), []).extend(mapping.aliases)
    everything = list(dict.fromkeys([*names, *(a for others in aliases.values() for a in others)]))
    shape = json.dumps(dict.fromkeys(everything, "VARCHAR"), ensure_ascii=False)

    def field(name: str) -> str:
        origins = [f"content.{quote(n)}" for n in (name, *aliases.get(name, ()))]
        return f"coalesce({', '.join(origins)})" if len(origins) > 1 else origins[0]

    fields = "".join(f", {field(n)} as {quote(n)}" for n in names)
    line = f", {JSON_LINE}" if keep_line else ""
    return f"""select {_PLACE}{line}{fields}, content is null as no_json
    from (select {_PLACE}{line},
        json_transform(case when json_valid({JSON_LINE}) and json_type({JSON_LINE}) = 'OBJECT'
            then {JSON_LINE} end, {literal(shape)}) as content from batch)"""


def _mappings(source: SourceSpec) -> dict[str, ColumnMapping]:
    """The mapping of each column; a watermark in time says when a row was changed unless something else does."""
    watermark = source.watermark
    if watermark is None or watermark.type != "timestamp" or "updated_at" in source.columns:
        return source.columns
    return {**source.columns, "updated_at": ColumnMapping(column=watermark.column)}


def _mark(source: SourceSpec) -> str:
    if source.watermark is None:
        return "null::bigint"
    column = quote(source.watermark.column)
    if source.watermark.type == "integer":
        return f"try_cast({column} as bigint)"
    return f"epoch_us(try_cast({column} as timestamptz))"


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


def _absent_value(settings: Settings, source: SourceSpec, column: Column) -> str:
    if column.name == "business_date" and "occurred_at" in source.columns:
        return _local_date(settings, source, "occurred_at")
    return f"null::{_DUCKDB_TYPE[column.type]}"


def _zone(settings: Settings, source: SourceSpec) -> str:
    """The time zone of a row: its store's, else the source's."""
    own = literal(settings.sources.timezone_of(source))
    stores = settings.sources.store_timezones
    if not stores or "store_id" not in source.columns:
        return own
    cases = " ".join(f"when {literal(store)} then {literal(zone)}" for store, zone in stores.items())
    return f"case store_id {cases} else {own} end"


def _has_store_zones(settings: Settings, source: SourceSpec) -> bool:
    return bool(settings.sources.store_timezones) and "store_id" in source.columns


def _local_date(settings: Settings, source: SourceSpec, column: str) -> str:
    """The business date of a time: the local date, until the closing hour still the day before."""
    if CONTRACTS[source.entity].column(column).type == "date":
        return column
    local = f"timezone({_zone(settings, source)}, {column})" if _has_store_zones(settings, source) else column
    closing = settings.sources.closing_hour_of(source)
    return f"cast({local} - interval {closing} hours as date)" if closing else f"cast({local} as date)"


def _typed_value(settings: Settings, source: SourceSpec, column: Column, mapping: ColumnMapping) -> str:
    raw = quote("raw " + column.name)
    if column.type == "timestamp" and mapping.format is None and _has_store_zones(settings, source):
        # Text without an offset is the store's local time.
        text = f"trim(cast({raw} as varchar))"
        value = (
            f"case when regexp_matches({text}, {literal(_OFFSET)}) then try_cast({text} as timestamptz) "
            f"else timezone({_zone(settings, source)}, try_cast({text} as timestamp)) end"
        )
        return f"case when isfinite({value}) then {value} end"
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


def _reason_case(settings: Settings, source: SourceSpec, contract: Contract, mapped: Sequence[Column]) -> str:
    rules: list[tuple[str, str]] = [("no_json", "bad_json:line"), ("rule_code is not null", "")]
    for column in mapped:
        raw, typed = f"nullif(trim(cast({quote('raw ' + column.name)} as varchar)), '')", quote(column.name)
        # Most cells are filled and right: the cheap condition comes first.
        if column.required:
            blank = "true" if column.type == "text" else f"{raw} is null"
            rules.append((f"{typed} is null and {blank}", f"missing:{column.name}"))
        if column.type != "text":
            rules.append((f"{typed} is null and {raw} is not null", f"bad_{column.type}:{column.name}"))
        elif not column.pii:
            rules.append((f"contains({typed}, chr(0))", f"bad_text:{column.name}"))
        if column.name == "currency":
            rules.append((f"{typed} <> {literal(settings.sources.currency)}", "other_currency:currency"))
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
    if contract.dated_by:
        rules.append((f"row_date > coalesce({DELIVERED_FOR}, {LATEST})", f"future_date:{contract.dated_by}"))
    rules += [(f"not ({check.sql})", f"check:{check.code}") for check in contract.checks]
    whens = "\n        ".join(
        f"when {condition} then {literal(code) if code else _RULE}" for condition, code in rules
    )
    return f"case {whens} end"
