-- Module order: orders, from creation to fulfilment.

create table public.orders (
    like annals.state_row including all,
    customer_id        text,
    items              jsonb,
    total_cents        bigint,
    currency           text,
    status             text,
    payment_status     text,
    last_payment_cents bigint,
    tracking_number    text,
    notes              text,
    constraint orders_items check (jsonb_typeof(items) = 'array'),
    constraint orders_total_cents check (total_cents >= 0),
    constraint orders_currency check (currency ~ '^[A-Z]{3}$'),
    constraint orders_last_payment_cents check (last_payment_cents >= 1)
);
comment on table public.orders is 'State of order streams.';
comment on column public.orders.customer_id is 'Customer who ordered.';
comment on column public.orders.items is 'What was ordered: an array of objects with sku, quantity and unit_price_cents.';
comment on column public.orders.total_cents is 'Price of the order, in minor units of the currency.';
comment on column public.orders.currency is 'Currency of all amounts, ISO 4217.';
comment on column public.orders.status is 'Status of the order, one lower-case word: placed, shipped, fulfilled …';
comment on column public.orders.payment_status is 'received once a payment came in; null before.';
comment on column public.orders.last_payment_cents is 'Amount of the last payment, in minor units of the currency.';
comment on column public.orders.tracking_number is 'The carrier''s number for the shipment.';
comment on column public.orders.notes is 'Anything else.';
select annals.register_state_table('public.orders', 'order');

-- Every user may create an order, so created cannot set a payment or a later status. The allOf applies only to created, because the schema of
-- updated is derived from the properties.
select annals.declare_entity('order', 'an order',
    '{"type": "object",
      "required": ["customer_id"],
      "properties": {"customer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "items": {"type": "array",
                               "items": {"type": "object",
                                         "properties": {"sku": {"type": "string", "minLength": 1},
                                                        "quantity": {"type": "number", "exclusiveMinimum": 0},
                                                        "unit_price_cents": {"type": "integer", "minimum": 0}}}},
                     "total_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "status": {"type": "string", "pattern": "^[a-z][a-z_]*$"},
                     "payment_status": {"type": "string", "pattern": "^[a-z][a-z_]*$"},
                     "last_payment_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "tracking_number": {"type": "string", "minLength": 1},
                     "notes": {"type": "string"}},
      "allOf": [{"properties": {"status": {"enum": ["draft", "new", "pending", "created", "placed"]},
                                "payment_status": false,
                                "last_payment_cents": false}}]}',
    '{"customer_id": "CUST-0042", "currency": "INR", "total_cents": 1099800,
      "items": [{"sku": "SUBM-05HP-DOM-SS-50LPM-20M", "quantity": 2, "unit_price_cents": 549900}]}',
    '{"notes": {"old": null, "new": "Deliver after 5 pm"}}',
    creators => array['user', 'staff', 'service'], starter_sees => true);

select annals.declare_event_type(
    'order.placed', '{"set": {"status": {"const": "placed"}, "customer_id": "/customer_id", "items": "/items",
                              "total_cents": "/total_cents", "currency": "/currency"}}', array['staff', 'service'],
    'A customer placed an order; what the data say of it holds from now on.',
    '{"type": "object",
      "minProperties": 1,
      "properties": {"customer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "items": {"type": "array", "items": {"type": "object"}},
                     "total_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}',
    '{"customer_id": "CUST-0042", "total_cents": 1099800, "currency": "INR"}',
    starter_sees => true);

select annals.declare_event_type(
    'order.payment_received', '{"set": {"payment_status": {"const": "received"}, "last_payment_cents": "/amount_cents"}}',
    array['staff', 'service'],
    'A payment for an order came in.',
    '{"type": "object",
      "required": ["amount_cents"],
      "properties": {"amount_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "method": {"type": "string", "minLength": 1},
                     "reference": {"type": "string", "minLength": 1}}}',
    '{"amount_cents": 1099800, "currency": "INR", "method": "upi", "reference": "UPI-230987"}',
    requires => 'existing', starter_sees => true);

select annals.declare_event_type(
    'order.status_changed', '{"set": {"status": "/new_status"}}', array['staff', 'service'],
    'An order moved from one status to another. Null: it had none.',
    '{"type": "object",
      "required": ["new_status"],
      "properties": {"old_status": {"type": ["string", "null"]},
                     "new_status": {"type": ["string", "null"], "pattern": "^[a-z][a-z_]*$"},
                     "reason": {"type": "string", "minLength": 1}}}',
    '{"old_status": "placed", "new_status": "shipped"}',
    requires => 'existing', starter_sees => true);

select annals.declare_event_type(
    'order.fulfilled', '{"set": {"status": {"const": "fulfilled"}, "tracking_number": "/tracking_number"}}',
    array['staff', 'service'],
    'All that was ordered has been delivered.',
    '{"type": "object",
      "minProperties": 1,
      "properties": {"fulfilled_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "carrier": {"type": "string", "minLength": 1},
                     "tracking_number": {"type": "string", "minLength": 1}}}',
    '{"fulfilled_on": "2025-11-03", "carrier": "Blue Dart", "tracking_number": "BD-77120045"}',
    requires => 'existing', starter_sees => true);

-- No inverse: order.payment_received does not say what was before, and no other type undoes order.fulfilled.
select annals.declare_entity_inverses('order');
select annals.declare_inverse('order.placed',
           '{"event_type": "order.status_changed", "data": {"old_status": {"const": "placed"}, "new_status": {"const": "cancelled"},
             "reason": {"const": "placed in error"}}}'),
       annals.declare_inverse('order.status_changed',
           '{"event_type": "order.status_changed", "data": {"old_status": "/new_status", "new_status": "/old_status"}}');
