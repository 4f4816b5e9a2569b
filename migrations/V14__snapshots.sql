-- Snapshots: states of long streams at some versions. The state at any other version is folded from the snapshot before it.
--
-- The projector writes them while it projects, and staff can request one. A snapshot records its fold version (see evolution).
-- One of another fold version than the current one is never used. Its digest shows whether it was changed manually.

create table annals.snapshots (
    tenant_id      uuid not null,
    taken_at       timestamptz not null default clock_timestamp(),
    created_at     timestamptz not null,
    updated_at     timestamptz not null,
    deleted_at     timestamptz,
    fold_version   bigint not null,
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
comment on table annals.snapshots is
    'States of streams at some versions: the newest three of each stream, and of the older ones one in about a thousand versions. Derived from the log, so any of them may be lost.';
comment on column annals.snapshots.tenant_id is 'Tenant of the stream.';
comment on column annals.snapshots.taken_at is 'When it was written.';
comment on column annals.snapshots.created_at is 'Recorded time of the stream''s first event.';
comment on column annals.snapshots.updated_at is 'Recorded time of the event at version.';
comment on column annals.snapshots.deleted_at is 'Recorded time of the event that had deleted the entity by then; null: not deleted.';
comment on column annals.snapshots.fold_version is 'Fold version of the state, from annals.fold_version_of when it was written. The snapshot is used only while that is the current one.';
comment on column annals.snapshots.version is 'Version of the last event folded in.';
comment on column annals.snapshots.aggregate_type is 'Aggregate type of the stream.';
comment on column annals.snapshots.aggregate_id is 'Id of the aggregate.';
comment on column annals.snapshots.started_by is 'Actor of the stream''s first event, for the policy.';
comment on column annals.snapshots.state is 'The state.';
comment on column annals.snapshots.metadata is 'Who requested it and why: created_by, reason, and whatever else staff gave.';
comment on column annals.snapshots.digest is 'SHA-256 of everything that a reader uses; see annals.snapshot_digest.';

create function annals.snapshot_digest(snapshot annals.snapshots) returns bytea language sql stable set search_path = pg_catalog, pg_temp as $$
    select sha256(convert_to(jsonb_build_array(
        snapshot.tenant_id, snapshot.aggregate_type, snapshot.aggregate_id, snapshot.version, snapshot.fold_version, snapshot.started_by,
        extract(epoch from snapshot.created_at), extract(epoch from snapshot.updated_at), extract(epoch from snapshot.deleted_at),
        snapshot.state)::text, 'UTF8'))
$$;
comment on function annals.snapshot_digest(annals.snapshots) is 'The digest that an unchanged snapshot has.';
grant execute on function annals.snapshot_digest(annals.snapshots) to authenticated, annals_projector;

alter table annals.snapshots enable row level security;

-- The starter of a stream does not see snapshots that others have requested, because their metadata say who and why.
create policy snapshots_read on annals.snapshots for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant())
         or (started_by = (select annals.caller_actor()) and coalesce(metadata ->> 'created_by', 'system') in ('system', (select annals.caller_actor()))
             and annals.starter_sees_all(aggregate_type, aggregate_id)))
);
create policy snapshots_project on annals.snapshots for all to annals_projector using (true) with check (true);
grant select on annals.snapshots to authenticated;
grant select, insert, update, delete on annals.snapshots to annals_projector;

-- Of each stream, the newest stay, and enough of the older ones that neighbours are at most 1,000 versions apart, if there were any. Any
-- version of a long stream is then folded from a snapshot and at most 1,000 events. Example with one snapshot every 20 events: at version
-- 2,100 there are 2,100, 2,080, 2,060, 2,000 and 1,000. The loop goes up and deletes a snapshot if its two neighbours are near enough.
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
    'Deletes snapshots of these streams, except the newest and those that keep gaps at 1,000 versions or less.';

-- An existing snapshot of the version is overwritten: it is the same, or of an older fold version, or was changed.
create function annals.write_snapshots(
    tenant_ids uuid[], aggregate_types text[], aggregate_ids text[], versions int[], started_bys text[],
    deleted_ats timestamptz[], created_ats timestamptz[], updated_ats timestamptz[], states jsonb[], metadata jsonb, kept int,
    catalog_revision bigint
) returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    written bigint;
begin
    -- Waits for a running exchange of read models. The catalog's revision after it tells whether these states are outdated.
    lock table annals_locks.read_models in row exclusive mode;
    insert into annals.snapshots as s (tenant_id, created_at, updated_at, deleted_at, fold_version, version, aggregate_type, aggregate_id, started_by, state, metadata, digest)
    select n.tenant_id, n.created_at, n.updated_at, n.deleted_at, n.fold_version, n.version, n.aggregate_type, n.aggregate_id, n.started_by, n.state, n.metadata,
           annals.snapshot_digest(n)
      from unnest(tenant_ids, aggregate_types, aggregate_ids, versions, started_bys, deleted_ats, created_ats, updated_ats, states)
           as u (tenant_id, aggregate_type, aggregate_id, version, started_by, deleted_at, created_at, updated_at, state)
     cross join lateral (select (
           u.tenant_id, clock_timestamp(), u.created_at, u.updated_at, u.deleted_at, annals.fold_version_of(u.tenant_id, u.aggregate_type), u.version,
           u.aggregate_type, u.aggregate_id, u.started_by, u.state, write_snapshots.metadata, ''::bytea)::annals.snapshots as row) as r
     cross join lateral (select (r.row).*) as n
     where not annals.needs_rebuild(u.tenant_id, u.aggregate_type)
       and (select r.revision = write_snapshots.catalog_revision from annals.catalog_revision r)
     order by u.tenant_id, u.aggregate_type, u.aggregate_id, u.version
    on conflict on constraint snapshots_pkey do update
        set taken_at = clock_timestamp(), created_at = excluded.created_at, updated_at = excluded.updated_at, deleted_at = excluded.deleted_at,
            fold_version = excluded.fold_version, started_by = excluded.started_by, state = excluded.state, metadata = excluded.metadata, digest = excluded.digest;
    get diagnostics written = row_count;
    perform annals.thin_snapshots(tenant_ids, aggregate_types, aggregate_ids, kept);
    return written;
end
$$;
comment on function annals.write_snapshots(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], jsonb, int, bigint) is
    'Writes snapshots and deletes unneeded ones (annals.thin_snapshots); returns how many were written. It writes none if the catalog has changed since the states were folded, or if read models must be rebuilt, because the states may then be of an older fold version.';

-- Recorded times rise with versions, so this is a binary search: a dozen lookups in a stream of thousands.
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
comment on function annals.version_at(uuid, text, text, int, timestamptz) is
    'The version that a stream had at a recorded time; 0: before its first event. Only events that the caller sees count.';
grant execute on function annals.version_at(uuid, text, text, int, timestamptz) to authenticated, annals_projector;

grant execute on function
    annals.thin_snapshots(uuid[], text[], text[], int),
    annals.write_snapshots(uuid[], text[], text[], int[], text[], timestamptz[], timestamptz[], timestamptz[], jsonb[], jsonb, int, bigint)
to annals_projector;

revoke execute on all functions in schema annals from public;
