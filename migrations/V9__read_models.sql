-- Read models that every aggregate type has: the state of each entity as JSON, parked streams and skipped events.
--
-- annals_projector writes them, through functions with the invoker's rights, in the transaction that moves the progress in annals.heads.
-- Requests only read.

create table annals.entities (
    tenant_id      uuid not null,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    deleted_at     timestamptz,
    version        int not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    started_by     text collate "C" not null,
    state          jsonb not null,
    constraint entities_pkey primary key (tenant_id, aggregate_type, aggregate_id),
    constraint entities_version_positive check (version > 0),
    -- The fold in Rust limits a state to 1 MiB of text. As jsonb that is at most 6.3 MB: `[1,1,1,…]`.
    constraint entities_state_shape check (jsonb_typeof(state) = 'object' and pg_column_size(state) <= 8388608)
);
comment on table annals.entities is 'State of every aggregate as JSON: the fold of its events up to version.';
comment on column annals.entities.tenant_id is 'Tenant of the stream.';
comment on column annals.entities.created_at is 'Recorded time of the first event.';
comment on column annals.entities.updated_at is 'Recorded time of the event at version.';
comment on column annals.entities.version is 'Version of the last event folded in; equals the head''s projected_version.';
comment on column annals.entities.deleted_at is 'Recorded time of the event that deleted it; the state is kept. Null: not deleted.';
comment on column annals.entities.aggregate_type is 'Aggregate type of the stream.';
comment on column annals.entities.aggregate_id is 'Id of the aggregate.';
comment on column annals.entities.started_by is 'Actor of the stream''s first event, for the policy.';
comment on column annals.entities.state is 'The entity''s fields; child collections are arrays of objects with an id.';

create table annals.parked_streams (
    tenant_id         uuid not null,
    parked_at         timestamptz not null default clock_timestamp(),
    event_id          uuid not null,
    event_number      bigint not null,
    decided_by        uuid,
    aggregate_version int not null,
    attempts          int not null default 1,
    retrying          boolean not null default false,
    aggregate_type    text collate "C" not null,
    aggregate_id      text collate "C" not null,
    error_code        text not null,
    error             text not null,
    constraint parked_streams_pkey primary key (tenant_id, aggregate_type, aggregate_id),
    constraint parked_streams_attempts check (attempts > 0)
);
comment on table annals.parked_streams is
    'Streams whose next event could not be applied. They wait here, visibly, while all others continue.';
comment on column annals.parked_streams.tenant_id is 'Tenant of the stream.';
comment on column annals.parked_streams.parked_at is 'When the last attempt failed.';
comment on column annals.parked_streams.event_id is 'The event that could not be applied.';
comment on column annals.parked_streams.event_number is 'Number of that event.';
comment on column annals.parked_streams.decided_by is 'The projection.retried or projection.skipped event that decides about it; null while there is none. A retry that fails sets it back to null.';
comment on column annals.parked_streams.aggregate_version is 'Version of that event: one more than the head''s projected_version.';
comment on column annals.parked_streams.attempts is 'How many times it has failed.';
comment on column annals.parked_streams.retrying is 'True once the projector has carried out the decision and no longer leaves the stream out. The row is then deleted in the transaction that projects the stream up to its head, not before: if the projector is killed, a sweep finds the stream by this row.';
comment on column annals.parked_streams.aggregate_type is 'Aggregate type of the stream.';
comment on column annals.parked_streams.aggregate_id is 'Id of the aggregate.';
comment on column annals.parked_streams.error_code is 'SQLSTATE of the failure, or a code of Annals'' own, such as state_too_large.';
comment on column annals.parked_streams.error is 'Message of PostgreSQL or of Annals. PostgreSQL''s detail, which quotes the whole row, is left out.';

create table annals.skipped_events (
    tenant_id         uuid not null,
    skipped_at        timestamptz not null default clock_timestamp(),
    event_id          uuid not null,
    instruction_id    uuid not null,
    aggregate_version int not null,
    aggregate_type    text collate "C" not null,
    aggregate_id      text collate "C" not null,
    constraint skipped_events_pkey primary key (tenant_id, aggregate_type, aggregate_id, aggregate_version)
);
comment on table annals.skipped_events is 'Events that staff decided to leave out of state. Every fold leaves them out.';
comment on column annals.skipped_events.tenant_id is 'Tenant of the stream.';
comment on column annals.skipped_events.skipped_at is 'When the projector carried the decision out.';
comment on column annals.skipped_events.event_id is 'The event left out.';
comment on column annals.skipped_events.instruction_id is 'The projection.skipped event that records the decision, with who and why.';
comment on column annals.skipped_events.aggregate_version is 'Its version.';
comment on column annals.skipped_events.aggregate_type is 'Aggregate type of the stream.';
comment on column annals.skipped_events.aggregate_id is 'Id of the aggregate.';
alter table annals.entities enable row level security;
alter table annals.parked_streams enable row level security;
alter table annals.skipped_events enable row level security;
create policy entities_read on annals.entities for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or (started_by = (select annals.caller_actor()) and annals.starter_sees_all(aggregate_type, aggregate_id)))
);
create policy parked_streams_read on annals.parked_streams for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));

-- A caller who sees a stream's state may fold it (time travel), and the fold must leave out the same events.
create policy skipped_events_read on annals.skipped_events for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or annals.sees_state(aggregate_type, aggregate_id))
);
create policy entities_project on annals.entities for all to annals_projector using (true) with check (true);
create policy parked_streams_project on annals.parked_streams for all to annals_projector using (true) with check (true);
create policy skipped_events_project on annals.skipped_events for all to annals_projector using (true) with check (true);
grant select on annals.entities, annals.parked_streams, annals.skipped_events to authenticated;
grant select, insert, update, delete on annals.entities, annals.parked_streams to annals_projector;
grant select, insert on annals.skipped_events to annals_projector;

-- The decision to retry or skip a parked event is itself an event. The projector carries it out when it projects that event.
-- No inverse: projection.retried and projection.skipped, because a decision that was carried out stays.
select annals.declare_event_type(
    'projection.retried', '"none"', '{staff,service}', 'Staff asked for a parked event to be applied again.',
    '{"type": "object", "required": ["event_id"], "additionalProperties": false,
      "properties": {"event_id": {"type": "string", "format": "uuid"}, "reason": {"type": "string", "minLength": 1, "maxLength": 1000}}}',
    '{"event_id": "018f8a2e-0000-7000-8000-000000000001", "reason": "the constraint was mended"}',
    appended_by => 'processing');
select annals.declare_event_type(
    'projection.skipped', '"none"', '{staff,service}', 'Staff decided that a parked event stays out of state.',
    '{"type": "object", "required": ["event_id", "reason"], "additionalProperties": false,
      "properties": {"event_id": {"type": "string", "format": "uuid"}, "reason": {"type": "string", "minLength": 1, "maxLength": 1000}}}',
    '{"event_id": "018f8a2e-0000-7000-8000-000000000001", "reason": "posted by mistake, compensated by hand"}',
    appended_by => 'processing');

-- There is at most one decision per failed attempt: it is recorded on the parked stream in the transaction that appends it.
create function annals.mark_decision(tenant uuid, parked_event text, decision uuid) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- NOWAIT, to avoid a deadlock: a projector that holds this row will lock heads, and this append holds one. The append is retried.
    perform from annals.parked_streams p
      where p.tenant_id = tenant and p.event_id::text = parked_event and p.decided_by is null
        for no key update nowait;
    if not found then
        perform annals.refuse(409, 'not_parked',
            'no stream waits for a decision about this event: it is not parked, or the decision has been made already');
    end if;
    update annals.parked_streams p set decided_by = decision
     where p.tenant_id = tenant and p.event_id::text = parked_event;
end
$$;
comment on function annals.mark_decision(uuid, text, uuid) is
    'For the append functions: records the decision of a projection.retried or projection.skipped event on the parked stream. Refuses a second decision.';

revoke execute on all functions in schema annals from public;
