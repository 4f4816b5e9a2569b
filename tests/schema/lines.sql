-- list_schema
with ours as (
    select oid, nspname from pg_namespace where nspname not like 'pg\_%' and nspname <> 'information_schema'
), relations as (
    select o.nspname || '.' || c.relname as name, c.* from pg_class c join ours o on o.oid = c.relnamespace
), lines as (
    select format('schema %s owner %s acl %s', o.nspname, n.nspowner::regrole, array_to_string(n.nspacl, ' ')) as line
      from ours o join pg_namespace n on n.oid = o.oid
    union all
    select format('relation %s kind %s row security %s %s options %s acl %s', r.name, r.relkind, r.relrowsecurity, r.relforcerowsecurity,
                  array_to_string(r.reloptions, ' '), regexp_replace(array_to_string(r.relacl, ' '), '([rwadDxt]+)m', '\1', 'g'))
      from relations r where r.relkind <> 'i'
    union all
    select format('column %s.%s %s not null %s default %s generated %s collation %s acl %s', r.name, a.attname, format_type(a.atttypid, a.atttypmod),
                  a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attgenerated, a.attcollation::regcollation, array_to_string(a.attacl, ' '))
      from relations r join pg_attribute a on a.attrelid = r.oid and a.attnum > 0 and not a.attisdropped
      left join pg_attrdef d on d.adrelid = r.oid and d.adnum = a.attnum
     where r.relkind <> 'i'
    union all
    select format('constraint %s on %s %s', k.conname, r.name, pg_get_constraintdef(k.oid))
      from relations r join pg_constraint k on k.conrelid = r.oid where k.contype <> 'n'
    union all
    select format('index %s', pg_get_indexdef(i.indexrelid)) from relations r join pg_index i on i.indrelid = r.oid
    union all
    select format('trigger on %s %s', r.name, pg_get_triggerdef(t.oid))
      from relations r join pg_trigger t on t.tgrelid = r.oid where not t.tgisinternal
    union all
    select format('policy %s on %s for %s to %s using %s check %s', p.polname, r.name, p.polcmd,
                  (select string_agg(role::regrole::text, ',' order by role::regrole::text) from unnest(p.polroles) as role),
                  pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid))
      from relations r join pg_policy p on p.polrelid = r.oid
    union all
    select format('function %s.%s(%s) returns %s language %s definer %s %s %s settings %s acl %s body %s', o.nspname, p.proname,
                  pg_get_function_arguments(p.oid), pg_get_function_result(p.oid), l.lanname, p.prosecdef, p.provolatile, p.proparallel,
                  array_to_string(p.proconfig, ' '), array_to_string(p.proacl, ' '), md5(p.prosrc))
      from ours o join pg_proc p on p.pronamespace = o.oid join pg_language l on l.oid = p.prolang
    union all
    select format('comment on %s %s: %s', i.type, i.identity, d.description)
      from pg_description d cross join lateral pg_identify_object(d.classoid, d.objoid, d.objsubid) as i
     where i.schema in (select nspname from ours)
    union all
    select format('default privileges %s %s %s', d.defaclnamespace::regnamespace, d.defaclobjtype, array_to_string(d.defaclacl, ' '))
      from pg_default_acl d
    union all
    -- Memberships: who may set which role, and who inherits whose rights. The migrating role is left out of the second part: from 16 on it does
    -- not inherit the roles that it may set, and before 16 it does.
    select format('member %s of %s inherits %s', m.member::regrole, m.roleid::regrole,
                  case when m.member <> current_user::regrole
                       then bool_or(coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, r.rolinherit)) end)
      from pg_auth_members m join pg_roles r on r.oid = m.member
     where r.rolname !~ '^pg_' and coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
     group by m.member, m.roleid
    union all
    select format('event type %s', to_jsonb(t) - '{created_at}'::text[]) from annals.event_types t
    union all
    select format('event type version %s %s %s', v.event_type, v.version, md5((to_jsonb(v) - '{created_at}'::text[])::text))
      from annals.event_type_versions v
)
select line from lines order by line collate "C"
