-- The roles of DESIGN §5, and the two schemas that they meet in.
--
-- Every function here and later says `set search_path = pg_catalog, pg_temp`. An empty path is not enough: pg_temp is then
-- searched first for tables and types, and a caller's own `pg_temp.jsonb` (a domain whose CHECK calls a function) would run
-- with the owner's rights inside a security definer function.
--
-- Roles belong to the cluster, not to the database, and Supabase brings some of them along: each is created only where it is
-- missing, and its attributes are left alone where it is not.

do $$
declare
    wanted text;
begin
    foreach wanted in array array['anon', 'authenticated', 'annals_projector'] loop
        begin
            if not exists (select from pg_catalog.pg_roles where rolname = wanted) then
                execute format('create role %I nologin noinherit', wanted);
            end if;
        exception when duplicate_object or unique_violation then
            null;  -- another database of this cluster is being migrated at the same moment
        end;
    end loop;
    begin
        if not exists (select from pg_catalog.pg_roles where rolname = 'annals_api') then
            -- No password: set one (`alter role annals_api password …`) before functions log in as this role.
            create role annals_api login noinherit;
        end if;
    exception when duplicate_object or unique_violation then
        null;
    end;
end
$$;

-- Membership without inheritance: annals_api can become these roles, transaction by transaction, and is nothing by itself.
-- The migrating role may become annals_api, so that a local run needs one DATABASE_URL only. PostgreSQL 16 moved the
-- choice from the member's attribute to the grant, hence the two spellings.
do $$
declare
    granted record;
    options text := '';
    me      text := current_user;
begin
    for granted in
        select * from (values ('authenticated', 'annals_api'), ('annals_projector', 'annals_api'), ('annals_api', me)) as g (role, member)
    loop
        if current_setting('server_version_num')::int >= 160000 then
            options := ' with inherit false, set true';
        end if;
        if granted.role <> granted.member and not exists (
            select from pg_catalog.pg_auth_members am
             where am.roleid = quote_ident(granted.role)::regrole and am.member = quote_ident(granted.member)::regrole
               and (current_setting('server_version_num')::int < 160000 or (to_jsonb(am) ->> 'set_option')::boolean)
        ) then
            begin
                execute format('grant %I to %I%s', granted.role, granted.member, options);
            exception when unique_violation then
                null;
            end;
        end if;
    end loop;
end
$$;

create schema if not exists annals;
comment on schema annals is 'Machinery of the event log: events, heads, catalog, progress. Not exposed to clients.';

revoke all on schema annals from public;
grant usage on schema annals to authenticated, annals_projector;

-- Whatever Annals waits for is a lock on an empty table in this schema, never an advisory lock. A client that may run SQL as
-- `authenticated` can take any advisory lock, and ROW EXCLUSIVE on any table of a schema that it may use: PREPARE of an INSERT
-- takes that lock before PostgreSQL checks the right to insert. It has no USAGE here, so it cannot even name these tables.
create schema if not exists annals_locks;
comment on schema annals_locks is 'Empty tables that appends, readers, projectors, rebuilds, key figures, imports and migrations lock. Requests have no access.';
revoke all on schema annals_locks from public;
grant usage on schema annals_locks to annals_projector;
grant usage on schema public to authenticated, annals_projector;

-- PostgreSQL lets everybody call a new function. Each migration that makes functions takes that back for its own before it ends, so
-- that they are callable by nobody until they are granted. Not by default privileges: those would hold for every function that this
-- role makes later, anywhere in the database, and the database may hold somebody else's project.

-- Supabase's auth helpers, for SQL that expects them; nothing here does. On Supabase they exist and are left alone, and so is an
-- auth schema of somebody else's that lacks one: only its owner may add it.
do $$
begin
    if to_regnamespace('auth') is null then
        create schema auth;
        comment on schema auth is 'The current request''s token, as Supabase names it.';
        grant usage on schema auth to anon, authenticated, annals_projector;
    end if;
    if not has_schema_privilege('auth', 'create') then
        return;
    end if;
    if to_regprocedure('auth.jwt()') is null then
        create function auth.jwt() returns jsonb language sql stable set search_path = pg_catalog, pg_temp
            as $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $f$;
        comment on function auth.jwt() is 'The verified claims of the current request, or null.';
        revoke execute on function auth.jwt() from public;
        grant execute on function auth.jwt() to anon, authenticated, annals_projector;
    end if;
    if to_regprocedure('auth.uid()') is null then
        create function auth.uid() returns uuid language sql stable set search_path = pg_catalog, pg_temp
            as $f$ select (nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub')::uuid $f$;
        comment on function auth.uid() is 'The subject of the current request''s token, or null.';
        revoke execute on function auth.uid() from public;
        grant execute on function auth.uid() to anon, authenticated, annals_projector;
    end if;
    if to_regprocedure('auth.role()') is null then
        create function auth.role() returns text language sql stable set search_path = pg_catalog, pg_temp
            as $f$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'role' $f$;
        comment on function auth.role() is 'The database role that the current request''s token asks for, or null.';
        revoke execute on function auth.role() from public;
        grant execute on function auth.role() to anon, authenticated, annals_projector;
    end if;
end
$$;
