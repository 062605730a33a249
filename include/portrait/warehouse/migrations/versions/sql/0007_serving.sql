create table ops.api_key (
    key_id text primary key check (key_id ~ '^[a-z2-7]{8}$'),
    name text not null,
    secret_sha256 text not null,
    scopes text[] not null check (cardinality(scopes) > 0),
    requests_per_second double precision check (requests_per_second > 0),
    created_at timestamptz not null default now(),
    expires_at timestamptz,
    revoked_at timestamptz
);
comment on table ops.api_key is 'Who may ask the profile API what; the keys themselves are nowhere';
comment on column ops.api_key.key_id is 'Second part of the key, by which it is found';
comment on column ops.api_key.name is 'Whose it is';
comment on column ops.api_key.secret_sha256 is 'SHA-256 of the whole key, hex; a key holds 160 random bits';
comment on column ops.api_key.scopes is 'What it may ask: customers, timeline, identity, predict, segments, audiences, operations';
comment on column ops.api_key.requests_per_second is 'Rate of its own; null: that of serving.yaml';
comment on column ops.api_key.created_at is 'When it was made';
comment on column ops.api_key.expires_at is 'When it ends by itself; null: never';
comment on column ops.api_key.revoked_at is 'When it was revoked; null while it holds';

-- A row of raw is in at most one of these: by the identifier that says most. Receipts and events of one customer.
create index online_event_of_account on raw.online_event (account_id, occurred_at) where account_id is not null;
create index online_event_of_device on raw.online_event (device_id, occurred_at) where account_id is null and device_id is not null;
create index pos_receipt_of_card on raw.pos_receipt (card_hash, occurred_at) where card_hash is not null;
create index pos_receipt_of_phone on raw.pos_receipt (phone_hash, occurred_at) where card_hash is null and phone_hash is not null;

create index product_of_sku on raw.product (sku);

do $$
begin
    if not exists (select from pg_roles where rolname = 'portrait_api') then
        create role portrait_api nologin;
    end if;
exception when insufficient_privilege or duplicate_object or unique_violation then
    raise notice 'role portrait_api was not created: ask the server''s owner for it';
end $$;

-- What the API may read: published tables, its own book-keeping, whose an identifier is, what a customer did. Not pii.
do $$
begin
    if not exists (select from pg_roles where rolname = 'portrait_api') then
        return;
    end if;
    begin
        execute 'grant portrait_api to ' || quote_ident(current_user);
    exception when insufficient_privilege then
        raise notice 'portrait_api was not granted to this login: ask the server''s owner for it';
    end;
    grant usage on schema profile, ops, identity, raw to portrait_api;
    grant select on all tables in schema profile, ops to portrait_api;
    alter default privileges in schema profile grant select on tables to portrait_api;
    grant select on identity.identifier, identity.assignment, identity.id_change, identity.edge_row, identity.manual_rule
        to portrait_api;
    grant select on raw.online_event, raw.pos_receipt, raw.pos_receipt_line, raw.product to portrait_api;
    grant usage on schema audience to portrait_api;
    grant select on audience.definition, audience.membership, audience.member, audience.size_daily, audience.overlap
        to portrait_api;
end $$;
