-- Rebuild: read models are computed anew from the log, in tables beside the live ones, and exchanged for them in one transaction. Here: the
-- record of rebuilds, their locks, and their tables ("shadow" tables). The comparison and the exchange are in rebuild_exchange.
--
-- The shadow tables are unlogged tables in a schema of their own, which only the projector can use. At the end, live rows that differ are
-- made equal to the shadow rows. Tables are not renamed: that would need a lock that readers wait for, and objects that depend on a table
-- would be lost. Rows that are right are not touched. The progress of streams stays as it is: a rebuild computes exactly what the heads say
-- is projected. It emits nothing.
--
-- A rebuild runs as long as it holds a lock in an open transaction. PostgreSQL releases the lock as soon as the process ends, for any
-- reason. This works behind poolers that keep no sessions. All rebuilds share the lock (ROW SHARE on annals_locks.rebuilds);
-- annals.rebuilds.held_by says which transaction belongs to which rebuild. A transaction without a snapshot and without an xid delays
-- neither vacuum nor readers across streams.

create table annals_locks.rebuilds ();
comment on table annals_locks.rebuilds is 'A rebuild locks it ROW SHARE as long as it runs.';

create table annals_locks.rebuild_starts ();
comment on table annals_locks.rebuild_starts is
    'A rebuild that starts locks it EXCLUSIVE, so that only one at a time checks for conflicts with others.';
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
    compared_since   xid8,
    error            text,
    constraint rebuilds_pkey primary key (id),
    constraint rebuilds_purpose check (purpose in ('rebuild', 'verify')),
    constraint rebuilds_status check (status in ('requested', 'running', 'done', 'failed', 'abandoned')),
    constraint rebuilds_times check ((status = 'requested') = (started_at is null)
                                     and (status in ('done', 'failed', 'abandoned')) = (finished_at is not null)),
    constraint rebuilds_error check ((status = 'failed') = (error is not null))
);
comment on table annals.rebuilds is 'Rebuilds and verifications of read models, the newest thousand.';
comment on column annals.rebuilds.id is 'Number of the rebuild. Its schema is annals_rebuild_{id}.';
comment on column annals.rebuilds.attempts is 'Number of consecutive attempts for the same scope without success, including this one.';
comment on column annals.rebuilds.tenant_id is 'Tenant whose read models are rebuilt; null: all tenants.';
comment on column annals.rebuilds.failed_tenant_id is 'Tenant of the stream at which it failed; only that tenant may read the error.';
comment on column annals.rebuilds.requested_at is 'When it was requested.';
comment on column annals.rebuilds.started_at is 'When it began.';
comment on column annals.rebuilds.finished_at is 'When it ended, or was found to have been killed.';
comment on column annals.rebuilds.catalog_revision is 'The catalog''s revision when it began. A rebuild for a new fold version that did not succeed is tried again at once when the catalog has changed, otherwise after a while.';
comment on column annals.rebuilds.events is 'Events folded so far.';
comment on column annals.rebuilds.streams is 'Streams folded so far.';
comment on column annals.rebuilds.changed_rows is 'Live rows that were wrong and have been corrected.';
comment on column annals.rebuilds.aggregate_type is 'Aggregate type that is rebuilt; null: all.';
comment on column annals.rebuilds.purpose is 'rebuild; or verify, which compares and changes nothing.';
comment on column annals.rebuilds.status is 'requested, running, done, failed, or abandoned: its process was killed.';
comment on column annals.rebuilds.requested_by is 'Actor who requested it; system: the command line, or a new fold version.';
comment on column annals.rebuilds.held_by is 'Virtual transaction id of the transaction that holds its lock.';
comment on column annals.rebuilds.compared_since is 'Rows of transactions older than this existed when the rebuild began to compare; null: its tables contain every stream.';
comment on column annals.rebuilds.error is 'Why it failed, with the stream at which it failed if there is one.';

create unique index rebuilds_requested on annals.rebuilds (tenant_id, coalesce(aggregate_type, '')) where status = 'requested';

create trigger rebuilds_revision after update on annals.rebuilds
    for each row when (new.status = 'done' and old.status <> 'done' and new.purpose = 'rebuild') execute function annals.raise_catalog_revision();

alter table annals.rebuilds enable row level security;

-- Rebuilds of all tenants are visible, except those that failed at another tenant's stream, whose id the error contains.
create policy rebuilds_read on annals.rebuilds for select to authenticated using (
    (select annals.caller_sees_tenant())
    and (tenant_id = (select annals.caller_tenant())
         or (tenant_id is null and (failed_tenant_id is null or failed_tenant_id = (select annals.caller_tenant()))))
);
create policy rebuilds_project on annals.rebuilds for all to annals_projector using (true) with check (true);
grant select on annals.rebuilds to authenticated;
grant select, insert, update, delete on annals.rebuilds to annals_projector;
grant usage on sequence annals.rebuild_ids to annals_projector;

-- The server's default time limits are meant for requests, so they are removed; only PostgreSQL 17 and later have the last one. The
-- keepalives detect a process whose machine is gone and which therefore closes no connection.
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
    'Takes the lock that marks a running rebuild, for as long as the transaction stays open. Returns its virtual transaction id, for annals.start_rebuild.';

-- Virtual transaction ids and locks begin anew when the server starts, so a rebuild that began before that is not running.
create function annals.is_rebuild_held(id int) returns boolean language sql stable security definer set search_path = pg_catalog, pg_temp as $$
    select exists (select from annals.rebuilds r
                     join pg_locks l on l.virtualtransaction = r.held_by
                    where r.id = is_rebuild_held.id and r.started_at >= pg_postmaster_start_time()
                      and l.locktype = 'relation' and l.relation = 'annals_locks.rebuilds'::regclass and l.granted
                      and l.database = (select d.oid from pg_database d where d.datname = current_database()))
$$;
comment on function annals.is_rebuild_held(int) is 'Whether a rebuild''s process is alive.';

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
    'Refuses if another rebuild concerns the same read models: a running one, or, if id is 0 (a new request), a requested one.';

create function annals.request_rebuild(aggregate_type text) returns int language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    tenant constant uuid := annals.caller_tenant();
    number int;
begin
    if annals.caller_role() is distinct from 'staff' then
        perform annals.refuse(403, 'staff_only', 'only staff may request a rebuild');
    end if;
    if aggregate_type is not null and not exists (
        select from annals.event_types t where t.aggregate_type = request_rebuild.aggregate_type and (t.tenant_id = tenant or t.tenant_id is null)
    ) then
        perform annals.refuse(422, 'unknown_module', 'there is no such module; GET /api/v1/events/types lists the existing ones as aggregate_type');
    end if;
    perform annals.refuse_overlapping_rebuild(tenant, aggregate_type, 0);
    -- No lock here, because a caller could hold it by leaving its transaction open. If two requests for the same read models arrive at the
    -- same moment, one waits for the other at the unique index.
    insert into annals.rebuilds (id, tenant_id, aggregate_type, status, requested_by)
    values (nextval('annals.rebuild_ids'), tenant, request_rebuild.aggregate_type, 'requested', annals.caller_actor())
    returning id into number;
    return number;
exception when unique_violation then
    perform annals.refuse(409, 'rebuild_running', 'a rebuild of the same read models has already been requested');
    return null;
end
$$;
comment on function annals.request_rebuild(text) is
    'Requests a rebuild of the caller''s tenant''s read models, or of one module of them; returns its id. Staff only.';
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
        -- A rebuild with status running is held by a live process here: the others were marked as abandoned above.
        where rebuilds.status in ('requested', 'abandoned');
    if not found then
        perform annals.refuse(409, 'rebuild_running', 'this rebuild has already been started');
    end if;
    delete from annals.rebuilds r
     where r.status in ('done', 'failed', 'abandoned') and r.id <= (select o.id from annals.rebuilds o order by o.id desc offset 1000 limit 1);
end
$$;
comment on function annals.start_rebuild(int, text, uuid, text, text, text) is
    'Records that a rebuild runs, whose lock the caller holds: a new one, a requested one, or one whose process was killed.';

-- Which streams a rebuild folds, and their events. An index that has the wanted order or the whole key is used even if the tables were never
-- analyzed: without these settings a page of the list reads and sorts all heads that are left.
create function annals.list_streams_to_fold(
    of_tenant uuid, of_type text, after_tenant uuid, after_type text, after_id text, most bigint
) returns table (tenant_id uuid, aggregate_type text, aggregate_id text, version int, projected_version int, last_snapshot int)
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan
set enable_sort = off set enable_bitmapscan = off set enable_seqscan = off set jit = off as $$
#variable_conflict use_column
begin
    return query
    select h.tenant_id, h.aggregate_type, h.aggregate_id, h.version, h.projected_version,
           (select max(p.version) from annals.snapshots p
             where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id)
      from annals.heads h
     where h.projected_version > 0 and (of_tenant is null or h.tenant_id = of_tenant) and (of_type is null or h.aggregate_type = of_type)
       and (after_tenant is null or (h.tenant_id, h.aggregate_type, h.aggregate_id) > (after_tenant, after_type, after_id))
     order by h.tenant_id, h.aggregate_type, h.aggregate_id limit most;
end
$$;
comment on function annals.list_streams_to_fold(uuid, text, uuid, text, text, bigint) is
    'Projected streams of a scope in the order of their names, after the given one, with the version of their newest snapshot.';

-- As in annals.read_work, the first statement returns everything if its text is certainly below the limit of bytes. Otherwise the second one
-- cuts, first by a guess and then by the real size. Decisions to skip are looked up once per stream, not once per event. The order of
-- the events makes each lookup use the whole key, also if the table was empty when the plan was made; every other index would do then.
create function annals.read_histories(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], afters int[], uptos int[], max_bytes bigint
) returns table (
    place bigint, revision bigint, aggregate_version int, event_type text, schema_version text, created_at timestamptz, data text,
    started_by text, skipped boolean
) language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_memoize = off set jit = off as $$
#variable_conflict use_column
begin
    return query
    select w.place, (select r.revision from annals.catalog_revision r where r.only_row), w.aggregate_version, w.event_type, w.version, w.created_at,
           w.data::text, case when w.aggregate_version = 1 then w.created_by end, coalesce(w.aggregate_version = any (w.versions), false)
      from (
        select u.place, e.aggregate_version, e.event_type, e.version, e.created_at, e.data, e.created_by, k.versions,
               sum(pg_column_size(e.data)::bigint * case when pg_column_compression(e.data) is null then 6 else 1530 end) over () as most_bytes
          from unnest(tenant_ids, aggregate_types, aggregate_ids, afters, uptos) with ordinality
               as u (tenant_id, aggregate_type, aggregate_id, after, upto, place)
          left join lateral (
               select array_agg(s.aggregate_version) as versions from annals.skipped_events s
                where (select exists (select from annals.skipped_events))
                  and s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id offset 0) as k on true
         cross join lateral (
               select * from annals.events e
                where e.tenant_id = u.tenant_id and e.aggregate_type = u.aggregate_type and e.aggregate_id = u.aggregate_id
                  and e.aggregate_version > u.after and e.aggregate_version <= u.upto
                order by e.aggregate_version limit u.upto) as e) as w
     where w.most_bytes < max_bytes
     order by w.place, w.aggregate_version;
    if found then
        return;
    end if;

    return query
    select w.place, w.revision, w.aggregate_version, w.event_type, w.schema_version, w.created_at, w.data, w.started_by, w.skipped
      from (
    select g.*, octet_length(g.data) as bytes, sum(octet_length(g.data)) over (order by g.place, g.aggregate_version) as running_bytes
      from (
    select s.place, s.revision, s.aggregate_version, s.event_type, s.schema_version, s.created_at, s.event_data::text as data, s.started_by, s.skipped
      from (
    select u.place, r.revision, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
           case when e.aggregate_version = 1 then e.created_by end as started_by,
           coalesce(e.aggregate_version = any (k.versions), false) as skipped,
           pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end as guess,
           sum(pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end) over (order by u.place, e.aggregate_version) as running_guess
      from unnest(tenant_ids, aggregate_types, aggregate_ids, afters, uptos) with ordinality
           as u (tenant_id, aggregate_type, aggregate_id, after, upto, place)
     cross join lateral (
           select array_agg(s.aggregate_version) as versions from annals.skipped_events s
            where s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id offset 0) as k
     cross join lateral (
           select * from annals.events e
            where e.tenant_id = u.tenant_id and e.aggregate_type = u.aggregate_type and e.aggregate_id = u.aggregate_id
              and e.aggregate_version > u.after and e.aggregate_version <= u.upto
                order by e.aggregate_version limit u.upto) as e
     cross join (select c.revision from annals.catalog_revision c where c.only_row) as r
    ) as s where s.running_guess - s.guess < max_bytes offset 0) as g) as w
     where w.running_bytes - w.bytes < max_bytes
     order by w.place, w.aggregate_version;
end
$$;
comment on function annals.read_histories(uuid[], text[], text[], int[], int[], bigint) is
    'The events of ranges of streams, in the order of the given ranges (place, from 1), cut off at a limit of bytes, with the catalog''s revision.';

create function annals.shadow_schema(id int) returns name language sql immutable set search_path = pg_catalog, pg_temp as $$
    select ('annals_rebuild_' || id)::name
$$;
comment on function annals.shadow_schema(int) is 'Name of the schema of a rebuild''s tables.';

create function annals.abandoned_shadows(id int) returns setof int language sql stable set search_path = pg_catalog, pg_temp as $$
    select s.id
      from pg_namespace n
     cross join lateral (select substr(n.nspname, 16)::int as id) as s
     where n.nspname ~ '^annals_rebuild_[0-9]{1,9}$' and (s.id = abandoned_shadows.id or not annals.is_rebuild_held(s.id))
$$;
comment on function annals.abandoned_shadows(int) is
    'Numbers of rebuilds whose tables still exist although no process works on them: the rebuild was killed, or its tables were not dropped at its end. Includes the given rebuild if such tables have its number, because it has not made its own yet.';

create function annals.shadow_tables(id int) returns table (live regclass, shadow text, aggregate_type text, collection text)
language sql stable set search_path = pg_catalog, pg_temp as $$
    -- Other shadow tables have the names of tables of schema public, so this name contains a dot, which those by custom do not have.
    select 'annals.entities'::regclass, format('%I.%I', annals.shadow_schema(id), 'annals.entities'), null, null
     union all
    select format('public.%I', t.table_name)::regclass, format('%I.%I', annals.shadow_schema(id), t.table_name), t.aggregate_type, t.collection
      from annals.rebuilds r
      join annals.state_tables t on r.aggregate_type is null or t.aggregate_type = r.aggregate_type
     where r.id = shadow_tables.id
$$;
comment on function annals.shadow_tables(int) is 'The live tables of a rebuild, each with the name of its shadow table.';

-- With the owner's rights, because the projector may not create tables. No index except the primary key: nothing searches these tables.
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
comment on function annals.open_shadow(int) is 'Creates a rebuild''s tables with the columns of the live ones, for the projector only.';

create function annals.analyze_shadow(id int) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) loop
        execute format('analyze %s', pair.shadow);
    end loop;
end
$$;
comment on function annals.analyze_shadow(int) is 'Analyzes a rebuild''s tables, so that the planner knows their sizes.';

-- With the owner's rights, because only the owner of a table may analyze it. SKIP_LOCKED, because it does not matter if another session
-- analyzes the table at the same moment, and the rebuild has ended already.
create function annals.analyze_rebuilt(id int) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) loop
        execute format('analyze (skip_locked) %s', pair.live);
    end loop;
end
$$;
comment on function annals.analyze_rebuilt(int) is
    'Analyzes the live tables that a rebuild has exchanged, because it may have filled them from empty.';

create function annals.drop_shadow(id int) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    execute format('drop schema if exists %I cascade', annals.shadow_schema(id));
end
$$;
comment on function annals.drop_shadow(int) is 'Drops a rebuild''s tables.';

-- States are sent once for both tables, because parsing them as JSON is a large part of the work.
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
    'Upserts states of entities of one aggregate type in a rebuild''s tables: as JSON, and in their state table if they have one.';

create function annals.delete_child_rows(table_name regclass, parent name, tenant_ids uuid[], parent_ids text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    execute format('delete from %s t using unnest($1, $2) as u (tenant_id, parent_id) where t.tenant_id = u.tenant_id and t.%I = u.parent_id',
                   table_name, parent)
    using tenant_ids, parent_ids;
end
$$;
comment on function annals.delete_child_rows(regclass, name, uuid[], text[]) is
    'Deletes all children of some parents from a child collection''s table.';

create function annals.delete_shadow_rows(id int, tenant uuid, aggregate_type text) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    pair record;
begin
    for pair in select * from annals.shadow_tables(id) as t where t.aggregate_type is null or t.aggregate_type = delete_shadow_rows.aggregate_type loop
        execute format('delete from %s s where ($1 is null or s.tenant_id = $1)%s', pair.shadow,
                       case when pair.aggregate_type is null then ' and s.aggregate_type = $2' end)
        using tenant, delete_shadow_rows.aggregate_type;
    end loop;
end
$$;
comment on function annals.delete_shadow_rows(int, uuid, text) is
    'Deletes from a rebuild''s tables the aggregates whose fold version has changed meanwhile.';

grant execute on function
    annals.hold_rebuild(), annals.is_rebuild_held(int), annals.refuse_overlapping_rebuild(uuid, text, int),
    annals.start_rebuild(int, text, uuid, text, text, text), annals.list_streams_to_fold(uuid, text, uuid, text, text, bigint),
    annals.read_histories(uuid[], text[], text[], int[], int[], bigint), annals.shadow_schema(int), annals.abandoned_shadows(int), annals.shadow_tables(int),
    annals.open_shadow(int), annals.analyze_shadow(int), annals.analyze_rebuilt(int), annals.drop_shadow(int),
    annals.write_shadow(regclass, regclass, text, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.delete_child_rows(regclass, name, uuid[], text[]), annals.delete_shadow_rows(int, uuid, text)
to annals_projector;
grant execute on function annals.is_rebuild_held(int) to authenticated;

revoke execute on all functions in schema annals from public;
