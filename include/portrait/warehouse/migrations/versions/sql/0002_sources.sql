alter table ops.batch add column rows_outdated bigint not null default 0;
comment on column ops.batch.rows_outdated is 'Rows older than the version of them that is stored';

create table ops.source_state (
    source text primary key,
    mark bigint not null,
    batch_id bigint not null references ops.batch,
    noted_at timestamptz not null default now()
);
comment on table ops.source_state is 'How far each database and API has been read';
comment on column ops.source_state.source is 'Name of the source in sources.yaml';
comment on column ops.source_state.mark is 'Watermark up to which everything is loaded: microseconds since 1970 in UTC, or the source''s own number';
comment on column ops.source_state.batch_id is 'Batch that reached it';
comment on column ops.source_state.noted_at is 'When';

create table ops.source_column (
    source text not null,
    column_name text not null,
    mapped boolean not null,
    first_batch_id bigint not null,
    first_seen_at timestamptz not null default now(),
    last_batch_id bigint not null,
    last_seen_at timestamptz not null default now(),
    primary key (source, column_name)
);
comment on table ops.source_column is 'Columns that a source has delivered; one that is new or gone is schema drift';
comment on column ops.source_column.source is 'Name of the source in sources.yaml';
comment on column ops.source_column.column_name is 'Column, or key of a JSON row, as delivered';
comment on column ops.source_column.mapped is 'Whether sources.yaml reads it';
comment on column ops.source_column.first_batch_id is 'Batch that met it first';
comment on column ops.source_column.first_seen_at is 'When';
comment on column ops.source_column.last_batch_id is 'Batch that met it last';
comment on column ops.source_column.last_seen_at is 'When';

create table ops.alert (
    alert_id bigint generated always as identity primary key,
    raised_at timestamptz not null default now(),
    kind text not null,
    source text,
    business_date date,
    message text not null
);
comment on table ops.alert is 'What somebody should look at';
comment on column ops.alert.alert_id is 'Number';
comment on column ops.alert.raised_at is 'When it was raised';
comment on column ops.alert.kind is 'column_added, column_missing, late';
comment on column ops.alert.source is 'Name of the source in sources.yaml, null when it is about a night';
comment on column ops.alert.business_date is 'Business date it is about';
comment on column ops.alert.message is 'What happened and what to do';

alter table quarantine.rejected_row
    add column delivered_for date,
    add column resolved_batch_id bigint;
comment on column quarantine.rejected_row.delivered_for is 'Business date its file was delivered for, null where nothing said it';
comment on column quarantine.rejected_row.resolved_batch_id is 'Batch that accepted it, null while open';

create schema pii;
comment on schema pii is 'Personal data in clear, encrypted; only portrait_privacy may read it';

create table pii.contact (
    kind text not null check (kind in ('phone', 'email', 'card')),
    hash text not null,
    sealed bytea not null,
    first_seen_at timestamptz not null default now(),
    primary key (kind, hash)
);
comment on table pii.contact is 'The clear value behind each keyed hash, encrypted (AES-256-GCM)';
comment on column pii.contact.kind is 'phone, email or card';
comment on column pii.contact.hash is 'The keyed hash that every other schema holds';
comment on column pii.contact.sealed is 'Nonce and ciphertext of the normalised value, under a key derived from PORTRAIT_PII_KEY';
comment on column pii.contact.first_seen_at is 'When it was first loaded';

create table pii.member_detail (
    source text not null,
    source_row_id text not null,
    updated_at timestamptz,
    print_md5 text not null,
    sealed bytea not null,
    primary key (source, source_row_id)
);
comment on table pii.member_detail is 'Names and addresses of raw.member, encrypted';
comment on column pii.member_detail.source is 'As in raw.member';
comment on column pii.member_detail.source_row_id is 'As in raw.member';
comment on column pii.member_detail.updated_at is 'When the source last changed the row';
comment on column pii.member_detail.print_md5 is 'Keyed fingerprint, so that an unchanged row is not written again';
comment on column pii.member_detail.sealed is 'Nonce and ciphertext of {"name", "address"} as JSON';

alter table raw.pos_receipt add column payment_hash text;
alter table raw.online_event add column payment_hash text;
comment on column raw.pos_receipt.payment_hash is 'Token of the card or wallet that paid, keyed hash';
comment on column raw.online_event.payment_hash is 'Token of the card or wallet that paid, keyed hash';

create table pii.rejected_payload (
    source text not null,
    path text not null,
    row_number bigint not null,
    payload_md5 text not null,
    sealed bytea not null,
    primary key (source, path, row_number, payload_md5),
    foreign key (source, path, row_number, payload_md5) references quarantine.rejected_row on delete cascade
);
comment on table pii.rejected_payload is 'Refused rows as delivered, encrypted, so that `portrait quarantine replay` can try them again';
comment on column pii.rejected_payload.source is 'As in quarantine.rejected_row';
comment on column pii.rejected_payload.path is 'As in quarantine.rejected_row';
comment on column pii.rejected_payload.row_number is 'As in quarantine.rejected_row';
comment on column pii.rejected_payload.payload_md5 is 'As in quarantine.rejected_row';
comment on column pii.rejected_payload.sealed is 'Nonce and ciphertext of the row as JSON';

do $$
begin
    if not exists (select from pg_roles where rolname = 'portrait_privacy') then
        create role portrait_privacy nologin;
    end if;
exception when insufficient_privilege or duplicate_object then
    raise notice 'role portrait_privacy was not created: ask the server''s owner for it';
end $$;

do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_privacy') then
        grant usage on schema pii to portrait_privacy;
        grant select on all tables in schema pii to portrait_privacy;
    end if;
end $$;

alter table ops.batch_file add column content_sha256 text, add column spec_md5 text;
comment on column ops.batch_file.content_sha256 is 'Digest of its bytes, null where it was not taken; the same bytes are not loaded twice';
comment on column ops.batch_file.spec_md5 is 'Digest of the entry in sources.yaml by which it was read';
