-- The log for people and tools that speak SQL or PostgREST: the same rules as the HTTP API, because both end at the same
-- policies and the same append function. Everything here has the invoker's rights.

create view public.event_stream with (security_invoker = true) as
    select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version,
           e.data, e.metadata, e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id,
           e.causation_id, e.idempotency_key, coalesce(e.aggregate_version <= h.projected_version, false) as processed
      from annals.events e
      left join annals.heads h
        on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id;
comment on view public.event_stream is 'The events that the caller may see, with whether read models hold them.';
do $$
declare
    shown record;
begin
    for shown in
        select a.attname, coalesce(col_description('annals.events'::regclass, e.attnum), 'Whether read models hold it.') as comment
          from pg_attribute a
          left join pg_attribute e on e.attrelid = 'annals.events'::regclass and e.attname = a.attname
         where a.attrelid = 'public.event_stream'::regclass and a.attnum > 0
    loop
        execute format('comment on column public.event_stream.%I is %L', shown.attname, shown.comment);
    end loop;
end
$$;
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
comment on function public.get_aggregate_events(text, text, int) is 'A stream''s events, oldest first, from a version on.';

-- Without pg_jsonschema the top level is checked: what is required, and each field's type.
create function annals.check_data(event_type text, version text, data jsonb) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    schema jsonb;
    fault  text;
begin
    select v.schema into schema
      from annals.event_types t
      join annals.event_type_versions v
        on v.event_type = t.event_type and v.version = coalesce(check_data.version, t.current_version)
       and (v.tenant_id is not distinct from t.tenant_id or v.tenant_id is null)
     where t.event_type = check_data.event_type
     order by t.tenant_id nulls last, v.tenant_id nulls last
     limit 1;
    if schema is null then
        return;  -- the append function says which of type and version is unknown
    end if;
    if exists (select from pg_proc p join pg_namespace n on n.oid = p.pronamespace
                where p.proname = 'jsonb_matches_schema' and n.nspname = 'extensions') then
        execute 'select case when not extensions.jsonb_matches_schema($1::json, $2) then ''data'' end' into fault using schema, data;
    else
        select coalesce(
            (select r.name from jsonb_array_elements_text(coalesce(schema -> 'required', '[]')) as r (name) where not data ? r.name limit 1),
            (select d.key
               from jsonb_each(data) as d
              cross join lateral (select schema #> array['properties', d.key, 'type'] as allowed) as a
              where a.allowed is not null
                and not (case jsonb_typeof(a.allowed) when 'array' then a.allowed else jsonb_build_array(a.allowed) end
                         ?| case when jsonb_typeof(d.value) = 'number' and (d.value #>> '{}')::numeric % 1 = 0 then array['number', 'integer']
                                 else array[jsonb_typeof(d.value)] end)
              limit 1),
            (select d.key from jsonb_object_keys(data) as d (key)
              where schema -> 'additionalProperties' = 'false' and not coalesce(schema -> 'properties' ? d.key, false) limit 1))
        into fault;
    end if;
    if fault is not null then
        perform annals.refuse(422, 'schema_violation', format('data does not match the schema of %s: %s', event_type, fault), 0, fault);
    end if;
end
$$;
comment on function annals.check_data(text, text, jsonb) is 'Refuses data that the catalog''s schema refuses, as far as SQL can tell.';
grant execute on function annals.check_data(text, text, jsonb) to authenticated;

create function annals.uuid_v7() returns uuid language sql volatile set search_path = pg_catalog, pg_temp as $$
    select encode(set_bit(set_bit(overlay(
               uuid_send(gen_random_uuid())
               placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
               from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;
comment on function annals.uuid_v7() is 'A UUID v7 (RFC 9562): PostgreSQL has its own from 18 on only.';
grant execute on function annals.uuid_v7() to authenticated;

create function public.post_event(event jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    fields      constant text[] := '{event_type,aggregate_type,aggregate_id,version,data,metadata,created_by,user_id,tenant_id,source,timestamp,correlation_id,causation_id,command_id,idempotency_key,expected_version}';
    strings     constant text[] := '{event_type,aggregate_type,aggregate_id,version,created_by,user_id,tenant_id,source,timestamp,correlation_id,causation_id,command_id,idempotency_key}';
    unprintable constant text := '[\u0001-\u001F\u007F-\u009F\u00AD\u200B-\u200F\u2028-\u202E\u2060-\u206F\uE000-\uF8FF\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF]';
    fault       text;
    happened_at timestamptz;
    appended    record;
begin
    if jsonb_typeof(event) is distinct from 'object' then
        perform annals.refuse(400, 'malformed_event', 'the event must be a JSON object');
    end if;
    select coalesce(
        (select format('%s is required', f) from unnest(array['event_type', 'aggregate_type', 'aggregate_id', 'data']) as f
          where coalesce(jsonb_typeof(event -> f), 'null') = 'null' limit 1),
        (select format('%s is not a field of an event', k) from jsonb_object_keys(event) as k where k <> all (fields) limit 1),
        (select format('%s must be a string', s) from unnest(strings) as s where jsonb_typeof(event -> s) not in ('string', 'null') limit 1),
        (select format('%s must be an object', o) from unnest(array['data', 'metadata']) as o where jsonb_typeof(event -> o) not in ('object', 'null') limit 1),
        case when jsonb_typeof(event -> 'expected_version') not in ('number', 'null')
                  or (event ->> 'expected_version')::numeric not between 0 and 2147483646
                  or (event ->> 'expected_version')::numeric % 1 <> 0
             then 'expected_version must be a whole number from 0' end,
        case when octet_length((event -> 'data')::text) > 262144 then 'data is larger than 256 KiB' end,
        case when octet_length((event -> 'metadata')::text) > 16384 then 'metadata is larger than 16 KiB' end,
        case when jsonb_path_exists(event, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")')
             then 'the event has more than 64 levels of nesting' end,
        (select 'a number needs over 1000 digits' from jsonb_path_query(event, 'strict $.** ? (@.type() == "number")') as n
          where length(translate(n #>> '{}', '-.', '')) > 1000 limit 1),
        (select format('%s must be 1 to %s printable characters', t.name, t.longest)
           from (values ('aggregate_id', 128), ('created_by', 100), ('source', 100), ('correlation_id', 128), ('command_id', 128),
                        ('idempotency_key', 255)) as t (name, longest)
          where not length(event ->> t.name) between 1 and t.longest or event ->> t.name ~ unprintable limit 1),
        (select format('%s must be a uuid', u) from unnest(array['user_id', 'tenant_id', 'causation_id']) as u
          where event ->> u !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' limit 1),
        case when event ->> 'created_by' !~ '^(user|agent|service):.|^system$' then 'created_by must be an actor' end)
    into fault;
    -- A time without an offset would mean something else in every session.
    if fault is null and event ->> 'timestamp' is not null then
        begin
            happened_at := (event ->> 'timestamp')::timestamptz;
            fault := case when event ->> 'timestamp' !~* '^\d{4}-\d\d-\d\d[t ]\d\d:\d\d:\d\d(\.\d+)?(z|[+-]\d\d:\d\d)$'
                               or happened_at not between '0001-01-01 00:00:00+00' and '9999-12-31 23:59:59.999999+00'
                          then 'timestamp must be an RFC 3339 date and time with an offset, between the years 0001 and 9999' end;
        exception when data_exception then
            fault := 'timestamp must be an RFC 3339 date and time with an offset';
        end;
    end if;
    if fault is not null then
        perform annals.refuse(400, 'malformed_event', fault);
    end if;
    if (event ->> 'tenant_id')::uuid <> annals.caller_tenant() then
        perform annals.refuse(403, 'tenant_forged', 'tenant_id is the token''s');
    end if;
    perform annals.check_data(event ->> 'event_type', event ->> 'version', event -> 'data');

    select * into appended from annals.append_event(
        annals.uuid_v7(), event ->> 'event_type', event ->> 'aggregate_type', event ->> 'aggregate_id', event ->> 'version',
        event -> 'data', coalesce(nullif(event -> 'metadata', 'null'), '{}'), '{}', event ->> 'created_by', (event ->> 'user_id')::uuid,
        event ->> 'source', happened_at, event ->> 'correlation_id', (event ->> 'causation_id')::uuid,
        event ->> 'command_id', event ->> 'idempotency_key', (event ->> 'expected_version')::int, null);
    return (select to_jsonb(s) from public.event_stream s where s.id = appended.id);
end
$$;
comment on function public.post_event(jsonb) is 'Appends one event, given and returned in the HTTP API''s form.';

revoke all on function public.get_aggregate_events(text, text, int), public.post_event(jsonb) from public, anon;
grant execute on function public.get_aggregate_events(text, text, int), public.post_event(jsonb) to authenticated;
