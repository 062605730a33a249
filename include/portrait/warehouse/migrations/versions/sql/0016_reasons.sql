alter table profile_store.recommendation
    add column because_kind text,
    add column because_of text,
    add column because_name text;
comment on column profile_store.recommendation.because_kind is 'again (they bought it before), item (something they bought speaks for it), category (they looked at or bought others of its category), popular (nothing is known that speaks for it); null in runs from before there were reasons';
comment on column profile_store.recommendation.because_of is 'again, item: sku of what they bought; category: its name as in profile.affinity; popular: null';
comment on column profile_store.recommendation.because_name is 'Name of that product, null when the product file lacks it; of a category the category';
create or replace view profile.recommendation as
    select customer_id, kind, rank, sku, product_name, score, model_version, because_kind, because_of, because_name
    from profile_store.recommendation
    where run_id = (select run_id from ops.published_run);
comment on column profile.recommendation.because_kind is 'again (they bought it before), item (something they bought speaks for it), category (they looked at or bought others of its category), popular (nothing is known that speaks for it); null in runs from before there were reasons';
comment on column profile.recommendation.because_of is 'again, item: sku of what they bought; category: its name as in profile.affinity; popular: null';
comment on column profile.recommendation.because_name is 'Name of that product, null when the product file lacks it; of a category the category';

create table ops.head_evaluation (
    run_id text not null references ops.run on delete cascade,
    head text not null,
    model text not null,
    protocol text not null,
    metric text not null,
    value double precision not null,
    customers integer not null,
    primary key (run_id, head, model, protocol, metric)
);
comment on table ops.head_evaluation is 'How good what the profile model infers is, beside the base rate and a regression on the same features';
comment on column ops.head_evaluation.run_id is 'Run';
comment on column ops.head_evaluation.head is 'purchase (in 30 days), spend (in 90 days), category (of the next purchase), age_band, gender';
comment on column ops.head_evaluation.model is 'profile_autoencoder, base_rate or regression (logistic; of spend ridge)';
comment on column ops.head_evaluation.protocol is 'window: judged on the days after the training window; customers: on customers whose label was not trained on';
comment on column ops.head_evaluation.metric is 'accuracy, precision, recall, f1, auc, brier, log_loss, calibration_error; of spend mean_absolute_error, root_mean_squared_error, rank_correlation, total_ratio; predicted_n, observed_n, customers_n: tenths of the chance (0 to 9)';
comment on column ops.head_evaluation.value is 'The figure; amounts in currency';
comment on column ops.head_evaluation.customers is 'Customers with a known label';

do $$ begin
    if exists (select from pg_roles where rolname = 'portrait_reader') then
        grant select on ops.head_evaluation to portrait_reader;
    end if;
    if exists (select from pg_roles where rolname = 'portrait_api') then
        grant select on ops.head_evaluation to portrait_api;
    end if;
end $$;
