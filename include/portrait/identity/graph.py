"""What must be decided tonight as integer codes, so that the rest is arithmetic on arrays.

A *node* is an identifier, or one of the times of a number that was handed on: a phone that shows up with a new card
after a long silence is another node from that day on.
"""

from dataclasses import dataclass

import duckdb
import numpy as np

from portrait.config import IdentityConfig
from portrait.identity.working import Working

FAR = "date '9999-12-31'"
LONG_AGO = "date '0001-01-01'"


@dataclass(frozen=True)
class Graph:
    """Nodes in order of age (first day seen, then priority of the kind, then value) and the links between them.

    Attributes
    ----------
    code : int32 [n], identifier of each node.
    kind : int8 [n], position of its kind in `priority`.
    demoted : bool [n], links nobody (over a cap, or blocked).
    former : bool [n], a time that has ended.
    left, right : int32 [m], the two ends of each link, demoted ones left out; each pair once.
    sightings, first, last : int64 [m], rows that showed both, first and last day (days since 1970).
    """

    code: np.ndarray
    kind: np.ndarray
    demoted: np.ndarray
    former: np.ndarray
    left: np.ndarray
    right: np.ndarray
    sightings: np.ndarray
    first: np.ndarray
    last: np.ndarray
    priority: tuple[str, ...]

    @property
    def size(self) -> int:
        return len(self.code)

    def of_kind(self, kind: str) -> np.ndarray:
        """bool [n]: which nodes are of a kind; none where the kind is not in use."""
        place = self.priority.index(kind) if kind in self.priority else -1
        return np.asarray(self.kind == place)


def load_graph(working: Working, config: IdentityConfig) -> Graph:
    """The nodes and links of the temporary table `scope(code)`; leaves `local(n, code, since, until, ...)`.

    Reads the temporary tables `demotion(code, ...)` and `blocked(code)`, and `node` for scope outside `seed`.
    """
    engine = working.engine
    listed = ", ".join(f"'{k}'" for k in config.priority)
    engine.execute("""
        create or replace temp table seen as
        select code, min(first) as first, max(last) as last
        from (select a as code, first, last from edge semi join scope on edge.a = scope.code
              union all
              select b, first, last from edge semi join scope on edge.b = scope.code where a <> b)
        group by code
    """)
    engine.execute("""
        create or replace temp table shared as
        select code from demotion
        union select code from blocked
        union select code from node semi join scope using (code) anti join seed using (code) where demoted
    """)
    _times(engine, config)
    engine.execute(f"""
        create or replace temp table local as
        select (row_number() over (order by greatest(first, since), place, value, since) - 1)::integer as n,
               code, since, until, place::tinyint as place, shared
        from (
            select seen.code, first, value, list_position([{listed}], kind) - 1 as place,
                   coalesce(since, {LONG_AGO}) as since, coalesce(until, {FAR}) as until,
                   exists (select 1 from shared where shared.code = seen.code) as shared
            from seen
            join identifier using (code)
            left join time using (code)
            where kind in ({listed})
        )
    """)
    nodes = engine.execute(
        f"select code, place, shared, until < {FAR} as former from local order by n"
    ).fetchnumpy()
    links = engine.execute("""
        select l.n as a, r.n as b, sum(edge.n)::bigint as n,
               min(first) - date '1970-01-01' as first, max(last) - date '1970-01-01' as last
        from edge
        join local as l on l.code = edge.a and first < l.until and last >= l.since
        join local as r on r.code = edge.b and first < r.until and last >= r.since
        where edge.a <> edge.b and not l.shared and not r.shared
        group by l.n, r.n
    """).fetchnumpy()
    return Graph(
        code=_plain(nodes["code"]).astype(np.int32),
        kind=_plain(nodes["place"]).astype(np.int8),
        demoted=_plain(nodes["shared"]).astype(bool),
        former=_plain(nodes["former"]).astype(bool),
        left=_plain(links["a"]).astype(np.int32),
        right=_plain(links["b"]).astype(np.int32),
        sightings=_plain(links["n"]).astype(np.int64),
        first=_plain(links["first"]).astype(np.int64),
        last=_plain(links["last"]).astype(np.int64),
        priority=config.priority,
    )


def _times(engine: duckdb.DuckDBPyConnection, config: IdentityConfig) -> None:
    """The table `time(code, since, until)` of numbers that were handed on, all of their times.

    A number goes over to another owner on the day on which that one shows up, when its link to the old owner was last
    seen more than `after_days` before. An owner of another kind (an account, where a card was) may be the same person,
    late: it only counts when the old owner was not seen at all for so long and shares nothing else with it. Further
    owners within `after_days` of such a day (the new person's card and account) start no time of their own.
    """
    engine.execute("create or replace temp table turn (code integer, day date)")
    for kind, expiry in config.expires.items():
        owners = ", ".join(f"'{k}'" for k in expiry.owners)
        engine.execute(f"""
            create or replace temp table owned as
            with own as (
                select code from identifier semi join scope using (code) anti join shared using (code)
                where kind = '{kind}'
            ),
            link as (
                select a as code, b as other, first, last from edge semi join own on own.code = edge.a where a <> b
                union all
                select b, a, first, last from edge semi join own on own.code = edge.b where a <> b
            )
            select link.code, owner.kind, other, min(link.first) as first, max(link.last) as last,
                   coalesce(max(seen.last), max(link.last)) as owner_last
            from link
            join identifier as owner on owner.code = other and owner.kind in ({owners})
            left join seen on seen.code = other
            group by link.code, owner.kind, other
        """)
        engine.execute(f"""
            create or replace temp table follows as
            select old.code, old.kind, old.other as old_owner, new.other as new_owner, new.first as day,
                   old.kind = new.kind as same_kind
            from owned as old
            join owned as new on new.code = old.code and new.other <> old.other
                and new.first > old.last + {expiry.after_days}
                and (new.kind = old.kind or new.first > old.owner_last + {expiry.after_days})
        """)
        engine.execute(f"""
            insert into turn
            with owner as (select old_owner as code from follows union select new_owner from follows),
            link as (
                select a as code, b as other from edge semi join owner on owner.code = edge.a where a <> b
                union
                select b, a from edge semi join owner on owner.code = edge.b where a <> b
            ),
            known as (
                select distinct follows.code, old_owner, new_owner
                from follows
                join link as x on x.code = old_owner
                join link as y on y.code = new_owner
                where not same_kind and (x.other = new_owner or (x.other = y.other and x.other <> follows.code))
            )
            select code, day
            from (
                select distinct code, day from (
                    select code, min(day) as day from follows anti join known using (code, old_owner, new_owner)
                    group by code, kind, old_owner
                )
            )
            qualify coalesce(day - lag(day) over (partition by code order by day) > {expiry.after_days}, true)
        """)
    engine.execute(f"""
        create or replace temp table time as
        select code, since, lead(since, 1, {FAR}) over (partition by code order by since) as until
        from (select code, day as since from turn union all select distinct code, {LONG_AGO} from turn)
    """)


def _plain(array: np.ndarray) -> np.ndarray:
    return np.ma.getdata(array)
