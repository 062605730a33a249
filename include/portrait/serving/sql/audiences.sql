-- Every audience in use with its sizes of the last 30 business dates, and whom each two share. One row.
select json_build_object(
    'audiences', coalesce((
        select json_agg(json_build_object(
            'audience', d.audience, 'name_en', d.name_en, 'name_zh', d.name_zh, 'condition', d.condition,
            'purpose', d.purpose, 'channel', d.channel, 'owner', d.owner, 'as_of', d.defined_for,
            'sizes', coalesce((
                select json_agg(json_build_object('as_of', s.as_of, 'members', s.members, 'control', s.control,
                                                  'without_consent', s.without_consent, 'entered', s.entered,
                                                  'left', s.left_it) order by s.as_of)
                from (select * from audience.size_daily as x where x.audience = d.audience
                      order by x.as_of desc limit 30) as s), '[]')) order by d.audience)
        from audience.definition as d where d.in_use), '[]'),
    'overlaps', coalesce((
        select json_agg(json_build_object('a', o.audience_a, 'b', o.audience_b, 'customers', o.customers,
                                          'jaccard', o.jaccard) order by o.audience_a, o.audience_b)
        from audience.overlap as o where o.as_of = (select max(as_of) from audience.overlap)), '[]')
)::text as document
