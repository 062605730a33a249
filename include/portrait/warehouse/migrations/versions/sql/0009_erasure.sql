create table privacy.erasure_receipt (
    receipt_id bigint generated always as identity primary key,
    erased_at timestamptz not null,
    run_id text,
    requested_by text not null,
    customers integer not null,
    already_erased integer not null,
    counts jsonb not null,
    recipients jsonb not null,
    previous_signature text,
    key_version text not null,
    signature text not null
);
comment on table privacy.erasure_receipt is 'Proof of an erasure: what went, where, how often, when; it names nobody';
comment on column privacy.erasure_receipt.receipt_id is 'Number';
comment on column privacy.erasure_receipt.erased_at is 'When the erasure ended';
comment on column privacy.erasure_receipt.run_id is 'Run that readers saw then; null before the first';
comment on column privacy.erasure_receipt.requested_by is 'Who asked for it';
comment on column privacy.erasure_receipt.customers is 'Customers erased';
comment on column privacy.erasure_receipt.already_erased is 'Of them, customers that an earlier receipt had erased';
comment on column privacy.erasure_receipt.counts is 'Rows deleted or made anonymous, by place';
comment on column privacy.erasure_receipt.recipients is 'Exports that had sent them on: audience, channel, target, date; their receivers must be told';
comment on column privacy.erasure_receipt.previous_signature is 'Signature of the receipt before, so that a missing one shows';
comment on column privacy.erasure_receipt.key_version is 'Version of the key that signed it';
comment on column privacy.erasure_receipt.signature is 'HMAC-SHA-256 of all other columns, hex';

create table privacy.suppression (
    hash text not null,
    kind text not null,
    key_version text not null,
    receipt_id bigint references privacy.erasure_receipt,
    suppressed_at timestamptz not null default clock_timestamp(),
    primary key (hash, kind)
);
comment on table privacy.suppression is 'Identifiers that must not come back, as keyed hashes of what was stored';
comment on column privacy.suppression.hash is 'HMAC-SHA-256 of the stored value under a key derived from PORTRAIT_PII_KEY, hex';
comment on column privacy.suppression.kind is 'customer, card, account, phone, email, payment, device, member or code (the lake''s number of an identifier)';
comment on column privacy.suppression.key_version is 'Version of that key';
comment on column privacy.suppression.receipt_id is 'Receipt of the erasure; null while it is at work';
comment on column privacy.suppression.suppressed_at is 'When';
create index on privacy.suppression (receipt_id);

create table privacy.request (
    request_id bigint generated always as identity primary key,
    kind text not null check (kind in ('erase')),
    subject text,
    requested_by text not null check (requested_by <> ''),
    reason text,
    requested_at timestamptz not null default now(),
    status text not null default 'open' check (status in ('open', 'done', 'refused')),
    finished_at timestamptz,
    answer text,
    receipt_id bigint references privacy.erasure_receipt
);
comment on table privacy.request is 'What customers asked for; the Dag privacy_requests works it off';
comment on column privacy.request.request_id is 'Number';
comment on column privacy.request.kind is 'erase';
comment on column privacy.request.subject is 'Customer id, or kind:value as stored; null once it is done';
comment on column privacy.request.requested_by is 'Who entered it';
comment on column privacy.request.reason is 'Why; null once it is done';
comment on column privacy.request.requested_at is 'When';
comment on column privacy.request.status is 'open, done or refused';
comment on column privacy.request.finished_at is 'When it was worked off';
comment on column privacy.request.answer is 'Why it was refused';
comment on column privacy.request.receipt_id is 'Receipt of the erasure';

alter table ops.batch add column rows_suppressed bigint;
comment on column ops.batch.rows_suppressed is 'Rows of erased customers that were not let in again';

-- With those of 0007 everything that one identifier shows is found by index.
create index online_event_of_card on raw.online_event (card_hash) where card_hash is not null;
create index online_event_of_phone on raw.online_event (phone_hash) where phone_hash is not null;
create index online_event_of_email on raw.online_event (email_hash) where email_hash is not null;
create index online_event_of_payment on raw.online_event (payment_hash) where payment_hash is not null;
create index pos_receipt_of_any_phone on raw.pos_receipt (phone_hash) where phone_hash is not null;
create index pos_receipt_of_payment on raw.pos_receipt (payment_hash) where payment_hash is not null;
create index member_of_account on raw.member (account_id) where account_id is not null;
create index member_of_card on raw.member (card_hash) where card_hash is not null;
create index member_of_phone on raw.member (phone_hash) where phone_hash is not null;
create index member_of_email on raw.member (email_hash) where email_hash is not null;
create index consent_event_of_account on raw.consent_event (account_id) where account_id is not null;
create index consent_event_of_card on raw.consent_event (card_hash) where card_hash is not null;
create index consent_event_of_phone on raw.consent_event (phone_hash) where phone_hash is not null;
create index consent_event_of_email on raw.consent_event (email_hash) where email_hash is not null;

do $$
begin
    if exists (select from pg_roles where rolname = 'portrait_privacy') then
        grant usage on schema privacy to portrait_privacy;
        grant select, insert, update on privacy.erasure_receipt, privacy.suppression, privacy.request to portrait_privacy;
    end if;
end $$;
