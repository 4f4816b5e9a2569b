-- Rebuild: what is right already is looked at and not written.
--
-- Until now a rebuild wrote all that it folded, only to find in the end that nearly every row was the same. Now each chunk of
-- streams is folded, and compared at once with the live rows: a stream whose entity is the fold, and whose row in its state
-- table is what that entity's state says, is sound, and stays out of the rebuild's tables. These hold the others, whatever
-- was written since, and all children. Proofs write everything, as before.
--
-- What may change a sound stream between the look and the lock: a projector, which a rebuild has to follow anyway, and
-- somebody's hand. Both leave rows that are younger than the rebuild, by their xmin, or none where there was one.

alter table annals.rebuilds add column compared_since xid8;
comment on column annals.rebuilds.compared_since is
    'Rows that an older transaction left were there when the rebuild began to compare; null: its tables hold every stream.';

create function annals.compare_since(id int) returns xid8 language sql set search_path = pg_catalog, pg_temp as $$
    update annals.rebuilds r set compared_since = pg_snapshot_xmin(pg_current_snapshot())
     where r.id = compare_since.id
    returning r.compared_since
$$;
comment on function annals.compare_since(int) is
    'Notes that from now on a rebuild leaves out of its tables what it finds to be right in the live ones.';

-- By a stretch of names, not name by name, and never row by row for each row: a look-up costs as much as all that is compared. A
-- plan without nested loops seems so dear that compiling it would pay; it would not.
create function annals.live_entities(aggregate_type text, tenant uuid, first_id text, last_id text)
returns table (id text, version int, started_by text, deleted_at timestamptz, created_at timestamptz, updated_at timestamptz, state text)
language plpgsql stable set search_path = pg_catalog, pg_temp set enable_nestloop = off set jit = off as $$
declare
    state_table constant regclass := (select format('public.%I', t.table_name) from annals.state_tables t
                                       where t.aggregate_type = live_entities.aggregate_type and t.collection is null);
    has_row     text := '';
begin
    -- What a constraint has not been held against may stand there and be refused all the same: that is for the writing to find.
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
    'Those entities of a kind, between two names, whose row in their state table is, byte for byte, what their state says.';

-- As annals.write_states fills the row, but that columns which it reads by itself need not be taken out of the state first.
create function annals.row_of_state(state_table regclass) returns text language sql stable set search_path = pg_catalog, pg_temp as $$
    with standard as (
        select '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}'::name[] as names
    ), module as (
        select string_agg(format(', t.%I', a.attname), '' order by a.attnum) as live,
               string_agg(format('%I %s', a.attname, format_type(a.atttypid, a.atttypmod)), ', ' order by a.attnum)
                   filter (where a.attname::text <> all (i.names)) as definition
          from standard s
         cross join (select annals.without_integers(state_table) as names) as i
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
    'The piece of annals.live_entities'' SQL that joins a state table''s row (t) where it says what the entity (u) does.';

-- Exchanging. A live row of a sound stream has no counterpart in a rebuild's tables; one that belongs to no stream has none either.

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
    'Adds to a rebuild''s table the rows of sound entities that somebody''s hand has deleted or written since they were compared; whether there are rows of no entity.';

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
    'Whether there are live entities of no stream, where every stream''s entity is live or in a rebuild''s table: then there are too many.';

-- Rows that go, rows that differ, rows that are missing; the last ones in the end, where a module has a unique constraint. They
-- are told from those that are there by their key as they are written: a look at a table that grew meanwhile would take longer
-- with each of them, where the planner remembers it as empty.
create function annals.exchange_rows(live regclass, shadow regclass, tenant uuid, aggregate_type text, sound text) returns bigint
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
    if sound = 'false' then
        -- All rows have counterparts. Mostly nothing differs, and then one look is less than three.
        execute format('select exists (select from (select * from %s l where %s) as l full join %s s on %s
                                        where row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                       live, scope, shadow, c.same_key, c.live_row, c.shadow_row)
           into differs using tenant, aggregate_type;
    end if;
    if not differs then
        return 0;
    end if;
    if sound <> 'true' then
        execute format('delete from %s l where %s and not %s and not exists (select from %s s where %s)', live, scope, sound, shadow, c.same_key)
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
    'Makes a live table''s rows (l) of a scope equal to a rebuild''s, and leaves those alone that are sound by a condition; how many it changed.';

create or replace function annals.exchange_read_models(id int) returns bigint language plpgsql
set search_path = pg_catalog, pg_temp set jit = off as $$
declare
    of      record;
    pair    record;
    c       record := annals.exchanged_columns('annals.entities');
    sound   text;
    changed bigint := 0;
begin
    select r.tenant_id, r.aggregate_type, r.compared_since into strict of from annals.rebuilds r where r.id = exchange_read_models.id;
    -- Snapshots of an older shape, and those of streams whose state was wrong, which were perhaps taken of it.
    delete from annals.snapshots p
     where (of.tenant_id is null or p.tenant_id = of.tenant_id) and (of.aggregate_type is null or p.aggregate_type = of.aggregate_type)
       and p.shape <> annals.shape_of(p.tenant_id, p.aggregate_type);
    for pair in select * from annals.shadow_tables(id) as t order by t.aggregate_type nulls first loop
        sound := 'false';
        if pair.live = 'annals.entities'::regclass then
            execute format(
                'delete from annals.snapshots p using %s s left join annals.entities l on %s
                  where s.tenant_id = p.tenant_id and s.aggregate_type = p.aggregate_type and s.aggregate_id = p.aggregate_id
                    and (l.version is null or row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                pair.shadow, c.same_key, c.live_row, c.shadow_row);
            if of.compared_since is not null and not annals.has_orphans(pair.shadow::regclass, of.tenant_id, of.aggregate_type) then
                sound := 'true';
            elsif of.compared_since is not null then
                sound := 'exists (select from annals.heads h where h.tenant_id = l.tenant_id and h.aggregate_type = l.aggregate_type
                                                               and h.aggregate_id = l.aggregate_id and h.projected_version > 0)';
            end if;
        elsif pair.collection is null and of.compared_since is not null then
            sound := case when annals.recheck_states(pair.live, pair.shadow::regclass, of.tenant_id, pair.aggregate_type, of.compared_since)
                          then format('exists (select from annals.entities e where e.tenant_id = l.tenant_id and e.aggregate_type = %L
                                                                               and e.aggregate_id = l.id)', pair.aggregate_type)
                          else 'true' end;
        end if;
        changed := changed + annals.exchange_rows(pair.live, pair.shadow::regclass, of.tenant_id, of.aggregate_type, sound);
    end loop;
    delete from annals.snapshots p
     where (of.tenant_id is null or p.tenant_id = of.tenant_id) and (of.aggregate_type is null or p.aggregate_type = of.aggregate_type)
       and not exists (select from annals.entities e
                        where e.tenant_id = p.tenant_id and e.aggregate_type = p.aggregate_type and e.aggregate_id = p.aggregate_id);
    return changed;
end
$$;
drop function annals.exchange_rows(regclass, regclass, uuid, text);

grant execute on function
    annals.compare_since(int), annals.live_entities(text, uuid, text, text), annals.row_of_state(regclass),
    annals.recheck_states(regclass, regclass, uuid, text, xid8), annals.has_orphans(regclass, uuid, text),
    annals.exchange_rows(regclass, regclass, uuid, text, text)
to annals_projector;

revoke execute on all functions in schema annals from public;
