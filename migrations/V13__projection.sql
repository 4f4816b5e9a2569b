-- Writing projections: entities, progress, and the rows of state tables. Each function takes columns of many rows, so one call serves many
-- streams.

-- Projectors lock it ROW EXCLUSIVE while they write. A rebuild that exchanges read models, or takes the snapshot that a verification
-- compares, locks it EXCLUSIVE.
create table annals_locks.read_models ();
comment on table annals_locks.read_models is 'Projectors lock it in a shared mode (ROW EXCLUSIVE), an exchange of read models EXCLUSIVE.';
grant update on annals_locks.read_models to annals_projector;

-- Nothing is written that was computed before the catalog changed or before read models were exchanged (an exchange also raises the
-- catalog's revision). The lock comes first, because it waits for a running exchange, whose new revision is then found.
create function annals.write_entities(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[], catalog_revision bigint
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    written bigint;
begin
    lock table annals_locks.read_models in row exclusive mode;
    insert into annals.entities as t (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
    select u.tenant_id, u.aggregate_type, u.aggregate_id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, u.state
      from unnest(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
           as u (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
     order by u.tenant_id, u.aggregate_type, u.aggregate_id
    on conflict on constraint entities_pkey do update
        set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at, state = excluded.state
        where t.version < excluded.version;
    get diagnostics written = row_count;
    if written <> cardinality(tenant_ids) then
        raise exception 'another projector has already projected this stream' using errcode = 'serialization_failure';
    end if;
    if (select r.revision <> write_entities.catalog_revision from annals.catalog_revision r) then
        raise exception 'the catalog has changed' using errcode = 'serialization_failure', constraint = 'projection_outdated';
    end if;
end
$$;
comment on function annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint) is
    'Moves entities to a later version. Fails with serialization_failure if another projector has done so, or if the catalog has changed since the events were read; the caller then reads again and retries.';

create function annals.advance_heads(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], from_versions int[], to_versions int[], left_out bigint
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moved   bigint;
    skipped bigint;
begin
    -- An open append holds its stream's head locked. The other streams of the batch must not wait long for it.
    perform set_config('lock_timeout', '1s', true);
    -- Lock in the order in which appends lock, then update. The order in which an UPDATE locks rows depends on its plan.
    perform from annals.heads h
       join unnest(tenant_ids, aggregate_types, aggregate_ids) as u (tenant_id, aggregate_type, aggregate_id)
         on h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
      order by h.tenant_id, h.aggregate_type, h.aggregate_id
        for no key update of h;
    update annals.heads h
       set projected_version = u.to_version
      from unnest(tenant_ids, aggregate_types, aggregate_ids, from_versions, to_versions)
           as u (tenant_id, aggregate_type, aggregate_id, from_version, to_version)
     where h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
       and h.projected_version = u.from_version and u.to_version <= h.version;
    get diagnostics moved = row_count;
    if moved <> cardinality(tenant_ids) then
        raise exception 'another projector has already projected this stream' using errcode = 'serialization_failure';
    end if;
    -- A parked stream that is retried keeps its row until it is projected up to its head. Its remaining events may be below the sweep's
    -- checkpoint, and no wake-up may name the stream. If this projector is killed, the sweep finds the stream only by this row.
    delete from annals.parked_streams p
     using unnest(tenant_ids, aggregate_types, aggregate_ids, to_versions)
           as u (tenant_id, aggregate_type, aggregate_id, to_version)
      join annals.heads h
        on h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
     where p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id
       and p.aggregate_version <= u.to_version and (not p.retrying or h.version = u.to_version);
    -- After the DELETE, which waits for a concurrent decision about the same row: a skip that was decided after the events were read must
    -- not be missed.
    select count(*) into skipped
      from annals.skipped_events s
      join unnest(tenant_ids, aggregate_types, aggregate_ids, from_versions, to_versions)
           as u (tenant_id, aggregate_type, aggregate_id, from_version, to_version)
        on s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id
       and s.aggregate_version > u.from_version and s.aggregate_version <= u.to_version;
    if skipped <> left_out then
        raise exception 'staff has already decided about this stream' using errcode = 'serialization_failure';
    end if;
end
$$;
comment on function annals.advance_heads(uuid[], text[], text[], int[], int[], bigint) is
    'Records progress and deletes the rows of parked streams that have advanced. It is the last call of its transaction, because appends wait for the heads'' locks. Fails like annals.write_entities.';

-- Integer columns are cast by way of numeric. JSON Schema counts 100.0 as an integer, and so does this; 100.5 fails in the cast.
create function annals.module_columns(
    table_name regclass, standard name[], out names text, out sources text, out updates text
) language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(string_agg(format(', %I', a.attname), '' order by a.attnum), ''),
           coalesce(string_agg(case when a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
                                    then format(', trim_scale((u.source ->> %1$L)::numeric)::text::%2$s', a.attname, a.atttypid::regtype)
                                    else format(', s.%I', a.attname) end, '' order by a.attnum), ''),
           coalesce(string_agg(format(', %1$I = excluded.%1$I', a.attname), '' order by a.attnum), '')
      from pg_attribute a
     where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attname <> all (standard)
$$;
comment on function annals.module_columns(regclass, name[]) is
    'The columns of a state table that are filled from JSON by name, as three pieces of SQL: the names, the source expressions, and the assignments of the update.';

create function annals.integer_columns(table_name regclass) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(a.attname::text), '{}')
      from pg_attribute a
     where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped
       and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
$$;
comment on function annals.integer_columns(regclass) is
    'Integer columns. annals.module_columns reads them itself, and jsonb_populate_record must not.';

create function annals.write_states(
    table_name regclass, tenant_ids uuid[], ids text[], versions int[], started_bys text[], deleted_ats timestamptz[],
    created_ats timestamptz[], updated_ats timestamptz[], states jsonb[]
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    standard constant name[] := '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}';
    columns  record := annals.module_columns(table_name, standard);
begin
    execute format(
        'insert into %1$s as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at%2$s)
         select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at%3$s
           from unnest($1, $2, $3, $4, $5, $6, $7, $8)
                as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
          cross join lateral jsonb_populate_record(null::%1$s, u.source - $9) as s
         on conflict (tenant_id, id) do update
            set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at%4$s',
        table_name, columns.names, columns.sources, columns.updates)
    using tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states,
          standard::text[] || annals.integer_columns(table_name);
end
$$;
comment on function annals.write_states(regclass, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is
    'Upserts rows of a module''s state table; its own columns are taken from the state by name.';

create function annals.write_children(
    table_name regclass, parent name, tenant_ids uuid[], parent_ids text[], ids text[], started_bys text[], children jsonb[]
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    standard constant name[] := array['tenant_id', parent, 'id', 'started_by'];
    columns  record := annals.module_columns(table_name, standard);
begin
    execute format(
        'insert into %1$s as t (tenant_id, %5$I, id, started_by%2$s)
         select u.tenant_id, u.parent_id, u.id, u.started_by%3$s
           from unnest($1, $2, $3, $4, $5) as u (tenant_id, parent_id, id, started_by, source)
          cross join lateral jsonb_populate_record(null::%1$s, u.source - $6) as s
         on conflict (tenant_id, %5$I, id) do update set started_by = excluded.started_by%4$s',
        table_name, columns.names, columns.sources, columns.updates, parent)
    using tenant_ids, parent_ids, ids, started_bys, children, standard::text[] || annals.integer_columns(table_name);
end
$$;
comment on function annals.write_children(regclass, name, uuid[], text[], text[], text[], jsonb[]) is
    'Upserts rows of a child collection''s table; its own columns are taken from the child by name.';

create function annals.delete_children(table_name regclass, parent name, tenant_ids uuid[], parent_ids text[], ids text[])
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format(
        'delete from %1$s t using unnest($1, $2, $3) as u (tenant_id, parent_id, id)
          where t.tenant_id = u.tenant_id and t.%2$I = u.parent_id and t.id = u.id', table_name, parent)
    using tenant_ids, parent_ids, ids;
end
$$;
comment on function annals.delete_children(regclass, name, uuid[], text[], text[]) is 'Deletes rows of a child collection''s table.';
grant execute on function
    annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint),
    annals.advance_heads(uuid[], text[], text[], int[], int[], bigint),
    annals.module_columns(regclass, name[]),
    annals.integer_columns(regclass),
    annals.write_states(regclass, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.write_children(regclass, name, uuid[], text[], text[], text[], jsonb[]),
    annals.delete_children(regclass, name, uuid[], text[], text[])
to annals_projector;

revoke execute on all functions in schema annals from public;
