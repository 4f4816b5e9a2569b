-- Snapshots: states of long streams as they were at some versions, so that any state is a snapshot and a few events.
--
-- The projector writes them as it passes; staff may ask for one. A snapshot tells its shape (V17), and one of an older shape
-- is never used; a digest tells one that was changed by hand from one that was not.

create table annals.snapshots (
    tenant_id      uuid not null,
    taken_at       timestamptz not null default clock_timestamp(),
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    deleted_at     timestamptz,
    shape          bigint not null,
    version        int not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    started_by     text collate "C" not null,
    state          jsonb not null,
    metadata       jsonb not null,
    digest         bytea not null,
    constraint snapshots_pkey primary key (tenant_id, aggregate_type, aggregate_id, version),
    constraint snapshots_version_positive check (version > 0),
    constraint snapshots_state_shape check (jsonb_typeof(state) = 'object' and jsonb_typeof(metadata) = 'object')
);
comment on table annals.snapshots is 'States of streams at some versions: the newest three of each stream, and of the older ones one in a thousand versions. Derived from the log: any of them may be lost.';
comment on column annals.snapshots.tenant_id is 'Tenant of the stream.';
comment on column annals.snapshots.taken_at is 'When it was written.';
comment on column annals.snapshots.created_at is 'Recorded time of the stream''s first event.';
comment on column annals.snapshots.updated_at is 'Recorded time of the event at version.';
comment on column annals.snapshots.deleted_at is 'Recorded time of the event that had deleted the entity by then.';
comment on column annals.snapshots.shape is 'Shape of the state, as annals.shape_of gave it then; another one now makes the snapshot useless.';
comment on column annals.snapshots.version is 'Version of the last event folded in.';
comment on column annals.snapshots.aggregate_type is 'Kind of the aggregate.';
comment on column annals.snapshots.aggregate_id is 'The aggregate.';
comment on column annals.snapshots.started_by is 'Actor of the stream''s first event, for the policy.';
comment on column annals.snapshots.state is 'The state.';
comment on column annals.snapshots.metadata is 'Who had it taken, and why: created_by, reason, and whatever else staff gave along.';
comment on column annals.snapshots.digest is 'SHA-256 of all that a reader believes; see annals.snapshot_digest.';

create function annals.snapshot_digest(snapshot annals.snapshots) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
    select sha256(convert_to(jsonb_build_array(
        snapshot.tenant_id, snapshot.aggregate_type, snapshot.aggregate_id, snapshot.version, snapshot.shape, snapshot.started_by,
        extract(epoch from snapshot.created_at), extract(epoch from snapshot.updated_at), extract(epoch from snapshot.deleted_at),
        snapshot.state)::text, 'UTF8'))
$$;
comment on function annals.snapshot_digest(annals.snapshots) is 'What the digest of an untouched snapshot is.';
grant execute on function annals.snapshot_digest(annals.snapshots) to authenticated, annals_projector;

alter table annals.snapshots enable row level security;
-- The starter of a stream does not see snapshots that others have taken: their metadata say who and why.
create policy snapshots_read on annals.snapshots for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or (started_by = (select annals.caller_actor()) and coalesce(metadata ->> 'created_by', 'system') in ('system', (select annals.caller_actor()))
             and annals.starter_sees_all(aggregate_type, aggregate_id)))
);
create policy snapshots_project on annals.snapshots for all to annals_projector using (true) with check (true);
grant select on annals.snapshots to authenticated;
grant select, insert, update, delete on annals.snapshots to annals_projector;

-- Of each stream, the newest stay, and of the older ones so many that no two of them lie further apart than a thousand versions,
-- as far as there were any: so any version of a long stream is a snapshot and at most a thousand events. Example, one taken every 20
-- events: at version 2,100 there are 2,100, 2,080, 2,060, and 2,000 and 1,000. Going up, one goes if its neighbours are near enough.
create function annals.thin_snapshots(tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], kept int) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    apart constant int := 1000;
    found record;
    below int;
begin
    for found in
        select s.tenant_id, s.aggregate_type, s.aggregate_id, s.version, lead(s.version) over rising as following,
               row_number() over rising = 1 as is_first, row_number() over falling > kept as is_older
          from (select distinct * from unnest(tenant_ids, aggregate_types, aggregate_ids)) as u (tenant_id, aggregate_type, aggregate_id)
          join annals.snapshots s
            on s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id
        window rising as (partition by s.tenant_id, s.aggregate_type, s.aggregate_id order by s.version),
               falling as (partition by s.tenant_id, s.aggregate_type, s.aggregate_id order by s.version desc)
         order by s.tenant_id, s.aggregate_type, s.aggregate_id, s.version
    loop
        if found.is_first then
            below := 0;
        end if;
        if found.is_older and found.following - below <= apart then
            delete from annals.snapshots s
             where s.tenant_id = found.tenant_id and s.aggregate_type = found.aggregate_type and s.aggregate_id = found.aggregate_id
               and s.version = found.version;
        else
            below := found.version;
        end if;
    end loop;
end
$$;
comment on function annals.thin_snapshots(uuid[], text[], text[], int) is
    'Deletes snapshots of these streams that are not among the newest and not needed to keep gaps below 1,000 versions.';

-- One that is there already goes: it is the same, or of an older shape, or not what it was.
create function annals.write_snapshots(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[], metadata jsonb, kept int,
    catalog_revision bigint
) returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    written bigint;
begin
    -- An exchange that is under way is waited for: the revision that it leaves tells whether these states are of what it left.
    lock table annals_locks.read_models in row exclusive mode;
    insert into annals.snapshots as s (tenant_id, created_at, updated_at, deleted_at, shape, version, aggregate_type, aggregate_id, started_by, state, metadata, digest)
    select n.tenant_id, n.created_at, n.updated_at, n.deleted_at, n.shape, n.version, n.aggregate_type, n.aggregate_id, n.started_by, n.state, n.metadata,
           annals.snapshot_digest(n)
      from unnest(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
           as u (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
     cross join lateral (select (
           u.tenant_id, clock_timestamp(), u.created_at, u.updated_at, u.deleted_at, annals.shape_of(u.tenant_id, u.aggregate_type), u.version,
           u.aggregate_type, u.aggregate_id, u.started_by, u.state, write_snapshots.metadata, ''::bytea)::annals.snapshots as row) as r
     cross join lateral (select (r.row).*) as n
     where not annals.is_reshaping(u.tenant_id, u.aggregate_type)
       and (select r.revision = write_snapshots.catalog_revision from annals.catalog_revision r)
     order by u.tenant_id, u.aggregate_type, u.aggregate_id, u.version
    on conflict on constraint snapshots_pkey do update
        set taken_at = clock_timestamp(), created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
            shape = excluded.shape, started_by = excluded.started_by, state = excluded.state, metadata = excluded.metadata, digest = excluded.digest;
    get diagnostics written = row_count;
    perform annals.thin_snapshots(tenant_ids, aggregate_types, aggregate_ids, kept);
    return written;
end
$$;
comment on function annals.write_snapshots(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], jsonb, int, bigint) is
    'Writes snapshots and deletes those that are not needed any more, as thin_snapshots does; returns how many were written: none where the catalog has changed since the states were folded, or read models are due to be rebuilt, because they may be of an older shape.';

-- Recorded times rise with versions, so the search halves what is left: a dozen look-ups in a stream of thousands.
create function annals.version_at(tenant uuid, aggregate_type text, aggregate_id text, head_version int, at timestamptz)
returns int language plpgsql stable set search_path = pg_catalog, pg_temp as $$
declare
    low  int := 0;
    high int := head_version;
    mid  int;
begin
    while low < high loop
        mid := low + (high - low + 1) / 2;
        if (select e.created_at <= at from annals.events e
             where e.tenant_id = tenant and e.aggregate_type = version_at.aggregate_type and e.aggregate_id = version_at.aggregate_id
               and e.aggregate_version = mid) then
            low := mid;
        else
            high := mid - 1;
        end if;
    end loop;
    return low;
end
$$;
comment on function annals.version_at(uuid, text, text, int, timestamptz) is 'The version that a stream was at, at a recorded time; 0: before its first event. As far as the caller sees it.';
grant execute on function annals.version_at(uuid, text, text, int, timestamptz) to authenticated, annals_projector;

-- As in V6, and besides: what was read before the catalog changed, or before read models were exchanged (which counts as such
-- a change), is not written. The lock comes first: it waits for an exchange that is under way.
drop function annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[]);
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
        raise exception 'another projector was here first' using errcode = 'serialization_failure';
    end if;
    if (select r.revision <> write_entities.catalog_revision from annals.catalog_revision r) then
        raise exception 'the catalog has changed' using errcode = 'serialization_failure', constraint = 'projection_outdated';
    end if;
end
$$;
comment on function annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint) is
    'Moves entities forward; fails with serialization_failure, for a fresh read and a retry, where another projector has done so or the catalog has changed since the work was read.';

grant execute on function
    annals.thin_snapshots(uuid[], text[], text[], int),
    annals.write_snapshots(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], jsonb, int, bigint),
    annals.write_entities(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], bigint)
to annals_projector;

-- A caller who sees a stream's state folds it, and must leave out the events that staff left out.
drop policy skipped_events_read on annals.skipped_events;
create policy skipped_events_read on annals.skipped_events for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or exists (select from annals.heads h
                     where h.tenant_id = skipped_events.tenant_id and h.aggregate_type = skipped_events.aggregate_type
                       and h.aggregate_id = skipped_events.aggregate_id and h.started_by = (select annals.caller_actor())
                       and annals.starter_sees_all(h.aggregate_type, h.aggregate_id)))
);

revoke execute on all functions in schema annals from public;
