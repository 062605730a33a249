"""What was cut and why, with the rows that show it."""

import pyarrow as pa

from portrait.identity.apart import Cut
from portrait.identity.graph import Graph
from portrait.identity.sightings import SEPARATOR
from portrait.identity.working import Working

EXAMPLES = 5


def collect_cuts(working: Working, graph: Graph, cuts: list[Cut]) -> None:
    """Leave the temporary table `audit(code, touched_kind, touched, cap, reason, evidence)`.

    `evidence` is a JSON list of up to EXAMPLES links that are not followed, each with the raw row that shows it.
    """
    engine = working.engine
    codes = graph.code
    engine.register(
        "refused",
        pa.table(
            {
                "code": pa.array([int(codes[c.node]) for c in cuts], pa.int32()),
                "other": pa.array([int(codes[c.other]) for c in cuts], pa.int32()),
                "touched_kind": pa.array([c.kind for c in cuts], pa.string()),
                "touched": pa.array([c.touched for c in cuts], pa.int32()),
                "cap": pa.array([c.cap for c in cuts], pa.int32()),
                "reason": pa.array([c.reason for c in cuts], pa.string()),
            }
        ),
    )
    engine.execute(f"""
        create or replace temp table audit as
        with link as (
            select a as code, b as other, entity, first, last, evidence from edge where a <> b
                and (a in (select code from demotion) or a in (select code from refused))
            union all
            select b, a, entity, first, last, evidence from edge where a <> b
                and (b in (select code from demotion) or b in (select code from refused))
        ),
        cut as (
            select d.code, link.other, touched_kind, touched, cap, 'cap' as reason
            from demotion as d join link using (code) join identifier as o on o.code = link.other and o.kind = d.touched_kind
            union
            select code, other, touched_kind, touched, cap, reason from refused
        ),
        shown as (
            select cut.*, o.kind, o.value, link.entity, link.first, link.last,
                   split_part(link.evidence, '{SEPARATOR}', 1) as source,
                   split_part(link.evidence, '{SEPARATOR}', 2) as source_row_id,
                   row_number() over (partition by cut.code, touched_kind, reason
                                      order by link.first, o.value, link.entity) as place
            from cut join link on link.code = cut.code and link.other = cut.other
            join identifier as o on o.code = cut.other
        )
        select code, touched_kind, max(touched) as touched, max(cap) as cap, reason,
               coalesce(to_json(list({{'kind': kind, 'value': value, 'entity': entity, 'source': source,
                             'source_row_id': source_row_id, 'first_seen': first, 'last_seen': last}} order by place)
                        filter (where place <= {EXAMPLES}))::varchar, '[]') as evidence
        from shown group by code, touched_kind, reason
    """)
    engine.unregister("refused")
