"""The shape of `sources.yaml`: where each source's rows are and how their columns map to a contract."""

from datetime import date, time
from typing import Any, Literal, Self
from zoneinfo import available_timezones

from pydantic import ConfigDict, Field, field_validator, model_validator

from portrait.config.origins import DatabaseOrigin, Frozen, HttpOrigin, Watermark
from portrait.contracts import CONTRACTS, Contract
from portrait.errors import PortraitError

NAME = r"^[a-z][a-z0-9_]{0,39}$"
SETTLE_SECONDS = 2.0


class ColumnMapping(Frozen):
    """How one canonical column is filled: from a column, a constant or a DuckDB expression.

    `aliases` are other names under which deliveries have the column. `values` renames values (anything not
    listed passes through); `format` is ``epoch_seconds``, ``epoch_millis`` or a strptime pattern. A delivery without
    a column that is `required` is refused; without another one the column is null.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    column: str | None = None
    aliases: tuple[str, ...] = ()
    required: bool = False
    constant: str | int | float | bool | None = None
    sql: str | None = None
    values: dict[str, str] = Field(default_factory=dict)
    format: str | None = None

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [k for k in ("column", "constant", "sql") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of column, constant, sql")
        if self.column is None and (self.aliases or self.required):
            raise ValueError("aliases and required are for a column")
        return self


class RejectRule(Frozen):
    """Rows for which `when` (DuckDB SQL over the source's columns) holds go to quarantine with `code`."""

    code: str = Field(pattern=NAME)
    when: str
    reason: str


OWN_SOURCES = ("correction", "request", "retention")
"""Sources of what Portrait writes into `raw` by itself (the room `privacy`)."""


class SourceSpec(Frozen):
    """One source: rows of one entity, from files (`path`), a database (`database`) or an API (`http`).

    `where` (DuckDB SQL over the source's columns) picks the rows that are this entity; the others are skipped
    and counted, not refused: one file may feed several entities.
    """

    name: str = Field(pattern=NAME)
    entity: str
    path: str | None = None
    format: Literal["csv", "jsonl", "parquet"] | None = None
    database: DatabaseOrigin | None = None
    http: HttpOrigin | None = None
    columns: dict[str, ColumnMapping]
    key: tuple[str, ...] = ()
    where: str | None = None
    reject: tuple[RejectRule, ...] = ()
    delimiter: str = Field(",", min_length=1, max_length=1)
    encoding: str = "utf-8"
    settle_seconds: float = Field(default_factory=lambda: SETTLE_SECONDS, ge=0, le=60)
    ready_marker: str | None = None
    daily: bool = False
    timezone: str | None = None
    closing_hour: int | None = Field(None, ge=0, le=12)
    max_rejected_share: float = Field(0.2, ge=0, le=1)
    schedule: str | None = "inherit"
    pool: str = "default_pool"
    retries: int = Field(2, ge=0)
    retry_minutes: float = Field(0.25, gt=0)
    deadline: time | None = None
    owner: str = "data-engineering"
    description: str = ""

    @field_validator("columns", mode="before")
    @classmethod
    def _shorthand(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {k: _mapping(v) for k, v in value.items()}

    @field_validator("name")
    @classmethod
    def _is_not_ours(cls, value: str) -> str:
        if value in OWN_SOURCES:
            raise ValueError(f"'{value}' is what Portrait writes by itself; choose another name")
        return value

    @field_validator("entity")
    @classmethod
    def _known_entity(cls, value: str) -> str:
        if value not in CONTRACTS:
            raise ValueError(f"unknown entity '{value}'; one of {', '.join(CONTRACTS)}")
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str) -> str:
        try:
            "".encode(value)
        except LookupError:
            raise ValueError(f"unknown encoding '{value}'; for example utf-8 or gb18030") from None
        return value

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return value if value == "inherit" else _cron(value)

    @field_validator("deadline", mode="before")
    @classmethod
    def _quoted(cls, value: Any) -> Any:
        """YAML reads an unquoted 14:30 as a number."""
        if isinstance(value, int | float):
            raise ValueError('deadline: put the time in quotes, for example "06:00"')
        return value

    @field_validator("deadline")
    @classmethod
    def _local(cls, value: time | None) -> time | None:
        if value is not None and value.tzinfo is not None:
            raise ValueError("deadline: leave out the offset; it is in the time zone of the retailer")
        return value

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str | None) -> str | None:
        return value if value is None else _timezone(value)

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        given = [k for k in ("path", "database", "http") if getattr(self, k) is not None]
        if len(given) != 1:
            raise ValueError("give exactly one of path, database, http")
        if (self.path is None) != (self.format is None):
            raise ValueError("format: csv, jsonl or parquet goes with path, and only with it")
        if self.ready_marker == "{name}":
            raise ValueError("ready_marker: '{name}' is the file itself; for example '{name}.ok'")
        if self.daily and not self.dated:
            raise ValueError("daily: only a path with {business_date} says which day a file is for")
        return self

    @model_validator(mode="after")
    def _fits_contract(self) -> Self:
        contract = CONTRACTS[self.entity]
        known = set(contract.names)
        for name in self.columns:
            if name not in known:
                raise ValueError(
                    f"columns: '{name}' is not a column of {self.entity}; {_suggest(name, known)}"
                )
        derived = {"business_date"} if "occurred_at" in self.columns else set()
        missing = [c.name for c in contract.columns if c.required and c.name not in {*self.columns, *derived}]
        if missing:
            raise ValueError(f"columns: {self.entity} needs {', '.join(missing)}")
        if not self.key and any(k not in {*self.columns, *derived} for k in contract.key):
            raise ValueError(
                f"map {', '.join(contract.key)} under columns, or list under 'key' the source columns "
                "that together identify a row"
            )
        for name, mapping in self.columns.items():
            column = contract.column(name)
            if mapping.format is not None and column.type not in ("timestamp", "date"):
                raise ValueError(
                    f"columns: '{name}' is {column.type}; format is for dates and times, remove it"
                )
        self._keep_personal_data_apart(contract)
        return self

    def _keep_personal_data_apart(self, contract: Contract) -> None:
        """What is hashed under one name must not be stored in clear under another."""
        personal = {m.column: n for n, m in self.columns.items() if contract.column(n).pii and m.column}
        clear: dict[str | None, str] = dict.fromkeys(self.key, "key")
        clear |= {m.column: f"columns: '{n}'" for n, m in self.columns.items() if not contract.column(n).pii}
        for column, where in clear.items():
            if column in personal:
                raise ValueError(
                    f"{where} would store '{column}' in clear, which is mapped to {personal[column]}; "
                    "use another column"
                )

    @property
    def dated(self) -> bool:
        """Whether the path says which delivery date a file belongs to."""
        return self.path is not None and "{business_date}" in self.path

    @property
    def lines(self) -> bool:
        """Whether rows come as JSON objects, whose keys may differ from row to row."""
        return self.format == "jsonl" or self.http is not None

    @property
    def endpoint(self) -> DatabaseOrigin | HttpOrigin | None:
        return self.database or self.http

    @property
    def watermark(self) -> Watermark | None:
        return self.endpoint.watermark if self.endpoint else None


class SourcesFile(Frozen):
    """The whole of `sources.yaml`."""

    workspace: str = Field(pattern=NAME)
    timezone: str = "UTC"
    currency: str = Field("USD", pattern=r"^[A-Z]{3}$")
    phone_region: str = Field("US", pattern=r"^[A-Z]{2}$")
    business_date: date | None = None
    closing_hour: int = Field(0, ge=0, le=12)
    store_timezones: dict[str, str] = Field(default_factory=dict)
    schedule: str | None = None
    sources: tuple[SourceSpec, ...] = Field(min_length=1)

    @field_validator("timezone")
    @classmethod
    def _known_timezone(cls, value: str) -> str:
        return _timezone(value)

    @field_validator("schedule")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        return _cron(value)

    @field_validator("store_timezones")
    @classmethod
    def _known_timezones(cls, value: dict[str, str]) -> dict[str, str]:
        return {store: _timezone(zone) for store, zone in value.items()}

    @field_validator("phone_region")
    @classmethod
    def _known_region(cls, value: str) -> str:
        import phonenumbers

        if value not in phonenumbers.SUPPORTED_REGIONS:
            raise ValueError(f"unknown region '{value}'; a country in ISO 3166, for example CN or GB")
        return value

    @model_validator(mode="after")
    def _unique_names(self) -> Self:
        names = [s.name for s in self.sources]
        twice = sorted({n for n in names if names.count(n) > 1})
        if twice:
            raise ValueError(f"sources: name used twice: {', '.join(twice)}; rename one")
        return self

    def source(self, name: str) -> SourceSpec:
        for source in self.sources:
            if source.name == name:
                return source
        raise PortraitError(
            f"unknown source '{name}'; sources.yaml has {', '.join(s.name for s in self.sources)}"
        )

    def timezone_of(self, source: SourceSpec) -> str:
        return source.timezone or self.timezone

    def closing_hour_of(self, source: SourceSpec) -> int:
        return self.closing_hour if source.closing_hour is None else source.closing_hour

    def schedule_of(self, source: SourceSpec) -> str | None:
        return self.schedule if source.schedule == "inherit" else source.schedule


def _mapping(value: Any) -> Any:
    """`a` is a column, `[a, b]` one with other names."""
    if isinstance(value, str):
        return {"column": value}
    if isinstance(value, list) and value:
        return {"column": value[0], "aliases": value[1:]}
    return value


def _cron(value: str | None) -> str | None:
    """Five fields, as Airflow's timetable takes them."""
    from croniter import croniter

    try:
        if value is not None and not (len(value.split()) == 5 and croniter(value).get_next()):
            raise ValueError
    except (ValueError, KeyError):
        raise ValueError(
            f"'{value}' is no cron expression; five fields, for example \"0 2 * * *\", or null: only when triggered"
        ) from None
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        raise ValueError(f"unknown time zone '{value}'; for example Asia/Shanghai")
    return value


def _suggest(name: str, known: set[str]) -> str:
    import difflib

    near = difflib.get_close_matches(name, known, n=1)
    return f"did you mean '{near[0]}'?" if near else f"one of {', '.join(sorted(known))}"
