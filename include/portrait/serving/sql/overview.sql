-- The last nights and how they went. One row.
with shown as (select run_id, published_at from ops.published_run),
night as (select * from ops.run order by as_of desc, started_at desc limit 30)
select json_build_object(
    'run', (select json_build_object('run_id', r.run_id, 'as_of', r.as_of, 'published_at', s.published_at,
                                     'started_at', r.started_at, 'finished_at', r.finished_at)
            from shown as s join ops.run as r using (run_id)),
    'stages', coalesce((select json_agg(json_build_object('stage', stage, 'seconds', seconds) order by finished_at)
                        from ops.stage_result where run_id = (select run_id from shown)), '[]'),
    'nights', coalesce((select json_agg(json_build_object(
                            'run_id', n.run_id, 'as_of', n.as_of, 'status', n.status, 'error', n.error,
                            'seconds', extract(epoch from n.finished_at - n.started_at),
                            'customers', (select (result -> 'rows' ->> 'customer_profile')::bigint
                                          from ops.stage_result as x where x.run_id = n.run_id and x.stage = 'profile'))
                            order by n.as_of, n.started_at)
                        from night as n), '[]'),
    'metrics', coalesce((select json_agg(json_build_object(
                            'run_id', e.run_id, 'as_of', n.as_of, 'slot', e.slot, 'model', e.model, 'role', e.role,
                            'value', e.value) order by n.as_of, n.started_at, e.model)
                         from ops.evaluation as e join night as n using (run_id)
                         where e.metric = 'ndcg' and e.slot in ('new', 'next')
                           and e.k = (select min(k) from ops.evaluation as x where x.run_id = e.run_id and x.metric = 'ndcg')), '[]'),
    'drift', coalesce((select json_agg(json_build_object('run_id', d.run_id, 'as_of', n.as_of, 'column', d.column_name,
                                                         'value', d.psi) order by n.as_of, n.started_at, d.column_name)
                       from (select run_id, column_name, psi from ops.profile_drift
                             union all
                             select run_id, 'embedding', (result ->> 'drift')::double precision
                             from ops.stage_result where stage = 'score' and result ->> 'drift' is not null) as d
                       join night as n using (run_id)), '[]'),
    'quality', coalesce((select json_agg(json_build_object('check', check_name, 'table', table_name, 'value', value,
                                                           'expected', expected, 'passed', passed)
                                         order by passed, table_name, check_name)
                         from ops.data_quality where run_id = (select run_id from shown)), '[]'),
    'freshness', coalesce((select json_agg(json_build_object('source', source, 'entity', entity,
                               'loaded_through', loaded_through, 'last_loaded_at', last_loaded_at,
                               'rows_inserted', rows_inserted, 'rows_rejected', rows_rejected) order by source)
                           from ops.freshness), '[]'),
    'alerts', coalesce((select json_agg(json_build_object('raised_at', raised_at, 'kind', kind, 'source', source,
                               'message', message) order by raised_at desc)
                        from (select * from ops.alert order by raised_at desc limit 10) as latest), '[]')
)::text as document
