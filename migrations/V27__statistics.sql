-- Figures that are exact and cost the same whatever the log holds: what has been passed by the sweep is counted once, when it
-- is passed, and a reader counts no more than the log's tail. No append writes or locks any of them.

create table annals.event_rates (
    tenant_id uuid not null,
    minute    timestamptz not null,
    events    bigint not null,
    constraint event_rates_pkey primary key (tenant_id, minute),
    constraint event_rates_minute check (minute = date_trunc('minute', minute, 'UTC')),
    constraint event_rates_events check (events > 0)
);
comment on table annals.event_rates is 'Events per tenant and minute of recorded time up to the checkpoint sweep. The sweep that passes a stretch of the log adds it and lets go of minutes more than 25 hours old: readers ask for 24.';
comment on column annals.event_rates.tenant_id is 'Tenant.';
comment on column annals.event_rates.minute is 'Begin of the minute.';
comment on column annals.event_rates.events is 'How many events were recorded within it.';
create index event_rates_by_minute on annals.event_rates (minute);

-- What the sweep has passed already. Its row is held until the end, so that it passes nothing more meanwhile.
do $$
declare
    swept constant bigint := (select c.position from annals.checkpoints c where c.name = 'sweep' for update);
begin
    insert into annals.event_rates (tenant_id, minute, events)
    select e.tenant_id, date_trunc('minute', e.created_at, 'UTC'), count(*)
      from annals.events e
     where e.event_number <= swept and e.created_at >= now() - interval '25 hours'
     group by 1, 2;
end
$$;

-- What readers do by the way is counted on one of sixteen rows, so that readers at the same moment seldom meet on one.
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
comment on table annals.usage_counts is 'How often reads of a tenant found a snapshot and lifted old events. A crash of the server may lose the last moment''s.';
comment on column annals.usage_counts.tenant_id is 'Tenant.';
comment on column annals.usage_counts.uses is 'How often, as far as this row counts it: the figure is the sum over the shards.';
comment on column annals.usage_counts.shard is 'Which of sixteen rows: the counting server process, modulo 16.';
comment on column annals.usage_counts.name is 'snapshot_hit: a state was folded from a snapshot on; snapshot_miss: there was none to begin with; snapshot_corrupt: one was there and not as it had been written; upcast: an event was lifted; upcast_failed: nothing led to its current version.';

alter table annals.event_rates enable row level security;
alter table annals.usage_counts enable row level security;
create policy event_rates_read on annals.event_rates for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy event_rates_project on annals.event_rates for all to annals_projector using (true) with check (true);
create policy usage_counts_read on annals.usage_counts for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy usage_counts_project on annals.usage_counts for all to annals_projector using (true) with check (true);
grant select on annals.event_rates, annals.usage_counts to authenticated;
grant select, insert, update, delete on annals.event_rates to annals_projector;
grant select, insert, update on annals.usage_counts to annals_projector;
