create table privacy.key_version (
    version text primary key check (version ~ '^v[0-9]+$'),
    fingerprint text not null,
    active boolean not null default false,
    registered_at timestamptz not null default clock_timestamp()
);
create unique index one_active_key on privacy.key_version (active) where active;
comment on table privacy.key_version is 'Versions of PORTRAIT_PII_KEY that this warehouse has used; never a key itself';
comment on column privacy.key_version.version is 'v1, v2, …: in front of every hash';
comment on column privacy.key_version.fingerprint is 'Tells whether the settings have the same key: 16 hexadecimal digits of an HMAC-SHA-256 under it';
comment on column privacy.key_version.active is 'Whether new values are stored under it';
comment on column privacy.key_version.registered_at is 'When it was first used';

create table privacy.key_rotation (
    rotation_id bigint generated always as identity primary key,
    from_version text not null references privacy.key_version,
    to_version text not null references privacy.key_version,
    started_at timestamptz not null default clock_timestamp(),
    reached_kind text collate "C" not null default '',
    reached_hash text collate "C" not null default '',
    identifiers bigint not null default 0,
    rows_changed bigint not null default 0,
    sealed_again bigint not null default 0,
    finished_at timestamptz
);
create unique index one_open_rotation on privacy.key_rotation ((finished_at is null)) where finished_at is null;
comment on table privacy.key_rotation is 'Changes from one version of the key to the next';
comment on column privacy.key_rotation.rotation_id is 'Number';
comment on column privacy.key_rotation.from_version is 'Version before';
comment on column privacy.key_rotation.to_version is 'Version after';
comment on column privacy.key_rotation.started_at is 'When it began';
comment on column privacy.key_rotation.reached_kind is 'Kind of the last identifier that was rewritten';
comment on column privacy.key_rotation.reached_hash is 'Its former hash: in the order of kind and hash everything up to it has the new form';
comment on column privacy.key_rotation.identifiers is 'Identifiers rewritten';
comment on column privacy.key_rotation.rows_changed is 'Rows of raw rewritten';
comment on column privacy.key_rotation.sealed_again is 'Sealed texts that were sealed with the new key';
comment on column privacy.key_rotation.finished_at is 'When it ended; null while it is under way';

create table privacy.rehashed (
    kind text collate "C" not null,
    old_hash text collate "C" not null,
    new_hash text collate "C" not null,
    primary key (kind, old_hash)
);
comment on table privacy.rehashed is 'Former and new hash of the identifiers that a rotation has rewritten; emptied at its end';
comment on column privacy.rehashed.kind is 'card, phone, email or payment';
comment on column privacy.rehashed.old_hash is 'Under the former key';
comment on column privacy.rehashed.new_hash is 'Under the new one';
create index rehashed_new on privacy.rehashed (kind, new_hash);

create table privacy.held_back_hash (
    kind text collate "C" not null,
    hash text collate "C" not null,
    primary key (kind, hash)
);
comment on table privacy.held_back_hash is 'Hashes of a former key that no rotation could rewrite, because no clear value is held; the same value goes on being stored so';
comment on column privacy.held_back_hash.kind is 'card, phone, email or payment';
comment on column privacy.held_back_hash.hash is 'As stored';

alter table privacy.suppression add column value_version text;
comment on column privacy.suppression.value_version is 'Version of the key of the stored value itself, where that is a keyed hash';

-- A rotation gives fingerprints of refused rows their new form.
alter table pii.rejected_payload drop constraint rejected_payload_source_path_row_number_payload_md5_fkey;
alter table pii.rejected_payload add constraint rejected_payload_of_row
    foreign key (source, path, row_number, payload_md5) references quarantine.rejected_row
    on delete cascade on update cascade;

-- Payment tokens are sealed as well from now on, so that they can be rewritten.
alter table pii.contact drop constraint contact_kind_check;
alter table pii.contact add constraint contact_kind_check check (kind in ('phone', 'email', 'card', 'payment'));
comment on column pii.contact.kind is 'phone, email, card or payment';
