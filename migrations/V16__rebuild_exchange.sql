-- Rebuild: comparing shadow tables with live tables, and exchanging them.
--
-- Nearly every live row is right, so a rebuild does not write what is right. Each chunk of streams is folded and compared with the live
-- rows. A stream is unchanged if its entity equals the fold and its row in the state table is what that entity's state gives. An unchanged
-- stream is left out of the shadow tables. These contain the other streams, everything that was written since, and all children. A
-- verification writes all streams into its tables.
--
-- Between this comparison and the lock of the exchange, an unchanged stream may still be changed: by a projector, which a rebuild follows
-- anyway, or manually. Both leave rows that are younger than the rebuild, by their xmin, or no row.
--
-- Rows are compared by their binary image, so 1.0 differs from 1.00: a rebuilt row is the same byte for byte. The cast to record keeps the
-- parser from comparing field by field.

create function annals.exchanged_columns(
    live regclass, out names text, out live_row text, out shadow_row text, out updates text, out same_key text, out key text, out cells text
) language sql stable set search_path = pg_catalog, pg_temp as $$
    select string_agg(format('%I', a.attname), ', ' order by a.attnum),
           string_agg(format('l.%I', a.attname), ', ' order by a.attnum),
           string_agg(format('s.%I', a.attname), ', ' order by a.attnum),
           string_agg(format('%1$I = s.%1$I', a.attname), ', ' order by a.attnum) filter (where not k.is_key),
           string_agg(format('l.%1$I = s.%1$I', a.attname), ' and ' order by a.attnum) filter (where k.is_key),
           string_agg(format('%1$L, coalesce(l.%2$I, s.%2$I)', a.attname, a.attname), ', ' order by a.attnum) filter (where k.is_key),
           string_agg(format('(%1$L, l.%2$I::text, s.%2$I::text, row(l.%2$I)::record operator(pg_catalog.*<>) row(s.%2$I)::record)', a.attname, a.attname),
                      ', ' order by a.attnum) filter (where not k.is_key)
      from pg_attribute a
     cross join lateral (select exists (select from pg_constraint c
                                         where c.conrelid = live and c.contype = 'p' and a.attnum = any (c.conkey)) as is_key) as k
     where a.attrelid = live and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
$$;
comment on function annals.exchanged_columns(regclass) is
    'A live table''s columns (l) and those of a rebuild (s), as pieces of SQL: names, both rows, the assignments of the update, the join condition, the key as JSON members, and each column with both values and whether they differ.';

create function annals.compare_since(id int) returns xid8 language sql set search_path = pg_catalog, pg_temp as $$
    update annals.rebuilds r set compared_since = pg_snapshot_xmin(pg_current_snapshot())
     where r.id = compare_since.id
    returning r.compared_since
$$;
comment on function annals.compare_since(int) is
    'Records that from now on a rebuild leaves out of its tables the streams whose live rows are right.';

-- It reads a range of ids, not id by id, and without nested loops: a lookup per row would cost as much as the whole comparison. The planner
-- estimates a plan without nested loops as so expensive that JIT compilation would pay, which it does not.
create function annals.live_entities(aggregate_type text, tenant uuid, first_id text, last_id text)
returns table (id text, version int, started_by text, deleted_at timestamptz, created_at timestamptz, updated_at timestamptz, state text)
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_nestloop = off set jit = off as $$
declare
    state_table constant regclass := (select format('public.%I', t.table_name) from annals.state_tables t
                                       where t.aggregate_type = live_entities.aggregate_type and t.collection is null);
    has_row     text := '';
begin
    -- If a constraint is not validated, a live row may violate it. Then every row is written again, so that PostgreSQL checks it.
    if exists (select from pg_constraint c where c.conrelid in ('annals.entities'::regclass, state_table) and not c.convalidated) then
        return;
    end if;
    if state_table is not null then
        has_row := annals.row_of_state(state_table);
    end if;
    return query execute format(
        'select u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at, u.source::text
           from (select e.tenant_id, e.aggregate_id as id, e.version, e.started_by, e.deleted_at, e.created_at, e.updated_at, e.state as source
                   from annals.entities e
                  where e.aggregate_type = $1 and e.tenant_id = $2 and e.aggregate_id between $3 and $4) as u
          %s', has_row)
    using aggregate_type, tenant, first_id, last_id;
end
$$;
comment on function annals.live_entities(text, uuid, text, text) is
    'Those entities of an aggregate type, in a range of ids, whose row in the state table is byte for byte what their state gives.';

-- The same columns as annals.write_states fills. Integer columns are not removed from the state first, because the record definition here
-- leaves them out.
create function annals.row_of_state(state_table regclass) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
    with standard as (
        select '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}'::name[] as names
    ), module as (
        select string_agg(format(', t.%I', a.attname), '' order by a.attnum) as live,
               string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
                   filter (where a.attname::text <> all (i.names)) as definition
          from standard s
         cross join (select annals.integer_columns(state_table) as names) as i
          join pg_attribute a on a.attnum > 0 and not a.attisdropped and a.attgenerated = '' and a.attname <> all (s.names)
         where a.attrelid = state_table
    )
    select format('join (select * from %s t where t.tenant_id = $2 and t.id between $3 and $4) as t on t.tenant_id = u.tenant_id and t.id = u.id
                   %s
                   where row(%s%s)::record operator(pg_catalog.*=) row(%s%s)::record',
                  state_table, 'cross join lateral jsonb_to_record(u.source) as s (' || m.definition || ')',
                  (select string_agg('t.' || n, ', ') from unnest(s.names) as n), m.live,
                  (select string_agg('u.' || n, ', ') from unnest(s.names) as n), c.sources)
      from standard s, module m, annals.module_columns(state_table, s.names) as c
$$;
comment on function annals.row_of_state(regclass) is
    'The piece of annals.live_entities'' SQL that joins a state table''s row (t) if it equals what the entity''s state (u) gives.';

-- The exchange. A live row of an unchanged stream has no counterpart in the shadow tables and must stay. An orphan, a live row that belongs
-- to no stream, has none either and must be deleted.

create function annals.recheck_states(live regclass, shadow regclass, tenant uuid, aggregate_type text, since xid8) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    odd record;
begin
    execute format(
        'select coalesce(bool_or(e.id is null), false) as has_orphans, array_agg(e.tenant_id) as tenant_ids, array_agg(e.id) as ids
           from (select e.tenant_id, e.aggregate_id as id from annals.entities e
                  where ($1 is null or e.tenant_id = $1) and e.aggregate_type = $2) as e
           full join (select l.tenant_id, l.id, age(l.xmin) <= age($3::xid) as is_younger from %s l
                       where $1 is null or l.tenant_id = $1) as l on l.tenant_id = e.tenant_id and l.id = e.id
          where (e.id is null or l.id is null or l.is_younger)
            and not exists (select from %s s where s.tenant_id = e.tenant_id and s.id = e.id)', live, shadow)
       into odd using tenant, aggregate_type, since;
    perform annals.write_states(shadow, array_agg(e.tenant_id), array_agg(e.aggregate_id), array_agg(e.version), array_agg(e.started_by),
                                array_agg(e.deleted_at), array_agg(e.created_at), array_agg(e.updated_at), array_agg(e.state))
       from unnest(odd.tenant_ids, odd.ids) as o (tenant_id, id)
       join annals.entities e on e.tenant_id = o.tenant_id and e.aggregate_type = recheck_states.aggregate_type and e.aggregate_id = o.id
     having count(*) > 0;
    return odd.has_orphans;
end
$$;
comment on function annals.recheck_states(regclass, regclass, uuid, text, xid8) is
    'Adds to a rebuild''s table the rows of unchanged entities that were deleted or written manually since they were compared; returns whether there are orphans, rows of no entity.';

create function annals.has_orphans(shadow regclass, tenant uuid, aggregate_type text) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    missing bigint;
begin
    execute format('select count(*) from %s s where not exists (
                        select from annals.entities l
                         where l.tenant_id = s.tenant_id and l.aggregate_type = s.aggregate_type and l.aggregate_id = s.aggregate_id)', shadow)
       into missing;
    return missing + (select count(*) from annals.entities l
                       where (has_orphans.tenant is null or l.tenant_id = has_orphans.tenant)
                         and (has_orphans.aggregate_type is null or l.aggregate_type = has_orphans.aggregate_type))
           > (select count(*) from annals.heads h
               where h.projected_version > 0 and (has_orphans.tenant is null or h.tenant_id = has_orphans.tenant)
                 and (has_orphans.aggregate_type is null or h.aggregate_type = has_orphans.aggregate_type));
end
$$;
comment on function annals.has_orphans(regclass, uuid, text) is
    'Whether there are live entities that belong to no stream. If so, the live entities and those that are only in a rebuild''s table are together more than the projected streams.';

-- Rows that should not exist are deleted first, then rows that differ are updated, then missing rows are inserted. Inserts come last
-- because a module's table may have a unique constraint, and a wrong row may have the value of a missing one. ON CONFLICT leaves out the
-- rows that exist. A join with the live table would do the same, but in quadratic time if the planner believes that the table is empty
-- because it has grown since its statistics were made.
create function annals.exchange_rows(live regclass, shadow regclass, tenant uuid, aggregate_type text, unchanged text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c       record := annals.exchanged_columns(live);
    scope   text := '($1 is null or l.tenant_id = $1)'
                    || case when live = 'annals.entities'::regclass then ' and ($2 is null or l.aggregate_type = $2)' else '' end;
    key     name := (select k.conname from pg_constraint k where k.conrelid = live and k.contype = 'p');
    differs boolean := true;
    changed bigint := 0;
    rows    bigint;
begin
    if unchanged = 'false' then
        -- All rows have counterparts. Usually nothing differs, and then one comparison is cheaper than three statements.
        execute format('select exists (select from (select * from %s l where %s) as l full join %s s on %s
                                        where row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                       live, scope, shadow, c.same_key, c.live_row, c.shadow_row)
           into differs using tenant, aggregate_type;
    end if;
    if not differs then
        return 0;
    end if;
    if unchanged <> 'true' then
        execute format('delete from %s l where %s and not %s and not exists (select from %s s where %s)', live, scope, unchanged, shadow, c.same_key)
          using tenant, aggregate_type;
        get diagnostics rows = row_count;
        changed := changed + rows;
    end if;
    execute format('update %s l set %s from %s s where %s and row(%s)::record operator(pg_catalog.*<>) row(%s)::record',
                   live, c.updates, shadow, c.same_key, c.live_row, c.shadow_row);
    get diagnostics rows = row_count;
    changed := changed + rows;
    execute format('insert into %s (%s) select %s from %s s on conflict on constraint %I do nothing', live, c.names, c.shadow_row, shadow, key);
    get diagnostics rows = row_count;
    return changed + rows;
end
$$;
comment on function annals.exchange_rows(regclass, regclass, uuid, text, text) is
    'Makes a live table''s rows (l) of a scope equal to a rebuild''s. A row without a counterpart is deleted unless the condition unchanged is true for it. Returns how many rows it changed.';

create function annals.exchange_read_models(id int) returns bigint language plpgsql
set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    of      record;
    pair    record;
    c       record := annals.exchanged_columns('annals.entities');
    unchanged text;
    changed bigint := 0;
begin
    select r.tenant_id, r.aggregate_type, r.compared_since into strict of from annals.rebuilds r where r.id = exchange_read_models.id;
    -- Snapshots of an older fold version are deleted, and those of streams whose state was wrong, because they may have been taken from it.
    delete from annals.snapshots p
     where (of.tenant_id is null or p.tenant_id = of.tenant_id) and (of.aggregate_type is null or p.aggregate_type = of.aggregate_type)
       and p.fold_version <> annals.fold_version_of(p.tenant_id, p.aggregate_type);
    for pair in select * from annals.shadow_tables(id) as t order by t.aggregate_type nulls first loop
        unchanged := 'false';
        if pair.live = 'annals.entities'::regclass then
            execute format(
                'delete from annals.snapshots p using %s s left join annals.entities l on %s
                  where s.tenant_id = p.tenant_id and s.aggregate_type = p.aggregate_type and s.aggregate_id = p.aggregate_id
                    and (l.version is null or row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                pair.shadow, c.same_key, c.live_row, c.shadow_row);
            if of.compared_since is not null and not annals.has_orphans(pair.shadow::regclass, of.tenant_id, of.aggregate_type) then
                unchanged := 'true';
            elsif of.compared_since is not null then
                unchanged := 'exists (select from annals.heads h where h.tenant_id = l.tenant_id and h.aggregate_type = l.aggregate_type
                                                               and h.aggregate_id = l.aggregate_id and h.projected_version > 0)';
            end if;
        elsif pair.collection is null and of.compared_since is not null then
            unchanged := case when annals.recheck_states(pair.live, pair.shadow::regclass, of.tenant_id, pair.aggregate_type, of.compared_since)
                          then format('exists (select from annals.entities e where e.tenant_id = l.tenant_id and e.aggregate_type = %L
                                                                               and e.aggregate_id = l.id)', pair.aggregate_type)
                          else 'true' end;
        end if;
        changed := changed + annals.exchange_rows(pair.live, pair.shadow::regclass, of.tenant_id, of.aggregate_type, unchanged);
    end loop;
    delete from annals.snapshots p
     where (of.tenant_id is null or p.tenant_id = of.tenant_id) and (of.aggregate_type is null or p.aggregate_type = of.aggregate_type)
       and not exists (select from annals.entities e
                        where e.tenant_id = p.tenant_id and e.aggregate_type = p.aggregate_type and e.aggregate_id = p.aggregate_id);
    return changed;
end
$$;
comment on function annals.exchange_read_models(int) is
    'Makes live tables equal to a rebuild''s, while annals_locks.read_models is locked EXCLUSIVE, which keeps projectors from writing; returns how many rows differed.';

create function annals.list_differences(live regclass, shadow regclass, tenant uuid, aggregate_type text)
returns table (key text, column_name text, found text, expected text)
language plpgsql stable set search_path = pg_catalog, pg_temp set timezone = 'UTC' as $$
declare
    c     record := annals.exchanged_columns(live);
    scope text := '($1 is null or l.tenant_id = $1)'
                  || case when live = 'annals.entities'::regclass then ' and ($2 is null or l.aggregate_type = $2)' else '' end;
begin
    return query execute format(
        'select jsonb_build_object(%1$s)::text, d.column_name, d.found, d.expected
           from (select l.*, true as is_there from %2$s l where %3$s) as l
           full join (select s.*, true as is_there from %4$s s) as s on %5$s
          cross join lateral (
                select null::text, (to_jsonb(l) - ''is_there'')::text, (to_jsonb(s) - ''is_there'')::text where l.is_there is null or s.is_there is null
                 union all
                select v.column_name, v.found, v.expected from (values %6$s) as v (column_name, found, expected, differs)
                 where l.is_there and s.is_there and v.differs) as d (column_name, found, expected)
          where (l.is_there and s.is_there) is not true or row(%7$s)::record operator(pg_catalog.*<>) row(%8$s)::record',
        c.key, live, scope, shadow, c.same_key, c.cells, c.live_row, c.shadow_row)
    using tenant, aggregate_type;
end
$$;
comment on function annals.list_differences(regclass, regclass, uuid, text) is
    'The differences between a live table and a fold from the first event, column by column. A null column: the whole row is missing, or should not exist.';

grant execute on function
    annals.exchanged_columns(regclass), annals.compare_since(int), annals.live_entities(text, uuid, text, text), annals.row_of_state(regclass),
    annals.recheck_states(regclass, regclass, uuid, text, xid8), annals.has_orphans(regclass, uuid, text),
    annals.exchange_rows(regclass, regclass, uuid, text, text), annals.exchange_read_models(int),
    annals.list_differences(regclass, regclass, uuid, text)
to annals_projector;

revoke execute on all functions in schema annals from public;
