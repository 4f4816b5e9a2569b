-- Key figures settled tenant by tenant and in bulk, repaired within a rebuild's own transaction, announced by the sweep alone.
--
-- Until now one lock held up all tenants behind one's upload; a process that found it taken could not tell that from "nothing is left"; and a
-- rebuild made figures what damaged tables said, committed that, and repaired the tables afterwards.

-- What takes long comes first: projectors wait for notes alone. In the order in which readers lock them.
lock table annals_locks.kpis in exclusive mode;
lock table annals.kpi_days, annals.kpi_returns, annals.kpi_names in access exclusive mode;

-- Figures of days hold their customers, too. A correction rests for some minutes before it is announced.

alter table annals.kpi_days
    add column new_customers bigint not null default 0,
    add column active_customers bigint not null default 0,
    add column due_since timestamptz not null default now();
comment on column annals.kpi_days.new_customers is 'Customers whose first sale in this currency it was.';
comment on column annals.kpi_days.active_customers is 'Customers with a sale in this currency.';
comment on column annals.kpi_days.due_since is 'When they first changed after they were announced, where they are due.';
drop index annals.kpi_days_due;
create index kpi_days_due on annals.kpi_days (tenant_id, day, currency) where is_due;

-- By period first: rankings read some days in a row. Only a customer's days are read by name.
alter table annals.kpi_names drop constraint kpi_names_pkey;
drop index annals.kpi_names_by_period;
alter table annals.kpi_names drop constraint kpi_names_span;
alter table annals.kpi_names add constraint kpi_names_span check (span in ('day', 'month', 'year'));
delete from annals.kpi_names n where n.entries = 0 and n.positive_cents = 0 and n.negative_cents = 0;
insert into annals.kpi_names (tenant_id, kind, span, currency, name, period, positive_cents, negative_cents, entries)
select n.tenant_id, n.kind, 'year', n.currency, n.name, date_trunc('year', n.period::timestamp)::date, sum(n.positive_cents), sum(n.negative_cents),
       sum(n.entries)
  from annals.kpi_names n
 where n.span = 'month'
 group by 1, 2, 4, 5, 6;
alter table annals.kpi_names add constraint kpi_names_pkey primary key (tenant_id, kind, span, currency, period, name);
create index kpi_names_of_customers on annals.kpi_names (tenant_id, currency, name, period) where kind = 'customer' and span = 'day';
comment on table annals.kpi_names is 'Sales by product and by customer, expenses by category, each by day, by month and by year.';
comment on column annals.kpi_names.period is 'The day, or the month''s or the year''s first one.';
comment on column annals.kpi_names.span is 'day, month or year: ten years'' sums read ten rows of a product, not 3,650.';
comment on column annals.kpi_names.entries is 'Sales, or expenses.';

delete from annals.kpi_returns r where r.customers = 0;
comment on column annals.kpi_returns.customers is 'How many.';
update annals.kpi_days d
   set new_customers = c.new_customers, active_customers = c.active_customers
  from (select r.tenant_id, r.day, r.currency, coalesce(sum(r.customers) filter (where r.previous_day = '-infinity'), 0) as new_customers,
               sum(r.customers) as active_customers
          from annals.kpi_returns r
         group by 1, 2, 3) as c
 where d.tenant_id = c.tenant_id and d.day = c.day and d.currency = c.currency;

comment on table annals_locks.kpis is 'Settling takes this lock in ROW EXCLUSIVE mode and locks the tenant''s row in kpi_tenants. Mending takes it in EXCLUSIVE mode.';
create table annals_locks.kpi_tenants (tenant_id uuid not null, constraint kpi_tenants_pkey primary key (tenant_id));
comment on table annals_locks.kpi_tenants is 'A row per tenant: settling the tenant''s notes locks it.';
grant select, insert, update on annals_locks.kpi_tenants to annals_projector;

-- Notes. Both halves of a change have one number: no batch, which is cut by numbers, ends between them.

alter table annals.kpi_changes drop constraint kpi_changes_pkey;
alter table annals.kpi_changes add constraint kpi_changes_pkey primary key (tenant_id, id, sign);
alter table annals.kpi_changes add column noted_at timestamptz not null default now();
comment on column annals.kpi_changes.noted_at is 'When the transaction began that noted it: how far figures lag.';
create policy kpi_changes_read on annals.kpi_changes for select to authenticated
    using (tenant_id = (select annals.caller_tenant()) and (select annals.caller_sees_tenant()));
grant select on annals.kpi_changes to authenticated;
grant usage on sequence annals.kpi_changes_id_seq to annals_projector;

-- As text, to be written into statements: a call for each row would cost more than the row.
create function annals.kpi_counts(alias text, day text) returns text language sql immutable set search_path = pg_catalog, pg_temp as $$
    select format('%1$s.deleted_at is null and %1$s.amount_cents is not null and %1$s.currency is not null and %1$s.%2$I between ''0001-01-01'' and ''9999-12-31''',
                  alias, day)
$$;
comment on function annals.kpi_counts(text, text) is 'The condition by which a sale or an expense counts, for a row of that alias.';

do $do$
declare
    of   record;
    noted constant text := 'tenant_id, sign, source, day, currency, amount_cents, %4$s, cause_id, cause_version, caused_at';
    said  constant text := '''%2$s'', c.%3$s, c.currency, c.amount_cents, %5$s, c.id';
begin
    for of in select * from (values
        ('note_sales', 'sale', 'sale_date', 'product, customer',
         'case when octet_length(c.product) > 500 then annals.kpi_name(c.product) else c.product end, '
         'case when octet_length(c.customer_id) > 500 then annals.kpi_name(c.customer_id) else c.customer_id end', 'product, customer_id'),
        ('note_expenses', 'expense', 'expense_date', 'category',
         'case when octet_length(c.category) > 500 then annals.kpi_name(c.category) else coalesce(c.category, '''') end', 'category')
        ) as t (name, kind, day, columns, expressions, given)
    loop
        execute format($trigger$
create or replace function annals.%1$I() returns trigger language plpgsql set search_path = pg_catalog, pg_temp as $body$
begin
    if tg_op = 'INSERT' then
        insert into annals.kpi_changes ($trigger$ || noted || $trigger$)
        select c.tenant_id, 1, $trigger$ || said || $trigger$, c.version, c.updated_at from new_rows c where %6$s;
    elsif tg_op = 'DELETE' then
        insert into annals.kpi_changes ($trigger$ || noted || $trigger$)
        select c.tenant_id, -1, $trigger$ || said || $trigger$, c.version, c.updated_at from old_rows c where %6$s;
    else
        insert into annals.kpi_changes (id, $trigger$ || noted || $trigger$)
        select c.number, c.tenant_id, c.sign, $trigger$ || said || $trigger$, coalesce(n.version, o.version), coalesce(n.updated_at, o.updated_at)
          from old_rows o
          full join new_rows n on n.tenant_id = o.tenant_id and n.id = o.id
         cross join lateral (select nextval('annals.kpi_changes_id_seq'), o.id, n.id offset 0) as p (number)
         cross join lateral (values
               (p.number, -1, o.tenant_id, o.id, o.%3$s, o.currency, o.amount_cents, o.%7$s, o.deleted_at),
               (p.number, 1, n.tenant_id, n.id, n.%3$s, n.currency, n.amount_cents, n.%8$s, n.deleted_at)
               ) as c (number, sign, tenant_id, id, %3$s, currency, amount_cents, %9$s, deleted_at)
         where (o.%3$s, o.currency, o.amount_cents, o.%7$s, o.deleted_at is null)
               is distinct from (n.%3$s, n.currency, n.amount_cents, n.%8$s, n.deleted_at is null)
           and %6$s;
    end if;
    return null;
end
$body$
$trigger$, of.name, of.kind, of.day, of.columns, of.expressions, annals.kpi_counts('c', of.day),
           replace(of.given, ', ', ', o.'), replace(of.given, ', ', ', n.'), of.given);
    end loop;
end
$do$;

-- Settling. Notes are taken into an array: of a handful the planner knows that it is a handful, and of many that they are many.

create function annals.settle_days(tenant uuid, taken annals.kpi_changes[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set work_mem = '64MB' set jit = off as $$
begin
    -- Of a sale that came and went, or came back as it was, nothing is announced, and it caused nothing.
    with nets as materialized (
        select t.currency, t.day, t.source, t.cause_id, max(t.cause_version) as cause_version, max(t.caused_at) as caused_at, max(t.id) as id,
               coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents > 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents > 0), 0) as positive,
               coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents < 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents < 0), 0) as negative,
               sum(t.sign) as entries
          from unnest(settle_days.taken) as t
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
    select settle_days.tenant, s.day, s.currency, s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count,
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
comment on function annals.settle_days(uuid, annals.kpi_changes[]) is 'Adds changes to the figures of days.';

create function annals.settle_names(tenant uuid, taken annals.kpi_changes[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set work_mem = '64MB' set jit = off as $$
declare
    emptied annals.kpi_names[];
begin
    with days as materialized (
        select k.kind, t.currency, k.name, t.day,
               coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents > 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents > 0), 0) as positive,
               coalesce(sum(t.amount_cents) filter (where t.sign = -1 and t.amount_cents < 0), 0)
               - coalesce(sum(t.amount_cents) filter (where t.sign = 1 and t.amount_cents < 0), 0) as negative,
               sum(t.sign) as entries
          from unnest(settle_names.taken) as t
         cross join lateral (values ('product', t.product), ('customer', t.customer), ('category', t.category)) as k (kind, name)
         where k.name is not null
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
        select settle_names.tenant, s.kind, s.span, s.currency, s.period, s.name, s.positive, s.negative, s.entries
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
comment on function annals.settle_names(uuid, annals.kpi_changes[]) is 'Adds changes to the figures of products, customers and categories.';

-- After names. Along the days of each customer who has bought on other days than before: when they had bought before any of
-- them, then and now. Where that differs, a customer moves from one previous day to another.
create function annals.settle_returns(tenant uuid, taken annals.kpi_changes[]) returns void language plpgsql
set search_path = pg_catalog, pg_temp set plan_cache_mode = force_custom_plan set work_mem = '64MB' set jit = off as $$
declare
    emptied annals.kpi_returns[];
begin
    with deltas as materialized (
        select t.currency, t.customer as name, t.day, sum(t.sign) as entries, max(t.caused_at) as caused_at, max(t.id) as id
          from unnest(settle_returns.taken) as t
         where t.source = 'sale' and t.customer is not null
         group by 1, 2, 3
        having sum(t.sign) <> 0
    ), touched as materialized (
        select d.currency, d.name, max(d.caused_at) as caused_at, max(d.id) as id from deltas d group by 1, 2
    ), bought as (
        select h.currency, h.name, h.day, sum(h.entries_before) > 0 as before, sum(h.entries_now) > 0 as now
          from (select n.currency, n.name, n.period as day, n.entries as entries_before, n.entries as entries_now
                  from touched t
                  join annals.kpi_names n on n.tenant_id = settle_returns.tenant and n.kind = 'customer' and n.span = 'day'
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
        insert into annals.kpi_returns as r (tenant_id, day, currency, previous_day, customers)
        select settle_returns.tenant, m.day, m.currency, m.previous_day, m.customers from moves m order by m.day, m.currency, m.previous_day
        on conflict on constraint kpi_returns_pkey do update set customers = r.customers + excluded.customers
        returning r.*
    ), days as (
        select m.day, m.currency, coalesce(sum(m.customers) filter (where m.previous_day = '-infinity'), 0) as new_customers,
               sum(m.customers) as active_customers
          from moves m
         group by 1, 2
    ), lasts as (
        -- A sale moves its own day; what happens to a day without any, the customer's last change has done.
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
          -- Both halves of a change tell its cause alike.
          join (select distinct on (t.id) t.* from unnest(settle_returns.taken) as t order by t.id) as c on c.id = l.id
         where (s.new_customers <> 0 or s.active_customers <> 0)
           and d.tenant_id = settle_returns.tenant and d.currency = s.currency and d.day = s.day
    )
    select array_agg(row(w.*)::annals.kpi_returns) into emptied from written w where w.customers = 0;
    delete from annals.kpi_returns r
     using unnest(emptied) as e
     where r.tenant_id = e.tenant_id and r.day = e.day and r.currency = e.currency and r.previous_day = e.previous_day;
end
$$;
comment on function annals.settle_returns(uuid, annals.kpi_changes[]) is 'Adds changes to customers'' returns, and to the customers of days.';

create function annals.settle_kpis(tenant uuid, most int) returns bigint language plpgsql set search_path = pg_catalog, pg_temp as $$
declare
    upper bigint;
    taken annals.kpi_changes[];
begin
    begin
        lock table annals_locks.kpis in row exclusive mode nowait;
    exception when lock_not_available then
        return null;
    end;
    -- Without a wait, but for the first time of a tenant, where two may wait for each other's insert.
    if not exists (select from annals_locks.kpi_tenants t where t.tenant_id = settle_kpis.tenant) then
        insert into annals_locks.kpi_tenants (tenant_id) values (settle_kpis.tenant) on conflict on constraint kpi_tenants_pkey do nothing;
    end if;
    perform from annals_locks.kpi_tenants t where t.tenant_id = settle_kpis.tenant for update skip locked;
    if not found then
        return null;
    end if;
    select max(c.id) into upper
      from (select k.id from annals.kpi_changes k where k.tenant_id = settle_kpis.tenant order by k.id limit most) as c;
    -- At one look: a slow transaction may commit lower numbers any moment.
    with gone as (
        delete from annals.kpi_changes k where k.tenant_id = settle_kpis.tenant and k.id <= upper returning k.*
    )
    select array_agg(row(g.*)::annals.kpi_changes) into taken from gone g;
    if taken is null then
        return 0;
    end if;
    perform annals.settle_days(tenant, taken);
    perform annals.settle_names(tenant, taken);
    perform annals.settle_returns(tenant, taken);
    return cardinality(taken);
end
$$;
comment on function annals.settle_kpis(uuid, int) is
    'Adds a tenant''s noted changes to the figures, so many or one more, and returns how many: 0, none is left; null, another process settles this tenant.';

-- What functions from before this migration call until they are replaced.
create or replace function annals.settle_kpis(most int) returns bigint language sql set search_path = pg_catalog, pg_temp as $$
    select coalesce(annals.settle_kpis((select c.tenant_id from annals.kpi_changes c order by c.tenant_id limit 1), most), 0)
$$;
comment on function annals.settle_kpis(int) is 'Settles for one tenant with noted changes; how many.';

-- What figures should say: what tables hold that are given by name, the live ones or those that a proof has folded, less what is noted and
-- not yet settled. One statement reads all of it, so it is of one moment, whatever is written meanwhile.

drop function annals.mend_kpis(uuid), annals.list_kpi_differences(regclass, regclass, uuid), annals.kpi_returns_now(uuid),
    annals.kpi_names_of(regclass, regclass, uuid), annals.kpi_days_of(regclass, regclass, uuid), annals.kpi_facts(regclass, regclass, uuid);

create function annals.kpi_facts(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, sign int, source text, day date, currency text, amount_cents bigint, product text, customer text, category text,
    cause_id text, cause_version int, caused_at timestamptz
) language plpgsql stable set search_path = pg_catalog, pg_temp as $$
begin
    return query execute format(
        'select s.tenant_id, 1, ''sale'', s.sale_date, s.currency, s.amount_cents, annals.kpi_name(s.product), annals.kpi_name(s.customer_id), null,
                s.id, s.version, s.updated_at
           from %s s
          where ($1 is null or s.tenant_id = $1) and %s
          union all
         select e.tenant_id, 1, ''expense'', e.expense_date, e.currency, e.amount_cents, null, null, annals.kpi_name(coalesce(e.category, '''')),
                e.id, e.version, e.updated_at
           from %s e
          where ($1 is null or e.tenant_id = $1) and %s
          union all
         select c.tenant_id, -c.sign, c.source, c.day, c.currency, c.amount_cents, c.product, c.customer, c.category, c.cause_id, c.cause_version,
                c.caused_at
           from annals.kpi_changes c
          where $1 is null or c.tenant_id = $1',
        sales, annals.kpi_counts('s', 'sale_date'), expenses, annals.kpi_counts('e', 'expense_date'))
    using tenant;
end
$$;
comment on function annals.kpi_facts(regclass, regclass, uuid) is
    'The sales and expenses that count, of a tenant or of all, and what is noted of them with the opposite sign.';

create function annals.kpi_names_of(sales regclass, expenses regclass, tenant uuid) returns table (
    tenant_id uuid, kind text, span text, currency text, name text, period date, positive_cents numeric, negative_cents numeric, entries numeric
) language sql stable set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
    select f.tenant_id, k.kind, s.span, f.currency, k.name, s.period, sum(f.sign * greatest(f.amount_cents, 0)::numeric),
           sum(f.sign * -least(f.amount_cents, 0)::numeric), sum(f.sign)::numeric
      from annals.kpi_facts(sales, expenses, tenant) f
     cross join lateral (values ('product', f.product), ('customer', f.customer), ('category', f.category)) as k (kind, name)
     cross join lateral (values ('day', f.day), ('month', date_trunc('month', f.day::timestamp)::date),
                                ('year', date_trunc('year', f.day::timestamp)::date)) as s (span, period)
     where k.name is not null
     group by 1, 2, 3, 4, 5, 6
    having sum(f.sign) <> 0 or sum(f.sign * f.amount_cents::numeric) <> 0 or sum(f.sign * abs(f.amount_cents::numeric)) <> 0
$$;
comment on function annals.kpi_names_of(regclass, regclass, uuid) is 'What annals.kpi_names should say.';

create function annals.kpi_returns_of(sales regclass, expenses regclass, tenant uuid) returns table (
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
comment on function annals.kpi_returns_of(regclass, regclass, uuid) is 'What annals.kpi_returns should say.';

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
               coalesce(sum(f.sign) filter (where f.source = 'expense'), 0)::numeric as expenses_count
          from facts f
         group by 1, 2, 3
    ), causes as (
        select distinct on (f.tenant_id, f.day, f.currency) f.tenant_id, f.day, f.currency, f.source, f.cause_id, f.cause_version, f.caused_at
          from facts f
         where f.sign = 1
         order by f.tenant_id, f.day, f.currency, f.caused_at desc, f.source, f.cause_id
    ), customers as (
        select r.tenant_id, r.day, r.currency, coalesce(sum(r.customers) filter (where r.previous_day = '-infinity'), 0)::bigint as new_customers,
               sum(r.customers)::bigint as active_customers
          from annals.kpi_returns_of(sales, expenses, tenant) r
         group by 1, 2, 3
    )
    select s.*, coalesce(k.new_customers, 0), coalesce(k.active_customers, 0), c.source, c.cause_id, c.cause_version, c.caused_at
      from sums s
      left join causes c on c.tenant_id = s.tenant_id and c.day = s.day and c.currency = s.currency
      left join customers k on k.tenant_id = s.tenant_id and k.day = s.day and k.currency = s.currency
     where (s.revenue_cents, s.refunds_cents, s.sales_count, s.expenses_cents, s.expenses_count) <> (0, 0, 0, 0, 0)
$$;
comment on function annals.kpi_days_of(regclass, regclass, uuid) is 'What annals.kpi_days should say, with the event that each day heard of last.';

-- Repairs figures, while annals_locks.kpis is locked EXCLUSIVE: one statement, so one moment, and what is noted stays noted, with its cause. It
-- belongs into the transaction that repairs the tables: figures that were right all the time are made those of damaged tables only together with
-- the notes of their repair.
create function annals.mend_kpis(tenant uuid) returns bigint language plpgsql set search_path = pg_catalog, pg_temp
set enable_nestloop = off set jit = off as $$
declare
    changed bigint;
begin
    with days as materialized (
        select * from annals.kpi_days_of('public.sales', 'public.expenses', mend_kpis.tenant)
    ), names as materialized (
        select * from annals.kpi_names_of('public.sales', 'public.expenses', mend_kpis.tenant)
    ), returns as materialized (
        select * from annals.kpi_returns_of('public.sales', 'public.expenses', mend_kpis.tenant)
    ), emptied as (
        update annals.kpi_days d
           set revenue_cents = 0, refunds_cents = 0, sales_count = 0, expenses_cents = 0, expenses_count = 0, new_customers = 0,
               active_customers = 0, changes = d.changes + 1, is_due = true, due_since = case when d.is_due then d.due_since else now() end
         where (mend_kpis.tenant is null or d.tenant_id = mend_kpis.tenant)
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
         where (mend_kpis.tenant is null or n.tenant_id = mend_kpis.tenant)
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
        delete from annals.kpi_returns r
         where (mend_kpis.tenant is null or r.tenant_id = mend_kpis.tenant)
           and not exists (select from returns e where e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                   and e.previous_day = r.previous_day)
        returning r.day
    ), returns_written as (
        insert into annals.kpi_returns as r (tenant_id, day, currency, previous_day, customers)
        select e.tenant_id, e.day, e.currency, e.previous_day, e.customers
          from returns e
        on conflict on constraint kpi_returns_pkey do update set customers = excluded.customers where r.customers <> excluded.customers
        returning r.day
    )
    select (select count(*) from emptied) + (select count(*) from days_written) + (select count(*) from names_gone)
           + (select count(*) from names_written) + (select count(*) from returns_gone) + (select count(*) from returns_written)
      into changed;
    return changed;
end
$$;
comment on function annals.mend_kpis(uuid) is
    'Makes a tenant''s figures, or all, what state tables say less what is noted; how many rows were not. With annals_locks.kpis held alone.';

-- A row that is not there says zero.
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
    select 'annals.kpi_returns', jsonb_build_object('tenant_id', coalesce(r.tenant_id, e.tenant_id), 'day', coalesce(r.day, e.day),
                                                    'currency', coalesce(r.currency, e.currency),
                                                    'previous_day', coalesce(r.previous_day, e.previous_day))::text,
           'customers', coalesce(r.customers, 0)::text, coalesce(e.customers, 0)::text
      from (select k.* from annals.kpi_returns k where $3 is null or k.tenant_id = $3) as r
      full join annals.kpi_returns_of($1, $2, $3) e on e.tenant_id = r.tenant_id and e.day = r.day and e.currency = r.currency
                                                   and e.previous_day = r.previous_day
     where coalesce(r.customers, 0) <> coalesce(e.customers, 0)
$$;
comment on function annals.list_kpi_differences(regclass, regclass, uuid) is
    'Where figures are not what these sales and expenses come to, less what is noted.';

-- Announcing. kpi.calculated is the sweep's alone: a forged one would be taken for figures. The append refuses it unless the part of
-- Annals that asks is the sweep (annals.event_types.appended_by), which says so here and nowhere else.

create function annals.announce_kpis(tenant uuid, new_ids uuid[], streams text[], datas jsonb[], causes uuid[], expected_versions int[])
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    members int := cardinality(new_ids);
begin
    -- By its version alone an announcement is made once: a client could have used the idempotency key before.
    return (select count(*)
              from annals.append_events(
                   jsonb_build_object('sub', tenant, 'app_metadata', jsonb_build_object('role', 'service', 'name', 'annals', 'tenant_id', tenant)),
                   new_ids, array_fill('kpi.calculated'::text, array[members]), array_fill('kpi'::text, array[members]), streams,
                   array_fill('1.0'::text, array[members]), datas, array_fill('{}'::jsonb, array[members]), '{}'::jsonb,
                   array_fill('system'::text, array[members]), array_fill(null::uuid, array[members]), array_fill('sweep'::text, array[members]),
                   array_fill(null::timestamptz, array[members]), array_fill(null::text, array[members]), causes,
                   array_fill(null::text, array[members]), array_fill(null::text, array[members]), expected_versions,
                   array_fill('sweep'::text, array[members]), (select r.revision from annals.catalog_revision r)));
end
$$;
comment on function annals.announce_kpis(uuid, uuid[], text[], jsonb[], uuid[], int[]) is 'Appends a tenant''s announcements, as its service annals; how many.';

grant execute on function
    annals.kpi_counts(text, text), annals.settle_days(uuid, annals.kpi_changes[]), annals.settle_names(uuid, annals.kpi_changes[]),
    annals.settle_returns(uuid, annals.kpi_changes[]), annals.settle_kpis(uuid, int), annals.kpi_facts(regclass, regclass, uuid),
    annals.kpi_days_of(regclass, regclass, uuid), annals.kpi_names_of(regclass, regclass, uuid), annals.kpi_returns_of(regclass, regclass, uuid),
    annals.mend_kpis(uuid), annals.list_kpi_differences(regclass, regclass, uuid),
    annals.announce_kpis(uuid, uuid[], text[], jsonb[], uuid[], int[])
to annals_projector;

create or replace view public.kpi_days with (security_invoker = true) as
    select d.tenant_id, d.day, d.currency, d.revenue_cents, d.refunds_cents, d.revenue_cents - d.refunds_cents as net_cents, d.sales_count,
           round((d.revenue_cents - d.refunds_cents) / nullif(d.sales_count, 0)) as average_sale_cents, d.expenses_cents, d.expenses_count,
           d.revenue_cents - d.refunds_cents - d.expenses_cents as profit_cents, d.new_customers::numeric, d.active_customers::numeric
      from annals.kpi_days d
     where d.sales_count > 0 or d.expenses_count > 0;

-- They read a setting of the transaction's, which parallel workers have, too.
alter function annals.caller_claims() parallel safe;
alter function annals.caller_role() parallel safe;
alter function annals.caller_tenant() parallel safe;
alter function annals.caller_actor() parallel safe;
alter function annals.caller_user_id() parallel safe;
alter function annals.caller_sees_tenant() parallel safe;

revoke execute on all functions in schema annals from public;
