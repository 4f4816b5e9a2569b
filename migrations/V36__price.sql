-- Module price: prices with streams of their own, separate from a product's base price.

create table public.prices (
    like annals.state_row including all,
    product_id     text,
    price          numeric,
    currency       text,
    reason         text,
    effective_date date,
    constraint prices_price check (price >= 0),
    constraint prices_currency check (currency ~ '^[A-Z]{3}$')
);
comment on table public.prices is 'State of price streams.';
comment on column public.prices.product_id is 'Product that the price is for.';
comment on column public.prices.price is 'The price, in units of the currency, exactly as given.';
comment on column public.prices.currency is 'Currency of the price, ISO 4217.';
comment on column public.prices.reason is 'Reason of the last change.';
comment on column public.prices.effective_date is 'First day on which it applies.';
select annals.register_state_table('public.prices', 'price');

select annals.declare_entity('price', 'a price',
    '{"type": "object",
      "required": ["price"],
      "properties": {"product_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "price": {"type": "number", "minimum": 0},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "reason": {"type": "string", "minLength": 1},
                     "effective_date": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}',
    '{"product_id": "123e4567-e89b-12d3-a456-426614174000", "price": 5999.00, "currency": "INR", "effective_date": "2025-04-01"}',
    '{"currency": {"old": "INR", "new": "USD"}}');

-- All four fields are required, so that the event can be understood without others: an event with only the new price could not.
select annals.declare_event_type(
    'price.changed', '{"set": {"price": "/new_price", "reason": "/reason", "effective_date": "/effective_date"}}',
    array['staff', 'service'],
    'A price was changed, for a reason and from a day on. Null: there is none any more.',
    '{"type": "object",
      "required": ["old_price", "new_price", "reason", "effective_date"],
      "properties": {"old_price": {"type": ["number", "null"], "minimum": 0},
                     "new_price": {"type": ["number", "null"], "minimum": 0},
                     "reason": {"type": "string", "minLength": 1},
                     "effective_date": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}',
    '{"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match", "effective_date": "2025-10-27"}');

select annals.declare_entity_inverses('price');

-- The effective date becomes that of the price before, if it had one.
select annals.declare_inverse('price.changed',
    '{"event_type": "price.changed", "data": {"old_price": "/new_price", "new_price": "/old_price",
      "reason": {"const": "changed in error"}, "effective_date": "/effective_date"}}');
