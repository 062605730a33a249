create function profile.as_of(day date) returns setof profile_store.customer_profile
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$
    select p.*
    from profile_store.customer_profile as p
    where p.run_id = (
        select run.run_id
        from ops.run
        join ops.publication using (run_id)
        where run.as_of <= day and publication.action = 'publish'
          and to_regclass('profile_store.customer_profile_' || replace(replace(run.run_id, '-', ''), '.', '_')) is not null
        order by run.as_of desc, publication.publication_id desc
        limit 1
    )
$$;
comment on function profile.as_of is 'The profiles as they were published for a date, else for the latest earlier one that is still kept; run_id and as_of say which';

create schema mart_marketing;
comment on schema mart_marketing is 'What marketing may act on: only customers who consented, missing means no';

create view mart_marketing.contactable as
select customer_id,
       bool_or(purpose = 'email_marketing' and granted) as email,
       bool_or(purpose = 'sms_marketing' and granted) as sms,
       bool_or(purpose = 'personalisation' and granted) as personalisation
from privacy.consent
group by customer_id
having bool_or(purpose in ('email_marketing', 'sms_marketing') and granted);
comment on view mart_marketing.contactable is 'Customers who may be written to, and how';
comment on column mart_marketing.contactable.customer_id is 'Stable id of the customer';
comment on column mart_marketing.contactable.email is 'Consented to marketing by e-mail';
comment on column mart_marketing.contactable.sms is 'Consented to marketing by SMS';
comment on column mart_marketing.contactable.personalisation is 'Consented to personalised content';

create view mart_marketing.campaign as
select p.customer_id, c.email, c.sms, p.lifecycle, p.aipl_stage, p.spending_tier, p.value_type, p.m_score,
       p.joined_on, p.last_purchase_on, p.recency_days, p.frequency, p.monetary, p.p_alive, p.expected_spend_90d, p.clv_12m,
       case when c.personalisation then p.favourite_category end as favourite_category,
       case when c.personalisation then p.favourite_brand end as favourite_brand,
       case when c.personalisation then p.favourite_daypart end as favourite_daypart
from profile.customer_profile as p
join mart_marketing.contactable as c using (customer_id);
comment on view mart_marketing.campaign is 'Everybody who may be written to, with what a campaign asks for';
comment on column mart_marketing.campaign.customer_id is 'Stable id of the customer';
comment on column mart_marketing.campaign.email is 'Consented to marketing by e-mail';
comment on column mart_marketing.campaign.sms is 'Consented to marketing by SMS';
comment on column mart_marketing.campaign.lifecycle is 'prospect, new, active, returned, at_risk, lost';
comment on column mart_marketing.campaign.aipl_stage is 'aware, interested, purchased, loyal';
comment on column mart_marketing.campaign.spending_tier is 'low, mid, high; null when nothing was bought';
comment on column mart_marketing.campaign.value_type is 'RFM value type; null when nothing was bought';
comment on column mart_marketing.campaign.m_score is 'Monetary quintile, 5 is the highest; null when nothing was bought';
comment on column mart_marketing.campaign.joined_on is 'Day of registration, else of the first event';
comment on column mart_marketing.campaign.last_purchase_on is 'Last purchase; null when none';
comment on column mart_marketing.campaign.recency_days is 'Days since then; null when none';
comment on column mart_marketing.campaign.frequency is 'Purchases';
comment on column mart_marketing.campaign.monetary is 'Spent in total, in currency';
comment on column mart_marketing.campaign.p_alive is 'Probability of still being a customer; null when not known';
comment on column mart_marketing.campaign.expected_spend_90d is 'Amount expected in 90 days, in currency; null when not known';
comment on column mart_marketing.campaign.clv_12m is 'Amount expected in 365 days, in currency; null when not known';
comment on column mart_marketing.campaign.favourite_category is 'Category of the highest affinity; null without consent to personalisation';
comment on column mart_marketing.campaign.favourite_brand is 'Brand of the highest affinity; null without consent to personalisation';
comment on column mart_marketing.campaign.favourite_daypart is 'When most events are; null without consent to personalisation';

create view mart_marketing.welcome as
select * from mart_marketing.campaign where lifecycle = 'new';
comment on view mart_marketing.welcome is 'New customers to welcome: one purchase day in the last 30 days. Columns as in mart_marketing.campaign';

create view mart_marketing.premium as
select * from mart_marketing.campaign
where spending_tier = 'high' and m_score >= 4 and lifecycle in ('active', 'returned');
comment on view mart_marketing.premium is 'High spenders who are active: premium ranges. Columns as in mart_marketing.campaign';

create view mart_marketing.win_back as
select *, expected_spend_90d is not null and p_alive >= 0.3 as is_likely
from mart_marketing.campaign
where lifecycle in ('at_risk', 'lost') and m_score >= 3;
comment on view mart_marketing.win_back is 'At risk or lost, and of the upper three fifths of spending. Columns as in mart_marketing.campaign';
comment on column mart_marketing.win_back.is_likely is 'More than three in ten that they still are a customer';

create view mart_marketing.category_campaign as
select a.value as category, c.customer_id, c.email, c.sms, a.score, a.rank, a.evidence, a.last_on, p.spending_tier, p.lifecycle
from mart_marketing.contactable as c
join profile.affinity as a on a.customer_id = c.customer_id and a.dimension = 'category'
join profile.customer_profile as p on p.customer_id = c.customer_id
where c.personalisation;
comment on view mart_marketing.category_campaign is 'Whom to write to about a category; only with consent to personalisation, too';
comment on column mart_marketing.category_campaign.category is 'Category';
comment on column mart_marketing.category_campaign.customer_id is 'Stable id of the customer';
comment on column mart_marketing.category_campaign.email is 'Consented to marketing by e-mail';
comment on column mart_marketing.category_campaign.sms is 'Consented to marketing by SMS';
comment on column mart_marketing.category_campaign.score is 'Share of the customer''s interest, 0 to 1';
comment on column mart_marketing.category_campaign.rank is '1 is the strongest category of the customer';
comment on column mart_marketing.category_campaign.evidence is 'Events and purchases behind it';
comment on column mart_marketing.category_campaign.last_on is 'Last of them';
comment on column mart_marketing.category_campaign.spending_tier is 'low, mid, high; null when nothing was bought';
comment on column mart_marketing.category_campaign.lifecycle is 'prospect, new, active, returned, at_risk, lost';

create schema mart_service;
comment on schema mart_service is 'What an agent wants to know with a customer on the line';

create table mart_service.care_hint (
    category text primary key,
    hint_en text not null,
    hint_zh text not null
);
comment on table mart_service.care_hint is 'Use and care by category, kept by customer service; the first rows are examples';
comment on column mart_service.care_hint.category is 'Category as in profile.affinity';
comment on column mart_service.care_hint.hint_en is 'What to tell the customer, in English';
comment on column mart_service.care_hint.hint_zh is 'What to tell the customer, in Chinese';
insert into mart_service.care_hint values
    ('Milk', 'Keep at 2 to 6 degrees and use within three days of opening', '2至6度冷藏，开封后三天内饮用'),
    ('Yoghurt', 'Keep cool; do not freeze', '冷藏保存，请勿冷冻'),
    ('Seafood', 'Eat or freeze on the day of purchase', '购买当天食用或冷冻'),
    ('Meat & Eggs', 'Store apart from ready-to-eat food and cook through', '与熟食分开存放，烹熟后食用'),
    ('Skin Care', 'Try on the inner arm first; sunscreen again every two hours', '先在手臂内侧试用，防晒霜每两小时补涂'),
    ('Baby Food', 'Check the age on the tin; use formula within four weeks of opening', '请核对适用月龄，奶粉开罐后四周内用完'),
    ('Nappies', 'Choose by weight, not by age', '按体重选择尺码，不按月龄'),
    ('Laundry', 'Keep away from children; test coloured fabrics first', '远离儿童，深色衣物请先试洗'),
    ('Shoes', 'Air after wearing; keep leather away from heat', '穿后通风，皮鞋避免暴晒'),
    ('Pet Food', 'Change brands over a week, mixing old and new', '换粮请用一周时间逐步混合');

create view mart_service.customer as
select customer_id, is_known, member_level, home_store, city, tenure_days, channels, lifecycle, last_purchase_on, frequency,
       average_basket, return_rate, favourite_daypart, segment_name
from profile.customer_profile;
comment on view mart_service.customer is 'Who is calling: one row a customer, without birth date and spending forecast';
comment on column mart_service.customer.customer_id is 'Stable id of the customer';
comment on column mart_service.customer.is_known is 'Has a card or an account';
comment on column mart_service.customer.member_level is 'Level of the membership; null for non-members';
comment on column mart_service.customer.home_store is 'Store of registration, else the store bought in most';
comment on column mart_service.customer.city is 'City; null when not known';
comment on column mart_service.customer.tenure_days is 'Days since they joined';
comment on column mart_service.customer.channels is 'store, online, both or none';
comment on column mart_service.customer.lifecycle is 'prospect, new, active, returned, at_risk, lost';
comment on column mart_service.customer.last_purchase_on is 'Last purchase; null when none';
comment on column mart_service.customer.frequency is 'Purchases';
comment on column mart_service.customer.average_basket is 'Amount a purchase, in currency; null when none';
comment on column mart_service.customer.return_rate is 'Refunded / spent, 0 to 1; null when not known';
comment on column mart_service.customer.favourite_daypart is 'When most events are; null when not known';
comment on column mart_service.customer.segment_name is 'Segment; null when there is none';

create view mart_service.often_bought as
select a.customer_id, a.value as category, a.rank, a.evidence, a.last_on, h.hint_en, h.hint_zh
from profile.affinity as a
left join mart_service.care_hint as h on h.category = a.value
where a.dimension = 'category';
comment on view mart_service.often_bought is 'What a customer is drawn to, with use and care by category';
comment on column mart_service.often_bought.customer_id is 'Stable id of the customer';
comment on column mart_service.often_bought.category is 'Category';
comment on column mart_service.often_bought.rank is '1 is the strongest';
comment on column mart_service.often_bought.evidence is 'Events and purchases behind it';
comment on column mart_service.often_bought.last_on is 'Last of them';
comment on column mart_service.often_bought.hint_en is 'What to tell the customer, in English; null when service wrote none';
comment on column mart_service.often_bought.hint_zh is 'What to tell the customer, in Chinese; null when service wrote none';

create view mart_service.recent_problem as
with window_end as (select max(as_of) as day from profile.customer_profile)
select owner.customer_id, 'refund' as kind, e.business_date as on_day, 'online' as channel, null as store_id, e.sku,
       e.amount, null::numeric as rating
from raw.online_event as e
join identity.identifier as i on i.kind = 'account' and i.value = e.account_id
join identity.assignment as owner on owner.identifier_id = i.identifier_id and owner.valid_to is null
cross join window_end
where e.event_name = 'order_refunded' and e.business_date > window_end.day - 90 and e.business_date <= window_end.day
union all
select owner.customer_id, 'bad_review', e.business_date, 'online', null, e.sku, null, e.rating
from raw.online_event as e
join identity.identifier as i on i.kind = 'account' and i.value = e.account_id
join identity.assignment as owner on owner.identifier_id = i.identifier_id and owner.valid_to is null
cross join window_end
where e.event_name = 'product_reviewed' and e.rating <= 2
  and e.business_date > window_end.day - 90 and e.business_date <= window_end.day
union all
select owner.customer_id, 'return', r.business_date, 'store', r.store_id, null, abs(r.total_amount), null
from raw.pos_receipt as r
join identity.identifier as i on i.kind = 'card' and i.value = r.card_hash
join identity.assignment as owner on owner.identifier_id = i.identifier_id and owner.valid_to is null
cross join window_end
where r.kind = 'return' and r.business_date > window_end.day - 90 and r.business_date <= window_end.day;
comment on view mart_service.recent_problem is 'Refunds, returns and bad reviews of the last 90 days before the published night';
comment on column mart_service.recent_problem.customer_id is 'Stable id of the customer';
comment on column mart_service.recent_problem.kind is 'refund (online), return (store) or bad_review (at most 2)';
comment on column mart_service.recent_problem.on_day is 'Business date';
comment on column mart_service.recent_problem.channel is 'online or store';
comment on column mart_service.recent_problem.store_id is 'Store of a return; null online';
comment on column mart_service.recent_problem.sku is 'Product; null for a return, which may have several';
comment on column mart_service.recent_problem.amount is 'Amount back, in currency; null for a review';
comment on column mart_service.recent_problem.rating is 'Rating; null but for a review';

create schema mart_inventory;
comment on schema mart_inventory is 'What buyers plan with: counts only, and none of fewer than five customers or receipts';

create view mart_inventory.weekly_sales as
with catalogue as (
    select distinct on (sku) sku, coalesce(category_2, category_1) as category
    from raw.product order by sku, business_date desc, source, source_row_id
),
window_end as (select max(as_of) as day from profile.customer_profile)
select l.store_id, c.category, date_trunc('week', l.business_date)::date as week,
       sum(l.quantity)::double precision as units, sum(l.line_amount)::double precision as amount,
       count(distinct (l.workstation_id, l.sequence_number, l.business_date)) as receipts
from raw.pos_receipt_line as l
join catalogue as c using (sku)
cross join window_end
where l.business_date > window_end.day - 91 and l.business_date <= window_end.day and l.quantity > 0 and c.category is not null
group by 1, 2, 3
having count(distinct (l.workstation_id, l.sequence_number, l.business_date)) >= 5;
comment on view mart_inventory.weekly_sales is 'What each store sold of each category, a week, the last 13 weeks before the published night; cells of fewer than five receipts are left out';
comment on column mart_inventory.weekly_sales.store_id is 'Store';
comment on column mart_inventory.weekly_sales.category is 'Category';
comment on column mart_inventory.weekly_sales.week is 'Its Monday';
comment on column mart_inventory.weekly_sales.units is 'Pieces, returns not deducted';
comment on column mart_inventory.weekly_sales.amount is 'Amount, in currency';
comment on column mart_inventory.weekly_sales.receipts is 'Receipts with the category';

create view mart_inventory.expected_demand as
select p.home_store as store_id, a.value as category, count(*) as customers,
       sum(p.expected_orders_90d * a.score) * 7 / 90 as expected_orders_week,
       sum(p.expected_spend_90d * a.score) * 7 / 90 as expected_spend_week
from profile.customer_profile as p
join profile.affinity as a on a.customer_id = p.customer_id and a.dimension = 'category'
where p.home_store is not null and p.expected_orders_90d is not null
group by 1, 2
having count(*) >= 5;
comment on view mart_inventory.expected_demand is 'What the customers of a store are expected to want of a category in a week of the next 90 days: forecast purchases shared out by affinity; cells of fewer than five customers are left out';
comment on column mart_inventory.expected_demand.store_id is 'Home store of the customers';
comment on column mart_inventory.expected_demand.category is 'Category';
comment on column mart_inventory.expected_demand.customers is 'Customers drawn to it';
comment on column mart_inventory.expected_demand.expected_orders_week is 'Purchase days a week';
comment on column mart_inventory.expected_demand.expected_spend_week is 'Amount a week, in currency';

create view mart_inventory.substitution as
with drawn as (
    select customer_id, value as brand from profile.affinity where dimension = 'brand'
),
size as (select brand, count(*) as customers from drawn group by brand)
select a.brand, b.brand as other_brand, count(*) as customers, count(*)::double precision / min(s.customers) as share
from drawn as a
join drawn as b on b.customer_id = a.customer_id and b.brand <> a.brand
join size as s on s.brand = a.brand
group by 1, 2
having count(*) >= 5;
comment on view mart_inventory.substitution is 'Which other brand the customers of a brand are drawn to, too: what may stand in when it is out of stock; pairs of fewer than five customers are left out';
comment on column mart_inventory.substitution.brand is 'Brand';
comment on column mart_inventory.substitution.other_brand is 'Brand that may stand in';
comment on column mart_inventory.substitution.customers is 'Customers drawn to both';
comment on column mart_inventory.substitution.share is 'of all customers drawn to the first, 0 to 1';

create view mart_inventory.store_customers as
select home_store as store_id, lifecycle, spending_tier, count(*) as customers,
       sum(expected_spend_90d) as expected_spend_90d
from profile.customer_profile
where home_store is not null
group by 1, 2, 3
having count(*) >= 5;
comment on view mart_inventory.store_customers is 'The customers of each store by lifecycle and spending tier; cells of fewer than five customers are left out';
comment on column mart_inventory.store_customers.store_id is 'Home store';
comment on column mart_inventory.store_customers.lifecycle is 'prospect, new, active, returned, at_risk, lost';
comment on column mart_inventory.store_customers.spending_tier is 'low, mid, high; null when nothing was bought';
comment on column mart_inventory.store_customers.customers is 'Customers';
comment on column mart_inventory.store_customers.expected_spend_90d is 'Amount expected of them in 90 days, in currency; null when not known';

-- The columns of the narrower lists are those of the wide one, in its words.
do $$
declare
    list text;
    named record;
begin
    foreach list in array array['welcome', 'premium', 'win_back'] loop
        for named in
            select a.attname as name, col_description(a.attrelid, a.attnum) as words
            from pg_attribute as a
            where a.attrelid = 'mart_marketing.campaign'::regclass and a.attnum > 0
        loop
            execute 'comment on column mart_marketing.' || list || '.' || quote_ident(named.name) || ' is '
                || quote_literal(named.words);
        end loop;
    end loop;
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant usage on schema mart_marketing, mart_service, mart_inventory to portrait_reader;
        grant select on all tables in schema mart_marketing, mart_service, mart_inventory to portrait_reader;
    end if;
end $$;
