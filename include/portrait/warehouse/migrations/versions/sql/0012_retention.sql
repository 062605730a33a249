create table privacy.retention_log (
    retention_id bigint generated always as identity primary key,
    place text not null,
    days integer not null check (days > 0),
    kept_from date not null,
    rows_deleted bigint not null check (rows_deleted >= 0),
    batches integer not null check (batches >= 0),
    started_at timestamptz not null,
    finished_at timestamptz not null default clock_timestamp()
);
comment on table privacy.retention_log is 'What was deleted because it was older than privacy.yaml lets it be: a row for each table and run, with nothing deleted too';
comment on column privacy.retention_log.retention_id is 'Number';
comment on column privacy.retention_log.place is 'Table';
comment on column privacy.retention_log.days is 'Days that privacy.yaml keeps its rows';
comment on column privacy.retention_log.kept_from is 'First date that was kept';
comment on column privacy.retention_log.rows_deleted is 'Rows deleted';
comment on column privacy.retention_log.batches is 'Transactions they were deleted in';
comment on column privacy.retention_log.started_at is 'When it began';
comment on column privacy.retention_log.finished_at is 'When it ended';

-- A customer who asks what is held on them is a reason of its own.
alter table privacy.access_log drop constraint access_log_what_check;
alter table privacy.access_log add constraint access_log_what_check
    check (what in ('contact', 'matching', 'export', 'access'));
comment on column privacy.access_log.what is 'contact: clear values of pii; matching: all sealed names for the review queue; export: an audience sent away; access: a customer given all that is held on them';
comment on column privacy.access_log.subjects is 'Stored identifiers that were asked for; empty where it was not about single people';

create function privacy.note_subject_access(subjects text[], reason text, records bigint) returns void
language sql security definer set search_path = pg_catalog, pg_temp
as $$ insert into privacy.access_log (what, reason, records, subjects) values ('access', reason, records, subjects) $$;
comment on function privacy.note_subject_access is 'Write in privacy.access_log that a customer was given what is held on them';

create function pii.open_member_detail(sources text[], source_rows text[], reason text)
returns table (source text, source_row_id text, sealed bytea)
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
#variable_conflict use_column
begin
    if reason is null or btrim(reason) = '' then
        raise exception 'say why contact data is opened' using errcode = 'check_violation';
    end if;
    insert into privacy.access_log (what, reason, records, subjects)
    select 'contact', open_member_detail.reason, count(*), '{}'
    from pii.member_detail as d
    where (d.source, d.source_row_id) in (select * from unnest(sources, source_rows));
    return query
    select d.source, d.source_row_id, d.sealed
    from pii.member_detail as d
    where (d.source, d.source_row_id) in (select * from unnest(sources, source_rows));
end $$;
comment on function pii.open_member_detail is 'Sealed names and addresses of these rows of raw.member; who asked, and why, is written in privacy.access_log';

-- Objections and corrections are done at once; they are noted without a word about whom.
alter table privacy.request drop constraint request_kind_check;
alter table privacy.request add constraint request_kind_check check (kind in ('erase', 'object', 'correct'));
comment on column privacy.request.kind is 'erase, object or correct; the last two are done when they are entered';
comment on column privacy.request.answer is 'Why it was refused, or what was done';
