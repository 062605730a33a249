create table privacy.file_sweep (
    run_id text primary key references ops.run on delete cascade,
    swept_at timestamptz not null default clock_timestamp(),
    files bigint not null
);
comment on table privacy.file_sweep is 'Nights during which somebody was erased and whose files were gone through again when they had ended';
comment on column privacy.file_sweep.run_id is 'Run';
comment on column privacy.file_sweep.swept_at is 'When';
comment on column privacy.file_sweep.files is 'Files that had something of erased customers';

-- Erasures act as portrait_privacy. What that role may not do by itself, it asks for here.
create function privacy.forget_in_access_log(identifiers text[]) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
declare
    changed bigint;
begin
    update privacy.access_log
    set subjects = array(select one from unnest(subjects) as one where one <> all(identifiers))
    where subjects && identifiers;
    get diagnostics changed = row_count;
    return changed;
end $$;
comment on function privacy.forget_in_access_log is 'Take erased customers'' stored identifiers out of the log of access, the rest of which stays; gives the rows changed';

create function pii.open_rejected_payloads(reason text)
returns table (source text, path text, row_number bigint, payload_md5 text, sealed bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if reason is null or btrim(reason) = '' then
        raise exception 'say why refused rows are opened' using errcode = 'check_violation';
    end if;
    insert into privacy.access_log (what, reason, records)
    select 'contact', open_rejected_payloads.reason, count(*) from pii.rejected_payload having count(*) > 0;
    return query select p.source, p.path, p.row_number, p.payload_md5, p.sealed from pii.rejected_payload as p;
end $$;
comment on function pii.open_rejected_payloads is 'All refused rows as delivered, sealed; who asked, and why, is written in privacy.access_log';

-- Tables that a night is filling are portrait_model's; an erasure takes its customers out of them, too.
do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_model')
        and exists (select from pg_roles where rolname = 'portrait_privacy') then
        alter default privileges for role portrait_model in schema profile_store
            grant select, delete on tables to portrait_privacy;
    end if;
exception when insufficient_privilege then
    raise notice 'portrait_privacy may not clean tables that are being filled: grant portrait_model to this login and migrate again';
end $$;

-- A warehouse that is older than the record of keys: its hashes say their version, the first who uses the key its fingerprint.
insert into privacy.key_version (version, fingerprint, active)
select split_part(hash, ':', 1), '', true from pii.contact
where not exists (select from privacy.key_version) and hash ~ '^v[0-9]+:'
order by first_seen_at desc limit 1;
