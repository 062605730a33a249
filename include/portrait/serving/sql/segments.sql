-- The segments of the published night, which nobody is in who objects to analytics.
with stage as (
    select segment_id, json_object_agg(lifecycle, customers order by lifecycle) as customers
    from (select segment_id, lifecycle, count(*) as customers from profile.served_customer
          where segment_id is not null and lifecycle is not null group by segment_id, lifecycle) as counted
    group by segment_id
)
select json_build_object(
    'segment_id', p.segment_id, 'segment_name', min(p.segment_name), 'customers', count(*),
    'buyers', count(*) filter (where p.frequency > 0),
    'average_monetary', avg(p.monetary) filter (where p.frequency > 0),
    'average_recency_days', avg(p.recency_days)::float8,
    'average_basket', avg(p.average_basket),
    'store_share', avg(p.store_share),
    'lifecycle', coalesce((select s.customers from stage as s where s.segment_id = p.segment_id), '{}'),
    'top_category', mode() within group (order by p.favourite_category),
    'top_brand', mode() within group (order by p.favourite_brand))::text as document
from profile.served_customer as p
where p.segment_id is not null
group by p.segment_id
order by p.segment_id
