-- Posting events by SQL, under the same rules as over HTTP. public.post_event has the invoker's rights and calls one function of the
-- owner's, annals.post_event, which makes all checks before it appends.

-- RFC 3339, parsed like the type Timestamp in Rust. PostgreSQL's own parser accepts hour 24 and other offsets, and rounds fractions.
create function annals.instant(value text) returns timestamptz language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
declare
    part constant text[] := regexp_match(value,
        '^(\d{4}-\d\d-\d\d)[Tt ]((?:[01]\d|2[0-3]):[0-5]\d):([0-5]\d|60)(\.\d+)?([Zz]|([+-])((?:[01]\d|2[0-3]):[0-5]\d))$');
    moment timestamptz;
begin
    -- Fractions finer than microseconds are cut, and second 60 is the first of the next minute. A date that does not exist raises an error.
    moment := ((part[1] || ' ' || part[2])::timestamp + make_interval(secs => part[3]::int) + coalesce('0' || left(part[4], 7), '0')::numeric * interval '1 second'
             - case part[6] when '-' then -1 else 1 end * coalesce(part[7], '00:00')::interval) at time zone 'UTC';
    return case when moment >= '0001-01-01 00:00:00+00' and moment < '10000-01-01 00:00:00+00' then moment end;
exception when data_exception then
    return null;
end
$$;
comment on function annals.instant(text) is 'The instant that RFC 3339 text names, in the years 0001 to 9999; null if it is no such text.';

-- The form of the JSON: only the fields of an event, each with its type and within its bounds.
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
        case when not annals.is_readable(event) then 'a member is called $serde_json::private::Number or RawValue, which are reserved' end,
        (select 'a number has more than 1000 digits when written without an exponent' from jsonb_path_query(event, 'strict $.** ? (@.type() == "number")') as n
          where length(translate(n #>> '{}', '-.', '')) > 1000 limit 1),
        (select t.name || ' ' || annals.text_fault(event ->> t.name, t.longest)
           from (values ('aggregate_id', 128), ('source', 100), ('correlation_id', 128), ('command_id', 128), ('idempotency_key', 255))
                as t (name, longest)
          where annals.text_fault(event ->> t.name, t.longest) is not null limit 1),
        case when event ->> 'aggregate_id' in ('.', '..') then 'aggregate_id must not be . or .., which have a meaning in URL paths' end,
        -- As over HTTP, a correlation_id in metadata counts like the field.
        case when jsonb_typeof(event #> '{metadata,correlation_id}') not in ('string', 'null')
             then 'metadata.correlation_id must be a string' end,
        'metadata.correlation_id ' || annals.text_fault(event #>> '{metadata,correlation_id}', 128),
        case when event ->> 'correlation_id' <> event #>> '{metadata,correlation_id}'
             then 'metadata.correlation_id differs from correlation_id; send only one of them, or the same value in both' end,
        (select format('%s must be a uuid', u) from unnest(array['user_id', 'tenant_id', 'causation_id']) as u
          where event ->> u !~* '^[0-9a-f]{8}-?([0-9a-f]{4}-?){3}[0-9a-f]{12}$' limit 1),
        'created_by ' || annals.actor_fault(event ->> 'created_by'),
        -- A time without an offset would depend on the session's time zone.
        case when event ->> 'timestamp' is not null and annals.instant(event ->> 'timestamp') is null
             then 'timestamp must be an RFC 3339 date and time with an offset, between the years 0001 and 9999' end)
    into fault;
    if fault is not null then
        perform annals.refuse(400, 'malformed_event', fault);
    end if;
end
$$;
comment on function annals.check_event_fields(jsonb) is 'Refuses JSON that is not an event, before anything is looked up.';

-- pg_jsonschema does not check "format" (optional in JSON Schema 2020-12); the HTTP API does. Therefore each format that a regular
-- expression can describe becomes a pattern. If a type's schema has another format, only services may post it by SQL.
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
                       -- The members of these are schemas under names of the author's choice, for example a property called "default".
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
comment on function annals.with_format_patterns(jsonb) is 'A JSON Schema with a pattern added for each format.';

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
                'without the extension pg_jsonschema, SQL cannot check data against the schema, so only a service may post in SQL; '
                'install it (create extension pg_jsonschema with schema extensions), or post over HTTP', 0);
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
    -- A version later than the tenant's current one, which a module may have added as built-in, is not in use yet.
    if schema is not null and string_to_array(version, '.')::int[] > string_to_array(current, '.')::int[] then
        perform annals.refuse(422, 'unknown_version', format('%s has no version %s', event_type, version), 0);
    elsif schema is null then
        return;  -- the append function says which of type and version is unknown
    end if;
    if schema::text ~ unchecked and role <> 'service' then
        perform annals.refuse(403, 'format_unchecked',
            format('the schema of %s has a format that SQL cannot check, so only a service may post it in SQL; post it over HTTP', event_type), 0);
    end if;
    execute 'select extensions.jsonb_matches_schema($1::json, $2)' into matches using annals.with_format_patterns(schema), data;
    if matches is not true then
        perform annals.refuse(422, 'schema_violation', format('data does not match the schema of %s; see GET /events/types/%1$s', event_type), 0, 'data');
    end if;
end
$$;
comment on function annals.check_schema(text, uuid, text, text, jsonb) is
    'Refuses data that the catalog''s schema refuses. Without pg_jsonschema, or for a format that it cannot check, it refuses every caller except services.';

create function annals.check_size(part jsonb, name text, most int) returns void language plpgsql immutable set search_path = pg_catalog, pg_temp as $$
begin
    if octet_length(part::text) > most then
        perform annals.refuse(413, name || '_too_large',
            format('%s has %s bytes as JSON; at most %s are allowed', name, octet_length(part::text), most), 0, name);
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
comment on function annals.uuid_v7() is 'A UUID v7 (RFC 9562). PostgreSQL has a function of its own only since 18.';

create function annals.post_event(event jsonb) returns uuid language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    claims   constant jsonb := annals.caller_claims();
    caller   record := annals.caller_of(claims);
    fields   jsonb;
    revision bigint;
begin
    if annals.actor_fault(caller.actor) is not null then
        perform annals.refuse(401, 'caller_unknown', 'app_metadata.name of the claims must be the name of the agent or service, without spaces');
    end if;
    perform annals.check_event_fields(event);
    fields := event - array['data', 'metadata'] || jsonb_build_object(
        'id', annals.uuid_v7(), 'timestamp', annals.instant(event ->> 'timestamp'),
        'correlation_id', coalesce(event ->> 'correlation_id', event #>> '{metadata,correlation_id}'));
    if (event ->> 'tenant_id')::uuid <> caller.tenant then
        perform annals.refuse(403, 'tenant_forged', 'tenant_id must be the token''s tenant; leave it out');
    end if;
    -- A retry returns the stored event, even if the catalog has changed since, so it is not checked again.
    if not exists (select from annals.events e
                    where e.tenant_id = caller.tenant and e.posted_by = caller.actor and e.idempotency_key = event ->> 'idempotency_key')
    then
        perform annals.check_size(event -> 'data', 'data', 262144), annals.check_size(event -> 'metadata', 'metadata', 16384);
        -- HTTP reads add it to the metadata of upcast events, so no caller may write it.
        if event -> 'metadata' ? 'migration_applied' then
            perform annals.refuse(422, 'reserved_metadata', 'metadata.migration_applied is reserved: Annals adds it to events that it has upcast; leave it out',
                                  0, 'metadata');
        end if;
        -- Read before the schema is checked: if the catalog changes in between, the append function refuses.
        revision := (select r.revision from annals.catalog_revision r);
        perform annals.check_schema(caller.role, caller.tenant, event ->> 'event_type', event ->> 'version', event -> 'data');
    end if;
    for attempt in 1..2 loop
        begin
            return (annals.append_event(claims, fields, event -> 'data', coalesce(nullif(event -> 'metadata', 'null'), '{}'), '{}', revision)).id;
        exception when serialization_failure or unique_violation then
            -- An equal request was processed at the same moment (annals.retry_if_same_request_won). The second attempt finds its event.
            if attempt = 2 then
                raise;
            end if;
        end;
    end loop;
end
$$;
comment on function annals.post_event(jsonb) is
    'Checks and appends one event as the caller of the request''s claims; returns its id. It is the only thing that public.post_event does with the owner''s rights.';

create function public.post_event(event jsonb) returns jsonb language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    new_id constant uuid := annals.post_event(event);
begin
    return (select to_jsonb(s) from public.event_stream s where s.tenant_id = (select annals.caller_tenant()) and s.id = new_id);
end
$$;
comment on function public.post_event(jsonb) is 'Appends one event, given and returned in the HTTP API''s form.';
revoke all on function public.post_event(jsonb) from public, anon;
grant execute on function annals.post_event(jsonb), public.post_event(jsonb) to authenticated;

revoke execute on all functions in schema annals from public;
