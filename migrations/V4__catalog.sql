-- The catalog: which event types exist, the JSON Schema of their data, who may post them and how they change state.
--
-- A row without a tenant is built in and applies to all tenants. A tenant's own row with the same name takes precedence. Modules fill the
-- catalog in their migrations with annals.declare_event_type; staff add to it at run time over HTTP, by annals.register_event_type.

-- It never returns null, because a CHECK that is null passes. A plain chain of comparisons would be null for some documents. One effect
-- that the projector cannot read would keep it from reading the whole catalog.
create function annals.is_effect(effect jsonb) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case jsonb_typeof(effect)
               when 'string' then effect #>> '{}' in ('create', 'merge', 'changes', 'delete', 'none')
               when 'object' then (
                   select count(*) = 1 and bool_and(case
                              when m.key in ('add_child', 'update_child', 'remove_child') then jsonb_typeof(m.value) = 'string'
                              when m.key = 'set' and jsonb_typeof(m.value) = 'object' then not exists (
                                  select from jsonb_each(m.value) as f
                                   where not case jsonb_typeof(f.value) when 'string' then f.value #>> '{}' ~ '^(/|$)'
                                                                        when 'object' then f.value ? 'const'
                                                                        else false end)
                              else false end)
                     from jsonb_each(effect) as m)
               else false end
$$;
comment on function annals.is_effect(jsonb) is 'Whether the JSON is an effect, as described at annals.event_types.effect.';

-- The same bounds as for the JSON of events: if functions could not parse the catalog, no tenant's events would be projected.
create function annals.is_readable(document jsonb) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
    select not jsonb_path_exists(document, '$.**{100}')
       and not jsonb_path_exists(document, '$.** ? (exists(@."$serde_json::private::Number") || exists(@."$serde_json::private::RawValue"))')
$$;
comment on function annals.is_readable(jsonb) is
    'Whether the functions in Rust can parse the JSON: at most 100 levels, and no key that serde_json reserves for itself.';

-- The inverse of a type describes the event that compensates an event of the type.
create function annals.is_inverse(inverse jsonb) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
    select inverse is null
        or (jsonb_typeof(inverse) = 'object' and jsonb_typeof(inverse -> 'event_type') = 'string'
            and inverse - array['event_type', 'data'] = '{}'
            and (not inverse ? 'data' or annals.is_effect(jsonb_build_object('set', inverse -> 'data'))))
$$;
comment on function annals.is_inverse(jsonb) is 'Whether the JSON is an inverse, as described at annals.event_types.inverse.';

create table annals.event_types (
    tenant_id       uuid,
    event_type      text collate "C" not null,
    aggregate_type  text collate "C" not null,
    current_version text collate "C" not null,
    description     text not null,
    effect          jsonb not null,
    inverse         jsonb,
    posters         text[] not null,
    requires        text,
    appended_by     text,
    starter_sees    boolean not null default false,
    created_by      text not null,
    created_at      timestamptz not null default clock_timestamp(),
    constraint event_types_key unique nulls not distinct (event_type, tenant_id),
    constraint event_types_name check (event_type ~ '^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$' and length(event_type) <= 100),
    constraint event_types_aggregate check (aggregate_type = split_part(event_type, '.', 1) and length(aggregate_type) <= 50),
    constraint event_types_posters check (posters <@ array['user', 'agent', 'staff', 'service']),
    -- A one-dimensional list, because <@ also accepts an array of arrays, which no function could read.
    constraint event_types_posters_list check (coalesce(array_ndims(posters), 1) = 1),
    constraint event_types_requires check (requires in ('new', 'existing')),
    -- Only built-in types can be reserved for Annals itself. No caller can append them, so they are evidence.
    constraint event_types_closed check (appended_by is null or tenant_id is null),
    constraint event_types_effect check (annals.is_effect(effect) and annals.is_readable(effect)),
    constraint event_types_inverse check (annals.is_inverse(inverse) and annals.is_readable(inverse))
);
comment on table annals.event_types is 'Every event type that can be posted, with its effect on state and who may post it.';
comment on column annals.event_types.tenant_id is 'Tenant that registered the type; null: built in, for every tenant.';
comment on column annals.event_types.event_type is '{aggregate_type}.{action}, e.g. organization.gst.added.';
comment on column annals.event_types.aggregate_type is 'Aggregate type of the stream that contains the event.';
comment on column annals.event_types.current_version is 'Schema version given to an event that names none.';
comment on column annals.event_types.description is 'One human-readable sentence.';
comment on column annals.event_types.effect is 'How the event changes state: "create", "merge", "changes", "delete", "none", {"add_child": collection}, {"update_child": collection}, {"remove_child": collection} or {"set": {field: JSON pointer into data | {"const": value}}}.';
comment on column annals.event_types.inverse is 'How an event of the type is compensated: {"event_type": type of the compensating event, "data": {field: JSON pointer into the event''s data | {"const": value}}}. Without data, the compensating data follow from the effects of both types and the state before the event. With data: a member that the inverse writes to a field that the event changed takes the value that the field had before the event. If the field had no value before, a member that points at what the event wrote there keeps that value. A constant is written as it is. The compensation is refused if a field had a value before the event and would get neither that value nor a constant. Null: events of the type cannot be compensated.';
comment on column annals.event_types.posters is 'Roles that may post it: user, agent, staff, service.';
comment on column annals.event_types.requires is 'Requirement on the stream: existing (it has events), new (it has none); null: none.';
comment on column annals.event_types.appended_by is 'Part of Annals (sweep, processing, import) that alone appends the type, for callers whose role is in posters; null: callers post it themselves.';
comment on column annals.event_types.starter_sees is 'Whether the actor who started a stream sees events of this type that others append to it. Copied to each event.';
comment on column annals.event_types.created_by is 'Actor that registered the type; system: a migration.';
comment on column annals.event_types.created_at is 'When it was registered.';

create table annals.event_type_versions (
    tenant_id  uuid,
    event_type text collate "C" not null,
    version    text collate "C" not null,
    schema     jsonb not null,
    example    jsonb not null,
    created_by text not null,
    created_at timestamptz not null default clock_timestamp(),
    constraint event_type_versions_key unique nulls not distinct (event_type, version, tenant_id),
    constraint event_type_versions_version check (version ~ '^[0-9]{1,4}\.[0-9]{1,4}(\.[0-9]{1,4})?$'),
    constraint event_type_versions_schema check (jsonb_typeof(schema) = 'object' and annals.is_readable(schema)),
    constraint event_type_versions_example check (jsonb_typeof(example) = 'object' and annals.is_readable(example))
);
comment on table annals.event_type_versions is
    'Schema and example of every version of every event type. Versions are added, never changed.';
comment on column annals.event_type_versions.tenant_id is 'Tenant that registered the version; null: built in.';
comment on column annals.event_type_versions.event_type is 'The type, as in annals.event_types.';
comment on column annals.event_type_versions.version is 'Semantic version, by custom without a patch part: 1.0.';
comment on column annals.event_type_versions.schema is 'JSON Schema (2020-12) of the event''s data.';
comment on column annals.event_type_versions.example is 'Data that the schema accepts.';
comment on column annals.event_type_versions.created_by is 'Actor that registered the version.';
comment on column annals.event_type_versions.created_at is 'When it was registered.';

-- A function sends the revision of the catalog that it validated an event against. If the catalog is newer, the append function refuses,
-- and the function reads the catalog again, so no event is appended that was validated against a replaced schema.
create table annals.catalog_revision (
    only_row boolean primary key default true,
    revision bigint not null,
    constraint catalog_revision_only_row check (only_row)
);
comment on table annals.catalog_revision is 'One row: the number of changes to the catalog so far.';
comment on column annals.catalog_revision.only_row is 'Always true, so there is only one row.';
comment on column annals.catalog_revision.revision is 'Raised by every change to annals.event_types, its versions, upcasters and state tables, and by a finished rebuild.';
insert into annals.catalog_revision (revision) values (0);

create function annals.raise_catalog_revision() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update annals.catalog_revision set revision = revision + 1;
    return null;
end
$$;
comment on function annals.raise_catalog_revision() is 'Trigger: raises the revision of the catalog.';
create trigger event_types_revision after insert or update or delete on annals.event_types
    for each statement execute function annals.raise_catalog_revision();
create trigger event_type_versions_revision after insert or update or delete on annals.event_type_versions
    for each statement execute function annals.raise_catalog_revision();

create function annals.refuse_change() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    raise exception '% on %.% is refused: it is append-only', lower(tg_op), tg_table_schema, tg_table_name
        using errcode = 'insufficient_privilege', constraint = tg_name;
end
$$;
comment on function annals.refuse_change() is
    'Trigger of append-only tables: refuses the statement for every role. Only the owner can disable the trigger.';

-- Two triggers, because neither covers everything. A statement trigger does not fire if the statement names a table that this one was made
-- to inherit from. A row trigger does not fire for TRUNCATE. ENABLE ALWAYS, so that session_replication_role cannot switch them off.
create function annals.make_append_only(table_name regclass, variadic refused text[]) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    bare_name constant name := (select c.relname from pg_class c where c.oid = table_name);
    of_rows   constant text := array_to_string(array_remove(refused, 'truncate'), ' or ');
begin
    execute format('create trigger %I before %s on %s for each statement execute function annals.refuse_change()',
                   bare_name || '_append_only', array_to_string(refused, ' or '), table_name);
    execute format('create trigger %I before %s on %s for each row execute function annals.refuse_change()',
                   bare_name || '_rows_append_only', of_rows, table_name);
    execute format('alter table %1$s enable always trigger %2$I, enable always trigger %3$I',
                   table_name, bare_name || '_append_only', bare_name || '_rows_append_only');
end
$$;
comment on function annals.make_append_only(regclass, text[]) is 'Makes a table refuse the given ones of update, delete and truncate.';
select annals.make_append_only('annals.event_type_versions', 'update', 'delete', 'truncate');

-- These effects store every field of data, also unknown ones. A misspelt field would get into the state, and no later event could change or
-- remove it, because updated events may only change listed fields. Therefore unknown fields are refused.
create function annals.closed_schema(effect jsonb, schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when effect in ('"create"', '"merge"') or effect ?| array['add_child', 'update_child']
                then '{"additionalProperties": false}'::jsonb || schema else schema end
$$;
comment on function annals.closed_schema(jsonb, jsonb) is
    'The schema of a built-in type with this effect. If the effect stores every field of data, fields that the schema does not list are refused, unless the schema has an additionalProperties of its own.';

create function annals.declare_event_type(
    event_type text, effect jsonb, posters text[], description text, schema jsonb, example jsonb, version text default '1.0',
    requires text default null, starter_sees boolean default false, appended_by text default null
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    insert into annals.event_types (event_type, aggregate_type, current_version, description, effect, posters, requires, starter_sees, appended_by, created_by)
    values (declare_event_type.event_type, split_part(declare_event_type.event_type, '.', 1), declare_event_type.version,
            declare_event_type.description, declare_event_type.effect, declare_event_type.posters, declare_event_type.requires,
            declare_event_type.starter_sees, declare_event_type.appended_by, 'system');
    insert into annals.event_type_versions (event_type, version, schema, example, created_by)
    values (declare_event_type.event_type, declare_event_type.version, annals.closed_schema(effect, schema), declare_event_type.example, 'system');
end
$$;
comment on function annals.declare_event_type(text, jsonb, text[], text, jsonb, jsonb, text, text, boolean, text) is
    'For migrations: declares a built-in event type at its first version. The schema is closed as annals.closed_schema describes.';

alter table annals.event_types enable row level security;
alter table annals.event_type_versions enable row level security;
alter table annals.catalog_revision enable row level security;
create policy event_types_read on annals.event_types for select to authenticated
    using (tenant_id is null or tenant_id = (select annals.caller_tenant()));
create policy event_types_project on annals.event_types for select to annals_projector using (true);
create policy event_type_versions_read on annals.event_type_versions for select to authenticated
    using (tenant_id is null or tenant_id = (select annals.caller_tenant()));
create policy event_type_versions_project on annals.event_type_versions for select to annals_projector using (true);
create policy catalog_revision_read on annals.catalog_revision for select to authenticated, annals_projector using (true);
grant select on annals.event_types, annals.event_type_versions, annals.catalog_revision to authenticated, annals_projector;

revoke execute on all functions in schema annals from public;
