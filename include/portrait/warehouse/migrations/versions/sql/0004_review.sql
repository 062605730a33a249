create table identity.review_queue (
    review_id bigint generated always as identity primary key,
    customer_a text collate "C" not null,
    customer_b text collate "C" not null check (customer_a < customer_b),
    source_a text not null,
    source_row_id_a text not null,
    kind_a text not null,
    value_a text not null,
    source_b text not null,
    source_row_id_b text not null,
    kind_b text not null,
    value_b text not null,
    match_weight double precision not null,
    match_probability double precision not null,
    waterfall jsonb not null,
    evidence text not null,
    status text not null default 'open' check (status in ('open', 'accepted', 'rejected', 'closed')),
    suggested_on date not null,
    decided_by text check (decided_by <> ''),
    decided_at timestamptz,
    reason text check (reason <> ''),
    rule_id bigint references identity.manual_rule,
    unique (customer_a, customer_b, evidence),
    check ((status = 'open') = (decided_at is null) and (status = 'open') = (decided_by is null)
        and (status = 'open') = (reason is null))
);
create unique index one_open_suggestion on identity.review_queue (customer_a, customer_b) where status = 'open';
comment on table identity.review_queue is 'Pairs of customers who are probably one person, for people to decide; what was decided stays';
comment on column identity.review_queue.review_id is 'Number of the suggestion';
comment on column identity.review_queue.customer_a is 'First customer, the lower id';
comment on column identity.review_queue.customer_b is 'Second customer';
comment on column identity.review_queue.source_a is 'Most alike record of the first customer: its source';
comment on column identity.review_queue.source_row_id_a is 'and its row in raw.member';
comment on column identity.review_queue.kind_a is 'Kind of its strongest identifier';
comment on column identity.review_queue.value_a is 'That identifier, as identity.identifier has it: a rule names it';
comment on column identity.review_queue.source_b is 'Most alike record of the second customer: its source';
comment on column identity.review_queue.source_row_id_b is 'and its row in raw.member';
comment on column identity.review_queue.kind_b is 'Kind of its strongest identifier';
comment on column identity.review_queue.value_b is 'That identifier, as identity.identifier has it: a rule names it';
comment on column identity.review_queue.match_weight is 'Bits of evidence for one person: 0 is even odds, each bit doubles them';
comment on column identity.review_queue.match_probability is 'The same as a probability';
comment on column identity.review_queue.waterfall is 'What each comparison adds to the weight: [{"column", "level", "weight"}], never a value';
comment on column identity.review_queue.evidence is 'Keyed fingerprint of what both customers'' member records say; a decided pair comes back when it changes';
comment on column identity.review_queue.status is 'open, accepted (one person), rejected (two), closed (nothing to decide any more)';
comment on column identity.review_queue.suggested_on is 'Business date of the night that suggested it';
comment on column identity.review_queue.decided_by is 'Who decided; splink where auto_link_from did, portrait where it was closed';
comment on column identity.review_queue.decided_at is 'When';
comment on column identity.review_queue.reason is 'Why';
comment on column identity.review_queue.rule_id is 'Rule of identity.manual_rule that the decision made';
