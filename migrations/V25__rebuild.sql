-- Rebuild: read models made anew from the log beside the live ones, and exchanged for them in one transaction.
--
-- The new ones are built in a schema of the rebuild's own, in unlogged tables that only the projector can reach. At the
-- end live tables are made equal to them row by row, by difference and not by renaming: no lock that a reader would wait for,
-- nothing that depends on a table is lost, and what was right is not touched. Progress stays where it is: a rebuild computes
-- what heads say is projected, and emits nothing.
--
-- A rebuild runs as long as it holds a lock, in a transaction left open: PostgreSQL releases the lock as soon as the process ends,
-- whatever ended it, and this works behind poolers that keep no sessions. All rebuilds share the lock (ROW SHARE on
-- annals_locks.rebuilds); annals.rebuilds.held_by says which transaction's is which. A transaction without a snapshot or an xid
-- holds up neither vacuum nor the feed.

create table annals_locks.rebuilds ();
comment on table annals_locks.rebuilds is 'A rebuild locks it ROW SHARE for as long as it runs.';
create table annals_locks.rebuild_starts ();
comment on table annals_locks.rebuild_starts is 'A rebuild that starts locks it EXCLUSIVE: one at a time looks whether another is in its way.';
grant select, update on annals_locks.rebuilds to annals_projector;
grant update on annals_locks.rebuild_starts to annals_projector;

create sequence annals.rebuild_ids as int;
comment on sequence annals.rebuild_ids is 'Source of annals.rebuilds.id.';

create table annals.rebuilds (
    id               int not null,
    attempts         int not null default 1,
    tenant_id        uuid,
    failed_tenant_id uuid,
    requested_at     timestamptz not null default clock_timestamp(),
    started_at       timestamptz,
    finished_at      timestamptz,
    catalog_revision bigint,
    events           bigint not null default 0,
    streams          bigint not null default 0,
    changed_rows     bigint not null default 0,
    aggregate_type   text collate "C",
    purpose          text not null default 'rebuild',
    status           text not null,
    requested_by     text not null,
    held_by          text,
    error            text,
    constraint rebuilds_pkey primary key (id),
    constraint rebuilds_purpose check (purpose in ('rebuild', 'verify')),
    constraint rebuilds_status check (status in ('requested', 'running', 'done', 'failed', 'abandoned')),
    constraint rebuilds_times check ((status = 'requested') = (started_at is null)
                                     and (status in ('done', 'failed', 'abandoned')) = (finished_at is not null)),
    constraint rebuilds_error check ((status = 'failed') = (error is not null))
);
comment on table annals.rebuilds is 'Rebuilds of read models, and proofs of them, the newest thousand.';
comment on column annals.rebuilds.id is 'Names it and its schema, annals_rebuild_{id}.';
comment on column annals.rebuilds.attempts is 'How many in a row have been made for the same scope without success, this one counted.';
comment on column annals.rebuilds.tenant_id is 'Tenant whose read models it is about; null: all.';
comment on column annals.rebuilds.failed_tenant_id is 'Tenant of the stream that it failed at; the error is for that tenant alone to read.';
comment on column annals.rebuilds.requested_at is 'When it was asked for.';
comment on column annals.rebuilds.started_at is 'When it began.';
comment on column annals.rebuilds.finished_at is 'When it ended, or was found to have been killed.';
comment on column annals.rebuilds.catalog_revision is 'The catalog''s revision when it began: one that failed is not tried again at once while the catalog is the same.';
comment on column annals.rebuilds.events is 'Events folded so far.';
comment on column annals.rebuilds.streams is 'Streams folded so far.';
comment on column annals.rebuilds.changed_rows is 'Rows of live tables that were not what they should have been, and are now.';
comment on column annals.rebuilds.aggregate_type is 'Kind of aggregate that it is about; null: all.';
comment on column annals.rebuilds.purpose is 'rebuild; or verify, which compares and changes nothing.';
comment on column annals.rebuilds.status is 'requested, running, done, failed, or abandoned: its process was killed.';
comment on column annals.rebuilds.requested_by is 'Actor who asked for it; system: the command line, or a new shape.';
comment on column annals.rebuilds.held_by is 'Virtual transaction id of the transaction that holds its lock.';
comment on column annals.rebuilds.error is 'Why it failed, with the stream at fault where there is one.';

create unique index rebuilds_requested on annals.rebuilds (tenant_id, coalesce(aggregate_type, '')) where status = 'requested';

create trigger rebuilds_revision after update on annals.rebuilds
    for each row when (new.status = 'done' and old.status <> 'done' and new.purpose = 'rebuild') execute function annals.raise_catalog_revision();

alter table annals.rebuilds enable row level security;
-- What is about all tenants shows, unless it failed at another tenant's stream, whose name the error holds.
create policy rebuilds_read on annals.rebuilds for select to authenticated using (
    (select annals.caller_sees_tenant())
    and (tenant_id = (select annals.caller_tenant())
         or (tenant_id is null and (failed_tenant_id is null or failed_tenant_id = (select annals.caller_tenant()))))
);
create policy rebuilds_project on annals.rebuilds for all to annals_projector using (true) with check (true);
grant select on annals.rebuilds to authenticated;
grant select, insert, update, delete on annals.rebuilds to annals_projector;
grant usage on sequence annals.rebuild_ids to annals_projector;
grant execute on function annals.refuse(int, text, text, int, text) to annals_projector;

-- What a server lets transactions take by default is for requests; only newer servers have the last limit. The keepalives are
-- for a process that vanishes with its machine and closes nothing.
create function annals.hold_rebuild() returns text language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform set_config(s.name, '0', true) from pg_settings s
      where s.name in ('statement_timeout', 'idle_in_transaction_session_timeout', 'transaction_timeout');
    perform set_config('tcp_keepalives_idle', '30', true), set_config('tcp_keepalives_interval', '10', true),
            set_config('tcp_keepalives_count', '3', true);
    lock table annals_locks.rebuilds in row share mode;
    return (select l.virtualtransaction from pg_locks l where l.pid = pg_backend_pid() and l.locktype = 'virtualxid');
end
$$;
comment on function annals.hold_rebuild() is
    'Takes the lock that tells that a rebuild runs, for as long as the transaction stays open. Its virtual transaction id, for annals.start_rebuild.';

-- Virtual transaction ids begin anew when the server starts, and so does everything that it locks.
create function annals.is_rebuild_held(id int) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from annals.rebuilds r
                     join pg_locks l on l.virtualtransaction = r.held_by
                    where r.id = is_rebuild_held.id and r.started_at >= pg_postmaster_start_time()
                      and l.locktype = 'relation' and l.relation = 'annals_locks.rebuilds'::regclass and l.granted
                      and l.database = (select d.oid from pg_database d where d.datname = current_database()))
$$;
comment on function annals.is_rebuild_held(int) is 'Whether a rebuild''s process lives.';

create function annals.refuse_overlapping_rebuild(tenant uuid, aggregate_type text, id int) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    other int := (select min(r.id) from annals.rebuilds r
                   where r.purpose = 'rebuild' and r.id <> refuse_overlapping_rebuild.id
                     and (r.status = 'running' and annals.is_rebuild_held(r.id)
                          or r.status = 'requested' and refuse_overlapping_rebuild.id = 0)
                     and (r.tenant_id is null or tenant is null or r.tenant_id = tenant)
                     and (r.aggregate_type is null or refuse_overlapping_rebuild.aggregate_type is null
                          or r.aggregate_type = refuse_overlapping_rebuild.aggregate_type));
begin
    if other is not null then
        perform annals.refuse(409, 'rebuild_running', format('rebuild %s of the same read models is still running: wait until it has ended', other));
    end if;
end
$$;
comment on function annals.refuse_overlapping_rebuild(uuid, text, int) is
    'Refuses where another rebuild touches the same read models: one that runs, or, before an id is drawn (0), one that is asked for.';

create function annals.request_rebuild(aggregate_type text) returns int language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tenant constant uuid := annals.caller_tenant();
    number int;
begin
    if annals.caller_role() is distinct from 'staff' then
        perform annals.refuse(403, 'staff_only', 'only staff may ask for a rebuild');
    end if;
    if aggregate_type is not null and not exists (
        select from annals.event_types t where t.aggregate_type = request_rebuild.aggregate_type and (t.tenant_id = tenant or t.tenant_id is null)
    ) then
        perform annals.refuse(422, 'unknown_module', 'there is no such module: GET /api/v1/events/types lists those that there are, as aggregate_type');
    end if;
    perform annals.refuse_overlapping_rebuild(tenant, aggregate_type, 0);
    -- No lock here: a caller could keep it by leaving its transaction open. Of two requests for the same read models at the same
    -- moment one waits for the other, by the unique index.
    insert into annals.rebuilds (id, tenant_id, aggregate_type, status, requested_by)
    values (nextval('annals.rebuild_ids'), tenant, request_rebuild.aggregate_type, 'requested', annals.caller_actor())
    returning id into number;
    return number;
exception when unique_violation then
    perform annals.refuse(409, 'rebuild_running', 'a rebuild of the same read models is requested already');
    return null;
end
$$;
comment on function annals.request_rebuild(text) is 'Asks for a rebuild of the caller''s tenant''s read models, or one module of them; staff only. Its id.';
grant execute on function annals.request_rebuild(text) to authenticated;

create function annals.start_rebuild(id int, purpose text, tenant uuid, aggregate_type text, requested_by text, held_by text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
#variable_conflict use_column
declare
    failures int;
begin
    lock table annals_locks.rebuild_starts in exclusive mode;
    if start_rebuild.aggregate_type is not null and not exists (
        select from annals.event_types t where t.aggregate_type = start_rebuild.aggregate_type
    ) then
        perform annals.refuse(422, 'unknown_module', format('there is no module %s: no event type has it as its aggregate_type', start_rebuild.aggregate_type));
    end if;
    update annals.rebuilds r set status = 'abandoned', finished_at = clock_timestamp()
     where r.status = 'running' and not annals.is_rebuild_held(r.id);
    if start_rebuild.purpose = 'rebuild' then
        perform annals.refuse_overlapping_rebuild(start_rebuild.tenant, start_rebuild.aggregate_type, start_rebuild.id);
    end if;
    select r.attempts into failures from annals.rebuilds r
     where r.purpose = start_rebuild.purpose and r.tenant_id is not distinct from start_rebuild.tenant
       and r.aggregate_type is not distinct from start_rebuild.aggregate_type and r.started_at is not null
       and r.id = (select max(l.id) from annals.rebuilds l
                    where l.purpose = start_rebuild.purpose and l.tenant_id is not distinct from start_rebuild.tenant
                      and l.aggregate_type is not distinct from start_rebuild.aggregate_type and l.id <> start_rebuild.id)
       and r.status in ('failed', 'abandoned');
    insert into annals.rebuilds (id, attempts, tenant_id, started_at, catalog_revision, aggregate_type, purpose, status, requested_by, held_by)
    select start_rebuild.id, coalesce(failures, 0) + 1, start_rebuild.tenant, clock_timestamp(), c.revision, start_rebuild.aggregate_type,
           start_rebuild.purpose, 'running', start_rebuild.requested_by, start_rebuild.held_by
      from annals.catalog_revision c
    on conflict on constraint rebuilds_pkey do update
        set attempts = case rebuilds.status when 'requested' then excluded.attempts else rebuilds.attempts + 1 end,
            held_by = excluded.held_by, started_at = excluded.started_at, finished_at = null, catalog_revision = excluded.catalog_revision, status = 'running',
            events = 0, streams = 0
        -- One that still says that it runs is held by its process: those that are not were abandoned above.
        where rebuilds.status in ('requested', 'abandoned');
    if not found then
        perform annals.refuse(409, 'rebuild_running', 'this rebuild has already been started');
    end if;
    delete from annals.rebuilds r
     where r.status in ('done', 'failed', 'abandoned') and r.id <= (select o.id from annals.rebuilds o order by o.id desc offset 1000 limit 1);
end
$$;
comment on function annals.start_rebuild(int, text, uuid, text, text, text) is
    'Notes that a rebuild runs, whose lock the caller holds: a new one, one that was asked for, or one that was killed.';

create function annals.shadow_schema(id int) returns name language sql immutable set search_path = pg_catalog, pg_temp as $$
    select ('annals_rebuild_' || id)::name
$$;
comment on function annals.shadow_schema(int) is 'Schema of a rebuild''s tables.';

create function annals.left_shadows(id int) returns setof int language sql stable set search_path = pg_catalog, pg_temp as $$
    select s.id
      from pg_namespace n
     cross join lateral (select substr(n.nspname, 16)::int as id) as s
     where n.nspname ~ '^annals_rebuild_[0-9]{1,9}$' and (s.id = left_shadows.id or not annals.is_rebuild_held(s.id))
$$;
comment on function annals.left_shadows(int) is
    'Rebuilds whose tables are still there though no process works on them: killed, or done and not dropped. The caller''s own rebuild, too, which has no tables yet.';

create function annals.shadow_tables(id int) returns table (live regclass, shadow text, aggregate_type text, collection text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    -- A name that no table of schema public gets by custom, since the others bear theirs.
    select 'annals.entities'::regclass, format('%I.%I', annals.shadow_schema(id), 'annals.entities'), null, null
     union all
    select format('public.%I', t.table_name)::regclass, format('%I.%I', annals.shadow_schema(id), t.table_name), t.aggregate_type, t.collection
      from annals.rebuilds r
      join annals.state_tables t on r.aggregate_type is null or t.aggregate_type = r.aggregate_type
     where r.id = shadow_tables.id
$$;
comment on function annals.shadow_tables(int) is 'Live tables that a rebuild is about, each with its own beside it.';

-- With the owner's rights, because the projector has no right to make tables. No index but the key: nothing searches them.
create function annals.open_shadow(id int) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    pair record;
    key  text;
begin
    execute format('create schema %I', annals.shadow_schema(id));
    for pair in select * from annals.shadow_tables(id) loop
        select string_agg(format('%I', a.attname), ', ' order by k.position) into strict key
          from pg_constraint c
         cross join unnest(c.conkey) with ordinality as k (attnum, position)
          join pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
         where c.conrelid = pair.live and c.contype = 'p';
        execute format('create unlogged table %s (like %s including all excluding indexes excluding comments)', pair.shadow, pair.live);
        execute format('alter table %s add primary key (%s)', pair.shadow, key);
    end loop;
    execute format('grant usage on schema %I to annals_projector', annals.shadow_schema(id));
    execute format('grant select, insert, update, delete on all tables in schema %I to annals_projector', annals.shadow_schema(id));
end
$$;
comment on function annals.open_shadow(int) is 'Makes a rebuild''s tables, as the live ones are now, for the projector alone.';

create function annals.analyze_shadow(id int) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) loop
        execute format('analyze %s', pair.shadow);
    end loop;
end
$$;
comment on function annals.analyze_shadow(int) is 'Lets the planner know how much a rebuild''s tables hold.';

create function annals.drop_shadow(id int) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    execute format('drop schema if exists %I cascade', annals.shadow_schema(id));
end
$$;
comment on function annals.drop_shadow(int) is 'Drops a rebuild''s tables.';

-- States are sent once for both tables: reading them as JSON is a good part of the work.
create function annals.write_shadow(
    entities regclass, state_table regclass, aggregate_type text, tenant_ids uuid[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[]
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format(
        'insert into %s as t (aggregate_type, tenant_id, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
         select $1, u.* from unnest($2, $3, $4, $5, $6, $7, $8, $9) as u
         on conflict (tenant_id, aggregate_type, aggregate_id) do update
            set version = excluded.version, started_by = excluded.started_by, deleted_at = excluded.deleted_at,
                created_at = excluded.created_at, updated_at = excluded.updated_at, state = excluded.state', entities)
    using aggregate_type, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states;
    if state_table is not null then
        perform annals.write_states(state_table, tenant_ids, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states);
    end if;
end
$$;
comment on function annals.write_shadow(regclass, regclass, text, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is
    'Upserts states of entities of one kind in a rebuild''s tables: as JSON, and, where they have one, in their own.';

create function annals.delete_families(table_name regclass, parent name, tenant_ids uuid[], parent_ids text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('delete from %s t using unnest($1, $2) as u (tenant_id, parent_id) where t.tenant_id = u.tenant_id and t.%I = u.parent_id',
                   table_name, parent)
    using tenant_ids, parent_ids;
end
$$;
comment on function annals.delete_families(regclass, name, uuid[], text[]) is 'Deletes all children of some parents from a child collection''s table.';

create function annals.forget_shadow(id int, tenant uuid, aggregate_type text) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) as t where t.aggregate_type is null or t.aggregate_type = forget_shadow.aggregate_type loop
        execute format('delete from %s s where ($1 is null or s.tenant_id = $1)%s', pair.shadow,
                       case when pair.aggregate_type is null then ' and s.aggregate_type = $2' end)
        using tenant, forget_shadow.aggregate_type;
    end loop;
end
$$;
comment on function annals.forget_shadow(int, uuid, text) is 'Empties a rebuild''s tables of aggregates that have got another shape meanwhile.';

-- Comparing and exchanging. Rows are compared by their image, so that 1.0 is not 1.00: what is rebuilt is the same, byte for
-- byte. The cast keeps the parser from comparing field by field.

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
    'A live table''s columns (l) beside those of a rebuild (s), as pieces of SQL: names, both rows, the update, the join, the key as JSON, and each column with both values and whether they differ.';

-- Rows that go, rows that differ, rows that are missing; the last ones in the end, where a module has a unique constraint.
create function annals.exchange_rows(live regclass, shadow regclass, tenant uuid, aggregate_type text) returns bigint
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    c       record := annals.exchanged_columns(live);
    scope   text := '($1 is null or l.tenant_id = $1)'
                    || case when live = 'annals.entities'::regclass then ' and ($2 is null or l.aggregate_type = $2)' else '' end;
    differs boolean;
    changed bigint := 0;
    rows    bigint;
begin
    -- Mostly nothing does, and then one look is less than three.
    execute format('select exists (select from (select * from %s l where %s) as l full join %s s on %s
                                    where row(%s)::record operator(pg_catalog.*<>) row(%s)::record)',
                   live, scope, shadow, c.same_key, c.live_row, c.shadow_row)
       into differs using tenant, aggregate_type;
    if not differs then
        return 0;
    end if;
    execute format('delete from %s l where %s and not exists (select from %s s where %s)', live, scope, shadow, c.same_key)
      using tenant, aggregate_type;
    get diagnostics rows = row_count;
    changed := changed + rows;
    execute format('update %s l set %s from %s s where %s and row(%s)::record operator(pg_catalog.*<>) row(%s)::record',
                   live, c.updates, shadow, c.same_key, c.live_row, c.shadow_row);
    get diagnostics rows = row_count;
    changed := changed + rows;
    execute format('insert into %s (%s) select %s from %s s where not exists (select from %s l where %s)',
                   live, c.names, c.shadow_row, shadow, live, c.same_key);
    get diagnostics rows = row_count;
    return changed + rows;
end
$$;
comment on function annals.exchange_rows(regclass, regclass, uuid, text) is 'Makes a live table''s rows of a scope equal to a rebuild''s; how many were not.';

create function annals.exchange_read_models(id int) returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    scope   record;
    pair    record;
    c       record := annals.exchanged_columns('annals.entities');
    changed bigint := 0;
begin
    select r.tenant_id, r.aggregate_type into strict scope from annals.rebuilds r where r.id = exchange_read_models.id;
    -- Snapshots of an older shape, and those of streams whose state was wrong, which were perhaps taken of it.
    delete from annals.snapshots p
     where (scope.tenant_id is null or p.tenant_id = scope.tenant_id) and (scope.aggregate_type is null or p.aggregate_type = scope.aggregate_type)
       and p.shape <> annals.shape_of(p.tenant_id, p.aggregate_type);
    for pair in select * from annals.shadow_tables(id) loop
        if pair.live = 'annals.entities'::regclass then
            execute format(
                'delete from annals.snapshots p
                  where ($1 is null or p.tenant_id = $1) and ($2 is null or p.aggregate_type = $2)
                    and not exists (select from annals.entities l join %s s on %s
                                     where l.tenant_id = p.tenant_id and l.aggregate_type = p.aggregate_type and l.aggregate_id = p.aggregate_id
                                       and row(%s)::record operator(pg_catalog.*=) row(%s)::record)', pair.shadow, c.same_key, c.live_row, c.shadow_row)
            using scope.tenant_id, scope.aggregate_type;
        end if;
        changed := changed + annals.exchange_rows(pair.live, pair.shadow::regclass, scope.tenant_id, scope.aggregate_type);
    end loop;
    return changed;
end
$$;
comment on function annals.exchange_read_models(int) is
    'Makes live tables equal to a rebuild''s, under a lock on annals.entities that keeps projectors out; how many rows were not.';

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
    'Where a live table is not what a fold from zero gives, column by column; no column: the whole row is missing, or should not be there.';

grant execute on function
    annals.hold_rebuild(), annals.is_rebuild_held(int), annals.refuse_overlapping_rebuild(uuid, text, int),
    annals.start_rebuild(int, text, uuid, text, text, text), annals.shadow_schema(int), annals.left_shadows(int), annals.shadow_tables(int),
    annals.open_shadow(int), annals.analyze_shadow(int), annals.drop_shadow(int),
    annals.write_shadow(regclass, regclass, text, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.delete_families(regclass, name, uuid[], text[]), annals.forget_shadow(int, uuid, text),
    annals.exchanged_columns(regclass), annals.exchange_rows(regclass, regclass, uuid, text), annals.exchange_read_models(int),
    annals.list_differences(regclass, regclass, uuid, text)
to annals_projector;
grant execute on function annals.is_rebuild_held(int) to authenticated;

revoke execute on all functions in schema annals from public;
