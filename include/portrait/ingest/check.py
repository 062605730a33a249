"""A look at every source before a run starts: files, columns, expressions, and how far the data goes."""

import logging
from collections import deque
from dataclasses import dataclass
from datetime import date

from portrait.config import Settings, SourceSpec
from portrait.contracts import CONTRACTS
from portrait.ingest.mapping import bind, check_columns, connect, mapping_sql
from portrait.ingest.validate import Validator
from portrait.sources import connector

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class SourceReport:
    """What a check found: `latest` is the last business date the source has, None for undated entities."""

    source: str
    entity: str
    files: int
    latest: date | None


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
    newest = files[-1]
    columns = origin.schema(newest)
    check_columns(newest.name, source, columns.names)
    with connect(settings, source) as session:
        bind(session, mapping_sql(settings, source, columns, date.max), source, columns)
    latest = None
    if source.dated:
        latest = newest.delivered_for
    elif find_latest and CONTRACTS[source.entity].dated_by:
        validator = Validator(settings, source, files, date.max)
        deque(validator.accepted(), maxlen=0)
        validator.refuse_mostly_bad()
        latest = validator.tally.latest
    return SourceReport(source.name, source.entity, len(files), latest)
