-- The log, and one head per stream.
--
-- Only the append functions write here. Triggers refuse every later change, also by the owner. Columns of fixed width come first, so rows
-- carry no padding. Text is compared byte by byte (collation "C"): ids have no language, and a locale update of the operating system must
-- not break an index.

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
    constraint events_stream_version_key unique (tenant_id, aggregate_id, aggregate_type, aggregate_version),
    constraint events_version_positive check (aggregate_version > 0),
    constraint events_type_of_aggregate check (starts_with(event_type, aggregate_type || '.')),
    -- A coarse bound. The exact rule is annals.text_fault, and the same in Rust.
    constraint events_aggregate_id_shape check (
        length(aggregate_id) between 1 and 128
        and aggregate_id !~ '[[:cntrl:]\u0080-\u009F\u00AD\u200B\u200C\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]'),
    -- The years that RFC 3339 can express. This also refuses infinity, which no answer could contain.
    constraint events_timestamp_range check ("timestamp" >= '0001-01-01 00:00:00+00' and "timestamp" < '10000-01-01 00:00:00+00'),
    constraint events_created_by_shape check (length(created_by) <= 100 and created_by ~ '^(user|agent|service):[^[:cntrl:]]+$|^system$'),
    constraint events_lengths check (length(source) between 1 and 100 and length(correlation_id) between 1 and 128
                                     and length(command_id) between 1 and 128 and length(idempotency_key) between 1 and 255),
    -- Coarse bounds, cheap enough for every append. The callers check the exact ones: 256 KiB and 16 KiB of JSON text.
    constraint events_data_shape check (jsonb_typeof(data) = 'object' and pg_column_size(data) <= 4194304),
    constraint events_metadata_shape check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 524288),
    -- An event that functions in Rust cannot parse would stop the projection of all tenants: one with more levels than the 127 of
    -- serde_json, or with a key that serde_json reserves for itself. Requests may have 64 levels, and the JSON around them adds a few.
    -- A document of less than 512 bytes cannot have 100 levels, so small ones are not searched.
    constraint events_depth check ((pg_column_size(data) < 512 or not jsonb_path_exists(data, 'strict $.**{100}'))
                                   and (pg_column_size(metadata) < 512 or not jsonb_path_exists(metadata, 'strict $.**{100}'))),
    constraint events_keys check (
        not jsonb_path_exists(data, '$.** ? (exists(@."$serde_json::private::Number") || exists(@."$serde_json::private::RawValue"))')
        and not jsonb_path_exists(metadata, '$.** ? (exists(@."$serde_json::private::Number") || exists(@."$serde_json::private::RawValue"))')),
    constraint events_recorded_shape check (jsonb_typeof(recorded) = 'object'),
    constraint events_user_is_actor check (created_by not like 'user:%' or user_id is null or created_by = 'user:' || user_id)
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
create index events_by_time on annals.events (tenant_id, created_at);

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
    constraint heads_pkey primary key (tenant_id, aggregate_type, aggregate_id),
    constraint heads_progress check (projected_version between 0 and version)
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

create policy heads_read on annals.heads for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or started_by = (select annals.caller_actor())
         or exists (select from annals.events e
                     where e.tenant_id = heads.tenant_id and e.aggregate_id = heads.aggregate_id
                       and e.aggregate_type = heads.aggregate_type))
);
create policy heads_project on annals.heads for select to annals_projector using (true);
create policy heads_progress on annals.heads for update to annals_projector using (true) with check (true);

grant select on annals.events, annals.heads to authenticated, annals_projector;
grant update (projected_version) on annals.heads to annals_projector;

-- With starter_sees, the actor who started a stream sees what others did in it. But the starter may not read the address, the browser and
-- the internal reason of those others. A policy hides rows, not columns, and a right to a column is the same for all callers, so metadata
-- and recorded of such events are stored in a table with a policy of its own. The trigger's condition is that of the policy events_read.
create table annals.withheld_context (
    event_number bigint not null,
    tenant_id    uuid not null,
    user_id      uuid,
    created_by   text collate "C" not null,
    metadata     jsonb not null,
    recorded     jsonb not null,
    constraint withheld_context_pkey primary key (event_number),
    -- The same checks as on annals.events, where these two columns are empty for such events.
    constraint withheld_context_shape check (jsonb_typeof(metadata) = 'object' and pg_column_size(metadata) <= 524288 and jsonb_typeof(recorded) = 'object'),
    constraint withheld_context_depth check (pg_column_size(metadata) < 512 or not jsonb_path_exists(metadata, 'strict $.**{100}')),
    constraint withheld_context_keys check (
        not jsonb_path_exists(metadata, '$.** ? (exists(@."$serde_json::private::Number") || exists(@."$serde_json::private::RawValue"))'))
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

create function annals.withhold_context() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    insert into annals.withheld_context (event_number, tenant_id, user_id, created_by, metadata, recorded)
    values (new.event_number, new.tenant_id, new.user_id, new.created_by, new.metadata, new.recorded);
    new.metadata := '{}';
    new.recorded := '{}';
    return new;
end
$$;
comment on function annals.withhold_context() is
    'Trigger: moves metadata and recorded of an event that its stream''s starter will see to annals.withheld_context.';
create trigger events_withhold_context before insert on annals.events for each row
    when (new.starter_sees and new.started_by <> new.created_by) execute function annals.withhold_context();

revoke execute on all functions in schema annals from public;
