-- A module that comes late: a tenant may have registered its event types by itself long before, and then there are streams
-- that the module's tables know nothing of. Their shape rises, so that the sweep has read models rebuilt.

-- As in V7, and besides: where there are streams already, the table is due to be filled.
create or replace function annals.register_state_table(table_name regclass, aggregate_type text, collection text default null)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    bare_name constant name := (select c.relname from pg_catalog.pg_class c where c.oid = table_name);
    standard  record;
begin
    perform annals.check_state_table(table_name, aggregate_type, collection);
    insert into annals.state_tables (aggregate_type, collection, table_name)
    values (register_state_table.aggregate_type, register_state_table.collection, bare_name);

    execute format('alter table %s enable row level security', table_name);
    execute format('revoke all on table %s from public, anon, authenticated', table_name);
    -- Supabase's role without row security gets every right on new tables by default. It may read; what it wrote would be lost.
    if to_regrole('service_role') is not null then
        execute format('revoke insert, update, delete, truncate, references, trigger on table %s from service_role', table_name);
    end if;
    execute format('grant select on table %s to authenticated', table_name);
    execute format('grant select, insert, update, delete on table %s to annals_projector', table_name);
    execute format(
        'create policy %I on %s for select to authenticated
             using (tenant_id = (select annals.caller_tenant())
                    and ((select annals.caller_sees_tenant()) or started_by = (select annals.caller_actor())))',
        bare_name || '_read', table_name);
    execute format('create policy %I on %s for all to annals_projector using (true) with check (true)',
                   bare_name || '_project', table_name);

    for standard in
        select a.attname, coalesce(s.comment, format('Id of the %s that it belongs to.', register_state_table.aggregate_type)) as comment
          from pg_catalog.pg_attribute a
          left join (select t.attname, pg_catalog.col_description(t.attrelid, t.attnum) as comment
                       from pg_catalog.pg_attribute t
                      where t.attnum > 0 and t.attrelid = case when register_state_table.collection is null
                                                               then 'annals.state_row'::regclass
                                                               else 'annals.child_row'::regclass end) as s on s.attname = a.attname
         where a.attrelid = register_state_table.table_name
           and pg_catalog.col_description(a.attrelid, a.attnum) is null
           and (s.attname is not null
                or (register_state_table.collection is not null and a.attname = register_state_table.aggregate_type || '_id'))
    loop
        execute format('comment on column %s.%I is %L', table_name, standard.attname, standard.comment);
    end loop;
    if exists (select from annals.heads h where h.aggregate_type = register_state_table.aggregate_type) then
        perform annals.raise_shape(null, register_state_table.aggregate_type);
    end if;
end
$$;
comment on function annals.register_state_table(regclass, text, text) is
    'Makes a table of schema public the state table of an aggregate type, or of one of its child collections: checks its columns, tells the projection, gives it row security, grants and the standard columns'' comments, and has it filled where there are streams already.';

-- Modules since V17, for whoever comes from before them: those whose table is empty although there are streams, in one look
-- along the heads.
do $$
declare
    module record;
    empty  text[] := '{}';
    is_empty boolean;
begin
    for module in select t.aggregate_type, t.table_name from annals.state_tables t where t.collection is null loop
        execute format('select not exists (select from public.%I)', module.table_name) into is_empty;
        if is_empty then
            empty := empty || module.aggregate_type;
        end if;
    end loop;
    perform annals.raise_shape(null, late.aggregate_type)
       from (select distinct h.aggregate_type from annals.heads h where h.aggregate_type = any (empty) and h.projected_version > 0) as late;
end
$$;
