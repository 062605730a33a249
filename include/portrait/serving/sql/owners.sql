-- Whose identifiers they are today. $1 to $3: which question each is of, its kind, its stored value.
select given.n, held.customer_id
from unnest($1::int[], $2::text[], $3::text[]) as given (n, kind, value)
join identity.identifier as i on i.kind = given.kind and i.value = given.value
join identity.assignment as held on held.identifier_id = i.identifier_id and held.valid_to is null
