-- The roles, and the two internal schemas.
--
-- Every function in these files says `set search_path = pg_catalog, pg_temp`. An empty path is not enough: PostgreSQL then searches
-- pg_temp first for tables and types, and a caller's own `pg_temp.jsonb` (a domain whose CHECK calls a function) would run with the
-- owner's rights inside a security definer function.
--
-- Roles belong to the cluster, not to the database, and Supabase brings some of them, so each role is created only where it is missing. The
-- attributes of an existing role are not changed.

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
            null;  -- another database of this cluster is migrated at the same moment
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

-- Membership without inheritance: annals_api has no rights from these roles until a transaction takes one of them (SET LOCAL ROLE). The
-- migrating role may become annals_api, so a local run needs only one DATABASE_URL. Up to PostgreSQL 15, inheritance is an attribute of the
-- member; since 16 it is an option of the grant, hence the two forms.
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
comment on schema annals is 'Internal tables and functions: events, heads, catalog, progress. Clients use schema public.';

revoke all on schema annals from public;
grant usage on schema annals to authenticated, annals_projector;

-- Every lock that Annals waits for is on a table in this schema, never an advisory lock. A client that may run SQL as `authenticated` can
-- take any advisory lock. It can also take a ROW EXCLUSIVE lock on any table of a schema that it may use, because PREPARE of an INSERT
-- takes that lock before PostgreSQL checks the right to insert. It has no USAGE on this schema, so it cannot name these tables.
create schema if not exists annals_locks;
comment on schema annals_locks is
    'Tables that appends, readers, projectors, rebuilds, key figures, imports and migrations lock. Requests have no access.';
revoke all on schema annals_locks from public;
grant usage on schema annals_locks to annals_projector;
grant usage on schema public to authenticated, annals_projector;

-- PostgreSQL lets every role call a new function. Therefore each migration that creates functions in `annals` ends by revoking that right;
-- only granted roles can then call them. Default privileges are not used for this: they would apply to every function that the migrating
-- role creates later in this database, which may belong to another project.

-- Supabase's auth helpers, for SQL that expects them; Annals itself does not use them. On Supabase they exist and are not changed. An
-- existing `auth` schema that belongs to another role is not changed either, even if a helper is missing.
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
