-- Idempotency keys of requests that were answered without an event.
--
-- The key of an append is stored on its event. But a request that finds nothing to do appends no event: a PATCH whose fields already have
-- the wanted values, or a DELETE of a deleted entity. Its key is stored here. Otherwise a retry of the same request, sent because its
-- answer got lost, would find the entity as another request has changed it meanwhile, and would undo that change.
--
-- One key has one meaning, also under concurrency. A key is stored here for a version of the stream, under the lock that an append to the
-- stream takes, and only if the stream is still at that version and no event has the key. A request that wants to append reads the entity
-- first, then looks for the key, then appends at the version that it has read. Of two requests for one entity under one key, the later one
-- therefore finds the key of the earlier one. Example: request A finds nothing to change at version 7 and stores its key. Request B, with
-- another key, appends version 8. Request C, a retry of A, reads version 8 and would change the entity. A's key was stored before version 8
-- existed, so C finds it and changes nothing. An append looks up kept keys once it has locked the stream.
--
-- This holds for requests about one entity, because the lock of that entity orders them. If one key is sent at the same moment for two
-- entities, once with a request that changes nothing and once with one that appends, the key may be stored here and on an event. Then the
-- event takes precedence: later requests under the key are compared with it.

create table annals.kept_keys (
    tenant_id       uuid not null,
    kept_at         timestamptz not null default clock_timestamp(),
    posted_by       text collate "C" not null,
    idempotency_key text collate "C" not null,
    request_digest  text collate "C" not null,
    outcome         text collate "C" not null,
    constraint kept_keys_pkey primary key (tenant_id, posted_by, idempotency_key),
    constraint kept_keys_key_length check (length(idempotency_key) between 1 and 255),
    constraint kept_keys_digest check (request_digest ~ '^[0-9a-f]{64}$'),
    constraint kept_keys_outcome check (outcome in ('unchanged', 'deleted'))
);
comment on table annals.kept_keys is 'Idempotency keys of requests that found nothing to do. The sweep deletes them after 30 days.';
comment on column annals.kept_keys.tenant_id is 'Tenant, from the token.';
comment on column annals.kept_keys.kept_at is 'When the request was answered.';
comment on column annals.kept_keys.posted_by is 'Actor of the token.';
comment on column annals.kept_keys.idempotency_key is 'The client''s key. No event of the same actor in the entity''s stream has it.';
comment on column annals.kept_keys.request_digest is 'SHA-256 of the request: the same key with a different request is refused.';
comment on column annals.kept_keys.outcome is 'unchanged: the entity had the wanted values already. deleted: it was deleted already.';
create index kept_keys_by_age on annals.kept_keys (kept_at);

alter table annals.kept_keys enable row level security;
create policy kept_keys_project on annals.kept_keys for all to annals_projector using (true) with check (true);
grant select, delete on annals.kept_keys to annals_projector;

create function annals.find_kept_key(idempotency_key text) returns table (request_digest text, outcome text)
language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select k.request_digest, k.outcome from annals.kept_keys k
     where k.tenant_id = annals.caller_tenant() and k.posted_by = annals.caller_actor() and k.idempotency_key = find_kept_key.idempotency_key
$$;
comment on function annals.find_kept_key(text) is 'The caller''s request that was answered without an event under this key.';

create function annals.keep_key(
    aggregate_type text, aggregate_id text, entity_version int, idempotency_key text, request_digest text, outcome text
) returns boolean language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tenant constant uuid := annals.caller_tenant();
    actor  constant text := annals.caller_actor();
begin
    if actor is null then
        perform annals.refuse(401, 'caller_unknown', 'the request has no claims that identify a caller');
    end if;
    -- Waits for a running append, and checks the version again afterwards.
    perform from annals.heads h
      where h.tenant_id = tenant and h.aggregate_type = keep_key.aggregate_type and h.aggregate_id = keep_key.aggregate_id
        and h.version = keep_key.entity_version and (annals.caller_sees_tenant() or h.started_by = actor)
        for share;
    if not found or exists (select from annals.events e where e.tenant_id = tenant and e.posted_by = actor
                                                          and e.idempotency_key = keep_key.idempotency_key) then
        return false;
    end if;
    insert into annals.kept_keys (tenant_id, posted_by, idempotency_key, request_digest, outcome)
    values (tenant, actor, keep_key.idempotency_key, keep_key.request_digest, keep_key.outcome)
    on conflict on constraint kept_keys_pkey do nothing;
    return found;
end
$$;
comment on function annals.keep_key(text, text, int, text, text, text) is
    'Stores the key of a request that found nothing to do at this version of an entity. False if the entity has another version by now or the key is known; the request must then be processed again.';
grant execute on function annals.find_kept_key(text), annals.keep_key(text, text, int, text, text, text) to authenticated;

revoke execute on all functions in schema annals from public;
