-- Verifying and repairing key figures.
--
-- The right figures are computed from tables that are given by name, the live ones or those that a verification has folded, minus the
-- recorded changes that are not yet applied. One statement reads all of it, so it sees one moment, even while others write.

create function annals.kpi_name_of(value text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
    select format('case when octet_length(%1$s) <= 500 then %1$s else annals.kpi_name(%1$s) end', value)
$$;
comment on function annals.kpi_name_of(text) is
    'SQL for annals.kpi_name of a value. The function itself is only called for long names, because a call takes longer than the rest of a row.';

create function annals.kpi_facts(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, sign int, source text, day date, currency text, amount_cents bigint, product text, customer text, category text,
    cause_id text, cause_version int, caused_at timestamptz
) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return query execute format(
        'select s.tenant_id, 1, ''sale'', s.sale_date, s.currency, s.amount_cents, %s, %s, null, s.id, s.version, s.updated_at
           from %s s
          where ($1 is null or s.tenant_id = $1) and %s
          union all
         select e.tenant_id, 1, ''expense'', e.expense_date, e.currency, e.amount_cents, null, null, %s, e.id, e.version, e.updated_at
           from %s e
          where ($1 is null or e.tenant_id = $1) and %s
          union all
         select c.tenant_id, -c.sign, c.source, c.day, c.currency, c.amount_cents, c.product, c.customer, c.category, c.cause_id, c.cause_version,
                c.caused_at
           from annals.kpi_changes c
          where $1 is null or c.tenant_id = $1',
        annals.kpi_name_of('s.product'), annals.kpi_name_of('s.customer_id'), sales, annals.kpi_counts('s', 'sale_date'),
        annals.kpi_name_of('coalesce(e.category, '''')'), expenses, annals.kpi_counts('e', 'expense_date'))
    using tenant;
end
$$;
comment on function annals.kpi_facts(regclass, regclass, uuid) is
    'The sales and expenses that count, of a tenant or of all (null), and recorded changes with the opposite sign.';

create function annals.kpi_names_of(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, kind text, span text, currency text, name text, period date, positive_cents numeric, negative_cents numeric, entries numeric
) language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    with facts as materialized (
        select * from annals.kpi_facts(sales, expenses, tenant)
    ), named as (
        select f.tenant_id, 'product' as kind, f.product as name, f.currency, f.day, f.sign, f.amount_cents from facts f where f.product is not null
         union all
        select f.tenant_id, 'customer', f.customer, f.currency, f.day, f.sign, f.amount_cents from facts f where f.customer is not null
         union all
        select f.tenant_id, 'category', f.category, f.currency, f.day, f.sign, f.amount_cents from facts f where f.category is not null
    ), days as materialized (
        select n.tenant_id, n.kind, n.currency, n.name, n.day,
               coalesce(sum(n.amount_cents) filter (where n.sign = 1 and n.amount_cents > 0), 0)
               - coalesce(sum(n.amount_cents) filter (where n.sign = -1 and n.amount_cents > 0), 0) as positive_cents,
               coalesce(sum(n.amount_cents) filter (where n.sign = -1 and n.amount_cents < 0), 0)
               - coalesce(sum(n.amount_cents) filter (where n.sign = 1 and n.amount_cents < 0), 0) as negative_cents,
               sum(n.sign)::numeric as entries
          from named n
         group by 1, 2, 3, 4, 5
    ), months as materialized (
        select d.tenant_id, d.kind, d.currency, d.name, date_trunc('month', d.day::timestamp)::date as month, sum(d.positive_cents) as positive_cents,
               sum(d.negative_cents) as negative_cents, sum(d.entries) as entries
          from days d
         group by 1, 2, 3, 4, 5
    ), spans as (
        select d.tenant_id, d.kind, 'day' as span, d.currency, d.name, d.day as period, d.positive_cents, d.negative_cents, d.entries from days d
         union all
        select m.tenant_id, m.kind, 'month', m.currency, m.name, m.month, m.positive_cents, m.negative_cents, m.entries from months m
         union all
        select m.tenant_id, m.kind, 'year', m.currency, m.name, date_trunc('year', m.month::timestamp)::date, sum(m.positive_cents),
               sum(m.negative_cents), sum(m.entries)
          from months m
         group by 1, 2, 4, 5, 6
    )
    select * from spans s where (s.entries, s.positive_cents, s.negative_cents) <> (0, 0, 0)
$$;
comment on function annals.kpi_names_of(regclass, regclass, uuid) is 'The right rows of annals.kpi_names.';

create function annals.kpi_repeat_customers_of(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, day date, currency text, previous_day date, customers bigint
) language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    select b.tenant_id, b.day, b.currency, b.previous_day, count(*)
      from (select f.tenant_id, f.day, f.currency,
                   coalesce(lag(f.day) over (partition by f.tenant_id, f.currency, f.customer order by f.day), '-infinity') as previous_day
              from annals.kpi_facts(sales, expenses, tenant) f
             where f.customer is not null
             group by f.tenant_id, f.currency, f.customer, f.day
            having sum(f.sign) > 0) as b
     group by 1, 2, 3, 4
$$;
comment on function annals.kpi_repeat_customers_of(regclass, regclass, uuid) is 'The right rows of annals.kpi_repeat_customers.';

create function annals.kpi_days_of(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, day date, currency text, revenue_cents numeric, refunds_cents numeric, sales_count numeric, expenses_cents numeric,
    expenses_count numeric, new_customers bigint, active_customers bigint, cause_type text, cause_id text, cause_version int, caused_at timestamptz
) language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    with facts as materialized (
        select * from annals.kpi_facts(sales, expenses, tenant)
    ), sums as (
        select f.tenant_id, f.day, f.currency,
               coalesce(sum(f.sign * greatest(f.amount_cents, 0)::numeric) filter (where f.source = 'sale'), 0) as revenue_cents,
               coalesce(sum(f.sign * -least(f.amount_cents, 0)::numeric) filter (where f.source = 'sale'), 0) as refunds_cents,
               coalesce(sum(f.sign) filter (where f.source = 'sale'), 0)::numeric as sales_count,
               coalesce(sum(f.sign * f.amount_cents::numeric) filter (where f.source = 'expense'), 0) as expenses_cents,
               coalesce(sum(f.sign) filter (where f.source = 'expense'), 0)::numeric as expenses_count,
               max(f.caused_at) filter (where f.sign = 1) as latest
          from facts f
         group by 1, 2, 3
    ), causes as (
        select distinct on (f.tenant_id, f.day, f.currency) f.tenant_id, f.day, f.currency, f.source, f.cause_id, f.cause_version, f.caused_at
          from facts f
          join sums s on s.tenant_id = f.tenant_id and s.day = f.day and s.currency = f.currency and s.latest = f.caused_at
         where f.sign = 1
         order by f.tenant_id, f.day, f.currency, f.source, f.cause_id
    ), customers as (
        select r.tenant_id, r.day, r.currency, coalesce(sum(r.customers) filter (where r.previous_day = '-infinity'), 0)::bigint as new_customers,
               sum(r.customers)::bigint as active_customers
          from annals.kpi_repeat_customers_of(sales, expenses, tenant) r
         group by 1, 2, 3
    )
    select s.tenant_id, s.day, s.currency, s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count,
           coalesce(k.new_customers, 0), coalesce(k.active_customers, 0), c.source, c.cause_id, c.cause_version, c.caused_at
      from sums s
      left join causes c on c.tenant_id = s.tenant_id and c.day = s.day and c.currency = s.currency
      left join customers k on k.tenant_id = s.tenant_id and k.day = s.day and k.currency = s.currency
     where (s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count) <> (0, 0, 0, 0, 0)
$$;
comment on function annals.kpi_days_of(regclass, regclass, uuid) is
    'The right rows of annals.kpi_days, with the last event that affected each day.';

-- Repairs the figures while the caller holds annals_locks.kpis EXCLUSIVE. One statement, so it sees one moment. Recorded changes stay
-- recorded, with their cause. It must run in the transaction that repairs the state tables. Figures may be right while the tables are
-- damaged: it then makes them equal to the damaged tables, and the changes that the repair of the tables records correct them again.
create function annals.repair_key_figures(tenant uuid) returns bigint language plpgsql set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
declare
    changed bigint;
begin
    with days as materialized (
        select * from annals.kpi_days_of('public.sales', 'public.expenses', repair_key_figures.tenant)
    ), names as materialized (
        select * from annals.kpi_names_of('public.sales', 'public.expenses', repair_key_figures.tenant)
    ), returns as materialized (
        select * from annals.kpi_repeat_customers_of('public.sales', 'public.expenses', repair_key_figures.tenant)
    ), emptied as (
        update annals.kpi_days d
           set revenue_cents = 0, refunds_cents = 0, sales_count = 0, expenses_cents = 0, expenses_count = 0, new_customers = 0,
               active_customers = 0, changes = d.changes + 1, is_due = true, due_since = case when d.is_due then d.due_since else now() end
         where (repair_key_figures.tenant is null or d.tenant_id = repair_key_figures.tenant)
           and (d.revenue_cents, d.refunds_cents, d.sales_count, d.expenses_cents, d.expenses_count, d.new_customers, d.active_customers)
               <> (0, 0, 0, 0, 0, 0, 0)
           and not exists (select from days e where e.tenant_id = d.tenant_id and e.day = d.day and e.currency = d.currency)
        returning d.day
    ), days_written as (
        insert into annals.kpi_days as d (tenant_id, day, currency, revenue_cents, refunds_cents, sales_count, expenses_cents, expenses_count,
                                          new_customers, active_customers, cause_type, cause_id, cause_version, caused_at, changes, is_due)
        select e.tenant_id, e.day, e.currency, e.revenue_cents, e.refunds_cents, e.sales_count, e.expenses_cents, e.expenses_count,
               e.new_customers, e.active_customers, coalesce(e.cause_type, 'sale'), coalesce(e.cause_id, ''), coalesce(e.cause_version, 0),
               coalesce(e.caused_at, now()), 1, true
          from days e
        on conflict on constraint kpi_days_pkey do update
            set revenue_cents = excluded.revenue_cents, refunds_cents = excluded.refunds_cents, sales_count = excluded.sales_count,
                expenses_cents = excluded.expenses_cents, expenses_count = excluded.expenses_count, new_customers = excluded.new_customers,
                active_customers = excluded.active_customers, changes = d.changes + 1, is_due = true,
                due_since = case when d.is_due then d.due_since else excluded.due_since end
            where (d.revenue_cents, d.refunds_cents, d.sales_count, d.expenses_cents, d.expenses_count, d.new_customers, d.active_customers)
                  <> (excluded.revenue_cents, excluded.refunds_cents, excluded.sales_count, excluded.expenses_cents, excluded.expenses_count,
                      excluded.new_customers, excluded.active_customers)
        returning d.day
    ), names_gone as (
        delete from annals.kpi_names n
         where (repair_key_figures.tenant is null or n.tenant_id = repair_key_figures.tenant)
           and not exists (select from names e
                            where e.tenant_id = n.tenant_id and e.kind = n.kind and e.span = n.span and e.currency = n.currency
                              and e.name = n.name and e.period = n.period)
        returning n.period
    ), names_written as (
        insert into annals.kpi_names as n (tenant_id, kind, span, currency, name, period, positive_cents, negative_cents, entries)
        select e.tenant_id, e.kind, e.span, e.currency, e.name, e.period, e.positive_cents, e.negative_cents, e.entries
          from names e
        on conflict on constraint kpi_names_pkey do update
            set positive_cents = excluded.positive_cents, negative_cents = excluded.negative_cents, entries = excluded.entries
            where (n.positive_cents, n.negative_cents, n.entries) <> (excluded.positive_cents, excluded.negative_cents, excluded.entries)
        returning n.period
    ), returns_gone as (
        delete from annals.kpi_repeat_customers r
         where (repair_key_figures.tenant is null or r.tenant_id = repair_key_figures.tenant)
           and not exists (select from returns e where e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                   and e.previous_day = r.previous_day)
        returning r.day
    ), returns_written as (
        insert into annals.kpi_repeat_customers as r (tenant_id, day, currency, previous_day, customers)
        select e.tenant_id, e.day, e.currency, e.previous_day, e.customers
          from returns e
        on conflict on constraint kpi_repeat_customers_pkey do update set customers = excluded.customers where r.customers <> excluded.customers
        returning r.day
    )
    select (select count(*) from emptied) + (select count(*) from days_written) + (select count(*) from names_gone)
           + (select count(*) from names_written) + (select count(*) from returns_gone) + (select count(*) from returns_written)
      into changed;
    return changed;
end
$$;
comment on function annals.repair_key_figures(uuid) is
    'Makes the figures of a tenant, or of all (null), equal to the state tables minus recorded changes; returns how many rows were wrong. The caller must hold annals_locks.kpis EXCLUSIVE.';

-- A missing row counts as zeros.
create function annals.list_kpi_differences(sales regclass, expenses regclass, tenant uuid)
returns table (table_name text, key text, column_name text, found text, expected text)
language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    select 'annals.kpi_days', jsonb_build_object('tenant_id', coalesce(d.tenant_id, e.tenant_id), 'day', coalesce(d.day, e.day),
                                                 'currency', coalesce(d.currency, e.currency))::text, v.column_name, v.found::text, v.expected::text
      from (select k.* from annals.kpi_days k
             where ($3 is null or k.tenant_id = $3)
               and (k.revenue_cents, k.refunds_cents, k.sales_count, k.expenses_cents, k.expenses_count, k.new_customers, k.active_customers)
                   <> (0, 0, 0, 0, 0, 0, 0)) as d
      full join annals.kpi_days_of($1, $2, $3) e on e.tenant_id = d.tenant_id and e.day = d.day and e.currency = d.currency
     cross join lateral (values
           ('revenue_cents', coalesce(d.revenue_cents, 0), coalesce(e.revenue_cents, 0)), ('refunds_cents', coalesce(d.refunds_cents, 0), coalesce(e.refunds_cents, 0)),
           ('sales_count', coalesce(d.sales_count, 0), coalesce(e.sales_count, 0)), ('expenses_cents', coalesce(d.expenses_cents, 0), coalesce(e.expenses_cents, 0)),
           ('expenses_count', coalesce(d.expenses_count, 0), coalesce(e.expenses_count, 0)), ('new_customers', coalesce(d.new_customers, 0), coalesce(e.new_customers, 0)),
           ('active_customers', coalesce(d.active_customers, 0), coalesce(e.active_customers, 0))) as v (column_name, found, expected)
     where v.found <> v.expected
     union all
    select 'annals.kpi_names', jsonb_build_object('tenant_id', coalesce(n.tenant_id, e.tenant_id), 'kind', coalesce(n.kind, e.kind),
                                                  'span', coalesce(n.span, e.span), 'currency', coalesce(n.currency, e.currency),
                                                  'name', coalesce(n.name, e.name), 'period', coalesce(n.period, e.period))::text,
           v.column_name, v.found::text, v.expected::text
      from (select k.* from annals.kpi_names k where $3 is null or k.tenant_id = $3) as n
      full join annals.kpi_names_of($1, $2, $3) e on e.tenant_id = n.tenant_id and e.kind = n.kind and e.span = n.span and e.currency = n.currency
                                                 and e.name = n.name and e.period = n.period
     cross join lateral (values
           ('positive_cents', coalesce(n.positive_cents, 0), coalesce(e.positive_cents, 0)), ('negative_cents', coalesce(n.negative_cents, 0), coalesce(e.negative_cents, 0)),
           ('entries', coalesce(n.entries, 0), coalesce(e.entries, 0))) as v (column_name, found, expected)
     where v.found <> v.expected
     union all
    select 'annals.kpi_repeat_customers', jsonb_build_object('tenant_id', coalesce(r.tenant_id, e.tenant_id), 'day', coalesce(r.day, e.day),
                                                    'currency', coalesce(r.currency, e.currency),
                                                    'previous_day', coalesce(r.previous_day, e.previous_day))::text,
           'customers', coalesce(r.customers, 0)::text, coalesce(e.customers, 0)::text
      from (select k.* from annals.kpi_repeat_customers k where $3 is null or k.tenant_id = $3) as r
      full join annals.kpi_repeat_customers_of($1, $2, $3) e on e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                   and e.previous_day = r.previous_day
     where coalesce(r.customers, 0) <> coalesce(e.customers, 0)
$$;
comment on function annals.list_kpi_differences(regclass, regclass, uuid) is
    'The differences between the figures and what these sales and expenses, minus recorded changes, amount to.';

grant execute on function
    annals.kpi_name_of(text), annals.kpi_facts(regclass, regclass, uuid), annals.kpi_days_of(regclass, regclass, uuid),
    annals.kpi_names_of(regclass, regclass, uuid), annals.kpi_repeat_customers_of(regclass, regclass, uuid), annals.repair_key_figures(uuid), annals.list_kpi_differences(regclass, regclass, uuid)
to annals_projector;

revoke execute on all functions in schema annals from public;
