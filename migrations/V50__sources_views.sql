-- The log and the catalog under the names that people type: `select count(*) from events` in psql, Supabase's editor and PostgREST.
--
-- Views only. They run with the rights of the role that asks (security_invoker), so row security applies to requests exactly as on
-- annals.events and annals.event_types; the owner of the tables, which psql and the editor usually log in as, sees every tenant. They
-- join tables, so PostgreSQL takes no INSERT, UPDATE or DELETE through them from anybody: events come by public.post_event or HTTP.

-- The condition on projected_version is part of the join and not of the column: `processing_error is not null` then starts from the
-- few parked streams and looks up one event for each, however large the log is.
create view public.events with (security_invoker = true) as
    select s.*, s.data as payload, p.error as processing_error
      from public.event_stream s
      left join annals.parked_streams p
        on p.tenant_id = s.tenant_id and p.aggregate_type = s.aggregate_type and p.aggregate_id = s.aggregate_id
       and p.aggregate_version = s.aggregate_version and not s.processed;
comment on view public.events is
    'The events that the caller may see: event_stream, with the names that the first descriptions of the system used. Read only.';
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
comment on column public.events.processing_error is
    'Why the event could not be applied to its read model; it and the later events of its stream wait. Null for all others, those waiting behind it too, and for callers who do not see the tenant.';

-- A tenant's own row replaces the built-in one of the same name for that tenant. Without a caller (the owner) every row shows.
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
comment on column public.event_types.aggregate_type is 'Kind of aggregate whose stream holds the event.';
comment on column public.event_types.version is 'Schema version given to an event that names none.';
comment on column public.event_types.description is 'One sentence for people.';
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
    -- Supabase hands every new relation of public to this role, too.
    if to_regrole('service_role') is not null then
        revoke insert, update, delete, truncate, references, trigger on public.events, public.event_types from service_role;
    end if;
end
$$;
