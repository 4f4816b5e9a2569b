-- What a module's migration is written with (DESIGN §3: "a module is a migration").
--
-- A module creates its state table from annals.state_row and one table for each child collection from annals.child_row,
-- hands them to annals.register_state_table, and declares its event types: annals.declare_entity for created, updated and
-- deleted, annals.declare_event_type for its own verbs. The generic projection does the rest, by column name:
--
--     create table public.widgets (like annals.state_row including all, colour text);
--     select annals.register_state_table('public.widgets', 'widget');
--     select annals.declare_entity('widget', 'a widget', '{…schema…}', '{…example…}', '{…example of changes…}');
--
-- Module columns are nullable: a stream may begin with any of its events ("no state yet counts as an empty one"), so no
-- column can count on the event that would fill it. Their CHECKs repeat what the schemas refuse already; they are for the
-- types that staff register at run time.

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
comment on table annals.state_row is 'Template of an entity''s state table (like annals.state_row including all); never holds a row.';
comment on column annals.state_row.tenant_id is 'Tenant that the entity belongs to.';
comment on column annals.state_row.id is 'The entity''s id: aggregate_id of its stream.';
comment on column annals.state_row.version is 'Version of the last event that is projected here.';
comment on column annals.state_row.started_by is 'Actor of the stream''s first event; users and agents see what they started, while no event of it is hidden from them.';
comment on column annals.state_row.deleted_at is 'Recorded time of the event that deleted the entity; null: it lives.';
comment on column annals.state_row.created_at is 'Recorded time of the stream''s first event.';
comment on column annals.state_row.updated_at is 'Recorded time of the last event that is projected here.';

create table annals.child_row (
    tenant_id  uuid not null,
    id         text collate "C" not null,
    started_by text collate "C" not null
);
comment on table annals.child_row is 'Template of a child collection''s table, which adds {aggregate_type}_id and its primary key; never holds a row.';
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
-- Projectors keep the list until the catalog's revision changes.
create trigger state_tables_revision after insert or update or delete on annals.state_tables
    for each statement execute function annals.raise_catalog_revision();
comment on table annals.state_tables is 'Which table of schema public the projection fills from which aggregate''s state.';
comment on column annals.state_tables.aggregate_type is 'Kind of aggregate, as in annals.event_types.';
comment on column annals.state_tables.collection is 'Child collection whose rows the table holds; null: the entity''s own table.';
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
        raise exception 'state table % lacks columns of %, or has them otherwise: %', table_name, template, missing
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
    'Raises unless the table has the standard columns of an entity (or child) table and its primary key.';

-- One permissive policy per role: a second one would be evaluated for every row as well.
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
    -- Supabase's role without row security gets every right on new tables by default. It may read; what it wrote would be lost.
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
    -- A module that comes late: a tenant may have registered its event types by itself long before, and then there are streams
    -- that the table knows nothing of. Their shape (V17) rises, so that the sweep has read models rebuilt.
    if exists (select from annals.heads h where h.aggregate_type = register_state_table.aggregate_type) then
        perform annals.raise_shape(null, register_state_table.aggregate_type);
    end if;
end
$$;
comment on function annals.register_state_table(regclass, text, text) is
    'Makes a table of schema public the state table of an aggregate type, or of one of its child collections: checks its columns, tells the projection, gives it row security, grants and the standard columns'' comments, and has it filled where there are streams already.';

-- Schemas that follow from the schema of an entity's or a child's fields, so that a field is described once.

create function annals.nullable_schema(schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
               when schema -> 'type' @> '"null"' then schema
               -- A list of types keeps refusals readable; keywords that would refuse null whatever its type need anyOf.
               when schema ? 'type' and not schema ?| array['enum', 'const', 'allOf', 'anyOf', 'oneOf', 'not']
                   then schema || jsonb_build_object('type', jsonb_build_array() || (schema -> 'type') || '"null"')
               else jsonb_build_object('anyOf', jsonb_build_array(schema, '{"type": "null"}'::jsonb))
           end
$$;
comment on function annals.nullable_schema(jsonb) is 'The schema that accepts what the given one accepts, and null.';

create function annals.optional_fields(schema jsonb) returns table (field text, field_schema jsonb)
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select p.key, case when schema -> 'required' ? p.key or p.value in ('true', 'false') then p.value
                       else annals.nullable_schema(p.value) end
      from jsonb_each(schema -> 'properties') as p
$$;
comment on function annals.optional_fields(jsonb) is
    'Fields of an object''s schema, each as an event may set it later: null too, unless the schema requires the field.';

create function annals.changes_schema(schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select jsonb_build_object(
        'type', 'object',
        'required', jsonb_build_array('changes'),
        'properties', jsonb_build_object('changes', jsonb_build_object(
            'type', 'object',
            'minProperties', 1,
            'additionalProperties', false,
            'properties', jsonb_object_agg(f.field, jsonb_build_object(
                'type', 'object',
                'required', jsonb_build_array('old', 'new'),
                'additionalProperties', false,
                'properties', jsonb_build_object('old', true, 'new', f.field_schema, 'removed', '{"type": "boolean"}'::jsonb))))))
      from annals.optional_fields(schema) as f
     where f.field_schema <> 'false'
$$;
comment on function annals.changes_schema(jsonb) is
    'Schema of an updated event''s data, {"changes": {field: {"old": …, "new": …}}}, from the schema of the entity''s fields: each new is what its field accepts, other fields are refused; so are child collections, which created''s schema forbids. A change to null that says "removed": true takes the field out of the state; without it, the field is null.';

create function annals.partial_schema(schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when schema -> 'properties' ? 'id' then '{"required": ["id"], "minProperties": 2}'::jsonb
                else '{"minProperties": 1}'::jsonb end
           || jsonb_build_object('type', 'object',
                                 -- A client that took this for an updated event gets a refusal, and not a field called changes.
                                 'properties', jsonb_object_agg(f.field, f.field_schema) || '{"changes": false}')
      from annals.optional_fields(schema) as f
$$;
comment on function annals.partial_schema(jsonb) is
    'Schema of an event whose data are some fields of the given schema, to be merged: none required but a child''s id, at least one given.';

create function annals.declare_entity(
    aggregate_type text, noun text, fields jsonb, example jsonb, change jsonb, creators text[] default array['staff', 'service'],
    starter_sees boolean default false
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform annals.declare_event_type(
        aggregate_type || '.created', '"create"', creators,
        format('%s was created with the fields that the data give.', upper(left(noun, 1)) || substr(noun, 2)),
        fields, example, requires => 'new', starter_sees => starter_sees);
    perform annals.declare_event_type(
        aggregate_type || '.updated', '"changes"', array['staff', 'service'],
        format('Fields of %s were changed, each with its old and its new value.', noun),
        annals.changes_schema(fields), jsonb_build_object('changes', change), requires => 'existing', starter_sees => starter_sees);
    perform annals.declare_event_type(
        aggregate_type || '.deleted', '"delete"', array['staff', 'service'],
        format('%s was deleted; its last state and its history stay.', upper(left(noun, 1)) || substr(noun, 2)),
        '{"type": "object",
          "properties": {"name": {"type": "string", "minLength": 1},
                         "deleted_at": {"type": "string", "format": "date-time"},
                         "reason": {"type": "string", "minLength": 1}}}',
        jsonb_strip_nulls(jsonb_build_object('name', example -> 'name', 'deleted_at', '2025-11-21T10:30:00Z')),
        requires => 'existing', starter_sees => starter_sees);
end
$$;
comment on function annals.declare_entity(text, text, jsonb, jsonb, jsonb, text[], boolean) is
    'Declares {type}.created, .updated and .deleted. noun: with its article, for descriptions; fields: schema of created''s data; example: such data; change: an example of changes, {field: {"old": …, "new": …}}; creators: roles that may post created; starter_sees: as in annals.event_types.';

revoke execute on all functions in schema annals from public;
