-- measure_lag
with waiting as materialized (
    select e.created_at,
           exists (select from annals.parked_streams p
                    where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id) as parked
      from annals.events e
     cross join lateral (
           select * from annals.heads h
            where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h
     where e.tenant_id = $1 and e.event_number > $2 and e.aggregate_version > h.projected_version
), parked as (
    select coalesce(sum(h.version - h.projected_version), 0)::bigint as events
      from annals.parked_streams p
     cross join lateral (
           select * from annals.heads h
            where h.tenant_id = p.tenant_id and h.aggregate_type = p.aggregate_type and h.aggregate_id = p.aggregate_id offset 0) as h
     where p.tenant_id = $1
), parked_recently as (
    select count(*) as events
      from annals.events e
      join annals.parked_streams p
        on p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id
       and p.aggregate_version <= e.aggregate_version
     where e.tenant_id = $1 and e.event_number <= $2 and e.created_at >= $3
)
select count(*) filter (where not w.parked) as events,
       greatest(coalesce(extract(epoch from $4 - min(w.created_at) filter (where not w.parked)), 0), 0)::bigint as seconds,
       (select events from parked) as parked_events,
       count(*) filter (where w.created_at >= $3) + (select events from parked_recently) as recent
  from waiting w
