-- Module product. Prices are decimals, as in the payloads of the sources.

create table public.products (
    like annals.state_row including all,
    sku         text,
    name        text,
    description text,
    category    text,
    base_price  numeric,
    currency    text,
    stock       numeric,
    constraint products_base_price check (base_price >= 0),
    constraint products_currency check (currency ~ '^[A-Z]{3}$'),
    constraint products_stock check (stock >= 0)
);
comment on table public.products is 'State of product streams.';
comment on column public.products.sku is 'Stock keeping unit.';
comment on column public.products.name is 'Name shown to customers.';
comment on column public.products.description is 'Description shown to customers.';
comment on column public.products.category is 'Category, as given.';
comment on column public.products.base_price is 'Price before discounts, in units of the currency, exactly as given.';
comment on column public.products.currency is 'Currency of the price, ISO 4217.';
comment on column public.products.stock is 'Quantity in stock.';
select annals.register_state_table('public.products', 'product');

select annals.declare_entity('product', 'a product',
    '{"type": "object",
      "required": ["sku", "name"],
      "properties": {"sku": {"type": "string", "minLength": 1},
                     "name": {"type": "string", "minLength": 1},
                     "description": {"type": "string"},
                     "category": {"type": "string", "minLength": 1},
                     "base_price": {"type": "number", "minimum": 0},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "stock": {"type": "number", "minimum": 0}}}',
    '{"sku": "SUBM-05HP-DOM-SS-50LPM-20M", "name": "0.5HP Submersible Pump", "base_price": 5999.00}',
    '{"name": {"old": "0.5HP Submersible Pump", "new": "0.5 HP Submersible Pump, Stainless Steel"}}');

select annals.declare_entity_inverses('product');

with price (fields) as (values (
    '{"type": "object",
      "required": ["new_price"],
      "properties": {"old_price": {"type": ["number", "null"], "minimum": 0},
                     "new_price": {"type": "number", "minimum": 0},
                     "reason": {"type": "string", "minLength": 1},
                     "effective_date": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}'::jsonb))
select annals.declare_event_type(
           'product.price_changed', '{"set": {"base_price": "/new_price"}}', array['staff', 'service'],
           'A product''s base price was changed.', fields,
           '{"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match", "effective_date": "2025-10-27"}',
           requires => 'existing'),
       annals.declare_event_type(
           'product.price_corrected', '{"set": {"base_price": "/new_price"}}', array['staff', 'service'],
           'A wrong base price of a product was put right; the event that set it stays (causation_id may name it). Null: it had none.',
           jsonb_set(fields, '{properties,new_price,type}', '["number", "null"]'),
           '{"old_price": 549.90, "new_price": 5499.00, "reason": "typing error"}',
           requires => 'existing')
  from price;

select annals.declare_event_type(
    'product.stock_updated', '{"set": {"stock": "/new_stock"}}', array['staff', 'service'],
    'A product''s quantity in stock was counted or changed. Null: it is not known.',
    '{"type": "object",
      "required": ["new_stock"],
      "properties": {"old_stock": {"type": ["number", "null"]},
                     "new_stock": {"type": ["number", "null"], "minimum": 0},
                     "reason": {"type": "string", "minLength": 1}}}',
    '{"old_stock": 40, "new_stock": 38, "reason": "sold"}',
    requires => 'existing');

-- Version 1.1 requires the old price and the reason: the sources call an event without them a bad example. The old price is null if none was
-- set.
select annals.declare_version('product.price_changed', '1.1',
    '{"type": "object",
      "required": ["old_price", "new_price", "reason"],
      "properties": {"old_price": {"type": ["number", "null"], "minimum": 0},
                     "new_price": {"type": "number", "minimum": 0},
                     "reason": {"type": "string", "minLength": 1},
                     "effective_date": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}',
    '{"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match", "effective_date": "2025-10-27"}',
    '[{"default": {"old_price": null, "reason": "not given"}}]');

-- A compensation restores the value from the state before the event, not the old value that the event names. "/old_price" only says which
-- member takes it.
select annals.declare_inverse('product.price_changed',
           '{"event_type": "product.price_corrected", "data": {"old_price": "/new_price", "new_price": "/old_price"}}'),
       annals.declare_inverse('product.price_corrected',
           '{"event_type": "product.price_corrected", "data": {"old_price": "/new_price", "new_price": "/old_price"}}'),
       annals.declare_inverse('product.stock_updated',
           '{"event_type": "product.stock_updated", "data": {"old_stock": "/new_stock", "new_stock": "/old_stock"}}');
