-- Checkpoints: the positions of the sweep and of replays.
--
-- A name belongs to one consumer permanently. The consumer's filters are stored with the name, and a run with other filters is refused: it
-- would never deliver the events of its selection that are before the position.

create table annals.checkpoints (
    name                      text collate "C" not null,
    position                  bigint not null default 0,
    event_count               bigint not null default 0,
    default_tenant_events     bigint not null default 0,
    updated_at                timestamptz not null default clock_timestamp(),
    tenant_id                 uuid,
    consumer                  jsonb,
    run_started_at            timestamptz,
    run_ended_at              timestamptz,
    run_event_count           bigint not null default 0,
    run_default_tenant_events bigint not null default 0,
    last_event_id             uuid,
    metadata                  jsonb not null default '{}',
    constraint checkpoints_pkey primary key (name),
    constraint checkpoints_name_shape check (length(name) between 1 and 100),
    constraint checkpoints_position check (position >= 0 and event_count >= 0),
    -- Printable text, as the type CheckpointName in Rust checks it.
    constraint checkpoints_name_printable check (
        name !~ '[[:cntrl:]\u0080-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]'),
    constraint checkpoints_consumer_known check ((name = 'sweep') = (consumer is null)),
    constraint checkpoints_consumer_shape check (jsonb_typeof(consumer) = 'object'),
    constraint checkpoints_sweep_reads_all check (name <> 'sweep' or tenant_id is null),
    constraint checkpoints_metadata_shape check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 524288),
    constraint checkpoints_run check (
        run_event_count between 0 and event_count
        and default_tenant_events between 0 and event_count and run_default_tenant_events between 0 and run_event_count
        and (run_started_at is not null or (run_ended_at is null and run_event_count = 0)))
);
comment on table annals.checkpoints is 'Named positions of consumers that read across streams: the sweep and replays.';
comment on column annals.checkpoints.name is 'Name of the consumer.';
comment on column annals.checkpoints.position is 'The consumer has processed every event with this number or a lower one.';
comment on column annals.checkpoints.event_count is 'The number of events that it has processed.';
comment on column annals.checkpoints.updated_at is 'When it last moved.';
comment on column annals.checkpoints.tenant_id is 'Tenant whose events the consumer reads; null: those of all.';
comment on column annals.checkpoints.consumer is 'What the consumer reads: tenant_id, event_types as requested, from, to. Null only for the sweep.';
comment on column annals.checkpoints.run_started_at is 'When the last run of the consumer began; null for the sweep.';
comment on column annals.checkpoints.run_ended_at is 'When that run had read everything; null while it runs, or if it failed or was killed.';
comment on column annals.checkpoints.run_event_count is 'Events that the run has processed. Its rate is over run_started_at to run_ended_at or, while it runs, updated_at.';
comment on column annals.checkpoints.default_tenant_events is 'How many of its events belong to the default tenant.';
comment on column annals.checkpoints.run_default_tenant_events is 'How many of the run''s events belong to the default tenant.';
comment on column annals.checkpoints.last_event_id is 'Id of the last event that the consumer processed; null before the first, and for the sweep, which processes streams.';
comment on column annals.checkpoints.metadata is 'What the consumer says about itself, as it last gave it.';
insert into annals.checkpoints (name) values ('sweep');

alter table annals.checkpoints enable row level security;

-- Every caller may read the position of the sweep: events beyond it may not be projected yet. A tenant's replays are visible to callers who
-- see the tenant. The row of a replay of all tenants is visible to no request; annals.list_replays shows the default tenant's part of it.
create policy checkpoints_read on annals.checkpoints for select to authenticated using (
    name = 'sweep' or (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()))
);
create policy checkpoints_project on annals.checkpoints for all to annals_projector using (true) with check (true);
grant select on annals.checkpoints to authenticated;
grant select, insert, update, delete on annals.checkpoints to annals_projector;

-- Most installations have only the default tenant, and replay without naming it. Its staff see such replays, but only with the number of
-- their own tenant's events: they must not learn how many events other tenants have. A policy cannot do that, so this is a function.
create function annals.list_replays() returns table (
    name text, "position" bigint, event_count bigint, last_event_id uuid, metadata jsonb, updated_at timestamptz, run_started_at timestamptz,
    run_ended_at timestamptz, run_event_count bigint
) language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select c.name, c.position, case when c.tenant_id is null then c.default_tenant_events else c.event_count end,
           -- The last event of a replay of all tenants may be another tenant's.
           case when c.tenant_id is not null then c.last_event_id end, c.metadata, c.updated_at, c.run_started_at, c.run_ended_at,
            case when c.tenant_id is null then c.run_default_tenant_events else c.run_event_count end
      from annals.checkpoints c
     where c.name <> 'sweep' and (select annals.caller_sees_tenant())
       and coalesce(c.tenant_id, '00000000-0000-0000-0000-000000000000') = (select annals.caller_tenant())
     order by c.updated_at desc, c.name limit 100
$$;
comment on function annals.list_replays() is
    'Replays of the caller''s tenant, the hundred that moved last. For a replay of all tenants it returns the default tenant''s part.';
grant execute on function annals.list_replays() to authenticated;

revoke execute on all functions in schema annals from public;
