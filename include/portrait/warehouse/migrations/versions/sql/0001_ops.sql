create schema ops;
comment on schema ops is 'How the nights went: batches, runs, models, and which run is published';

create table ops.batch (
    batch_id bigint generated always as identity primary key,
    source text not null,
    entity text not null,
    business_date date not null,
    status text not null check (status in ('loading', 'loaded', 'failed')),
    rows_read bigint,
    rows_inserted bigint,
    rows_updated bigint,
    rows_unchanged bigint,
    rows_duplicate bigint,
    rows_rejected bigint,
    rows_not_due bigint,
    rows_skipped bigint,
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    error text
);
comment on table ops.batch is 'One pull of one source; loaded whole or not at all';
comment on column ops.batch.batch_id is 'Number of the pull';
comment on column ops.batch.source is 'Name of the source in sources.yaml';
comment on column ops.batch.entity is 'raw table the source feeds';
comment on column ops.batch.business_date is 'Business date the pull was for';
comment on column ops.batch.status is 'loading, loaded or failed';
comment on column ops.batch.rows_read is 'Rows in the files of the batch';
comment on column ops.batch.rows_inserted is 'Rows new to raw';
comment on column ops.batch.rows_updated is 'Rows that replaced an older version with the same key';
comment on column ops.batch.rows_unchanged is 'Rows delivered again without a change';
comment on column ops.batch.rows_duplicate is 'Rows whose key came again later in the same batch';
comment on column ops.batch.rows_rejected is 'Rows in quarantine.rejected_row';
comment on column ops.batch.rows_not_due is 'Rows dated after the business date, left for the pull of that date';
comment on column ops.batch.rows_skipped is 'Rows of the files that are not of this source (its where in sources.yaml)';
comment on column ops.batch.started_at is 'Start of the pull';
comment on column ops.batch.finished_at is 'End of the pull';
comment on column ops.batch.error is 'Why it failed';

create table ops.batch_file (
    source text not null,
    path text not null,
    size_bytes bigint not null,
    fingerprint text not null,
    batch_id bigint not null references ops.batch,
    rows_read bigint not null,
    rows_not_due bigint not null,
    primary key (source, path)
);
comment on table ops.batch_file is 'Files already loaded; a file is read again when it changed or held rows not yet due';
comment on column ops.batch_file.source is 'Name of the source';
comment on column ops.batch_file.path is 'Absolute path or URL';
comment on column ops.batch_file.size_bytes is 'Size when read';
comment on column ops.batch_file.fingerprint is 'Size and modification time when read';
comment on column ops.batch_file.batch_id is 'Batch that read it last';
comment on column ops.batch_file.rows_read is 'Rows it held';
comment on column ops.batch_file.rows_not_due is 'Rows of it dated after the business date of that batch';

create table ops.batch_partition (
    batch_id bigint not null references ops.batch,
    entity text not null,
    business_date date not null,
    rows_changed bigint not null,
    primary key (batch_id, entity, business_date)
);
comment on table ops.batch_partition is 'Business dates that a batch changed, for the incremental snapshot';
comment on column ops.batch_partition.batch_id is 'Batch';
comment on column ops.batch_partition.entity is 'raw table';
comment on column ops.batch_partition.business_date is 'Business date with new or changed rows';
comment on column ops.batch_partition.rows_changed is 'Rows inserted or updated';

create table ops.run (
    run_id text primary key,
    as_of date not null,
    run_key text not null unique,
    seed integer not null,
    status text not null check (status in ('running', 'published', 'failed')),
    started_at timestamptz not null default now(),
    finished_at timestamptz,
    error text
);
comment on table ops.run is 'One night: a business date, attempted once or more';
comment on column ops.run.run_id is 'as_of and attempt, 2026-03-01.1';
comment on column ops.run.as_of is 'Business date; nothing later was used';
comment on column ops.run.run_key is 'Who asked for it (the Airflow run); asking again continues the same run';
comment on column ops.run.seed is 'Seed of every random choice';
comment on column ops.run.status is 'running, published or failed';
comment on column ops.run.started_at is 'First start';
comment on column ops.run.finished_at is 'When it was published or failed';
comment on column ops.run.error is 'Why it failed';

create table ops.stage_result (
    run_id text not null references ops.run on delete cascade,
    stage text not null,
    finished_at timestamptz not null default now(),
    seconds double precision not null,
    result jsonb not null,
    primary key (run_id, stage)
);
comment on table ops.stage_result is 'What each stage of a run counted, and how long it took';
comment on column ops.stage_result.run_id is 'Run';
comment on column ops.stage_result.stage is 'identity, snapshot, features, train.<model>, evaluate, promote, score, profile, load, audit, publish';
comment on column ops.stage_result.finished_at is 'End of the stage';
comment on column ops.stage_result.seconds is 'Duration, seconds';
comment on column ops.stage_result.result is 'Counts of the stage';

create table ops.published_run (
    singleton boolean primary key default true check (singleton),
    run_id text not null references ops.run,
    published_at timestamptz not null default now()
);
comment on table ops.published_run is 'The pointer: the run that every view in profile shows';
comment on column ops.published_run.singleton is 'Keeps the table at one row';
comment on column ops.published_run.run_id is 'Run that is shown';
comment on column ops.published_run.published_at is 'When the pointer moved there';

create table ops.publication (
    publication_id bigint generated always as identity primary key,
    run_id text not null,
    replaced_run_id text,
    action text not null check (action in ('publish', 'rollback')),
    at timestamptz not null default now()
);
comment on table ops.publication is 'Every move of the pointer';
comment on column ops.publication.publication_id is 'Order of the moves';
comment on column ops.publication.run_id is 'Run shown from then on';
comment on column ops.publication.replaced_run_id is 'Run shown before';
comment on column ops.publication.action is 'publish or rollback';
comment on column ops.publication.at is 'When';

create table ops.model_version (
    model_version text primary key,
    slot text not null check (slot in ('next', 'new', 'embedding')),
    model text not null,
    parameters jsonb not null,
    run_id text not null references ops.run on delete cascade,
    trained_through date not null,
    path text,
    status text not null check (status in ('candidate', 'champion', 'retired')),
    reason text not null,
    replaces text,
    metric text,
    value double precision,
    created_at timestamptz not null default now()
);
comment on table ops.model_version is 'Models that were saved for serving, and whether they earned their place';
comment on column ops.model_version.model_version is 'run_id/slot/model';
comment on column ops.model_version.slot is 'next: what they buy next, repeats allowed; new: not bought before; embedding: the customer vectors';
comment on column ops.model_version.model is 'Name in model.yaml';
comment on column ops.model_version.parameters is 'Parameters it was created with';
comment on column ops.model_version.run_id is 'Run that trained it';
comment on column ops.model_version.trained_through is 'Last business date it saw';
comment on column ops.model_version.path is 'Folder below the models folder, with evaluated/ (trained up to the holdout) and serving/ (trained on everything); null for a challenger that lost';
comment on column ops.model_version.status is 'candidate, champion (serves now) or retired';
comment on column ops.model_version.reason is 'Why it was or was not promoted';
comment on column ops.model_version.replaces is 'Champion it was judged against; null when there was none';
comment on column ops.model_version.metric is 'Metric of the decision';
comment on column ops.model_version.value is 'Its value on the holdout';
comment on column ops.model_version.created_at is 'When it was registered';
create unique index on ops.model_version (slot) where status = 'champion';

create table ops.evaluation (
    run_id text not null references ops.run on delete cascade,
    slot text not null,
    model text not null,
    role text not null check (role in ('candidate', 'champion')),
    metric text not null,
    k integer not null,
    value double precision not null,
    customers integer not null,
    primary key (run_id, slot, model, role, metric, k)
);
comment on table ops.evaluation is 'Every model of a night on the time-based holdout';
comment on column ops.evaluation.run_id is 'Run';
comment on column ops.evaluation.slot is 'next: all purchases; new: items not bought before; again: items bought before (recall within the list of next)';
comment on column ops.evaluation.model is 'Name in model.yaml';
comment on column ops.evaluation.role is 'candidate (trained tonight) or champion (last promoted version, as it was evaluated)';
comment on column ops.evaluation.metric is 'recall, precision, f1, ndcg, hit_rate, coverage';
comment on column ops.evaluation.k is 'Length of the list';
comment on column ops.evaluation.value is 'Mean over the customers, 0 to 1';
comment on column ops.evaluation.customers is 'Customers with something to predict';

create table ops.data_quality (
    run_id text not null references ops.run on delete cascade,
    check_name text not null,
    table_name text not null,
    value double precision not null,
    expected text not null,
    passed boolean not null,
    primary key (run_id, check_name, table_name)
);
comment on table ops.data_quality is 'The audit of a run before it may be published';
comment on column ops.data_quality.run_id is 'Run';
comment on column ops.data_quality.check_name is 'What was checked';
comment on column ops.data_quality.table_name is 'Profile table';
comment on column ops.data_quality.value is 'What was found';
comment on column ops.data_quality.expected is 'What was expected';
comment on column ops.data_quality.passed is 'Whether it held; one failure keeps the run unpublished';

create view ops.freshness as
    select source, entity, max(business_date) as loaded_through, max(finished_at) as last_loaded_at,
           sum(rows_inserted) as rows_inserted, sum(rows_rejected) as rows_rejected
    from ops.batch where status = 'loaded' group by source, entity;
comment on view ops.freshness is 'How far each source is loaded';
comment on column ops.freshness.source is 'Name of the source';
comment on column ops.freshness.entity is 'raw table it feeds';
comment on column ops.freshness.loaded_through is 'Latest business date pulled';
comment on column ops.freshness.last_loaded_at is 'When';
comment on column ops.freshness.rows_inserted is 'Rows so far';
comment on column ops.freshness.rows_rejected is 'Refused rows so far';
