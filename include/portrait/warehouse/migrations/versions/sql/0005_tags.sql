alter table profile_store.customer_profile
    add column frequency_90d integer,
    add column monetary_90d double precision,
    add column frequency_365d integer,
    add column monetary_365d double precision,
    add column interpurchase_days double precision,
    add column r_score integer,
    add column f_score integer,
    add column m_score integer,
    add column carts_30d integer,
    add column return_rate double precision,
    add column discount_share double precision,
    add column price_sensitivity text,
    add column promotion_sensitivity text,
    add column favourite_daypart text,
    add column aipl_stage text,
    add column p_alive double precision,
    add column expected_orders_90d double precision,
    add column expected_spend_90d double precision,
    add column clv_12m double precision,
    add column clv_12m_low double precision,
    add column clv_12m_high double precision;
comment on column profile_store.customer_profile.lifecycle is 'prospect, new, active, returned, at_risk, lost: by the customers own purchase rhythm';
comment on column profile_store.customer_profile.frequency_90d is 'Purchases in the last 90 days; 0 when none';
comment on column profile_store.customer_profile.monetary_90d is 'Spent in the last 90 days, in currency; 0 when nothing';
comment on column profile_store.customer_profile.frequency_365d is 'Purchases in the last 365 days; 0 when none';
comment on column profile_store.customer_profile.monetary_365d is 'Spent in the last 365 days, in currency; 0 when nothing';
comment on column profile_store.customer_profile.interpurchase_days is 'Mean days between purchase days; null with fewer than two';
comment on column profile_store.customer_profile.r_score is 'Recency quintile among buyers, 5 is the most recent; null when nothing was bought';
comment on column profile_store.customer_profile.f_score is 'Frequency quintile among buyers, 5 is the most frequent; null when nothing was bought';
comment on column profile_store.customer_profile.m_score is 'Monetary quintile among buyers, 5 is the highest; null when nothing was bought';
comment on column profile_store.customer_profile.carts_30d is 'Products put into the cart in the last 30 days; 0 when none';
comment on column profile_store.customer_profile.return_rate is 'Refunded / spent, 0 to 1; null when nothing was spent or the features lack it';
comment on column profile_store.customer_profile.discount_share is 'Discounts / (discounts + paid) of receipt lines, 0 to 1; null when no discount is known';
comment on column profile_store.customer_profile.price_sensitivity is 'low, mid, high: thirds of the mean price tier bought, the cheapest tiers are high; null when no tier is known';
comment on column profile_store.customer_profile.promotion_sensitivity is 'low, mid, high: thirds of discount_share; null when that is';
comment on column profile_store.customer_profile.favourite_daypart is 'night, morning, afternoon or evening: when most events are; null when no hour is known';
comment on column profile_store.customer_profile.aipl_stage is 'aware, interested, purchased or loyal: the last year by Alibaba''s AIPL; null for who was never seen';
comment on column profile_store.customer_profile.p_alive is 'Probability of still being a customer, 0 to 1, by BG/NBD (1 after a single purchase day); null when nothing was bought or too few buyers came back to learn from';
comment on column profile_store.customer_profile.expected_orders_90d is 'Purchase days expected in the next 90 days, by BG/NBD; null when p_alive is';
comment on column profile_store.customer_profile.expected_spend_90d is 'Amount expected in the next 90 days, in currency, refunds deducted, by BG/NBD and Gamma-Gamma; null when p_alive is';
comment on column profile_store.customer_profile.clv_12m is 'Amount expected in the next 365 days, not discounted, in currency; null when p_alive is';
comment on column profile_store.customer_profile.clv_12m_low is '10th percentile of what the next 365 days bring, in currency; null when p_alive is';
comment on column profile_store.customer_profile.clv_12m_high is '90th percentile of it; null when p_alive is';
create or replace view profile.customer_profile as
    select customer_id, as_of, is_known, gender, birth_date, age, age_band, region, city, member_level, home_store, joined_on, tenure_days, cards, accounts, devices, channels, first_seen_on, last_seen_on, last_purchase_on, recency_days, frequency, monetary, refunded, average_basket, store_share, views_30d, searches_30d, value_type, lifecycle, spending_tier, favourite_category, favourite_brand, segment_id, segment_name, frequency_90d, monetary_90d, frequency_365d, monetary_365d, interpurchase_days, r_score, f_score, m_score, carts_30d, return_rate, discount_share, price_sensitivity, promotion_sensitivity, favourite_daypart, aipl_stage, p_alive, expected_orders_90d, expected_spend_90d, clv_12m, clv_12m_low, clv_12m_high
    from profile_store.customer_profile
    where run_id = (select run_id from ops.published_run);
comment on column profile.customer_profile.lifecycle is 'prospect, new, active, returned (active again after a silence in which they counted as lost), at_risk, lost: by the customers own purchase rhythm';
comment on column profile.customer_profile.frequency_90d is 'Purchases in the last 90 days; 0 when none';
comment on column profile.customer_profile.monetary_90d is 'Spent in the last 90 days, in currency; 0 when nothing';
comment on column profile.customer_profile.frequency_365d is 'Purchases in the last 365 days; 0 when none';
comment on column profile.customer_profile.monetary_365d is 'Spent in the last 365 days, in currency; 0 when nothing';
comment on column profile.customer_profile.interpurchase_days is 'Mean days between purchase days; null with fewer than two';
comment on column profile.customer_profile.r_score is 'Recency quintile among buyers, 5 is the most recent; null when nothing was bought';
comment on column profile.customer_profile.f_score is 'Frequency quintile among buyers, 5 is the most frequent; null when nothing was bought';
comment on column profile.customer_profile.m_score is 'Monetary quintile among buyers, 5 is the highest; null when nothing was bought';
comment on column profile.customer_profile.carts_30d is 'Products put into the cart in the last 30 days; 0 when none';
comment on column profile.customer_profile.return_rate is 'Refunded / spent, 0 to 1; null when nothing was spent or the features lack it';
comment on column profile.customer_profile.discount_share is 'Discounts / (discounts + paid) of receipt lines, 0 to 1; null when no discount is known';
comment on column profile.customer_profile.price_sensitivity is 'low, mid, high: thirds of the mean price tier bought, the cheapest tiers are high; null when no tier is known';
comment on column profile.customer_profile.promotion_sensitivity is 'low, mid, high: thirds of discount_share; null when that is';
comment on column profile.customer_profile.favourite_daypart is 'night, morning, afternoon or evening: when most events are; null when no hour is known';
comment on column profile.customer_profile.aipl_stage is 'aware, interested, purchased or loyal: the last year by Alibaba''s AIPL; null for who was never seen';
comment on column profile.customer_profile.p_alive is 'Probability of still being a customer, 0 to 1, by BG/NBD (1 after a single purchase day); null when nothing was bought or too few buyers came back to learn from';
comment on column profile.customer_profile.expected_orders_90d is 'Purchase days expected in the next 90 days, by BG/NBD; null when p_alive is';
comment on column profile.customer_profile.expected_spend_90d is 'Amount expected in the next 90 days, in currency, refunds deducted, by BG/NBD and Gamma-Gamma; null when p_alive is';
comment on column profile.customer_profile.clv_12m is 'Amount expected in the next 365 days, not discounted, in currency; null when p_alive is';
comment on column profile.customer_profile.clv_12m_low is '10th percentile of what the next 365 days bring, in currency; null when p_alive is';
comment on column profile.customer_profile.clv_12m_high is '90th percentile of it; null when p_alive is';

create table profile_store.customer_value (
    run_id text not null,
    customer_id text not null,
    purchase_days integer,
    p_alive double precision,
    expected_orders_90d double precision,
    expected_spend_90d double precision,
    regression_spend_90d double precision,
    clv_12m double precision,
    clv_12m_low double precision,
    clv_12m_high double precision
) partition by list (run_id);
comment on table profile_store.customer_value is 'What a customer who bought will be worth; every kept run';
comment on column profile_store.customer_value.run_id is 'Run that made the row';
comment on column profile_store.customer_value.customer_id is 'Stable id of the customer';
comment on column profile_store.customer_value.purchase_days is 'Days with a purchase, the first included';
comment on column profile_store.customer_value.p_alive is 'Probability of still being a customer, 0 to 1, by BG/NBD (1 after a single purchase day); null when too few buyers came back to learn from';
comment on column profile_store.customer_value.expected_orders_90d is 'Purchase days expected in the next 90 days, by BG/NBD; null when p_alive is';
comment on column profile_store.customer_value.expected_spend_90d is 'Amount expected in the next 90 days, in currency, refunds deducted, by BG/NBD and Gamma-Gamma; null when p_alive is';
comment on column profile_store.customer_value.regression_spend_90d is 'The same by a plain linear regression on earlier spending, as a baseline; null with fewer than 50 customers to learn from';
comment on column profile_store.customer_value.clv_12m is 'Amount expected in the next 365 days, not discounted, in currency; null when p_alive is';
comment on column profile_store.customer_value.clv_12m_low is '10th percentile of what the next 365 days bring, in currency; null when p_alive is';
comment on column profile_store.customer_value.clv_12m_high is '90th percentile of it; null when p_alive is';
create view profile.customer_value as
    select customer_id, purchase_days, p_alive, expected_orders_90d, expected_spend_90d, regression_spend_90d, clv_12m, clv_12m_low, clv_12m_high
    from profile_store.customer_value
    where run_id = (select run_id from ops.published_run);
comment on view profile.customer_value is 'What a customer who bought will be worth';
comment on column profile.customer_value.customer_id is 'Stable id of the customer';
comment on column profile.customer_value.purchase_days is 'Days with a purchase, the first included';
comment on column profile.customer_value.p_alive is 'Probability of still being a customer, 0 to 1, by BG/NBD (1 after a single purchase day); null when too few buyers came back to learn from';
comment on column profile.customer_value.expected_orders_90d is 'Purchase days expected in the next 90 days, by BG/NBD; null when p_alive is';
comment on column profile.customer_value.expected_spend_90d is 'Amount expected in the next 90 days, in currency, refunds deducted, by BG/NBD and Gamma-Gamma; null when p_alive is';
comment on column profile.customer_value.regression_spend_90d is 'The same by a plain linear regression on earlier spending, as a baseline; null with fewer than 50 customers to learn from';
comment on column profile.customer_value.clv_12m is 'Amount expected in the next 365 days, not discounted, in currency; null when p_alive is';
comment on column profile.customer_value.clv_12m_low is '10th percentile of what the next 365 days bring, in currency; null when p_alive is';
comment on column profile.customer_value.clv_12m_high is '90th percentile of it; null when p_alive is';

create table profile_store.customer_tag (
    run_id text not null,
    customer_id text not null,
    tag text not null,
    value text,
    reason text
) partition by list (run_id);
comment on table profile_store.customer_tag is 'The tags of a customer, each with its reason, one row a customer and tag; every kept run';
comment on column profile_store.customer_tag.run_id is 'Run that made the row';
comment on column profile_store.customer_tag.customer_id is 'Stable id of the customer';
comment on column profile_store.customer_tag.tag is 'Code of the tag, see profile.tag_definition';
comment on column profile_store.customer_tag.value is 'true for a condition, else the value as text; unknown where the null policy keeps it';
comment on column profile_store.customer_tag.reason is 'What the tag''s columns say of the customer: recency_days = 9, frequency = 5';
create view profile.customer_tag as
    select customer_id, tag, value, reason
    from profile_store.customer_tag
    where run_id = (select run_id from ops.published_run);
comment on view profile.customer_tag is 'The tags of a customer, each with its reason, one row a customer and tag';
comment on column profile.customer_tag.customer_id is 'Stable id of the customer';
comment on column profile.customer_tag.tag is 'Code of the tag, see profile.tag_definition';
comment on column profile.customer_tag.value is 'true for a condition, else the value as text; unknown where the null policy keeps it';
comment on column profile.customer_tag.reason is 'What the tag''s columns say of the customer: recency_days = 9, frequency = 5';

create table profile_store.tag_definition (
    run_id text not null,
    tag text not null,
    version integer,
    type text,
    name_en text,
    name_zh text,
    description_en text,
    description_zh text,
    expression text,
    owner text,
    purpose text,
    null_policy text
) partition by list (run_id);
comment on table profile_store.tag_definition is 'What each tag means, as it was defined in tags.yaml when the night was made; every kept run';
comment on column profile_store.tag_definition.run_id is 'Run that made the row';
comment on column profile_store.tag_definition.tag is 'Code, its name in SQL';
comment on column profile_store.tag_definition.version is 'Version of the definition';
comment on column profile_store.tag_definition.type is 'attribute, statistical, rule or predictive';
comment on column profile_store.tag_definition.name_en is 'Name in English';
comment on column profile_store.tag_definition.name_zh is 'Name in Chinese';
comment on column profile_store.tag_definition.description_en is 'What it says, in English';
comment on column profile_store.tag_definition.description_zh is 'What it says, in Chinese';
comment on column profile_store.tag_definition.expression is 'SQL over the columns of profile.customer_profile';
comment on column profile_store.tag_definition.owner is 'Who answers for it';
comment on column profile_store.tag_definition.purpose is 'What it is for';
comment on column profile_store.tag_definition.null_policy is 'omit: no row where the expression is null; unknown: the value unknown';
create view profile.tag_definition as
    select tag, version, type, name_en, name_zh, description_en, description_zh, expression, owner, purpose, null_policy
    from profile_store.tag_definition
    where run_id = (select run_id from ops.published_run);
comment on view profile.tag_definition is 'What each tag means, as it was defined in tags.yaml when the night was made';
comment on column profile.tag_definition.tag is 'Code, its name in SQL';
comment on column profile.tag_definition.version is 'Version of the definition';
comment on column profile.tag_definition.type is 'attribute, statistical, rule or predictive';
comment on column profile.tag_definition.name_en is 'Name in English';
comment on column profile.tag_definition.name_zh is 'Name in Chinese';
comment on column profile.tag_definition.description_en is 'What it says, in English';
comment on column profile.tag_definition.description_zh is 'What it says, in Chinese';
comment on column profile.tag_definition.expression is 'SQL over the columns of profile.customer_profile';
comment on column profile.tag_definition.owner is 'Who answers for it';
comment on column profile.tag_definition.purpose is 'What it is for';
comment on column profile.tag_definition.null_policy is 'omit: no row where the expression is null; unknown: the value unknown';

-- Nights that were published before have no tags and values: empty partitions keep them whole, to show and to roll back to.
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
        foreach made in array array['customer_value', 'customer_tag', 'tag_definition'] loop
            execute 'create table profile_store.' || quote_ident(made || '_' || night.suffix) || ' partition of profile_store.'
                || made || ' ' || night.bound;
        end loop;
    end loop;
end $$;

create table ops.tag_coverage (
    run_id text not null references ops.run on delete cascade,
    tag text not null,
    version integer not null,
    customers bigint not null,
    coverage double precision not null,
    primary key (run_id, tag)
);
comment on table ops.tag_coverage is 'How many customers each tag says something of, a night';
comment on column ops.tag_coverage.run_id is 'Run';
comment on column ops.tag_coverage.tag is 'Code of the tag';
comment on column ops.tag_coverage.version is 'Version of its definition';
comment on column ops.tag_coverage.customers is 'Customers with a row';
comment on column ops.tag_coverage.coverage is 'Their share of all customers, 0 to 1';

create table ops.tag_distribution (
    run_id text not null references ops.run on delete cascade,
    tag text not null,
    value text not null,
    customers bigint not null,
    primary key (run_id, tag, value)
);
comment on table ops.tag_distribution is 'The 50 most frequent values of each tag, a night';
comment on column ops.tag_distribution.run_id is 'Run';
comment on column ops.tag_distribution.tag is 'Code of the tag';
comment on column ops.tag_distribution.value is 'Value';
comment on column ops.tag_distribution.customers is 'Customers with it';

create table ops.value_model (
    run_id text not null references ops.run on delete cascade,
    parameter text not null,
    value double precision not null,
    primary key (run_id, parameter)
);
comment on table ops.value_model is 'What the value models learned from a night''s buyers; no row when too few came back';
comment on column ops.value_model.run_id is 'Run';
comment on column ops.value_model.parameter is 'bg_nbd_r, _alpha (weeks), _a, _b; gamma_gamma_p, _q, _v (currency); buyers, repeat_buyers';
comment on column ops.value_model.value is 'Its value';

do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant select on ops.tag_coverage, ops.tag_distribution, ops.value_model to portrait_reader;
    end if;
end $$;
