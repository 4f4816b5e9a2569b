-- list_top
select s.name, $3::text as currency, sum(s.positive_cents)::text as revenue_cents, sum(s.negative_cents)::text as refunds_cents,
       sum(s.positive_cents - s.negative_cents)::text as net_cents, sum(s.entries)::text as sales_count
  from (select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = $2 and n.currency = $3 and n.span = 'day' and n.period >= $4 and n.period < least($5, $7)
         union all
        select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = $2 and n.currency = $3 and n.span = 'month' and n.period >= $5 and n.period < $6
         union all
        select n.name, n.positive_cents, n.negative_cents, n.entries from annals.kpi_names n
         where n.tenant_id = $1 and n.kind = $2 and n.currency = $3 and n.span = 'day' and n.period >= $6 and n.period < $7) as s
 group by s.name
having sum(s.entries) > 0
 order by sum(s.positive_cents - s.negative_cents) desc, s.name
 limit $8
