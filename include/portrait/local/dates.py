"""Which business date a run on this machine is for."""

from datetime import date, timedelta

from portrait.config import Settings
from portrait.errors import PortraitError
from portrait.ingest import check_sources
from portrait.warehouse import open_warehouse


def next_business_date(settings: Settings) -> date:
    """The day after the last published one, or an unfinished day; at first the date in `sources.yaml`, else the
    last one that the sources have.

    Raises
    ------
    PortraitError : when nothing says a date.
    """
    warehouse = open_warehouse(settings)
    published = warehouse.scalar("select max(as_of) from ops.run where status = 'published'")
    if published is not None:
        return date.fromordinal(published.toordinal()) + timedelta(days=1)
    unfinished = warehouse.scalar("select max(as_of) from ops.run")
    if unfinished is not None:
        return date.fromordinal(unfinished.toordinal())
    if settings.sources.business_date is not None:
        return settings.sources.business_date
    latest = [r.latest for r in check_sources(settings) if r.latest is not None]
    if not latest:
        raise PortraitError(
            f"{settings.sources_path}: no source tells its dates; add business_date: YYYY-MM-DD at the top"
        )
    return max(latest)


def is_simulated(settings: Settings) -> bool:
    """Whether a source reads the simulator's output."""
    return any("{simulated}" in (s.path or "") for s in settings.sources.sources)
