-- Lists of events by a field of their data: GET /events?data.sku=…. They are those of event_pages, which explains them, with one condition
-- more: the field has one of the wanted values.
--
-- There is one function by the value, which reads the field index, and one for each filter that usually leaves fewer events. Callers who do
-- not see the tenant read what is theirs, and compare each event: reading the index would tell them by its time how many events of others
-- have the value.

-- Makes a list function from the rows to show: a SELECT of at most row_limit events e between page.above and page.below. It is made in both
-- orders; «order» becomes asc or desc, and «filters» the conditions of all filters. Declarations and statements_before stand before it.
create function annals.make_event_list(
    name text, purpose text, rows_sql text, declarations text default '', statements_before text default ''
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $make$
declare
    parameters constant text := $sql$
    is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint default null, from_time timestamptz default null,
    to_time timestamptz default null, event_types text[] default null, stream_type text default null, stream_id text default null,
    person uuid default null, actor text default null, correlation text default null, causation uuid default null,
    command text default null, origin text default null, is_processed boolean default null, field text default null,
    wanted jsonb[] default null$sql$;
    processed constant text := $sql$
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end$sql$;
    filters constant text := $sql$
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and e.data -> field = any (wanted) and (is_processed is null or is_processed = «processed»)$sql$;
    -- Each row's running_bytes are those of the page up to it; `offset 0` makes PostgreSQL convert each value to text only once.
    statement text := $sql$
    return query
    select p.id, p.event_number, p.tenant_id, p.event_type, p.aggregate_type, p.aggregate_id, p.aggregate_version, p.version, p.data, p.metadata,
           p.recorded, p.created_by, p.user_id, p.source, p."timestamp", p.created_at, p.correlation_id, p.command_id, p.causation_id,
           p.idempotency_key, p.processed, p.actor_name, p.is_parked, p.skipped, page.skipped_before, page.sees_state, p.running_bytes, page.revision
      from (
        select t.*, sum(octet_length(t.data) + octet_length(t.metadata) + octet_length(t.recorded)) over (rows unbounded preceding) as running_bytes
          from (
            select e.id, e.event_number, e.tenant_id, e.event_type, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.version, e.data::text,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_metadata(e.event_number, e.metadata)
                        else e.metadata end::text as metadata,
                   case when e.starter_sees and e.started_by <> e.created_by then annals.withheld_recorded(e.event_number, e.recorded)
                        else e.recorded end::text as recorded,
                   e.created_by, e.user_id, e.source, e."timestamp", e.created_at, e.correlation_id, e.command_id, e.causation_id, e.idempotency_key,
                   «processed» as processed,
                   case when page.has_users and e.created_by like 'user:%' then (
                       select left(n.state ->> 'name', 200) from annals.entities n
                        where n.tenant_id = e.tenant_id and n.aggregate_type = 'user' and n.aggregate_id = substr(e.created_by, 6)
                          and jsonb_typeof(n.state -> 'name') = 'string') end as actor_name,
                   page.marks_parked and annals.is_parked(page.tenant, e.aggregate_type, e.aggregate_id) as is_parked,
                   e.aggregate_version = any (page.skipped) as skipped
              from («rows») as e offset 0) as t) as p
     where p.running_bytes - octet_length(p.data) - octet_length(p.metadata) - octet_length(p.recorded) < max_bytes;
$sql$;
begin
    statement := replace(replace(replace(statement, '«rows»', rows_sql), '«filters»', filters), '«processed»', processed);
    execute format($sql$
create function %1$s(%2$s) returns setof annals.listed_event
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $list$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);%7$s
begin%6$s
    if is_newest then %3$s
    else %4$s
    end if;
end
$list$;
comment on function %1$s is %5$L;
grant execute on function %1$s to authenticated;$sql$,
        name, parameters, replace(statement, '«order»', 'desc'), replace(statement, '«order»', 'asc'), purpose, statements_before, declarations);
end
$make$;

-- The rows of one index: tenant_id, this column (if there is one) between two values that are the same, event_number.
create function annals.rows_by(column_name text, value text, condition text default '') returns text
language sql immutable set search_path = pg_catalog, pg_temp as $$
    select replace(replace(format($sql$
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and («column, »e.event_number) > («value, »page.above) and («column, »e.event_number) < («value, »page.below) %s «filters»
                     order by %se.event_number «order» limit row_limit$sql$, condition, 'e.' || column_name || ' «order», '),
           '«column, »', coalesce('e.' || column_name || ', ', '')), '«value, »', coalesce(value || ', ', ''))
$$;

create function annals.refuse_if_behind(page annals.page_context, above bigint) returns void
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    most constant int := 100000;
begin
    if (select count(*) from (
            select from annals.events e
             where e.tenant_id = page.tenant and e.event_number > above and e.event_number < page.below
             order by e.event_number limit most + 1) as e) > most then
        perform annals.refuse(503, 'field_index_behind', format('more than %s events are not in the index of this field yet; sweeps add them: try again in a minute', most));
    end if;
end
$$;
comment on function annals.refuse_if_behind(annals.page_context, bigint) is
    'Refuses a page by the field index for which too many events would be read from the log: those after this number, which the index does not have yet.';
grant execute on function annals.refuse_if_behind(annals.page_context, bigint) to authenticated;

-- The index up to its position, and the log after it. The bounds of numbers are plain comparisons: PostgreSQL begins at a bound that compares
-- rows, and does not stop at one. The log is therefore read by number and not by type.
select annals.make_event_list('annals.list_events_of_field', 'Events of some types by a field that they declare as indexed.', $sql$
                select * from (
                    (select e.* from unnest(ids, belows) as f (id, below) cross join unnest(keys) as k (value) cross join lateral (
                        select e.* from annals.field_values v cross join lateral (
                            select * from annals.events e
                             where e.tenant_id = page.tenant and e.event_number >= v.event_number and e.event_number <= v.event_number «filters»
                             order by e.event_number limit 1) as e
                         where v.tenant_id = page.tenant and v.field_id = f.id and v.value = k.value
                           and v.event_number > page.above and v.event_number < f.below
                         order by v.event_number «order» limit row_limit) as e)
                    union all
                    (select * from annals.events e
                      where e.tenant_id = page.tenant and e.event_number > lowest and e.event_number < page.below
                        and e.event_number > aboves[array_position(kinds, e.event_type)] «filters»
                      order by e.event_number «order» limit row_limit)) as e
                 order by e.event_number «order» limit row_limit$sql$, $declare$
    keys   text[] := array(select distinct annals.field_key(w) from unnest(wanted) as w);
    kinds  text[];
    ids    int[];
    aboves bigint[];
    belows bigint[];
    lowest bigint;$declare$, $first$
    -- A type that does not declare the field, any more or yet, is read from the log.
    select array_agg(t.event_type), array_agg(f.id), array_agg(greatest(page.above, f.position)), array_agg(least(page.below, f.position + 1)),
           min(greatest(page.above, f.position))
      into kinds, ids, aboves, belows, lowest
      from unnest(event_types) as t (event_type)
      left join lateral (
           select d.id, coalesce(d.filled_to, i.position) as position
             from annals.indexed_fields d
             join annals.indexed_events i on i.only_row
            where d.event_type = t.event_type and d.field = list_events_of_field.field and not d.is_dropped
            order by 2 desc limit 1) as f on true;
    perform annals.refuse_if_behind(page, lowest);$first$);

select annals.make_event_list('annals.list_events_of_correlation_by_field', 'Events of a flow, by a field.',
                              annals.rows_by('correlation_id', 'correlation', 'and e.correlation_id is not null'));
select annals.make_event_list('annals.list_events_of_causation_by_field', 'Events that an event caused, by a field.',
                              annals.rows_by('causation_id', 'causation', 'and e.causation_id is not null'));
select annals.make_event_list('annals.list_events_of_command_by_field', 'Events that answer a command, by a field.',
                              annals.rows_by('command_id', 'command', 'and e.command_id is not null'));

select annals.make_event_list('annals.list_events_of_id_by_field', 'Events of the streams with an id, by a field.', $sql$
                select e.* from annals.streams_of_id(page, stream_id, stream_type) as s cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (list_events_of_id_by_field.stream_id, s.stream_type, s.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (list_events_of_id_by_field.stream_id, s.stream_type, s.below)
                       and e.event_number > page.above and e.event_number < page.below «filters»
                     order by e.aggregate_id «order», e.aggregate_type «order», e.aggregate_version «order» limit row_limit) as e
                 order by e.event_number «order» limit row_limit$sql$);

-- The parts are those of the policy, and exclude each other.
select annals.make_event_list('annals.list_events_of_caller_by_field', 'What a caller sees who does not see the tenant, by a field.', format($sql$
                select * from ((%s) union all (%s) union all (%s)) as e
                 order by e.event_number «order» limit row_limit$sql$,
    annals.rows_by('created_by', 'page.actor'),
    annals.rows_by('started_by', 'page.actor', 'and e.starter_sees and e.started_by <> e.created_by'),
    annals.rows_by('user_id', 'page.person', 'and e.created_by not like ''user:%'' and e.user_id is not null and e.created_by <> page.actor
                       and not (e.started_by = page.actor and e.starter_sees)')));

select annals.make_event_list('annals.list_events_unprocessed_by_field', 'Events that are not projected yet, by a field, for callers who see the tenant.', format($sql$
                select * from ((%s) union all (
                    select e.* from annals.parked_streams p cross join lateral (
                        select * from annals.events e
                         where e.tenant_id = page.tenant
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) >= (p.aggregate_id, p.aggregate_type, p.aggregate_version)
                           and (e.aggregate_id, e.aggregate_type, e.aggregate_version) <= (p.aggregate_id, p.aggregate_type, 2147483647)
                           and e.event_number > page.above and e.event_number < page.below and e.event_number <= page.position «filters»
                         order by e.aggregate_id «order», e.aggregate_type «order», e.aggregate_version «order» limit row_limit) as e
                     where p.tenant_id = page.tenant)) as e
                 order by e.event_number «order» limit row_limit$sql$,
    replace(annals.rows_by(null, null), 'page.above', 'page.above_swept')));

drop function annals.make_event_list(text, text, text, text, text);
drop function annals.rows_by(text, text, text);

revoke execute on all functions in schema annals from public;
