-- Who may do what is written in portrait/warehouse/grants.py and given after every migration. Roles are of the whole
-- server: where this login may not make them, its owner does (docs/privacy-roles.md).
do $$
declare
    role text;
begin
    foreach role in array array['portrait_loader', 'portrait_model', 'portrait_marketing', 'portrait_service',
        'portrait_inventory', 'portrait_api', 'portrait_privacy', 'portrait_admin', 'portrait_audience', 'portrait_reader']
    loop
        begin
            if not exists (select from pg_roles where rolname = role) then
                execute format('create role %I nologin', role);
            end if;
        exception when insufficient_privilege or duplicate_object or unique_violation then
            raise notice 'role % was not created: ask the server''s owner for it', role;
        end;
        begin
            execute format('grant %I to %I', role, current_user);
        exception when insufficient_privilege or undefined_object or invalid_grant_operation then
            raise notice '% was not granted to this login: ask the server''s owner for it', role;
        end;
    end loop;
end $$;

-- A loader owns no table: what only an owner may do to a month of raw, it asks for here.
create function raw.make_month(entity text, month date) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    name text := entity || '_' || to_char(month, 'YYYY_MM');
    first date := date_trunc('month', month);
begin
    if not exists (select from pg_class where oid = to_regclass(format('raw.%I', entity)) and relkind = 'p') then
        raise exception 'raw.% is no table with months', entity using errcode = 'undefined_table';
    end if;
    perform pg_advisory_xact_lock(hashtext('raw.' || entity));
    if to_regclass(format('raw.%I', name)) is not null then
        return;
    end if;
    -- Made apart and attached: that waits for no reader or writer of the table.
    execute format('create table raw.%I (like raw.%I including all)', name, entity);
    execute format('alter table raw.%I attach partition raw.%I for values from (%L) to (%L)',
        entity, name, first, (first + interval '1 month')::date);
end $$;
comment on function raw.make_month is 'Make the partition of a month of a raw table unless it is there';

create function raw.refresh_statistics(entity text, months date[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    month date;
    known "char" := (select relkind from pg_class where oid = to_regclass(format('raw.%I', entity)));
begin
    if known = 'r' then
        execute format('analyze raw.%I', entity);
    elsif known = 'p' then
        foreach month in array months loop
            execute format('analyze raw.%I', entity || '_' || to_char(month, 'YYYY_MM'));
        end loop;
    else
        raise exception 'raw.% is no table', entity using errcode = 'undefined_table';
    end if;
end $$;
comment on function raw.refresh_statistics is 'Bring the planner''s statistics of a raw table, or of these months of it, up to date';

create table privacy.access_log (
    access_id bigint generated always as identity primary key,
    at timestamptz not null default clock_timestamp(),
    login text not null default session_user,
    what text not null check (what in ('contact', 'matching', 'export')),
    reason text not null check (btrim(reason) <> ''),
    records bigint not null check (records >= 0),
    subjects text[] not null default '{}'
);
comment on table privacy.access_log is 'Who opened contact data, and what was sent away; written by functions only, changed by nobody';
comment on column privacy.access_log.access_id is 'Number';
comment on column privacy.access_log.at is 'When';
comment on column privacy.access_log.login is 'Login of the database that asked';
comment on column privacy.access_log.what is 'contact: clear values of pii.contact; matching: all sealed names for the review queue; export: an audience sent away';
comment on column privacy.access_log.reason is 'Why, in the asker''s words';
comment on column privacy.access_log.records is 'Rows given';
comment on column privacy.access_log.subjects is 'Keyed hashes that were asked for; empty where it was not about single people';

create function privacy.note_access(what text, reason text, records bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$ insert into privacy.access_log (what, reason, records) values (what, reason, records) $$;
comment on function privacy.note_access is 'Write what a stage read or sent in privacy.access_log';

-- The only door to contact data: nobody may select it, and what is given out is in the log by the same statement.
create function pii.open_contact(hashes text[], reason text)
returns table (kind text, hash text, sealed bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
begin
    if reason is null or btrim(reason) = '' then
        raise exception 'say why contact data is opened' using errcode = 'check_violation';
    end if;
    insert into privacy.access_log (what, reason, records, subjects)
    select 'contact', open_contact.reason, count(*), hashes from pii.contact as c where c.hash = any(hashes);
    return query select c.kind, c.hash, c.sealed from pii.contact as c where c.hash = any(hashes);
end $$;
comment on function pii.open_contact is 'Sealed contact data of these hashes; who asked, and why, is written in privacy.access_log';

-- Whose rights a view reads with: these show no more than the one who asks may read.
alter view audience.member set (security_invoker = true);
alter view identity.customer_identifier set (security_invoker = true);
alter view identity.edge set (security_invoker = true);
alter view identity.alias set (security_invoker = true);

-- Audiences differ by purpose: customer service sees those of service, marketing the others.
create function audience.purpose_of(code text) returns text
language sql stable security definer set search_path = pg_catalog, pg_temp
as $$ select purpose from audience.definition where audience = code $$;
comment on function audience.purpose_of is 'What an audience is for; null when it was never used';

do $$
declare
    name text;
    purpose text;
    reader text;
begin
    foreach name in array array['definition', 'membership', 'size_daily', 'export_log', 'delivery', 'exported'] loop
        execute format('alter table audience.%I enable row level security', name);
        foreach reader in array array['portrait_model', 'portrait_api', 'portrait_privacy', 'portrait_reader'] loop
            if exists (select from pg_roles where rolname = reader) then
                execute format('create policy every_purpose_%s on audience.%I to %I using (true) with check (true)',
                    substr(reader, 10), name, reader);
            end if;
        end loop;
        purpose := case
            when name in ('definition', 'export_log') then 'purpose'
            when name = 'exported' then '(select l.purpose from audience.export_log as l where l.export_id = exported.export_id)'
            else 'audience.purpose_of(audience)' end;
        if exists (select from pg_roles where rolname = 'portrait_marketing') then
            execute format('create policy but_service on audience.%I for select to portrait_marketing using (%s <> ''service'')',
                name, purpose);
        end if;
        if exists (select from pg_roles where rolname = 'portrait_service') then
            execute format('create policy only_service on audience.%I for select to portrait_service using (%s = ''service'')',
                name, purpose);
        end if;
    end loop;
end $$;

create table privacy.grants_given (
    singleton boolean primary key default true check (singleton),
    digest text not null,
    given_at timestamptz not null default now()
);
comment on table privacy.grants_given is 'The list of privileges that this database has, so that the same one is not given again';
comment on column privacy.grants_given.singleton is 'Keeps the table at one row';
comment on column privacy.grants_given.digest is 'SHA-256 of the statements';
comment on column privacy.grants_given.given_at is 'When they were given';
