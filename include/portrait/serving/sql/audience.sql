-- An audience and a page of its members: $1 its code, $2 the last customer of the page before, $3 how many.
-- No row when there is no such audience.
select json_build_object('audience', d.audience, 'name_en', d.name_en, 'name_zh', d.name_zh, 'purpose', d.purpose,
                         'channel', d.channel, 'in_use', d.in_use, 'as_of', d.defined_for)::text as definition,
       array(select json_build_object('customer_id', m.customer_id, 'entered_on', m.entered_on,
                                      'is_control', m.is_control)::text
             from audience.member as m
             where m.audience = d.audience and m.customer_id > $2
             order by m.customer_id limit $3::int) as members,
       (select max(last.customer_id)
        from (select m.customer_id from audience.member as m
              where m.audience = d.audience and m.customer_id > $2
              order by m.customer_id limit $3::int) as last) as last_customer
from audience.definition as d
where d.audience = $1
