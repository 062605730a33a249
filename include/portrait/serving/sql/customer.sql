-- One document a customer of the published night. $1 customer ids. Neither birth dates nor price
-- sensitivity: the API's role cannot read them. There is no contact data.
select p.customer_id, to_json(document)::text as document
from profile.served_customer as p
cross join lateral (
    select p.customer_id, (select run_id from ops.published_run) as run_id, p.as_of,
           p.is_known, p.gender, p.age, p.age_band, p.region, p.city, p.member_level, p.home_store, p.joined_on,
           p.tenure_days, p.cards, p.accounts, p.devices, p.channels, p.first_seen_on, p.last_seen_on,
           p.last_purchase_on, p.recency_days, p.frequency, p.monetary, p.refunded, p.average_basket, p.store_share,
           p.views_30d, p.searches_30d, p.value_type, p.lifecycle, p.spending_tier, p.favourite_category,
           p.favourite_brand, p.segment_id, p.segment_name, p.aipl_stage, p.p_alive, p.expected_orders_90d,
           p.expected_spend_90d, p.clv_12m, p.clv_12m_low, p.clv_12m_high, p.return_rate, p.promotion_sensitivity, p.favourite_daypart,
           (select json_build_object(
                'r_score', r.r_score, 'f_score', r.f_score, 'm_score', r.m_score,
                'first_purchase_on', r.first_purchase_on, 'interpurchase_days', r.interpurchase_days,
                'frequency_30d', r.frequency_30d, 'monetary_30d', r.monetary_30d,
                'frequency_90d', r.frequency_90d, 'monetary_90d', r.monetary_90d,
                'frequency_365d', r.frequency_365d, 'monetary_365d', r.monetary_365d)
            from profile.rfm as r where r.customer_id = p.customer_id) as rfm,
           coalesce((select json_agg(json_build_object(
                'dimension', a.dimension, 'value', a.value, 'rank', a.rank, 'score', a.score,
                'evidence', a.evidence, 'last_on', a.last_on) order by a.dimension, a.rank)
            from profile.affinity as a where a.customer_id = p.customer_id), '[]') as affinities,
           coalesce((select json_agg(json_build_object('tag', t.tag, 'value', t.value, 'reason', t.reason) order by t.tag)
            from profile.served_tag as t where t.customer_id = p.customer_id), '[]') as tags
) as document
where p.customer_id = any($1::text[])
