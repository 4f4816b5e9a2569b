-- Appending: the only way to write to the log.
--
-- Two functions with one contract, because a single event per request is the common case and should not pay for sets. append_event takes
-- one event, append_events takes columns of many and appends them atomically. Both
--   * take the claims of a verified token, and derive tenant, role and actor only from them;
--   * look up the idempotency key before anything else: a retry returns the stored event even if the catalog, the stream or the caller's
--     rights have changed, and a different request under the same key is refused;
--   * check event type, aggregate type, schema version and poster against the catalog;
--   * lock the streams, always in the same order, by writing their heads, and only then take recorded times and event numbers;
--   * lock annals_locks.appends before they draw a number, so that a reader can wait for appends whose numbers are not visible yet (see
--     high_water_mark).
-- The caller checks the JSON Schema: the HTTP API in Rust, annals.post_event for SQL. It passes the revision of the catalog that it checked
-- against. An older revision than the current one is refused.
--
-- Only annals_api may execute them. It is the login of the HTTP functions, which have verified the token whose claims they pass. One append
-- is then one statement, without a transaction block, a role or a setting. `authenticated` may not: it could pass any claims, and data that
-- no schema has checked.

-- A retry is compared with the stored event field by field, not by a hash of its text. Equal numbers are then the same (44 and 44.00), and
-- a field that was left out equals its default. If the version was left out, any version matches, because the current one may have changed
-- since. The same applies to expected_version.
create function annals.differing_fields(
    stored annals.events, role text, actor text, person uuid, event_type text, aggregate_type text, aggregate_id text, version text,
    data jsonb, metadata jsonb, created_by text, user_id uuid, source text, happened_at timestamptz, correlation_id text,
    causation_id uuid, command_id text, expected_version int
) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
    select nullif(concat_ws(',',
        case when stored.event_type is distinct from event_type then 'event_type' end,
        case when stored.aggregate_type is distinct from aggregate_type then 'aggregate_type' end,
        case when stored.aggregate_id is distinct from aggregate_id then 'aggregate_id' end,
        case when stored.version <> version then 'version' end,
        case when stored.data is distinct from data then 'data' end,
        case when coalesce((select w.metadata from annals.withheld_context w where w.event_number = stored.event_number), stored.metadata)
                  is distinct from metadata then 'metadata' end,
        case when stored.created_by <> coalesce(created_by, actor) then 'created_by' end,
        case when stored.user_id is distinct from
                  case when user_id is not null then user_id
                       when role <> 'service' then person
                       when created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then substr(created_by, 6)::uuid end
             then 'user_id' end,
        case when stored.source <> coalesce(source, 'api') then 'source' end,
        case when stored."timestamp" <> coalesce(happened_at, stored.created_at) then 'timestamp' end,
        case when stored.correlation_id is distinct from correlation_id then 'correlation_id' end,
        case when stored.causation_id is distinct from causation_id then 'causation_id' end,
        case when stored.command_id is distinct from command_id then 'command_id' end,
        case when stored.aggregate_version - 1 <> expected_version then 'expected_version' end), '')
$$;
comment on function annals.differing_fields(annals.events, text, text, uuid, text, text, text, text, jsonb, jsonb, text, uuid, text, timestamptz, text, uuid, text, int) is
    'Names of the fields in which a request differs from the event that is stored under its idempotency key, separated by commas; null: none.';

create function annals.refuse_differing(fields text, member int) returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if fields is null then
        return true;
    end if;
    return annals.refuse(422, 'idempotency_key_reused', format(
        'the idempotency key was used for an event with a different %s; use a new key for a new event', replace(fields, ',', ', ')),
        member, fields);
end
$$;
comment on function annals.refuse_differing(text, int) is
    'Refuses an idempotency key that was used for a different request. The refusal''s detail names the fields, never their values.';

create function annals.refuse_kept_key(member int) returns boolean language sql volatile set search_path = pg_catalog, pg_temp as $$
    select annals.refuse(422, 'idempotency_key_reused',
        'the idempotency key was used for a request that changed nothing; use a new key for a new event', member)
$$;
comment on function annals.refuse_kept_key(int) is
    'Refuses an idempotency key that is in annals.kept_keys: it belongs to a request that appended no event.';

-- Every refusal that depends on the stream's version calls this first. Example: two equal requests arrive at the same moment. Neither finds
-- the key. Both wait for the stream's lock; one gets it and appends. The other then finds a later version than it expected. Without this
-- function it would be refused, and its client would believe that nothing was appended.
create function annals.retry_if_same_request_won(tenant uuid, actor text, keys text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- A statement of its own, because the other request committed after the append's statement took its snapshot.
    if exists (
        select from annals.events e where e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = any (keys)
    ) then
        raise exception 'the same request was served at the same moment; send it again' using errcode = 'serialization_failure';
    end if;
end
$$;
comment on function annals.retry_if_same_request_won(uuid, text, text[]) is
    'Raises serialization_failure if one of the idempotency keys, which were unknown when the append began, has an event now. When the append is retried, it finds that event and returns it.';

create function annals.refuse_version(tenant uuid, actor text, keys text[], actual int, expected int, member int) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform annals.retry_if_same_request_won(tenant, actor, keys);
    return annals.refuse(409, 'version_conflict', format('the stream is at version %s, not %s', actual, expected), member, actual::text);
end
$$;
comment on function annals.refuse_version(uuid, text, text[], int, int, int) is
    'Refuses an expected version, unless an equal request has appended to the stream at the same moment (annals.retry_if_same_request_won).';

create function annals.refuse_stream(member int) returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    return annals.refuse(403, 'stream_of_another',
        'the stream was started by another actor, or does not exist; to start a new stream, leave expected_version out or send 0', member);
end
$$;
comment on function annals.refuse_stream(int) is
    'Refuses a user or an agent a stream that another actor started. The answer is the same if the stream does not exist.';

create function annals.refuse_requirement(
    tenant uuid, actor text, keys text[], event_type text, aggregate_type text, aggregate_id text, requires text, member int
) returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform annals.retry_if_same_request_won(tenant, actor, keys);
    if requires = 'new' then
        return annals.refuse(409, 'stream_exists', format(
            '%s must be the first event of its stream, but %s %s has events already', event_type, aggregate_type, aggregate_id), member);
    end if;
    return annals.refuse(409, 'stream_missing', format(
        '%s needs an existing stream: %s %s has no events. Create it first', event_type, aggregate_type, aggregate_id), member);
end
$$;
comment on function annals.refuse_requirement(uuid, text, text[], text, text, text, text, int) is
    'Refuses an event whose type requires a stream with events, or one without, unless an equal request has appended to the stream at the same moment (annals.retry_if_same_request_won).';

-- The bounds that both append functions check are coarse and cheap. HTTP, imports and annals.post_event have checked the exact ones: the
-- rule for ids (annals.text_fault), 256 KiB and 16 KiB of JSON text, 64 levels. An event that functions in Rust cannot parse would stop the
-- projection of all tenants: one with more than the 127 levels of serde_json, or with a key that serde_json reserves for itself, which is
-- refused where JSON comes in. JSON of less than 512 bytes cannot have 100 levels, so small documents are not searched.
create function annals.refuse_bounds(data jsonb, metadata jsonb, member int) returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if pg_column_size(data) > 4194304 then
        return annals.refuse(422, 'data_too_large', 'data is too large to store', member);
    elsif pg_column_size(metadata) > 524288 then
        return annals.refuse(422, 'metadata_too_large', 'metadata is too large to store', member);
    end if;
    return annals.refuse(422, 'malformed_event', 'a field of the event is out of its bounds', member);
end
$$;
comment on function annals.refuse_bounds(jsonb, jsonb, int) is
    'Refuses an event with a text, a time or a document that the log cannot hold. The size of stored JSON is known only here: a short number such as 1e1000 takes hundreds of bytes.';

-- append_event takes the fields of an event as one JSON object, because PostgreSQL types, plans and copies each parameter at every call. It reads
-- them at once, because PostgreSQL sets each expression of a function up anew in each transaction.
create type annals.sent_event as (
    id               uuid,
    event_type       text,
    aggregate_type   text,
    aggregate_id     text,
    expected_version int,
    version          text,
    created_by       text,
    user_id          uuid,
    source           text,
    "timestamp"      timestamptz,
    correlation_id   text,
    causation_id     uuid,
    command_id       text,
    idempotency_key  text,
    part             text
);
comment on type annals.sent_event is 'An event without its documents, as annals.append_event takes it. part: the part of Annals that appends it, if it is not a client.';

-- Sequential scans are off in both functions: the plans are kept, and a table that is small when they are made may be large later. Where
-- there is no other way to read a table, PostgreSQL would compile the statement (see performance.md), hence `only_row`.
create function annals.append_event(
    claims jsonb, event jsonb, data jsonb, metadata jsonb, recorded jsonb, catalog_revision bigint,
    out id uuid, out event_number bigint, out aggregate_version int, out created_at timestamptz, out schema_version text,
    out replayed boolean, out created_by text, out user_id uuid
) returns record language plpgsql security definer set search_path = pg_catalog, pg_temp set enable_seqscan = off as $$
#variable_conflict use_variable
declare
    app              jsonb := claims -> 'app_metadata';
    role             text := coalesce(app ->> 'role', 'user');
    tenant           uuid := coalesce((app ->> 'tenant_id')::uuid, '00000000-0000-0000-0000-000000000000');
    actor            text;
    person           uuid;
    sent             annals.sent_event := jsonb_populate_record(null::annals.sent_event, event);
    kind             record;
    head             record;
    stored           annals.events;
begin
    id := sent.id;
    created_by := sent.created_by;
    user_id := sent.user_id;
    -- As annals.caller_of, whose call costs three times as much. It refuses the claims that name no caller.
    if role in ('user', 'staff') then
        person := (claims ->> 'sub')::uuid;
        actor := 'user:' || person;
    elsif role in ('agent', 'service') then
        actor := role || ':' || (app ->> 'name');
    end if;
    if actor is null then
        perform annals.caller_of(claims);
    end if;

    if sent.idempotency_key is not null then
        select e.* into stored
          from annals.events e
         where e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = sent.idempotency_key;
        if found then
            perform annals.refuse_differing(annals.differing_fields(
                stored, role, actor, person, sent.event_type, sent.aggregate_type, sent.aggregate_id, sent.version, data, metadata, created_by,
                user_id, sent.source, sent."timestamp", sent.correlation_id, sent.causation_id, sent.command_id, sent.expected_version), 0);
            id := stored.id; event_number := stored.event_number; aggregate_version := stored.aggregate_version;
            created_at := stored.created_at; schema_version := stored.version; replayed := true;
            created_by := stored.created_by; user_id := stored.user_id;
            return;
        end if;
    end if;

    select t.aggregate_type, t.current_version, t.posters, t.requires, t.starter_sees, t.appended_by,
           (select r.revision from annals.catalog_revision r where r.only_row) as revision
      into kind
      from annals.event_types t
     where t.event_type = sent.event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last
     limit 1;
    -- All rules in one expression, because each expression costs time to set up. Which rule was broken is only determined if one was.
    if (kind.revision = catalog_revision and kind.aggregate_type = sent.aggregate_type
        and (sent.version is null or sent.version = kind.current_version) and role = any (kind.posters)
        and (kind.appended_by is null or kind.appended_by = sent.part)) is not true then
        if kind.revision <> catalog_revision then
            perform annals.refuse(503, 'catalog_changed', 'the event was checked against an older catalog');
        elsif kind.aggregate_type is null then
            perform annals.refuse(422, 'unknown_event_type', format('event type %s is not in the catalog', sent.event_type), 0);
        elsif kind.aggregate_type <> sent.aggregate_type then
            perform annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregate type %s', sent.event_type, kind.aggregate_type), 0);
        elsif sent.version <> kind.current_version and not exists (
            select from annals.event_type_versions v
             where v.event_type = sent.event_type and v.version = sent.version
               and (v.tenant_id is null or v.tenant_id = tenant)
        ) then
            perform annals.refuse(422, 'unknown_version', format('%s has no version %s', sent.event_type, sent.version), 0);
        elsif role <> all (kind.posters) then
            perform annals.refuse(403, 'event_type_forbidden', format('the role %s may not post %s', role, sent.event_type), 0);
        elsif kind.appended_by is not null and kind.appended_by is distinct from sent.part then
            perform annals.refuse(403, 'event_type_forbidden', format('only Annals itself may append %s', sent.event_type), 0);
        end if;
    end if;

    -- In parts, because PostgreSQL sets a condition up in each transaction, and most events need only the second part.
    if sent.source is not null or sent.correlation_id is not null or sent.command_id is not null or sent.idempotency_key is not null
       or sent."timestamp" is not null then
        if (length(sent.source) between 1 and 100 and length(sent.correlation_id) between 1 and 128 and length(sent.command_id) between 1 and 128
            and length(sent.idempotency_key) between 1 and 255
            and sent."timestamp" >= '0001-01-01 00:00:00+00' and sent."timestamp" < '10000-01-01 00:00:00+00') is false then
            perform annals.refuse_bounds(data, metadata, 0);
        end if;
    end if;
    if jsonb_typeof(data) <> 'object' or jsonb_typeof(metadata) <> 'object' or jsonb_typeof(recorded) <> 'object' then
        perform annals.refuse_bounds(data, metadata, 0);
    end if;
    if pg_column_size(data) >= 512 or pg_column_size(metadata) >= 512 then
        if pg_column_size(data) > 4194304 or pg_column_size(metadata) > 524288 or jsonb_path_exists(data, 'strict $.**{100}')
           or jsonb_path_exists(metadata, 'strict $.**{100}') then
            perform annals.refuse_bounds(data, metadata, 0);
        end if;
    end if;

    if role = 'service' then
        if length(created_by) > 100 or created_by !~ '^(user|agent|service):[^[:cntrl:]]+$|^system$' then
            perform annals.refuse(422, 'malformed_event', 'created_by is not the name of an actor', 0);
        end if;
        created_by := coalesce(created_by, actor);
        if user_id is null and created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
            user_id := substr(created_by, 6)::uuid;
        end if;
        if created_by like 'user:%' and created_by <> 'user:' || user_id then
            perform annals.refuse(422, 'user_is_not_actor', 'created_by and user_id name different users', 0);
        end if;
    elsif created_by <> actor or user_id <> person or (user_id is not null and person is null) then
        perform annals.refuse(403, 'actor_forged', 'created_by and user_id must match the token; only a service may name another actor', 0);
    else
        created_by := actor;
        user_id := person;
    end if;

    insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
    values (tenant, sent.aggregate_type, sent.aggregate_id, 1, clock_timestamp(), created_by)
    on conflict on constraint heads_pkey do update
        set version = h.version + 1,
            last_created_at = greatest(clock_timestamp(), h.last_created_at + interval '1 microsecond')
    returning h.version, h.last_created_at, h.started_by into head;

    -- With the stream locked, because keys are kept under this lock (see kept_keys).
    if sent.idempotency_key is not null and exists (
        select from annals.kept_keys k where k.tenant_id = tenant and k.posted_by = actor and k.idempotency_key = sent.idempotency_key
    ) then
        perform annals.refuse_kept_key(0);
    end if;

    -- Before the versions are compared: the caller must not learn whether another actor's stream exists, or its version. Therefore a stream
    -- that does not exist gets the same refusal if the request expects it to exist.
    if role in ('user', 'agent') and (
        head.started_by <> actor
        or (head.version = 1 and (sent.expected_version <> 0 or (kind.requires = 'existing' and sent.part is null)))
    ) then
        perform annals.refuse_stream(0);
    end if;
    if head.version <> sent.expected_version + 1 then
        perform annals.refuse_version(tenant, actor, array[sent.idempotency_key], head.version - 1, sent.expected_version, 0);
    end if;
    if (kind.requires = case head.version when 1 then 'existing' else 'new' end and sent.part is null) then
        perform annals.refuse_requirement(tenant, actor, array[sent.idempotency_key], sent.event_type, sent.aggregate_type, sent.aggregate_id, kind.requires, 0);
    end if;

    if head.version = 1 and (length(sent.aggregate_id) between 1 and 128 and sent.aggregate_id !~
        '[[:cntrl:]\u0080-\u009F\u00AD\u200B\u200C\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]') is false then
        perform annals.refuse(422, 'malformed_event', 'aggregate_id must have 1 to 128 printable characters', 0);
    end if;

    if sent.event_type in ('projection.retried', 'projection.skipped') then
        perform annals.mark_decision(tenant, sent.aggregate_id, id);
    end if;

    -- Before the number is drawn, and held until the transaction ends: readers across streams wait for it (see high_water_mark).
    lock table annals_locks.appends in row exclusive mode;
    event_number := nextval('annals.event_numbers'); aggregate_version := head.version;
    created_at := head.last_created_at; schema_version := coalesce(sent.version, kind.current_version); replayed := false;
    recorded := recorded || jsonb_build_object('posted_by', actor);
    if kind.starter_sees and head.started_by <> created_by then
        insert into annals.withheld_context (event_number, tenant_id, user_id, created_by, metadata, recorded)
        values (event_number, tenant, user_id, created_by, metadata, recorded);
        metadata := '{}';
        recorded := '{}';
    end if;
    insert into annals.events (
        event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type,
        aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, correlation_id, command_id, idempotency_key, data, metadata,
        recorded)
    values (
        event_number, created_at, coalesce(sent."timestamp", created_at), id, tenant, user_id, sent.causation_id, aggregate_version,
        sent.event_type, sent.aggregate_type, sent.aggregate_id, schema_version, created_by, actor, head.started_by, kind.starter_sees,
        coalesce(sent.source, 'api'), sent.correlation_id, sent.command_id, sent.idempotency_key, data, metadata, recorded);
end
$$;
comment on function annals.append_event(jsonb, jsonb, jsonb, jsonb, jsonb, bigint) is
    'Appends one event as the caller that the claims name. event: its other fields under the names of the HTTP API, and id and part. recorded: what the server observed of the request. replayed: the event was stored before, under the same idempotency key.';

create function annals.append_events(
    claims jsonb, new_ids uuid[], event_types text[], aggregate_types text[], aggregate_ids text[], versions text[], datas jsonb[],
    metadatas jsonb[], recorded jsonb, created_bys text[], user_ids uuid[], sources text[], happened_ats timestamptz[],
    correlation_ids text[], causation_ids uuid[], command_ids text[], idempotency_keys text[], expected_versions int[], parts text[],
    catalog_revision bigint
) returns table (
    member int, id uuid, event_number bigint, aggregate_version int, created_at timestamptz, schema_version text, replayed boolean,
    created_by text, user_id uuid
) language plpgsql security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
declare
    role    text;
    tenant  uuid;
    actor   text;
    person  uuid;
    known   int[] := '{}';
    unknown text[];
    types   text[];
begin
    select c.role, c.tenant, c.actor, c.person into role, tenant, actor, person from annals.caller_of(claims) c;

    if array_remove(idempotency_keys, null) <> '{}' then
        -- Which keys are known is decided by this one statement. An equal request may commit before the next statement; a second look
        -- could then return a member as known that is also appended, or neither.
        select coalesce(array_agg(k.ord) filter (where e.id is not null), '{}'), array_agg(k.key) filter (where e.id is null)
          into known, unknown
          from unnest(idempotency_keys) with ordinality as k (key, ord)
          left join annals.events e on e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = k.key;
    end if;
    if known <> '{}' then
        return query
            select (k.ord - 1)::int, e.id, e.event_number, e.aggregate_version, e.created_at, e.version, true, e.created_by, e.user_id
              from unnest(idempotency_keys, event_types, aggregate_types, aggregate_ids, versions, datas, metadatas, created_bys, user_ids,
                          sources, happened_ats, correlation_ids, causation_ids, command_ids, expected_versions)
                   with ordinality as k (key, event_type, aggregate_type, aggregate_id, version, data, metadata, created_by, user_id,
                          source, happened_at, correlation_id, causation_id, command_id, expected_version, ord)
              join annals.events e on e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = k.key
             where k.ord = any (known)
               and annals.refuse_differing(annals.differing_fields(
                   e, role, actor, person, k.event_type, k.aggregate_type, k.aggregate_id, k.version, k.data, k.metadata, k.created_by,
                   k.user_id, k.source, k.happened_at, k.correlation_id, k.causation_id, k.command_id, k.expected_version), (k.ord - 1)::int);
        if cardinality(known) = cardinality(new_ids) then
            return;
        end if;
    end if;
    if (select r.revision <> append_events.catalog_revision from annals.catalog_revision r where r.only_row) then
        perform annals.refuse(503, 'catalog_changed', 'the events were checked against an older catalog');
    end if;

    -- Before the numbers are drawn, and held until the transaction ends: readers across streams wait for it (see high_water_mark).
    lock table annals_locks.appends in row exclusive mode;
    -- The planner estimates few rows for the arrays, whatever their length, and would join them by nested loops: quadratic time.
    perform set_config('enable_nestloop', 'off', true);
    recorded := recorded || jsonb_build_object('posted_by', actor);
    -- Each type once, because the catalog's rows are compared with every element.
    types := array(select distinct t.event_type from unnest(event_types) as t (event_type));
    -- The rows that are numbered, sorted and joined have only the fields that this needs. The others are taken from their arrays by
    -- subscript where they are used. That costs the same for arrays of any length, because PL/pgSQL keeps the elements of its arrays apart.
    return query
    with kinds as materialized (
        select distinct on (t.event_type) t.event_type, t.aggregate_type, t.current_version, role = any (t.posters) as may_post,
               t.requires, t.starter_sees, t.appended_by
          from annals.event_types t
         where t.event_type = any (types) and (t.tenant_id = tenant or t.tenant_id is null)
         order by t.event_type, t.tenant_id nulls last
    ), checked as materialized (
        select n.ord::int as ord, n.id, n.event_type, n.aggregate_type collate "C" as aggregate_type,
               n.aggregate_id collate "C" as aggregate_id, coalesce(n.version, k.current_version) as version, n.expected_version, n.part,
               k.requires, k.starter_sees, coalesce(n.created_by, actor) as created_by,
               case when role <> 'service' then person
                    when n.user_id is null and n.created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    then substr(n.created_by, 6)::uuid
                    else n.user_id end as user_id,
               row_number() over stream as place,
               count(*) over stream as places
          from unnest(new_ids, event_types, aggregate_types, aggregate_ids, versions, created_bys, user_ids, expected_versions, parts)
               with ordinality as n (id, event_type, aggregate_type, aggregate_id, version, created_by, user_id, expected_version, part, ord)
          left join kinds k on k.event_type = n.event_type
         where n.ord <> all (known)
           and case
               when k.event_type is null then annals.refuse(422, 'unknown_event_type', format('event type %s is not in the catalog', n.event_type), (n.ord - 1)::int)
               when k.aggregate_type <> n.aggregate_type then annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregate type %s', n.event_type, k.aggregate_type), (n.ord - 1)::int)
               when (n.version <> k.current_version) is true and not exists (
                   select from annals.event_type_versions v
                    where v.event_type = n.event_type and v.version = n.version and (v.tenant_id is null or v.tenant_id = tenant))
               then annals.refuse(422, 'unknown_version', format('%s has no version %s', n.event_type, n.version), (n.ord - 1)::int)
               when not k.may_post then annals.refuse(403, 'event_type_forbidden', format('the role %s may not post %s', role, n.event_type), (n.ord - 1)::int)
               when (length(sources[n.ord]) between 1 and 100 and length(correlation_ids[n.ord]) between 1 and 128
                     and length(command_ids[n.ord]) between 1 and 128 and length(idempotency_keys[n.ord]) between 1 and 255
                     and happened_ats[n.ord] >= '0001-01-01 00:00:00+00' and happened_ats[n.ord] < '10000-01-01 00:00:00+00'
                     and jsonb_typeof(datas[n.ord]) = 'object' and jsonb_typeof(metadatas[n.ord]) = 'object' and jsonb_typeof(append_events.recorded) = 'object'
                     and pg_column_size(datas[n.ord]) <= 4194304 and pg_column_size(metadatas[n.ord]) <= 524288
                     and (pg_column_size(datas[n.ord]) < 512 or not jsonb_path_exists(datas[n.ord], 'strict $.**{100}'))
                     and (pg_column_size(metadatas[n.ord]) < 512 or not jsonb_path_exists(metadatas[n.ord], 'strict $.**{100}'))) is false
               then annals.refuse_bounds(datas[n.ord], metadatas[n.ord], (n.ord - 1)::int)
               when role = 'service' and (length(n.created_by) > 100 or n.created_by !~ '^(user|agent|service):[^[:cntrl:]]+$|^system$')
               then annals.refuse(422, 'malformed_event', 'created_by is not the name of an actor', (n.ord - 1)::int)
               when k.appended_by is not null and k.appended_by is distinct from n.part
               then annals.refuse(403, 'event_type_forbidden', format('only Annals itself may append %s', n.event_type), (n.ord - 1)::int)
               when role <> 'service' and (n.created_by <> actor or n.user_id <> person or (n.user_id is not null and person is null))
               then annals.refuse(403, 'actor_forged', 'created_by and user_id must match the token; only a service may name another actor', (n.ord - 1)::int)
               when n.created_by like 'user:%' and n.created_by <> 'user:' || n.user_id
               then annals.refuse(422, 'user_is_not_actor', 'created_by and user_id name different users', (n.ord - 1)::int)
               else true end
        -- One window for both functions. Numbering ignores the frame, and to count it has to be the whole stream.
        window stream as (partition by n.aggregate_type collate "C", n.aggregate_id collate "C" order by n.ord
                          rows between unbounded preceding and unbounded following)
    ), locked as (
        -- In one order, independent of the batch's order: two batches that share streams then wait for each other instead of deadlocking.
        -- In the collation of the heads, because the projector locks heads in that order (annals.advance_heads).
        insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
        select tenant, c.aggregate_type, c.aggregate_id, c.places, clock_timestamp() + (c.places - 1) * interval '1 microsecond', c.created_by
          from checked c
         where c.place = 1
         order by c.aggregate_type, c.aggregate_id
        on conflict on constraint heads_pkey do update
            set version = h.version + excluded.version,
                last_created_at = greatest(clock_timestamp(), h.last_created_at + interval '1 microsecond')
                                  + (excluded.version - 1) * interval '1 microsecond'
        returning h.aggregate_type, h.aggregate_id, h.version, h.last_created_at, h.started_by
    ), placed as (
        -- PostgreSQL evaluates volatile expressions after sorting, so numbers are drawn in the batch's order, and after every stream is
        -- locked. They are not drawn by the INSERT, because joining its rows to their place in the batch would cost quadratic time.
        select c.*, nextval('annals.event_numbers') as event_number, l.started_by, c.starter_sees and l.started_by <> c.created_by as is_withheld,
               (l.version - c.places + c.place)::int as aggregate_version,
               l.last_created_at - (c.places - c.place) * interval '1 microsecond' as created_at
          from checked c
          join locked l on l.aggregate_type = c.aggregate_type and l.aggregate_id = c.aggregate_id
         where case
               when role in ('user', 'agent')
                    and (l.started_by <> actor or (l.version = c.places and (c.expected_version <> c.place - 1
                                                         or (c.place = 1 and c.requires = 'existing' and c.part is null))))
               then annals.refuse_stream((c.ord - 1)::int)
               when c.expected_version <> l.version - c.places + c.place - 1
               then annals.refuse_version(tenant, actor, unknown, (l.version - c.places + c.place - 1)::int, c.expected_version, (c.ord - 1)::int)
               when l.version - c.places + c.place = 1 and (length(c.aggregate_id) between 1 and 128 and c.aggregate_id !~
                    '[[:cntrl:]\u0080-\u009F\u00AD\u200B\u200C\u200E\u200F\u2028-\u202E\u2060-\u206F\uFEFF\uFFF0-\uFFFB\uFFFE\uFFFF\uE000-\uF8FF]') is false
               then annals.refuse(422, 'malformed_event', 'aggregate_id must have 1 to 128 printable characters', (c.ord - 1)::int)
               when c.requires = case l.version - c.places + c.place when 1 then 'existing' else 'new' end and c.part is null
               then annals.refuse_requirement(tenant, actor, unknown, c.event_type, c.aggregate_type, c.aggregate_id, c.requires, (c.ord - 1)::int)
               else true end
         order by c.ord
    ), withheld as (
        insert into annals.withheld_context (event_number, tenant_id, user_id, created_by, metadata, recorded)
        select p.event_number, tenant, p.user_id, p.created_by, metadatas[p.ord], append_events.recorded from placed p where p.is_withheld
    ), inserted as (
        insert into annals.events (
            event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type,
            aggregate_id, version, created_by, posted_by, started_by, starter_sees, source, correlation_id, command_id, idempotency_key, data, metadata,
            recorded)
        select p.event_number, p.created_at, coalesce(happened_ats[p.ord], p.created_at), p.id, tenant, p.user_id, causation_ids[p.ord],
               p.aggregate_version, p.event_type, p.aggregate_type, p.aggregate_id, p.version, p.created_by, actor, p.started_by, p.starter_sees,
               coalesce(sources[p.ord], 'api'), correlation_ids[p.ord], command_ids[p.ord], idempotency_keys[p.ord], datas[p.ord],
               case when p.is_withheld then '{}' else metadatas[p.ord] end, case when p.is_withheld then '{}' else append_events.recorded end
          from placed p
    )
    select (p.ord - 1)::int, p.id, p.event_number, p.aggregate_version, p.created_at, p.version, false, p.created_by, p.user_id
      from placed p;
    -- In statements of their own, which see what was committed while the streams were waited for. The streams are locked now, and keys are
    -- kept under this lock (see kept_keys).
    if unknown is not null then
        perform annals.refuse_kept_key((k.ord - 1)::int)
           from unnest(idempotency_keys) with ordinality as k (key, ord)
           join annals.kept_keys kept on kept.tenant_id = tenant and kept.posted_by = actor and kept.idempotency_key = k.key
          where k.key = any (unknown)
          order by k.ord
          limit 1;
    end if;
    perform annals.mark_decision(tenant, u.aggregate_id, u.id)
       from unnest(event_types, aggregate_ids, new_ids) as u (event_type, aggregate_id, id)
      where u.event_type in ('projection.retried', 'projection.skipped') and event_types && '{projection.retried,projection.skipped}';
    perform set_config('enable_nestloop', 'on', true);
end
$$;
comment on function annals.append_events(jsonb, uuid[], text[], text[], text[], text[], jsonb[], jsonb[], jsonb, text[], uuid[], text[], timestamptz[], text[], uuid[], text[], text[], int[], text[], bigint) is
    'Appends many events atomically as the caller that the claims name. member is the index in the arrays, from 0.';

create function annals.find_appended(claims jsonb, aggregate_types text[], aggregate_ids text[], event_ids uuid[]) returns table (
    member int, id uuid, event_number bigint, aggregate_version int, created_at timestamptz, schema_version text, replayed boolean,
    created_by text, user_id uuid
) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    tenant uuid;
begin
    select c.tenant into tenant from annals.caller_of(claims) c;
    begin
        -- Locks the streams as an append does, so it waits for every running append to them. The error then releases the locks.
        insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
        select tenant, u.aggregate_type, u.aggregate_id, 1, clock_timestamp(), 'system'
          from (select distinct * from unnest(aggregate_types, aggregate_ids)) as u (aggregate_type, aggregate_id)
         order by u.aggregate_type collate "C", u.aggregate_id collate "C"
        on conflict on constraint heads_pkey do update set version = h.version;
        raise exception using errcode = 'AN000';
    exception when sqlstate 'AN000' then
        null;
    end;
    -- A statement of its own, which sees what was committed while the one above was waiting.
    return query
        select (i.place - 1)::int, e.id, e.event_number, e.aggregate_version, e.created_at, e.version, false, e.created_by, e.user_id
          from unnest(event_ids) with ordinality as i (id, place)
          join annals.events e on e.tenant_id = tenant and e.id = i.id
         order by i.place;
end
$$;
comment on function annals.find_appended(jsonb, text[], text[], uuid[]) is
    'For an append whose connection broke before its answer arrived: waits until no append to its streams is running, then returns those of its events that are stored.';

-- Retries are found by their keys before they are checked against the catalog, which may have changed since.
create function annals.known_keys(claims jsonb, keys text[]) returns setof text
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select e.idempotency_key
      from annals.caller_of(claims) c
      join annals.events e on e.tenant_id = c.tenant and e.posted_by = c.actor and e.idempotency_key = any (keys)
$$;
comment on function annals.known_keys(jsonb, text[]) is 'Those of the idempotency keys under which the caller has appended an event.';
grant usage on schema annals to annals_api;
grant execute on function
    annals.known_keys(jsonb, text[]), annals.find_appended(jsonb, text[], text[], uuid[]),
    annals.append_event(jsonb, jsonb, jsonb, jsonb, jsonb, bigint),
    annals.append_events(jsonb, uuid[], text[], text[], text[], text[], jsonb[], jsonb[], jsonb, text[], uuid[], text[], timestamptz[], text[], uuid[], text[], text[], int[], text[], bigint)
to annals_api;

revoke execute on all functions in schema annals from public;
