-- list_due_rebuilds
select r.id, r.tenant_id, r.aggregate_type from annals.rebuilds r
 where r.status = 'requested'
    or (r.purpose = 'rebuild' and r.requested_by <> 'system' and r.attempts < 5
        and (r.status = 'abandoned' or (r.status = 'running' and not annals.is_rebuild_held(r.id)))
        and not exists (select from annals.rebuilds l
                         where l.id > r.id and l.purpose = 'rebuild' and l.tenant_id is not distinct from r.tenant_id
                           and l.aggregate_type is not distinct from r.aggregate_type))
 union all
select null, s.tenant_id, s.aggregate_type
  from annals.fold_versions s
  left join lateral (
       select r.* from annals.rebuilds r
        where r.purpose = 'rebuild' and r.tenant_id is not distinct from s.tenant_id and r.aggregate_type = s.aggregate_type
        order by r.id desc limit 1) as l on true
 where s.rebuilt_version < s.fold_version
   and (l.id is null or l.status = 'done'
        or (l.status <> 'requested'
            and (l.catalog_revision <> (select c.revision from annals.catalog_revision c)
                 or coalesce(l.finished_at, l.started_at) + least(interval '1 minute' * power(2, least(l.attempts, 10) - 1), interval '1 hour') < clock_timestamp())))
