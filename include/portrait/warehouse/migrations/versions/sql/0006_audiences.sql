create schema if not exists privacy;
comment on schema privacy is 'What each customer allowed; missing means no';

create view privacy.consent as
select distinct on (owner.customer_id, stated.purpose)
       owner.customer_id, stated.purpose, stated.granted, stated.occurred_at as stated_at, stated.source
from (
    select purpose, granted, occurred_at, source, named.kind, named.value
    from raw.consent_event
    cross join lateral (
        values ('card', card_hash), ('account', account_id), ('phone', phone_hash), ('email', email_hash)
    ) as named (kind, value)
    where named.value is not null
) as stated
join identity.identifier as known on known.kind = stated.kind and known.value = stated.value
join identity.assignment as owner on owner.identifier_id = known.identifier_id and owner.valid_to is null
order by owner.customer_id, stated.purpose, stated.occurred_at desc, stated.granted;
comment on view privacy.consent is 'The latest statement of each customer for each purpose, by any of their identifiers; no row means no. Of two at the same instant the withdrawal counts';
comment on column privacy.consent.customer_id is 'Stable id of the customer';
comment on column privacy.consent.purpose is 'What the data may be used for: email_marketing, sms_marketing, personalisation, analytics, or the retailer''s own';
comment on column privacy.consent.granted is 'true given, false withdrawn';
comment on column privacy.consent.stated_at is 'When it was stated';
comment on column privacy.consent.source is 'Source of the statement';

create schema audience;
comment on schema audience is 'Groups of customers for a purpose: who is in them, since when, and what was sent where';

create table audience.definition (
    audience text primary key,
    name_en text not null,
    name_zh text not null,
    condition text not null,
    purpose text not null,
    channel text not null,
    owner text not null,
    control_share double precision not null,
    cap_times integer,
    cap_days integer,
    destination text not null,
    in_use boolean not null,
    defined_for date not null
);
comment on table audience.definition is 'The audiences of audiences.yaml as they were used last';
comment on column audience.definition.audience is 'Code of the audience';
comment on column audience.definition.name_en is 'Name in English';
comment on column audience.definition.name_zh is 'Name in Chinese';
comment on column audience.definition.condition is 'SQL condition over profile.customer_profile';
comment on column audience.definition.purpose is 'What it is for; members without consent for it are left out, only service needs none';
comment on column audience.definition.channel is 'By what the members are reached';
comment on column audience.definition.owner is 'Who answers for it';
comment on column audience.definition.control_share is 'Share of the members that is held back, 0 to 1';
comment on column audience.definition.cap_times is 'Most exports of a customer to the channel within cap_days; null without a cap';
comment on column audience.definition.cap_days is 'Days of the cap';
comment on column audience.definition.destination is 'csv, parquet, table or webhook';
comment on column audience.definition.in_use is 'false when audiences.yaml has it no more';
comment on column audience.definition.defined_for is 'Business date it was used for last';

create table audience.membership (
    audience text not null,
    customer_id text not null,
    entered_on date not null,
    left_on date,
    is_control boolean not null,
    primary key (audience, customer_id, entered_on),
    check (left_on > entered_on)
);
create unique index one_stay_at_a_time on audience.membership (audience, customer_id) where left_on is null;
create index membership_customer on audience.membership (customer_id);
comment on table audience.membership is 'Who is or was in an audience, one row a stay';
comment on column audience.membership.audience is 'Code of the audience';
comment on column audience.membership.customer_id is 'Stable id of the customer';
comment on column audience.membership.entered_on is 'Business date of the first night in it';
comment on column audience.membership.left_on is 'Business date of the first night not in it any more; null while in it';
comment on column audience.membership.is_control is 'Held back to measure against: never exported';

create view audience.member as
select audience, customer_id, entered_on, is_control from audience.membership where left_on is null;
comment on view audience.member is 'Who is in each audience now';
comment on column audience.member.audience is 'Code of the audience';
comment on column audience.member.customer_id is 'Stable id of the customer';
comment on column audience.member.entered_on is 'Business date of the first night in it';
comment on column audience.member.is_control is 'Held back to measure against: never exported';

create table audience.size_daily (
    audience text not null,
    as_of date not null,
    run_id text not null,
    members bigint not null,
    control bigint not null,
    without_consent bigint not null,
    entered bigint not null,
    left_it bigint not null,
    primary key (audience, as_of)
);
comment on table audience.size_daily is 'Size of each audience, a night';
comment on column audience.size_daily.audience is 'Code of the audience';
comment on column audience.size_daily.as_of is 'Business date';
comment on column audience.size_daily.run_id is 'Run whose profiles were asked';
comment on column audience.size_daily.members is 'Members with consent, the control group included';
comment on column audience.size_daily.control is 'Members in the control group';
comment on column audience.size_daily.without_consent is 'Customers who fulfil the condition and are left out for want of consent';
comment on column audience.size_daily.entered is 'Members who were not in it the night before';
comment on column audience.size_daily.left_it is 'Members of the night before who are not in it any more';

create table audience.overlap (
    as_of date not null,
    audience_a text not null,
    audience_b text not null,
    customers bigint not null,
    jaccard double precision not null,
    primary key (as_of, audience_a, audience_b),
    check (audience_a < audience_b)
);
comment on table audience.overlap is 'Customers that two audiences share, a night; pairs without any have no row';
comment on column audience.overlap.as_of is 'Business date';
comment on column audience.overlap.audience_a is 'First audience by code';
comment on column audience.overlap.audience_b is 'Second audience';
comment on column audience.overlap.customers is 'Members of both';
comment on column audience.overlap.jaccard is 'Members of both / members of either, 0 to 1';

create table audience.export_log (
    export_id bigint generated always as identity primary key,
    audience text not null,
    as_of date not null,
    run_id text not null,
    purpose text not null,
    channel text not null,
    format text not null check (format in ('csv', 'parquet', 'table', 'webhook')),
    target text not null,
    idempotency_key text not null unique,
    customers bigint not null,
    held_back bigint not null,
    capped bigint not null,
    batches integer not null default 0,
    batches_sent integer not null default 0,
    status text not null check (status in ('running', 'sent', 'failed')),
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    error text
);
create index export_log_channel on audience.export_log (channel, as_of);
comment on table audience.export_log is 'Every export of an audience: what went where, and whether it arrived';
comment on column audience.export_log.export_id is 'Number of the export';
comment on column audience.export_log.audience is 'Code of the audience';
comment on column audience.export_log.as_of is 'Business date of the members';
comment on column audience.export_log.run_id is 'Run they were found in';
comment on column audience.export_log.purpose is 'What it was for';
comment on column audience.export_log.channel is 'By what they are reached';
comment on column audience.export_log.format is 'csv, parquet, table or webhook';
comment on column audience.export_log.target is 'File below the workspace''s folder, table, or address without its query';
comment on column audience.export_log.idempotency_key is 'The same for every try of the same export: a receiver can tell it from a new one';
comment on column audience.export_log.customers is 'Customers in it';
comment on column audience.export_log.held_back is 'Members of the control group, not in it';
comment on column audience.export_log.capped is 'Members left out by the frequency cap, or because they withdrew consent since the audience was refreshed';
comment on column audience.export_log.batches is 'Batches of a webhook';
comment on column audience.export_log.batches_sent is 'of which the receiver took so many';
comment on column audience.export_log.status is 'running, sent or failed; a failed export goes on where it stopped';
comment on column audience.export_log.started_at is 'When it was started';
comment on column audience.export_log.finished_at is 'When it ended; null while running';
comment on column audience.export_log.error is 'Why it failed; null otherwise';

create table audience.exported (
    export_id bigint not null references audience.export_log on delete cascade,
    customer_id text not null,
    primary key (export_id, customer_id)
);
create index exported_customer on audience.exported (customer_id);
comment on table audience.exported is 'Who was in each export';
comment on column audience.exported.export_id is 'Export';
comment on column audience.exported.customer_id is 'Stable id of the customer';

create table audience.delivery (
    audience text not null,
    customer_id text not null,
    as_of date not null,
    export_id bigint not null,
    primary key (audience, customer_id)
);
comment on table audience.delivery is 'The last export of audiences whose destination is a table';
comment on column audience.delivery.audience is 'Code of the audience';
comment on column audience.delivery.customer_id is 'Stable id of the customer';
comment on column audience.delivery.as_of is 'Business date of the members';
comment on column audience.delivery.export_id is 'Export that wrote the row';

do $$
begin
    if not exists (select from pg_roles where rolname = 'portrait_audience') then
        create role portrait_audience nologin;
    end if;
exception when insufficient_privilege or duplicate_object or unique_violation then
    raise notice 'role portrait_audience was not created: ask the server''s owner for it';
end $$;

-- What the condition of an audience may read: profiles and consent. Neither raw nor pii, and nothing to write.
do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_audience') then
        begin
            execute 'grant portrait_audience to ' || quote_ident(current_user);
        exception when insufficient_privilege then
            raise notice 'portrait_audience was not granted to this login: ask the server''s owner for it';
        end;
        grant usage on schema profile, profile_store, privacy to portrait_audience;
        grant select on all tables in schema profile, profile_store to portrait_audience;
        alter default privileges in schema profile grant select on tables to portrait_audience;
        grant select on privacy.consent to portrait_audience;
    end if;
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant usage on schema audience to portrait_reader;
        grant select on all tables in schema audience to portrait_reader;
    end if;
end $$;

create function audience.is_control(audience text, customer_id text, share double precision)
returns boolean language sql immutable parallel safe
return ('x' || substr(md5(audience || ':' || customer_id), 1, 8))::bit(32)::bigint < share * 4294967296;
comment on function audience.is_control is 'Whether a customer is in an audience''s control group: by a hash that does not move; raising the share only adds to it';
