-- read_histories
select * from (
select g.*, octet_length(g.data) as bytes, sum(octet_length(g.data)) over (order by g.place, g.aggregate_version) as running_bytes
  from (
select s.place, s.revision, s.aggregate_version, s.event_type, s.schema_version, s.created_at, s.event_data::text as data, s.started_by, s.skipped
  from (
select u.place, r.revision, e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data as event_data,
       case when e.aggregate_version = 1 then e.created_by end as started_by,
       coalesce(e.aggregate_version = any (k.versions), false) as skipped,
       pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end as guess,
       sum(pg_column_size(e.data) * case when pg_column_compression(e.data) is null then 1 else 16 end) over (order by u.place, e.aggregate_version) as running_guess
  from unnest($1::uuid[], $2::text[], $3::text[], $4::int[], $5::int[]) with ordinality
       as u (tenant_id, aggregate_type, aggregate_id, after, upto, place)
 cross join lateral (
       select array_agg(s.aggregate_version) as versions from annals.skipped_events s
        where s.tenant_id = u.tenant_id and s.aggregate_type = u.aggregate_type and s.aggregate_id = u.aggregate_id offset 0) as k
 cross join lateral (
       select * from annals.events e
        where e.tenant_id = u.tenant_id and e.aggregate_type = u.aggregate_type and e.aggregate_id = u.aggregate_id
          and e.aggregate_version > u.after and e.aggregate_version <= u.upto offset 0) as e
 cross join annals.catalog_revision r
) as s where s.running_guess - s.guess < $6 offset 0) as g) as w
 where running_bytes - bytes < $6
 order by place, aggregate_version
