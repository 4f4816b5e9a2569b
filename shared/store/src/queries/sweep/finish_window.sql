-- finish_sweep_window
with counted as (
    select tenant_id, event_type, date_trunc('minute', created_at, 'UTC') as minute, count(*) as events
      from annals.events where event_number > $1 and event_number <= $2 group by tenant_id, event_type, minute
), moved as (
    update annals.checkpoints
       set position = $2, updated_at = clock_timestamp(), event_count = event_count + (select coalesce(sum(events), 0) from counted)
     where name = 'sweep' and position = $1
    returning position
), added as (
    insert into annals.event_counts as c (tenant_id, event_type, events)
    select tenant_id, event_type, sum(events) from counted where exists (select from moved)
     group by tenant_id, event_type order by tenant_id, event_type
    on conflict on constraint event_counts_pkey do update set events = c.events + excluded.events
), timed as (
    insert into annals.event_rates as r (tenant_id, minute, events)
    select tenant_id, minute, sum(events) from counted where exists (select from moved) and minute >= now() - interval '25 hours'
     group by tenant_id, minute order by tenant_id, minute
    on conflict on constraint event_rates_pkey do update set events = r.events + excluded.events
), gone as (
    delete from annals.event_rates where exists (select from moved) and minute < now() - interval '25 hours'
)
select position from moved
