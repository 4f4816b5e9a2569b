-- Statistics. Counts of events are exact, and reading them takes the same time for a log of any size: the sweep counts each event once,
-- when its checkpoint passes the event, and a reader adds only the events after that checkpoint. No append writes or locks these tables.

create table annals.event_counts (
    tenant_id  uuid not null,
    events     bigint not null,
    event_type text collate "C" not null,
    constraint event_counts_pkey primary key (tenant_id, event_type)
);
comment on table annals.event_counts is 'Events per tenant and type up to the checkpoint of the sweep.';
comment on column annals.event_counts.tenant_id is 'Tenant.';
comment on column annals.event_counts.events is 'The number of events.';
comment on column annals.event_counts.event_type is 'The event type.';

create table annals.event_rates (
    tenant_id uuid not null,
    minute    timestamptz not null,
    events    bigint not null,
    constraint event_rates_pkey primary key (tenant_id, minute),
    constraint event_rates_minute check (minute = date_trunc('minute', minute, 'UTC')),
    constraint event_rates_events check (events > 0)
);
comment on table annals.event_rates is
    'Events per tenant and minute of recorded time up to the checkpoint of the sweep. The sweep deletes minutes that are more than 25 hours old: readers ask for the last 24 hours.';
comment on column annals.event_rates.tenant_id is 'Tenant.';
comment on column annals.event_rates.minute is 'Begin of the minute, UTC.';
comment on column annals.event_rates.events is 'The number of events recorded within it.';
create index event_rates_by_minute on annals.event_rates (minute);

-- Readers count on one of sixteen rows (shards), so that concurrent readers seldom wait for each other.
create table annals.usage_counts (
    tenant_id uuid not null,
    uses      bigint not null,
    shard     smallint not null,
    name      text collate "C" not null,
    constraint usage_counts_pkey primary key (tenant_id, name, shard),
    constraint usage_counts_name check (name in ('snapshot_hit', 'snapshot_miss', 'snapshot_corrupt', 'upcast', 'upcast_failed')),
    constraint usage_counts_shard check (shard between 0 and 15),
    constraint usage_counts_uses check (uses > 0)
) with (fillfactor = 50);
comment on table annals.usage_counts is
    'How many times reads of a tenant used a snapshot, and how many events they upcast. A crash of the server may lose the counts of the last moment.';
comment on column annals.usage_counts.tenant_id is 'Tenant.';
comment on column annals.usage_counts.uses is 'The count of this shard; the figure is the sum over the shards.';
comment on column annals.usage_counts.shard is 'Number of the shard: process id of the server process, modulo 16.';
comment on column annals.usage_counts.name is 'snapshot_hit: a state was folded from a snapshot on; snapshot_miss: there was no snapshot; snapshot_corrupt: a snapshot did not match its digest; upcast: an event was upcast; upcast_failed: no upcaster led to its current version.';

alter table annals.event_counts enable row level security;
alter table annals.event_rates enable row level security;
alter table annals.usage_counts enable row level security;
create policy event_counts_read on annals.event_counts for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy event_counts_project on annals.event_counts for all to annals_projector using (true) with check (true);
create policy event_rates_read on annals.event_rates for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy event_rates_project on annals.event_rates for all to annals_projector using (true) with check (true);
create policy usage_counts_read on annals.usage_counts for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy usage_counts_project on annals.usage_counts for all to annals_projector using (true) with check (true);
grant select on annals.event_counts, annals.event_rates, annals.usage_counts to authenticated;
grant select, insert, update, delete on annals.event_counts, annals.event_rates to annals_projector;
grant select, insert, update on annals.usage_counts to annals_projector;
