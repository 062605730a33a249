"""The run's identity map: whose each identifier is, and from when until when its events count."""

from pathlib import Path

from portrait.config import IdentityConfig, Settings
from portrait.drafts import draft_of
from portrait.identity.working import Working
from portrait.run import Run


def map_path(settings: Settings, run: Run) -> Path:
    """The run's identity map, a Parquet file with columns kind, value, customer_id, valid_from, valid_to.

    An event counts for the customer when its business date is on or after `valid_from` and before `valid_to`; null
    is no limit. Only a number that was handed on has more than one row.
    """
    return settings.run_dir(run.run_id) / "identity" / "customer_identifier.parquet"


def write_map(working: Working, config: IdentityConfig, target: Path) -> None:
    """Write the map of the last night, beside the old one and renamed."""
    engine = working.engine
    engine.execute("create or replace temp table begins (code integer, day date)")
    engine.execute("insert into begins select code, max(until) from former group by code")
    if config.lookback_days is not None:
        engine.execute(f"""
            insert into begins
            select code, day from (
                select code, min(first) - {config.lookback_days} as day from (
                    select a as code, first from edge join identifier as i on i.code = a and kind = 'device' where a <> b
                    union all
                    select b, first from edge join identifier as i on i.code = b and kind = 'device' where a <> b
                ) group by code
            ) join recorded using (code) where recorded.first < day
        """)
    with draft_of(target) as draft:
        engine.execute(f"""
            copy (
                select kind, value, customer_id, day as valid_from, null::date as valid_to
                from node join identifier using (code) left join begins using (code)
                where customer_id is not null
                union all
                select kind, value, customer_id, nullif(since, date '0001-01-01'), until
                from former join identifier using (code)
            ) to '{draft}' (format parquet, compression zstd, compression_level 1)
        """)
