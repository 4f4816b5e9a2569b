//! Key figures computed again in SQL, from the events only and not from anything that is derived from them.

use serde_json::Value;

use crate::world::World;

/// Sales and expenses as their events leave them: the fields of the last `created` with the later `updated` applied. They do not exist if
/// the last `deleted` is later than the last `created`.
const EXISTING: &str = "
create temp table counted as
with history as (
    select e.*, max(e.aggregate_version) filter (where e.event_type like '%.created') over stream as born,
           max(e.aggregate_version) filter (where e.event_type like '%.deleted') over stream as died
      from annals.events e where e.event_type in ('sale.created', 'sale.updated', 'sale.deleted', 'expense.created', 'expense.updated', 'expense.deleted')
       and not exists (select from annals.skipped_events s where s.tenant_id = e.tenant_id and s.event_id = e.id)
    window stream as (partition by e.tenant_id, e.aggregate_type, e.aggregate_id)
), fields as (
    select distinct on (h.tenant_id, h.aggregate_type, h.aggregate_id, f.key) h.tenant_id, h.aggregate_type, h.aggregate_id, f.key, f.value
      from history h
     cross join lateral (
           select d.key, d.value from jsonb_each(h.data) d where h.event_type like '%.created' and h.aggregate_version = h.born
            union all
           select c.key, c.value -> 'new' from jsonb_each(h.data -> 'changes') c
            where h.event_type like '%.updated' and h.aggregate_version > coalesce(h.born, 0) and c.value ? 'new') as f
     where coalesce(h.died, 0) <= coalesce(h.born, 0)
     order by h.tenant_id, h.aggregate_type, h.aggregate_id, f.key, h.aggregate_version desc
), states as (
    select tenant_id, aggregate_type as kind, jsonb_object_agg(key, value) as state from fields group by tenant_id, aggregate_type, aggregate_id
)
select tenant_id, kind, (state ->> 'amount_cents')::numeric as amount, state ->> 'currency' as currency,
       coalesce(state ->> 'sale_date', state ->> 'expense_date')::date as day, state ->> 'customer_id' as customer,
       state ->> 'product' as product, state ->> 'category' as category
  from states
 where state ->> 'amount_cents' is not null and state ->> 'currency' is not null
   and coalesce(state ->> 'sale_date', state ->> 'expense_date') is not null";

/// Days with exact counts of distinct customers, compared with the view for readers.
const DAYS: &str = "
with expected as (
    select c.tenant_id, c.day, c.currency, coalesce(sum(c.amount) filter (where c.kind = 'sale' and c.amount > 0), 0) as revenue_cents,
           coalesce(-sum(c.amount) filter (where c.kind = 'sale' and c.amount < 0), 0) as refunds_cents,
           coalesce(sum(c.amount) filter (where c.kind = 'sale'), 0) as net_cents, count(*) filter (where c.kind = 'sale') as sales_count,
           round(avg(c.amount) filter (where c.kind = 'sale')) as average_sale_cents,
           coalesce(sum(c.amount) filter (where c.kind = 'expense'), 0) as expenses_cents, count(*) filter (where c.kind = 'expense') as expenses_count,
           coalesce(sum(c.amount) filter (where c.kind = 'sale'), 0) - coalesce(sum(c.amount) filter (where c.kind = 'expense'), 0) as profit_cents,
           count(distinct c.customer) filter (where c.kind = 'sale' and c.day = c.first_day) as new_customers,
           count(distinct c.customer) filter (where c.kind = 'sale') as active_customers
      from (select *, min(day) filter (where kind = 'sale') over (partition by tenant_id, currency, customer) as first_day from counted) c
     group by 1, 2, 3)
select 'found ' || to_jsonb(x)::text as line from (select * from public.kpi_days except select * from expected) x
 union all
select 'missing ' || to_jsonb(x)::text from (select * from expected except select * from public.kpi_days) x";

const NAMES: &str = "
with named as (
    select c.*, k.kind as by, k.name from counted c
     cross join lateral (values ('product', c.product), ('customer', c.customer), ('category', case c.kind when 'expense' then coalesce(c.category, '') end)) as k (kind, name)
     where k.name is not null and (c.kind = 'expense') = (k.kind = 'category')
), expected as (
    select n.tenant_id, n.by, s.span, n.currency, n.name, s.period, coalesce(sum(n.amount) filter (where n.amount > 0), 0) as positive,
           coalesce(-sum(n.amount) filter (where n.amount < 0), 0) as negative, count(*)::numeric as entries
      from named n
     cross join lateral (values ('day', n.day), ('month', date_trunc('month', n.day::timestamp)::date), ('year', date_trunc('year', n.day::timestamp)::date)) as s (span, period)
     group by 1, 2, 3, 4, 5, 6
), there as (
    select tenant_id, kind, span, currency, name, period, positive_cents, negative_cents, entries from annals.kpi_names)
select 'found ' || to_jsonb(x)::text as line from (select * from there except select * from expected) x
 union all
select 'missing ' || to_jsonb(x)::text from (select * from expected except select * from there) x";

const FIGURES: &str = "
with tenants as (
    select c.*, min(day) filter (where kind = 'sale') over (partition by currency, customer) as first_day
      from counted c where tenant_id = '00000000-0000-0000-0000-000000000000'
), period as (
    select * from tenants where currency = $1 and day >= $2::text::date and day < $3::text::date
)
select jsonb_build_object(
           'active_customers', count(distinct customer) filter (where kind = 'sale'),
           'new_customers', count(distinct customer) filter (where kind = 'sale' and first_day >= $2::text::date),
           'average_sale_cents', round(avg(amount) filter (where kind = 'sale')),
           'expenses_by_category', (
               select coalesce(jsonb_agg(jsonb_build_object('category', c.category, 'expenses_cents', c.cents)
                                         order by c.cents desc, coalesce(c.category, '') collate \"C\"), '[]')
                 from (select category, sum(amount) as cents from period where kind = 'expense' group by 1) as c))::text
  from period";

const NOTED: &str = "select 'noted and not applied: ' || count(*) as line from annals.kpi_changes having count(*) > 0";

impl World {
    /// Panics unless all recorded changes are applied and figures equal those of the events. No name may be longer than an index
    /// allows.
    pub async fn assert_kpis_are_the_events(&self) {
        let client = self.superuser().await;
        client.batch_execute(EXISTING).await.expect("a table");
        for sql in [NOTED, DAYS, NAMES] {
            let rows = client.query(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}"));
            let wrong: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
            assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        }
    }

    /// Figures that are not sums of days, computed from the events: default tenant, one currency, days in `[from, to)`.
    pub async fn figures_by_sql(&self, currency: &str, from: &str, to: &str) -> Value {
        let client = self.superuser().await;
        client.batch_execute(EXISTING).await.expect("a table");
        let row = client.query_one(FIGURES, &[&currency, &from, &to]).await;
        serde_json::from_str(row.expect("figures").get(0)).expect("JSON")
    }

    /// Products or customers (the column) of the default tenant by net amount, computed from the events: name, net amount, number of sales.
    pub async fn top_by_sql(&self, column: &str, currency: &str, from: &str, to: &str) -> Value {
        let client = self.superuser().await;
        client.batch_execute(EXISTING).await.expect("a table");
        let sql = format!(
            "select coalesce(jsonb_agg(jsonb_build_array(t.name, t.revenue, t.refunds, t.net, t.sales) order by t.net desc, t.name collate \"C\"), '[]')::text
               from (select {column} as name, sum(greatest(amount, 0)) as revenue, sum(-least(amount, 0)) as refunds, sum(amount) as net,
                            count(*) as sales
                       from counted
                      where kind = 'sale' and tenant_id = '00000000-0000-0000-0000-000000000000' and {column} is not null and currency = $1
                        and day >= $2::text::date and day < $3::text::date
                      group by 1) as t"
        );
        let row = client.query_one(&sql, &[&currency, &from, &to]).await;
        serde_json::from_str(row.expect("a list").get(0)).expect("JSON")
    }

    /// `GET /analytics/kpis` by staff.
    pub async fn kpis(&self, query: &str) -> Value {
        let staff = crate::people::Person::staff();
        self.get(&staff, &format!("/analytics/kpis?{query}"))
            .await
            .expect(200)
            .body
    }
}
