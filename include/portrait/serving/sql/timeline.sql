-- What a customer did, the newest first. $1 customer id, $2 from and $3 to which business date, $4 how many,
-- $5 and $6: only what comes after this moment and id in the list (the page before ended there), or nulls.
with mine as materialized (
    select i.kind, i.value, case when held.turn > 1 then held.valid_from else date '0001-01-01' end as since
    from identity.assignment as held join identity.identifier as i using (identifier_id)
    where held.customer_id = $1 and held.valid_to is null
),
done as (
    select e.occurred_at, 'e:' || e.source || ':' || e.source_row_id as id, e.business_date, 'online' as channel,
           e.event_name as event, e.channel as place, e.sku, e.search_query, e.quantity, e.amount, e.currency
    from mine join raw.online_event as e on e.account_id = mine.value and e.account_id is not null
    where mine.kind = 'account' and e.business_date >= mine.since and e.business_date between $2::date and $3::date
    union all
    select e.occurred_at, 'e:' || e.source || ':' || e.source_row_id, e.business_date, 'online',
           e.event_name, e.channel, e.sku, e.search_query, e.quantity, e.amount, e.currency
    from mine join raw.online_event as e on e.device_id = mine.value and e.account_id is null and e.device_id is not null
    where mine.kind = 'device' and e.business_date >= mine.since and e.business_date between $2::date and $3::date
    union all
    select r.occurred_at, 'r:' || r.source || ':' || r.source_row_id, r.business_date, 'store',
           case r.kind when 'return' then 'pos_return' else 'pos_sale' end, r.store_id, null, null, null,
           abs(r.total_amount), r.currency
    from mine join raw.pos_receipt as r on r.card_hash = mine.value and r.card_hash is not null
    where mine.kind = 'card' and r.business_date >= mine.since and r.business_date between $2::date and $3::date
    union all
    select r.occurred_at, 'r:' || r.source || ':' || r.source_row_id, r.business_date, 'store',
           case r.kind when 'return' then 'pos_return' else 'pos_sale' end, r.store_id, null, null, null,
           abs(r.total_amount), r.currency
    from mine join raw.pos_receipt as r on r.phone_hash = mine.value and r.card_hash is null and r.phone_hash is not null
    where mine.kind = 'phone' and r.business_date >= mine.since and r.business_date between $2::date and $3::date
)
select done.occurred_at, done.id, json_build_object(
    'occurred_at', done.occurred_at, 'business_date', done.business_date, 'channel', done.channel, 'event', done.event,
    'place', done.place, 'sku', done.sku, 'product_name', product.name, 'search_query', done.search_query,
    'quantity', done.quantity, 'amount', done.amount, 'currency', done.currency)::text as document
from (
    select * from done
    where $5::timestamptz is null or (occurred_at, id) < ($5::timestamptz, $6::text)
    order by occurred_at desc, id desc limit $4::int
) as done
left join lateral (
    select coalesce(p.name, p.name_zh) as name from raw.product as p where p.sku = done.sku
    order by p.source limit 1
) as product on true
order by done.occurred_at desc, done.id desc
