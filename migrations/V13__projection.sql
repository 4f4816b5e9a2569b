-- Writing projections: entities, progress, and the rows of state tables. Each function takes columns of many rows, so one call serves many
-- streams.

-- Projectors lock it ROW EXCLUSIVE while they write. A rebuild that exchanges read models, or takes the snapshot that a verification
-- compares, locks it EXCLUSIVE.
create table annals_locks.read_models ();
comment on table annals_locks.read_models is 'Projectors lock it in a shared mode (ROW EXCLUSIVE), an exchange of read models EXCLUSIVE.';
grant update on annals_locks.read_models to annals_projector;

-- What streams have left to project. The plans are kept, and each stream costs one lookup in each table: sequential scans are off because
-- a plan that was made while a table was empty would stay when it has grown.
--
-- Usually the work is small, and no limit of bytes matters. most_bytes is an upper bound of the text's bytes: JSON text has at most six times
-- the bytes of the stored value (a control character), and compression reduces at most to 1/255. If that is below the limit, the first
-- statement returns everything. Otherwise the second one cuts, first by a guess of the size, because the text of a compressed value may be
-- many times as large and its exact size is known only after decompression, then by the real size. Rows are ordered by turn, then by stream,
-- so what is taken of a stream is always its next events. `offset 0` keeps values compressed until rows have been cut off.
create function annals.read_work(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], per_stream bigint, max_bytes bigint, max_stream_bytes bigint, turn_bytes bigint
) returns table (
    revision bigint, tenant_id uuid, aggregate_type text, aggregate_id text, projected_version int, started_by text,
    entity_version int, entity_created_at timestamptz, entity_updated_at timestamptz, deleted_at timestamptz, state text,
    id uuid, event_number bigint, aggregate_version int, event_type text, schema_version text, created_at timestamptz, data text,
    skipped boolean, is_last boolean
) language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_memoize = off set jit = off as $$
#variable_conflict use_column
begin
    return query
    select (select r.revision from annals.catalog_revision r where r.only_row), w.tenant_id, w.aggregate_type, w.aggregate_id,
           w.projected_version, w.started_by, w.entity_version, w.entity_created_at, w.entity_updated_at, w.deleted_at, w.state::text,
           w.id, w.event_number, w.aggregate_version, w.event_type, w.version, w.created_at, w.data::text, w.skipped, false
      from (
        select h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by, n.version as entity_version,
               n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
               case when e.aggregate_version = h.projected_version + 1 then n.state end as state,
               e.id, e.event_number, e.aggregate_version, e.event_type, e.version, e.created_at, e.data,
               (select exists (select from annals.skipped_events))
               and exists (select from annals.skipped_events s
                            where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                              and s.aggregate_version = e.aggregate_version) as skipped,
               sum(pg_column_size(e.data)::bigint * case when pg_column_compression(e.data) is null then 6 else 1530 end
                   + coalesce(pg_column_size(n.state)::bigint * case when pg_column_compression(n.state) is null then 6 else 1530 end, 0))
                   over () as most_bytes
          from unnest(tenant_ids, aggregate_types, aggregate_ids) as k (tenant_id, aggregate_type, aggregate_id)
         cross join lateral (
               select * from annals.heads h
                where h.tenant_id = k.tenant_id and h.aggregate_type = k.aggregate_type and h.aggregate_id = k.aggregate_id
                  and h.projected_version < h.version offset 0) as h
          left join lateral (
               select * from annals.entities n
                where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
                  and h.projected_version > 0 offset 0) as n on true
         cross join lateral (
               select * from annals.events e
                where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
                  and e.aggregate_version > h.projected_version and e.aggregate_version <= h.version
                order by e.aggregate_version limit per_stream) as e
         where not ((select exists (select from annals.parked_streams))
                    and exists (select from annals.parked_streams p
                                 where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id
                                   and not p.retrying))) as w
     where w.most_bytes < max_bytes
     order by w.tenant_id, w.aggregate_type, w.aggregate_id, w.aggregate_version;
    if found then
        return;
    end if;

    return query
    select w.revision, w.tenant_id, w.aggregate_type, w.aggregate_id, w.projected_version, w.started_by, w.entity_version, w.entity_created_at,
           w.entity_updated_at, w.deleted_at, w.state, w.id, w.event_number, w.aggregate_version, w.event_type, w.schema_version, w.created_at,
           w.data, w.skipped, w.is_last or w.running_bytes >= max_bytes
      from (
    select u.*, octet_length(u.data) + coalesce(octet_length(u.state), 0) as bytes,
           sum(octet_length(u.data) + coalesce(octet_length(u.state), 0)) over (order by u.guessed_before) as running_bytes
      from (
    select t.revision, t.tenant_id, t.aggregate_type, t.aggregate_id, t.projected_version, t.started_by,
           t.entity_version, t.entity_created_at, t.entity_updated_at, t.deleted_at, t.entity_state::text as state,
           t.id, t.event_number, t.aggregate_version, t.event_type, t.schema_version, t.created_at, t.event_data::text as data, t.skipped,
           t.guessed_before, t.guessed_before + t.guess >= max_bytes or t.stream_guess >= max_stream_bytes as is_last
      from (
    select s.*, sum(s.guess) over (order by (s.tenant_guess - s.guess) / turn_bytes, s.tenant_id, s.aggregate_type, s.aggregate_id, s.aggregate_version) - s.guess
               as guessed_before
      from (
    select g.*, sum(g.guess) over (partition by g.tenant_id order by g.aggregate_type, g.aggregate_id, g.aggregate_version) as tenant_guess,
           sum(g.guess) over (partition by g.tenant_id, g.aggregate_type, g.aggregate_id order by g.aggregate_version) as stream_guess
      from (
    select r.revision, h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by,
           n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
           case when e.aggregate_version = h.projected_version + 1 then n.state end as entity_state,
           e.id, e.event_number, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
           (select exists (select from annals.skipped_events))
           and exists (select from annals.skipped_events s
                        where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                          and s.aggregate_version = e.aggregate_version) as skipped,
           pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end
           + case when e.aggregate_version = h.projected_version + 1
                  then coalesce(pg_column_size(n.state) * case when pg_column_compression(n.state) is null then 1 else 16 end, 0)
                  else 0 end as guess
      from unnest(tenant_ids, aggregate_types, aggregate_ids) as k (tenant_id, aggregate_type, aggregate_id)
     cross join lateral (
           select * from annals.heads h
            where h.tenant_id = k.tenant_id and h.aggregate_type = k.aggregate_type and h.aggregate_id = k.aggregate_id
              and h.projected_version < h.version offset 0) as h
      left join lateral (
           select * from annals.entities n
            where n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
              and h.projected_version > 0 offset 0) as n on true
     cross join lateral (
           select e.* from annals.events e
            where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
              and e.aggregate_version > h.projected_version and e.aggregate_version <= h.version
            order by e.aggregate_version limit per_stream) as e
     cross join (select c.revision from annals.catalog_revision c where c.only_row) as r
     where not ((select exists (select from annals.parked_streams))
                and exists (select from annals.parked_streams p
                             where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id
                               and not p.retrying))
    ) as g) as s where s.stream_guess - s.guess < max_stream_bytes) as t where t.guessed_before < max_bytes offset 0) as u) as w
     where w.running_bytes - w.bytes < max_bytes
     order by w.tenant_id, w.aggregate_type, w.aggregate_id, w.aggregate_version;
end
$$;
comment on function annals.read_work(uuid[], text[], text[], bigint, bigint, bigint, bigint) is
    'What streams have left to project: their next events, the state before the first of them, and the catalog''s revision. is_last: more may be left, because a limit of bytes was reached.';

-- Nothing is written that was computed before the catalog changed or before read models were exchanged (an exchange also raises the
-- catalog's revision). The lock comes first, because it waits for a running exchange, whose new revision is then found.
create function annals.write_entities(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[], catalog_revision bigint
) returns void language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
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
) returns void language plpgsql set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_hashjoin = off set enable_mergejoin = off set jit = off as $$
declare
    moved   bigint;
    skipped bigint := 0;
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
    -- Usually no stream is parked and no event is skipped. Looking for any costs less than a lookup per stream. A stream of this batch
    -- cannot be parked after this, because parking needs the head's lock.
    if exists (select from annals.parked_streams) then
        -- A parked stream that is retried keeps its row until it is projected up to its head. Its remaining events may be below the sweep's
        -- checkpoint, and no wake-up may name the stream. If this projector is killed, the sweep finds the stream only by this row.
        delete from annals.parked_streams p
         using unnest(tenant_ids, aggregate_types, aggregate_ids, to_versions)
               as u (tenant_id, aggregate_type, aggregate_id, to_version)
          join annals.heads h
            on h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
         where p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id
           and p.aggregate_version <= u.to_version and (not p.retrying or h.version = u.to_version);
    end if;
    -- After the DELETE, which waits for a concurrent decision about the same row: a skip that was decided after the events were read must
    -- not be missed.
    if exists (select from annals.skipped_events) then
        select count(*) into skipped
          from annals.skipped_events s
          join unnest(tenant_ids, aggregate_types, aggregate_ids, from_versions, to_versions)
               as u (tenant_id, aggregate_type, aggregate_id, from_version, to_version)
            on s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id
           and s.aggregate_version > u.from_version and s.aggregate_version <= u.to_version;
    end if;
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

-- The same statement as in annals.write_states, in a function of its own for each state table, so that PostgreSQL keeps its plan: planning
-- it costs more than writing ten rows. If the table's columns have changed since, annals.write_states does the work.
create function annals.make_state_writer(table_name regclass) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    standard constant name[] := '{tenant_id,id,version,started_by,deleted_at,created_at,updated_at}';
    columns  record := annals.module_columns(table_name, standard);
    writer   name := (select 'fill_' || c.relname from pg_class c where c.oid = table_name);
begin
    execute format(
        'create or replace function annals.%1$I(
             tenant_ids uuid[], ids text[], versions int[], started_bys text[], deleted_ats timestamptz[], created_ats timestamptz[],
             updated_ats timestamptz[], states jsonb[]
         ) returns void language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $writer$
         begin
             if annals.columns_of(%2$L) <> %3$L then
                 perform annals.write_states(%2$L, tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
                 return;
             end if;
             insert into %2$s as t (tenant_id, id, version, started_by, deleted_at, created_at, updated_at%4$s)
             select u.tenant_id, u.id, u.version, u.started_by, u.deleted_at, u.created_at, u.updated_at%5$s
               from unnest(tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                    as u (tenant_id, id, version, started_by, deleted_at, created_at, updated_at, source)
              cross join lateral jsonb_populate_record(null::%2$s, u.source - %6$L::text[]) as s
             on conflict (tenant_id, id) do update
                set version = excluded.version, deleted_at = excluded.deleted_at, updated_at = excluded.updated_at%7$s;
         end
         $writer$',
        writer, table_name, annals.columns_of(table_name), columns.names, columns.sources,
        standard::text[] || annals.integer_columns(table_name), columns.updates);
    execute format('revoke execute on function annals.%I(uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) from public', writer);
    execute format('grant execute on function annals.%I(uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) to annals_projector', writer);
    execute format('comment on function annals.%I(uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is %L', writer,
                   format('Upserts rows of %s like annals.write_states, with a plan that is kept. Made by annals.make_state_writer.', table_name));
end
$$;
comment on function annals.make_state_writer(regclass) is
    'Makes the function that writes a state table with a kept plan. annals.register_state_table calls it. Call it again after a change of the table''s columns; until then annals.write_states writes the rows, which is slower.';

create function annals.columns_of(table_name regclass) returns text language plpgsql stable
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
begin
    return (select string_agg(a.attname || ' ' || a.atttypid, ', ' order by a.attnum)
              from pg_attribute a
             where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped);
end
$$;
comment on function annals.columns_of(regclass) is 'The columns of a table and their types as text, to notice a change of them.';

create function annals.fill_states(
    aggregate_type text, tenant_ids uuid[], ids text[], versions int[], started_bys text[], deleted_ats timestamptz[],
    created_ats timestamptz[], updated_ats timestamptz[], states jsonb[]
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    writer name := (select 'fill_' || t.table_name from annals.state_tables t
                     where t.aggregate_type = fill_states.aggregate_type and t.collection is null);
begin
    if writer is not null then
        execute format('select annals.%I($1, $2, $3, $4, $5, $6, $7, $8)', writer)
          using tenant_ids, ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states;
    end if;
end
$$;
comment on function annals.fill_states(text, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is
    'Upserts rows of an aggregate type''s state table by its own function, if it has a table.';

-- States are sent once for both tables, because parsing them as JSON is a large part of the work. Rows are written in the order in which
-- annals.write_entities writes them.
create function annals.write_read_models(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[], catalog_revision bigint
) returns void language plpgsql set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan as $$
declare
    kind text;
begin
    perform annals.write_entities(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats,
                                  states, catalog_revision);
    kind := aggregate_types[1];
    if kind = all (aggregate_types) then
        perform annals.fill_states(kind, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
        return;
    end if;
    for kind in select distinct t.name from unnest(aggregate_types) as t (name) order by t.name loop
        perform annals.fill_states(kind, array_agg(u.tenant_id), array_agg(u.id), array_agg(u.version), array_agg(u.started_by),
                                   array_agg(u.deleted_at), array_agg(u.created_at), array_agg(u.updated_at), array_agg(u.state))
           from unnest(aggregate_types, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
                as u (aggregate_type, tenant_id, id, version, started_by, deleted_at, created_at, updated_at, state)
          where u.aggregate_type = kind;
    end loop;
end
$$;
comment on function annals.write_read_models(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint) is
    'Moves entities to a later version (annals.write_entities), and writes the rows of their state tables.';

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
    annals.read_work(uuid[], text[], text[], bigint, bigint, bigint, bigint),
    annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint),
    annals.advance_heads(uuid[], text[], text[], int[], int[], bigint),
    annals.module_columns(regclass, name[]),
    annals.integer_columns(regclass),
    annals.columns_of(regclass),
    annals.fill_states(text, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.write_read_models(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint),
    annals.write_states(regclass, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.write_children(regclass, name, uuid[], text[], text[], text[], jsonb[]),
    annals.delete_children(regclass, name, uuid[], text[], text[])
to annals_projector;

revoke execute on all functions in schema annals from public;
