create table ops.archive (
    run_id text primary key,
    as_of date not null,
    path text not null,
    rows bigint not null check (rows >= 0),
    octets bigint not null check (octets >= 0),
    archived_at timestamptz not null default now(),
    restored_at timestamptz
);
comment on table ops.archive is 'Nights whose profile tables were written to Parquet files and dropped: portrait archive list';
comment on column ops.archive.run_id is 'Run of the night';
comment on column ops.archive.as_of is 'Business date of the night';
comment on column ops.archive.path is 'Folder of its files, below the workspace in PORTRAIT_HOME';
comment on column ops.archive.rows is 'Rows of all its tables when it was archived; an erasure takes rows out of the files later';
comment on column ops.archive.octets is 'Length of its files when it was archived';
comment on column ops.archive.archived_at is 'When the files were complete';
comment on column ops.archive.restored_at is 'When portrait archive restore made it partitions again; null when it is in files only';

comment on column ops.alert.kind is 'column_added, column_missing, late, no_suggestions, not_archived and others: what the message is about';

-- The night that was valid on a day: an archived one is not passed over in silence for an older one.
create or replace function profile.as_of(day date) returns setof profile_store.customer_profile
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    night text;
    archived text;
begin
    select run.run_id, archive.path into night, archived
    from ops.run
    join ops.publication using (run_id)
    left join ops.archive on archive.run_id = run.run_id
    where run.as_of <= day and publication.action = 'publish'
      and (archive.path is not null or to_regclass(
          'profile_store.customer_profile_' || replace(replace(run.run_id, '-', ''), '.', '_')) is not null)
    order by run.as_of desc, publication.publication_id desc
    limit 1;
    if night is null then
        return;
    end if;
    if to_regclass('profile_store.customer_profile_' || replace(replace(night, '-', ''), '.', '_')) is null then
        raise exception using
            errcode = 'no_data_found',
            message = 'run ' || night || ', valid on ' || day || ', is archived in ' || archived
                || '/customer_profile/part-0001.parquet',
            hint = 'portrait archive restore ' || night || ' brings it back for a while';
    end if;
    -- Written into the query, so that Postgres looks at one partition.
    return query execute 'select * from profile_store.customer_profile where run_id = ' || quote_literal(night);
end $$;

-- Joined to privacy.consent as a whole, the nearest vectors were sorted and no index was read. For few look-alikes, more
-- than are wanted are taken by the index, and each is asked for their consent.
create or replace function profile.lookalike(seed text[], n integer, purpose text default 'personalisation')
returns table (customer_id text, similarity double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
set hnsw.iterative_scan = strict_order
set enable_sort = off  -- where there is an index, its order is wanted, however small the table
as $$
#variable_conflict use_column
declare
    night text := (select p.run_id from ops.published_run as p);
    dimensions integer;
    centre vector;
    sized text;
    nearest text;
    ids text[];
    similarities double precision[];
begin
    if n is null or n < 1 or n > 1000000 then
        raise exception using message = 'n is ' || coalesce(n::text, 'null') || '; ask for 1 to 1000000 customers';
    end if;
    select avg(l2_normalize(e.embedding)), max(vector_dims(e.embedding)) into centre, dimensions
    from profile_store.embedding as e
    where e.run_id = night and e.customer_id = any(seed) and vector_norm(e.embedding) > 0;
    if centre is null then
        return;
    end if;
    sized := 'vector(' || dimensions || ')';
    -- The run and the dimensions are written into the query, so that Postgres looks at one partition and its index.
    nearest := 'select e.customer_id, 1 - (e.embedding::' || sized || ' <=> $1::' || sized || ') as similarity'
        || ' from profile_store.embedding as e'
        || ' where e.run_id = ' || quote_literal(night) || ' and e.customer_id <> all ($2)';
    if n <= 1000 then
        execute 'select array_agg(customer_id order by similarity desc), array_agg(similarity order by similarity desc) from ('
            || ' select c.* from (' || nearest || ' order by e.embedding::' || sized || ' <=> $1::' || sized
            || ' limit $4 * 4 + 100) as c'
            || ' cross join lateral (select from privacy.consent as k where k.customer_id = c.customer_id'
            || '                     and k.purpose = $3 and k.granted offset 0) as allowed'
            || ' limit $4) as found'
            using centre, seed, purpose, n
            into ids, similarities;
        if cardinality(ids) = n then
            return query select * from unnest(ids, similarities);
            return;
        end if;
    end if;
    return query execute nearest
        || ' and exists (select from privacy.consent as c'
        || '             where c.customer_id = e.customer_id and c.purpose = $3 and c.granted)'
        || ' order by e.embedding::' || sized || ' <=> $1::' || sized || ' limit $4'
        using centre, seed, purpose, n;
end $$;

do $$
declare
    place text;
begin
    foreach place in array array['profile_store.affinity', 'profile.affinity'] loop
        execute 'comment on column ' || place || '.dimension is ' || quote_literal(
            'category, brand, price_band (of the products), channel, store or daypart (of all events)');
        execute 'comment on column ' || place || '.value is ' || quote_literal(
            'Category, brand or store; price_band 1 (the cheapest fifth of a category) to 5; online or store; night, morning, afternoon or evening (6 hours each, from midnight)');
    end loop;
end $$;

-- Where customers buy, not where they registered; what they are expected to order online is no store's demand.
create or replace view mart_inventory.expected_demand as
with place as (
    select customer_id, value as store_id, score / sum(score) over (partition by customer_id) as share
    from profile.affinity where dimension = 'store' and score > 0
    union all
    select customer_id, home_store, 1.0
    from profile.customer_profile as p
    where home_store is not null
      and not exists (select from profile.affinity as a where a.customer_id = p.customer_id and a.dimension = 'store')
)
select w.store_id, a.value as category, count(*) as customers,
       sum(p.expected_orders_90d * coalesce(p.store_share, 1) * w.share * a.score) * 7 / 90 as expected_orders_week,
       sum(p.expected_spend_90d * coalesce(p.store_share, 1) * w.share * a.score) * 7 / 90 as expected_spend_week
from profile.customer_profile as p
join place as w using (customer_id)
join profile.affinity as a on a.customer_id = p.customer_id and a.dimension = 'category'
where p.expected_orders_90d is not null
group by 1, 2
having count(*) >= 5;
comment on view mart_inventory.expected_demand is 'What customers are expected to want of a category in a store in a week of the next 90 days: their forecast purchases, the share of them that is in stores, shared out by store and category affinity; cells of fewer than five customers are left out';
comment on column mart_inventory.expected_demand.store_id is 'Store they buy in, by store affinity; the home store of who has none';

do $$
declare
    place text;
begin
    foreach place in array array['profile_store.customer_profile', 'profile.customer_profile'] loop
        execute 'comment on column ' || place || '.spending_tier is ' || quote_literal(
            'low, mid, high: three groups found among the customers by how dear they choose, in standard deviations of each category; thirds of the average basket where no prices are known; null when nothing was bought');
    end loop;
end $$;
