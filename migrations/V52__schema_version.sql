-- How far this database is migrated, for programs that need to know before they work on it: code and migrations are deployed
-- separately, and new code on an old schema would fail at some statement or other.

create function annals.newest_migration() returns integer
    language sql stable security definer set search_path = pg_catalog, pg_temp
    -- With its schema in the body: the table is made by whoever runs the migrations, before the first of them.
    as $$ select max(h.version) from annals.schema_history h $$;
comment on function annals.newest_migration() is 'Number of the newest migration that was applied.';
grant execute on function annals.newest_migration() to annals_projector;

revoke execute on all functions in schema annals from public;
