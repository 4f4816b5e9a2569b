-- One entity, now or at an earlier moment: a state, and the events after it. The functions exist because PL/pgSQL keeps their plans.

create function annals.find_entity(stream_type text, stream_id text) returns table (
    aggregate_type text, aggregate_id text, head_version int, projected_version int, started_by text,
    entity_version int, entity_created_at timestamptz, entity_updated_at timestamptz, deleted_at timestamptz, state text,
    aggregate_version int, event_type text, schema_version text, created_at timestamptz, skipped boolean, data text, revision bigint
) language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off set jit = off as $$
declare
    tenant uuid := annals.caller_tenant();
    stored record;
    folded int := 0;
begin
    if not (annals.caller_sees_tenant() or annals.sees_state(stream_type, stream_id)) then
        return;
    end if;

    -- Usually the state is projected: then this is all.
    return query
    select h.aggregate_type, h.aggregate_id, h.version, h.projected_version, h.started_by, n.version, n.created_at, n.updated_at, n.deleted_at,
           n.state::text, null::int, null::text, null::text, null::timestamptz, null::boolean, null::text, r.revision
      from annals.catalog_revision r
      join annals.heads h on h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id
      join annals.entities n on n.tenant_id = tenant and n.aggregate_type = stream_type and n.aggregate_id = stream_id
     where r.only_row and n.version = h.version and not annals.needs_rebuild(tenant, stream_type);
    if found then
        return;
    end if;

    select h.version as head_version, h.projected_version, h.started_by, n.version as entity_version, n.created_at, n.updated_at, n.deleted_at,
           n.state, r.revision
      into stored
      from annals.catalog_revision r
      join annals.heads h on h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id
      -- States of an older fold version are not read.
      left join annals.entities n on n.tenant_id = tenant and n.aggregate_type = stream_type and n.aggregate_id = stream_id
           and not annals.needs_rebuild(tenant, stream_type)
     where r.only_row;
    if not found then
        return;
    end if;
    folded := coalesce(stored.entity_version, 0);
    return query
    select stream_type, stream_id, stored.head_version, stored.projected_version, stored.started_by, stored.entity_version,
           stored.created_at, stored.updated_at, stored.deleted_at,
           case when e.aggregate_version = folded + 1 then stored.state::text end,
           e.aggregate_version, e.event_type, e.version, e.created_at,
           exists (select from annals.skipped_events s
                    where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                      and s.aggregate_version = e.aggregate_version),
           e.data::text, stored.revision
      from annals.events e
     where e.tenant_id = tenant
       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, folded)
       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (stream_id, stream_type, stored.head_version)
     order by e.aggregate_id, e.aggregate_type, e.aggregate_version limit 64;
end
$$;
comment on function annals.find_entity(text, text) is
    'The entity with this id, if the caller may see its state: one row with its projected state, or one for each of the next 64 events that are not projected, of which the first has the state.';
grant execute on function annals.find_entity(text, text) to authenticated;

create function annals.find_past(stream_type text, stream_id text, last_version int, at timestamptz, from_states boolean) returns table (
    head_version int, projected_version int, started_by text, upto int, in_future boolean, revision bigint,
    entity_version int, entity_created_at timestamptz, entity_updated_at timestamptz, deleted_at timestamptz, state text,
    is_snapshot boolean, corrupt bigint
) language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off set jit = off as $$
declare
    tenant   uuid := annals.caller_tenant();
    snapshot annals.snapshots;
begin
    if not annals.sees_state(stream_type, stream_id) then
        return;
    end if;
    select h.version, h.projected_version, h.started_by, r.revision
      into head_version, projected_version, started_by, revision
      from annals.catalog_revision r
      join annals.heads h on h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id
     where r.only_row;
    if not found then
        return;
    end if;
    upto := case when at is null then least(last_version, head_version)
                 else annals.version_at(tenant, stream_type, stream_id, head_version, at) end;
    in_future := coalesce(at > clock_timestamp(), false);
    corrupt := 0;
    if from_states then
        select n.version, n.created_at, n.updated_at, n.deleted_at, n.state::text, false
          into entity_version, entity_created_at, entity_updated_at, deleted_at, state, is_snapshot
          from annals.entities n
         where n.tenant_id = tenant and n.aggregate_type = stream_type and n.aggregate_id = stream_id and n.version <= upto
           and not annals.needs_rebuild(tenant, stream_type);
        for snapshot in
            select s.* from annals.snapshots s
             where s.tenant_id = tenant and s.aggregate_type = stream_type and s.aggregate_id = stream_id
               and s.version <= upto and s.version > coalesce(entity_version, 0)
               and s.fold_version = annals.fold_version_of(tenant, stream_type)
             order by s.tenant_id, s.aggregate_type, s.aggregate_id, s.version desc
        loop
            if snapshot.digest = annals.snapshot_digest(snapshot) then
                entity_version := snapshot.version;
                entity_created_at := snapshot.created_at;
                entity_updated_at := snapshot.updated_at;
                deleted_at := snapshot.deleted_at;
                state := snapshot.state::text;
                is_snapshot := true;
                exit;
            end if;
            corrupt := corrupt + 1;
        end loop;
    end if;
    return next;
end
$$;
comment on function annals.find_past(text, text, int, timestamptz, boolean) is
    'Where a fold of a stream begins and ends, if the caller may see its state: upto is the last version up to last_version or, if a time is given, the one that the stream had then. With from_states, the newest state up to that version: the projected one, or a snapshot with the current fold version and a correct digest; corrupt counts newer snapshots whose digest is wrong.';

create function annals.list_facts(stream_type text, stream_id text, after int, upto int, row_limit bigint, max_bytes bigint) returns table (
    aggregate_version int, event_type text, schema_version text, created_at timestamptz, data text, skipped boolean, revision bigint
) language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off set jit = off as $$
declare
    tenant  uuid := annals.caller_tenant();
    current bigint := (select r.revision from annals.catalog_revision r where r.only_row);
    skips   int[] := array(select s.aggregate_version from annals.skipped_events s
                            where s.tenant_id = tenant and s.aggregate_type = stream_type and s.aggregate_id = stream_id);
begin
    -- `offset 0` makes PostgreSQL convert each value to text only once.
    return query
    select p.aggregate_version, p.event_type, p.version, p.created_at, p.data, p.aggregate_version = any (skips), current
      from (select t.*, sum(octet_length(t.data)) over (rows unbounded preceding) as running_bytes
              from (select e.aggregate_version, e.event_type, e.version, e.created_at, e.data::text
                      from annals.events e
                     where e.tenant_id = tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, after)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (stream_id, stream_type, upto)
                     order by e.aggregate_id, e.aggregate_type, e.aggregate_version limit row_limit offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) < max_bytes;
end
$$;
comment on function annals.list_facts(text, text, int, int, bigint, bigint) is
    'The events of a stream after a version and up to another, for a fold. The event with which their data reach max_bytes is the last.';
grant execute on function annals.find_past(text, text, int, timestamptz, boolean), annals.list_facts(text, text, int, int, bigint, bigint)
    to authenticated;

revoke execute on all functions in schema annals from public;
