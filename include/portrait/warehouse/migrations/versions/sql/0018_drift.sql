create table ops.profile_drift (
    run_id text not null references ops.run on delete cascade,
    against_run_id text not null,
    column_name text not null,
    psi double precision not null,
    primary key (run_id, column_name)
);
comment on table ops.profile_drift is 'How far the customers as a whole moved since the last published night';
comment on column ops.profile_drift.run_id is 'Run';
comment on column ops.profile_drift.against_run_id is 'Published run it was compared with';
comment on column ops.profile_drift.column_name is 'Column of profile.customer_profile; numbers by the deciles of the earlier night';
comment on column ops.profile_drift.psi is 'Population stability index: 0 alike, below 0.1 nothing to see, from 0.25 on an alert (Siddiqi 2006)';
comment on column ops.alert.kind is 'column_added, column_missing, late; no_suggestions, no_inferences, mlflow: a side task of a night failed; profile_drift';
