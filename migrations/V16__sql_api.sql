-- The log for people and tools that speak SQL or PostgREST: the same rules as the HTTP API, because both end at the same
-- policies and the same append function. Everything in public has the invoker's rights; public.post_event calls one function of
-- the owner's, annals.post_event, which makes all checks before it appends.

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
comment on view public.event_stream is 'The events that the caller may see, with whether read models hold them. To page through all of them use read_events.';
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
comment on column public.event_stream.metadata is
    'Context in the client''s words, as it was sent: a reason and whatever the client adds. Not evidence: see recorded. Empty for a caller who sees the event only because they began its stream.';
comment on column public.event_stream.recorded is
    'What the server observed: ip_address, user_agent and request_id over HTTP, posted_by always. No caller can write it. Empty for a caller who sees the event only because they began its stream.';
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

-- Reading the whole log in SQL, page by page: `select * from read_events(after => 0)`, then the same with the last event_number.
-- Paging event_stream itself would miss events whose transactions commit after ones with higher numbers (V6).
create function public.read_events(after bigint default 0, row_limit int default 100) returns setof public.event_stream
language plpgsql volatile set search_path = pg_catalog, pg_temp as $$
declare
    mark bigint;
begin
    -- The page must be read in a snapshot that is taken after the mark; these transactions have one snapshot, taken before it.
    if current_setting('transaction_isolation') not in ('read committed', 'read uncommitted') then
        perform annals.refuse(400, 'wrong_isolation', 'read_events works in read committed transactions only: a snapshot that is older than the call may lack events');
    end if;
    mark := annals.settled_mark(interval '1 second');
    return query
        select s.* from public.event_stream s
         where s.tenant_id = (select annals.caller_tenant()) and s.event_number > read_events.after and s.event_number <= mark
         order by s.event_number
         limit least(greatest(coalesce(row_limit, 100), 1), 1000);
end
$$;
comment on function public.read_events(bigint, int) is
    'Events that the caller may see after an event_number, oldest first, up to 1,000. Pass the last event_number as "after" in the next call: then every committed event is returned exactly once. It waits up to a second for appends that are under way.';

-- RFC 3339, read as domain::Timestamp reads it: PostgreSQL's own reading knows hour 24, rounds fractions and takes other offsets.
create function annals.instant(value text) returns timestamptz language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    part constant text[] := regexp_match(value,
        '^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|([+-])((?:[01]\d|2[0-3]):[0-5]\d))$');
    moment timestamptz;
begin
    -- Finer fractions than microseconds are cut, and second 60 is the next minute's first. A date that there is not raises an error.
    moment := ((part[1] || ' ' || part[2])::timestamp + make_interval(secs => part[3]::int) + coalesce('0' || left(part[4], 7), '0')::numeric * interval '1 second'
             - case part[6] when '-' then -1 else 1 end * coalesce(part[7], '00:00')::interval) at time zone 'UTC';
    return case when moment >= '0001-01-01 00:00:00+00' and moment < '10000-01-01 00:00:00+00' then moment end;
exception when data_exception then
    return null;
end
$$;
comment on function annals.instant(text) is 'The instant that RFC 3339 text names, of the years 0001 to 9999; null: none.';
-- Only post_event asks, with its owner's rights.
revoke all on function annals.instant(text) from public;

-- What the JSON itself must be: the fields of an event and nothing else, each of its kind and within its bounds.
create function annals.check_event_fields(event jsonb) returns void language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    fields      constant text[] := '{event_type,aggregate_type,aggregate_id,version,data,metadata,created_by,user_id,tenant_id,source,timestamp,correlation_id,causation_id,command_id,idempotency_key,expected_version}';
    strings     constant text[] := '{event_type,aggregate_type,aggregate_id,version,created_by,user_id,tenant_id,source,timestamp,correlation_id,causation_id,command_id,idempotency_key}';
    fault       text;
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
        case when jsonb_path_exists(event, 'strict $.**{64} ? (@.type() == "object" || @.type() == "array")')
             then 'the event has more than 64 levels of nesting' end,
        (select 'a number needs over 1000 digits' from jsonb_path_query(event, 'strict $.** ? (@.type() == "number")') as n
          where length(translate(n #>> '{}', '-.', '')) > 1000 limit 1),
        (select t.name || ' ' || annals.text_fault(event ->> t.name, t.longest)
           from (values ('aggregate_id', 128), ('source', 100), ('correlation_id', 128), ('command_id', 128), ('idempotency_key', 255))
                as t (name, longest)
          where annals.text_fault(event ->> t.name, t.longest) is not null limit 1),
        case when event ->> 'aggregate_id' in ('.', '..') then 'aggregate_id must be a name: . and .. are places in a path' end,
        -- As in domain::NewEvent: in metadata it is as good as the field.
        case when jsonb_typeof(event #> '{metadata,correlation_id}') not in ('string', 'null')
             then 'metadata.correlation_id must be a string' end,
        'metadata.correlation_id ' || annals.text_fault(event #>> '{metadata,correlation_id}', 128),
        case when event ->> 'correlation_id' <> event #>> '{metadata,correlation_id}'
             then 'metadata.correlation_id differs from correlation_id; give one of them, or the same twice' end,
        (select format('%s must be a uuid', u) from unnest(array['user_id', 'tenant_id', 'causation_id']) as u
          where event ->> u !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' limit 1),
        'created_by ' || annals.actor_fault(event ->> 'created_by'),
        -- A time without an offset would mean something else in every session.
        case when event ->> 'timestamp' is not null and annals.instant(event ->> 'timestamp') is null
             then 'timestamp must be an RFC 3339 date and time with an offset, between the years 0001 and 9999' end)
    into fault;
    if fault is not null then
        perform annals.refuse(400, 'malformed_event', fault);
    end if;
end
$$;
comment on function annals.check_event_fields(jsonb) is 'Refuses JSON that is no event, before any of it is looked up.';

-- pg_jsonschema does not check "format" (JSON Schema 2020-12 makes that optional); the HTTP API does. So each format that a regular
-- expression can describe becomes a pattern. A type with another format can be posted by SQL by services only.
create function annals.with_format_patterns(schema jsonb) returns jsonb language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    day     constant text := '(?:[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))'
                             || '|(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:[02468][048]|[13579][26])00)-02-29)';
    label   constant text := '[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?';
    pattern constant text := case schema ->> 'format'
        when 'date' then '^' || day || '$'
        when 'date-time' then '^' || day || '[Tt](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]+)?(?:[Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])$'
        when 'email' then '^[^\s@"(),:;<>\[\]\\.]+(?:\.[^\s@"(),:;<>\[\]\\.]+)*@' || label || '(?:\.' || label || ')*$'
        when 'uuid' then '^[0-9A-Fa-f]{8}-(?:[0-9A-Fa-f]{4}-){3}[0-9A-Fa-f]{12}$'
        end;
    written jsonb;
begin
    case jsonb_typeof(schema)
        when 'array' then
            return (select coalesce(jsonb_agg(annals.with_format_patterns(item) order by place), '[]')
                      from jsonb_array_elements(schema) with ordinality as i (item, place));
        when 'object' then
            select coalesce(jsonb_object_agg(m.key, case
                       -- Values of these keywords are data, not schemas.
                       when m.key in ('enum', 'const', 'default', 'examples') then m.value
                       -- Members below these have names of the author's choice, so a property may be called "default". Each is a schema.
                       when m.key in ('properties', 'patternProperties', '$defs', 'definitions', 'dependentSchemas')
                            and jsonb_typeof(m.value) = 'object'
                       then (select coalesce(jsonb_object_agg(p.key, annals.with_format_patterns(p.value)), '{}') from jsonb_each(m.value) as p)
                       else annals.with_format_patterns(m.value) end), '{}')
              into written
              from jsonb_each(schema) as m;
            if pattern is null or jsonb_typeof(schema -> 'format') <> 'string' then
                return written;
            end if;
            return written || jsonb_build_object('allOf',
                coalesce(written -> 'allOf', '[]') || jsonb_build_array(jsonb_build_object('pattern', pattern)));
        else
            return schema;
    end case;
end
$$;
comment on function annals.with_format_patterns(jsonb) is 'A JSON Schema whose formats are patterns, too.';

create function annals.check_schema(role text, tenant uuid, event_type text, version text, data jsonb) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    unchecked constant text := '"format": "(time|duration|(idn-)?hostname|idn-email|ipv[46]|(uri|iri)(-reference)?|uri-template|(relative-)?json-pointer|regex)"';
    current   text;
    schema    jsonb;
    matches   boolean;
begin
    if to_regprocedure('extensions.jsonb_matches_schema(json, jsonb)') is null then
        if role <> 'service' then
            perform annals.refuse(403, 'pg_jsonschema_missing',
                'without pg_jsonschema SQL cannot check data against its schema, and only a service may post by SQL; '
                'have it installed (create extension pg_jsonschema with schema extensions), or post over HTTP', 0);
        end if;
        return;
    end if;
    select t.current_version, v.schema into current, schema
      from annals.event_types t
      left join annals.event_type_versions v
        on v.event_type = t.event_type and v.version = coalesce(check_schema.version, t.current_version)
       and (v.tenant_id is not distinct from t.tenant_id or v.tenant_id is null)
     where t.event_type = check_schema.event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last, v.tenant_id nulls last
     limit 1;
    -- A later version than the tenant's current one, which a module may have brought beside it, is not in use yet.
    if schema is not null and string_to_array(version, '.')::int[] > string_to_array(current, '.')::int[] then
        perform annals.refuse(422, 'unknown_version', format('%s has no version %s', event_type, version), 0);
    elsif schema is null then
        return;  -- the append function says which of type and version is unknown
    end if;
    if schema::text ~ unchecked and role <> 'service' then
        perform annals.refuse(403, 'format_unchecked',
            format('the schema of %s has a format that SQL cannot check, so only a service may post it by SQL; post it over HTTP', event_type), 0);
    end if;
    execute 'select extensions.jsonb_matches_schema($1::json, $2)' into matches using annals.with_format_patterns(schema), data;
    if matches is not true then
        perform annals.refuse(422, 'schema_violation', format('data does not match the schema of %s; see GET /events/types/%1$s', event_type), 0, 'data');
    end if;
end
$$;
comment on function annals.check_schema(text, uuid, text, text, jsonb) is
    'Refuses data that the catalog''s schema refuses. Without pg_jsonschema, or for a format that it cannot check, it refuses every caller but services.';

create function annals.check_size(part jsonb, name text, most int) returns void language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if octet_length(part::text) > most then
        perform annals.refuse(413, name || '_too_large',
            format('%s has %s bytes as JSON text; an event may have %s', name, octet_length(part::text), most), 0, name);
    end if;
end
$$;
comment on function annals.check_size(jsonb, text, int) is 'Refuses data or metadata of an event that is larger than the bound.';

create function annals.uuid_v7() returns uuid language sql volatile set search_path = pg_catalog, pg_temp as $$
    select encode(set_bit(set_bit(overlay(
               uuid_send(gen_random_uuid())
               placing substring(int8send(floor(extract(epoch from clock_timestamp()) * 1000)::bigint) from 3)
               from 1 for 6), 52, 1), 53, 1), 'hex')::uuid
$$;
comment on function annals.uuid_v7() is 'A UUID v7 (RFC 9562): PostgreSQL has its own from 18 on only.';

create function annals.post_event(event jsonb) returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    claims   constant jsonb := annals.caller_claims();
    caller   record;
    revision bigint;
begin
    select c.* into caller from annals.caller_of(claims) c;
    perform annals.check_event_fields(event);
    if (event ->> 'tenant_id')::uuid <> caller.tenant then
        perform annals.refuse(403, 'tenant_forged', 'tenant_id is the token''s');
    end if;
    -- A retry is the stored event's whatever the catalog has become, so it is not judged once more.
    if not exists (select from annals.events e
                    where e.tenant_id = caller.tenant and e.posted_by = caller.actor and e.idempotency_key = event ->> 'idempotency_key')
    then
        perform annals.check_size(event -> 'data', 'data', 262144), annals.check_size(event -> 'metadata', 'metadata', 16384);
        -- HTTP reads add it to the metadata of a lifted event, so no caller may write it.
        if event -> 'metadata' ? 'migration_applied' then
            perform annals.refuse(422, 'reserved_metadata', 'metadata.migration_applied is written by Annals alone, in answers with lifted events; leave it out',
                                  0, 'metadata');
        end if;
        -- Read before the schema: if the catalog changes in between, the append function refuses.
        revision := (select r.revision from annals.catalog_revision r);
        perform annals.check_schema(caller.role, caller.tenant, event ->> 'event_type', event ->> 'version', event -> 'data');
    end if;
    for attempt in 1..2 loop
        begin
            return (select a.id from annals.append_event(
                claims, annals.uuid_v7(), event ->> 'event_type', event ->> 'aggregate_type', event ->> 'aggregate_id', event ->> 'version',
                event -> 'data', coalesce(nullif(event -> 'metadata', 'null'), '{}'), '{}', event ->> 'created_by', (event ->> 'user_id')::uuid,
                event ->> 'source', annals.instant(event ->> 'timestamp'),
                coalesce(event ->> 'correlation_id', event #>> '{metadata,correlation_id}'), (event ->> 'causation_id')::uuid,
                event ->> 'command_id', event ->> 'idempotency_key', (event ->> 'expected_version')::int, null, revision) a);
        exception when serialization_failure or unique_violation then
            -- The same request was served at the same moment (V5, retry_if_twin): the second attempt finds its event.
            if attempt = 2 then
                raise;
            end if;
        end;
    end loop;
end
$$;
comment on function annals.post_event(jsonb) is
    'Checks and appends one event as the caller of the request''s claims, and returns its id. All that public.post_event may do with the owner''s rights.';

create function public.post_event(event jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    new_id constant uuid := annals.post_event(event);
begin
    return (select to_jsonb(s) from public.event_stream s where s.tenant_id = (select annals.caller_tenant()) and s.id = new_id);
end
$$;
comment on function public.post_event(jsonb) is 'Appends one event, given and returned in the HTTP API''s form.';

revoke all on function public.get_aggregate_events(text, text, int), public.read_events(bigint, int), public.post_event(jsonb) from public, anon;
grant execute on function annals.post_event(jsonb), public.get_aggregate_events(text, text, int), public.read_events(bigint, int), public.post_event(jsonb) to authenticated;

revoke execute on all functions in schema annals from public;
