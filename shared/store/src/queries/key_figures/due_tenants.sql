-- list_tenants_with_due_kpis
-- Finds one tenant after the other by the index. The order is random, so that no tenant is always last.
with recursive tenants as (
    (select d.tenant_id from annals.kpi_days d where d.is_due order by d.tenant_id limit 1)
     union all
    select (select d.tenant_id from annals.kpi_days d where d.is_due and d.tenant_id > t.tenant_id order by d.tenant_id limit 1)
      from tenants t where t.tenant_id is not null
)
select t.tenant_id
  from tenants t
 where exists (select from annals.kpi_days d
                where d.tenant_id = t.tenant_id and d.is_due and d.day < (now() at time zone 'UTC' - interval '12 hours')::date)
   and not exists (select from annals.kpi_changes c where c.tenant_id = t.tenant_id)
 order by random()
