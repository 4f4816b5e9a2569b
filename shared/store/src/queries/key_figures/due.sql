-- list_due_kpis
-- A day is over when it is over at UTC-12, the last time zone. Only `kpi.calculated` counts as an announcement, no other event of the stream.
select d.day, d.currency, d.changes, coalesce(h.version, 0) as version, l.data::text as announced, c.id as cause,
       jsonb_build_object(
           'day', d.day, 'currency', d.currency, 'revenue_cents', d.revenue_cents, 'refunds_cents', d.refunds_cents,
           'net_cents', d.revenue_cents - d.refunds_cents, 'sales_count', d.sales_count,
           'average_sale_cents', round((d.revenue_cents - d.refunds_cents) / nullif(d.sales_count, 0)),
           'expenses_cents', d.expenses_cents, 'expenses_count', d.expenses_count,
           'profit_cents', d.revenue_cents - d.refunds_cents - d.expenses_cents,
           'new_customers', d.new_customers, 'active_customers', d.active_customers)::text as figures
  from annals.kpi_days d
  left join annals.heads h on h.tenant_id = d.tenant_id and h.aggregate_type = 'kpi'
                          and h.aggregate_id = d.currency || ':' || to_char(d.day, 'YYYY-MM-DD')
  left join lateral (
       select e.data from annals.events e
        where e.tenant_id = h.tenant_id and e.aggregate_id = h.aggregate_id and e.aggregate_type = 'kpi' and e.event_type = 'kpi.calculated'
        order by e.aggregate_version desc limit 1) as l on true
  left join annals.events c on c.tenant_id = d.tenant_id and c.aggregate_id = d.cause_id and c.aggregate_type = d.cause_type
                           and c.aggregate_version = d.cause_version
 where d.tenant_id = $1 and d.is_due and d.day < (now() at time zone 'UTC' - interval '12 hours')::date
   and (l.data is null or d.due_since <= now() - make_interval(secs => $3))
   and not exists (select from annals.kpi_changes n where n.tenant_id = $1)
 order by d.day, d.currency
 limit $2
