-- Who is calling, and how a caller is refused: one reading of the token's claims, used by the append function and by every policy.
--
-- `user_metadata` is never read: its owner can write it. Policies call these inside a scalar sub-select, so that each
-- is evaluated once per statement and not once per row.

create function annals.caller_claims() returns jsonb language sql stable set search_path = pg_catalog, pg_temp
    as $$ select nullif(current_setting('request.jwt.claims', true), '')::jsonb $$;
comment on function annals.caller_claims() is 'Claims of the current request''s token; null outside a request.';

create function annals.caller_role() returns text language sql stable set search_path = pg_catalog, pg_temp
    as $$ select case when c is not null then coalesce(c #>> '{app_metadata,role}', 'user') end from annals.caller_claims() as c $$;
comment on function annals.caller_role() is 'user, staff, agent or service; a token without the claim is a plain user''s.';

create function annals.caller_tenant() returns uuid language sql stable set search_path = pg_catalog, pg_temp
    as $$ select case when c is not null
                      then coalesce((c #>> '{app_metadata,tenant_id}')::uuid, '00000000-0000-0000-0000-000000000000') end
            from annals.caller_claims() as c $$;
comment on function annals.caller_tenant() is 'Tenant of the current request; the nil uuid is the default tenant; null outside a request.';

create function annals.caller_actor() returns text language sql stable set search_path = pg_catalog, pg_temp
    as $$ select case annals.caller_role()
                     when 'user' then 'user:' || (c ->> 'sub')
                     when 'staff' then 'user:' || (c ->> 'sub')
                     when 'agent' then 'agent:' || (c #>> '{app_metadata,name}')
                     when 'service' then 'service:' || (c #>> '{app_metadata,name}')
                 end
            from annals.caller_claims() as c $$;
comment on function annals.caller_actor() is 'The actor that the current request''s token stands for, as in events.created_by.';

create function annals.caller_user_id() returns uuid language sql stable set search_path = pg_catalog, pg_temp
    as $$ select case when annals.caller_role() in ('user', 'staff') then (c ->> 'sub')::uuid end from annals.caller_claims() as c $$;
comment on function annals.caller_user_id() is 'The person behind the current request; null for agents and services.';

create function annals.caller_sees_tenant() returns boolean language sql stable set search_path = pg_catalog, pg_temp
    as $$ select coalesce(annals.caller_role() in ('staff', 'service'), false) $$;
comment on function annals.caller_sees_tenant() is 'Whether the caller reads the whole tenant, or only what is its own.';

grant execute on function annals.caller_claims(), annals.caller_role(), annals.caller_tenant(), annals.caller_actor(),
    annals.caller_user_id(), annals.caller_sees_tenant() to authenticated;

-- A refusal's SQLSTATE is PT and the HTTP status (PostgREST answers with it); its constraint name is the stable code, its
-- column the member's place in a batch, its detail a figure that the code calls for.
create function annals.refuse(status int, code text, message text, member int default null, detail text default null)
returns boolean language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception using
        errcode = 'PT' || status, constraint = code, message = message, column = coalesce(member::text, ''), detail = coalesce(detail, '');
end
$$;
comment on function annals.refuse(int, text, text, int, text) is 'Raises a refusal; boolean so that an expression can call it.';
grant execute on function annals.refuse(int, text, text, int, text) to authenticated;

revoke execute on all functions in schema annals from public;
