-- Which event numbers the events of a minute have. Lists of events are read in the order of event numbers, and their indexes end in them.
-- Without this table, a query for one day would read and discard all events before or after that day. Numbers rise with recorded time, with
-- two exceptions: an append takes its time just before its number, and a clock may be set back. Therefore each minute has two bounds that
-- hold in spite of them: no event recorded in this minute or later has a number below the first, and none recorded in it or earlier has a
-- number above the second.

create table annals.event_minutes (
    tenant_id    uuid not null,
    minute       timestamptz not null,
    first_number bigint not null,
    last_number  bigint not null,
    constraint event_minutes_pkey primary key (tenant_id, minute),
    constraint event_minutes_minute check (minute = date_trunc('minute', minute, 'UTC'))
);
comment on table annals.event_minutes is
    'Minutes in which events of a tenant were recorded, up to the position in annals.noted_events. The sweep fills it in the order of event numbers; no append writes here.';
comment on column annals.event_minutes.tenant_id is 'Tenant.';
comment on column annals.event_minutes.minute is 'Begin of the minute, UTC.';
comment on column annals.event_minutes.first_number is 'No event recorded in this minute or later has a lower number.';
comment on column annals.event_minutes.last_number is 'No event recorded in this minute or earlier has a higher number.';

create table annals.noted_events (
    position bigint not null,
    only_row boolean not null default true,
    constraint noted_events_pkey primary key (only_row),
    constraint noted_events_only_row check (only_row)
);
comment on table annals.noted_events is 'One row: up to which event number annals.event_minutes is filled.';
comment on column annals.noted_events.position is 'Every event with this number or a lower one is included.';
comment on column annals.noted_events.only_row is 'Always true, so there is only one row.';
insert into annals.noted_events (position) values (0);

alter table annals.event_minutes enable row level security;
alter table annals.noted_events enable row level security;
create policy event_minutes_read on annals.event_minutes for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
create policy event_minutes_project on annals.event_minutes for all to annals_projector using (true) with check (true);
create policy noted_events_read on annals.noted_events for select to authenticated using (true);
create policy noted_events_project on annals.noted_events for all to annals_projector using (true) with check (true);
grant select on annals.event_minutes, annals.noted_events to authenticated;
grant select, insert, update on annals.event_minutes to annals_projector;
grant select, update on annals.noted_events to annals_projector;

create function annals.note_minutes(from_number bigint, to_number bigint) returns void language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    -- A concurrent call for the same range waits here, and then finds that the position has moved.
    update annals.noted_events set position = to_number where position = from_number;
    if not found then
        return;
    end if;
    -- The new numbers are higher than all before, so first_number of an existing minute stays. A minute that is new to the table may be
    -- earlier than existing ones, if the clock was set back.
    insert into annals.event_minutes as m (tenant_id, minute, first_number, last_number)
    select n.tenant_id, n.minute,
           least(min(n.first_number) over (partition by n.tenant_id order by n.minute desc),
                 (select l.first_number from annals.event_minutes l
                   where l.tenant_id = n.tenant_id and l.minute > n.minute order by l.minute limit 1)),
           max(n.last_number) over (partition by n.tenant_id order by n.minute)
      from (select e.tenant_id, date_trunc('minute', e.created_at, 'UTC') as minute, min(e.event_number) as first_number, max(e.event_number) as last_number
              from annals.events e where e.event_number > from_number and e.event_number <= to_number
             group by 1, 2) as n
    on conflict on constraint event_minutes_pkey do update set last_number = excluded.last_number;
    -- Existing minutes that are later than one of these: there are some only if the clock was set back.
    update annals.event_minutes l set last_number = n.last_number
      from (select m.tenant_id, m.minute, max(m.last_number) over (partition by m.tenant_id order by m.minute) as last_number
              from (select e.tenant_id, min(date_trunc('minute', e.created_at, 'UTC')) as first_minute
                      from annals.events e where e.event_number > from_number and e.event_number <= to_number
                     group by 1) as w
              join annals.event_minutes m on m.tenant_id = w.tenant_id and m.minute >= w.first_minute) as n
     where l.tenant_id = n.tenant_id and l.minute = n.minute and l.last_number < n.last_number;
end
$$;
comment on function annals.note_minutes(bigint, bigint) is
    'Adds the minutes of the event numbers in (from, to]. Does nothing unless from is the current position.';
grant execute on function annals.note_minutes(bigint, bigint) to annals_projector;

revoke execute on all functions in schema annals from public;
