-- What is shown to who does not allow personal recommendations.
create table profile_store.popular (
    run_id text not null,
    rank integer not null,
    sku text,
    product_name text,
    score double precision
) partition by list (run_id);
comment on table profile_store.popular is 'What is bought most, whoever one is: what is recommended without consent to personalised_recommendation; every kept run';
comment on column profile_store.popular.run_id is 'Run that made the row';
comment on column profile_store.popular.rank is '1 is the most popular';
comment on column profile_store.popular.sku is 'Product';
comment on column profile_store.popular.product_name is 'Its name; null when the product file lacks it';
comment on column profile_store.popular.score is 'Share of all recency-weighted interest, 0 to 1';
create view profile.popular as
    select rank, sku, product_name, score
    from profile_store.popular
    where run_id = (select run_id from ops.published_run);
comment on view profile.popular is 'What is bought most, whoever one is: what is recommended without consent to personalised_recommendation';
comment on column profile.popular.rank is '1 is the most popular';
comment on column profile.popular.sku is 'Product';
comment on column profile.popular.product_name is 'Its name; null when the product file lacks it';
comment on column profile.popular.score is 'Share of all recency-weighted interest, 0 to 1';

do $$
declare
    night record;
begin
    for night in
        select substring(c.relname from '^customer_profile_(.*)$') as suffix, pg_get_expr(c.relpartbound, c.oid) as bound
        from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'profile_store.customer_profile'::regclass
    loop
        execute 'create table profile_store.' || quote_ident('popular_' || night.suffix)
            || ' partition of profile_store.popular ' || night.bound;
    end loop;
end $$;

-- The purpose of a tag is one of consent; what it is for in words is another column. Nights from before: statistics.
alter table profile_store.tag_definition add column use text, add column price_limited boolean;
update profile_store.tag_definition
set use = purpose, purpose = 'analytics', price_limited = expression ~ '\mprice_sensitivity\M';
comment on column profile_store.tag_definition.purpose is 'Purpose of consent, or service; who does not allow it does not have the tag';
comment on column profile_store.tag_definition.use is 'What it is for, in words';
comment on column profile_store.tag_definition.price_limited is 'Says something of price_sensitivity: not for the API';
create or replace view profile.tag_definition as
    select tag, version, type, name_en, name_zh, description_en, description_zh, expression, owner, purpose, null_policy, use,
           price_limited
    from profile_store.tag_definition
    where run_id = (select run_id from ops.published_run);
comment on column profile.tag_definition.purpose is 'Purpose of consent, or service; who does not allow it does not have the tag';
comment on column profile.tag_definition.use is 'What it is for, in words';
comment on column profile.tag_definition.price_limited is 'Says something of price_sensitivity: not for the API';

-- The views read with their owner's rights and show what each customer allows at this moment. Those that leave rows out are
-- barriers: no function in a reader's condition sees what they leave out.
create or replace view profile.customer_profile as
    select p.customer_id, p.as_of, p.is_known, p.gender, p.birth_date, p.age, p.age_band, p.region, p.city, p.member_level,
    p.home_store, p.joined_on, p.tenure_days, p.cards, p.accounts, p.devices, p.channels, p.first_seen_on,
    p.last_seen_on, p.last_purchase_on, p.recency_days, p.frequency, p.monetary, p.refunded, p.average_basket,
    p.store_share, p.views_30d, p.searches_30d, p.value_type, p.lifecycle, p.spending_tier, p.favourite_category,
    p.favourite_brand, case when may.count then p.segment_id end as segment_id,
    case when may.count then p.segment_name end as segment_name, p.frequency_90d, p.monetary_90d, p.frequency_365d,
    p.monetary_365d, p.interpurchase_days, p.r_score, p.f_score, p.m_score, p.carts_30d, p.return_rate,
    p.discount_share, p.price_sensitivity, p.promotion_sensitivity, p.favourite_daypart, p.aipl_stage, p.p_alive,
    p.expected_orders_90d, p.expected_spend_90d, p.clv_12m, p.clv_12m_low, p.clv_12m_high, p.city_tier, p.price_level,
    p.favourite_store, case when may.infer then p.age_band_inferred end as age_band_inferred,
    case when may.infer then p.age_band_confidence end as age_band_confidence,
    case when may.infer then p.gender_inferred end as gender_inferred,
    case when may.infer then p.gender_confidence end as gender_confidence,
    case when may.infer then p.churn_probability end as churn_probability,
    case when may.infer then p.predicted_spend_90d end as predicted_spend_90d,
    case when may.infer then p.next_category end as next_category,
    case when may.infer then p.next_category_probability end as next_category_probability
    from profile_store.customer_profile as p
    left join privacy.permission as said on said.customer_id = p.customer_id
    cross join privacy.unstated as otherwise
    cross join lateral (
        select coalesce(said.profiling_inference, otherwise.profiling_inference) as infer,
               coalesce(said.analytics, otherwise.analytics) as count
    ) as may
    where p.run_id = (select run_id from ops.published_run);
comment on column profile.customer_profile.segment_id is 'Segment of the embedding; null when there is no embedding, or the customer objects to analytics';
comment on column profile.customer_profile.segment_name is 'Name of the segment; null when there is none, or the customer objects to analytics';

create or replace function profile.as_of(day date) returns setof profile_store.customer_profile
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
as $$
declare
    night text;
    archived text;
begin
    select run.run_id, archive.path into night, archived
    from ops.run
    join ops.publication using (run_id)
    left join ops.archive on archive.run_id = run.run_id
    where run.as_of <= day and publication.action = 'publish'
      and (archive.path is not null or to_regclass(
          'profile_store.customer_profile_' || replace(replace(run.run_id, '-', ''), '.', '_')) is not null)
    order by run.as_of desc, publication.publication_id desc
    limit 1;
    if night is null then
        return;
    end if;
    if to_regclass('profile_store.customer_profile_' || replace(replace(night, '-', ''), '.', '_')) is null then
        raise exception using
            errcode = 'no_data_found',
            message = 'run ' || night || ', valid on ' || day || ', is archived in ' || archived
                || '/customer_profile/part-0001.parquet',
            hint = 'portrait archive restore ' || night || ' brings it back for a while';
    end if;
    -- Written into the query, so that Postgres looks at one partition.
    return query execute '
    select p.run_id, p.customer_id, p.as_of, p.is_known, p.gender, p.birth_date, p.age, p.age_band, p.region, p.city, p.member_level,
    p.home_store, p.joined_on, p.tenure_days, p.cards, p.accounts, p.devices, p.channels, p.first_seen_on,
    p.last_seen_on, p.last_purchase_on, p.recency_days, p.frequency, p.monetary, p.refunded, p.average_basket,
    p.store_share, p.views_30d, p.searches_30d, p.value_type, p.lifecycle, p.spending_tier, p.favourite_category,
    p.favourite_brand, case when may.count then p.segment_id end as segment_id,
    case when may.count then p.segment_name end as segment_name, p.frequency_90d, p.monetary_90d, p.frequency_365d,
    p.monetary_365d, p.interpurchase_days, p.r_score, p.f_score, p.m_score, p.carts_30d, p.return_rate,
    p.discount_share, p.price_sensitivity, p.promotion_sensitivity, p.favourite_daypart, p.aipl_stage, p.p_alive,
    p.expected_orders_90d, p.expected_spend_90d, p.clv_12m, p.clv_12m_low, p.clv_12m_high, p.city_tier, p.price_level,
    p.favourite_store, case when may.infer then p.age_band_inferred end as age_band_inferred,
    case when may.infer then p.age_band_confidence end as age_band_confidence,
    case when may.infer then p.gender_inferred end as gender_inferred,
    case when may.infer then p.gender_confidence end as gender_confidence,
    case when may.infer then p.churn_probability end as churn_probability,
    case when may.infer then p.predicted_spend_90d end as predicted_spend_90d,
    case when may.infer then p.next_category end as next_category,
    case when may.infer then p.next_category_probability end as next_category_probability
    from profile_store.customer_profile as p
    left join privacy.permission as said on said.customer_id = p.customer_id
    cross join privacy.unstated as otherwise
    cross join lateral (
        select coalesce(said.profiling_inference, otherwise.profiling_inference) as infer,
               coalesce(said.analytics, otherwise.analytics) as count
    ) as may
    where p.run_id = ' || quote_literal(night);
end $$;
comment on function profile.as_of is 'The profiles as they were published for a date, else for the latest earlier one that is still kept; run_id and as_of say which. What a customer does not allow today is null in earlier nights, too';

create or replace view profile.segment with (security_barrier) as
    select s.customer_id, s.segment_id, s.segment_name, s.distance
    from profile_store.segment as s
    left join privacy.permission as said on said.customer_id = s.customer_id
    cross join privacy.unstated as otherwise
    where s.run_id = (select run_id from ops.published_run) and coalesce(said.analytics, otherwise.analytics);
comment on view profile.segment is 'Groups of customers with alike embeddings, without those who object to analytics';

create or replace view profile.search_interest with (security_barrier) as
    select i.customer_id, i.query, i.rank, i.searches, i.last_on, i.score
    from profile_store.search_interest as i
    left join privacy.permission as said on said.customer_id = i.customer_id
    cross join privacy.unstated as otherwise
    where i.run_id = (select run_id from ops.published_run)
      and coalesce(said.personalised_recommendation, otherwise.personalised_recommendation);
comment on view profile.search_interest is 'What a customer searches for: up to five queries; only of who allows personalised_recommendation';

create or replace view profile.recommendation as
    select r.customer_id, r.kind, r.rank,
           case when may.personal then r.sku else p.sku end as sku,
           case when may.personal then r.product_name else p.product_name end as product_name,
           case when may.personal then r.score else p.score end as score,
           case when may.personal then r.model_version else 'popular' end as model_version,
           case when may.personal then r.because_kind else 'no_consent' end as because_kind,
           case when may.personal then r.because_of end as because_of,
           case when may.personal then r.because_name end as because_name
    from profile_store.recommendation as r
    left join privacy.permission as said on said.customer_id = r.customer_id
    cross join privacy.unstated as otherwise
    cross join lateral (
        select coalesce(said.personalised_recommendation, otherwise.personalised_recommendation) as personal
    ) as may
    left join profile_store.popular as p
        on p.run_id = (select run_id from ops.published_run) and p.rank = r.rank and r.kind = 'new' and not may.personal
    where r.run_id = (select run_id from ops.published_run) and (may.personal or p.rank is not null);
comment on view profile.recommendation is 'What to offer a customer; who does not allow personalised_recommendation is offered what is popular, and nothing of kind again';
comment on column profile.recommendation.because_kind is 'again (they bought it before), item (something they bought speaks for it), category (they looked at or bought others of its category), popular (nothing is known that speaks for it), no_consent (popular, because the customer does not allow personalised_recommendation); null in runs from before there were reasons';
comment on column profile_store.recommendation.because_kind is 'again (they bought it before), item (something they bought speaks for it), category (they looked at or bought others of its category), popular (nothing is known that speaks for it), no_consent (popular, because the customer did not allow personalised_recommendation that night); null in runs from before there were reasons';

create or replace view profile.customer_tag with (security_barrier) as
    select t.customer_id, t.tag, t.value, t.reason
    from profile_store.customer_tag as t
    join profile_store.tag_definition as d on d.run_id = (select run_id from ops.published_run) and d.tag = t.tag
    left join privacy.permission as said on said.customer_id = t.customer_id
    cross join privacy.unstated as otherwise
    where t.run_id = (select run_id from ops.published_run)
      and case d.purpose
          when 'service' then true
          when 'analytics' then coalesce(said.analytics, otherwise.analytics)
          when 'personalised_recommendation'
              then coalesce(said.personalised_recommendation, otherwise.personalised_recommendation)
          when 'marketing_email' then coalesce(said.marketing_email, otherwise.marketing_email)
          when 'marketing_sms' then coalesce(said.marketing_sms, otherwise.marketing_sms)
          when 'ad_audience' then coalesce(said.ad_audience, otherwise.ad_audience)
          when 'profiling_inference' then coalesce(said.profiling_inference, otherwise.profiling_inference)
          else false end;
comment on view profile.customer_tag is 'The tags of a customer, each with its reason, one row a customer and tag, as far as the customer allows the tag''s purpose';

-- What the API may read: neither birth dates nor what says how much a price matters to somebody.
create view profile.served_customer as
    select p.customer_id, p.as_of, p.is_known, p.gender, p.age, p.age_band, p.region, p.city, p.member_level, p.home_store,
    p.joined_on, p.tenure_days, p.cards, p.accounts, p.devices, p.channels, p.first_seen_on, p.last_seen_on,
    p.last_purchase_on, p.recency_days, p.frequency, p.monetary, p.refunded, p.average_basket, p.store_share,
    p.views_30d, p.searches_30d, p.value_type, p.lifecycle, p.spending_tier, p.favourite_category, p.favourite_brand,
    p.segment_id, p.segment_name, p.frequency_90d, p.monetary_90d, p.frequency_365d, p.monetary_365d,
    p.interpurchase_days, p.r_score, p.f_score, p.m_score, p.carts_30d, p.return_rate, p.discount_share,
    p.promotion_sensitivity, p.favourite_daypart, p.aipl_stage, p.p_alive, p.expected_orders_90d,
    p.expected_spend_90d, p.clv_12m, p.clv_12m_low, p.clv_12m_high, p.city_tier, p.price_level, p.favourite_store,
    p.age_band_inferred, p.age_band_confidence, p.gender_inferred, p.gender_confidence, p.churn_probability,
    p.predicted_spend_90d, p.next_category, p.next_category_probability,
    coalesce(said.analytics, otherwise.analytics) as in_statistics
    from profile.customer_profile as p
    left join privacy.permission as said on said.customer_id = p.customer_id
    cross join privacy.unstated as otherwise;
comment on view profile.served_customer is 'profile.customer_profile as the API serves it: without birth_date and price_sensitivity';
comment on column profile.served_customer.in_statistics is 'Allows analytics: is counted in statistics';
create view profile.served_tag with (security_barrier) as
    select t.customer_id, t.tag, t.value, t.reason
    from profile.customer_tag as t
    where not exists (select from profile.tag_definition as d where d.tag = t.tag and d.price_limited);
comment on view profile.served_tag is 'profile.customer_tag as the API serves it: without tags that say something of price_sensitivity';

-- Made anew: their customer_id compared by another collation than that of the profiles, which no index had.
create temporary table mart_words on commit drop as
select v.relname as view, a.attname as column, col_description(v.oid, a.attnum) as words, obj_description(v.oid) as about
from pg_class as v join pg_attribute as a on a.attrelid = v.oid and a.attnum > 0
where v.relnamespace = 'mart_marketing'::regnamespace and v.relkind = 'v';
drop view mart_marketing.contactable cascade;

create view mart_marketing.contactable with (security_barrier) as
select p.customer_id, may.email, may.sms, may.personalised_recommendation, may.ad_audience
from profile_store.customer_profile as p
left join privacy.permission as said on said.customer_id = p.customer_id
cross join privacy.unstated as otherwise
cross join lateral (
    select coalesce(said.marketing_email, otherwise.marketing_email) as email,
           coalesce(said.marketing_sms, otherwise.marketing_sms) as sms,
           coalesce(said.personalised_recommendation, otherwise.personalised_recommendation) as personalised_recommendation,
           coalesce(said.ad_audience, otherwise.ad_audience) as ad_audience
) as may
where p.run_id = (select run_id from ops.published_run) and (may.email or may.sms);

-- Not by way of contactable: each profile is looked at once.
create view mart_marketing.campaign with (security_barrier) as
select p.customer_id, may.email, may.sms, p.lifecycle, p.aipl_stage, p.spending_tier, p.value_type, p.m_score,
       p.joined_on, p.last_purchase_on, p.recency_days, p.frequency, p.monetary, p.p_alive, p.expected_spend_90d, p.clv_12m,
       case when may.recommend then p.favourite_category end as favourite_category,
       case when may.recommend then p.favourite_brand end as favourite_brand,
       case when may.recommend then p.favourite_daypart end as favourite_daypart
from profile_store.customer_profile as p
left join privacy.permission as said on said.customer_id = p.customer_id
cross join privacy.unstated as otherwise
cross join lateral (
    select coalesce(said.marketing_email, otherwise.marketing_email) as email,
           coalesce(said.marketing_sms, otherwise.marketing_sms) as sms,
           coalesce(said.personalised_recommendation, otherwise.personalised_recommendation) as recommend
) as may
where p.run_id = (select run_id from ops.published_run) and (may.email or may.sms);

create view mart_marketing.welcome with (security_barrier) as
select * from mart_marketing.campaign where lifecycle = 'new';

create view mart_marketing.premium with (security_barrier) as
select * from mart_marketing.campaign
where spending_tier = 'high' and m_score >= 4 and lifecycle in ('active', 'returned');

create view mart_marketing.win_back with (security_barrier) as
select *, expected_spend_90d is not null and p_alive >= 0.3 as is_likely
from mart_marketing.campaign
where lifecycle in ('at_risk', 'dormant', 'lost') and m_score >= 3;

create view mart_marketing.category_campaign with (security_barrier) as
select a.value as category, c.customer_id, c.email, c.sms, a.score, a.rank, a.evidence, a.last_on, p.spending_tier, p.lifecycle
from mart_marketing.contactable as c
join profile.affinity as a on a.customer_id = c.customer_id and a.dimension = 'category'
join profile.customer_profile as p on p.customer_id = c.customer_id
where c.personalised_recommendation;

create view mart_marketing.repurchase_due with (security_barrier) as
select c.customer_id, c.email, c.sms, r.category, r.purchase_days, r.last_on, r.due_on, r.interval_days
from mart_marketing.contactable as c
join profile.repurchase as r on r.customer_id = c.customer_id
where c.personalised_recommendation and r.is_due;

do $$  -- what was said of them before
declare
    said record;
begin
    for said in
        select w.* from mart_words as w
        join pg_attribute as a on a.attrelid = ('mart_marketing.' || w.view)::regclass and a.attname = w.column
    loop
        execute 'comment on view mart_marketing.' || said.view || ' is ' || quote_literal(said.about);
        execute 'comment on column mart_marketing.' || said.view || '.' || quote_ident(said.column) || ' is '
            || quote_literal(said.words);
    end loop;
end $$;
comment on column mart_marketing.contactable.email is 'Allows marketing_email';
comment on column mart_marketing.contactable.sms is 'Allows marketing_sms';
comment on column mart_marketing.contactable.personalised_recommendation is 'Allows personalised_recommendation';
comment on column mart_marketing.contactable.ad_audience is 'Allows ad_audience';
comment on view mart_marketing.category_campaign is 'Whom to write to about a category; only of who allows personalised_recommendation, too';
comment on view mart_marketing.repurchase_due is 'Who is due to buy again from a category, a row a customer and category; only of who allows personalised_recommendation, too';

create or replace view mart_inventory.expected_demand as
with place as (
    select customer_id, value as store_id, score / sum(score) over (partition by customer_id) as share
    from profile.affinity where dimension = 'store' and score > 0
    union all
    select customer_id, home_store, 1.0
    from profile.customer_profile as p
    where home_store is not null
      and not exists (select from profile.affinity as a where a.customer_id = p.customer_id and a.dimension = 'store')
)
select w.store_id, a.value as category, count(*) as customers,
       sum(p.expected_orders_90d * coalesce(p.store_share, 1) * w.share * a.score) * 7 / 90 as expected_orders_week,
       sum(p.expected_spend_90d * coalesce(p.store_share, 1) * w.share * a.score) * 7 / 90 as expected_spend_week
from profile.served_customer as p
join place as w using (customer_id)
join profile.affinity as a on a.customer_id = p.customer_id and a.dimension = 'category'
where p.expected_orders_90d is not null and p.in_statistics
group by 1, 2
having count(*) >= 5;

create or replace view mart_inventory.substitution as
with drawn as (
    select a.customer_id, a.value as brand
    from profile.affinity as a
    join profile.served_customer as p on p.customer_id = a.customer_id
    where a.dimension = 'brand' and p.in_statistics
),
size as (select brand, count(*) as customers from drawn group by brand)
select a.brand, b.brand as other_brand, count(*) as customers, count(*)::double precision / min(s.customers) as share
from drawn as a
join drawn as b on b.customer_id = a.customer_id and b.brand <> a.brand
join size as s on s.brand = a.brand
group by 1, 2
having count(*) >= 5;

create or replace view mart_inventory.store_customers as
select home_store as store_id, lifecycle, spending_tier, count(*) as customers,
       sum(expected_spend_90d) as expected_spend_90d
from profile.served_customer
where home_store is not null and in_statistics
group by 1, 2, 3
having count(*) >= 5;

create or replace view mart_inventory.repurchase_demand as
select p.home_store as store_id, r.category, count(*) as customers_due, sum(p.p_alive) as expected_customers
from profile.repurchase as r
join profile.served_customer as p using (customer_id)
where p.home_store is not null and r.is_due and p.in_statistics
group by 1, 2
having count(*) >= 5;

-- Who withdrew since the audience was refreshed is in it no more.
create or replace view audience.member with (security_invoker) as
select m.audience, m.customer_id, m.entered_on, m.is_control
from audience.membership as m
join audience.definition as d on d.audience = m.audience
left join privacy.permission as said on said.customer_id = m.customer_id
cross join privacy.unstated as otherwise
where m.left_on is null
  and case d.purpose
      when 'service' then true
      when 'analytics' then coalesce(said.analytics, otherwise.analytics)
      when 'personalised_recommendation'
          then coalesce(said.personalised_recommendation, otherwise.personalised_recommendation)
      when 'marketing_email' then coalesce(said.marketing_email, otherwise.marketing_email)
      when 'marketing_sms' then coalesce(said.marketing_sms, otherwise.marketing_sms)
      when 'ad_audience' then coalesce(said.ad_audience, otherwise.ad_audience)
      when 'profiling_inference' then coalesce(said.profiling_inference, otherwise.profiling_inference)
      else false end;
comment on view audience.member is 'Who is in each audience now and allows its purpose at this moment';

create or replace function profile.lookalike(seed text[], n integer, purpose text default 'ad_audience')
returns table (customer_id text, similarity double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
set hnsw.iterative_scan = strict_order
set enable_sort = off  -- where there is an index, its order is wanted, however small the table
as $$
#variable_conflict use_column
declare
    night text := (select p.run_id from ops.published_run as p);
    dimensions integer;
    centre vector;
    sized text;
    nearest text;
    allowed text;
    ids text[];
    similarities double precision[];
begin
    if n is null or n < 1 or n > 1000000 then
        raise exception using message = 'n is ' || coalesce(n::text, 'null') || '; ask for 1 to 1000000 customers';
    end if;
    if not exists (select from privacy.purpose as known where known.purpose = lookalike.purpose) then
        raise exception using message = 'there is no purpose ' || coalesce(quote_literal(lookalike.purpose), 'null')
            || '; one of ' || (select string_agg(known.purpose, ', ' order by known.purpose) from privacy.purpose as known);
    end if;
    select avg(l2_normalize(e.embedding)), max(vector_dims(e.embedding)) into centre, dimensions
    from profile_store.embedding as e
    where e.run_id = night and e.customer_id = any(seed) and vector_norm(e.embedding) > 0;
    if centre is null then
        return;
    end if;
    sized := 'vector(' || dimensions || ')';
    -- The run and the dimensions are written into the query, so that Postgres looks at one partition and its index.
    nearest := 'select e.customer_id, 1 - (e.embedding::' || sized || ' <=> $1::' || sized || ') as similarity'
        || ' from profile_store.embedding as e'
        || ' where e.run_id = ' || quote_literal(night) || ' and e.customer_id <> all ($2)';
    allowed := 'coalesce((select said.' || quote_ident(lookalike.purpose) || ' from privacy.permission as said'
        || '              where said.customer_id = c.customer_id),'
        || '             (select otherwise.' || quote_ident(lookalike.purpose) || ' from privacy.unstated as otherwise))';
    -- For few look-alikes, more than are wanted are taken by the index, and each is asked what they allow.
    if n <= 1000 then
        execute 'select array_agg(customer_id order by similarity desc), array_agg(similarity order by similarity desc) from ('
            || ' select c.* from (' || nearest || ' order by e.embedding::' || sized || ' <=> $1::' || sized
            || ' limit $3 * 4 + 100) as c where ' || allowed || ' limit $3) as found'
            using centre, seed, n
            into ids, similarities;
        if cardinality(ids) = n then
            return query select * from unnest(ids, similarities);
            return;
        end if;
    end if;
    -- All of them compared: an index gives no more than it scans.
    return query execute 'select c.customer_id, c.similarity from (' || nearest || ' offset 0) as c where ' || allowed
        || ' order by c.similarity desc limit $3'
        using centre, seed, n;
end $$;
comment on function profile.lookalike(text[], integer, text) is 'The n customers most like the given ones by the cosine of their vectors to the seed''s mean, without the seed, of those who allow the purpose; empty when no seed has a vector';
create or replace function profile.lookalike(seed_audience text, n integer, purpose text default 'ad_audience')
returns table (customer_id text, similarity double precision)
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
    select l.customer_id, l.similarity
    from profile.lookalike(
        (select coalesce(array_agg(m.customer_id), '{}') from audience.member as m where m.audience = seed_audience),
        n, purpose) as l
$$;

-- The narrower views say of their columns what the wide ones say.
do $$
declare
    named record;
begin
    for named in
        select narrow.place, a.attname as name, col_description(a.attrelid, a.attnum) as words
        from (values ('profile.served_customer', 'profile.customer_profile'), ('profile.served_tag', 'profile.customer_tag'))
            as narrow (place, wide)
        join pg_attribute as a on a.attrelid = narrow.wide::regclass and a.attnum > 0
        join pg_attribute as same on same.attrelid = narrow.place::regclass and same.attname = a.attname
    loop
        execute 'comment on column ' || named.place || '.' || quote_ident(named.name) || ' is ' || quote_literal(named.words);
    end loop;
    for named in
        select a.attrelid::regclass as place, a.attname as name from pg_attribute as a
        where a.attrelid in ('mart_marketing.campaign'::regclass, 'mart_marketing.welcome'::regclass,
                             'mart_marketing.premium'::regclass, 'mart_marketing.win_back'::regclass)
          and a.attname in ('email', 'sms', 'favourite_category', 'favourite_brand', 'favourite_daypart')
    loop
        execute 'comment on column ' || named.place || '.' || quote_ident(named.name) || ' is ' || quote_literal(case named.name
            when 'email' then 'Allows marketing_email'
            when 'sms' then 'Allows marketing_sms'
            when 'favourite_category' then 'Category of the highest affinity; null unless they allow personalised_recommendation'
            when 'favourite_brand' then 'Brand of the highest affinity; null unless they allow personalised_recommendation'
            else 'When most events are; null unless they allow personalised_recommendation' end);
    end loop;
end $$;
