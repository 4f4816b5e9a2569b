-- Module expense: one stream per expense, mostly from uploaded files. A refund from a vendor is an expense of a negative amount.

create table public.expenses (
    like annals.state_row including all,
    amount_cents bigint,
    currency     text,
    expense_date date,
    category     text,
    vendor       text,
    description  text,
    constraint expenses_currency check (currency ~ '^[A-Z]{3}$')
);
comment on table public.expenses is 'State of expense streams.';
comment on column public.expenses.amount_cents is 'Amount spent, in minor units of the currency; zero and negative amounts are expenses too.';
comment on column public.expenses.currency is 'Currency of the amount, ISO 4217.';
comment on column public.expenses.expense_date is 'Day of the expense.';
comment on column public.expenses.category is 'Category of the expense, as given.';
comment on column public.expenses.vendor is 'Who was paid, as given.';
comment on column public.expenses.description is 'What it was for.';
select annals.register_state_table('public.expenses', 'expense');

select annals.declare_entity('expense', 'an expense',
    '{"type": "object",
      "required": ["expense_date", "amount_cents", "currency"],
      "properties": {"amount_cents": {"type": "integer", "minimum": -9223372036854775808, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "expense_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "category": {"type": "string", "minLength": 1},
                     "vendor": {"type": "string", "minLength": 1},
                     "description": {"type": "string"}}}',
    '{"amount_cents": 4900, "currency": "USD", "expense_date": "2026-02-03", "category": "Software",
      "vendor": "Example Hosting", "description": "Servers in January"}',
    '{"amount_cents": {"old": 4900, "new": 4500}, "description": {"old": null, "new": "credit for an outage"}}');
select annals.declare_entity_inverses('expense');

-- Key figures are computed from sales and expenses: these triggers record every change of a row, in the transaction that makes it.
create trigger expenses_inserted after insert on public.expenses referencing new table as new_rows
    for each statement execute function annals.record_expense_changes();
create trigger expenses_updated after update on public.expenses referencing old table as old_rows new table as new_rows
    for each statement execute function annals.record_expense_changes();
create trigger expenses_deleted after delete on public.expenses referencing old table as old_rows
    for each statement execute function annals.record_expense_changes();
