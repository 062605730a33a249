"""Values shared by too many to link anybody: a till's own phone, a family tablet."""

from portrait.config import IdentityConfig
from portrait.identity.working import Working


def find_demoted(working: Working, config: IdentityConfig) -> None:
    """Check the codes of the temporary table `seed` against their caps.

    Leaves the temporary table `demotion(code, touched_kind, touched, cap)`, one row a cap that is broken. What counts
    is the most identifiers of the kind that were current together: an identifier is current from its first to its
    last meeting with the value and for `window_days` after.
    """
    engine = working.engine
    engine.execute("""
        create or replace temp table demotion (code integer, touched_kind varchar, touched integer, cap integer)
    """)
    if not config.caps:
        return
    engine.execute("""
        create or replace temp table met_with as
        select code, other, min(first) as first, max(last) as last
        from (select a as code, b as other, first, last from edge semi join seed on edge.a = seed.code where a <> b
              union all
              select b, a, first, last from edge semi join seed on edge.b = seed.code where a <> b)
        group by code, other
    """)
    for kind, caps in config.caps.items():
        for cap in caps:
            engine.execute(
                f"""
                create or replace temp table candidate as
                with touched as (
                    select m.code, m.first, m.last, count(*) over (partition by m.code) as total
                    from met_with as m
                    join identifier as i on i.code = m.code and i.kind = '{kind}'
                    join identifier as o on o.code = m.other and o.kind = '{cap.of}'
                )
                select * from touched where total > {cap.limit}
                """
            )
            found = "select code, max(total) as touched from candidate group by code"
            if cap.window_days is not None:
                found = f"""
                    select code, max(current) as touched from (
                        select code, sum(change) over (partition by code order by day, change rows unbounded preceding) as current
                        from (select code, first as day, 1 as change from candidate
                              union all select code, last + {cap.window_days + 1}, -1 from candidate))
                    group by code having max(current) > {cap.limit}
                """
            engine.execute(
                f"insert into demotion select code, '{cap.of}', touched, {cap.limit} from ({found})"
            )
