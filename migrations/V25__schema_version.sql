-- The version of the schema, for programs that check it before they work. Code and migrations are deployed separately, and new code on an old
-- schema would fail at one of its statements.

create function annals.newest_migration() returns integer
    language sql stable security definer set search_path = pg_catalog, pg_temp
    -- The program that runs the migrations creates this table before the first migration.
    as $$ select max(h.version) from annals.schema_history h $$;
comment on function annals.newest_migration() is 'Number of the newest migration that was applied.';
grant execute on function annals.newest_migration() to annals_projector;

revoke execute on all functions in schema annals from public;
