"""A source that has not delivered in time: what Airflow's deadline callback writes into `ops.alert`."""

import logging
from datetime import date, datetime
from zoneinfo import ZoneInfo

from portrait.config import Settings
from portrait.warehouse import open_warehouse

log = logging.getLogger(__name__)

LATE = "late"


def note_late(settings: Settings, source: str, business_date: date, due: datetime, state: str) -> str | None:
    """Write one alert for a source and business date, however often it is called; gives its sentence.

    None, and no alert, when another run has loaded that date.

    Parameters
    ----------
    due : the deadline, with time zone.
    state : of the source's Airflow run: queued, running or failed.
    """
    warehouse = open_warehouse(settings)
    if warehouse.scalar(
        "select exists (select from ops.batch where source = :s and business_date = :d and status = 'loaded')",
        s=source,
        d=business_date,
    ):
        log.info("%s has delivered %s in another run", source, business_date)
        return None
    reason = warehouse.scalar(
        "select error from ops.batch where source = :s and business_date = :d and status = 'failed' "
        "order by batch_id desc limit 1",
        s=source,
        d=business_date,
    )
    message = _message(settings, source, business_date, due, state, reason)
    log.warning(message)
    warehouse.execute(
        "insert into ops.alert (kind, source, business_date, message) select :k, :s, :d, :m "
        "where not exists (select from ops.alert where kind = :k and source = :s and business_date = :d)",
        k=LATE,
        s=source,
        d=business_date,
        m=message,
    )
    return message


def _message(
    settings: Settings, source: str, day: date, due: datetime, state: str, reason: str | None
) -> str:
    spec, zone = settings.sources.source(source), settings.sources.timezone
    clock = f"{due.astimezone(ZoneInfo(zone)):%H:%M} ({zone})"
    why = f" ({reason.splitlines()[0]})" if reason else ""
    if state == "failed":
        doing = f"Its run failed{why}: mend that, then clear the failed task of ingest_{source} in Airflow"
    else:
        doing = f"Airflow keeps trying{why}: ask {spec.owner} for the delivery"
    return (
        f"{source} has not delivered {day} by {clock}, and the night of {day} waits for it. {doing}; "
        f"to go on without it, trigger nightly with business_date {day}."
    )
