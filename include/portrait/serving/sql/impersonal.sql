-- Which of these customers do not allow personal recommendations at this moment. $1 customer ids.
select asked.id as customer_id
from unnest($1::text[]) as asked (id)
left join privacy.permission as said on said.customer_id = asked.id
cross join privacy.unstated as otherwise
where not coalesce(said.personalised_recommendation, otherwise.personalised_recommendation)
