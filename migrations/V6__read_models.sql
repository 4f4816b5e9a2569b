-- What is derived from the log: the generic state of every entity, the projector's progress, parked streams, counts.
--
-- All of it is written by annals_projector, through functions with the invoker's rights, in the transaction that moves the
-- progress; requests only read.

create table annals.entities (
    tenant_id      uuid not null,
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    deleted_at     timestamptz,
    version        int not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    started_by     text collate "C" not null,
    state          jsonb not null,
    constraint entities_pkey primary key (tenant_id, aggregate_type, aggregate_id),
    constraint entities_version_positive check (version > 0),
    -- A state has at most 1 MiB as text, which the fold sees to (domain/fold.rs). As jsonb that is 6.3 MB at most: `[1,1,1,…]`.
    constraint entities_state_shape check (jsonb_typeof(state) = 'object' and pg_column_size(state) <= 8388608)
);
comment on table annals.entities is 'State of every aggregate as JSON: the fold of its events up to version.';
comment on column annals.entities.tenant_id is 'Tenant of the stream.';
comment on column annals.entities.created_at is 'Recorded time of the first event.';
comment on column annals.entities.updated_at is 'Recorded time of the event at version.';
comment on column annals.entities.version is 'Version of the last event folded in; the head''s projected_version.';
comment on column annals.entities.deleted_at is 'Recorded time of the event that deleted it; state is kept.';
comment on column annals.entities.aggregate_type is 'Kind of the aggregate.';
comment on column annals.entities.aggregate_id is 'The aggregate.';
comment on column annals.entities.started_by is 'Actor of the stream''s first event, for the policy.';
comment on column annals.entities.state is 'The state.';

create table annals.parked_streams (
    tenant_id         uuid not null,
    parked_at         timestamptz not null default clock_timestamp(),
    event_id          uuid not null,
    event_number      bigint not null,
    decided_by        uuid,
    aggregate_version int not null,
    attempts          int not null default 1,
    retrying          boolean not null default false,
    aggregate_type    text collate "C" not null,
    aggregate_id      text collate "C" not null,
    error_code        text not null,
    error             text not null,
    constraint parked_streams_pkey primary key (tenant_id, aggregate_type, aggregate_id),
    constraint parked_streams_attempts check (attempts > 0)
);
comment on table annals.parked_streams is 'Streams whose next event could not be applied: they wait here, visibly, while all others go on.';
comment on column annals.parked_streams.tenant_id is 'Tenant of the stream.';
comment on column annals.parked_streams.parked_at is 'When the last attempt failed.';
comment on column annals.parked_streams.event_id is 'The event that could not be applied.';
comment on column annals.parked_streams.event_number is 'Its number.';
comment on column annals.parked_streams.decided_by is 'The projection.retried or projection.skipped event that decides about it; null while nothing is decided. A retry that fails sets it back to null.';
comment on column annals.parked_streams.aggregate_version is 'Its version; one more than the head''s projected_version.';
comment on column annals.parked_streams.attempts is 'How often it has failed.';
comment on column annals.parked_streams.retrying is 'The projector has carried the decision out, so the stream is no longer passed over; the row goes with the progress, never before it.';
comment on column annals.parked_streams.aggregate_type is 'Kind of the aggregate.';
comment on column annals.parked_streams.aggregate_id is 'The aggregate.';
comment on column annals.parked_streams.error_code is 'SQLSTATE of the failure.';
comment on column annals.parked_streams.error is 'PostgreSQL''s message, without the row.';

create table annals.skipped_events (
    tenant_id         uuid not null,
    skipped_at        timestamptz not null default clock_timestamp(),
    event_id          uuid not null,
    instruction_id    uuid not null,
    aggregate_version int not null,
    aggregate_type    text collate "C" not null,
    aggregate_id      text collate "C" not null,
    constraint skipped_events_pkey primary key (tenant_id, aggregate_type, aggregate_id, aggregate_version)
);
comment on table annals.skipped_events is 'Events that staff decided to leave out of state; every fold leaves them out.';
comment on column annals.skipped_events.tenant_id is 'Tenant of the stream.';
comment on column annals.skipped_events.skipped_at is 'When the projector carried the decision out.';
comment on column annals.skipped_events.event_id is 'The event left out.';
comment on column annals.skipped_events.instruction_id is 'The projection.skipped event that says so, with who and why.';
comment on column annals.skipped_events.aggregate_version is 'Its version.';
comment on column annals.skipped_events.aggregate_type is 'Kind of the aggregate.';
comment on column annals.skipped_events.aggregate_id is 'The aggregate.';

create table annals.checkpoints (
    name        text collate "C" not null,
    position    bigint not null default 0,
    event_count bigint not null default 0,
    updated_at  timestamptz not null default clock_timestamp(),
    constraint checkpoints_pkey primary key (name),
    constraint checkpoints_name_shape check (length(name) between 1 and 100),
    constraint checkpoints_position check (position >= 0 and event_count >= 0)
);
comment on table annals.checkpoints is 'Named positions of consumers that read across streams.';
comment on column annals.checkpoints.name is 'The consumer.';
comment on column annals.checkpoints.position is 'Every event with this number or a lower one has been dealt with.';
comment on column annals.checkpoints.event_count is 'How many events that were.';
comment on column annals.checkpoints.updated_at is 'When it last moved.';
insert into annals.checkpoints (name) values ('sweep');

create table annals.event_counts (
    tenant_id  uuid not null,
    events     bigint not null,
    event_type text collate "C" not null,
    constraint event_counts_pkey primary key (tenant_id, event_type)
);
comment on table annals.event_counts is 'Events per tenant and type up to the checkpoint sweep: statistics count the log''s tail only.';
comment on column annals.event_counts.tenant_id is 'Tenant.';
comment on column annals.event_counts.events is 'How many.';
comment on column annals.event_counts.event_type is 'Type.';

alter table annals.entities enable row level security;
alter table annals.parked_streams enable row level security;
alter table annals.skipped_events enable row level security;
alter table annals.checkpoints enable row level security;
alter table annals.event_counts enable row level security;

create policy entities_read on annals.entities for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or (started_by = (select annals.caller_actor()) and annals.starter_sees_all(aggregate_type, aggregate_id)))
);
create policy parked_streams_read on annals.parked_streams for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy skipped_events_read on annals.skipped_events for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy event_counts_read on annals.event_counts for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy checkpoints_read on annals.checkpoints for select to authenticated using (true);
create policy entities_project on annals.entities for all to annals_projector using (true) with check (true);
create policy parked_streams_project on annals.parked_streams for all to annals_projector using (true) with check (true);
create policy skipped_events_project on annals.skipped_events for all to annals_projector using (true) with check (true);
create policy checkpoints_project on annals.checkpoints for all to annals_projector using (true) with check (true);
create policy event_counts_project on annals.event_counts for all to annals_projector using (true) with check (true);
grant select on annals.entities, annals.parked_streams, annals.skipped_events, annals.event_counts, annals.checkpoints to authenticated;
grant select, insert, update, delete on annals.entities, annals.parked_streams, annals.checkpoints, annals.event_counts to annals_projector;
grant select, insert on annals.skipped_events to annals_projector;

-- The feed's mark: how a reader across streams knows that no event will appear behind it.
--
-- Numbers are drawn before transactions commit, so an event may become visible after one with a higher number. An append
-- locks annals_locks.appends (ROW EXCLUSIVE, so appends do not wait for each other) before it draws its first number, and
-- keeps the lock until its transaction ends. A reader does three things, in this order:
--   1. it reads the highest number that is visible: M;
--   2. it looks in pg_locks who holds the lock, and waits until those transactions are over; later ones do not matter;
--   3. it takes a new snapshot and reads events up to M.
-- Every number up to M was drawn before M was, and M's append had committed before step 1. So the transaction of each of these
-- numbers held the lock before step 1. In step 2 it either still holds it, and is waited for, or is over. PostgreSQL makes a commit
-- visible to new snapshots before it releases the locks of its transaction (CommitTransaction calls ProcArrayEndTransaction, and
-- ResourceOwnerRelease after it), so whoever no longer finds the lock finds the events. Each number up to M is then visible, or
-- belongs to a transaction that was rolled back.
--
--   t0  append A locks, draws 7
--   t1  append B locks, draws 8, commits: 8 is visible, 7 is not
--   t2  reader: the highest visible number is 8. In pg_locks: A
--   t3  append C locks, draws 9
--   t4  A commits: 7 is visible, A's lock goes
--   t5  reader finds A gone (C is not waited for), takes its snapshot, reads 7 and 8, and remembers 8
--
-- A reader that had read at t2 without waiting would have remembered 8 and never seen 7. Only appends are waited for, not
-- every transaction with an xid; and `authenticated` has no USAGE on the schema of the table, so it can hold this lock only by
-- appending. No transaction id is stored, so a dump that is restored into another cluster goes on as if nothing had happened.
--
-- Not the sequence's value: a number that was drawn and rolled back is in no flushed WAL. After a crash of the server the sequence
-- may hand it out again, and a reader that remembered it would never see its event. A visible number's commit is flushed.
create function annals.feed_holders() returns text[] language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(l.virtualtransaction), '{}')
      from pg_locks l
     where l.locktype = 'relation' and l.relation = 'annals_locks.appends'::regclass and l.mode = 'RowExclusiveLock' and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;
comment on function annals.feed_holders() is
    'Virtual transaction ids of the transactions that have appended, or are about to, and are not over. A prepared transaction is one of them.';

create function annals.feed_mark(out settled_to bigint, out holders text[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Two statements, because the order decides: the number first, the locks after it.
    settled_to := (select coalesce(max(e.event_number), 0) from annals.events e);
    holders := annals.feed_holders();
end
$$;
comment on function annals.feed_mark() is
    'A number, and the transactions that must be over before a snapshot that is taken then holds every event up to that number.';
grant execute on function annals.feed_holders(), annals.feed_mark() to authenticated, annals_projector;

create function annals.settled_mark(patience interval) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deadline constant timestamptz := clock_timestamp() + patience;
    mark     record := annals.feed_mark();
    own      text;
begin
    select l.virtualtransaction into own from pg_locks l where l.pid = pg_backend_pid() limit 1;
    while mark.holders && annals.feed_holders() loop
        if own = any (mark.holders) or clock_timestamp() > deadline then
            return (select c.position from annals.checkpoints c where c.name = 'sweep');
        end if;
        perform pg_sleep(0.005);
    end loop;
    return mark.settled_to;
end
$$;
comment on function annals.settled_mark(interval) is
    'A number up to which a snapshot that is taken from now on holds every event. Where an append stays open for longer than patience: how far the sweep has come, which is settled too but older.';
grant execute on function annals.settled_mark(interval) to authenticated, annals_projector;

-- Which append holds the feed back. With the owner's rights, because pg_stat_activity shows others' start times to
-- members of pg_read_all_stats only, which both Supabase's and RDS' migrating roles are; elsewhere the age may be null.
create function annals.oldest_feed_holder(out pid int, out prepared text, out age_seconds bigint)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select a.pid, p.gid, extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint
      from pg_locks l
      left join pg_stat_activity a on a.pid = l.pid
      left join pg_locks x on l.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
      left join pg_prepared_xacts p on p.transaction = x.transactionid
     where l.locktype = 'relation' and l.relation = 'annals_locks.appends'::regclass and l.mode = 'RowExclusiveLock' and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.pid is distinct from pg_backend_pid()
     order by coalesce(a.xact_start, p.prepared) nulls last
     limit 1
$$;
comment on function annals.oldest_feed_holder() is
    'The append whose transaction began first of those that are not over: its server process, or the name of its prepared transaction. Readers of the feed wait for it.';
grant execute on function annals.oldest_feed_holder() to authenticated, annals_projector;

-- Projectors lock it ROW EXCLUSIVE while they write; a rebuild that exchanges read models, or takes the snapshot that a proof
-- compares, locks it EXCLUSIVE.
create table annals_locks.read_models ();
comment on table annals_locks.read_models is 'Projectors share it; an exchange of read models has it alone.';
grant update on annals_locks.read_models to annals_projector;

-- Writing read models. Each takes columns of many rows, so that one call serves many streams.

create function annals.write_entities(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[]
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    written bigint;
begin
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
        raise exception 'another projector was here first' using errcode = 'serialization_failure';
    end if;
end
$$;
comment on function annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is
    'Moves entities forward; fails with serialization_failure, for a fresh read and a retry, where another projector has done so.';

create function annals.advance_heads(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], from_versions int[], to_versions int[], left_out bigint
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    moved   bigint;
    skipped bigint;
begin
    -- An append that stays open keeps its stream's head: the other streams of the batch must not wait for it for long.
    perform set_config('lock_timeout', '1s', true);
    -- Lock in the order in which appends lock, then update: an update's own order is the planner's choice.
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
       and h.projected_version = u.from_version;
    get diagnostics moved = row_count;
    if moved <> cardinality(tenant_ids) then
        raise exception 'another projector was here first' using errcode = 'serialization_failure';
    end if;
    -- A stream that was freed keeps its row until all of it is projected: what it has left may lie behind the sweep's
    -- checkpoint and in no message, and the row is then all that tells the sweep to go on if this projector dies.
    delete from annals.parked_streams p
     using unnest(tenant_ids, aggregate_types, aggregate_ids, to_versions)
           as u (tenant_id, aggregate_type, aggregate_id, to_version)
      join annals.heads h
        on h.tenant_id = u.tenant_id and h.aggregate_type = u.aggregate_type and h.aggregate_id = u.aggregate_id
     where p.tenant_id = u.tenant_id and p.aggregate_type = u.aggregate_type and p.aggregate_id = u.aggregate_id
       and p.aggregate_version <= u.to_version and (not p.retrying or h.version = u.to_version);
    -- After the delete, which waits for whoever is deciding about the same row: a skip that was decided since the events were
    -- read must not be passed over.
    select count(*) into skipped
      from annals.skipped_events s
      join unnest(tenant_ids, aggregate_types, aggregate_ids, from_versions, to_versions)
           as u (tenant_id, aggregate_type, aggregate_id, from_version, to_version)
        on s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id
       and s.aggregate_version > u.from_version and s.aggregate_version <= u.to_version;
    if skipped <> left_out then
        raise exception 'staff was here first' using errcode = 'serialization_failure';
    end if;
end
$$;
comment on function annals.advance_heads(uuid[], text[], text[], int[], int[], bigint) is
    'Records progress and lets go of streams that were parked and have moved; last in its transaction, because appends wait for the heads'' locks; fails like annals.write_entities.';

-- Whole numbers go through numeric: JSON Schema calls 100.0 an integer, and so does this, while 100.5 fails in the cast.
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
    'The columns of a state table that are filled from JSON by name, as three pieces of SQL: names, where each comes from, and the update.';

create function annals.without_integers(table_name regclass) returns text[] language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(a.attname::text), '{}')
      from pg_attribute a
     where a.attrelid = table_name and a.attnum > 0 and not a.attisdropped
       and a.atttypid in ('int2'::regtype, 'int4'::regtype, 'int8'::regtype)
$$;
comment on function annals.without_integers(regclass) is 'Columns that annals.module_columns reads by itself, and that jsonb_populate_record must not.';

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
          standard::text[] || annals.without_integers(table_name);
end
$$;
comment on function annals.write_states(regclass, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]) is
    'Upserts rows of a module''s state table, its own columns taken from state by name.';

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
    using tenant_ids, parent_ids, ids, started_bys, children, standard::text[] || annals.without_integers(table_name);
end
$$;
comment on function annals.write_children(regclass, name, uuid[], text[], text[], text[], jsonb[]) is
    'Upserts rows of a child collection''s table, its own columns taken from the child by name.';

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
    annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.advance_heads(uuid[], text[], text[], int[], int[], bigint),
    annals.module_columns(regclass, name[]),
    annals.without_integers(regclass),
    annals.write_states(regclass, uuid[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]),
    annals.write_children(regclass, name, uuid[], text[], text[], text[], jsonb[]),
    annals.delete_children(regclass, name, uuid[], text[], text[])
to annals_projector;

-- Retrying or skipping a parked event is itself an event. The projector carries it out when it projects it.
select annals.declare_event_type(
    'projection.retried', '"none"', '{staff,service}', 'Staff asked for a parked event to be applied again.',
    '{"type": "object", "required": ["event_id"], "additionalProperties": false,
      "properties": {"event_id": {"type": "string", "format": "uuid"}, "reason": {"type": "string", "minLength": 1, "maxLength": 1000}}}',
    '{"event_id": "018f8a2e-0000-7000-8000-000000000001", "reason": "the constraint was mended"}',
    appended_by => 'processing');
select annals.declare_event_type(
    'projection.skipped', '"none"', '{staff,service}', 'Staff decided that a parked event stays out of state.',
    '{"type": "object", "required": ["event_id", "reason"], "additionalProperties": false,
      "properties": {"event_id": {"type": "string", "format": "uuid"}, "reason": {"type": "string", "minLength": 1, "maxLength": 1000}}}',
    '{"event_id": "018f8a2e-0000-7000-8000-000000000001", "reason": "posted by mistake, compensated by hand"}',
    appended_by => 'processing');

-- One decision for each failed attempt, and the log holds no other: it is marked in the transaction that appends it.
create function annals.mark_decision() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Without waiting: a projector that holds the row goes on to lock heads, of which this append has one. The append is tried again.
    perform from annals.parked_streams p
      where p.tenant_id = new.tenant_id and p.event_id::text = new.aggregate_id and p.decided_by is null
        for no key update nowait;
    if not found then
        perform annals.refuse(409, 'not_parked',
            'no stream waits for a decision about this event: it is not parked, or the decision has been made already');
    end if;
    update annals.parked_streams p set decided_by = new.id
     where p.tenant_id = new.tenant_id and p.event_id::text = new.aggregate_id;
    return new;
end
$$;
comment on function annals.mark_decision() is 'Marks the parked stream that a projection.retried or projection.skipped event decides about; refuses a second decision.';
create trigger events_mark_decision before insert on annals.events for each row
    when (new.event_type in ('projection.retried', 'projection.skipped')) execute function annals.mark_decision();

revoke execute on all functions in schema annals from public;
