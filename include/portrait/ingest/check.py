"""A look at every source before a run starts: files, columns, expressions, and how far the data goes."""

import logging
from collections import deque
from contextlib import closing
from dataclasses import dataclass
from datetime import date

import pyarrow as pa

from portrait.config import Settings, SourceSpec
from portrait.contracts import CONTRACTS
from portrait.ingest.mapping import bind, check_columns, connect, mapping_sql, nearest, renamed
from portrait.ingest.validate import Validator
from portrait.sources import connector

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceReport:
    """What a check found.

    Attributes
    ----------
    files : files, tables or addresses that the source has.
    latest : the last business date it has; None for entities without dates, databases and APIs.
    warnings : mapped columns that the newest delivery lacks.
    """

    source: str
    entity: str
    files: int
    latest: date | None
    warnings: tuple[str, ...] = ()


def check_sources(settings: Settings, find_latest: bool = True) -> list[SourceReport]:
    """Check every source of `sources.yaml` against its files, reading no more than headers.

    Parameters
    ----------
    find_latest : also find the last business date; files without a date in their path are read whole for it.

    Raises
    ------
    PortraitError : for the first source that cannot be pulled, naming the file, the key and the remedy.
    """
    return [_check(settings, source, find_latest) for source in settings.sources.sources]


def _check(settings: Settings, source: SourceSpec, find_latest: bool) -> SourceReport:
    origin = connector(settings, source)
    files = origin.pending(None)
    if not files:  # there, but still being written
        return SourceReport(source.name, source.entity, 0, None)
    newest = files[-1]
    found = origin.schema(newest)
    names = renamed(source, found.names)
    absent = check_columns(newest.name, source, names)
    columns = pa.schema([f.with_name(n) for f, n in zip(found, names, strict=True)])
    with connect(settings, source) as session:
        bind(session, mapping_sql(settings, source, columns, date.max), source, columns)
    latest = None
    if source.dated:
        latest = newest.delivered_for
    elif find_latest and CONTRACTS[source.entity].dated_by and source.endpoint is None:
        with closing(Validator(settings, source, files, date.max)) as validator:
            deque(validator.accepted(), maxlen=0)
            validator.refuse_mostly_bad()
            latest = validator.tally.latest
    warnings = tuple(f"no column '{c}' in {newest.name}; {nearest(c, names)}" for c in absent)
    return SourceReport(source.name, source.entity, len(files), latest, warnings)
