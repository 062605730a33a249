create schema identity;
comment on schema identity is 'Who is who across till, app and web; identifiers are keyed hashes or the source''s own ids';

create table identity.identifier (
    kind text not null,
    value text not null,
    first_seen date not null,
    last_seen date not null,
    primary key (kind, value)
);
comment on table identity.identifier is 'Every identifier seen in raw';
comment on column identity.identifier.kind is 'card, account, phone, email or device';
comment on column identity.identifier.value is 'Keyed hash (card, phone, email) or the id itself';
comment on column identity.identifier.first_seen is 'First business date';
comment on column identity.identifier.last_seen is 'Last business date';

create table identity.edge (
    kind_a text not null,
    value_a text not null,
    kind_b text not null,
    value_b text not null,
    rule text not null,
    first_seen date not null,
    last_seen date not null,
    primary key (kind_a, value_a, kind_b, value_b, rule)
);
comment on table identity.edge is 'Two identifiers met in one row; the evidence that joins a customer';
comment on column identity.edge.kind_a is 'Kind of the first identifier';
comment on column identity.edge.value_a is 'First identifier';
comment on column identity.edge.kind_b is 'Kind of the second identifier';
comment on column identity.edge.value_b is 'Second identifier';
comment on column identity.edge.rule is 'raw table whose row showed both';
comment on column identity.edge.first_seen is 'First business date';
comment on column identity.edge.last_seen is 'Last business date';

create table identity.progress (
    entity text primary key,
    last_batch_id bigint not null
);
comment on table identity.progress is 'How far the batches of each raw table have been read for identifiers';
comment on column identity.progress.entity is 'raw table';
comment on column identity.progress.last_batch_id is 'Latest batch read';

create table identity.customer_identifier (
    kind text not null,
    value text not null,
    customer_id text not null,
    valid_from date not null,
    valid_to date,
    primary key (kind, value, valid_from)
);
comment on table identity.customer_identifier is 'Which customer an identifier belongs to, and when';
comment on column identity.customer_identifier.kind is 'card, account, phone, email or device';
comment on column identity.customer_identifier.value is 'Identifier';
comment on column identity.customer_identifier.customer_id is 'Stable id of the customer';
comment on column identity.customer_identifier.valid_from is 'First business date of the assignment';
comment on column identity.customer_identifier.valid_to is 'Business date it ended, exclusive; null while it holds';
create unique index on identity.customer_identifier (kind, value) where valid_to is null;
create index on identity.customer_identifier (customer_id) where valid_to is null;

create table identity.id_change (
    as_of date not null,
    change text not null check (change in ('new', 'merge', 'split', 'retired')),
    customer_id text not null,
    other_customer_id text not null default '',
    primary key (as_of, change, customer_id, other_customer_id)
);
comment on table identity.id_change is 'How the set of customers changed each night';
comment on column identity.id_change.as_of is 'Business date';
comment on column identity.id_change.change is 'new; merge: customer_id took in other_customer_id; split: customer_id came out of other_customer_id; retired';
comment on column identity.id_change.customer_id is 'Customer';
comment on column identity.id_change.other_customer_id is 'The other customer of a merge or split, else empty';

create table identity.cardinality_audit (
    as_of date not null,
    kind text not null,
    value text not null,
    touched_kind text not null,
    touched bigint not null,
    cap bigint not null,
    primary key (as_of, kind, value, touched_kind)
);
comment on table identity.cardinality_audit is 'Values shared by too many to link anybody: till phones, family tablets';
comment on column identity.cardinality_audit.as_of is 'Business date';
comment on column identity.cardinality_audit.kind is 'Kind of the shared value';
comment on column identity.cardinality_audit.value is 'Shared value';
comment on column identity.cardinality_audit.touched_kind is 'Kind it touches too many of';
comment on column identity.cardinality_audit.touched is 'How many it touches';
comment on column identity.cardinality_audit.cap is 'Limit in identity.yaml';
