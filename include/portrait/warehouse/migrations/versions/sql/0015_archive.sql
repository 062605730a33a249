create table ops.archive (
    run_id text primary key,
    as_of date not null,
    path text not null,
    rows bigint not null check (rows >= 0),
    octets bigint not null check (octets >= 0),
    archived_at timestamptz not null default now(),
    restored_at timestamptz
);
comment on table ops.archive is 'Nights whose profile tables were written to Parquet files and dropped: portrait archive list';
comment on column ops.archive.run_id is 'Run of the night';
comment on column ops.archive.as_of is 'Business date of the night';
comment on column ops.archive.path is 'Folder of its files, below the workspace in PORTRAIT_HOME';
comment on column ops.archive.rows is 'Rows of all its tables when it was archived; an erasure takes rows out of the files later';
comment on column ops.archive.octets is 'Length of its files when it was archived';
comment on column ops.archive.archived_at is 'When the files were complete';
comment on column ops.archive.restored_at is 'When portrait archive restore made it partitions again; null when it is in files only';

comment on column ops.alert.kind is 'column_added, column_missing, late, no_suggestions, not_archived and others: what the message is about';

-- The night that was valid on a day: an archived one is not passed over in silence for an older one.
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
    return query execute 'select * from profile_store.customer_profile where run_id = ' || quote_literal(night);
end $$;
