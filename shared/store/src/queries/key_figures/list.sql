-- list_kpis
-- Returns at least one row, even without figures, because it carries the number of pending changes.
with days as materialized (
    select d.*, date_trunc($4, d.day::timestamp)::date as period
      from annals.kpi_days d
     where d.tenant_id = $1 and d.day >= $2 and d.day < $3 and (d.sales_count > 0 or d.expenses_count > 0)
), lines as materialized (
    select d.period, d.currency, sum(d.revenue_cents) as revenue_cents, sum(d.refunds_cents) as refunds_cents,
           sum(d.revenue_cents - d.refunds_cents) as net_cents, sum(d.sales_count) as sales_count,
           sum(d.expenses_cents) as expenses_cents, sum(d.expenses_count) as expenses_count,
           -- A customer is new once, so new customers can be added up. The sum of active customers is right for a single day only.
           sum(d.new_customers) as new_customers, sum(d.active_customers) as active_on_days
      from days d
     group by grouping sets ((d.period, d.currency), (d.currency))
), page as materialized (
    (select l.* from lines l
      where l.period is not null and ($5::date is null or (l.period, l.currency) > ($5::date, $6::text collate "C"))
      order by l.period, l.currency limit $7)
     union all
    select l.* from lines l where l.period is null
), active as (
    -- A repeat customer who already bought earlier in the period, or in its requested part, is counted there, not again.
    select p.period, k.currency, sum(k.customers) as customers
      from annals.kpi_repeat_customers k
     cross join lateral (select date_trunc($4, k.day::timestamp)::date where $4 <> 'day' union all select null) as p (period)
     where k.tenant_id = $1 and k.day >= $2 and k.day < $3 and k.previous_day < coalesce(greatest(p.period, $2), $2)
     group by p.period, k.currency
), categories as (
    select c.period, c.currency, array_agg(c.name order by c.place) as names, array_agg(c.cents::text order by c.place) as cents,
           sum(c.cents) as sum_cents
      from (select p.period, n.currency, n.name, sum(n.positive_cents - n.negative_cents) as cents,
                   row_number() over (partition by p.period, n.currency order by sum(n.positive_cents - n.negative_cents) desc, n.name) as place
              from annals.kpi_names n
             cross join lateral (values (date_trunc($4, n.period::timestamp)::date), (null)) as p (period)
             where n.tenant_id = $1 and n.kind = 'category' and n.span = 'day' and n.period >= $2 and n.period < $3 and n.entries > 0
               and n.currency in (select g.currency from page g where g.expenses_count > 0)
             group by p.period, n.currency, n.name) as c
     where c.place <= $8
     group by c.period, c.currency
)
select w.changes as changes_pending, w.is_exact, g.period, g.currency, g.revenue_cents::text, g.refunds_cents::text, g.net_cents::text, g.sales_count::text,
       round(g.net_cents / nullif(g.sales_count, 0))::text as average_sale_cents, g.expenses_cents::text, g.expenses_count::text,
       (g.net_cents - g.expenses_cents)::text as profit_cents, g.new_customers::text,
       coalesce(case when $4 = 'day' and g.period is not null then g.active_on_days else a.customers end, 0)::text as active_customers,
       coalesce(e.names, '{}') as categories, coalesce(e.cents, '{}') as category_cents,
       (g.expenses_cents - coalesce(e.sum_cents, 0))::text as other_cents
  from annals.changes_pending($1, 10000) as w
  left join page g on true
  left join active a on a.currency = g.currency and coalesce(a.period, '-infinity') = coalesce(g.period, '-infinity')
  left join categories e on e.currency = g.currency and coalesce(e.period, '-infinity') = coalesce(g.period, '-infinity')
 order by g.period, g.currency
