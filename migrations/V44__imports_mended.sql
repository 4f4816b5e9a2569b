-- Imports, mended: few at once, reports of bounded bytes, and events that say whether anything was meant.
--
-- An importer takes five connections, and everybody may ask for imports: how many work at once is decided here, where all of them are
-- known, under a lock that makes takers go one after the other.

alter table annals.import_lanes add column reported_bytes bigint not null default 0;
comment on column annals.import_lanes.reported_bytes is 'Bytes that those rows take: beyond some, no more are kept.';

-- Not every error is kept, and of a file that is refused as a whole not every rejected row has one: how many there were is counted.
alter table annals.import_lanes add column errors_found bigint not null default 0;
comment on column annals.import_lanes.errors_found is 'Errors of the lane''s refused rows, kept or not.';
alter table annals.uploads add column errors_found bigint not null default 0;
comment on column annals.uploads.errors_found is 'Errors of refused rows, kept or not.';

create index imports_held on annals.imports (held_until) where holder is not null;

create table annals_locks.imports ();
comment on table annals_locks.imports is 'Who takes an import locks it EXCLUSIVE: one at a time counts how many are worked on.';
grant update on annals_locks.imports to annals_projector;

create function annals.take_import(import_id uuid, worker uuid, seconds float8, most int) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    lock table annals_locks.imports in exclusive mode;
    if (select count(*) from annals.imports i
         where i.holder is not null and i.held_until >= clock_timestamp() and i.upload_id <> import_id) >= most then
        return false;
    end if;
    update annals.imports i
       set holder = worker, held_until = clock_timestamp() + make_interval(secs => seconds), attempts = i.attempts + 1
      from annals.uploads u
     where i.upload_id = import_id and u.id = i.upload_id and u.status in ('waiting', 'running')
       and (i.held_until is null or i.held_until < clock_timestamp());
    return found;
end
$$;
comment on function annals.take_import(uuid, uuid, float8, int) is
    'Takes an import that nobody works on, unless so many others are worked on; answers with whether it did.';
grant execute on function annals.take_import(uuid, uuid, float8, int) to annals_projector;

-- A dry run's figures are of what would be: whoever reacts to the end of an import has to be able to tell. A minor version, because
-- what was there before means what it did; of imports that were asked for at 1.0 it is not said.
alter table public.imports add column dry_run boolean;
comment on column public.imports.dry_run is 'Whether it only says what would become of the rows; null where it was asked for before that was said.';

do $$
declare
    said   constant jsonb := '{"dry_run": {"type": "boolean"}}';
    action text;
    latest record;
begin
    foreach action in array array['requested', 'completed', 'failed'] loop
        select v.schema, v.example into strict latest
          from annals.event_type_versions v
         where v.event_type = 'import.' || action and v.version = '1.0' and v.tenant_id is null;
        perform annals.declare_version('import.' || action, '1.1',
            jsonb_set(latest.schema, '{properties}', latest.schema -> 'properties' || said), latest.example || '{"dry_run": false}', '[]');
        update annals.event_types t set effect = jsonb_set(t.effect, '{set,dry_run}', '"/dry_run"')
         where t.event_type = 'import.' || action and t.tenant_id is null;
    end loop;
end
$$;

revoke execute on all functions in schema annals from public;
