-- One entity: its projected state and the events that are not projected yet. The function exists because PL/pgSQL keeps its plans.

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

revoke execute on all functions in schema annals from public;
