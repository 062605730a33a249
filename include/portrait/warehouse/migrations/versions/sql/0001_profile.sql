create extension if not exists vector;

create schema profile_store;
create schema profile;
comment on schema profile_store is 'Profile tables of every kept run, one partition a run; read the views in profile instead';
comment on schema profile is 'The published night: what marketing, service and buyers query';

create table profile_store.customer_profile (
    run_id text not null,
    customer_id text not null,
    as_of date,
    is_known boolean,
    gender text,
    birth_date date,
    age integer,
    age_band text,
    region text,
    city text,
    member_level text,
    home_store text,
    joined_on date,
    tenure_days integer,
    cards integer,
    accounts integer,
    devices integer,
    channels text,
    first_seen_on date,
    last_seen_on date,
    last_purchase_on date,
    recency_days integer,
    frequency integer,
    monetary double precision,
    refunded double precision,
    average_basket double precision,
    store_share double precision,
    views_30d integer,
    searches_30d integer,
    value_type text,
    lifecycle text,
    spending_tier text,
    favourite_category text,
    favourite_brand text,
    segment_id integer,
    segment_name text
) partition by list (run_id);
comment on table profile_store.customer_profile is 'One row a customer: who they are, what they are worth, what they like; every kept run';
comment on column profile_store.customer_profile.run_id is 'Run that made the row';
comment on column profile_store.customer_profile.customer_id is 'Stable id of the customer';
comment on column profile_store.customer_profile.as_of is 'Business date of the profile';
comment on column profile_store.customer_profile.is_known is 'Has a card or an account; false for a device or phone that never said who it is';
comment on column profile_store.customer_profile.gender is 'Declared gender; null when not declared';
comment on column profile_store.customer_profile.birth_date is 'Declared birth date; null when missing or impossible';
comment on column profile_store.customer_profile.age is 'Age in years at as_of; null when the birth date is';
comment on column profile_store.customer_profile.age_band is 'Age in bands (18-24, 25-34, ...); null when age is';
comment on column profile_store.customer_profile.region is 'Province or country; null when not known';
comment on column profile_store.customer_profile.city is 'City; null when not known';
comment on column profile_store.customer_profile.member_level is 'Level of the membership; null for non-members';
comment on column profile_store.customer_profile.home_store is 'Store of registration, else the store bought in most; null for online-only customers';
comment on column profile_store.customer_profile.joined_on is 'Day of registration, else of the first event';
comment on column profile_store.customer_profile.tenure_days is 'Days since joined_on';
comment on column profile_store.customer_profile.cards is 'Membership cards of the customer';
comment on column profile_store.customer_profile.accounts is 'Online accounts of the customer';
comment on column profile_store.customer_profile.devices is 'Devices of the customer';
comment on column profile_store.customer_profile.channels is 'store, online or both, by what the customer did; none when nothing but registration';
comment on column profile_store.customer_profile.first_seen_on is 'First event or receipt; null when none';
comment on column profile_store.customer_profile.last_seen_on is 'Last event or receipt; null when none';
comment on column profile_store.customer_profile.last_purchase_on is 'Last purchase; null when none';
comment on column profile_store.customer_profile.recency_days is 'Days since the last purchase; null when none';
comment on column profile_store.customer_profile.frequency is 'Purchases (orders and receipts), first one included';
comment on column profile_store.customer_profile.monetary is 'Spent in total, refunds not deducted, in currency';
comment on column profile_store.customer_profile.refunded is 'Refunded in total, in currency';
comment on column profile_store.customer_profile.average_basket is 'monetary / frequency; null when none';
comment on column profile_store.customer_profile.store_share is 'Share of spending in stores, 0 to 1; null when nothing was bought';
comment on column profile_store.customer_profile.views_30d is 'Products viewed in the last 30 days';
comment on column profile_store.customer_profile.searches_30d is 'Searches in the last 30 days';
comment on column profile_store.customer_profile.value_type is 'RFM value type; null when nothing was bought';
comment on column profile_store.customer_profile.lifecycle is 'prospect, new, active, at_risk, lost: by the customers own purchase rhythm';
comment on column profile_store.customer_profile.spending_tier is 'low, mid, high: average basket by terciles of the buyers; null when nothing was bought';
comment on column profile_store.customer_profile.favourite_category is 'Category of the highest affinity; null when none';
comment on column profile_store.customer_profile.favourite_brand is 'Brand of the highest affinity; null when none';
comment on column profile_store.customer_profile.segment_id is 'Segment of the embedding; null when there is no embedding';
comment on column profile_store.customer_profile.segment_name is 'Name of the segment; null when there is none';
create view profile.customer_profile as
    select customer_id, as_of, is_known, gender, birth_date, age, age_band, region, city, member_level, home_store, joined_on, tenure_days, cards, accounts, devices, channels, first_seen_on, last_seen_on, last_purchase_on, recency_days, frequency, monetary, refunded, average_basket, store_share, views_30d, searches_30d, value_type, lifecycle, spending_tier, favourite_category, favourite_brand, segment_id, segment_name
    from profile_store.customer_profile
    where run_id = (select run_id from ops.published_run);
comment on view profile.customer_profile is 'One row a customer: who they are, what they are worth, what they like';
comment on column profile.customer_profile.customer_id is 'Stable id of the customer';
comment on column profile.customer_profile.as_of is 'Business date of the profile';
comment on column profile.customer_profile.is_known is 'Has a card or an account; false for a device or phone that never said who it is';
comment on column profile.customer_profile.gender is 'Declared gender; null when not declared';
comment on column profile.customer_profile.birth_date is 'Declared birth date; null when missing or impossible';
comment on column profile.customer_profile.age is 'Age in years at as_of; null when the birth date is';
comment on column profile.customer_profile.age_band is 'Age in bands (18-24, 25-34, ...); null when age is';
comment on column profile.customer_profile.region is 'Province or country; null when not known';
comment on column profile.customer_profile.city is 'City; null when not known';
comment on column profile.customer_profile.member_level is 'Level of the membership; null for non-members';
comment on column profile.customer_profile.home_store is 'Store of registration, else the store bought in most; null for online-only customers';
comment on column profile.customer_profile.joined_on is 'Day of registration, else of the first event';
comment on column profile.customer_profile.tenure_days is 'Days since joined_on';
comment on column profile.customer_profile.cards is 'Membership cards of the customer';
comment on column profile.customer_profile.accounts is 'Online accounts of the customer';
comment on column profile.customer_profile.devices is 'Devices of the customer';
comment on column profile.customer_profile.channels is 'store, online or both, by what the customer did; none when nothing but registration';
comment on column profile.customer_profile.first_seen_on is 'First event or receipt; null when none';
comment on column profile.customer_profile.last_seen_on is 'Last event or receipt; null when none';
comment on column profile.customer_profile.last_purchase_on is 'Last purchase; null when none';
comment on column profile.customer_profile.recency_days is 'Days since the last purchase; null when none';
comment on column profile.customer_profile.frequency is 'Purchases (orders and receipts), first one included';
comment on column profile.customer_profile.monetary is 'Spent in total, refunds not deducted, in currency';
comment on column profile.customer_profile.refunded is 'Refunded in total, in currency';
comment on column profile.customer_profile.average_basket is 'monetary / frequency; null when none';
comment on column profile.customer_profile.store_share is 'Share of spending in stores, 0 to 1; null when nothing was bought';
comment on column profile.customer_profile.views_30d is 'Products viewed in the last 30 days';
comment on column profile.customer_profile.searches_30d is 'Searches in the last 30 days';
comment on column profile.customer_profile.value_type is 'RFM value type; null when nothing was bought';
comment on column profile.customer_profile.lifecycle is 'prospect, new, active, at_risk, lost: by the customers own purchase rhythm';
comment on column profile.customer_profile.spending_tier is 'low, mid, high: average basket by terciles of the buyers; null when nothing was bought';
comment on column profile.customer_profile.favourite_category is 'Category of the highest affinity; null when none';
comment on column profile.customer_profile.favourite_brand is 'Brand of the highest affinity; null when none';
comment on column profile.customer_profile.segment_id is 'Segment of the embedding; null when there is no embedding';
comment on column profile.customer_profile.segment_name is 'Name of the segment; null when there is none';

create table profile_store.rfm (
    run_id text not null,
    customer_id text not null,
    first_purchase_on date,
    last_purchase_on date,
    recency_days integer,
    frequency integer,
    monetary double precision,
    frequency_30d integer,
    monetary_30d double precision,
    frequency_90d integer,
    monetary_90d double precision,
    frequency_365d integer,
    monetary_365d double precision,
    interpurchase_days double precision,
    r_score integer,
    f_score integer,
    m_score integer,
    value_type text
) partition by list (run_id);
comment on table profile_store.rfm is 'Recency, frequency and monetary value, one row a customer who bought; every kept run';
comment on column profile_store.rfm.run_id is 'Run that made the row';
comment on column profile_store.rfm.customer_id is 'Stable id of the customer';
comment on column profile_store.rfm.first_purchase_on is 'First purchase';
comment on column profile_store.rfm.last_purchase_on is 'Last purchase';
comment on column profile_store.rfm.recency_days is 'Days since the last purchase';
comment on column profile_store.rfm.frequency is 'Purchases, first one included';
comment on column profile_store.rfm.monetary is 'Spent in total, in currency';
comment on column profile_store.rfm.frequency_30d is 'Purchases in the last 30 days';
comment on column profile_store.rfm.monetary_30d is 'Spent in the last 30 days, in currency';
comment on column profile_store.rfm.frequency_90d is 'Purchases in the last 90 days';
comment on column profile_store.rfm.monetary_90d is 'Spent in the last 90 days, in currency';
comment on column profile_store.rfm.frequency_365d is 'Purchases in the last 365 days';
comment on column profile_store.rfm.monetary_365d is 'Spent in the last 365 days, in currency';
comment on column profile_store.rfm.interpurchase_days is 'Mean days between purchases; null with one purchase day';
comment on column profile_store.rfm.r_score is 'Recency quintile among buyers, 5 is the most recent';
comment on column profile_store.rfm.f_score is 'Frequency quintile among buyers, 5 is the most frequent';
comment on column profile_store.rfm.m_score is 'Monetary quintile among buyers, 5 is the highest';
comment on column profile_store.rfm.value_type is 'One of eight value types by each score above or below the buyers mean';
create view profile.rfm as
    select customer_id, first_purchase_on, last_purchase_on, recency_days, frequency, monetary, frequency_30d, monetary_30d, frequency_90d, monetary_90d, frequency_365d, monetary_365d, interpurchase_days, r_score, f_score, m_score, value_type
    from profile_store.rfm
    where run_id = (select run_id from ops.published_run);
comment on view profile.rfm is 'Recency, frequency and monetary value, one row a customer who bought';
comment on column profile.rfm.customer_id is 'Stable id of the customer';
comment on column profile.rfm.first_purchase_on is 'First purchase';
comment on column profile.rfm.last_purchase_on is 'Last purchase';
comment on column profile.rfm.recency_days is 'Days since the last purchase';
comment on column profile.rfm.frequency is 'Purchases, first one included';
comment on column profile.rfm.monetary is 'Spent in total, in currency';
comment on column profile.rfm.frequency_30d is 'Purchases in the last 30 days';
comment on column profile.rfm.monetary_30d is 'Spent in the last 30 days, in currency';
comment on column profile.rfm.frequency_90d is 'Purchases in the last 90 days';
comment on column profile.rfm.monetary_90d is 'Spent in the last 90 days, in currency';
comment on column profile.rfm.frequency_365d is 'Purchases in the last 365 days';
comment on column profile.rfm.monetary_365d is 'Spent in the last 365 days, in currency';
comment on column profile.rfm.interpurchase_days is 'Mean days between purchases; null with one purchase day';
comment on column profile.rfm.r_score is 'Recency quintile among buyers, 5 is the most recent';
comment on column profile.rfm.f_score is 'Frequency quintile among buyers, 5 is the most frequent';
comment on column profile.rfm.m_score is 'Monetary quintile among buyers, 5 is the highest';
comment on column profile.rfm.value_type is 'One of eight value types by each score above or below the buyers mean';

create table profile_store.affinity (
    run_id text not null,
    customer_id text not null,
    dimension text not null,
    value text not null,
    rank integer,
    score double precision,
    evidence integer,
    last_on date
) partition by list (run_id);
comment on table profile_store.affinity is 'What a customer is drawn to, one row a customer, dimension and value; every kept run';
comment on column profile_store.affinity.run_id is 'Run that made the row';
comment on column profile_store.affinity.customer_id is 'Stable id of the customer';
comment on column profile_store.affinity.dimension is 'category or brand';
comment on column profile_store.affinity.value is 'Name of the category or brand';
comment on column profile_store.affinity.rank is '1 is the strongest within the dimension';
comment on column profile_store.affinity.score is 'Share of the customers recency-weighted interest, 0 to 1';
comment on column profile_store.affinity.evidence is 'Events and purchases behind it';
comment on column profile_store.affinity.last_on is 'Last of them';
create view profile.affinity as
    select customer_id, dimension, value, rank, score, evidence, last_on
    from profile_store.affinity
    where run_id = (select run_id from ops.published_run);
comment on view profile.affinity is 'What a customer is drawn to, one row a customer, dimension and value';
comment on column profile.affinity.customer_id is 'Stable id of the customer';
comment on column profile.affinity.dimension is 'category or brand';
comment on column profile.affinity.value is 'Name of the category or brand';
comment on column profile.affinity.rank is '1 is the strongest within the dimension';
comment on column profile.affinity.score is 'Share of the customers recency-weighted interest, 0 to 1';
comment on column profile.affinity.evidence is 'Events and purchases behind it';
comment on column profile.affinity.last_on is 'Last of them';

create table profile_store.segment (
    run_id text not null,
    customer_id text not null,
    segment_id integer,
    segment_name text,
    distance double precision
) partition by list (run_id);
comment on table profile_store.segment is 'Groups of customers with alike embeddings; every kept run';
comment on column profile_store.segment.run_id is 'Run that made the row';
comment on column profile_store.segment.customer_id is 'Stable id of the customer';
comment on column profile_store.segment.segment_id is 'Number of the segment, matched to last nights';
comment on column profile_store.segment.segment_name is 'What distinguishes it';
comment on column profile_store.segment.distance is 'Distance to the segments centre, in the embeddings space';
create view profile.segment as
    select customer_id, segment_id, segment_name, distance
    from profile_store.segment
    where run_id = (select run_id from ops.published_run);
comment on view profile.segment is 'Groups of customers with alike embeddings';
comment on column profile.segment.customer_id is 'Stable id of the customer';
comment on column profile.segment.segment_id is 'Number of the segment, matched to last nights';
comment on column profile.segment.segment_name is 'What distinguishes it';
comment on column profile.segment.distance is 'Distance to the segments centre, in the embeddings space';

create table profile_store.embedding (
    run_id text not null,
    customer_id text not null,
    model_version text,
    embedding vector
) partition by list (run_id);
comment on table profile_store.embedding is 'The autoencoders vector of a customer; every kept run';
comment on column profile_store.embedding.run_id is 'Run that made the row';
comment on column profile_store.embedding.customer_id is 'Stable id of the customer';
comment on column profile_store.embedding.model_version is 'ops.model_version that made it';
comment on column profile_store.embedding.embedding is 'The vector; compare with <=> (cosine distance)';
create view profile.embedding as
    select customer_id, model_version, embedding
    from profile_store.embedding
    where run_id = (select run_id from ops.published_run);
comment on view profile.embedding is 'The autoencoders vector of a customer';
comment on column profile.embedding.customer_id is 'Stable id of the customer';
comment on column profile.embedding.model_version is 'ops.model_version that made it';
comment on column profile.embedding.embedding is 'The vector; compare with <=> (cosine distance)';

create table profile_store.recommendation (
    run_id text not null,
    customer_id text not null,
    kind text not null,
    rank integer not null,
    sku text,
    product_name text,
    score double precision,
    model_version text
) partition by list (run_id);
comment on table profile_store.recommendation is 'What to offer a customer; every kept run';
comment on column profile_store.recommendation.run_id is 'Run that made the row';
comment on column profile_store.recommendation.customer_id is 'Stable id of the customer';
comment on column profile_store.recommendation.kind is 'new: not bought before; again: bought before and due';
comment on column profile_store.recommendation.rank is '1 is the best';
comment on column profile_store.recommendation.sku is 'Product';
comment on column profile_store.recommendation.product_name is 'Its name; null when the product file lacks it';
comment on column profile_store.recommendation.score is 'Score of the model; comparable within one customer and kind only';
comment on column profile_store.recommendation.model_version is 'ops.model_version that made it';
create view profile.recommendation as
    select customer_id, kind, rank, sku, product_name, score, model_version
    from profile_store.recommendation
    where run_id = (select run_id from ops.published_run);
comment on view profile.recommendation is 'What to offer a customer';
comment on column profile.recommendation.customer_id is 'Stable id of the customer';
comment on column profile.recommendation.kind is 'new: not bought before; again: bought before and due';
comment on column profile.recommendation.rank is '1 is the best';
comment on column profile.recommendation.sku is 'Product';
comment on column profile.recommendation.product_name is 'Its name; null when the product file lacks it';
comment on column profile.recommendation.score is 'Score of the model; comparable within one customer and kind only';
comment on column profile.recommendation.model_version is 'ops.model_version that made it';
