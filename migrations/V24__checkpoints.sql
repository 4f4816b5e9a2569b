-- Checkpoints of replays beside the sweep's: whose each is, how the last run went, and who may know of it.
--
-- A name belongs to one consumer for good. What that consumer reads is kept with it, so that the same name cannot be used for
-- another selection, whose events before the position would then never be delivered.

alter table annals.checkpoints
    add column tenant_id       uuid,
    add column consumer        jsonb,
    add column run_started_at  timestamptz,
    add column run_ended_at    timestamptz,
    add column run_event_count bigint not null default 0,
    add column default_tenant_events bigint not null default 0,
    add column run_default_tenant_events bigint not null default 0,
    add column last_event_id   uuid,
    add column metadata        jsonb not null default '{}',
    -- What domain::CheckpointName calls printable.
    add constraint checkpoints_name_printable check (
        name !~ '[[:cntrl:]\u0080-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]'),
    add constraint checkpoints_consumer_known check ((name = 'sweep') = (consumer is null)),
    add constraint checkpoints_consumer_shape check (jsonb_typeof(consumer) = 'object'),
    add constraint checkpoints_sweep_reads_all check (name <> 'sweep' or tenant_id is null),
    add constraint checkpoints_metadata_shape check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 524288),
    add constraint checkpoints_run check (
        run_event_count between 0 and event_count
        and default_tenant_events between 0 and event_count and run_default_tenant_events between 0 and run_event_count
        and (run_started_at is not null or (run_ended_at is null and run_event_count = 0)));
comment on column annals.checkpoints.tenant_id is 'Tenant whose events the consumer reads; null: those of all.';
comment on column annals.checkpoints.consumer is 'What the consumer reads: tenant_id, event_types as they were asked for, from, to. Null for the sweep alone.';
comment on column annals.checkpoints.run_started_at is 'When the consumer last began to read; null for the sweep.';
comment on column annals.checkpoints.run_ended_at is 'When that run had read all there was; null while it goes on, or where it failed or was killed.';
comment on column annals.checkpoints.run_event_count is 'Events that run has dealt with; its rate is over run_started_at to run_ended_at or, while it goes on, updated_at.';
comment on column annals.checkpoints.default_tenant_events is 'How many of its events were the default tenant''s.';
comment on column annals.checkpoints.run_default_tenant_events is 'How many of the run''s events were the default tenant''s.';
comment on column annals.checkpoints.last_event_id is 'The last event that the consumer dealt with; null before the first, and for the sweep, which deals with streams.';
comment on column annals.checkpoints.metadata is 'What the consumer says about itself, as it was last given.';

-- Every caller may read how far the sweep has come: events beyond it are not projected yet. A tenant's replays are shown to callers who
-- see the tenant. The row of a replay of all tenants is shown to no request; annals.list_replays shows the default tenant's part of it.
alter policy checkpoints_read on annals.checkpoints using (
    name = 'sweep' or (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()))
);

-- Most installations have one tenant, the default one, and replay without naming it. Its staff see such replays with their own
-- tenant's events counted; they must not learn how many events other tenants have, hence a function and no policy.
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
    'Replays of the caller''s tenant, the hundred that moved last; of one that reads all tenants, what is the default tenant''s.';
grant execute on function annals.list_replays() to authenticated;

revoke execute on all functions in schema annals from public;
