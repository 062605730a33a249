-- Today's id of each id that is, or was, a customer's. $1 to $2: which question each is of, the id.
select asked.n, case when p.customer_id is not null then p.customer_id else identity.current_id(asked.id) end as customer_id
from unnest($1::int[], $2::text[]) as asked (n, id)
left join profile.served_customer as p on p.customer_id = asked.id
where p.customer_id is not null
   or exists (select from identity.id_change as c where c.customer_id = asked.id and c.change <> 'merge')
   or exists (select from identity.id_change as c where c.other_customer_id = asked.id and c.change = 'merge')
