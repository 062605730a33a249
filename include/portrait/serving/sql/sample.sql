-- Vectors of some of the night's customers, the same ones each time: those whose ids come first. $1 how many.
select s.segment_id, e.embedding::real[] as vector
from (select customer_id, embedding from profile.embedding order by customer_id limit $1::int) as e
join profile.segment as s using (customer_id)
order by e.customer_id
