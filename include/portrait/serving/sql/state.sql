-- What is shown and what serves: one row, looked at all the time. A ranker works on a whole night's log: where it is
-- the champion of slot new, an answer at hand comes from the model of the customer vectors.
select p.run_id, r.as_of, p.published_at,
       n.model_version as new_version, n.path as new_path, n.created_at as new_since
from (select 1) as one
left join ops.published_run as p on true
left join ops.run as r on r.run_id = p.run_id
left join lateral (
    select model_version, path, created_at from ops.model_version
    where status = 'champion' and slot in ('new', 'embedding') and model <> 'nightly'
    order by slot = 'new' desc limit 1
) as n on true
