-- The published night's customers in a few counts, without those who object to analytics. One row.
select json_build_object(
    'customers', count(*), 'known', count(*) filter (where is_known), 'buyers', count(*) filter (where frequency > 0),
    'active_30d', count(*) filter (where last_seen_on > as_of - 30),
    'lifecycle', (select json_object_agg(lifecycle, n order by lifecycle) from (
        select lifecycle, count(*) as n from profile.served_customer where in_statistics and lifecycle is not null group by 1) as x),
    'value_type', (select json_object_agg(value_type, n order by value_type) from (
        select value_type, count(*) as n from profile.served_customer where in_statistics and value_type is not null group by 1) as x),
    'channels', (select json_object_agg(channels, n order by channels) from (
        select channels, count(*) as n from profile.served_customer where in_statistics and channels is not null group by 1) as x)
)::text as document
from profile.served_customer
where in_statistics
