-- How many changes of sales and expenses the key figures lack: those that are projected and not applied, and those that are not projected.

create function annals.changes_pending(tenant uuid, most int, out changes bigint, out is_exact boolean)
language plpgsql stable set search_path = pg_catalog, pg_temp
set plan_cache_mode = force_generic_plan set enable_seqscan = off set enable_bitmapscan = off set enable_sort = off set jit = off as $$
declare
    swept     constant bigint := (select c.position from annals.checkpoints c where c.name = 'sweep');
    applied   bigint;
    projected bigint;
    events    bigint;
    parked    bigint;
begin
    applied := (select count(*) from (select from annals.kpi_changes c where c.tenant_id = tenant limit most + 1) as c);
    -- Events after the sweep's position may be projected by a wake-up; their heads say so.
    select count(*), count(*) filter (where e.is_left) into events, projected
      from (select e.aggregate_type in ('sale', 'expense')
                   and e.aggregate_version > coalesce((
                       select h.projected_version from annals.heads h
                        where h.tenant_id = e.tenant_id and h.aggregate_type = e.aggregate_type and h.aggregate_id = e.aggregate_id), 0)
                   and not exists (
                       select from annals.parked_streams p
                        where p.tenant_id = e.tenant_id and p.aggregate_type = e.aggregate_type and p.aggregate_id = e.aggregate_id) as is_left
              from annals.events e
             where e.tenant_id = tenant and e.event_number > swept
             order by e.event_number limit most + 1) as e;
    parked := (
        select coalesce(sum(h.version - h.projected_version), 0)
          from (select p.aggregate_type, p.aggregate_id from annals.parked_streams p
                 where p.tenant_id = tenant and p.aggregate_type in ('sale', 'expense') limit most + 1) as p
         cross join lateral (
               select h.version, h.projected_version from annals.heads h
                where h.tenant_id = tenant and h.aggregate_type = p.aggregate_type and h.aggregate_id = p.aggregate_id) as h);
    changes := least(applied, most) + projected + parked;
    is_exact := applied <= most and events <= most;
end
$$;
comment on function annals.changes_pending(uuid, int) is
    'How many changes of sales and expenses the key figures lack, for callers who see the tenant. Not exact, but a lower bound, if there are more changes to apply, or more events to examine, than most.';
grant execute on function annals.changes_pending(uuid, int) to authenticated;

revoke execute on all functions in schema annals from public;
