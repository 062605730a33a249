create function identity.current_id(id text) returns text language sql stable
begin atomic
    with recursive hop (id, n) as (
        select id, 0
        union all
        select last.into_id, n + 1
        from hop cross join lateral (
            select case when change = 'merge' and other_customer_id = hop.id then customer_id end as into_id,
                   change = 'merge' and other_customer_id = hop.id as ended
            from identity.id_change
            where (customer_id = hop.id and change <> 'merge') or (change = 'merge' and other_customer_id = hop.id)
            order by as_of desc, change = 'merge' and other_customer_id = hop.id desc
            limit 1
        ) as last
        where last.ended and n < 1000
    )
    select case when exists (select from identity.assignment where customer_id = hop.id and valid_to is null) then hop.id end
    from hop order by n desc limit 1;
end;
comment on function identity.current_id is 'Today''s id of any id ever published; null when it is retired or unknown';

create view identity.alias as
with recursive ended as (
    select distinct on (id) id, as_of, into_id
    from (
        select other_customer_id as id, as_of, customer_id as into_id, 1 as place
        from identity.id_change where change = 'merge'
        union all
        select customer_id, as_of, null, case change when 'retired' then 1 else 0 end
        from identity.id_change where change <> 'merge'
    ) as event
    order by id, as_of desc, place desc, into_id
),
chain (old_id, id, since, n) as (
    select id, coalesce(into_id, id), as_of, 0 from ended
    union all
    select old_id, into_id, greatest(since, as_of), n + 1
    from chain join ended using (id)
    where into_id is not null and n < 1000
)
select distinct on (old_id) old_id,
       case when held.customer_id is not null then id end as customer_id, since,
       held.customer_id is null as retired
from chain
left join (select distinct customer_id from identity.assignment where valid_to is null) as held on held.customer_id = id
order by old_id, n desc;
comment on view identity.alias is 'Today''s id for every id ever published; identity.current_id(id) does the same for one';
comment on column identity.alias.old_id is 'Id as it was published';
comment on column identity.alias.customer_id is 'The same customer''s id today, null when retired';
comment on column identity.alias.since is 'Business date of the latest change on the way';
comment on column identity.alias.retired is 'Whether none of its identifiers belongs to a customer any more';

create function identity.links_of(customer text)
returns table (a integer, b integer, rule text, source text, source_row_id text, first_seen date, last_seen date)
language sql stable
begin atomic
    with member as materialized (
        select identifier_id from identity.assignment where customer_id = customer and valid_to is null
    )
    select identifier_a, identifier_b, rule, source, source_row_id, first_seen, last_seen
    from identity.edge_row
    where identifier_a in (select identifier_id from member) and identifier_b in (select identifier_id from member)
      and identifier_a <> identifier_b and valid_to is null
    union all
    select x.identifier_id, y.identifier_id, 'manual_rule', created_by, rule_id::text, created_at::date, created_at::date
    from identity.manual_rule
    join identity.identifier as x on (x.kind, x.value) = (kind_a, value_a)
    join identity.identifier as y on (y.kind, y.value) = (kind_b, value_b)
    where manual_rule.kind = 'must_link' and revoked_at is null
      and x.identifier_id in (select identifier_id from member) and y.identifier_id in (select identifier_id from member);
end;
comment on function identity.links_of is 'Every link that holds between two identifiers of a customer today';

create function identity.explain(customer text)
returns table (step integer, kind_a text, value_a text, kind_b text, value_b text, rule text, source text,
               source_row_id text, first_seen date, last_seen date)
language sql stable
begin atomic
    with recursive
    link as materialized (
        select l.a, l.b, l.rule, l.source, l.source_row_id, l.first_seen, l.last_seen
        from identity.links_of(identity.current_id(customer)) as l
        union all
        select l.b, l.a, l.rule, l.source, l.source_row_id, l.first_seen, l.last_seen
        from identity.links_of(identity.current_id(customer)) as l
    ),
    anchor as (
        select identifier_id from identity.assignment join identity.identifier as i using (identifier_id)
        where customer_id = identity.current_id(customer) and valid_to is null
        order by array_position(array['card', 'account', 'phone', 'email', 'payment', 'device'], i.kind), i.first_seen, i.value
        limit 1
    ),
    reached (id, depth) as (
        select identifier_id, 0 from anchor
        union
        select link.b, depth + 1 from reached join link on link.a = reached.id where depth < 30
    ),
    nearest as (select id, min(depth) as depth from reached group by id),
    chosen as (
        select distinct on (near.id) near.depth, link.*
        from nearest as near
        join link on link.b = near.id
        join nearest as before on before.id = link.a and before.depth = near.depth - 1
        order by near.id, link.first_seen, link.a, link.rule
    )
    select chosen.depth, x.kind, x.value, y.kind, y.value, chosen.rule, chosen.source, chosen.source_row_id,
           chosen.first_seen, chosen.last_seen
    from chosen
    join identity.identifier as x on x.identifier_id = chosen.a
    join identity.identifier as y on y.identifier_id = chosen.b
    order by chosen.depth, y.kind, y.value;
end;
comment on function identity.explain(text) is 'Why a customer is one: for each identifier the link by which the shortest chain from its card (else account, phone, ...) reaches it';

create function identity.explain(kind_a text, value_a text, kind_b text, value_b text)
returns table (step integer, from_kind text, from_value text, to_kind text, to_value text, rule text, source text,
               source_row_id text, first_seen date, last_seen date)
language sql stable
begin atomic
    with recursive
    ends as materialized (
        select x.identifier_id as origin, y.identifier_id as target, p.customer_id
        from identity.identifier as x
        join identity.identifier as y on (y.kind, y.value) = (kind_b, value_b)
        join identity.assignment as p on p.identifier_id = x.identifier_id and p.valid_to is null
        join identity.assignment as q on q.identifier_id = y.identifier_id and q.valid_to is null
        where (x.kind, x.value) = (kind_a, value_a) and p.customer_id = q.customer_id
    ),
    link as materialized (
        select l.a, l.b, l.rule, l.source, l.source_row_id, l.first_seen, l.last_seen
        from ends cross join lateral identity.links_of(ends.customer_id) as l
        union all
        select l.b, l.a, l.rule, l.source, l.source_row_id, l.first_seen, l.last_seen
        from ends cross join lateral identity.links_of(ends.customer_id) as l
    ),
    reached (id, depth) as (
        select origin, 0 from ends
        union
        select link.b, depth + 1 from reached join link on link.a = reached.id where depth < 30
    ),
    nearest as materialized (select id, min(depth) as depth from reached group by id),
    back (id, depth) as (
        select near.id, near.depth from nearest as near join ends on near.id = ends.target
        union all
        select one.a, one.depth
        from back cross join lateral (
            select link.a, near.depth
            from link join nearest as near on near.id = link.a and near.depth = back.depth - 1
            where link.b = back.id
            order by link.a limit 1
        ) as one
    ),
    chosen as (
        select distinct on (later.depth) later.depth, link.*
        from back as later
        join back as before on before.depth = later.depth - 1
        join link on link.a = before.id and link.b = later.id
        order by later.depth, link.first_seen, link.rule
    )
    select chosen.depth, x.kind, x.value, y.kind, y.value, chosen.rule, chosen.source, chosen.source_row_id,
           chosen.first_seen, chosen.last_seen
    from chosen
    join identity.identifier as x on x.identifier_id = chosen.a
    join identity.identifier as y on y.identifier_id = chosen.b
    order by chosen.depth;
end;
comment on function identity.explain(text, text, text, text) is 'The shortest chain of links between two identifiers of one customer; no row when they are not one customer''s';
