-- measure_backlog
with recursive noted as (
    (select c.tenant_id, c.changed_at from annals.kpi_changes c order by c.tenant_id, c.id limit 1)
     union all
    select n.tenant_id, n.changed_at
      from noted f
     cross join lateral (
           select c.tenant_id, c.changed_at from annals.kpi_changes c where c.tenant_id > f.tenant_id order by c.tenant_id, c.id limit 1) as n
), behind as materialized (
    select e.tenant_id, e.aggregate_type, e.aggregate_id, e.aggregate_version, e.created_at
      from annals.events e
     where e.event_number > (select position from annals.checkpoints where name = 'sweep')
     order by e.event_number limit $1
), waiting as (
    select e.created_at
      from behind e
     cross join lateral (
           select h.projected_version from annals.heads h
            where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id offset 0) as h
     where e.aggregate_version > h.projected_version
       and not exists (select from annals.parked_streams p
                        where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id)
)
select count(*) as lag_events,
       greatest(coalesce(extract(epoch from now() - min(created_at)), 0), 0)::bigint as lag_seconds,
       (select count(*) from annals.parked_streams) as parked_streams,
       (select greatest(coalesce(extract(epoch from now() - min(n.changed_at)), 0), 0)::bigint from noted n) as kpi_lag_seconds
  from waiting
