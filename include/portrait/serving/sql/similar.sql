-- The nearest customers by the cosine of their vectors. $1 customer id, $2 how many. DIMENSIONS is that of the night's vectors.
select json_build_object('customer_id', near.customer_id, 'similarity', 1 - near.distance,
                         'segment_name', p.segment_name, 'value_type', p.value_type, 'lifecycle', p.lifecycle,
                         'favourite_category', p.favourite_category)::text as document
from (
    select e.customer_id,
           e.embedding::vector(DIMENSIONS) <=> (
               select mine.embedding::vector(DIMENSIONS) from profile.embedding as mine where mine.customer_id = $1) as distance
    from profile.embedding as e
    order by e.embedding::vector(DIMENSIONS) <=> (
        select mine.embedding::vector(DIMENSIONS) from profile.embedding as mine where mine.customer_id = $1)
    limit $2::int + 1
) as near
left join profile.served_customer as p using (customer_id)
where near.customer_id <> $1 and near.distance is not null
order by near.distance, near.customer_id
limit $2::int
