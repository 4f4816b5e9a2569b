-- list_top_products
-- Whole years are read from the yearly sums, whole months beside them from the monthly sums, the remaining days from the daily sums.
select s.name, $2::text as currency, sum(s.positive_cents)::text as revenue_cents, sum(s.negative_cents)::text as refunds_cents,
       (sum(s.positive_cents) - sum(s.negative_cents))::text as net_cents, sum(s.entries)::text as sales_count
  from (select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = 'product' and n.currency = $2 and n.span = 'day' and n.period >= $3 and n.period < $4
         union all
        select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = 'product' and n.currency = $2 and n.span = 'month' and n.period >= $4 and n.period < $5
         union all
        select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = 'product' and n.currency = $2 and n.span = 'year' and n.period >= $5 and n.period < $6
         union all
        select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = 'product' and n.currency = $2 and n.span = 'month' and n.period >= $6 and n.period < $7
         union all
        select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = 'product' and n.currency = $2 and n.span = 'day' and n.period >= $7 and n.period < $8) as s
 group by s.name
having sum(s.entries) > 0
 order by sum(s.positive_cents) - sum(s.negative_cents) desc, s.name
 limit $9
