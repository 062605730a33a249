create table ops.evaluation_group (
    run_id text not null references ops.run on delete cascade,
    slot text not null,
    model text not null,
    role text not null check (role in ('candidate', 'champion')),
    dimension text not null,
    customer_group text not null,
    metric text not null,
    k integer not null,
    value double precision not null,
    low double precision,
    high double precision,
    customers integer not null,
    primary key (run_id, slot, model, role, dimension, customer_group, metric, k)
);
comment on table ops.evaluation_group is 'Every model of a night on the time-based holdout, by groups of customers, with intervals';
comment on column ops.evaluation_group.run_id is 'Run';
comment on column ops.evaluation_group.slot is 'next: all purchases; new: items not bought before; again: items bought before';
comment on column ops.evaluation_group.model is 'Name in model.yaml';
comment on column ops.evaluation_group.role is 'candidate (trained tonight) or champion (last promoted version, as it was evaluated)';
comment on column ops.evaluation_group.dimension is 'all; history: what they had bought before the held-out days; channel: where they are seen';
comment on column ops.evaluation_group.customer_group is 'history: cold (nothing), light (up to five items), regular; channel: online, store, both';
comment on column ops.evaluation_group.metric is 'ndcg or recall';
comment on column ops.evaluation_group.k is 'Length of the list';
comment on column ops.evaluation_group.value is 'Mean over the group''s customers, 0 to 1';
comment on column ops.evaluation_group.low is 'Lower bound of the mean, 95 in 100 (bootstrap); null for a single customer';
comment on column ops.evaluation_group.high is 'Upper bound of the mean; null for a single customer';
comment on column ops.evaluation_group.customers is 'Customers of the group who have something to find';

comment on column ops.evaluation.metric is 'recall, precision, f1, ndcg, hit_rate, map, mrr; of all lists together: coverage, novelty (bits), popularity_bias (0.5: none, 1: best sellers only)';
comment on column ops.evaluation.value is 'Mean over the customers, 0 to 1; novelty in bits';

do $$ begin
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant select on ops.evaluation_group to portrait_reader;
    end if;
    if exists (select from pg_roles where rolname = 'portrait_api') then
        grant select on ops.evaluation_group to portrait_api;
    end if;
end $$;

alter table ops.model_version drop constraint model_version_status_check;
alter table ops.model_version add constraint model_version_status_check
    check (status in ('candidate', 'champion', 'retired', 'withdrawn'));
comment on column ops.model_version.status is 'candidate, champion (serves now), retired, or withdrawn (taken out of service by hand)';
