-- Loads the extension: without it, a login that is no superuser may not name its settings.
select '[1]'::vector;

alter table profile_store.customer_profile
    add column city_tier text,
    add column price_level double precision,
    add column favourite_store text,
    add column age_band_inferred text,
    add column age_band_confidence double precision,
    add column gender_inferred text,
    add column gender_confidence double precision,
    add column churn_probability double precision,
    add column predicted_spend_90d double precision,
    add column next_category text,
    add column next_category_probability double precision;
comment on column profile_store.customer_profile.city_tier is 'first, new_first, second or third: tier of the declared city in China by the Rising Lab of Yicai (2020); null for other cities, countries or when no city is declared';
comment on column profile_store.customer_profile.price_level is 'Mean of log(list price / median of the category) over the products of interest: 0.1 is about a tenth dearer than the middle; null when no priced product is known, or nothing was bought';
comment on column profile_store.customer_profile.favourite_store is 'Store with most receipts; null without receipts';
comment on column profile_store.customer_profile.age_band_inferred is 'Most probable age band by the profile model, never mixed with age_band; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.age_band_confidence is 'Its probability, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.gender_inferred is 'Most probable gender by the profile model, never mixed with gender; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.gender_confidence is 'Its probability, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.churn_probability is 'Probability of no purchase in the next 30 days by the profile model, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.predicted_spend_90d is 'Amount expected in the next 90 days by the profile model, in currency; expected_spend_90d is that of BG/NBD; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.next_category is 'Most probable category of the next purchase within 30 days by the profile model; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.next_category_probability is 'Its probability given a purchase, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile_store.customer_profile.lifecycle is 'prospect, new, active, returned (active again after a silence in which they counted as dormant), at_risk, dormant (neither bought nor seen for 3 to 6 of their intervals), lost (longer): by the customer''s own purchase rhythm';
comment on column profile_store.customer_profile.spending_tier is 'low, mid, high: three groups of price_level found among the customers; thirds of the average basket where no prices are known; null when nothing was bought';
create or replace view profile.customer_profile as
    select customer_id, as_of, is_known, gender, birth_date, age, age_band, region, city, member_level, home_store, joined_on, tenure_days, cards, accounts, devices, channels, first_seen_on, last_seen_on, last_purchase_on, recency_days, frequency, monetary, refunded, average_basket, store_share, views_30d, searches_30d, value_type, lifecycle, spending_tier, favourite_category, favourite_brand, segment_id, segment_name, frequency_90d, monetary_90d, frequency_365d, monetary_365d, interpurchase_days, r_score, f_score, m_score, carts_30d, return_rate, discount_share, price_sensitivity, promotion_sensitivity, favourite_daypart, aipl_stage, p_alive, expected_orders_90d, expected_spend_90d, clv_12m, clv_12m_low, clv_12m_high, city_tier, price_level, favourite_store, age_band_inferred, age_band_confidence, gender_inferred, gender_confidence, churn_probability, predicted_spend_90d, next_category, next_category_probability
    from profile_store.customer_profile
    where run_id = (select run_id from ops.published_run);
comment on column profile.customer_profile.city_tier is 'first, new_first, second or third: tier of the declared city in China by the Rising Lab of Yicai (2020); null for other cities, countries or when no city is declared';
comment on column profile.customer_profile.price_level is 'Mean of log(list price / median of the category) over the products of interest: 0.1 is about a tenth dearer than the middle; null when no priced product is known, or nothing was bought';
comment on column profile.customer_profile.favourite_store is 'Store with most receipts; null without receipts';
comment on column profile.customer_profile.age_band_inferred is 'Most probable age band by the profile model, never mixed with age_band; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.age_band_confidence is 'Its probability, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.gender_inferred is 'Most probable gender by the profile model, never mixed with gender; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.gender_confidence is 'Its probability, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.churn_probability is 'Probability of no purchase in the next 30 days by the profile model, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.predicted_spend_90d is 'Amount expected in the next 90 days by the profile model, in currency; expected_spend_90d is that of BG/NBD; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.next_category is 'Most probable category of the next purchase within 30 days by the profile model; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.next_category_probability is 'Its probability given a purchase, 0 to 1; null without consent to profiling_inference, or in a run without predictions';
comment on column profile.customer_profile.lifecycle is 'prospect, new, active, returned (active again after a silence in which they counted as dormant), at_risk, dormant (neither bought nor seen for 3 to 6 of their intervals), lost (longer): by the customer''s own purchase rhythm';
comment on column profile.customer_profile.spending_tier is 'low, mid, high: three groups of price_level found among the customers; thirds of the average basket where no prices are known; null when nothing was bought';

create table profile_store.repurchase (
    run_id text not null,
    customer_id text not null,
    category text not null,
    purchase_days integer,
    last_on date,
    interval_days double precision,
    due_on date,
    is_due boolean,
    category_interval_days double precision
) partition by list (run_id);
comment on table profile_store.repurchase is 'When a customer is due to buy again from a category that is bought again and again; categories that few people buy a second time have no rows; every kept run';
comment on column profile_store.repurchase.run_id is 'Run that made the row';
comment on column profile_store.repurchase.customer_id is 'Stable id of the customer';
comment on column profile_store.repurchase.category is 'Category as in profile.affinity';
comment on column profile_store.repurchase.purchase_days is 'Days on which they bought from it';
comment on column profile_store.repurchase.last_on is 'Last of them';
comment on column profile_store.repurchase.interval_days is 'Days between two: the customers own, drawn towards the categorys median the fewer there are';
comment on column profile_store.repurchase.due_on is 'last_on plus the interval; may lie before or after as_of';
comment on column profile_store.repurchase.is_due is 'due_on is at most 7 days ahead and at most two intervals ago';
comment on column profile_store.repurchase.category_interval_days is 'Median days between two purchase days of the categorys buyers';
create view profile.repurchase as
    select customer_id, category, purchase_days, last_on, interval_days, due_on, is_due, category_interval_days
    from profile_store.repurchase
    where run_id = (select run_id from ops.published_run);
comment on view profile.repurchase is 'When a customer is due to buy again from a category that is bought again and again; categories that few people buy a second time have no rows';
comment on column profile.repurchase.customer_id is 'Stable id of the customer';
comment on column profile.repurchase.category is 'Category as in profile.affinity';
comment on column profile.repurchase.purchase_days is 'Days on which they bought from it';
comment on column profile.repurchase.last_on is 'Last of them';
comment on column profile.repurchase.interval_days is 'Days between two: the customers own, drawn towards the categorys median the fewer there are';
comment on column profile.repurchase.due_on is 'last_on plus the interval; may lie before or after as_of';
comment on column profile.repurchase.is_due is 'due_on is at most 7 days ahead and at most two intervals ago';
comment on column profile.repurchase.category_interval_days is 'Median days between two purchase days of the categorys buyers';

create table profile_store.search_interest (
    run_id text not null,
    customer_id text not null,
    query text not null,
    rank integer,
    searches integer,
    last_on date,
    score double precision
) partition by list (run_id);
comment on table profile_store.search_interest is 'What a customer searches for: up to five queries; every kept run';
comment on column profile_store.search_interest.run_id is 'Run that made the row';
comment on column profile_store.search_interest.customer_id is 'Stable id of the customer';
comment on column profile_store.search_interest.query is 'Search query as typed';
comment on column profile_store.search_interest.rank is '1 is the strongest';
comment on column profile_store.search_interest.searches is 'How often it was searched';
comment on column profile_store.search_interest.last_on is 'Last time';
comment on column profile_store.search_interest.score is 'Share of the recency-weighted searches of the customer, 0 to 1';
create view profile.search_interest as
    select customer_id, query, rank, searches, last_on, score
    from profile_store.search_interest
    where run_id = (select run_id from ops.published_run);
comment on view profile.search_interest is 'What a customer searches for: up to five queries';
comment on column profile.search_interest.customer_id is 'Stable id of the customer';
comment on column profile.search_interest.query is 'Search query as typed';
comment on column profile.search_interest.rank is '1 is the strongest';
comment on column profile.search_interest.searches is 'How often it was searched';
comment on column profile.search_interest.last_on is 'Last time';
comment on column profile.search_interest.score is 'Share of the recency-weighted searches of the customer, 0 to 1';

-- Nights that were published before have none of these rows: empty partitions keep them whole.
do $$
declare
    night record;
    made text;
begin
    for night in
        select substring(c.relname from '^customer_profile_(.*)$') as suffix, pg_get_expr(c.relpartbound, c.oid) as bound
        from pg_inherits as i join pg_class as c on c.oid = i.inhrelid
        where i.inhparent = 'profile_store.customer_profile'::regclass
    loop
        foreach made in array array['repurchase', 'search_interest'] loop
            execute 'create table profile_store.' || quote_ident(made || '_' || night.suffix) || ' partition of profile_store.'
                || made || ' ' || night.bound;
        end loop;
    end loop;
end $$;

-- Who is dormant was lost before: what is done about the lost is done about them.
create or replace view mart_marketing.win_back as
select *, expected_spend_90d is not null and p_alive >= 0.3 as is_likely
from mart_marketing.campaign
where lifecycle in ('at_risk', 'dormant', 'lost') and m_score >= 3;
comment on view mart_marketing.win_back is 'At risk, dormant or lost, and of the upper three fifths of spending. Columns as in mart_marketing.campaign';

do $$  -- mart columns that repeat the stage say so, too
declare
    stage record;
begin
    for stage in
        select a.attrelid::regclass as place from pg_attribute as a join pg_class as c on c.oid = a.attrelid
        where a.attname = 'lifecycle' and c.relkind = 'v'
          and c.relnamespace::regnamespace::text in ('mart_marketing', 'mart_service', 'mart_inventory')
    loop
        execute 'comment on column ' || stage.place || '.lifecycle is '
            || quote_literal('prospect, new, active, returned, at_risk, dormant, lost');
    end loop;
end $$;

create view mart_marketing.repurchase_due as
select c.customer_id, c.email, c.sms, r.category, r.purchase_days, r.last_on, r.due_on, r.interval_days
from mart_marketing.contactable as c
join profile.repurchase as r using (customer_id)
where c.personalisation and r.is_due;
comment on view mart_marketing.repurchase_due is 'Who is due to buy again from a category, a row a customer and category; only with consent to personalisation, too';
comment on column mart_marketing.repurchase_due.customer_id is 'Stable id of the customer';
comment on column mart_marketing.repurchase_due.email is 'Consented to marketing by e-mail';
comment on column mart_marketing.repurchase_due.sms is 'Consented to marketing by SMS';
comment on column mart_marketing.repurchase_due.category is 'Category';
comment on column mart_marketing.repurchase_due.purchase_days is 'Days on which they bought from it';
comment on column mart_marketing.repurchase_due.last_on is 'Last of them';
comment on column mart_marketing.repurchase_due.due_on is 'When they are due';
comment on column mart_marketing.repurchase_due.interval_days is 'Days between two purchases that are expected of them';

create view mart_inventory.repurchase_demand as
select p.home_store as store_id, r.category, count(*) as customers_due, sum(p.p_alive) as expected_customers
from profile.repurchase as r
join profile.customer_profile as p using (customer_id)
where p.home_store is not null and r.is_due
group by 1, 2
having count(*) >= 5;
comment on view mart_inventory.repurchase_demand is 'How many customers of each store are due to buy again from a category; cells of fewer than five customers are left out';
comment on column mart_inventory.repurchase_demand.store_id is 'Home store of the customers';
comment on column mart_inventory.repurchase_demand.category is 'Category';
comment on column mart_inventory.repurchase_demand.customers_due is 'Customers who are due';
comment on column mart_inventory.repurchase_demand.expected_customers is 'Sum of their probabilities of still being customers; null when not known';

-- A look-alike is near the mean direction of the seed's vectors. The run and the dimensions are written into the query, so
-- that Postgres looks at one partition and may use its HNSW index.
create function profile.lookalike(seed text[], n integer, purpose text default 'personalisation')
returns table (customer_id text, similarity double precision)
language plpgsql stable security definer set search_path = pg_catalog, public, pg_temp
set hnsw.iterative_scan = strict_order  -- else who has no consent leaves gaps
as $$
declare
    night text := (select p.run_id from ops.published_run as p);
    dimensions integer;
    centre vector;
    sized text;
begin
    if n is null or n < 1 or n > 1000000 then
        raise exception using message = 'n is ' || coalesce(n::text, 'null') || '; ask for 1 to 1000000 customers';
    end if;
    select avg(l2_normalize(e.embedding)), max(vector_dims(e.embedding)) into centre, dimensions
    from profile_store.embedding as e
    where e.run_id = night and e.customer_id = any(seed) and vector_norm(e.embedding) > 0;
    if centre is null then
        return;
    end if;
    sized := 'vector(' || dimensions || ')';
    return query execute
        'select e.customer_id, 1 - (e.embedding::' || sized || ' <=> $1::' || sized || ')'
        || ' from profile_store.embedding as e'
        || ' where e.run_id = ' || quote_literal(night) || ' and e.customer_id <> all ($2)'
        || ' and exists (select from privacy.consent as c'
        || '             where c.customer_id = e.customer_id and c.purpose = $3 and c.granted)'
        || ' order by e.embedding::' || sized || ' <=> $1::' || sized || ' limit $4'
        using centre, seed, purpose, n;
end $$;
comment on function profile.lookalike(text[], integer, text) is 'The n customers most like the given ones by the cosine of their vectors to the seed''s mean, without the seed, of those who consented to the purpose; empty when no seed has a vector';

create function profile.lookalike(seed_audience text, n integer, purpose text default 'personalisation')
returns table (customer_id text, similarity double precision)
language sql stable security definer set search_path = pg_catalog, public, pg_temp
as $$
    select l.customer_id, l.similarity
    from profile.lookalike(
        (select coalesce(array_agg(m.customer_id), '{}') from audience.member as m where m.audience = seed_audience),
        n, purpose) as l
$$;
comment on function profile.lookalike(text, integer, text) is 'The same with the members of an audience as seed';
revoke execute on function profile.lookalike(text[], integer, text), profile.lookalike(text, integer, text) from public;

do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant select on mart_marketing.repurchase_due, mart_inventory.repurchase_demand to portrait_reader;
        grant select on profile.repurchase, profile.search_interest to portrait_reader;
        grant execute on function profile.lookalike(text[], integer, text), profile.lookalike(text, integer, text)
            to portrait_reader;
    end if;
    if exists (select from pg_roles where rolname = 'portrait_audience') then
        grant select on profile_store.repurchase, profile_store.search_interest to portrait_audience;
    end if;
end $$;
