-- State tables: the typed tables of schema public that the projection fills from the state of entities.
--
-- A module creates its state table like annals.state_row, one table like annals.child_row for each child collection, and passes them to
-- annals.register_state_table. The generic projection then fills the columns from the state by name.
--
-- Module columns are nullable. A stream may begin with any of its events, so no column can rely on the event that would fill it. Their
-- CHECKs repeat what the schemas refuse already; they protect against types that staff register at run time.

create table annals.state_row (
    tenant_id  uuid not null,
    id         text collate "C" not null,
    version    integer not null,
    started_by text collate "C" not null,
    deleted_at timestamptz,
    created_at timestamptz not null,
    updated_at timestamptz not null,
    constraint state_row_pkey primary key (tenant_id, id),
    constraint state_row_version check (version >= 1)
);
comment on table annals.state_row is 'Template of an entity''s state table (like annals.state_row including all); never contains a row.';
comment on column annals.state_row.tenant_id is 'Tenant that the entity belongs to.';
comment on column annals.state_row.id is 'The entity''s id: aggregate_id of its stream.';
comment on column annals.state_row.version is 'Version of the last event that is projected here.';
comment on column annals.state_row.started_by is 'Actor of the stream''s first event. Users and agents see what they started, as long as no event of it is hidden from them.';
comment on column annals.state_row.deleted_at is 'Recorded time of the event that deleted the entity; null: not deleted.';
comment on column annals.state_row.created_at is 'Recorded time of the stream''s first event.';
comment on column annals.state_row.updated_at is 'Recorded time of the last event that is projected here.';

create table annals.child_row (
    tenant_id  uuid not null,
    id         text collate "C" not null,
    started_by text collate "C" not null
);
comment on table annals.child_row is
    'Template of a child collection''s table, which adds {aggregate_type}_id and its primary key; never contains a row.';
comment on column annals.child_row.tenant_id is 'Tenant that the parent belongs to.';
comment on column annals.child_row.id is 'The child''s id, unique within its parent and collection.';
comment on column annals.child_row.started_by is 'Actor of the first event of the parent''s stream; users and agents see what they started.';

create table annals.state_tables (
    aggregate_type text collate "C" not null,
    collection     text collate "C",
    table_name     name not null,
    constraint state_tables_key unique nulls not distinct (aggregate_type, collection),
    constraint state_tables_table unique (table_name)
);

-- Projectors cache the list until the catalog's revision changes.
create trigger state_tables_revision after insert or update or delete on annals.state_tables
    for each statement execute function annals.raise_catalog_revision();
comment on table annals.state_tables is 'Which table of schema public the projection fills from which aggregate''s state.';
comment on column annals.state_tables.aggregate_type is 'Aggregate type, as in annals.event_types.';
comment on column annals.state_tables.collection is 'Child collection whose rows the table contains; null: the entity''s own table.';
comment on column annals.state_tables.table_name is 'Table in schema public.';

alter table annals.state_row enable row level security;
alter table annals.child_row enable row level security;
alter table annals.state_tables enable row level security;
create policy state_tables_read on annals.state_tables for select to authenticated, annals_projector using (true);
grant select on annals.state_tables to authenticated, annals_projector;

create function annals.check_state_table(table_name regclass, aggregate_type text, collection text)
returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    template   regclass := case when collection is null then 'annals.state_row' else 'annals.child_row' end;
    key_wanted text[]   := case when collection is null then array['tenant_id', 'id']
                                else array['tenant_id', aggregate_type || '_id', 'id'] end;
    key_found  text[];
    missing    text;
begin
    if (select c.relnamespace from pg_catalog.pg_class c where c.oid = table_name) <> 'public'::regnamespace then
        raise exception 'state table % is not in schema public', table_name using errcode = 'invalid_table_definition';
    end if;

    select string_agg(wanted.attname, ', ' order by wanted.attnum) into missing
      from pg_catalog.pg_attribute wanted
     where wanted.attrelid = template and wanted.attnum > 0 and not wanted.attisdropped
       and not exists (
           select from pg_catalog.pg_attribute found
            where found.attrelid = table_name and found.attname = wanted.attname and not found.attisdropped
              and (found.atttypid, found.attcollation, found.attnotnull) = (wanted.atttypid, wanted.attcollation, wanted.attnotnull));
    if missing is not null then
        raise exception 'state table % lacks columns of %, or defines them differently: %', table_name, template, missing
            using errcode = 'invalid_table_definition';
    end if;

    select array_agg(a.attname::text order by k.position) into key_found
      from pg_catalog.pg_constraint c
      cross join unnest(c.conkey) with ordinality as k (attnum, position)
      join pg_catalog.pg_attribute a on a.attrelid = c.conrelid and a.attnum = k.attnum
     where c.conrelid = table_name and c.contype = 'p';
    if key_found is distinct from key_wanted then
        raise exception 'the primary key of state table % is %, not %', table_name, key_found, key_wanted
            using errcode = 'invalid_table_definition';
    end if;
end
$$;
comment on function annals.check_state_table(regclass, text, text) is
    'Raises an error unless the table is in schema public and has the standard columns of an entity''s (or child''s) table and its primary key.';

-- The table gets one permissive policy per role. PostgreSQL would evaluate a second one for every row as well.
create function annals.register_state_table(table_name regclass, aggregate_type text, collection text default null)
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
    -- Supabase's service_role bypasses row security and gets all rights on new tables by default. It may only read, because a rebuild would
    -- overwrite what it wrote.
    if to_regrole('service_role') is not null then
        execute format('revoke insert, update, delete, truncate, references, trigger on table %s from service_role', table_name);
    end if;
    execute format('grant select on table %s to authenticated', table_name);
    execute format('grant select, insert, update, delete on table %s to annals_projector', table_name);
    execute format(
        'create policy %I on %s for select to authenticated
             using (tenant_id = (select annals.caller_tenant())
                    and ((select annals.caller_sees_tenant())
                         or (started_by = (select annals.caller_actor()) and annals.starter_sees_all(%L, %I))))',
        bare_name || '_read', table_name, register_state_table.aggregate_type,
        case when register_state_table.collection is null then 'id' else register_state_table.aggregate_type || '_id' end);
    execute format('create policy %I on %s for all to annals_projector using (true) with check (true)',
                   bare_name || '_project', table_name);

    if register_state_table.collection is null then
        perform annals.make_state_writer(table_name);
    end if;

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
    -- There may be streams already, if a tenant had registered event types of this aggregate type by itself. Their rows are missing in the
    -- new table, so the fold version rises, and read models are rebuilt.
    if exists (select from annals.heads h where h.aggregate_type = register_state_table.aggregate_type) then
        perform annals.raise_fold_version(null, register_state_table.aggregate_type);
    end if;
end
$$;
comment on function annals.register_state_table(regclass, text, text) is
    'Makes a table of schema public the state table of an aggregate type, or of one of its child collections. It checks the columns, registers the table for the projection, makes the function that writes it, sets row security, policies, grants and the comments of standard columns, and requests a rebuild if the aggregate type has streams already.';

revoke execute on all functions in schema annals from public;
