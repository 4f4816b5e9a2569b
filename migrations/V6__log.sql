-- The log, and one head per stream.
--
-- Only the append functions write here. Triggers refuse every later change, also by the owner. The tables have no CHECK: PostgreSQL reads
-- and plans every CHECK anew for each INSERT, and the twelve that were here cost a single append as much as all indexes together. What they
-- said is checked once, before: over HTTP and in imports in Rust, by SQL in annals.post_event, and what is left in the append functions.
-- Columns of fixed width come first, so rows carry no padding. Text is compared byte by byte (collation "C"): ids have no language, and a
-- locale update of the operating system must not break an index.

create table annals.events (
    event_number      bigint not null,
    created_at        timestamptz not null,
    "timestamp"       timestamptz not null,
    id                uuid not null,
    tenant_id         uuid not null,
    user_id           uuid,
    causation_id      uuid,
    aggregate_version int not null,
    starter_sees      boolean not null default false,
    event_type        text collate "C" not null,
    aggregate_type    text collate "C" not null,
    aggregate_id      text collate "C" not null,
    version           text collate "C" not null,
    created_by        text collate "C" not null,
    posted_by         text collate "C" not null,
    started_by        text collate "C" not null,
    source            text collate "C" not null,
    correlation_id    text collate "C",
    command_id        text collate "C",
    idempotency_key   text collate "C",
    data              jsonb not null,
    metadata          jsonb not null,
    recorded          jsonb not null default '{}',
    constraint events_pkey primary key (event_number),
    -- Per tenant: ids of compensations are computed, so one tenant could otherwise take the id of another tenant's event.
    constraint events_id_key unique (tenant_id, id),
    constraint events_stream_version_key unique (tenant_id, aggregate_id, aggregate_type, aggregate_version)
);
comment on table annals.events is 'The log: all events in order. Triggers refuse every change of them.';
comment on column annals.events.event_number is 'Position over all streams: rising, with gaps. It is drawn after the stream is locked, so it rises within each stream.';
comment on column annals.events.created_at is 'Recorded time, by the database; strictly rising within a stream.';
comment on column annals.events."timestamp" is 'Business time: when it happened, as the client says; by default created_at.';
comment on column annals.events.id is 'UUID v7, chosen by the server before the append, so that it can find its event if the connection breaks before the answer arrives.';
comment on column annals.events.tenant_id is 'Tenant, from the token.';
comment on column annals.events.user_id is 'The person, if there is one.';
comment on column annals.events.causation_id is 'Id of the event that caused this one.';
comment on column annals.events.aggregate_version is 'Position in its stream: 1, 2, 3 … without gaps.';
comment on column annals.events.event_type is 'Name in the catalog: {aggregate_type}.{action}.';
comment on column annals.events.aggregate_type is 'Aggregate type of the stream.';
comment on column annals.events.aggregate_id is 'Id of the aggregate: a uuid or other printable text.';
comment on column annals.events.version is 'Version of the schema that data follows.';
comment on column annals.events.created_by is 'Actor: user:…, agent:…, service:… or system.';
comment on column annals.events.posted_by is 'Actor of the token. It differs from created_by if a service names another actor.';
comment on column annals.events.started_by is 'Actor of the stream''s first event, copied here so that policies need no second table.';
comment on column annals.events.starter_sees is 'Value of the type''s starter_sees when the event was appended, copied here so that policies need no second table.';
comment on column annals.events.source is 'Where it came from, as the client says; api by default.';
comment on column annals.events.correlation_id is 'Groups the events of one flow.';
comment on column annals.events.command_id is 'Id of the command that led to the event.';
comment on column annals.events.idempotency_key is 'The client''s key, unique per tenant and posted_by.';
comment on column annals.events.data is 'What happened, as the schema of the type''s version describes it.';
comment on column annals.events.metadata is 'Context as the client sent it: a reason and whatever the client adds. Not evidence: see recorded. Empty if annals.withheld_context has it. An event with the member migration_applied is refused, because HTTP reads add it to upcast events.';
comment on column annals.events.recorded is 'What the server observed: ip_address, user_agent and request_id over HTTP, posted_by always. No caller can write it. Empty if annals.withheld_context has it.';

-- Most indexes serve one filter each of the lists of events. events_idempotency_key finds retries, events_by_user and events_by_starter
-- also serve the policy below, and events_hidden_from_starter serves annals.has_hidden_events. Partial indexes contain only the rows that
-- their searches can find.
create unique index events_idempotency_key on annals.events (tenant_id, posted_by, idempotency_key) where idempotency_key is not null;
create index events_by_type on annals.events (tenant_id, event_type, event_number);
create index events_by_actor on annals.events (tenant_id, created_by, event_number);
create index events_by_user on annals.events (tenant_id, user_id, event_number) where created_by not like 'user:%' and user_id is not null;
create index events_by_starter on annals.events (tenant_id, started_by, event_number) where starter_sees and started_by <> created_by;
create index events_hidden_from_starter on annals.events (tenant_id, aggregate_type, aggregate_id) where not starter_sees and started_by <> created_by;
create index events_by_correlation on annals.events (tenant_id, correlation_id, event_number) where correlation_id is not null;
create index events_by_causation on annals.events (tenant_id, causation_id, event_number) where causation_id is not null;
create index events_by_command on annals.events (tenant_id, command_id, event_number) where command_id is not null;
create index events_by_source on annals.events (tenant_id, source, event_number) where source <> 'api';
create index events_by_number on annals.events (tenant_id, event_number);
-- For SQL that asks for a time range. Lists over HTTP convert it to numbers (event_minutes), which is exact.
create index events_by_time on annals.events using brin (created_at);

-- No cache: a number that a session draws in advance could be used by a later transaction, below a high-water mark that readers have
-- passed (see high_water_mark).
create sequence annals.event_numbers cache 1;
comment on sequence annals.event_numbers is 'Source of events.event_number.';

create table annals_locks.appends ();
comment on table annals_locks.appends is
    'An append locks it ROW EXCLUSIVE before it draws a number, until its transaction ends. Readers across streams check which transactions hold this lock (annals.high_water_mark).';

create table annals.heads (
    tenant_id         uuid not null,
    last_created_at   timestamptz not null,
    version           int not null,
    projected_version int not null default 0,
    aggregate_type    text collate "C" not null,
    aggregate_id      text collate "C" not null,
    started_by        text collate "C" not null,
    constraint heads_pkey primary key (tenant_id, aggregate_type, aggregate_id)
) with (fillfactor = 80);
comment on table annals.heads is
    'One row per stream, its lock and its outbox: version > projected_version means that events are not projected yet. Neither column is indexed, so updates stay on their page (HOT).';
comment on column annals.heads.tenant_id is 'Tenant of the stream.';
comment on column annals.heads.last_created_at is 'Recorded time of the last event.';
comment on column annals.heads.version is 'Version of the last event.';
comment on column annals.heads.projected_version is 'Version up to which read models contain the stream.';
comment on column annals.heads.aggregate_type is 'Aggregate type of the stream.';
comment on column annals.heads.aggregate_id is 'Id of the aggregate.';
comment on column annals.heads.started_by is 'Actor of the first event.';

select annals.make_append_only('annals.events', 'update', 'delete', 'truncate');
select annals.make_append_only('annals.heads', 'delete', 'truncate');

alter table annals.events enable row level security;
alter table annals.heads enable row level security;

-- The last two conditions repeat the predicates of the partial indexes events_by_starter and events_by_user, so that the few events of a
-- user are found among millions.
create policy events_read on annals.events for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or created_by = (select annals.caller_actor())
         or (started_by = (select annals.caller_actor()) and starter_sees and started_by <> created_by)
         or (user_id = (select annals.caller_user_id()) and created_by not like 'user:%'))
);
create policy events_project on annals.events for select to annals_projector using (true);

-- State is a fold of all events of a stream, so the starter of the stream sees it only while no event of the stream is hidden from them. An
-- event is hidden from the starter if its actor (created_by) is another one, its type did not say starter_sees, and its user_id is not the
-- starter's. Agents have no user id, and events of services often have none, so a comparison of null with null must not count as equal.
create function annals.has_hidden_events(tenant_id uuid, aggregate_type text, aggregate_id text, starter text, person uuid) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (
        select from annals.events e
         where e.tenant_id = has_hidden_events.tenant_id and e.aggregate_type = has_hidden_events.aggregate_type
           and e.aggregate_id = has_hidden_events.aggregate_id and not e.starter_sees and e.started_by <> e.created_by
           and e.started_by = starter and (e.user_id = person) is not true);
end
$$;
comment on function annals.has_hidden_events(uuid, text, text, text, uuid) is
    'Whether a stream that this actor started has events that are hidden from the actor. For the projector, which sees all events, and for annals.starter_sees_all.';
grant execute on function annals.has_hidden_events(uuid, text, text, text, uuid) to annals_projector;

-- With the owner's rights, because it searches for events that are hidden from the caller. It only tells about streams of the caller.
create function annals.starter_sees_all(aggregate_type text, aggregate_id text) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp as $$
begin
    return not annals.has_hidden_events(annals.caller_tenant(), aggregate_type, aggregate_id, annals.caller_actor(), annals.caller_user_id());
end
$$;
comment on function annals.starter_sees_all(text, text) is
    'Whether no event of a stream that the caller started is hidden from them. For a stream that the caller did not start it returns true, so a policy must also check started_by.';
grant execute on function annals.starter_sees_all(text, text) to authenticated;

-- A policy that reads another table would bring that table's policy into every plan that reads this one. A function has a plan of its own.
create function annals.sees_an_event(stream_type text, stream_id text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
begin
    return exists (
        select from annals.events e
         where e.tenant_id = annals.caller_tenant() and e.aggregate_id = stream_id and e.aggregate_type = stream_type
         order by e.aggregate_version);
end
$$;
comment on function annals.sees_an_event(text, text) is 'Whether the caller sees an event of this stream.';
grant execute on function annals.sees_an_event(text, text) to authenticated;

create policy heads_read on annals.heads for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or started_by = (select annals.caller_actor())
         or annals.sees_an_event(aggregate_type, aggregate_id))
);
create policy heads_project on annals.heads for select to annals_projector using (true);
create policy heads_progress on annals.heads for update to annals_projector using (true) with check (true);

create function annals.sees_state(stream_type text, stream_id text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    -- A variable: with the function's call in the condition, the policy of annals.heads would be evaluated first, and search the stream.
    actor text;
begin
    if annals.caller_sees_tenant() then
        return true;
    end if;
    actor := annals.caller_actor();
    perform from annals.heads h
      where h.tenant_id = annals.caller_tenant() and h.aggregate_type = stream_type and h.aggregate_id = stream_id and h.started_by = actor;
    return found and annals.starter_sees_all(stream_type, stream_id);
end
$$;
comment on function annals.sees_state(text, text) is
    'Whether the caller sees the state of this stream: because they see the tenant, or because they started it and none of its events is hidden from them.';
grant execute on function annals.sees_state(text, text) to authenticated;

grant select on annals.events, annals.heads to authenticated, annals_projector;
grant update (projected_version) on annals.heads to annals_projector;

-- With starter_sees, the actor who started a stream sees what others did in it. But the starter may not read the address, the browser and
-- the internal reason of those others. A policy hides rows, not columns, and a right to a column is the same for all callers, so metadata
-- and recorded of such events are stored in a table with a policy of its own, by the append functions.
create table annals.withheld_context (
    event_number bigint not null,
    tenant_id    uuid not null,
    user_id      uuid,
    created_by   text collate "C" not null,
    metadata     jsonb not null,
    recorded     jsonb not null,
    constraint withheld_context_pkey primary key (event_number)
);
comment on table annals.withheld_context is
    'metadata and recorded of events that a stream''s starter sees although others appended them. In annals.events both are empty then. Readers put them back: public.event_stream and the HTTP API.';
comment on column annals.withheld_context.event_number is 'The event.';
comment on column annals.withheld_context.tenant_id is 'Its tenant.';
comment on column annals.withheld_context.user_id is 'Its user_id, if it has one.';
comment on column annals.withheld_context.created_by is 'Its actor.';
comment on column annals.withheld_context.metadata is 'Its metadata.';
comment on column annals.withheld_context.recorded is 'Its recorded.';
select annals.make_append_only('annals.withheld_context', 'update', 'delete', 'truncate');
alter table annals.withheld_context enable row level security;
create policy withheld_context_read on annals.withheld_context for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or created_by = (select annals.caller_actor())
         or (user_id = (select annals.caller_user_id()) and created_by not like 'user:%'))
);
create policy withheld_context_project on annals.withheld_context for select to annals_projector using (true);
grant select on annals.withheld_context to authenticated, annals_projector;

revoke execute on all functions in schema annals from public;
