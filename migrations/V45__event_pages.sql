-- Pages of events: one function for each filter that has an index, and one for a stream's history.
--
-- PL/pgSQL keeps the plans of its statements for as long as a connection lives; planning a page takes longer than reading it. A kept plan
-- must be right whatever it finds: it may have been made while the log was empty, and statistics may be missing. Therefore each statement
-- fits one index and leaves the planner no choice. It compares the index's columns after the tenant as one row and orders by all of them,
-- which no other index can answer without a sort, and sorts are off. Further filters are checked row by row.

create type annals.listed_event as (
    id                uuid,
    event_number      bigint,
    tenant_id         uuid,
    event_type        text,
    aggregate_type    text,
    aggregate_id      text,
    aggregate_version int,
    version           text,
    data              text,
    metadata          text,
    recorded          text,
    created_by        text,
    user_id           uuid,
    source            text,
    "timestamp"       timestamptz,
    created_at        timestamptz,
    correlation_id    text,
    command_id        text,
    causation_id      uuid,
    idempotency_key   text,
    processed         boolean,
    actor_name        text,
    is_parked         boolean,
    skipped           boolean,
    skipped_before    int,
    sees_state        boolean,
    running_bytes     bigint,
    catalog_revision  bigint
);
comment on type annals.listed_event is 'An event as lists return it: the columns of annals.events, with JSON as text, and what the log does not have.';
comment on column annals.listed_event.processed is 'Whether read models contain it.';
comment on column annals.listed_event.actor_name is 'Name of the user who acted, if read models have one.';
comment on column annals.listed_event.is_parked is 'In lists of unprocessed events: whether its stream is parked.';
comment on column annals.listed_event.skipped is 'In histories: whether staff left it out of the state.';
comment on column annals.listed_event.skipped_before is 'In histories: how many events before the page staff left out of the state.';
comment on column annals.listed_event.sees_state is 'In histories: whether the caller sees the state of the stream.';
comment on column annals.listed_event.running_bytes is 'JSON text of the page up to and with this event, in bytes.';
comment on column annals.listed_event.catalog_revision is 'Revision of the catalog to upcast it by.';

create type annals.page_context as (
    tenant         uuid,
    actor          text,
    person         uuid,
    sees_tenant    boolean,
    has_users      boolean,
    revision       bigint,
    position       bigint,
    swept          bigint,
    parked         text[],
    marks_parked   boolean,
    skipped        int[],
    skipped_before int,
    projected      int,
    sees_state     boolean,
    above          bigint,
    above_swept    bigint,
    below          bigint
);
comment on type annals.page_context is 'What a page of events needs to know before it is read.';
comment on column annals.page_context.tenant is 'Tenant of the caller.';
comment on column annals.page_context.actor is 'Actor of the caller; null if the caller sees the tenant.';
comment on column annals.page_context.person is 'The person behind the caller; null if there is none, or if the caller sees the tenant.';
comment on column annals.page_context.sees_tenant is 'Whether the caller reads the whole tenant.';
comment on column annals.page_context.has_users is 'Whether there are users, whose names are shown beside their events.';
comment on column annals.page_context.revision is 'Revision of the catalog.';
comment on column annals.page_context.position is 'Position of the sweep.';
comment on column annals.page_context.swept is 'Every event with this number or a lower one is projected, unless its stream is parked; -1: not known.';
comment on column annals.page_context.parked is 'Ids of parked streams, at most 101.';
comment on column annals.page_context.marks_parked is 'Whether events of parked streams are marked.';
comment on column annals.page_context.skipped is 'For a history: versions that staff left out of the state.';
comment on column annals.page_context.skipped_before is 'For a history: how many of them are before the page.';
comment on column annals.page_context.projected is 'For a history: up to which version the stream is projected.';
comment on column annals.page_context.sees_state is 'For a history: whether the caller sees the state of the stream.';
comment on column annals.page_context.above is 'Events of the page have higher numbers.';
comment on column annals.page_context.above_swept is 'Events of the page that are beyond the position of the sweep have higher numbers.';
comment on column annals.page_context.below is 'Events of the page have lower numbers.';

create function annals.page_context(
    is_newest boolean, from_time timestamptz, to_time timestamptz, after bigint, up_to bigint, is_unprocessed boolean
)
returns annals.page_context
language plpgsql stable set search_path = pg_catalog, pg_temp set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    most_examined constant int := 20000;
    page          annals.page_context;
    noted         bigint;
    beyond        record;
begin
    page.tenant := annals.caller_tenant();
    page.sees_tenant := annals.caller_sees_tenant();
    page.above := case when is_newest then -1 else coalesce(after, -1) end;
    page.below := coalesce(least(least(up_to, 9223372036854775806) + 1, case when is_newest then after end), 9223372036854775807);
    select r.revision, c.position,
           exists (select from annals.entities n where n.tenant_id = page.tenant and n.aggregate_type = 'user'),
           array(select p.aggregate_id from annals.parked_streams p where p.tenant_id = page.tenant limit 101)
      into page.revision, page.position, page.has_users, page.parked
      from annals.catalog_revision r
     cross join annals.checkpoints c
     where r.only_row and c.name = 'sweep';
    page.above_swept := greatest(page.above, page.position);
    -- Only callers who see the tenant see which streams are parked. For others the head of each event is read, and so it is if very many
    -- streams are parked.
    page.swept := case when page.sees_tenant and cardinality(page.parked) <= 100 then page.position else -1 end;
    page.marks_parked := is_unprocessed and page.parked <> '{}';
    page.skipped := '{}';
    if not page.sees_tenant then
        page.actor := annals.caller_actor();
        page.person := annals.caller_user_id();
        return page;
    end if;
    if from_time is null and to_time is null then
        return page;
    end if;

    -- The numbers of the time range, from annals.event_minutes. The first is that of the first recorded minute at from_time or later, or the
    -- one after the recorded position. The last is known only if a minute after to_time is recorded, because otherwise more events may still
    -- come before to_time. Events after the recorded position are examined, up to a limit.
    noted := (select n.position from annals.noted_events n where n.only_row);
    if from_time is not null then
        page.above := greatest(page.above, coalesce(
            (select m.first_number from annals.event_minutes m
              where m.tenant_id = page.tenant and m.minute >= date_trunc('minute', from_time, 'UTC') order by m.minute limit 1), noted + 1) - 1);
    end if;
    if exists (select from annals.event_minutes m where m.tenant_id = page.tenant and m.minute > to_time) then
        select count(*) as events, max(e.event_number) filter (where e.created_at < to_time) as last_number into beyond
          from (select e.event_number, e.created_at from annals.events e
                 where e.tenant_id = page.tenant and e.event_number > noted order by e.event_number limit most_examined) as e;
        if beyond.events < most_examined then
            page.below := least(page.below, 1 + coalesce(greatest(beyond.last_number,
                (select m.last_number from annals.event_minutes m
                  where m.tenant_id = page.tenant and m.minute <= to_time order by m.minute desc limit 1)), 0));
        end if;
    end if;
    return page;
end
$$;
comment on function annals.page_context(boolean, timestamptz, timestamptz, bigint, bigint, boolean) is
    'For pages of events: reads what a page needs to know. Numbers are not narrowed to the time range for callers who do not see the tenant, because they must not learn in which minutes others were active.';
grant execute on function annals.page_context(boolean, timestamptz, timestamptz, bigint, bigint, boolean) to authenticated;

-- An entity's id may belong to streams of several aggregate types. Numbers rise within a stream, so the versions of a range of numbers are
-- found by binary search, and a page costs the same wherever it is in a long stream. That needs a caller who sees every version.
create function annals.version_at_number(tenant uuid, stream_type text, stream_id text, number bigint) returns int
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off as $$
declare
    low  int := 0;
    high int := (select h.version from annals.heads h where h.tenant_id = tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id);
    half int;
begin
    -- Versions up to low have this number or a lower one, versions after high have higher numbers.
    while low < high loop
        half := low + (high - low + 1) / 2;
        if (select e.event_number from annals.events e
             where e.tenant_id = tenant and e.aggregate_id = stream_id and e.aggregate_type = stream_type and e.aggregate_version = half) <= number then
            low := half;
        else
            high := half - 1;
        end if;
    end loop;
    return low;
end
$$;
comment on function annals.version_at_number(uuid, text, text, bigint) is
    'The last version of a stream whose event has this number or a lower one; 0 if there is none. For callers who see every event of the stream.';

create function annals.streams_of_id(page annals.page_context, stream_id text, only_type text)
returns table (stream_type text, above int, below int)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_sort = off as $$
begin
    stream_type := '';
    loop
        stream_type := (
            select e.aggregate_type from annals.events e
             where e.tenant_id = page.tenant and e.aggregate_id = streams_of_id.stream_id and e.aggregate_type > streams_of_id.stream_type
             order by e.tenant_id, e.aggregate_id, e.aggregate_type limit 1);
        exit when stream_type is null;
        continue when stream_type <> only_type;
        above := 0;
        below := 2147483647;
        if annals.sees_state(stream_type, stream_id) then
            above := case when page.above > 0 then annals.version_at_number(page.tenant, stream_type, stream_id, page.above) else 0 end;
            if page.below < 9223372036854775807 then
                below := annals.version_at_number(page.tenant, stream_type, stream_id, page.below - 1) + 1;
            end if;
        end if;
        return next;
    end loop;
end
$$;
comment on function annals.streams_of_id(annals.page_context, text, text) is
    'The streams with this id in which the caller sees events, each with the versions between which the page''s numbers are.';
grant execute on function annals.version_at_number(uuid, text, text, bigint), annals.streams_of_id(annals.page_context, text, text) to authenticated;

-- What few pages need is in functions: otherwise its tables and their policies would be part of the plan of every page, and would be prepared
-- each time.

-- With the owner's rights, because the policy of heads would search the event's stream for an event that the caller sees, from the first one
-- on. This event is one if the caller sees it, so the conditions are those of the policy events_read.
create function annals.is_projected(number bigint) returns boolean
language plpgsql stable security definer set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off as $$
declare
    actor  text := annals.caller_actor();
    person uuid := annals.caller_user_id();
begin
    return coalesce((
        select e.aggregate_version <= h.projected_version
          from annals.events e
          join annals.heads h on h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id
         where e.event_number = number and e.tenant_id = annals.caller_tenant()
           and (annals.caller_sees_tenant()
                or e.created_by = actor
                or (e.started_by = actor and e.starter_sees and e.started_by <> e.created_by)
                or (e.user_id = person and e.created_by not like 'user:%'))), false);
end
$$;
comment on function annals.is_projected(bigint) is 'Whether read models contain the event with this number; false also if the caller does not see it.';

create function annals.is_parked(tenant uuid, stream_type text, stream_id text) returns boolean
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return exists (select from annals.parked_streams p
                    where p.tenant_id = tenant and p.aggregate_type = stream_type and p.aggregate_id = stream_id and not p.retrying);
end
$$;
comment on function annals.is_parked(uuid, text, text) is 'Whether the stream is parked and no retry is under way.';

create function annals.withheld_metadata(number bigint, stored jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce((select w.metadata from annals.withheld_context w where w.event_number = number), stored);
end
$$;
comment on function annals.withheld_metadata(bigint, jsonb) is 'Metadata of an event from annals.withheld_context, if they are there and the caller may read them; otherwise the stored ones.';

create function annals.withheld_recorded(number bigint, stored jsonb) returns jsonb
language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return coalesce((select w.recorded from annals.withheld_context w where w.event_number = number), stored);
end
$$;
comment on function annals.withheld_recorded(bigint, jsonb) is 'What the server observed of an event, from annals.withheld_context, if it is there and the caller may read it; otherwise what is stored.';
grant execute on function annals.is_projected(bigint), annals.is_parked(uuid, text, text), annals.withheld_metadata(bigint, jsonb),
    annals.withheld_recorded(bigint, jsonb) to authenticated;

-- Makes a list function from the rows to show: a SELECT of at most row_limit events e between page.above and page.below. It is made in both
-- orders; «order» becomes asc or desc, and «filters» the conditions of all filters. Before it, the statements in statements_before are run;
-- processed_sql says whether read models contain an event. Everything else is the same for all.
create function annals.make_event_list(
    name text, purpose text, rows_sql text, statements_before text default '', more_parameters text default '', processed_sql text default $sql$
                   case when not page.sees_tenant then annals.is_projected(e.event_number)
                        when e.event_number <= page.swept and e.aggregate_id <> all (page.parked) then true
                        else coalesce(e.aggregate_version <= (
                                 select h.projected_version from annals.heads h
                                  where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), false)
                   end$sql$
) returns void language plpgsql set search_path = pg_catalog, pg_temp as $make$
declare
    parameters constant text := $sql$
    is_newest boolean, after bigint, row_limit bigint, max_bytes bigint, up_to bigint default null, from_time timestamptz default null,
    to_time timestamptz default null, event_types text[] default null, stream_type text default null, stream_id text default null,
    person uuid default null, actor text default null, correlation text default null, causation uuid default null,
    command text default null, origin text default null, is_processed boolean default null$sql$;
    filters constant text := $sql$
           and (event_types is null or e.event_type = any (event_types)) and (stream_type is null or e.aggregate_type = stream_type)
           and (stream_id is null or e.aggregate_id = stream_id) and (actor is null or e.created_by = actor)
           and (person is null or e.created_by = 'user:' || person or (e.user_id = person and e.created_by not like 'user:%'))
           and (correlation is null or e.correlation_id = correlation) and (causation is null or e.causation_id = causation)
           and (command is null or e.command_id = command) and (origin is null or e.source = origin)
           and (from_time is null or e.created_at >= from_time) and (to_time is null or e.created_at < to_time)
           and (is_processed is null or is_processed = «processed»)$sql$;
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
    statement := replace(replace(replace(statement, '«rows»', rows_sql), '«filters»', filters), '«processed»', processed_sql);
    execute format($sql$
create function %1$s(%2$s) returns setof annals.listed_event
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $list$
#variable_conflict use_variable
declare
    page annals.page_context := annals.page_context(is_newest, from_time, to_time, after, up_to, is_processed is false);
begin%6$s
    if is_newest then %3$s
    else %4$s
    end if;
end
$list$;
comment on function %1$s is %5$L;
grant execute on function %1$s to authenticated;$sql$,
        name, parameters || more_parameters, replace(statement, '«order»', 'desc'), replace(statement, '«order»', 'asc'), purpose, statements_before);
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

select annals.make_event_list('annals.list_events', 'Events of the tenant.', annals.rows_by(null, null));

-- Each type takes its page from the index, so a rare type among millions of events is found at once.
select annals.make_event_list('annals.list_events_of_types', 'Events of some types.', format($sql$
                select e.* from unnest(event_types) as t (event_type) cross join lateral (%s) as e
                 order by e.event_number «order» limit row_limit$sql$, annals.rows_by('event_type', 't.event_type')));

-- An event type belongs to one aggregate type.
select annals.make_event_list('annals.list_events_of_aggregate_type', 'Events of an aggregate type.', format($sql$
                select e.* from (select distinct t.event_type from annals.event_types t where t.aggregate_type = stream_type) as t
                 cross join lateral (%s) as e
                 order by e.event_number «order» limit row_limit$sql$, annals.rows_by('event_type', 't.event_type')));

select annals.make_event_list('annals.list_events_of_actor', 'Events that an actor caused.', annals.rows_by('created_by', 'actor'));

select annals.make_event_list('annals.list_events_of_person', 'Events that a person caused, or that a service or an agent caused for the person.', format($sql$
                select * from ((%s) union all (%s)) as e
                 order by e.event_number «order» limit row_limit$sql$,
    annals.rows_by('created_by', '''user:'' || person'),
    annals.rows_by('user_id', 'person', 'and e.created_by not like ''user:%'' and e.user_id is not null')));

select annals.make_event_list('annals.list_events_of_correlation', 'Events of a flow.',
                              annals.rows_by('correlation_id', 'correlation', 'and e.correlation_id is not null'));
select annals.make_event_list('annals.list_events_of_causation', 'Events that an event caused.',
                              annals.rows_by('causation_id', 'causation', 'and e.causation_id is not null'));
select annals.make_event_list('annals.list_events_of_command', 'Events that answer a command.', annals.rows_by('command_id', 'command', 'and e.command_id is not null'));
select annals.make_event_list('annals.list_events_of_source', 'Events of a source other than api.', annals.rows_by('source', 'origin', 'and e.source <> ''api'''));

select annals.make_event_list('annals.list_events_of_id', 'Events of the streams with an id.', $sql$
                select e.* from annals.streams_of_id(page, stream_id, stream_type) as s cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (list_events_of_id.stream_id, s.stream_type, s.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (list_events_of_id.stream_id, s.stream_type, s.below)
                       and e.event_number > page.above and e.event_number < page.below «filters»
                     order by e.aggregate_id «order», e.aggregate_type «order», e.aggregate_version «order» limit row_limit) as e
                 order by e.event_number «order» limit row_limit$sql$);

-- The parts are those of the policy, and exclude each other.
select annals.make_event_list('annals.list_events_of_caller', 'What a caller sees who does not see the tenant.', format($sql$
                select * from ((%s) union all (%s) union all (%s)) as e
                 order by e.event_number «order» limit row_limit$sql$,
    annals.rows_by('created_by', 'page.actor'),
    annals.rows_by('started_by', 'page.actor', 'and e.starter_sees and e.started_by <> e.created_by'),
    annals.rows_by('user_id', 'page.person', 'and e.created_by not like ''user:%'' and e.user_id is not null and e.created_by <> page.actor
                       and not (e.started_by = page.actor and e.starter_sees)')));

-- Events that are not projected come after the sweep's checkpoint or belong to parked streams, so the rest of the log is not read, whatever its
-- size.
select annals.make_event_list('annals.list_events_unprocessed', 'Events that are not projected yet, for callers who see the tenant.', format($sql$
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

select annals.make_event_list('annals.find_events', 'Events with these ids, in their order.', $sql$
                select e.* from unnest(ids) as i (id) cross join lateral (
                    select * from annals.events e
                     where e.tenant_id = page.tenant and e.id >= i.id and e.id <= i.id order by e.id limit 1) as e
                 limit row_limit$sql$, more_parameters => ', ids uuid[] default null');

select annals.make_event_list('annals.list_history', 'Events of one stream; after and up_to are versions.', $sql$
                    select * from annals.events e
                     where e.tenant_id = page.tenant
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) > (stream_id, stream_type, page.above)
                       and (e.aggregate_id, e.aggregate_type, e.aggregate_version) < (stream_id, stream_type, page.below) «filters»
                     order by e.aggregate_id «order», e.aggregate_type «order», e.aggregate_version «order» limit row_limit$sql$, $first$
    page.sees_state := annals.sees_state(stream_type, stream_id);
    if page.sees_state then
        page.projected := (select h.projected_version from annals.heads h
                            where h.tenant_id = page.tenant and h.aggregate_type = stream_type and h.aggregate_id = stream_id);
    end if;
    page.skipped := array(select s.aggregate_version from annals.skipped_events s
                           where s.tenant_id = page.tenant and s.aggregate_type = stream_type and s.aggregate_id = stream_id);
    page.skipped_before := (select count(*) from unnest(page.skipped) as s (version) where s.version <= page.above);$first$,
    processed_sql => 'case when page.sees_state then coalesce(e.aggregate_version <= page.projected, false) else annals.is_projected(e.event_number) end');

drop function annals.make_event_list(text, text, text, text, text, text);
drop function annals.rows_by(text, text, text);

revoke execute on all functions in schema annals from public;
