-- What was tried, judged and promoted. One row.
with latest as (
    select r.run_id from ops.run as r where exists (select from ops.evaluation as e where e.run_id = r.run_id)
    order by r.as_of desc, r.started_at desc limit 1
)
select json_build_object(
    'run_id', (select run_id from latest),
    'evaluation', coalesce((select json_agg(json_build_object('slot', slot, 'model', model, 'role', role, 'metric', metric,
                               'k', k, 'value', value, 'customers', customers) order by slot, model, role, metric, k)
                            from ops.evaluation where run_id = (select run_id from latest)), '[]'),
    'versions', coalesce((select json_agg(json_build_object('model_version', model_version, 'slot', slot, 'model', model,
                             'trained_through', trained_through, 'status', status, 'reason', reason, 'replaces', replaces,
                             'metric', metric, 'value', value, 'created_at', created_at) order by created_at desc, slot)
                          from (select * from ops.model_version order by created_at desc, slot limit 60) as v), '[]')
)::text as document
