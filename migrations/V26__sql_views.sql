-- The log for people and tools that use SQL or PostgREST: views and functions of schema public. They have the invoker's rights, so the same
-- policies apply as over HTTP.

create view public.event_stream with (security_invoker = true) as
    select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version,
           e.data,
           coalesce((select w.metadata from annals.withheld_context w
                      where w.event_number = e.event_number and e.starter_sees and e.started_by <> e.created_by), e.metadata) as metadata,
           coalesce((select w.recorded from annals.withheld_context w
                      where w.event_number = e.event_number and e.starter_sees and e.started_by <> e.created_by), e.recorded) as recorded,
           e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id,
           e.causation_id, e.idempotency_key, coalesce(e.aggregate_version <= h.projected_version, false) as processed
      from annals.events e
      left join annals.heads h
        on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id;
comment on view public.event_stream is
    'The events that the caller may see, with whether read models contain them. To page through all of them use read_events.';

do $$
declare
    shown record;
begin
    for shown in
        select a.attname, coalesce(col_description('annals.events'::regclass, e.attnum), 'Whether read models contain it.') as comment
          from pg_attribute a
          left join pg_attribute e on e.attrelid = 'annals.events'::regclass and e.attname = a.attname
         where a.attrelid = 'public.event_stream'::regclass and a.attnum > 0
    loop
        execute format('comment on column public.event_stream.%I is %L', shown.attname, shown.comment);
    end loop;
end
$$;
comment on column public.event_stream.metadata is 'Context as the client sent it: a reason and whatever the client adds. Not evidence: see recorded. Empty for a caller who sees the event only because they started its stream.';
comment on column public.event_stream.recorded is 'What the server observed: ip_address, user_agent and request_id over HTTP, posted_by always. No caller can write it. Empty for a caller who sees the event only because they started its stream.';
revoke all on public.event_stream from public, anon, authenticated;
grant select on public.event_stream to authenticated;

create function public.get_aggregate_events(aggregate_type text, aggregate_id text, from_version int default 1)
returns setof public.event_stream language sql stable set search_path = pg_catalog, pg_temp as $$
    select s.* from public.event_stream s
     where s.tenant_id = (select annals.caller_tenant())
       and s.aggregate_type = get_aggregate_events.aggregate_type and s.aggregate_id = get_aggregate_events.aggregate_id
       and s.aggregate_version >= get_aggregate_events.from_version
     order by s.aggregate_version
$$;
comment on function public.get_aggregate_events(text, text, int) is 'Events of a stream from a version on, oldest first.';

-- Reading the whole log in SQL, page by page: `select * from read_events(after => 0)`, then the same with the last event_number. Paging
-- event_stream itself would miss events whose transactions commit after those of events with higher numbers (see high_water_mark).
create function public.read_events(after bigint default 0, row_limit int default 100) returns setof public.event_stream
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    mark bigint;
begin
    -- The page must be read in a snapshot that is taken after the high-water mark. Transactions of other isolation levels have one
    -- snapshot, taken before.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        perform annals.refuse(400, 'wrong_isolation', 'read_events works in read committed transactions only: a snapshot that is older than the call may lack events');
    end if;
    mark := annals.wait_for_high_water_mark(interval '1 second');
    return query
        select s.* from public.event_stream s
         where s.tenant_id = (select annals.caller_tenant()) and s.event_number > read_events.after and s.event_number <= mark
         order by s.event_number
         limit least(greatest(coalesce(row_limit, 100), 1), 1000);
end
$$;
comment on function public.read_events(bigint, int) is
    'Events that the caller may see after an event_number, oldest first, at most 1,000. Pass the last event_number as "after" in the next call: then every committed event is returned exactly once. It waits up to a second for running appends.';
revoke all on function public.get_aggregate_events(text, text, int), public.read_events(bigint, int) from public, anon;
grant execute on function public.get_aggregate_events(text, text, int), public.read_events(bigint, int) to authenticated;

-- The log and the catalog under the names that people type: `select count(*) from events` in psql, Supabase's editor and PostgREST. The
-- owner of the tables, as whom psql and the editor usually log in, sees every tenant. The views join tables, so PostgreSQL allows no
-- INSERT, UPDATE or DELETE through them. Events are posted by public.post_event or over HTTP.

-- The condition on s.processed is part of the join and not of the column, so `processing_error is not null` starts from the few parked
-- streams and looks up one event for each, for a log of any size.
create view public.events with (security_invoker = true) as
    select s.*, s.data as payload, p.error as processing_error
      from public.event_stream s
      left join annals.parked_streams p
        on p.tenant_id = s.tenant_id and p.aggregate_type = s.aggregate_type and p.aggregate_id = s.aggregate_id
       and p.aggregate_version = s.aggregate_version and not s.processed;
comment on view public.events is
    'The events that the caller may see: event_stream with two more columns, payload and processing_error. Read only.';

do $$
declare
    shown record;
begin
    for shown in
        select a.attname, col_description('public.event_stream'::regclass, s.attnum) as comment
          from pg_attribute a
          join pg_attribute s on s.attrelid = 'public.event_stream'::regclass and s.attname = a.attname and s.attnum > 0
         where a.attrelid = 'public.events'::regclass and a.attnum > 0
    loop
        execute format('comment on column public.events.%I is %L', shown.attname, shown.comment);
    end loop;
end
$$;
comment on column public.events.version is 'Version of the schema that data follows, as text: 1.0. The position in the stream is aggregate_version.';
comment on column public.events.payload is 'The same as data.';
comment on column public.events.processing_error is 'Why the event could not be applied to its read model; it and the later events of its stream wait. Null for all other events, including those that wait behind it, and for callers who do not see the tenant.';

-- A tenant's own row replaces the built-in row of the same name for that tenant. Without a caller (the owner) every row is shown.
create view public.event_types with (security_invoker = true) as
    select t.tenant_id, t.event_type, t.aggregate_type, t.current_version as version, t.description, v.schema, v.example, t.effect,
           t.posters, t.created_by, t.created_at
      from annals.event_types t
     cross join lateral (
           select v.schema, v.example from annals.event_type_versions v
            where v.event_type = t.event_type and v.version = t.current_version and (v.tenant_id is null or v.tenant_id = t.tenant_id)
            order by v.tenant_id nulls last limit 1) as v
     where t.tenant_id is not null
        or not exists (select from annals.event_types own
                        where own.event_type = t.event_type and own.tenant_id = (select annals.caller_tenant()));
comment on view public.event_types is
    'The event types that the caller''s tenant may use, each with schema and example of its current version. Read only; POST /events/types adds to it.';
comment on column public.event_types.tenant_id is 'Tenant that registered the type; null: built in, for every tenant.';
comment on column public.event_types.event_type is '{aggregate_type}.{action}, e.g. organization.gst.added.';
comment on column public.event_types.aggregate_type is 'Aggregate type of the stream that contains the event.';
comment on column public.event_types.version is 'Schema version given to an event that names none.';
comment on column public.event_types.description is 'One human-readable sentence.';
comment on column public.event_types.schema is 'JSON Schema (2020-12) of the data of an event of this version.';
comment on column public.event_types.example is 'Data that the schema accepts.';
comment on column public.event_types.effect is 'How the event changes state, as described at annals.event_types.effect.';
comment on column public.event_types.posters is 'Roles that may post it: user, agent, staff, service.';
comment on column public.event_types.created_by is 'Actor that registered the type; system: a migration.';
comment on column public.event_types.created_at is 'When it was registered.';

revoke all on public.events, public.event_types from public, anon, authenticated;
grant select on public.events, public.event_types to authenticated;

do $$
begin
    -- Supabase grants all rights on new relations of schema public to this role.
    if to_regrole('service_role') is not null then
        revoke insert, update, delete, truncate, references, trigger on public.events, public.event_types from service_role;
    end if;
end
$$;
