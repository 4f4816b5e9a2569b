-- Appending: the only way into the log.
--
-- Two functions with one contract, because one event per request is the common case and must not pay for sets:
-- append_event takes one event and append_events takes columns of many, atomically. Both
--   * believe only the claims of the request about tenant, role and actor;
--   * check type, aggregate, version and poster against the catalog;
--   * lock each stream by writing its head, streams in one order, and only then take recorded time and number: a
--     transaction holds its xid before it draws a number, which is what lets readers know that a number is settled (V6);
--   * return a retried event as it is stored, and refuse its key for another body.
-- The JSON Schema is the caller's to check: in Rust for the HTTP API, in public.post_event for SQL. The revision that it
-- was checked against comes along, and an older one than the catalog's is refused.
--
create function annals.request_hash(
    event_type text, aggregate_type text, aggregate_id text, version text, data jsonb, metadata jsonb, created_by text,
    user_id uuid, source text, happened_at timestamptz, correlation_id text, causation_id uuid, command_id text, expected_version int
) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
    select sha256(convert_to(jsonb_build_array(
        event_type, aggregate_type, aggregate_id, version, data, metadata, created_by, user_id, source,
        extract(epoch from happened_at), correlation_id, causation_id, command_id, expected_version)::text, 'UTF8'))
$$;
comment on function annals.request_hash(text, text, text, text, jsonb, jsonb, text, uuid, text, timestamptz, text, uuid, text, int) is
    'What a client sent, in 32 bytes, without what the server fills in: a retry from another address is still the same request.';

create function annals.refuse_version(tenant uuid, actor text, keys text[], actual int, expected int, member int) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- The stream may have moved by this very request's twin: then a retry finds the twin's events. This looks in a statement
    -- of its own, because the twin has committed after the append's statement began.
    if exists (
        select from annals.events e where e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = any (keys)
    ) then
        raise exception 'the same request is being served elsewhere' using errcode = 'serialization_failure';
    end if;
    return annals.refuse(409, 'version_conflict', format('the stream is at version %s, not %s', actual, expected), member, actual::text);
end
$$;
comment on function annals.refuse_version(uuid, text, text[], int, int, int) is
    'Refuses an expected version, unless it was the same request that has moved the stream; keys are those that were unknown when it began.';

create function annals.append_event(
    new_id uuid, event_type text, aggregate_type text, aggregate_id text, version text, data jsonb, metadata jsonb, context jsonb,
    created_by text, user_id uuid, source text, happened_at timestamptz, correlation_id text, causation_id uuid, command_id text,
    idempotency_key text, expected_version int, catalog_revision bigint,
    out member int, out id uuid, out event_number bigint, out aggregate_version int, out created_at timestamptz,
    out schema_version text, out replayed boolean
) returns record language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_variable
declare
    claims  jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    app     jsonb := claims -> 'app_metadata';
    role    text  := coalesce(app ->> 'role', 'user');
    tenant  uuid  := coalesce((app ->> 'tenant_id')::uuid, '00000000-0000-0000-0000-000000000000');
    actor   text;
    person  uuid;
    kind    record;
    head    record;
    stored  record;
    hash    bytea;
begin
    case role
        when 'user', 'staff' then
            person := (claims ->> 'sub')::uuid;
            actor := 'user:' || person;
        when 'agent', 'service' then
            actor := role || ':' || (app ->> 'name');
        else null;
    end case;
    if actor is null then
        perform annals.refuse(401, 'caller_unknown', 'the request carries no claims that name a caller');
    end if;

    if idempotency_key is not null then
        hash := annals.request_hash(event_type, aggregate_type, aggregate_id, version, data, metadata, created_by, user_id, source,
                                    happened_at, correlation_id, causation_id, command_id, expected_version);
        select e.id, e.event_number, e.aggregate_version, e.created_at, e.version, e.request_hash into stored
          from annals.events e
         where e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = idempotency_key;
        if found then
            if stored.request_hash <> hash then
                perform annals.refuse(422, 'idempotency_key_reused', 'the idempotency key belongs to another request', 0);
            end if;
            member := 0; id := stored.id; event_number := stored.event_number; aggregate_version := stored.aggregate_version;
            created_at := stored.created_at; schema_version := stored.version; replayed := true;
            return;
        end if;
    end if;

    select t.aggregate_type, t.current_version, t.posters, (select r.revision from annals.catalog_revision r) as revision
      into kind
      from annals.event_types t
     where t.event_type = event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last
     limit 1;
    -- All rules in one expression, because each costs its own to set up; which one was broken is asked only where one was.
    if (kind.revision = catalog_revision and kind.aggregate_type = aggregate_type
        and (version is null or version = kind.current_version) and role = any (kind.posters)) is not true then
        if kind.revision <> catalog_revision then
            perform annals.refuse(503, 'catalog_changed', 'the event was checked against an older catalog');
        elsif kind.aggregate_type is null then
            perform annals.refuse(422, 'unknown_event_type', format('event type %s is not in the catalog', event_type), 0);
        elsif kind.aggregate_type <> aggregate_type then
            perform annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregates of type %s', event_type, kind.aggregate_type), 0);
        elsif version <> kind.current_version and not exists (
            select from annals.event_type_versions v
             where v.event_type = append_event.event_type and v.version = append_event.version
               and (v.tenant_id is null or v.tenant_id = tenant)
        ) then
            perform annals.refuse(422, 'unknown_version', format('%s has no version %s', event_type, version), 0);
        elsif role <> all (kind.posters) then
            perform annals.refuse(403, 'event_type_forbidden', format('a caller of role %s may not post %s', role, event_type), 0);
        end if;
    end if;

    if role = 'service' then
        created_by := coalesce(created_by, actor);
        if user_id is null and created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then
            user_id := substr(created_by, 6)::uuid;
        end if;
        if created_by like 'user:%' and created_by <> 'user:' || user_id then
            perform annals.refuse(422, 'user_is_not_actor', 'created_by names another user than user_id', 0);
        end if;
    elsif created_by <> actor or user_id <> person or (user_id is not null and person is null) then
        perform annals.refuse(403, 'actor_forged', 'created_by and user_id are the token''s; only a service may name another', 0);
    else
        created_by := actor;
        user_id := person;
    end if;

    insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
    values (tenant, aggregate_type, aggregate_id, 1, clock_timestamp(), created_by)
    on conflict on constraint heads_pkey do update
        set version = h.version + 1,
            last_created_at = greatest(clock_timestamp(), h.last_created_at + interval '1 microsecond')
    returning h.version, h.last_created_at, h.started_by into head;

    -- Before the versions are compared: how far somebody else's stream has come is not the caller's to know.
    if role in ('user', 'agent') and head.started_by <> actor then
        perform annals.refuse(403, 'stream_of_another', 'the stream was started by someone else', 0);
    end if;
    if head.version <> expected_version + 1 then
        perform annals.refuse_version(tenant, actor, array[idempotency_key], head.version - 1, expected_version, 0);
    end if;

    member := 0; id := new_id; event_number := nextval('annals.event_numbers'); aggregate_version := head.version;
    created_at := head.last_created_at; schema_version := coalesce(version, kind.current_version); replayed := false;
    insert into annals.events (
        event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type,
        aggregate_id, version, created_by, posted_by, started_by, source, correlation_id, command_id, idempotency_key, request_hash,
        data, metadata)
    values (
        event_number, created_at, coalesce(happened_at, created_at), id, tenant, user_id, causation_id, aggregate_version, event_type,
        aggregate_type, aggregate_id, schema_version, created_by, actor, head.started_by, coalesce(source, 'api'), correlation_id,
        command_id, idempotency_key, hash, data,
        -- posted_by is ours alone: who could write it could say that a service had written in their name.
        case when created_by = actor then (context || metadata) - 'posted_by'
             else context || metadata || jsonb_build_object('posted_by', actor) end);
end
$$;
comment on function annals.append_event(uuid, text, text, text, text, jsonb, jsonb, jsonb, text, uuid, text, timestamptz, text, uuid, text, text, int, bigint) is
    'Appends one event as the current request''s caller.';

create function annals.append_events(
    new_ids uuid[], event_types text[], aggregate_types text[], aggregate_ids text[], versions text[], datas jsonb[], metadatas jsonb[],
    context jsonb, created_bys text[], user_ids uuid[], sources text[], happened_ats timestamptz[], correlation_ids text[],
    causation_ids uuid[], command_ids text[], idempotency_keys text[], expected_versions int[], catalog_revision bigint
) returns table (
    member int, id uuid, event_number bigint, aggregate_version int, created_at timestamptz, schema_version text, replayed boolean
) language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    claims  jsonb := nullif(current_setting('request.jwt.claims', true), '')::jsonb;
    app     jsonb := claims -> 'app_metadata';
    role    text  := coalesce(app ->> 'role', 'user');
    tenant  uuid  := coalesce((app ->> 'tenant_id')::uuid, '00000000-0000-0000-0000-000000000000');
    actor   text;
    person  uuid;
    hashes  bytea[];
    known   int[] := '{}';
    unknown text[];
begin
    case role
        when 'user', 'staff' then
            person := (claims ->> 'sub')::uuid;
            actor := 'user:' || person;
        when 'agent', 'service' then
            actor := role || ':' || (app ->> 'name');
        else null;
    end case;
    if actor is null then
        perform annals.refuse(401, 'caller_unknown', 'the request carries no claims that name a caller');
    end if;
    if (select r.revision <> append_events.catalog_revision from annals.catalog_revision r) then
        perform annals.refuse(503, 'catalog_changed', 'the events were checked against an older catalog');
    end if;

    if array_remove(idempotency_keys, null) <> '{}' then
        select array_agg(case when k.key is not null then annals.request_hash(
                   k.event_type, k.aggregate_type, k.aggregate_id, k.version, k.data, k.metadata, k.created_by, k.user_id, k.source,
                   k.happened_at, k.correlation_id, k.causation_id, k.command_id, k.expected_version) end order by k.ord)
          into hashes
          from unnest(idempotency_keys, event_types, aggregate_types, aggregate_ids, versions, datas, metadatas, created_bys, user_ids,
                      sources, happened_ats, correlation_ids, causation_ids, command_ids, expected_versions)
               with ordinality as k (key, event_type, aggregate_type, aggregate_id, version, data, metadata, created_by, user_id,
                      source, happened_at, correlation_id, causation_id, command_id, expected_version, ord);
        -- Known is what this one statement sees. A twin may commit before the next statement, and a member that is returned as
        -- known but appended, or neither, would make nonsense of the answer.
        select coalesce(array_agg(k.ord) filter (where e.id is not null), '{}'), array_agg(k.key) filter (where e.id is null)
          into known, unknown
          from unnest(idempotency_keys) with ordinality as k (key, ord)
          left join annals.events e on e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = k.key;
        return query
            select (k.ord - 1)::int, e.id, e.event_number, e.aggregate_version, e.created_at, e.version, true
              from unnest(idempotency_keys) with ordinality as k (key, ord)
              join annals.events e on e.tenant_id = tenant and e.posted_by = actor and e.idempotency_key = k.key
             where k.ord = any (known)
               and (e.request_hash = hashes[k.ord]
                    or annals.refuse(422, 'idempotency_key_reused', 'the idempotency key belongs to another request', (k.ord - 1)::int));
        if cardinality(known) = cardinality(new_ids) then
            return;
        end if;
    end if;

    -- The planner takes the batch for a handful of rows, whatever its length, and would compare each member with each.
    perform set_config('enable_nestloop', 'off', true);
    return query
    with kinds as materialized (
        select distinct on (t.event_type) t.event_type, t.aggregate_type, t.current_version, role = any (t.posters) as may_post
          from annals.event_types t
         where t.event_type = any (event_types) and (t.tenant_id = tenant or t.tenant_id is null)
         order by t.event_type, t.tenant_id nulls last
    ), checked as materialized (
        select n.ord, n.id, n.event_type, n.aggregate_type, n.aggregate_id, coalesce(n.version, k.current_version) as version, n.data,
               n.metadata, n.source, n.happened_at, n.correlation_id, n.causation_id, n.command_id, n.key, n.expected_version,
               coalesce(n.created_by, actor) as created_by,
               case when role <> 'service' then person
                    when n.user_id is null and n.created_by ~ '^user:[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$'
                    then substr(n.created_by, 6)::uuid
                    else n.user_id end as user_id,
               row_number() over stream as place,
               count(*) over (partition by n.aggregate_type, n.aggregate_id) as places
          from unnest(new_ids, event_types, aggregate_types, aggregate_ids, versions, datas, metadatas, created_bys, user_ids, sources,
                      happened_ats, correlation_ids, causation_ids, command_ids, idempotency_keys, expected_versions)
               with ordinality as n (id, event_type, aggregate_type, aggregate_id, version, data, metadata, created_by, user_id, source,
                      happened_at, correlation_id, causation_id, command_id, key, expected_version, ord)
          left join kinds k on k.event_type = n.event_type
         where n.ord <> all (known)
           and case
               when k.event_type is null then annals.refuse(422, 'unknown_event_type', format('event type %s is not in the catalog', n.event_type), (n.ord - 1)::int)
               when k.aggregate_type <> n.aggregate_type then annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregates of type %s', n.event_type, k.aggregate_type), (n.ord - 1)::int)
               when n.version <> k.current_version and not exists (
                   select from annals.event_type_versions v
                    where v.event_type = n.event_type and v.version = n.version and (v.tenant_id is null or v.tenant_id = tenant))
               then annals.refuse(422, 'unknown_version', format('%s has no version %s', n.event_type, n.version), (n.ord - 1)::int)
               when not k.may_post then annals.refuse(403, 'event_type_forbidden', format('a caller of role %s may not post %s', role, n.event_type), (n.ord - 1)::int)
               when role <> 'service' and (n.created_by <> actor or n.user_id <> person or (n.user_id is not null and person is null))
               then annals.refuse(403, 'actor_forged', 'created_by and user_id are the token''s; only a service may name another', (n.ord - 1)::int)
               when n.created_by like 'user:%' and n.created_by <> 'user:' || n.user_id
               then annals.refuse(422, 'user_is_not_actor', 'created_by names another user than user_id', (n.ord - 1)::int)
               else true end
        window stream as (partition by n.aggregate_type, n.aggregate_id order by n.ord)
    ), locked as (
        -- In one order, whatever the batch's own: two batches that share streams wait for each other instead of deadlocking.
        -- In the heads' collation, or the projector, which sorts the heads themselves (V6), would lock in another order.
        insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
        select tenant, c.aggregate_type, c.aggregate_id, c.places, clock_timestamp() + (c.places - 1) * interval '1 microsecond', c.created_by
          from checked c
         where c.place = 1
         order by c.aggregate_type collate "C", c.aggregate_id collate "C"
        on conflict on constraint heads_pkey do update
            set version = h.version + excluded.version,
                last_created_at = greatest(clock_timestamp(), h.last_created_at + interval '1 microsecond')
                                  + (excluded.version - 1) * interval '1 microsecond'
        returning h.aggregate_type, h.aggregate_id, h.version, h.last_created_at, h.started_by
    ), placed as (
        -- Numbers are drawn above the sort (PostgreSQL evaluates what is volatile after sorting), hence in the batch's order and
        -- only when every stream is locked. Not while inserting: to join what was inserted to its place costs the batch's square.
        select c.*, nextval('annals.event_numbers') as event_number, l.started_by,
               (l.version - c.places + c.place)::int as aggregate_version,
               l.last_created_at - (c.places - c.place) * interval '1 microsecond' as created_at
          from checked c
          join locked l on l.aggregate_type = c.aggregate_type and l.aggregate_id = c.aggregate_id
         where case
               when role in ('user', 'agent') and l.started_by <> actor
               then annals.refuse(403, 'stream_of_another', 'the stream was started by someone else', (c.ord - 1)::int)
               when c.expected_version <> l.version - c.places + c.place - 1
               then annals.refuse_version(tenant, actor, unknown, (l.version - c.places + c.place - 1)::int, c.expected_version, (c.ord - 1)::int)
               else true end
         order by c.ord
    ), inserted as (
        insert into annals.events (
            event_number, created_at, "timestamp", id, tenant_id, user_id, causation_id, aggregate_version, event_type, aggregate_type,
            aggregate_id, version, created_by, posted_by, started_by, source, correlation_id, command_id, idempotency_key, request_hash,
            data, metadata)
        select p.event_number, p.created_at, coalesce(p.happened_at, p.created_at), p.id, tenant, p.user_id, p.causation_id,
               p.aggregate_version, p.event_type, p.aggregate_type, p.aggregate_id, p.version, p.created_by, actor, p.started_by,
               coalesce(p.source, 'api'), p.correlation_id, p.command_id, p.key, hashes[p.ord], p.data,
               case when p.created_by = actor then (context || p.metadata) - 'posted_by'
                    else context || p.metadata || jsonb_build_object('posted_by', actor) end
          from placed p
    )
    select (p.ord - 1)::int, p.id, p.event_number, p.aggregate_version, p.created_at, p.version, false
      from placed p;
    perform set_config('enable_nestloop', 'on', true);
end
$$;
comment on function annals.append_events(uuid[], text[], text[], text[], text[], jsonb[], jsonb[], jsonb, text[], uuid[], text[], timestamptz[], text[], uuid[], text[], text[], int[], bigint) is
    'Appends many events atomically as the current request''s caller; members are numbered from 0.';

create function annals.await_streams(aggregate_types text[], aggregate_ids text[]) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Takes the streams' locks as an append does, which waits for every append under way, and gives them back at once.
    insert into annals.heads as h (tenant_id, aggregate_type, aggregate_id, version, last_created_at, started_by)
    select annals.caller_tenant(), u.aggregate_type, u.aggregate_id, 1, clock_timestamp(), 'system'
      from (select distinct * from unnest(aggregate_types, aggregate_ids)) as u (aggregate_type, aggregate_id)
     order by u.aggregate_type collate "C", u.aggregate_id collate "C"
    on conflict on constraint heads_pkey do update set version = h.version;
    raise exception using errcode = 'AN000';
exception when sqlstate 'AN000' then
    null;
end
$$;
comment on function annals.await_streams(text[], text[]) is
    'Returns when no append to these streams of the caller''s tenant is under way: whoever lost an acknowledgement then looks for its event.';

grant execute on function
    annals.await_streams(text[], text[]),
    annals.append_event(uuid, text, text, text, text, jsonb, jsonb, jsonb, text, uuid, text, timestamptz, text, uuid, text, text, int, bigint),
    annals.append_events(uuid[], text[], text[], text[], text[], jsonb[], jsonb[], jsonb, text[], uuid[], text[], timestamptz[], text[], uuid[], text[], text[], int[], bigint)
to authenticated;
