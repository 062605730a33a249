-- One document a customer: what to offer, which is what is popular where they do not allow personal recommendations.
-- $1 customer ids, $2 kind or null for both, $3 length of each list.
select p.customer_id, json_build_object(
    'customer_id', p.customer_id,
    'run_id', (select run_id from ops.published_run),
    'as_of', p.as_of,
    'recommendations', coalesce((
        select json_agg(json_build_object(
            'kind', r.kind, 'rank', r.rank, 'sku', r.sku, 'product_name', r.product_name, 'score', r.score,
            'model_version', r.model_version, 'because_kind', r.because_kind, 'because_of', r.because_of,
            'because_name', r.because_name) order by r.kind desc, r.rank)
        from profile.recommendation as r
        where r.customer_id = p.customer_id and ($2::text is null or r.kind = $2::text) and r.rank <= $3::int), '[]')
    )::text as document
from profile.served_customer as p
where p.customer_id = any($1::text[])
