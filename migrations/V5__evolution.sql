-- Evolution: versions of event types. An upcaster upcasts data that was stored under an old version of a type's schema: it converts the
-- data to a later version when it is read. Stored events never change.
--
-- An upcaster leads from one version to a later one by declared steps. Steps are no code and cannot fail. A registration is refused if it
-- would leave a version without a chain of upcasters to the current version. Version numbers are semantic: a minor version must not break
-- readers of the version before it. That is checked from the schemas, in Rust.
--
-- If upcasters change data, states that were folded before differ from a fold from the first event. annals.fold_versions counts such changes
-- by tenant and aggregate type. The number is the fold version. Until read models have been rebuilt for the current fold version, reads fold
-- from the log.

create function annals.version_key(version text) returns int[] language sql immutable strict set search_path = pg_catalog, pg_temp as $$
    select string_to_array(version, '.')::int[]
$$;
comment on function annals.version_key(text) is 'A version as an array of numbers, by which versions are ordered: 1.10 comes after 1.9.';
grant execute on function annals.version_key(text) to authenticated, annals_projector;

-- At most as deep as functions can parse, and no key that serde_json reserves for itself (see annals.is_readable).
create function annals.is_place(field text) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
    select field <> '' and length(field) <= 1000 and strpos(field, '$serde_json::private::') = 0
       and (left(field, 1) <> '/' or length(field) - length(replace(field, '/', '')) <= 16)
$$;
comment on function annals.is_place(text) is 'Whether the text names a field of data, as described at annals.upcasters.steps.';

create function annals.is_upcast(steps jsonb) returns boolean language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when jsonb_typeof(steps) <> 'array' or jsonb_array_length(steps) > 100 or octet_length(steps::text) > 65536 then false else (
        select coalesce(bool_and(case when jsonb_typeof(s.step) <> 'object' then false else (
                   select count(*) = 1 and bool_and(case
                              when m.key in ('rename', 'split') and jsonb_typeof(m.value) = 'object'
                              then not exists (select from jsonb_each(m.value) as f
                                                where jsonb_typeof(f.value) <> 'string' or f.value = '""' or not annals.is_place(f.key)
                                                   or (m.key = 'rename' and not annals.is_place(f.value #>> '{}')))
                              when m.key in ('default', 'set') and jsonb_typeof(m.value) = 'object'
                              then not exists (select from jsonb_object_keys(m.value) as f where not annals.is_place(f))
                              when m.key = 'remove' and jsonb_typeof(m.value) = 'array'
                              then not exists (select from jsonb_array_elements(m.value) as f
                                                where jsonb_typeof(f) <> 'string' or not annals.is_place(f #>> '{}'))
                              when m.key = 'map' and jsonb_typeof(m.value) = 'object'
                              then m.value ?& array['from', 'to', 'values'] and m.value - array['from', 'to', 'values', 'otherwise'] = '{}'
                                   and jsonb_typeof(m.value -> 'from') = 'string' and annals.is_place(m.value ->> 'from')
                                   and jsonb_typeof(m.value -> 'to') = 'string' and annals.is_place(m.value ->> 'to')
                                   and jsonb_typeof(m.value -> 'values') = 'object'
                              else false end)
                     from jsonb_each(s.step) as m) end), true)
          from jsonb_array_elements(steps) as s (step)) end
$$;
comment on function annals.is_upcast(jsonb) is 'Whether the JSON is a list of steps, as described at annals.upcasters.steps.';

create table annals.upcasters (
    tenant_id    uuid,
    event_type   text collate "C" not null,
    from_version text collate "C" not null,
    to_version   text collate "C" not null,
    steps        jsonb not null,
    created_by   text not null,
    created_at   timestamptz not null default clock_timestamp(),
    constraint upcasters_key unique nulls not distinct (event_type, from_version, tenant_id),
    -- So no chain of upcasters is a loop.
    constraint upcasters_forward check (annals.version_key(from_version) < annals.version_key(to_version)),
    constraint upcasters_steps check (annals.is_upcast(steps) and annals.is_readable(steps))
);
comment on table annals.upcasters is 'How data of an old version of an event type become data of a later version. Added, never changed.';
comment on column annals.upcasters.tenant_id is 'Tenant that registered it; null: built in. A tenant''s own upcaster takes precedence over the built-in one.';
comment on column annals.upcasters.event_type is 'The type, as in annals.event_types.';
comment on column annals.upcasters.from_version is 'Version that it upcasts from.';
comment on column annals.upcasters.to_version is 'Version that it upcasts to, a later one.';
comment on column annals.upcasters.steps is 'Steps in order, each one of {"rename": {field: field}}, {"default": {field: value where there is none}}, {"map": {"from": field, "to": field, "values": {text: value}, "otherwise": value}}, {"split": {field: separator}}, {"set": {field: value}}, {"remove": [field]}. A field is a name, or a JSON pointer where it begins with a slash. Empty: data stay as they are.';
comment on column annals.upcasters.created_by is 'Actor that registered it; system: a migration.';
comment on column annals.upcasters.created_at is 'When it was registered.';
create trigger upcasters_revision after insert or update or delete on annals.upcasters
    for each statement execute function annals.raise_catalog_revision();
select annals.make_append_only('annals.upcasters', 'update', 'delete', 'truncate');

create table annals.fold_versions (
    tenant_id       uuid,
    fold_version    bigint not null,
    rebuilt_version bigint not null default 0,
    aggregate_type  text collate "C" not null,
    constraint fold_versions_key unique nulls not distinct (aggregate_type, tenant_id),
    constraint fold_versions_rebuilt check (rebuilt_version between 0 and fold_version)
);
comment on table annals.fold_versions is
    'Fold versions: how many times registrations have changed the state that stored events of an aggregate type fold to. No row: never.';
comment on column annals.fold_versions.tenant_id is 'Tenant whose registrations are counted; null: built-in ones, for every tenant.';
comment on column annals.fold_versions.fold_version is 'The number of such changes.';
comment on column annals.fold_versions.rebuilt_version is 'Value of fold_version that read models have been rebuilt for. If it is lower than fold_version, they must be rebuilt.';
comment on column annals.fold_versions.aggregate_type is 'Aggregate type.';

create function annals.raise_fold_version(tenant uuid, aggregate_type text) returns void language sql set search_path = pg_catalog, pg_temp as $$
    insert into annals.fold_versions as s (tenant_id, aggregate_type, fold_version) values (tenant, raise_fold_version.aggregate_type, 1)
    on conflict on constraint fold_versions_key do update set fold_version = s.fold_version + 1
$$;
comment on function annals.raise_fold_version(uuid, text) is 'Raises the fold version: stored events of these aggregates fold to another state from now on.';

create function annals.fold_version_of(tenant uuid, aggregate_type text) returns bigint language sql stable set search_path = pg_catalog, pg_temp as $$
    select coalesce(sum(s.fold_version), 0)::bigint from annals.fold_versions s
     where s.aggregate_type = fold_version_of.aggregate_type and (s.tenant_id is null or s.tenant_id = tenant)
$$;
comment on function annals.fold_version_of(uuid, text) is
    'The current fold version of a tenant''s aggregates of a type: changes of built-in event types and of the tenant''s own added. It only rises.';

create function annals.needs_rebuild(tenant uuid, aggregate_type text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from annals.fold_versions s
                    where s.aggregate_type = needs_rebuild.aggregate_type and (s.tenant_id is null or s.tenant_id = tenant)
                      and s.rebuilt_version < s.fold_version);
end
$$;
comment on function annals.needs_rebuild(uuid, text) is
    'Whether read models of a tenant''s aggregates must be rebuilt, because they may hold states of an older fold version.';
grant execute on function annals.fold_version_of(uuid, text), annals.needs_rebuild(uuid, text) to authenticated, annals_projector;

create function annals.refuse_broken_chain(tenant uuid, event_type text, current_version text) returns void
language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    stranded text;
begin
    with recursive versions as (
        select distinct v.version from annals.event_type_versions v
         where v.event_type = refuse_broken_chain.event_type and (v.tenant_id is null or v.tenant_id = tenant)
    ), hops as (
        select distinct on (u.from_version) u.from_version, u.to_version from annals.upcasters u
         where u.event_type = refuse_broken_chain.event_type and (u.tenant_id is null or u.tenant_id = tenant)
         order by u.from_version, u.tenant_id nulls last
    ), arriving (version) as (
        select refuse_broken_chain.current_version
        union
        select h.from_version from arriving a join hops h on h.to_version = a.version
    )
    select string_agg(v.version, ', ' order by annals.version_key(v.version)) into stranded
      from versions v
     where v.version not in (select a.version from arriving a);
    if stranded is not null then
        perform annals.refuse(422, 'upcaster_hole', format('no upcasters lead from version %s of %s to version %s: add them', stranded, event_type, current_version));
    end if;
end
$$;
comment on function annals.refuse_broken_chain(uuid, text, text) is
    'Refuses unless upcasters lead from every version to this one. A tenant''s own upcasters take precedence over built-in ones.';

-- For migrations: later versions, upcasters and inverses of built-in types.

create function annals.declare_version(
    event_type text, version text, schema jsonb, example jsonb, steps jsonb
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    kind record;
begin
    select t.aggregate_type, t.current_version, t.effect into strict kind
      from annals.event_types t where t.event_type = declare_version.event_type and t.tenant_id is null;
    insert into annals.event_type_versions (event_type, version, schema, example, created_by)
    values (declare_version.event_type, declare_version.version, annals.closed_schema(kind.effect, schema), declare_version.example, 'system');
    insert into annals.upcasters (event_type, from_version, to_version, steps, created_by)
    values (declare_version.event_type, kind.current_version, declare_version.version, declare_version.steps, 'system');
    update annals.event_types t set current_version = declare_version.version
     where t.event_type = declare_version.event_type and t.tenant_id is null;
    if steps <> '[]' and exists (select from annals.heads h where h.aggregate_type = kind.aggregate_type) then
        perform annals.raise_fold_version(null, kind.aggregate_type);
    end if;
end
$$;
comment on function annals.declare_version(text, text, jsonb, jsonb, jsonb) is
    'Declares the next version of a built-in event type, with the steps that upcast data of the version before.';

create function annals.declare_inverse(event_type text, inverse jsonb) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    update annals.event_types t set inverse = declare_inverse.inverse
     where t.event_type = declare_inverse.event_type and t.tenant_id is null;
    if not found or not exists (
        select from annals.event_types t where t.event_type = declare_inverse.inverse ->> 'event_type' and t.tenant_id is null
    ) then
        raise exception 'no such built-in event type: % or %', event_type, inverse ->> 'event_type' using errcode = 'no_data_found';
    end if;
end
$$;
comment on function annals.declare_inverse(text, jsonb) is
    'Declares how events of a built-in type are compensated, as described at annals.event_types.inverse.';

-- Only annals_api may execute it, with the claims of a token that it has verified, as a transaction of one statement. There are two
-- reasons. Whether a schema is allowed is checked only in Rust (functions/post-event/src/types). And the row of catalog_revision stays
-- locked until the transaction ends: a transaction that a client leaves open would stop the registrations and rebuilds of all tenants.
--
-- If requires or starter_sees is not given, the value of the version before stays; requires => 'nothing' removes the requirement.
create function annals.register_event_type(
    claims jsonb, event_type text, aggregate_type text, version text, description text, effect jsonb, posters text[], schema jsonb, example jsonb,
    inverse jsonb default null, upcasters jsonb default '[]', based_on text default null, requires text default null,
    starter_sees boolean default null
) returns void language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    role   text;
    tenant uuid;
    actor  text;
    known  record;
begin
    select c.role, c.tenant, c.actor into role, tenant, actor from annals.caller_of(claims) c;
    if role <> 'staff' then
        perform annals.refuse(403, 'staff_only', 'only staff may register event types');
    end if;
    -- The whole aggregate type is reserved: another event type of it could still add events to these streams.
    if exists (select from annals.event_types t where t.aggregate_type = register_event_type.aggregate_type and t.appended_by is not null) then
        perform annals.refuse(422, 'reserved_type', format('only Annals itself appends events of aggregate type %s; register the event type for another aggregate type', aggregate_type));
    end if;
    -- One registration at a time, because the checks below read all versions of the type.
    perform from annals.catalog_revision for update;
    select t.aggregate_type, t.current_version, t.effect, t.requires, t.starter_sees into known
      from annals.event_types t
     where t.event_type = register_event_type.event_type and (t.tenant_id = tenant or t.tenant_id is null)
     order by t.tenant_id nulls last
     limit 1;
    if known.aggregate_type <> register_event_type.aggregate_type then
        perform annals.refuse(422, 'aggregate_type_mismatch', format('%s belongs to aggregate type %s: register it with that aggregate_type', event_type, known.aggregate_type));
    elsif known.effect <> register_event_type.effect then
        -- With another effect, stored events would fold to another state than the one that is projected.
        perform annals.refuse(422, 'effect_changed', format('the effect of %s cannot change: register another event type', event_type));
    elsif exists (
        select from annals.event_type_versions v
         where v.event_type = register_event_type.event_type and v.version = register_event_type.version
           and (v.tenant_id is null or v.tenant_id = tenant)
    ) then
        perform annals.refuse(409, 'version_exists', format('%s already has a version %s: register a higher one', event_type, version));
    elsif known.current_version <> based_on then
        perform annals.refuse(409, 'version_conflict', format('%s is at version %s, no longer at %s: somebody else registered a version; read the type and try again', event_type, known.current_version, based_on));
    elsif annals.version_key(version) <= annals.version_key(known.current_version) then
        perform annals.refuse(422, 'version_not_newer', format('%s is already at version %s: register a higher one', event_type, known.current_version));
    end if;
    insert into annals.event_types as t (
        tenant_id, event_type, aggregate_type, current_version, description, effect, posters, inverse, requires, starter_sees, created_by)
    values (tenant, register_event_type.event_type, register_event_type.aggregate_type, register_event_type.version,
            register_event_type.description, register_event_type.effect, register_event_type.posters, register_event_type.inverse,
            nullif(coalesce(register_event_type.requires, known.requires), 'nothing'),
            coalesce(register_event_type.starter_sees, known.starter_sees, false), actor)
    on conflict on constraint event_types_key do update
        set current_version = excluded.current_version, description = excluded.description, effect = excluded.effect,
            posters = excluded.posters, inverse = excluded.inverse, requires = excluded.requires, starter_sees = excluded.starter_sees,
            created_by = excluded.created_by;
    insert into annals.event_type_versions (tenant_id, event_type, version, schema, example, created_by)
    values (tenant, register_event_type.event_type, register_event_type.version, register_event_type.schema, register_event_type.example, actor);
    perform annals.register_upcasters(tenant, actor, event_type, upcasters, known.current_version, version);
    if inverse is not null and not exists (
        select from annals.event_types t
         where t.event_type = register_event_type.inverse ->> 'event_type' and (t.tenant_id = tenant or t.tenant_id is null)
           and t.aggregate_type = register_event_type.aggregate_type
    ) then
        perform annals.refuse(422, 'unknown_inverse', format('the inverse names %s, which is not an event type of the same aggregate type: register it first', inverse ->> 'event_type'));
    end if;
end
$$;
comment on function annals.register_event_type(jsonb, text, text, text, text, jsonb, text[], jsonb, jsonb, jsonb, jsonb, text, text, boolean) is
    'Registers a type, or a newer version of one, for the tenant of the staff member that the claims name. Other tenants are not affected. based_on: the version that the caller believes to be the current one; null: not checked. requires: new, existing or nothing.';
grant execute on function annals.register_event_type(jsonb, text, text, text, text, jsonb, text[], jsonb, jsonb, jsonb, jsonb, text, text, boolean) to annals_api;

create function annals.register_upcasters(
    tenant uuid, actor text, event_type text, upcasters jsonb, previous_version text, version text
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    added record;
begin
    for added in
        select u ->> 'from_version' as from_version, u ->> 'to_version' as to_version, u -> 'steps' as steps
          from jsonb_array_elements(upcasters) as u
    loop
        if not exists (select from annals.event_type_versions v
                        where v.event_type = register_upcasters.event_type and v.version = added.from_version
                          and (v.tenant_id is null or v.tenant_id = tenant)) then
            perform annals.refuse(422, 'unknown_version', format('an upcaster starts from version %s, which %s does not have', added.from_version, event_type));
        elsif not exists (select from annals.event_type_versions v
                           where v.event_type = register_upcasters.event_type and v.version = added.to_version
                             and (v.tenant_id is null or v.tenant_id = tenant)) then
            perform annals.refuse(422, 'unknown_version', format('an upcaster leads to version %s, which %s does not have', added.to_version, event_type));
        elsif annals.version_key(added.from_version) >= annals.version_key(added.to_version) then
            perform annals.refuse(422, 'upcaster_loop', format('an upcaster must lead to a later version, and %s is not later than %s', added.to_version, added.from_version));
        elsif exists (select from annals.upcasters u where u.event_type = register_upcasters.event_type
                                                       and u.from_version = added.from_version and u.tenant_id = tenant) then
            perform annals.refuse(409, 'upcaster_exists', format('%s already has an upcaster from version %s', event_type, added.from_version));
        end if;
        insert into annals.upcasters (tenant_id, event_type, from_version, to_version, steps, created_by)
        values (tenant, register_upcasters.event_type, added.from_version, added.to_version, added.steps, actor);
    end loop;
    -- If no upcaster leads from the previous version and the major number is the same, data of the previous version are read unchanged.
    if split_part(previous_version, '.', 1) = split_part(version, '.', 1) then
        insert into annals.upcasters (tenant_id, event_type, from_version, to_version, steps, created_by)
        select tenant, register_upcasters.event_type, previous_version, register_upcasters.version, '[]', actor
         where not exists (select from annals.upcasters u
                            where u.event_type = register_upcasters.event_type and u.from_version = previous_version
                              and (u.tenant_id is null or u.tenant_id = tenant));
    end if;
    perform annals.refuse_broken_chain(tenant, event_type, version);
    if exists (select from jsonb_array_elements(upcasters) as u where u -> 'steps' <> '[]') then
        perform annals.raise_fold_version(tenant, split_part(event_type, '.', 1));
    end if;
end
$$;
comment on function annals.register_upcasters(uuid, text, text, jsonb, text, text) is
    'Adds the upcasters of a new version. Refuses unless upcasters then lead from every version to it.';

alter table annals.upcasters enable row level security;
alter table annals.fold_versions enable row level security;
create policy upcasters_read on annals.upcasters for select to authenticated
    using (tenant_id is null or tenant_id = (select annals.caller_tenant()));
create policy upcasters_project on annals.upcasters for select to annals_projector using (true);
create policy fold_versions_read on annals.fold_versions for select to authenticated
    using (tenant_id is null or tenant_id = (select annals.caller_tenant()));
create policy fold_versions_project on annals.fold_versions for all to annals_projector using (true) with check (true);
grant select on annals.upcasters, annals.fold_versions to authenticated, annals_projector;
grant update (rebuilt_version) on annals.fold_versions to annals_projector;

revoke execute on all functions in schema annals from public;
