-- A stand-in for pg_jsonschema, which is in no package registry: JSON Schema 2020-12, as far as the catalog uses it. Like the extension, it
-- treats "format" as an annotation. An unknown keyword is an error, so that no test relies on a check that was never
-- made.
create schema if not exists extensions;
grant usage on schema extensions to public;

create function extensions.is_of_type(value jsonb, name text) returns boolean language sql immutable as $$
    select case name
               when 'integer' then jsonb_typeof(value) = 'number' and (value #>> '{}')::numeric % 1 = 0
               else jsonb_typeof(value) = name end
$$;

create function extensions.matches(schema jsonb, value jsonb) returns boolean language plpgsql immutable as $$
declare
    keyword text;
    wanted  jsonb;
    number  numeric := case jsonb_typeof(value) when 'number' then (value #>> '{}')::numeric end;
    word    text    := case jsonb_typeof(value) when 'string' then value #>> '{}' end;
    members jsonb   := case jsonb_typeof(value) when 'object' then value else '{}' end;
    items   jsonb   := case jsonb_typeof(value) when 'array' then value else '[]' end;
    fits    boolean;
begin
    if jsonb_typeof(schema) = 'boolean' then
        return schema::boolean;
    end if;
    for keyword, wanted in select * from jsonb_each(schema) loop
        fits := case keyword
            when 'type' then exists (select from jsonb_array_elements_text(case jsonb_typeof(wanted) when 'array' then wanted else jsonb_build_array(wanted) end) as t (name)
                                      where extensions.is_of_type(value, t.name))
            when 'enum' then exists (select from jsonb_array_elements(wanted) as e (allowed) where e.allowed = value)
            when 'const' then value = wanted
            when 'minimum' then number >= wanted::numeric
            when 'maximum' then number <= wanted::numeric
            when 'exclusiveMinimum' then number > wanted::numeric
            when 'exclusiveMaximum' then number < wanted::numeric
            when 'multipleOf' then number % wanted::numeric = 0
            when 'minLength' then length(word) >= wanted::int
            when 'maxLength' then length(word) <= wanted::int
            when 'pattern' then word ~ (wanted #>> '{}')
            when 'required' then jsonb_typeof(value) <> 'object' or value ?& array(select jsonb_array_elements_text(wanted))
            when 'minProperties' then jsonb_typeof(value) <> 'object' or (select count(*) from jsonb_object_keys(members)) >= wanted::int
            when 'maxProperties' then (select count(*) from jsonb_object_keys(members)) <= wanted::int
            when 'properties' then not exists (select from jsonb_each(members) as m
                                                where wanted ? m.key and not extensions.matches(wanted -> m.key, m.value))
            when 'additionalProperties' then not exists (select from jsonb_each(members) as m
                                                          where not coalesce(schema -> 'properties' ? m.key, false)
                                                            and not extensions.matches(wanted, m.value))
            when 'minItems' then jsonb_typeof(value) <> 'array' or jsonb_array_length(items) >= wanted::int
            when 'maxItems' then jsonb_array_length(items) <= wanted::int
            when 'items' then not exists (select from jsonb_array_elements(items) as i (item) where not extensions.matches(wanted, i.item))
            when 'allOf' then not exists (select from jsonb_array_elements(wanted) as s (part) where not extensions.matches(s.part, value))
            when 'anyOf' then exists (select from jsonb_array_elements(wanted) as s (part) where extensions.matches(s.part, value))
            when 'oneOf' then (select count(*) from jsonb_array_elements(wanted) as s (part) where extensions.matches(s.part, value)) = 1
            when 'not' then not extensions.matches(wanted, value)
            else null end;
        if fits is null and keyword not in ('minimum', 'maximum', 'exclusiveMinimum', 'exclusiveMaximum', 'multipleOf', 'minLength', 'maxLength', 'pattern',
                                            'title', 'description', 'format', 'default', 'examples', '$schema', '$comment') then
            raise exception 'the stand-in for pg_jsonschema does not know %', keyword;
        end if;
        if not fits then
            return false;
        end if;
    end loop;
    return true;
end
$$;

create function extensions.jsonb_matches_schema(schema json, instance jsonb) returns boolean language sql immutable as $$
    select extensions.matches(schema::jsonb, instance)
$$;
