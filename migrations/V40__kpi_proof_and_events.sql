-- Proving and mending key figures, filling them with what was there before V39, showing them, and the events about them.

-- The figures anew, from tables that are given by name: the live ones, or those that a proof has folded from the log.

create function annals.kpi_facts(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, source text, day date, currency text, amount_cents bigint, product text, customer text, category text,
    cause_id text, cause_version int, caused_at timestamptz
) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return query execute format(
        'select s.tenant_id, ''sale'', s.sale_date, s.currency, s.amount_cents, annals.kpi_name(s.product), annals.kpi_name(s.customer_id), null,
                s.id, s.version, s.updated_at
           from %s s
          where ($1 is null or s.tenant_id = $1) and s.deleted_at is null and s.amount_cents is not null and s.currency is not null
            and s.sale_date between ''0001-01-01'' and ''9999-12-31''
          union all
         select e.tenant_id, ''expense'', e.expense_date, e.currency, e.amount_cents, null, null, annals.kpi_name(coalesce(e.category, '''')),
                e.id, e.version, e.updated_at
           from %s e
          where ($1 is null or e.tenant_id = $1) and e.deleted_at is null and e.amount_cents is not null and e.currency is not null
            and e.expense_date between ''0001-01-01'' and ''9999-12-31''', sales, expenses)
    using tenant;
end
$$;
comment on function annals.kpi_facts(regclass, regclass, uuid) is 'The sales and expenses that count, of a tenant or of all.';

create function annals.kpi_days_of(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, day date, currency text, revenue_cents numeric, refunds_cents numeric, sales_count numeric, expenses_cents numeric,
    expenses_count numeric, cause_type text, cause_id text, cause_version int, caused_at timestamptz
) language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    select f.tenant_id, f.day, f.currency,
           coalesce(sum(greatest(f.amount_cents, 0)::numeric) filter (where f.source = 'sale'), 0),
           coalesce(sum(-least(f.amount_cents, 0)::numeric) filter (where f.source = 'sale'), 0),
           (count(*) filter (where f.source = 'sale'))::numeric,
           coalesce(sum(f.amount_cents::numeric) filter (where f.source = 'expense'), 0),
           (count(*) filter (where f.source = 'expense'))::numeric,
           (array_agg(f.source order by f.caused_at desc))[1], (array_agg(f.cause_id order by f.caused_at desc))[1],
           (array_agg(f.cause_version order by f.caused_at desc))[1], max(f.caused_at)
      from annals.kpi_facts(sales, expenses, tenant) f
     group by 1, 2, 3
$$;
comment on function annals.kpi_days_of(regclass, regclass, uuid) is 'What annals.kpi_days should say.';

create function annals.kpi_names_of(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, kind text, span text, currency text, name text, period date, positive_cents numeric, negative_cents numeric, entries numeric
) language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    select f.tenant_id, k.kind, s.span, f.currency, k.name, s.period, sum(greatest(f.amount_cents, 0)::numeric),
           sum(-least(f.amount_cents, 0)::numeric), count(*)::numeric
      from annals.kpi_facts(sales, expenses, tenant) f
     cross join lateral (values ('product', f.product), ('customer', f.customer), ('category', f.category)) as k (kind, name)
     cross join lateral (values ('day', f.day), ('month', date_trunc('month', f.day::timestamp)::date)) as s (span, period)
     where k.name is not null
     group by 1, 2, 3, 4, 5, 6
$$;
comment on function annals.kpi_names_of(regclass, regclass, uuid) is 'What annals.kpi_names should say.';

create function annals.kpi_returns_now(tenant uuid) returns table (tenant_id uuid, day date, currency text, previous_day date, customers bigint)
language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    select b.tenant_id, b.day, b.currency, b.previous_day, count(*)
      from (select n.tenant_id, n.period as day, n.currency,
                   coalesce(lag(n.period) over (partition by n.tenant_id, n.currency, n.name order by n.period), '-infinity') as previous_day
              from annals.kpi_names n
             where (kpi_returns_now.tenant is null or n.tenant_id = kpi_returns_now.tenant)
               and n.kind = 'customer' and n.span = 'day' and n.entries > 0) as b
     group by 1, 2, 3, 4
$$;
comment on function annals.kpi_returns_now(uuid) is 'What annals.kpi_returns should say, going by annals.kpi_names.';

-- Mending: figures become what live state tables say, and changes noted so far are in them. In a transaction that is repeatable read and
-- has locked annals_locks.kpis before it looked, all of this is one moment; what is under way meanwhile is noted, and settled later.
create function annals.mend_kpis(tenant uuid) returns bigint language plpgsql set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
declare
    changed bigint := 0;
    rows    bigint;
begin
    delete from annals.kpi_changes c where mend_kpis.tenant is null or c.tenant_id = mend_kpis.tenant;
    with expected as materialized (
        select * from annals.kpi_days_of('public.sales', 'public.expenses', mend_kpis.tenant)
    ), emptied as (
        update annals.kpi_days d
           set revenue_cents = 0, refunds_cents = 0, sales_count = 0, expenses_cents = 0, expenses_count = 0, changes = d.changes + 1, is_due = true
         where (mend_kpis.tenant is null or d.tenant_id = mend_kpis.tenant)
           and (d.revenue_cents, d.refunds_cents, d.sales_count, d.expenses_cents, d.expenses_count) <> (0, 0, 0, 0, 0)
           and not exists (select from expected e where e.tenant_id = d.tenant_id and e.day = d.day and e.currency = d.currency)
        returning d.day
    ), written as (
        insert into annals.kpi_days as d (tenant_id, day, currency, revenue_cents, refunds_cents, sales_count, expenses_cents, expenses_count,
                                          cause_type, cause_id, cause_version, caused_at, changes, is_due)
        select e.tenant_id, e.day, e.currency, e.revenue_cents, e.refunds_cents, e.sales_count, e.expenses_cents, e.expenses_count,
               e.cause_type, e.cause_id, e.cause_version, e.caused_at, 1, true
          from expected e
        on conflict on constraint kpi_days_pkey do update
            set revenue_cents = excluded.revenue_cents, refunds_cents = excluded.refunds_cents, sales_count = excluded.sales_count,
                expenses_cents = excluded.expenses_cents, expenses_count = excluded.expenses_count, changes = d.changes + 1, is_due = true
            where (d.revenue_cents, d.refunds_cents, d.sales_count, d.expenses_cents, d.expenses_count)
                  <> (excluded.revenue_cents, excluded.refunds_cents, excluded.sales_count, excluded.expenses_cents, excluded.expenses_count)
        returning d.day
    )
    select (select count(*) from emptied) + (select count(*) from written) into rows;
    changed := changed + rows;
    with expected as materialized (
        select * from annals.kpi_names_of('public.sales', 'public.expenses', mend_kpis.tenant)
    ), gone as (
        delete from annals.kpi_names n
         where (mend_kpis.tenant is null or n.tenant_id = mend_kpis.tenant)
           and not exists (select from expected e
                            where e.tenant_id = n.tenant_id and e.kind = n.kind and e.span = n.span and e.currency = n.currency
                              and e.name = n.name and e.period = n.period)
        returning n.entries
    ), written as (
        insert into annals.kpi_names as n (tenant_id, kind, span, currency, name, period, positive_cents, negative_cents, entries)
        select e.tenant_id, e.kind, e.span, e.currency, e.name, e.period, e.positive_cents, e.negative_cents, e.entries
          from expected e
        on conflict on constraint kpi_names_pkey do update
            set positive_cents = excluded.positive_cents, negative_cents = excluded.negative_cents, entries = excluded.entries
            where (n.positive_cents, n.negative_cents, n.entries) <> (excluded.positive_cents, excluded.negative_cents, excluded.entries)
        returning n.entries
    )
    select (select count(*) from gone where entries <> 0) + (select count(*) from written) into rows;
    changed := changed + rows;
    with expected as materialized (
        select * from annals.kpi_returns_now(mend_kpis.tenant)
    ), gone as (
        delete from annals.kpi_returns r
         where (mend_kpis.tenant is null or r.tenant_id = mend_kpis.tenant)
           and not exists (select from expected e where e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                    and e.previous_day = r.previous_day)
        returning r.tenant_id, r.day, r.currency, r.customers
    ), written as (
        insert into annals.kpi_returns as r (tenant_id, day, currency, previous_day, customers)
        select e.tenant_id, e.day, e.currency, e.previous_day, e.customers
          from expected e
        on conflict on constraint kpi_returns_pkey do update set customers = excluded.customers where r.customers <> excluded.customers
        returning r.tenant_id, r.day, r.currency, r.customers
    ), touched as (
        update annals.kpi_days d set changes = d.changes + 1, is_due = true
          from (select w.tenant_id, w.day, w.currency from written w union select g.tenant_id, g.day, g.currency from gone g where g.customers <> 0) as t
         where d.tenant_id = t.tenant_id and d.day = t.day and d.currency = t.currency and not d.is_due
    )
    select (select count(*) from gone where customers <> 0) + (select count(*) from written) into rows;
    return changed + rows;
end
$$;
comment on function annals.mend_kpis(uuid) is 'Makes a tenant''s figures, or all, what state tables say; how many rows were not. Under a lock of annals_locks.kpis.';

create function annals.list_kpi_differences(sales regclass, expenses regclass, tenant uuid)
returns table (table_name text, key text, column_name text, found text, expected text)
language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    with changes as materialized (
        select c.* from annals.kpi_changes c where $3 is null or c.tenant_id = $3
    ), days as (
        select d.tenant_id, d.day, d.currency, sum(d.revenue_cents) as revenue_cents, sum(d.refunds_cents) as refunds_cents,
               sum(d.sales_count) as sales_count, sum(d.expenses_cents) as expenses_cents, sum(d.expenses_count) as expenses_count
          from (select k.tenant_id, k.day, k.currency, k.revenue_cents, k.refunds_cents, k.sales_count, k.expenses_cents, k.expenses_count
                  from annals.kpi_days k where $3 is null or k.tenant_id = $3
                 union all
                select c.tenant_id, c.day, c.currency,
                       case when c.source = 'sale' then c.sign * greatest(c.amount_cents, 0)::numeric else 0 end,
                       case when c.source = 'sale' then c.sign * -least(c.amount_cents, 0)::numeric else 0 end,
                       case when c.source = 'sale' then c.sign else 0 end,
                       case when c.source = 'expense' then c.sign * c.amount_cents::numeric else 0 end,
                       case when c.source = 'expense' then c.sign else 0 end
                  from changes c) as d
         group by 1, 2, 3
        having (sum(d.revenue_cents), sum(d.refunds_cents), sum(d.sales_count), sum(d.expenses_cents), sum(d.expenses_count)) <> (0, 0, 0, 0, 0)
    ), names as (
        select d.tenant_id, d.kind, d.span, d.currency, d.name, d.period, sum(d.positive_cents) as positive_cents,
               sum(d.negative_cents) as negative_cents, sum(d.entries) as entries
          from (select n.tenant_id, n.kind, n.span, n.currency, n.name, n.period, n.positive_cents, n.negative_cents, n.entries
                  from annals.kpi_names n where $3 is null or n.tenant_id = $3
                 union all
                select c.tenant_id, k.kind, s.span, c.currency, k.name, s.period, c.sign * greatest(c.amount_cents, 0)::numeric,
                       c.sign * -least(c.amount_cents, 0)::numeric, c.sign
                  from changes c
                 cross join lateral (values ('product', c.product), ('customer', c.customer), ('category', c.category)) as k (kind, name)
                 cross join lateral (values ('day', c.day), ('month', date_trunc('month', c.day::timestamp)::date)) as s (span, period)
                 where k.name is not null) as d
         group by 1, 2, 3, 4, 5, 6
        having (sum(d.positive_cents), sum(d.negative_cents), sum(d.entries)) <> (0, 0, 0)
    )
    select 'annals.kpi_days', jsonb_build_object('tenant_id', coalesce(d.tenant_id, e.tenant_id), 'day', coalesce(d.day, e.day),
                                                 'currency', coalesce(d.currency, e.currency))::text, v.column_name, v.found::text, v.expected::text
      from days d
      full join annals.kpi_days_of($1, $2, $3) e on e.tenant_id = d.tenant_id and e.day = d.day and e.currency = d.currency
     cross join lateral (values
           ('revenue_cents', d.revenue_cents, e.revenue_cents), ('refunds_cents', d.refunds_cents, e.refunds_cents),
           ('sales_count', d.sales_count, e.sales_count), ('expenses_cents', d.expenses_cents, e.expenses_cents),
           ('expenses_count', d.expenses_count, e.expenses_count)) as v (column_name, found, expected)
     where v.found is distinct from v.expected
     union all
    select 'annals.kpi_names', jsonb_build_object('tenant_id', coalesce(n.tenant_id, e.tenant_id), 'kind', coalesce(n.kind, e.kind),
                                                  'span', coalesce(n.span, e.span), 'currency', coalesce(n.currency, e.currency),
                                                  'name', coalesce(n.name, e.name), 'period', coalesce(n.period, e.period))::text,
           v.column_name, v.found::text, v.expected::text
      from names n
      full join annals.kpi_names_of($1, $2, $3) e on e.tenant_id = n.tenant_id and e.kind = n.kind and e.span = n.span and e.currency = n.currency
                                                 and e.name = n.name and e.period = n.period
     cross join lateral (values
           ('positive_cents', n.positive_cents, e.positive_cents), ('negative_cents', n.negative_cents, e.negative_cents),
           ('entries', n.entries, e.entries)) as v (column_name, found, expected)
     where v.found is distinct from v.expected
     union all
    select 'annals.kpi_returns', jsonb_build_object('tenant_id', coalesce(r.tenant_id, e.tenant_id), 'day', coalesce(r.day, e.day),
                                                    'currency', coalesce(r.currency, e.currency),
                                                    'previous_day', coalesce(r.previous_day, e.previous_day))::text,
           'customers', r.customers::text, e.customers::text
      from (select k.* from annals.kpi_returns k where ($3 is null or k.tenant_id = $3) and k.customers <> 0) as r
      full join annals.kpi_returns_now($3) e on e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                            and e.previous_day = r.previous_day
     where r.customers is distinct from e.customers
$$;
comment on function annals.list_kpi_differences(regclass, regclass, uuid) is
    'Where figures, with what is noted, are not what these sales and expenses come to; and customers'' returns not what the days of theirs that are settled come to.';

grant execute on function
    annals.kpi_facts(regclass, regclass, uuid), annals.kpi_days_of(regclass, regclass, uuid), annals.kpi_names_of(regclass, regclass, uuid),
    annals.kpi_returns_now(uuid), annals.mend_kpis(uuid), annals.list_kpi_differences(regclass, regclass, uuid)
to annals_projector;

-- What was there before the triggers. Whoever writes waits, so that this is one moment.
lock table public.sales, public.expenses in share row exclusive mode;
lock table annals_locks.kpis in exclusive mode;
select annals.mend_kpis(null);

-- What one reads by SQL and PostgREST, under the same rules.
create view public.kpi_days with (security_invoker = true) as
    select d.tenant_id, d.day, d.currency, d.revenue_cents, d.refunds_cents, d.revenue_cents - d.refunds_cents as net_cents, d.sales_count,
           round((d.revenue_cents - d.refunds_cents) / nullif(d.sales_count, 0)) as average_sale_cents, d.expenses_cents, d.expenses_count,
           d.revenue_cents - d.refunds_cents - d.expenses_cents as profit_cents, c.new_customers, c.active_customers
      from annals.kpi_days d
     cross join lateral (
           select coalesce(sum(r.customers) filter (where r.previous_day = '-infinity'), 0) as new_customers,
                  coalesce(sum(r.customers), 0) as active_customers
             from annals.kpi_returns r
            where r.tenant_id = d.tenant_id and r.day = d.day and r.currency = d.currency) as c
     where d.sales_count > 0 or d.expenses_count > 0;
comment on view public.kpi_days is 'Key figures of days, by currency; staff and services see their tenant''s.';
comment on column public.kpi_days.tenant_id is 'Tenant.';
comment on column public.kpi_days.day is 'The day.';
comment on column public.kpi_days.currency is 'Currency; amounts are in its minor units.';
comment on column public.kpi_days.revenue_cents is 'Sum of positive amounts of sales.';
comment on column public.kpi_days.refunds_cents is 'Sum of negative amounts of sales, as a positive number.';
comment on column public.kpi_days.net_cents is 'Revenue less refunds.';
comment on column public.kpi_days.sales_count is 'Sales, refunds among them.';
comment on column public.kpi_days.average_sale_cents is 'Net by sales, to whole minor units, halves away from zero; null without sales.';
comment on column public.kpi_days.expenses_cents is 'Sum of amounts of expenses.';
comment on column public.kpi_days.expenses_count is 'Expenses.';
comment on column public.kpi_days.profit_cents is 'Net less expenses.';
comment on column public.kpi_days.new_customers is 'Customers whose first sale in this currency it was.';
comment on column public.kpi_days.active_customers is 'Customers with a sale in this currency.';
revoke all on public.kpi_days from public, anon, authenticated;
do $$
begin
    if to_regrole('service_role') is not null then
        revoke insert, update, delete, truncate, references, trigger on public.kpi_days from service_role;
    end if;
end
$$;
grant select on public.kpi_days to authenticated;

-- Events, for automation to react to.
--
-- kpi.calculated is posted by the sweep as the service annals, through the append that every service has: one for each day and
-- currency when the day is over in UTC, and one more when a past day has been corrected. Its stream is kpi/{currency}:{day}, so that
-- the stream's version is the figures' revision.

select annals.declare_event_type(
    'kpi.calculated', '"create"', '{service}', 'The key figures of a day that is over, in one currency: once, and again each time they have been corrected.',
    '{"type": "object",
      "required": ["day", "currency", "revision", "revenue_cents", "refunds_cents", "net_cents", "sales_count", "average_sale_cents",
                   "expenses_cents", "expenses_count", "profit_cents", "new_customers", "active_customers"],
      "additionalProperties": false,
      "properties": {"day": {"type": "string", "format": "date"},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "revision": {"type": "integer", "minimum": 1},
                     "revenue_cents": {"type": "integer", "minimum": 0},
                     "refunds_cents": {"type": "integer", "minimum": 0},
                     "net_cents": {"type": "integer"},
                     "sales_count": {"type": "integer", "minimum": 0},
                     "average_sale_cents": {"type": ["integer", "null"]},
                     "expenses_cents": {"type": "integer"},
                     "expenses_count": {"type": "integer", "minimum": 0},
                     "profit_cents": {"type": "integer"},
                     "new_customers": {"type": "integer", "minimum": 0},
                     "active_customers": {"type": "integer", "minimum": 0}}}',
    '{"day": "2018-11-08", "currency": "USD", "revision": 1, "revenue_cents": 121958, "refunds_cents": 0, "net_cents": 121958, "sales_count": 2,
      "average_sale_cents": 60979, "expenses_cents": 4900, "expenses_count": 1, "profit_cents": 117058, "new_customers": 1, "active_customers": 1}',
    appended_by => 'sweep');

select annals.declare_event_type(
    'sync.started', '{"set": {"status": {"const": "running"}, "system": "/system", "direction": "/direction", "started_at": "/started_at"}}',
    '{staff,service,agent}', 'A system began to exchange data with another one.',
    '{"type": "object",
      "required": ["system"],
      "properties": {"system": {"type": "string", "minLength": 1, "maxLength": 100},
                     "direction": {"enum": ["in", "out", "both"]},
                     "started_at": {"type": "string", "format": "date-time"},
                     "entities": {"type": "array", "items": {"type": "string", "minLength": 1}}}}',
    '{"system": "shop", "direction": "in", "started_at": "2026-02-01T02:00:00Z", "entities": ["sale", "customer"]}');

select annals.declare_event_type(
    'sync.completed',
    '{"set": {"status": {"const": "completed"}, "records": "/records", "records_failed": "/records_failed", "completed_at": "/completed_at"}}',
    '{staff,service,agent}', 'It came to its end.',
    '{"type": "object",
      "required": ["records"],
      "properties": {"records": {"type": "integer", "minimum": 0},
                     "records_failed": {"type": "integer", "minimum": 0},
                     "completed_at": {"type": "string", "format": "date-time"}}}',
    '{"records": 1204, "records_failed": 2, "completed_at": "2026-02-01T02:03:11Z"}',
    requires => 'existing');

select annals.declare_event_type(
    'sync.failed', '{"set": {"status": {"const": "failed"}, "error": "/error", "records": "/records", "failed_at": "/failed_at"}}',
    '{staff,service,agent}', 'It was given up, with the reason.',
    '{"type": "object",
      "required": ["error"],
      "properties": {"error": {"type": "string", "minLength": 1, "maxLength": 2000},
                     "records": {"type": "integer", "minimum": 0},
                     "failed_at": {"type": "string", "format": "date-time"}}}',
    '{"error": "the shop did not answer", "records": 310, "failed_at": "2026-02-01T02:01:40Z"}',
    requires => 'existing');

revoke execute on all functions in schema annals from public;
