-- Module sale: one stream per sale, mostly from uploaded files. Refunds are sales of a negative amount.

create table public.sales (
    like annals.state_row including all,
    amount_cents bigint,
    currency     text,
    sale_date    date,
    customer_id  text,
    product      text,
    quantity     numeric,
    unit_price   numeric,
    category     text,
    notes        text,
    constraint sales_currency check (currency ~ '^[A-Z]{3}$')
);
comment on table public.sales is 'State of sale streams.';
comment on column public.sales.amount_cents is 'Amount paid, in minor units of the currency; zero and negative amounts are sales too.';
comment on column public.sales.currency is 'Currency of the amount and the unit price, ISO 4217.';
comment on column public.sales.sale_date is 'Day of the sale.';
comment on column public.sales.customer_id is 'Customer who bought.';
comment on column public.sales.product is 'What was sold, as given.';
comment on column public.sales.quantity is 'How much of it.';
comment on column public.sales.unit_price is 'Price of one, in units of the currency, exactly as given.';
comment on column public.sales.category is 'Category of the product, as given.';
comment on column public.sales.notes is 'Anything else.';
select annals.register_state_table('public.sales', 'sale');

select annals.declare_entity('sale', 'a sale',
    '{"type": "object",
      "required": ["sale_date", "amount_cents", "currency"],
      "properties": {"amount_cents": {"type": "integer", "minimum": -9223372036854775808, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "sale_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "customer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "product": {"type": "string", "minLength": 1},
                     "quantity": {"type": "number"},
                     "unit_price": {"type": "number"},
                     "category": {"type": "string", "minLength": 1},
                     "notes": {"type": "string"}}}',
    '{"amount_cents": 26196, "currency": "USD", "sale_date": "2018-11-08", "customer_id": "CG-12520",
      "product": "Bush Somerset Collection Bookcase", "quantity": 2, "unit_price": 130.98, "category": "Furniture"}',
    '{"amount_cents": {"old": 26196, "new": 25196}, "notes": {"old": null, "new": "discount granted later"}}');
select annals.declare_entity_inverses('sale');

-- Key figures are computed from sales and expenses: these triggers record every change of a row, in the transaction that makes it.
create trigger sales_inserted after insert on public.sales referencing new table as new_rows
    for each statement execute function annals.record_sale_changes();
create trigger sales_updated after update on public.sales referencing old table as old_rows new table as new_rows
    for each statement execute function annals.record_sale_changes();
create trigger sales_deleted after delete on public.sales referencing old table as old_rows
    for each statement execute function annals.record_sale_changes();
