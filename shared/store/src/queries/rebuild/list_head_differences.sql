-- list_head_differences
with logged as (
    select e.tenant_id, e.aggregate_type, e.aggregate_id, count(*) as events, min(e.aggregate_version) as first_version,
           max(e.aggregate_version) as last_version, max(e.created_at) as last_created_at,
           min(e.created_by) filter (where e.aggregate_version = 1) as started_by
      from annals.events e
     where ($1::uuid is null or e.tenant_id = $1) and ($2::text is null or e.aggregate_type = $2)
     group by e.tenant_id, e.aggregate_type, e.aggregate_id
), known as (
    select h.* from annals.heads h where ($1::uuid is null or h.tenant_id = $1) and ($2::text is null or h.aggregate_type = $2)
)
select v.table_name, v.column_name, v.found, v.expected,
       jsonb_build_object('tenant_id', coalesce(h.tenant_id, l.tenant_id), 'aggregate_type', coalesce(h.aggregate_type, l.aggregate_type),
                          'aggregate_id', coalesce(h.aggregate_id, l.aggregate_id))::text as key
  from known h
  full join logged l on l.tenant_id = h.tenant_id and l.aggregate_type = h.aggregate_type and l.aggregate_id = h.aggregate_id
 cross join lateral (values
       ('annals.heads', null, h.version::text, l.last_version::text, h.version is null or l.last_version is null),
       ('annals.heads', 'version', h.version::text, l.last_version::text, h.version <> l.last_version),
       ('annals.heads', 'projected_version', h.projected_version::text, l.last_version::text, h.projected_version > l.last_version),
       ('annals.heads', 'last_created_at', h.last_created_at::text, l.last_created_at::text, h.last_created_at <> l.last_created_at),
       ('annals.heads', 'started_by', h.started_by, l.started_by, h.started_by <> l.started_by),
       ('annals.events', 'aggregate_version', l.events::text, l.last_version::text, l.first_version <> 1 or l.events <> l.last_version)
       ) as v (table_name, column_name, found, expected, differs)
 where v.differs
