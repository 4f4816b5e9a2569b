-- read_work
select * from (
select u.*, octet_length(u.data) + coalesce(octet_length(u.state), 0) as bytes,
       sum(octet_length(u.data) + coalesce(octet_length(u.state), 0)) over (order by u.guessed_before) as running_bytes
  from (
select t.revision, t.tenant_id, t.aggregate_type, t.aggregate_id, t.projected_version, t.started_by,
       t.entity_version, t.entity_created_at, t.entity_updated_at, t.deleted_at, t.entity_state::text as state,
       t.id, t.event_number, t.aggregate_version, t.event_type, t.schema_version, t.created_at, t.event_data::text as data, t.skipped,
       t.guessed_before, t.guessed_before + t.guess >= $5 or t.stream_guess >= $6 as is_last
  from (
select s.*, sum(s.guess) over (order by (s.tenant_guess - s.guess) / $7, s.tenant_id, s.aggregate_type, s.aggregate_id, s.aggregate_version) - s.guess
           as guessed_before
  from (
select g.*, sum(g.guess) over (partition by g.tenant_id order by g.aggregate_type, g.aggregate_id, g.aggregate_version) as tenant_guess,
       sum(g.guess) over (partition by g.tenant_id, g.aggregate_type, g.aggregate_id order by g.aggregate_version) as stream_guess
  from (
select r.revision, h.tenant_id, h.aggregate_type, h.aggregate_id, h.projected_version, h.started_by,
       n.version as entity_version, n.created_at as entity_created_at, n.updated_at as entity_updated_at, n.deleted_at,
       case when e.aggregate_version = h.projected_version + 1 then n.state end as entity_state,
       e.id, e.event_number, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
       exists (select from annals.skipped_events s
                where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                  and s.aggregate_version = e.aggregate_version) as skipped,
       pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end
       + case when e.aggregate_version = h.projected_version + 1
              then coalesce(pg_column_size(n.state) * case when pg_column_compression(n.state) is null then 1 else 16 end, 0)
              else 0 end as guess
  from unnest($1::uuid[], $2::text[], $3::text[]) as k (tenant_id, aggregate_type, aggregate_id)
  join annals.heads h on h.tenant_id = k.tenant_id and h.aggregate_type = k.aggregate_type and h.aggregate_id = k.aggregate_id
  left join annals.entities n
    on n.tenant_id = h.tenant_id and n.aggregate_type = h.aggregate_type and n.aggregate_id = h.aggregate_id
 cross join lateral (
       select e.* from annals.events e
        where e.tenant_id = h.tenant_id and e.aggregate_type = h.aggregate_type and e.aggregate_id = h.aggregate_id
          and e.aggregate_version > h.projected_version and e.aggregate_version <= h.version
        order by e.aggregate_version limit $4) as e
 cross join annals.catalog_revision r
 where h.projected_version < h.version
   and not exists (select from annals.parked_streams p
                    where p.tenant_id = h.tenant_id and p.aggregate_type = h.aggregate_type and p.aggregate_id = h.aggregate_id
                      and not p.retrying)
) as g) as s where s.stream_guess - s.guess < $6) as t where t.guessed_before < $5 offset 0) as u) as w
 where running_bytes - bytes < $5
 order by tenant_id, aggregate_type, aggregate_id, aggregate_version
