-- Module trade: a bargain over a commodity, from its terms to its settlement. Money is in minor units.

create table public.trades (
    like annals.state_row including all,
    commodity_id        text,
    buyer_id            text,
    seller_id           text,
    quantity            numeric,
    unit                text,
    unit_price_cents    bigint,
    amount_cents        bigint,
    currency            text,
    trade_date          date,
    delivery_date       date,
    status              text,
    executed_on         date,
    cancellation_reason text,
    settled_on          date,
    settled_cents       bigint,
    notes               text,
    constraint trades_quantity check (quantity > 0),
    constraint trades_unit_price_cents check (unit_price_cents >= 0),
    constraint trades_amount_cents check (amount_cents >= 0),
    constraint trades_currency check (currency ~ '^[A-Z]{3}$'),
    constraint trades_settled_cents check (settled_cents >= 0)
);
comment on table public.trades is 'State of trade streams.';
comment on column public.trades.commodity_id is 'Commodity that is traded.';
comment on column public.trades.buyer_id is 'Who buys, as given: an organization, a customer, a name.';
comment on column public.trades.seller_id is 'Who sells, as given: an organization, a customer, a name.';
comment on column public.trades.quantity is 'How much of it, in the unit, exactly as given.';
comment on column public.trades.unit is 'Unit of the quantity.';
comment on column public.trades.unit_price_cents is 'Price of one unit, in minor units of the currency.';
comment on column public.trades.amount_cents is 'Value of the trade, in minor units of the currency.';
comment on column public.trades.currency is 'Currency of all amounts, ISO 4217.';
comment on column public.trades.trade_date is 'Day of the bargain.';
comment on column public.trades.delivery_date is 'Day on which delivery is due.';
comment on column public.trades.status is 'Status of the trade, one lower-case word: draft, agreed, executed, settled, cancelled …';
comment on column public.trades.executed_on is 'Day on which it was executed.';
comment on column public.trades.cancellation_reason is 'Why it was cancelled.';
comment on column public.trades.settled_on is 'Day on which it was settled.';
comment on column public.trades.settled_cents is 'Settled amount, in minor units of the currency.';
comment on column public.trades.notes is 'Anything else.';
select annals.register_state_table('public.trades', 'trade');

select annals.declare_entity('trade', 'a trade',
    '{"type": "object",
      "required": ["commodity_id", "quantity"],
      "properties": {"commodity_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "buyer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "seller_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "quantity": {"type": "number", "exclusiveMinimum": 0},
                     "unit": {"type": "string", "minLength": 1},
                     "unit_price_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "amount_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "trade_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "delivery_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "status": {"type": "string", "pattern": "^[a-z][a-z_]*$"},
                     "executed_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "cancellation_reason": {"type": "string", "minLength": 1},
                     "settled_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "settled_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "notes": {"type": "string"}}}',
    '{"commodity_id": "COTTON", "buyer_id": "MILL-7", "seller_id": "GIN-12", "quantity": 100.5, "unit": "candy",
      "unit_price_cents": 5650000, "amount_cents": 567825000, "currency": "INR", "trade_date": "2025-11-20", "status": "agreed"}',
    '{"delivery_date": {"old": null, "new": "2025-12-05"}}');
select annals.declare_entity_inverses('trade');

-- It contains all fields, because a trade may be executed elsewhere and be known here only by this event.
select annals.declare_event_type(
    'trade.executed', '{"set": {"status": {"const": "executed"}, "executed_on": "/executed_on", "commodity_id": "/commodity_id",
                                "buyer_id": "/buyer_id", "seller_id": "/seller_id", "quantity": "/quantity", "unit": "/unit",
                                "unit_price_cents": "/unit_price_cents", "amount_cents": "/amount_cents", "currency": "/currency"}}',
    array['staff', 'service'],
    'A trade was executed; what the data say of it holds from now on.',
    '{"type": "object",
      "minProperties": 1,
      "properties": {"executed_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "commodity_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "buyer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "seller_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "quantity": {"type": "number", "exclusiveMinimum": 0},
                     "unit": {"type": "string", "minLength": 1},
                     "unit_price_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "amount_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"}}}',
    '{"quantity": 100.5, "unit": "candy", "unit_price_cents": 5650000, "amount_cents": 567825000, "currency": "INR", "executed_on": "2025-11-21"}');

select annals.declare_event_type(
    'trade.cancelled', '{"set": {"status": {"const": "cancelled"}, "cancellation_reason": "/reason"}}', array['staff', 'service'],
    'A trade was called off, with the reason.',
    '{"type": "object",
      "required": ["reason"],
      "properties": {"reason": {"type": "string", "minLength": 1},
                     "cancelled_by": {"type": "string", "minLength": 1}}}',
    '{"reason": "the quality did not pass", "cancelled_by": "buyer"}',
    requires => 'existing');

select annals.declare_event_type(
    'trade.settled', '{"set": {"status": {"const": "settled"}, "settled_on": "/settled_on", "settled_cents": "/amount_cents"}}',
    array['staff', 'service'],
    'All that a trade''s sides owed each other has been paid and delivered.',
    '{"type": "object",
      "required": ["settled_on"],
      "properties": {"settled_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "amount_cents": {"type": "integer", "minimum": 0, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "reference": {"type": "string", "minLength": 1}}}',
    '{"settled_on": "2025-12-12", "amount_cents": 566900000, "currency": "INR", "reference": "SETTLE-0042"}',
    requires => 'existing');

-- No inverse: trade.cancelled and trade.settled, because no other type undoes them.
select annals.declare_inverse('trade.executed',
    '{"event_type": "trade.cancelled", "data": {"reason": {"const": "executed in error"}}}');
