-- list_top_customers
-- Like top products. But there are a hundred times as many customers: they are ranked by one sum, and only the top ones get the others.
with ranked as materialized (
    select s.name, sum(s.net_cents) as net_cents
      from (select n.name, n.positive_cents - n.negative_cents as net_cents from annals.kpi_names n
             where n.tenant_id = $1 and n.kind = 'customer' and n.currency = $2 and n.span = 'day' and n.period >= $3 and n.period < $4
             union all
            select n.name, n.positive_cents - n.negative_cents from annals.kpi_names n
             where n.tenant_id = $1 and n.kind = 'customer' and n.currency = $2 and n.span = 'month' and n.period >= $4 and n.period < $5
             union all
            select n.name, n.positive_cents - n.negative_cents from annals.kpi_names n
             where n.tenant_id = $1 and n.kind = 'customer' and n.currency = $2 and n.span = 'year' and n.period >= $5 and n.period < $6
             union all
            select n.name, n.positive_cents - n.negative_cents from annals.kpi_names n
             where n.tenant_id = $1 and n.kind = 'customer' and n.currency = $2 and n.span = 'month' and n.period >= $6 and n.period < $7
             union all
            select n.name, n.positive_cents - n.negative_cents from annals.kpi_names n
             where n.tenant_id = $1 and n.kind = 'customer' and n.currency = $2 and n.span = 'day' and n.period >= $7 and n.period < $8) as s
     group by s.name
     order by net_cents desc, s.name
     limit $9
)
select r.name, $2::text as currency, d.revenue_cents::text, d.refunds_cents::text, r.net_cents::text as net_cents, d.sales_count::text
  from ranked r
 cross join lateral (
       select sum(n.positive_cents) as revenue_cents, sum(n.negative_cents) as refunds_cents, sum(n.entries) as sales_count
         from annals.kpi_names n
        where n.tenant_id = $1 and n.kind = 'customer' and n.span = 'day' and n.currency = $2 and n.name = r.name and n.period >= $3 and n.period < $8) as d
 order by r.net_cents desc, r.name
