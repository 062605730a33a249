create table privacy.purpose (
    purpose text primary key,
    name_en text not null,
    name_zh text not null,
    description_en text not null,
    description_zh text not null,
    legal_note text not null,
    consent_required boolean not null,
    changed_at timestamptz not null default now()
);
comment on table privacy.purpose is 'What customers'' data may be used for; portrait/purposes.py has the same list';
comment on column privacy.purpose.purpose is 'Code, as deliveries, tags and audiences have it';
comment on column privacy.purpose.name_en is 'Name in English';
comment on column privacy.purpose.name_zh is 'Name in Chinese';
comment on column privacy.purpose.description_en is 'What it governs, in English';
comment on column privacy.purpose.description_zh is 'What it governs, in Chinese';
comment on column privacy.purpose.legal_note is 'Which rule it answers to; no legal advice';
comment on column privacy.purpose.consent_required is 'true: not without a yes (missing means no); false: until they say no. From consent_required of privacy.yaml, by the last night';
comment on column privacy.purpose.changed_at is 'When consent_required was changed last';
insert into privacy.purpose (purpose, name_en, name_zh, description_en, description_zh, legal_note, consent_required) values
    ('analytics', 'Statistics', '统计分析',
     'Being counted: segments, statistics of the stores and of customers'' groups',
     '纳入统计：客群划分、门店与客户群体的统计', 'PIPL Art. 13, 44: the retailer''s own basis, with the right to object', false),
    ('personalised_recommendation', 'Personal recommendations', '个性化推荐',
     'Offers chosen by what one did; without it popular products are shown',
     '根据个人行为挑选的推荐；未同意时展示热门商品', 'PIPL Art. 24: an option that is not based on personal characteristics', true),
    ('marketing_email', 'Marketing by e-mail', '邮件营销', 'Being written to by e-mail', '通过电子邮件接收营销信息',
     'PIPL Art. 13, 15: consent that can be withdrawn', true),
    ('marketing_sms', 'Marketing by SMS', '短信营销', 'Being written to by SMS', '通过短信接收营销信息',
     'PIPL Art. 13, 15: consent that can be withdrawn', true),
    ('ad_audience', 'Audiences for advertising', '广告人群',
     'Being in a group that is handed to an advertising platform, look-alikes included',
     '被纳入提供给广告平台的人群包，包括相似人群', 'PIPL Art. 23: separate consent before data is handed to others', true),
    ('profiling_inference', 'Inferred attributes', '画像推断',
     'What a model infers: age band, gender, churn, spend, next category',
     '由模型推断的属性：年龄段、性别、流失、消费、下次购买品类', 'PIPL Art. 24, 44: automated decisions, the right to refuse', true);

alter table raw.consent_event add column evidence text;
comment on column raw.consent_event.evidence is 'By what it can be proved: form and version, page, recording; null when the source does not say';
update raw.consent_event set purpose = case purpose
    when 'email_marketing' then 'marketing_email' when 'sms_marketing' then 'marketing_sms'
    else 'personalised_recommendation' end
where purpose in ('email_marketing', 'sms_marketing', 'personalisation');
comment on column raw.consent_event.purpose is 'What the data may be used for; a purpose of privacy.purpose';
update audience.definition set purpose = case purpose
    when 'email_marketing' then 'marketing_email' when 'sms_marketing' then 'marketing_sms'
    else 'personalised_recommendation' end
where purpose in ('email_marketing', 'sms_marketing', 'personalisation');
update audience.export_log set purpose = case purpose
    when 'email_marketing' then 'marketing_email' when 'sms_marketing' then 'marketing_sms'
    else 'personalised_recommendation' end
where purpose in ('email_marketing', 'sms_marketing', 'personalisation');

-- One customer's statements are found by the indexes of 0009, which have the default collation.
create view privacy.statement as
select owner.customer_id, e.purpose, e.granted, e.occurred_at as stated_at, e.loaded_at, e.source, e.source_row_id, e.evidence
from identity.assignment as owner
join identity.identifier as known on known.identifier_id = owner.identifier_id
join raw.consent_event as e on e.card_hash = known.value collate "default"
where owner.valid_to is null and known.kind = 'card'
union all
select owner.customer_id, e.purpose, e.granted, e.occurred_at, e.loaded_at, e.source, e.source_row_id, e.evidence
from identity.assignment as owner
join identity.identifier as known on known.identifier_id = owner.identifier_id
join raw.consent_event as e on e.account_id = known.value collate "default"
where owner.valid_to is null and known.kind = 'account'
union all
select owner.customer_id, e.purpose, e.granted, e.occurred_at, e.loaded_at, e.source, e.source_row_id, e.evidence
from identity.assignment as owner
join identity.identifier as known on known.identifier_id = owner.identifier_id
join raw.consent_event as e on e.phone_hash = known.value collate "default"
where owner.valid_to is null and known.kind = 'phone'
union all
select owner.customer_id, e.purpose, e.granted, e.occurred_at, e.loaded_at, e.source, e.source_row_id, e.evidence
from identity.assignment as owner
join identity.identifier as known on known.identifier_id = owner.identifier_id
join raw.consent_event as e on e.email_hash = known.value collate "default"
where owner.valid_to is null and known.kind = 'email';
comment on view privacy.statement is 'What customers stated, a row a statement and identifier that it names; consent_history has each once';
comment on column privacy.statement.customer_id is 'Stable id of the customer who has the identifier today';
comment on column privacy.statement.purpose is 'Purpose';
comment on column privacy.statement.granted is 'true given, false withdrawn';
comment on column privacy.statement.stated_at is 'When it was stated';
comment on column privacy.statement.loaded_at is 'When it was loaded';
comment on column privacy.statement.source is 'Source of the statement';
comment on column privacy.statement.source_row_id is 'Its key in that source';
comment on column privacy.statement.evidence is 'By what it can be proved; null when the source does not say';

create view privacy.consent_history as
select distinct customer_id, purpose, case when granted then 'given' else 'withdrawn' end as status, stated_at, loaded_at,
       source, source_row_id, evidence
from privacy.statement;
comment on view privacy.consent_history is 'Everything a customer ever stated, by any of their identifiers; the newest stated_at of a purpose counts, of two at the same instant the withdrawal';
comment on column privacy.consent_history.customer_id is 'Stable id of the customer';
comment on column privacy.consent_history.purpose is 'Purpose';
comment on column privacy.consent_history.status is 'given or withdrawn';
comment on column privacy.consent_history.stated_at is 'When it was stated';
comment on column privacy.consent_history.loaded_at is 'When it was loaded: from then on it counts';
comment on column privacy.consent_history.source is 'Source of the statement; request: an objection entered here';
comment on column privacy.consent_history.source_row_id is 'Its key in that source';
comment on column privacy.consent_history.evidence is 'By what it can be proved; null when the source does not say';

create or replace view privacy.consent as
select distinct on (customer_id, purpose) customer_id, purpose, granted, stated_at, source, loaded_at, evidence
from privacy.statement
order by customer_id, purpose, stated_at desc, granted;
comment on column privacy.consent.purpose is 'Purpose';
comment on column privacy.consent.loaded_at is 'When it was loaded';
comment on column privacy.consent.evidence is 'By what it can be proved; null when the source does not say';

-- The same, ready for joins: the views that millions of rows go through cannot look for the latest statement each time.
create table privacy.permission (
    customer_id text primary key,
    analytics boolean,
    personalised_recommendation boolean,
    marketing_email boolean,
    marketing_sms boolean,
    ad_audience boolean,
    profiling_inference boolean
);
comment on table privacy.permission is 'What each customer stated last, a column a purpose: kept up to date by triggers on raw.consent_event and identity.assignment. Who stated nothing has no row';
comment on column privacy.permission.customer_id is 'Stable id of the customer';
comment on column privacy.permission.analytics is 'true given, false withdrawn, null nothing stated';
comment on column privacy.permission.personalised_recommendation is 'true given, false withdrawn, null nothing stated';
comment on column privacy.permission.marketing_email is 'true given, false withdrawn, null nothing stated';
comment on column privacy.permission.marketing_sms is 'true given, false withdrawn, null nothing stated';
comment on column privacy.permission.ad_audience is 'true given, false withdrawn, null nothing stated';
comment on column privacy.permission.profiling_inference is 'true given, false withdrawn, null nothing stated';

create view privacy.unstated as
select bool_or(purpose = 'analytics' and not consent_required) as analytics,
       bool_or(purpose = 'personalised_recommendation' and not consent_required) as personalised_recommendation,
       bool_or(purpose = 'marketing_email' and not consent_required) as marketing_email,
       bool_or(purpose = 'marketing_sms' and not consent_required) as marketing_sms,
       bool_or(purpose = 'ad_audience' and not consent_required) as ad_audience,
       bool_or(purpose = 'profiling_inference' and not consent_required) as profiling_inference
from privacy.purpose;
comment on view privacy.unstated is 'What counts where a customer stated nothing: one row, a column a purpose';
comment on column privacy.unstated.analytics is 'false: consent is required';
comment on column privacy.unstated.personalised_recommendation is 'false: consent is required';
comment on column privacy.unstated.marketing_email is 'false: consent is required';
comment on column privacy.unstated.marketing_sms is 'false: consent is required';
comment on column privacy.unstated.ad_audience is 'false: consent is required';
comment on column privacy.unstated.profiling_inference is 'false: consent is required';

create function privacy.refresh_permission(customers text[] default null) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    who text := case when customers is null then 'true' else 'customer_id = any($1)' end;
begin
    -- A pull and a night may touch the same customer: the second one waits, and sees what the first one wrote.
    perform pg_advisory_xact_lock(hashtext('privacy.permission'));
    execute '
        with said as materialized (
            select customer_id,
                   bool_or(granted) filter (where purpose = ''analytics'') as analytics,
                   bool_or(granted) filter (where purpose = ''personalised_recommendation'') as personalised_recommendation,
                   bool_or(granted) filter (where purpose = ''marketing_email'') as marketing_email,
                   bool_or(granted) filter (where purpose = ''marketing_sms'') as marketing_sms,
                   bool_or(granted) filter (where purpose = ''ad_audience'') as ad_audience,
                   bool_or(granted) filter (where purpose = ''profiling_inference'') as profiling_inference
            from privacy.consent
            where ' || who || ' and purpose in (''analytics'', ''personalised_recommendation'', ''marketing_email'',
                                                ''marketing_sms'', ''ad_audience'', ''profiling_inference'')
            group by customer_id
        ), gone as (
            delete from privacy.permission as was
            where ' || who || ' and not exists (select from said where said.customer_id = was.customer_id)
        ), changed as (
            update privacy.permission as was
            set analytics = said.analytics, personalised_recommendation = said.personalised_recommendation,
                marketing_email = said.marketing_email, marketing_sms = said.marketing_sms,
                ad_audience = said.ad_audience, profiling_inference = said.profiling_inference
            from said
            where said.customer_id = was.customer_id
              and (said.analytics, said.personalised_recommendation, said.marketing_email, said.marketing_sms,
                   said.ad_audience, said.profiling_inference)
                  is distinct from (was.analytics, was.personalised_recommendation, was.marketing_email,
                                    was.marketing_sms, was.ad_audience, was.profiling_inference)
        )
        insert into privacy.permission
        select said.* from said
        where not exists (select from privacy.permission as was where was.customer_id = said.customer_id)'
    using customers;
end $$;
comment on function privacy.refresh_permission is 'Bring privacy.permission to what these customers stated last; of all customers without an argument';

create function privacy.consent_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    most constant integer := 5000;
    rows_changed text := case tg_op
        when 'INSERT' then 'select * from added'
        when 'DELETE' then 'select * from removed'
        else 'select * from added union all select * from removed' end;
    customers text[];
begin
    if tg_op <> 'TRUNCATE' then
        execute 'select array(
            select distinct owner.customer_id
            from (' || rows_changed || ') as e
            cross join lateral (values (''card'', card_hash), (''account'', account_id), (''phone'', phone_hash),
                                       (''email'', email_hash)) as named (kind, value)
            join identity.identifier as known on known.kind = named.kind and known.value = named.value
            join identity.assignment as owner on owner.identifier_id = known.identifier_id and owner.valid_to is null
            limit $1)' into customers using most + 1;
    end if;
    if customers is null or cardinality(customers) > most then
        perform privacy.refresh_permission();
    elsif cardinality(customers) > 0 then
        perform privacy.refresh_permission(customers);
    end if;
    return null;
end $$;
comment on function privacy.consent_changed is 'A statement counts, or counts no more, from the moment it is loaded or deleted';

create function privacy.owner_changed() returns trigger
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    most constant integer := 5000;
    rows_changed text := case tg_op
        when 'INSERT' then 'select customer_id from added'
        when 'DELETE' then 'select customer_id from removed'
        else 'select customer_id from added union select customer_id from removed' end;
    customers text[];
begin
    if tg_op <> 'TRUNCATE' then
        execute 'select array(select distinct customer_id from (' || rows_changed || ') as e limit $1)'
            into customers using most + 1;
    end if;
    if customers is null or cardinality(customers) > most then
        perform privacy.refresh_permission();
    elsif cardinality(customers) > 0 then
        perform privacy.refresh_permission(customers);
    end if;
    return null;
end $$;
comment on function privacy.owner_changed is 'Statements are those of whom the identifier belongs to today';

create trigger consent_added after insert on raw.consent_event
    referencing new table as added for each statement execute function privacy.consent_changed();
create trigger consent_removed after delete on raw.consent_event
    referencing old table as removed for each statement execute function privacy.consent_changed();
create trigger consent_updated after update on raw.consent_event
    referencing old table as removed new table as added for each statement execute function privacy.consent_changed();
create trigger consent_emptied after truncate on raw.consent_event
    for each statement execute function privacy.consent_changed();
create trigger owner_added after insert on identity.assignment
    referencing new table as added for each statement execute function privacy.owner_changed();
create trigger owner_removed after delete on identity.assignment
    referencing old table as removed for each statement execute function privacy.owner_changed();
create trigger owner_updated after update on identity.assignment
    referencing old table as removed new table as added for each statement execute function privacy.owner_changed();
create trigger owner_emptied after truncate on identity.assignment
    for each statement execute function privacy.owner_changed();
select privacy.refresh_permission();

create function privacy.require_consent(required text[]) returns text[]
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    unknown text := (select min(code) from unnest(required) as code where code not in (select purpose from privacy.purpose));
    changed text[];
begin
    if unknown is not null then
        raise exception using message = 'there is no purpose ' || quote_literal(unknown), errcode = 'check_violation';
    end if;
    with done as (
        update privacy.purpose set consent_required = (purpose = any(required)), changed_at = now()
        where consent_required <> (purpose = any(required))
        returning purpose
    )
    select coalesce(array_agg(purpose order by purpose), '{}') into changed from done;
    return changed;
end $$;
comment on function privacy.require_consent is 'Take over consent_required of privacy.yaml; gives the purposes for which it is new';
