-- What is shown and what serves: one row, looked at all the time.
select p.run_id, r.as_of, p.published_at,
       n.model_version as new_version, n.path as new_path, n.created_at as new_since
from (select 1) as one
left join ops.published_run as p on true
left join ops.run as r on r.run_id = p.run_id
left join ops.model_version as n on n.slot = 'new' and n.status = 'champion'
