-- Identifiers get numbers, so that edges and assignments are narrow; the old names stay as views.

alter table identity.identifier add column identifier_id integer;
update identity.identifier set identifier_id = numbered.n
from (select kind, value, row_number() over (order by first_seen, kind, value) as n from identity.identifier) as numbered
where (identifier.kind, identifier.value) = (numbered.kind, numbered.value);
alter table identity.identifier
    alter column identifier_id set not null,
    alter column value type text collate "C",
    add constraint identifier_number unique (identifier_id);
-- Room for new last days: an update in place touches no index.
alter table identity.identifier set (fillfactor = 90);
comment on column identity.identifier.identifier_id is 'Number of the identifier in edge_row and assignment';

create table identity.assignment (
    identifier_id integer not null,
    turn smallint not null check (turn > 0),
    customer_id text collate "C" not null,
    valid_from date not null,
    valid_to date check (valid_to > valid_from),
    closed boolean not null generated always as (valid_to is not null) stored,
    earlier_turn smallint generated always as (nullif(turn - 1, 0)) stored,
    earlier_closed boolean generated always as (case when turn > 1 then true end) stored,
    primary key (identifier_id, turn),
    unique (identifier_id, turn, closed),
    -- A second turn needs a first one that has ended, so every identifier with more than one row has all of them here.
    constraint one_customer_at_any_instant exclude using gist (
        int4range(identifier_id, identifier_id, '[]') with &&,
        daterange(valid_from, valid_to) with &&
    ) where (turn > 1 or valid_to is not null)
);
insert into identity.assignment (identifier_id, turn, customer_id, valid_from, valid_to)
select identifier_id, row_number() over (partition by kind, value order by valid_from), customer_id, valid_from, valid_to
from identity.customer_identifier join identity.identifier using (kind, value);
alter table identity.assignment add constraint earlier_turn_has_ended
    foreign key (identifier_id, earlier_turn, earlier_closed) references identity.assignment (identifier_id, turn, closed);
create index assignment_customer on identity.assignment (customer_id);
comment on table identity.assignment is 'Which customer an identifier belongs to, and when; customer_identifier shows it with kind and value';
comment on column identity.assignment.identifier_id is 'Identifier';
comment on column identity.assignment.turn is '1 for the first customer of the identifier, 2 for the next';
comment on column identity.assignment.customer_id is 'Stable id of the customer';
comment on column identity.assignment.valid_from is 'First business date of the assignment';
comment on column identity.assignment.valid_to is 'Business date it ended, exclusive; null while it holds';
comment on column identity.assignment.closed is 'Whether it has ended';
comment on column identity.assignment.earlier_turn is 'The turn before, null for the first';
comment on column identity.assignment.earlier_closed is 'True from the second turn on: the one before must have ended';

drop table identity.customer_identifier;
create view identity.customer_identifier as
select kind, value, customer_id, valid_from, valid_to
from identity.assignment join identity.identifier using (identifier_id);
comment on view identity.customer_identifier is 'Which customer an identifier belongs to, and when';
comment on column identity.customer_identifier.kind is 'card, account, phone, email, payment or device';
comment on column identity.customer_identifier.value is 'Keyed hash (card, phone, email, payment) or the id itself';
comment on column identity.customer_identifier.customer_id is 'Stable id of the customer';
comment on column identity.customer_identifier.valid_from is 'First business date of the assignment';
comment on column identity.customer_identifier.valid_to is 'Business date it ended, exclusive; null while it holds';

-- The next night reads all of raw again: edges want their evidence.
drop table identity.edge;
drop table identity.progress;
create table identity.edge_row (
    identifier_a integer not null,
    identifier_b integer not null,
    rule text not null,
    first_seen date not null,
    last_seen date not null,
    sightings integer not null,
    source text,
    source_row_id text,
    valid_to date,
    primary key (identifier_a, identifier_b, rule)
) with (fillfactor = 90);
create index edge_row_b on identity.edge_row (identifier_b);
comment on table identity.edge_row is 'Two identifiers met in one row; edge shows it with kinds and values';
comment on column identity.edge_row.identifier_a is 'First identifier, the lower number';
comment on column identity.edge_row.identifier_b is 'Second identifier';
comment on column identity.edge_row.rule is 'raw table whose row showed both';
comment on column identity.edge_row.first_seen is 'First business date';
comment on column identity.edge_row.last_seen is 'Last business date';
comment on column identity.edge_row.sightings is 'Rows that showed both';
comment on column identity.edge_row.source is 'Source of the evidence: a row of first_seen';
comment on column identity.edge_row.source_row_id is 'Row of that source in the raw table of the rule';
comment on column identity.edge_row.valid_to is 'Business date from which it links no more (a recycled number), null while it does';
create view identity.edge as
select a.kind as kind_a, a.value as value_a, b.kind as kind_b, b.value as value_b, rule,
       e.first_seen, e.last_seen, valid_to, sightings, rule as entity, source, source_row_id, e.first_seen as business_date
from identity.edge_row as e
join identity.identifier as a on a.identifier_id = identifier_a
join identity.identifier as b on b.identifier_id = identifier_b;
comment on view identity.edge is 'Two identifiers met in one row; the evidence that joins a customer';
comment on column identity.edge.kind_a is 'Kind of the first identifier';
comment on column identity.edge.value_a is 'First identifier';
comment on column identity.edge.kind_b is 'Kind of the second identifier';
comment on column identity.edge.value_b is 'Second identifier';
comment on column identity.edge.rule is 'raw table whose row showed both';
comment on column identity.edge.first_seen is 'First business date';
comment on column identity.edge.last_seen is 'Last business date';
comment on column identity.edge.valid_to is 'Business date from which it links no more (a recycled number), null while it does';
comment on column identity.edge.sightings is 'Rows that showed both';
comment on column identity.edge.entity is 'Evidence: raw table';
comment on column identity.edge.source is 'Evidence: source';
comment on column identity.edge.source_row_id is 'Evidence: row of that source';
comment on column identity.edge.business_date is 'Evidence: its business date';

create table identity.earlier_owner (
    identifier_id integer not null,
    customer_id text not null,
    owned_until date not null,
    primary key (identifier_id, owned_until)
);
comment on table identity.earlier_owner is 'Whose history a recycled phone number keeps: rows dated before owned_until';
comment on column identity.earlier_owner.identifier_id is 'Identifier';
comment on column identity.earlier_owner.customer_id is 'Customer who had it then, by today''s id';
comment on column identity.earlier_owner.owned_until is 'Business date on which it showed up with somebody else, exclusive';

create table identity.manual_rule (
    rule_id bigint generated always as identity primary key,
    kind text not null check (kind in ('must_link', 'cannot_link')),
    kind_a text not null,
    value_a text not null,
    kind_b text not null,
    value_b text not null,
    reason text not null check (reason <> ''),
    created_by text not null check (created_by <> ''),
    created_at timestamptz not null default clock_timestamp(),
    revoked_at timestamptz,
    check ((kind_a, value_a) <> (kind_b, value_b))
);
comment on table identity.manual_rule is 'What a person decided about two identifiers; it has the last word';
comment on column identity.manual_rule.rule_id is 'Number';
comment on column identity.manual_rule.kind is 'must_link or cannot_link';
comment on column identity.manual_rule.kind_a is 'Kind of the first identifier';
comment on column identity.manual_rule.value_a is 'First identifier, as identity.identifier has it';
comment on column identity.manual_rule.kind_b is 'Kind of the second identifier';
comment on column identity.manual_rule.value_b is 'Second identifier, as identity.identifier has it';
comment on column identity.manual_rule.reason is 'Why';
comment on column identity.manual_rule.created_by is 'Who';
comment on column identity.manual_rule.created_at is 'When; it counts from the next night on';
comment on column identity.manual_rule.revoked_at is 'When it was taken back, null while it counts';

create table identity.night (
    as_of date primary key,
    batch_id bigint not null,
    ran_at timestamptz not null,
    state text not null
);
comment on table identity.night is 'Nights that changed the record; a rebuild goes through them again';
comment on column identity.night.as_of is 'Business date';
comment on column identity.night.batch_id is 'Last batch of ops.batch that it knew';
comment on column identity.night.ran_at is 'When; manual rules of that moment counted';
comment on column identity.night.state is 'Token of the working state that it left in PORTRAIT_HOME';

-- Only what is new or changed is logged a night; the reason says which guard cut.
alter table identity.cardinality_audit
    drop constraint cardinality_audit_pkey,
    add column reason text not null default 'cap',
    add column evidence jsonb not null default '[]',
    add primary key (as_of, kind, value, touched_kind, reason);
alter table identity.cardinality_audit add check (reason in ('cap', 'unique', 'per_customer', 'cannot_link'));
create index on identity.cardinality_audit (kind, value);
comment on table identity.cardinality_audit is 'Cuts: values shared by too many to link anybody, and links that would join what must stay apart';
comment on column identity.cardinality_audit.as_of is 'Business date on which the cut was new or its figures changed';
comment on column identity.cardinality_audit.touched is 'How many it touches, or the customer would have';
comment on column identity.cardinality_audit.reason is 'cap: the value links nobody; unique, per_customer, cannot_link: one link of it is not followed';
comment on column identity.cardinality_audit.evidence is 'Up to five of the links: the other identifier, the raw row, first and last seen';

create index id_change_customer on identity.id_change (customer_id);
create index on identity.id_change (other_customer_id) where change = 'merge';
