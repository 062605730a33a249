-- Why a customer is one: the shortest chain of links to each identifier. $1 customer id. Values are hashes; they are cut short.
select json_build_object('step', step, 'from_kind', kind_a, 'from', left(value_a, 11), 'to_kind', kind_b,
                         'to', left(value_b, 11), 'rule', rule, 'source', source, 'first_seen', first_seen,
                         'last_seen', last_seen)::text as document
from identity.explain($1)
order by step, kind_b, value_b
limit 200
