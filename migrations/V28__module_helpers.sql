-- What modules declare their event types with ("a module is a migration", see README.md): annals.declare_entity for created, updated and
-- deleted, annals.declare_child for a child collection, annals.declare_event_type (catalog) for the module's own verbs, and their inverses.
--
--     create table public.widgets (like annals.state_row including all, colour text);
--     select annals.register_state_table('public.widgets', 'widget');
--     select annals.declare_entity('widget', 'a widget', '{…schema…}', '{…example…}', '{…example of changes…}');
--     select annals.declare_entity_inverses('widget');

-- Schemas that are derived from the schema of an entity's or a child's fields, so that each field is described once.

create function annals.nullable_schema(schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case
               when schema -> 'type' @> '"null"' then schema
               -- A list of types keeps error messages readable. Keywords that refuse null independently of the type need anyOf.
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
    'Fields of an object''s schema, each with its schema as a later event may set it: also null, unless the schema requires the field.';

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
    'Schema of an updated event''s data, {"changes": {field: {"old": …, "new": …}}}, from the schema of the entity''s fields. Each new is what its field accepts. Other fields are refused, and so are child collections, which the schema of created forbids. A change to null with "removed": true removes the field from the state; without it, the field becomes null.';

create function annals.partial_schema(schema jsonb) returns jsonb language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when schema -> 'properties' ? 'id' then '{"required": ["id"], "minProperties": 2}'::jsonb
                else '{"minProperties": 1}'::jsonb end
           || jsonb_build_object('type', 'object',
                                 -- A client that sends data of an updated event by mistake gets a refusal instead of a field called changes.
                                 'properties', jsonb_object_agg(f.field, f.field_schema) || '{"changes": false}')
      from annals.optional_fields(schema) as f
$$;
comment on function annals.partial_schema(jsonb) is
    'Schema of an event whose data are some fields of the given schema, to be merged: at least one field, none required except a child''s id.';

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

create function annals.declare_child(
    aggregate_type text, collection text, noun text, fields jsonb, example jsonb, change jsonb
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    prefix  constant text := aggregate_type || '.' || collection || '.';
    subject constant text := upper(left(noun, 1)) || substr(noun, 2);
    child   constant jsonb := fields || jsonb_build_object(
        'required', '["id"]' || coalesce(fields -> 'required', '[]'),
        'properties', fields -> 'properties' || '{"id": {"type": "string", "minLength": 1, "maxLength": 128}}');
begin
    -- Children are only added by their own events. A created event with a collection in its data would bypass the schemas of children.
    if not exists (select from annals.event_type_versions v
                    where v.event_type = declare_child.aggregate_type || '.created' and v.tenant_id is null
                      and v.schema -> 'properties' -> collection = 'false') then
        raise exception 'the schema of %.created must refuse the field %', aggregate_type, collection using errcode = 'invalid_object_definition';
    end if;
    perform annals.declare_event_type(
        prefix || 'added', jsonb_build_object('add_child', collection), array['staff', 'service'],
        format('%s was added.', subject), child, example, requires => 'existing');
    perform annals.declare_event_type(
        prefix || 'updated', jsonb_build_object('update_child', collection), array['staff', 'service'],
        format('Fields of %s were given new values.', noun), annals.partial_schema(child), jsonb_build_object('id', example -> 'id') || change,
        requires => 'existing');
    perform annals.declare_child_removed(aggregate_type, collection, noun, child, example);
    perform annals.declare_child_inverses(aggregate_type, collection);
end
$$;
comment on function annals.declare_child(text, text, text, jsonb, jsonb, jsonb) is
    'Declares {type}.{collection}.added, .updated and .removed, and their inverses. noun: with its article, for descriptions; fields: schema of the child''s fields without its id; example: such data, with the id; change: an example of new values.';

create function annals.declare_child_removed(aggregate_type text, collection text, noun text, child jsonb, example jsonb) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    partial constant jsonb := annals.partial_schema(child);
begin
    -- The id identifies the child. The other fields may be repeated for readers of the event.
    perform annals.declare_event_type(
        aggregate_type || '.' || collection || '.removed', jsonb_build_object('remove_child', collection), array['staff', 'service'],
        format('%s was removed; its history stays.', upper(left(noun, 1)) || substr(noun, 2)),
        partial || jsonb_build_object('minProperties', 1, 'properties', partial -> 'properties' || '{"reason": {"type": "string", "minLength": 1}}'),
        jsonb_build_object('id', example -> 'id', 'reason', 'added by mistake'), requires => 'existing');
end
$$;
comment on function annals.declare_child_removed(text, text, text, jsonb, jsonb) is
    'Declares {type}.{collection}.removed. child: schema of added''s data; example: such data.';

create function annals.declare_child_inverses(aggregate_type text, collection text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    prefix constant text := aggregate_type || '.' || collection || '.';
begin
    perform annals.declare_inverse(prefix || 'added', jsonb_build_object('event_type', prefix || 'removed'));
    perform annals.declare_inverse(prefix || 'updated', jsonb_build_object('event_type', prefix || 'updated'));
    perform annals.declare_inverse(prefix || 'removed', jsonb_build_object('event_type', prefix || 'added'));
end
$$;
comment on function annals.declare_child_inverses(text, text) is
    'Declares that a collection''s added and removed compensate each other, and that an updated compensates an updated.';

create function annals.declare_entity_inverses(aggregate_type text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    perform annals.declare_inverse(aggregate_type || '.created', jsonb_build_object('event_type', aggregate_type || '.deleted'));
    perform annals.declare_inverse(aggregate_type || '.updated', jsonb_build_object('event_type', aggregate_type || '.updated'));
    perform annals.declare_inverse(aggregate_type || '.deleted', jsonb_build_object('event_type', aggregate_type || '.created'));
end
$$;
comment on function annals.declare_entity_inverses(text) is
    'Declares that an entity''s created and deleted compensate each other, and that an updated compensates an updated.';

revoke execute on all functions in schema annals from public;
