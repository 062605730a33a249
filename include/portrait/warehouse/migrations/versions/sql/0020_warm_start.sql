alter table ops.model_version add column warm_nights integer not null default 0;
comment on column ops.model_version.warm_nights is 'Nights in a row, the last of them this one, whose training went on from the version of the night before; 0: from nothing';

comment on column ops.evaluation_group.dimension is 'all; history: what they had bought before the held-out days; channel: where they are seen; segment: that of the last published night';
comment on column ops.evaluation_group.customer_group is 'history: cold (nothing), light (up to five items), regular; channel: online, store, both; segment: its number';
