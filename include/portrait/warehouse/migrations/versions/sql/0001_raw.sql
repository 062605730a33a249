create schema raw;
create schema quarantine;
create schema staging;

comment on schema raw is 'Pulled rows, typed, idempotent on the natural key of their source';
comment on schema quarantine is 'Rows refused by a contract, each with its reason';
comment on schema staging is 'Batches on their way in; nothing here outlives its batch';

create table raw.online_event (
    source text not null,
    source_row_id text not null,
    event_id text,
    event_name text not null,
    occurred_at timestamptz not null,
    account_id text,
    device_id text,
    session_id text,
    card_hash text,
    phone_hash text,
    email_hash text,
    sku text,
    search_query text,
    quantity numeric(18,4),
    unit_price numeric(18,4),
    amount numeric(18,4),
    currency text,
    order_id text,
    rating numeric(18,4),
    channel text,
    store_id text,
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id, business_date)
) partition by range (business_date);

comment on table raw.online_event is 'What customers did in the app and on the web, one row an event; an order has one event a line';
comment on column raw.online_event.source is 'Name of the source in sources.yaml';
comment on column raw.online_event.source_row_id is 'Natural key of the row in that source';
comment on column raw.online_event.business_date is 'Business day, in the time zone of the source';
comment on column raw.online_event.batch_id is 'ops.batch that wrote the row last';
comment on column raw.online_event.loaded_at is 'When it was written last';
comment on column raw.online_event.event_id is 'Id of the event in its source';
comment on column raw.online_event.event_name is 'Segment ecommerce event in snake_case';
comment on column raw.online_event.occurred_at is 'When it happened';
comment on column raw.online_event.account_id is 'Online account, null when not logged in';
comment on column raw.online_event.device_id is 'Device or browser cookie';
comment on column raw.online_event.session_id is 'Visit the event belongs to';
comment on column raw.online_event.card_hash is 'Membership card, keyed hash';
comment on column raw.online_event.phone_hash is 'Phone in E.164, keyed hash';
comment on column raw.online_event.email_hash is 'E-mail in lower case, keyed hash';
comment on column raw.online_event.sku is 'Product, null for a search';
comment on column raw.online_event.search_query is 'What was typed into the search';
comment on column raw.online_event.quantity is 'Units ordered or refunded';
comment on column raw.online_event.unit_price is 'Price of one unit, in currency';
comment on column raw.online_event.amount is 'Line amount, in currency, never negative';
comment on column raw.online_event.currency is 'ISO 4217 code';
comment on column raw.online_event.order_id is 'Order the line belongs to';
comment on column raw.online_event.rating is 'Stars of a review';
comment on column raw.online_event.channel is 'app or web';
comment on column raw.online_event.store_id is 'Store, where an event has one';

create table raw.pos_receipt (
    source text not null,
    source_row_id text not null,
    store_id text not null,
    workstation_id text not null,
    sequence_number bigint not null,
    occurred_at timestamptz not null,
    card_hash text,
    phone_hash text,
    kind text not null,
    total_amount numeric(18,4) not null,
    currency text,
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id, business_date)
) partition by range (business_date);

comment on table raw.pos_receipt is 'Receipts and returns at the tills (ARTS POSLog header), one row a receipt';
comment on column raw.pos_receipt.source is 'Name of the source in sources.yaml';
comment on column raw.pos_receipt.source_row_id is 'Natural key of the row in that source';
comment on column raw.pos_receipt.business_date is 'Business day of the store';
comment on column raw.pos_receipt.batch_id is 'ops.batch that wrote the row last';
comment on column raw.pos_receipt.loaded_at is 'When it was written last';
comment on column raw.pos_receipt.store_id is 'Store';
comment on column raw.pos_receipt.workstation_id is 'Till';
comment on column raw.pos_receipt.sequence_number is 'Receipt number of the till on that business day';
comment on column raw.pos_receipt.occurred_at is 'When the receipt was closed';
comment on column raw.pos_receipt.card_hash is 'Membership card shown, keyed hash';
comment on column raw.pos_receipt.phone_hash is 'Phone typed at the till, keyed hash';
comment on column raw.pos_receipt.kind is 'sale or return';
comment on column raw.pos_receipt.total_amount is 'Receipt total, in currency, negative for a return';
comment on column raw.pos_receipt.currency is 'ISO 4217 code';

create table raw.pos_receipt_line (
    source text not null,
    source_row_id text not null,
    store_id text not null,
    workstation_id text not null,
    sequence_number bigint not null,
    line_number bigint not null,
    sku text not null,
    quantity numeric(18,4) not null,
    unit_price numeric(18,4),
    discount_amount numeric(18,4),
    line_amount numeric(18,4),
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id, business_date)
) partition by range (business_date);

comment on table raw.pos_receipt_line is 'Lines of receipts, one row a line';
comment on column raw.pos_receipt_line.source is 'Name of the source in sources.yaml';
comment on column raw.pos_receipt_line.source_row_id is 'Natural key of the row in that source';
comment on column raw.pos_receipt_line.business_date is 'Business day of the store';
comment on column raw.pos_receipt_line.batch_id is 'ops.batch that wrote the row last';
comment on column raw.pos_receipt_line.loaded_at is 'When it was written last';
comment on column raw.pos_receipt_line.store_id is 'Store';
comment on column raw.pos_receipt_line.workstation_id is 'Till';
comment on column raw.pos_receipt_line.sequence_number is 'Receipt number';
comment on column raw.pos_receipt_line.line_number is 'Position on the receipt';
comment on column raw.pos_receipt_line.sku is 'Product';
comment on column raw.pos_receipt_line.quantity is 'Units, negative on a return';
comment on column raw.pos_receipt_line.unit_price is 'Price of one unit, in currency';
comment on column raw.pos_receipt_line.discount_amount is 'Discount on the line, in currency';
comment on column raw.pos_receipt_line.line_amount is 'quantity x unit_price - discount_amount';

create table raw.member (
    source text not null,
    source_row_id text not null,
    member_id text not null,
    account_id text,
    card_hash text,
    phone_hash text,
    email_hash text,
    gender text,
    birth_date date,
    region text,
    city text,
    level text,
    home_store text,
    occurred_at timestamptz,
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id)
);

comment on table raw.member is 'People as the membership system and the app know them, one row a member of a source';
comment on column raw.member.source is 'Name of the source in sources.yaml';
comment on column raw.member.source_row_id is 'Natural key of the row in that source';
comment on column raw.member.business_date is 'Business day, in the time zone of the source';
comment on column raw.member.batch_id is 'ops.batch that wrote the row last';
comment on column raw.member.loaded_at is 'When it was written last';
comment on column raw.member.member_id is 'Id of the person in the source';
comment on column raw.member.account_id is 'Online account';
comment on column raw.member.card_hash is 'Membership card, keyed hash';
comment on column raw.member.phone_hash is 'Phone in E.164, keyed hash';
comment on column raw.member.email_hash is 'E-mail in lower case, keyed hash';
comment on column raw.member.gender is 'As declared';
comment on column raw.member.birth_date is 'As declared, not yet checked';
comment on column raw.member.region is 'Province or country';
comment on column raw.member.city is 'City';
comment on column raw.member.level is 'Member level';
comment on column raw.member.home_store is 'Store of registration';
comment on column raw.member.occurred_at is 'When the person joined';

create table raw.product (
    source text not null,
    source_row_id text not null,
    sku text not null,
    gtin text,
    name text,
    name_zh text,
    brand text,
    category_1 text,
    category_2 text,
    category_3 text,
    list_price numeric(18,4),
    launched_on date,
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id)
);

comment on table raw.product is 'The assortment, one row a sku';
comment on column raw.product.source is 'Name of the source in sources.yaml';
comment on column raw.product.source_row_id is 'Natural key of the row in that source';
comment on column raw.product.business_date is 'Business day, in the time zone of the source';
comment on column raw.product.batch_id is 'ops.batch that wrote the row last';
comment on column raw.product.loaded_at is 'When it was written last';
comment on column raw.product.sku is 'Stock keeping unit';
comment on column raw.product.gtin is 'Global trade item number';
comment on column raw.product.name is 'Name';
comment on column raw.product.name_zh is 'Chinese name';
comment on column raw.product.brand is 'Brand';
comment on column raw.product.category_1 is 'Top category';
comment on column raw.product.category_2 is 'Second category';
comment on column raw.product.category_3 is 'Third category';
comment on column raw.product.list_price is 'List price, in currency';
comment on column raw.product.launched_on is 'First day in the assortment';

create table raw.store (
    source text not null,
    source_row_id text not null,
    store_id text not null,
    name text,
    region text,
    city text,
    city_tier bigint,
    opened_on date,
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id)
);

comment on table raw.store is 'The stores, one row a store';
comment on column raw.store.source is 'Name of the source in sources.yaml';
comment on column raw.store.source_row_id is 'Natural key of the row in that source';
comment on column raw.store.business_date is 'Business day, in the time zone of the source';
comment on column raw.store.batch_id is 'ops.batch that wrote the row last';
comment on column raw.store.loaded_at is 'When it was written last';
comment on column raw.store.store_id is 'Store';
comment on column raw.store.name is 'Name';
comment on column raw.store.region is 'Province';
comment on column raw.store.city is 'City';
comment on column raw.store.city_tier is 'Tier of the city, 1 is the largest';
comment on column raw.store.opened_on is 'Opening day';

create table raw.consent_event (
    source text not null,
    source_row_id text not null,
    consent_id text not null,
    account_id text,
    card_hash text,
    phone_hash text,
    email_hash text,
    purpose text not null,
    granted boolean not null,
    occurred_at timestamptz not null,
    business_date date not null,
    batch_id bigint not null,
    loaded_at timestamptz not null default now(),
    primary key (source, source_row_id, business_date)
) partition by range (business_date);

comment on table raw.consent_event is 'Consent given and withdrawn, one row a statement; missing means no';
comment on column raw.consent_event.source is 'Name of the source in sources.yaml';
comment on column raw.consent_event.source_row_id is 'Natural key of the row in that source';
comment on column raw.consent_event.business_date is 'Business day, in the time zone of the source';
comment on column raw.consent_event.batch_id is 'ops.batch that wrote the row last';
comment on column raw.consent_event.loaded_at is 'When it was written last';
comment on column raw.consent_event.consent_id is 'Id of the statement';
comment on column raw.consent_event.account_id is 'Online account';
comment on column raw.consent_event.card_hash is 'Membership card, keyed hash';
comment on column raw.consent_event.phone_hash is 'Phone, keyed hash';
comment on column raw.consent_event.email_hash is 'E-mail, keyed hash';
comment on column raw.consent_event.purpose is 'What the data may be used for';
comment on column raw.consent_event.granted is 'true given, false withdrawn';
comment on column raw.consent_event.occurred_at is 'When it was stated';

create table quarantine.rejected_row (
    source text not null,
    path text not null,
    row_number bigint not null,
    payload_md5 text not null,
    batch_id bigint not null,
    reason_code text not null,
    reason text not null,
    payload jsonb not null,
    first_seen_at timestamptz not null default now(),
    resolved_at timestamptz,
    primary key (source, path, row_number, payload_md5)
);
comment on table quarantine.rejected_row is 'Rows that a contract refused; personal data in them is masked';
comment on column quarantine.rejected_row.source is 'Name of the source in sources.yaml';
comment on column quarantine.rejected_row.path is 'File the row came in';
comment on column quarantine.rejected_row.row_number is 'Position in the file, the first data row is 1';
comment on column quarantine.rejected_row.payload_md5 is 'Fingerprint of the payload, so that a redelivery is not listed twice';
comment on column quarantine.rejected_row.batch_id is 'ops.batch that met the row first';
comment on column quarantine.rejected_row.reason_code is 'Machine-readable reason, kind:column';
comment on column quarantine.rejected_row.reason is 'The reason in a sentence';
comment on column quarantine.rejected_row.payload is 'The row as delivered, personal data masked';
comment on column quarantine.rejected_row.first_seen_at is 'When it was first refused';
comment on column quarantine.rejected_row.resolved_at is 'When a later delivery of the row was accepted, null while open';
create index on quarantine.rejected_row (source, reason_code);
