-- The catalog: which events exist, what their data must look like, who may post them and what they do to state.
--
-- A row without a tenant is built in and holds for all; a tenant's own row goes before it. Modules fill the catalog from
-- their migrations by annals.declare_event_type, staff at run time over HTTP, which ends at annals.register_event_type (V17).

-- Total, unlike a chain of comparisons, which lets through whatever makes it null: one effect that the projector cannot read
-- would keep it from reading the catalog at all.
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
comment on function annals.is_effect(jsonb) is 'Whether it is an effect, as described at annals.event_types.effect.';

-- As deep and with such keys as the log's own JSON (V4): a catalog that functions cannot read costs all tenants their projection.
create function annals.is_readable(document jsonb) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
    select not jsonb_path_exists(document, '$.**{100}')
       and not jsonb_path_exists(document, '$.** ? (exists(@."$serde_json::private::Number") || exists(@."$serde_json::private::RawValue"))')
$$;
comment on function annals.is_readable(jsonb) is 'Whether functions can take the JSON in again.';

create table annals.event_types (
    tenant_id       uuid,
    event_type      text collate "C" not null,
    aggregate_type  text collate "C" not null,
    current_version text collate "C" not null,
    description     text not null,
    effect          jsonb not null,
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
    constraint event_types_requires check (requires in ('new', 'existing')),
    -- What Annals appends by itself is evidence because no other caller can append it.
    constraint event_types_closed check (appended_by is null or tenant_id is null),
    constraint event_types_effect check (annals.is_effect(effect) and annals.is_readable(effect))
);
comment on table annals.event_types is 'Every event type that can be posted, with its effect on state and who may post it.';
comment on column annals.event_types.tenant_id is 'Tenant that registered the type; null: built in, for every tenant.';
comment on column annals.event_types.event_type is '{aggregate_type}.{action}, e.g. organization.gst.added.';
comment on column annals.event_types.aggregate_type is 'Kind of aggregate whose stream holds the event.';
comment on column annals.event_types.current_version is 'Schema version given to an event that names none.';
comment on column annals.event_types.description is 'One sentence for people.';
comment on column annals.event_types.effect is 'How the event changes state: "create", "merge", "changes", "delete", "none", {"add_child": collection}, {"update_child": collection}, {"remove_child": collection} or {"set": {field: JSON pointer into data | {"const": value}}}.';
comment on column annals.event_types.posters is 'Roles that may post it: user, agent, staff, service.';
comment on column annals.event_types.requires is 'What must be there: existing, the stream has events; new, it has none. Null: either.';
comment on column annals.event_types.appended_by is 'Part of Annals that alone appends it (sweep, processing, import), for callers whom posters names; null: they post it themselves.';
comment on column annals.event_types.starter_sees is 'Whether who started a stream sees events of this type that others append to it; kept on each event.';
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
comment on table annals.event_type_versions is 'Schema and example of every version of every event type. Versions are added, never changed.';
comment on column annals.event_type_versions.tenant_id is 'Tenant that registered the version; null: built in.';
comment on column annals.event_type_versions.event_type is 'The type, as in annals.event_types.';
comment on column annals.event_type_versions.version is 'Semantic version without a patch part by custom: 1.0.';
comment on column annals.event_type_versions.schema is 'JSON Schema (2020-12) of the event''s data.';
comment on column annals.event_type_versions.example is 'Data that the schema accepts.';
comment on column annals.event_type_versions.created_by is 'Actor that registered the version.';
comment on column annals.event_type_versions.created_at is 'When it was registered.';

-- A function that validated an event against an older catalog is told so by the append function and reads it again:
-- nothing is ever appended by a schema that has been replaced.
create table annals.catalog_revision (
    only_row boolean primary key default true,
    revision bigint not null,
    constraint catalog_revision_only_row check (only_row)
);
comment on table annals.catalog_revision is 'One row: the number of changes to the catalog.';
comment on column annals.catalog_revision.only_row is 'Always true: there is one row.';
comment on column annals.catalog_revision.revision is 'Raised by every change to annals.event_types or its versions.';
insert into annals.catalog_revision (revision) values (0);

create function annals.raise_catalog_revision() returns trigger language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
begin
    update annals.catalog_revision set revision = revision + 1;
    return null;
end
$$;
comment on function annals.raise_catalog_revision() is 'Statement trigger: any change to the catalog is a new revision.';
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
comment on function annals.refuse_change() is 'Trigger of append-only tables: refuses, whoever asks, the owner too, as long as the owner leaves it enabled.';

-- Twice, because neither sees everything: one for each statement is passed over when the statement names a parent that the
-- table was made to inherit from, one for each row knows no truncate. Always, so that no replica role switches them off.
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
comment on function annals.make_append_only(regclass, text[]) is 'Has a table refuse these of update, delete and truncate from now on.';
select annals.make_append_only('annals.event_type_versions', 'update', 'delete', 'truncate');

-- These effects store every field of data, known or not. A misspelt field would get into the state, and no later event could change it or
-- take it out, because updated events list the fields that they may change. So unknown fields are refused.
create function annals.closed_schema(effect jsonb, schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when effect in ('"create"', '"merge"') or effect ?| array['add_child', 'update_child']
                then '{"additionalProperties": false}'::jsonb || schema else schema end
$$;
comment on function annals.closed_schema(jsonb, jsonb) is
    'The schema of a built-in type with this effect: where the effect stores every field of data, fields that the schema does not list are refused, unless it has an additionalProperties of its own.';

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
    'Declares a built-in event type at its first version, its schema closed as annals.closed_schema says; for migrations, and callable by their role only.';

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
