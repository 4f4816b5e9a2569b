-- Changes of key figures: the trigger functions that record them, and the functions that apply them to the figures.

-- An index entry has at most 2,704 bytes, and the name of a product may have any length.
create function annals.kpi_name(given text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
    select case when octet_length(given) <= 500 then given
                else left(given, 100) || ' #' || encode(sha256(convert_to(given, 'UTF8')), 'hex') end
$$;
comment on function annals.kpi_name(text) is
    'The name that figures use: the name itself, or, if it has more than 500 bytes, its first 100 characters and its digest.';

-- The condition as text, to be put into statements: a function call per row would cost more than the row itself.
create function annals.kpi_counts(alias text, day text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
    select format('%1$s.deleted_at is null and %1$s.amount_cents is not null and %1$s.currency is not null and %1$s.%2$I between ''0001-01-01'' and ''9999-12-31''',
                  alias, day)
$$;
comment on function annals.kpi_counts(text, text) is
    'The condition for a sale or an expense to count: alias of its row and name of its date column.';

-- Triggers run with the rights of the role that writes the state table. A change that does not affect figures is not recorded. The
-- condition of annals.kpi_counts is written out in each statement, for the same reason.
--
-- The projection writes with INSERT … ON CONFLICT, which fires the triggers for INSERT and for UPDATE even if one of them has no rows. To
-- look for a row costs less than to run a statement without rows. The numbers -1 and 1 are joined as constants, because PostgreSQL compiles
-- the expressions of VALUES anew for each row.

create function annals.record_sale_changes() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        if not exists (select from new_rows) then
            return null;
        end if;
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, product, customer, cause_id, cause_version,
                                        caused_at)
        select c.tenant_id, 1, 'sale', c.sale_date, c.currency, c.amount_cents,
               case when octet_length(c.product) > 500 then annals.kpi_name(c.product) else c.product end,
               case when octet_length(c.customer_id) > 500 then annals.kpi_name(c.customer_id) else c.customer_id end, c.id,
               c.version, c.updated_at
          from new_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.sale_date between '0001-01-01' and '9999-12-31';
    elsif tg_op = 'DELETE' then
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, product, customer, cause_id, cause_version,
                                        caused_at)
        select c.tenant_id, -1, 'sale', c.sale_date, c.currency, c.amount_cents,
               case when octet_length(c.product) > 500 then annals.kpi_name(c.product) else c.product end,
               case when octet_length(c.customer_id) > 500 then annals.kpi_name(c.customer_id) else c.customer_id end, c.id,
               c.version, c.updated_at
          from old_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.sale_date between '0001-01-01' and '9999-12-31';
    elsif exists (select from new_rows) then
        insert into annals.kpi_changes (id, tenant_id, sign, source, day, currency, amount_cents, product, customer, cause_id, cause_version,
                                        caused_at)
        select p.number, case s.sign when 1 then p.new_tenant_id else p.old_tenant_id end, s.sign, 'sale',
               case s.sign when 1 then p.new_day else p.old_day end, case s.sign when 1 then p.new_currency else p.old_currency end,
               case s.sign when 1 then p.new_amount_cents else p.old_amount_cents end,
               case s.sign when 1 then p.new_product else p.old_product end,
               case s.sign when 1 then p.new_customer else p.old_customer end,
               case s.sign when 1 then p.new_id else p.old_id end, p.version, p.updated_at
          from (select nextval('annals.kpi_changes_id_seq') as number, coalesce(n.version, o.version) as version,
                       coalesce(n.updated_at, o.updated_at) as updated_at,
                       o.tenant_id as old_tenant_id, n.tenant_id as new_tenant_id,
                       o.id as old_id, n.id as new_id,
                       o.sale_date as old_day, n.sale_date as new_day,
                       o.currency as old_currency, n.currency as new_currency,
                       o.amount_cents as old_amount_cents, n.amount_cents as new_amount_cents,
                       case when octet_length(o.product) > 500 then annals.kpi_name(o.product) else o.product end as old_product,
                       case when octet_length(n.product) > 500 then annals.kpi_name(n.product) else n.product end as new_product,
                       case when octet_length(o.customer_id) > 500 then annals.kpi_name(o.customer_id) else o.customer_id end as old_customer,
                       case when octet_length(n.customer_id) > 500 then annals.kpi_name(n.customer_id) else n.customer_id end as new_customer,
                       o.deleted_at is null and o.amount_cents is not null and o.currency is not null
                       and o.sale_date between '0001-01-01' and '9999-12-31' as old_counts,
                       n.deleted_at is null and n.amount_cents is not null and n.currency is not null
                       and n.sale_date between '0001-01-01' and '9999-12-31' as new_counts
                  from old_rows o
                  full join new_rows n on n.tenant_id = o.tenant_id and n.id = o.id
                 where (o.sale_date, o.currency, o.amount_cents, o.product, o.customer_id, o.deleted_at is null)
                       is distinct from (n.sale_date, n.currency, n.amount_cents, n.product, n.customer_id, n.deleted_at is null)
                offset 0) as p
         cross join (values (-1), (1)) as s (sign)
         where case s.sign when 1 then p.new_counts else p.old_counts end;
    end if;
    return null;
end
$$;
comment on function annals.record_sale_changes() is 'Trigger: records what a statement has changed in sales.';

create function annals.record_expense_changes() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    if tg_op = 'INSERT' then
        if not exists (select from new_rows) then
            return null;
        end if;
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, category, cause_id, cause_version, caused_at)
        select c.tenant_id, 1, 'expense', c.expense_date, c.currency, c.amount_cents,
               case when octet_length(c.category) > 500 then annals.kpi_name(c.category) else coalesce(c.category, '') end, c.id,
               c.version, c.updated_at
          from new_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.expense_date between '0001-01-01' and '9999-12-31';
    elsif tg_op = 'DELETE' then
        insert into annals.kpi_changes (tenant_id, sign, source, day, currency, amount_cents, category, cause_id, cause_version, caused_at)
        select c.tenant_id, -1, 'expense', c.expense_date, c.currency, c.amount_cents,
               case when octet_length(c.category) > 500 then annals.kpi_name(c.category) else coalesce(c.category, '') end, c.id,
               c.version, c.updated_at
          from old_rows c
         where c.deleted_at is null and c.amount_cents is not null and c.currency is not null
           and c.expense_date between '0001-01-01' and '9999-12-31';
    elsif exists (select from new_rows) then
        insert into annals.kpi_changes (id, tenant_id, sign, source, day, currency, amount_cents, category, cause_id, cause_version,
                                        caused_at)
        select p.number, case s.sign when 1 then p.new_tenant_id else p.old_tenant_id end, s.sign, 'expense',
               case s.sign when 1 then p.new_day else p.old_day end, case s.sign when 1 then p.new_currency else p.old_currency end,
               case s.sign when 1 then p.new_amount_cents else p.old_amount_cents end,
               case s.sign when 1 then p.new_category else p.old_category end,
               case s.sign when 1 then p.new_id else p.old_id end, p.version, p.updated_at
          from (select nextval('annals.kpi_changes_id_seq') as number, coalesce(n.version, o.version) as version,
                       coalesce(n.updated_at, o.updated_at) as updated_at,
                       o.tenant_id as old_tenant_id, n.tenant_id as new_tenant_id,
                       o.id as old_id, n.id as new_id,
                       o.expense_date as old_day, n.expense_date as new_day,
                       o.currency as old_currency, n.currency as new_currency,
                       o.amount_cents as old_amount_cents, n.amount_cents as new_amount_cents,
                       case when octet_length(o.category) > 500 then annals.kpi_name(o.category) else coalesce(o.category, '') end as old_category,
                       case when octet_length(n.category) > 500 then annals.kpi_name(n.category) else coalesce(n.category, '') end as new_category,
                       o.deleted_at is null and o.amount_cents is not null and o.currency is not null
                       and o.expense_date between '0001-01-01' and '9999-12-31' as old_counts,
                       n.deleted_at is null and n.amount_cents is not null and n.currency is not null
                       and n.expense_date between '0001-01-01' and '9999-12-31' as new_counts
                  from old_rows o
                  full join new_rows n on n.tenant_id = o.tenant_id and n.id = o.id
                 where (o.expense_date, o.currency, o.amount_cents, o.category, o.deleted_at is null)
                       is distinct from (n.expense_date, n.currency, n.amount_cents, n.category, n.deleted_at is null)
                offset 0) as p
         cross join (values (-1), (1)) as s (sign)
         where case s.sign when 1 then p.new_counts else p.old_counts end;
    end if;
    return null;
end
$$;
comment on function annals.record_expense_changes() is 'Trigger: records what a statement has changed in expenses.';

-- Applying changes. They are passed in an array, because the planner knows the length of an array.

create function annals.apply_kpi_days(tenant uuid, taken annals.kpi_changes[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set work_mem = '64MB' set jit = off as $$
begin
    -- The changes of one sale are added first. If they amount to nothing (it was created and deleted again, say), nothing is announced.
    with nets as materialized (
        select t.currency, t.day, t.source, t.cause_id, max(t.cause_version) as cause_version, max(t.caused_at) as caused_at, max(t.id) as id,
               coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents > 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents > 0), 0) as positive,
               coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents < 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents < 0), 0) as negative,
               sum(t.sign) as entries
          from unnest(apply_kpi_days.taken) as t
         group by 1, 2, 3, 4
    ), effective as materialized (
        select n.* from nets n where n.positive <> 0 or n.negative <> 0 or n.entries <> 0
    ), sums as (
        select e.currency, e.day, coalesce(sum(e.positive) filter (where e.source = 'sale'), 0) as revenue_cents,
               coalesce(sum(e.negative) filter (where e.source = 'sale'), 0) as refunds_cents,
               coalesce(sum(e.entries) filter (where e.source = 'sale'), 0) as sales_count,
               coalesce(sum(e.positive - e.negative) filter (where e.source = 'expense'), 0) as expenses_cents,
               coalesce(sum(e.entries) filter (where e.source = 'expense'), 0) as expenses_count
          from effective e
         group by 1, 2
    ), causes as (
        select distinct on (e.currency, e.day) e.currency, e.day, e.source, e.cause_id, e.cause_version, e.caused_at
          from effective e
         order by e.currency, e.day, e.caused_at desc, e.id desc
    )
    insert into annals.kpi_days as d (tenant_id, day, currency, revenue_cents, refunds_cents, sales_count, expenses_cents, expenses_count,
                                      cause_type, cause_id, cause_version, caused_at, changes, is_due)
    select apply_kpi_days.tenant, s.day, s.currency, s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count,
           c.source, c.cause_id, c.cause_version, c.caused_at, 1, true
      from sums s
      join causes c on c.currency = s.currency and c.day = s.day
    on conflict on constraint kpi_days_pkey do update
        set revenue_cents = d.revenue_cents + excluded.revenue_cents, refunds_cents = d.refunds_cents + excluded.refunds_cents,
            sales_count = d.sales_count + excluded.sales_count, expenses_cents = d.expenses_cents + excluded.expenses_cents,
            expenses_count = d.expenses_count + excluded.expenses_count, changes = d.changes + 1, is_due = true,
            due_since = case when d.is_due then d.due_since else excluded.due_since end,
            caused_at = greatest(d.caused_at, excluded.caused_at),
            cause_type = case when excluded.caused_at >= d.caused_at then excluded.cause_type else d.cause_type end,
            cause_id = case when excluded.caused_at >= d.caused_at then excluded.cause_id else d.cause_id end,
            cause_version = case when excluded.caused_at >= d.caused_at then excluded.cause_version else d.cause_version end;
end
$$;
comment on function annals.apply_kpi_days(uuid, annals.kpi_changes[]) is
    'Adds changes to a tenant''s figures of days, except the numbers of customers.';

create function annals.apply_kpi_names(tenant uuid, taken annals.kpi_changes[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set work_mem = '64MB' set jit = off as $$
declare
    emptied annals.kpi_names[];
begin
    with days as materialized (
        select t.kind, t.currency, t.name, t.day,
               coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents > 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents > 0), 0) as positive,
               coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents < 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents < 0), 0) as negative,
               sum(t.sign) as entries
          from (select 'product' as kind, u.product as name, u.currency, u.day, u.amount_cents, u.sign
                  from unnest(apply_kpi_names.taken) as u where u.product is not null
                 union all
                select 'customer', u.customer, u.currency, u.day, u.amount_cents, u.sign
                  from unnest(apply_kpi_names.taken) as u where u.customer is not null
                 union all
                select 'category', u.category, u.currency, u.day, u.amount_cents, u.sign
                  from unnest(apply_kpi_names.taken) as u where u.category is not null) as t
         group by 1, 2, 3, 4
    ), months as materialized (
        select d.kind, d.currency, d.name, date_trunc('month', d.day::timestamp)::date as month, sum(d.positive) as positive,
               sum(d.negative) as negative, sum(d.entries) as entries
          from days d
         group by 1, 2, 3, 4
    ), spans as (
        select d.kind, 'day' as span, d.currency, d.day as period, d.name, d.positive, d.negative, d.entries from days d
         union all
        select m.kind, 'month', m.currency, m.month, m.name, m.positive, m.negative, m.entries from months m
         union all
        select m.kind, 'year', m.currency, date_trunc('year', m.month::timestamp)::date, m.name, sum(m.positive), sum(m.negative), sum(m.entries)
          from months m
         group by 1, 3, 4, 5
    ), written as (
        insert into annals.kpi_names as n (tenant_id, kind, span, currency, period, name, positive_cents, negative_cents, entries)
        select apply_kpi_names.tenant, s.kind, s.span, s.currency, s.period, s.name, s.positive, s.negative, s.entries
          from spans s
         where s.positive <> 0 or s.negative <> 0 or s.entries <> 0
         order by s.kind, s.span, s.currency, s.period, s.name collate "C"
        on conflict on constraint kpi_names_pkey do update
            set positive_cents = n.positive_cents + excluded.positive_cents, negative_cents = n.negative_cents + excluded.negative_cents,
                entries = n.entries + excluded.entries
        returning n.*
    )
    select array_agg(row(w.*)::annals.kpi_names) into emptied
      from written w
     where w.entries = 0 and w.positive_cents = 0 and w.negative_cents = 0;
    delete from annals.kpi_names n
     using unnest(emptied) as e
     where n.tenant_id = e.tenant_id and n.kind = e.kind and n.span = e.span and n.currency = e.currency and n.period = e.period
       and n.name = e.name;
end
$$;
comment on function annals.apply_kpi_names(uuid, annals.kpi_changes[]) is
    'Adds changes to a tenant''s figures of products, customers and categories.';

-- Called after the names, whose days of customers it reads. For each customer whose days of purchase have changed, it computes the previous
-- day of each day, before and after the changes. If that differs, the customer moves from one previous day to another.
create function annals.apply_kpi_repeat_customers(tenant uuid, taken annals.kpi_changes[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set work_mem = '64MB' set jit = off as $$
declare
    emptied annals.kpi_repeat_customers[];
begin
    with deltas as materialized (
        select t.currency, t.customer as name, t.day, sum(t.sign) as entries, max(t.caused_at) as caused_at, max(t.id) as id
          from unnest(apply_kpi_repeat_customers.taken) as t
         where t.source = 'sale' and t.customer is not null
         group by 1, 2, 3
        having sum(t.sign) <> 0
    ), touched as materialized (
        select d.currency, d.name, max(d.caused_at) as caused_at, max(d.id) as id from deltas d group by 1, 2
    ), bought as (
        select h.currency, h.name, h.day, sum(h.entries_before) > 0 as before, sum(h.entries_now) > 0 as now
          from (select n.currency, n.name, n.period as day, n.entries as entries_before, n.entries as entries_now
                  from touched t
                  join annals.kpi_names n on n.tenant_id = apply_kpi_repeat_customers.tenant and n.kind = 'customer' and n.span = 'day'
                                         and n.currency = t.currency and n.name = t.name
                 union all
                select d.currency, d.name, d.day, -d.entries, 0 from deltas d) as h
         group by 1, 2, 3
    ), followed as (
        select b.currency, b.name, b.day, b.before, b.now,
               coalesce(max(b.day) filter (where b.before) over earlier, '-infinity') as previous_before,
               coalesce(max(b.day) filter (where b.now) over earlier, '-infinity') as previous_now
          from bought b
        window earlier as (partition by b.currency, b.name order by b.day rows between unbounded preceding and 1 preceding)
    ), changed as materialized (
        select f.* from followed f where f.before <> f.now or (f.now and f.previous_before <> f.previous_now)
    ), moves as materialized (
        select m.day, m.currency, m.previous_day, sum(m.customers) as customers
          from (select c.day, c.currency, c.previous_before as previous_day, -1 as customers from changed c where c.before
                 union all
                select c.day, c.currency, c.previous_now, 1 from changed c where c.now) as m
         group by 1, 2, 3
        having sum(m.customers) <> 0
    ), written as (
        insert into annals.kpi_repeat_customers as r (tenant_id, day, currency, previous_day, customers)
        select apply_kpi_repeat_customers.tenant, m.day, m.currency, m.previous_day, m.customers from moves m order by m.day, m.currency, m.previous_day
        on conflict on constraint kpi_repeat_customers_pkey do update set customers = r.customers + excluded.customers
        returning r.*
    ), days as (
        select m.day, m.currency, coalesce(sum(m.customers) filter (where m.previous_day = '-infinity'), 0) as new_customers,
               sum(m.customers) as active_customers
          from moves m
         group by 1, 2
    ), lasts as (
        -- The cause of a day's change is a sale of that day. For a day without changed sales it is the customer's last changed sale.
        select distinct on (c.day, c.currency) c.day, c.currency, coalesce(d.id, t.id) as id
          from changed c
          join touched t on t.currency = c.currency and t.name = c.name
          left join deltas d on d.currency = c.currency and d.name = c.name and d.day = c.day
         order by c.day, c.currency, coalesce(d.caused_at, t.caused_at) desc, coalesce(d.id, t.id) desc
    ), updated as (
        update annals.kpi_days d
           set new_customers = d.new_customers + s.new_customers, active_customers = d.active_customers + s.active_customers,
               changes = d.changes + 1, is_due = true, due_since = case when d.is_due then d.due_since else now() end,
               caused_at = greatest(d.caused_at, c.caused_at),
               cause_type = case when c.caused_at >= d.caused_at then c.source else d.cause_type end,
               cause_id = case when c.caused_at >= d.caused_at then c.cause_id else d.cause_id end,
               cause_version = case when c.caused_at >= d.caused_at then c.cause_version else d.cause_version end
          from days s
          join lasts l on l.day = s.day and l.currency = s.currency
          -- Both rows of a change have the same cause.
          join (select distinct on (t.id) t.* from unnest(apply_kpi_repeat_customers.taken) as t order by t.id) as c on c.id = l.id
         where (s.new_customers <> 0 or s.active_customers <> 0)
           and d.tenant_id = apply_kpi_repeat_customers.tenant and d.currency = s.currency and d.day = s.day
    )
    select array_agg(row(w.*)::annals.kpi_repeat_customers) into emptied from written w where w.customers = 0;
    delete from annals.kpi_repeat_customers r
     using unnest(emptied) as e
     where r.tenant_id = e.tenant_id and r.day = e.day and r.currency = e.currency and r.previous_day = e.previous_day;
end
$$;
comment on function annals.apply_kpi_repeat_customers(uuid, annals.kpi_changes[]) is
    'Adds changes to a tenant''s repeat customers, and to the numbers of customers of days.';

create function annals.apply_kpi_changes(tenant uuid, most int) returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    upper bigint;
    taken annals.kpi_changes[];
begin
    begin
        lock table annals_locks.kpis in row exclusive mode nowait;
    exception when lock_not_available then
        return null;
    end;
    -- This does not wait, except the first time for a tenant: then one of two concurrent calls waits for the insert of the other.
    if not exists (select from annals_locks.kpi_tenants t where t.tenant_id = apply_kpi_changes.tenant) then
        insert into annals_locks.kpi_tenants (tenant_id) values (apply_kpi_changes.tenant) on conflict on constraint kpi_tenants_pkey do nothing;
    end if;
    perform from annals_locks.kpi_tenants t where t.tenant_id = apply_kpi_changes.tenant for update skip locked;
    if not found then
        return null;
    end if;
    select max(c.id) into upper
      from (select k.id from annals.kpi_changes k where k.tenant_id = apply_kpi_changes.tenant order by k.id limit most) as c;
    -- One statement, because a slow transaction may commit lower numbers at any moment.
    with gone as (
        delete from annals.kpi_changes k where k.tenant_id = apply_kpi_changes.tenant and k.id <= upper returning k.*
    )
    select array_agg(row(g.*)::annals.kpi_changes) into taken from gone g;
    if taken is null then
        return 0;
    end if;
    perform annals.apply_kpi_days(tenant, taken);
    perform annals.apply_kpi_names(tenant, taken);
    perform annals.apply_kpi_repeat_customers(tenant, taken);
    return cardinality(taken);
end
$$;
comment on function annals.apply_kpi_changes(uuid, int) is
    'Applies a tenant''s recorded changes to the figures, up to the given number of rows or one more. Returns how many: 0, none is left; null, another process is applying this tenant''s changes.';

grant execute on function
    annals.kpi_name(text), annals.kpi_counts(text, text), annals.apply_kpi_days(uuid, annals.kpi_changes[]), annals.apply_kpi_names(uuid, annals.kpi_changes[]),
    annals.apply_kpi_repeat_customers(uuid, annals.kpi_changes[]), annals.apply_kpi_changes(uuid, int)
to annals_projector;

revoke execute on all functions in schema annals from public;
