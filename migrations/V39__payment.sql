-- Module payment: payments that come in, fail or are refunded. Amounts are in minor units.

create table public.payments (
    like annals.state_row including all,
    amount_cents   bigint,
    currency       text,
    order_id       text,
    trade_id       text,
    payer_id       text,
    method         text,
    reference      text,
    status         text,
    received_on    date,
    refunded_cents bigint,
    refund_reason  text,
    failure_code   text,
    failure_reason text,
    notes          text,
    constraint payments_amount_cents check (amount_cents >= 1),
    constraint payments_currency check (currency ~ '^[A-Z]{3}$'),
    constraint payments_refunded_cents check (refunded_cents >= 1)
);
comment on table public.payments is 'State of payment streams.';
comment on column public.payments.amount_cents is 'Amount to be paid (paid once received), in minor units of the currency.';
comment on column public.payments.currency is 'Currency of all amounts, ISO 4217.';
comment on column public.payments.order_id is 'Order that it pays.';
comment on column public.payments.trade_id is 'Trade that it pays.';
comment on column public.payments.payer_id is 'Who pays, as given.';
comment on column public.payments.method is 'How it is paid, as given, e.g. upi.';
comment on column public.payments.reference is 'The provider''s or the bank''s reference.';
comment on column public.payments.status is 'Status of the payment, one lower-case word: pending, received, refunded, failed …';
comment on column public.payments.received_on is 'Day on which the money came in.';
comment on column public.payments.refunded_cents is 'Amount of the last refund, in minor units of the currency.';
comment on column public.payments.refund_reason is 'Why it was refunded.';
comment on column public.payments.failure_code is 'The provider''s code for the failure.';
comment on column public.payments.failure_reason is 'Why it failed.';
comment on column public.payments.notes is 'Anything else.';
select annals.register_state_table('public.payments', 'payment');

select annals.declare_entity('payment', 'a payment',
    '{"type": "object",
      "required": ["amount_cents", "currency"],
      "properties": {"amount_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "order_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "trade_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "payer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "method": {"type": "string", "minLength": 1},
                     "reference": {"type": "string", "minLength": 1},
                     "status": {"type": "string", "pattern": "^[a-z][a-z_]*$"},
                     "received_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "refunded_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "refund_reason": {"type": "string", "minLength": 1},
                     "failure_code": {"type": "string", "minLength": 1},
                     "failure_reason": {"type": "string", "minLength": 1},
                     "notes": {"type": "string"}}}',
    '{"amount_cents": 1099800, "currency": "INR", "order_id": "ORD-10042", "payer_id": "CUST-0042", "method": "upi", "status": "pending"}',
    '{"reference": {"old": null, "new": "UPI-230987"}}');
select annals.declare_entity_inverses('payment');

select annals.declare_event_type(
    'payment.received', '{"set": {"status": {"const": "received"}, "amount_cents": "/amount_cents", "currency": "/currency",
                                  "order_id": "/order_id", "trade_id": "/trade_id", "payer_id": "/payer_id", "method": "/method",
                                  "reference": "/reference", "received_on": "/received_on"}}',
    array['staff', 'service'],
    'A payment came in.',
    '{"type": "object",
      "required": ["amount_cents", "currency"],
      "properties": {"amount_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "order_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "trade_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "payer_id": {"type": "string", "minLength": 1, "maxLength": 128},
                     "method": {"type": "string", "minLength": 1},
                     "reference": {"type": "string", "minLength": 1},
                     "received_on": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}',
    '{"amount_cents": 1099800, "currency": "INR", "order_id": "ORD-10042", "method": "upi", "reference": "UPI-230987"}');

select annals.declare_event_type(
    'payment.refunded', '{"set": {"status": {"const": "refunded"}, "refunded_cents": "/amount_cents", "refund_reason": "/reason"}}',
    array['staff', 'service'],
    'A payment, or a part of it, was paid back.',
    '{"type": "object",
      "required": ["amount_cents", "currency"],
      "properties": {"amount_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "reference": {"type": "string", "minLength": 1},
                     "reason": {"type": "string", "minLength": 1}}}',
    '{"amount_cents": 549900, "currency": "INR", "reason": "one of two pumps was returned"}',
    requires => 'existing');

select annals.declare_event_type(
    'payment.failed', '{"set": {"status": {"const": "failed"}, "failure_code": "/code", "failure_reason": "/reason"}}',
    array['staff', 'service'],
    'A payment was tried and did not come in.',
    '{"type": "object",
      "required": ["reason"],
      "properties": {"reason": {"type": "string", "minLength": 1},
                     "code": {"type": "string", "minLength": 1},
                     "amount_cents": {"type": "integer", "minimum": 1, "maximum": 9223372036854775807},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "method": {"type": "string", "minLength": 1}}}',
    '{"reason": "the bank declined it", "code": "U30", "amount_cents": 1099800, "currency": "INR", "method": "upi"}');

-- No inverse: payment.refunded and payment.failed, because no other type undoes them.
select annals.declare_inverse('payment.received',
    '{"event_type": "payment.refunded", "data": {"amount_cents": "/amount_cents", "currency": "/currency", "reason": {"const": "received in error"}}}');
