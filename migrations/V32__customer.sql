-- Module customer: people and companies that buy.

create table public.customers (
    like annals.state_row including all,
    name         text,
    email        text,
    phone        text,
    segment      text,
    country      text,
    address      text,
    created_date date
);
comment on table public.customers is 'State of customer streams.';
comment on column public.customers.name is 'Full name.';
comment on column public.customers.email is 'Email address.';
comment on column public.customers.phone is 'Telephone number as given.';
comment on column public.customers.segment is 'Market segment, e.g. Consumer.';
comment on column public.customers.country is 'Country, as given.';
comment on column public.customers.address is 'Postal address, in lines.';
comment on column public.customers.created_date is 'Day since which the business knows the customer.';
select annals.register_state_table('public.customers', 'customer');

with customer (fields, example) as (values (
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "email": {"type": "string", "format": "email"},
                     "phone": {"type": "string", "minLength": 1},
                     "segment": {"type": "string", "minLength": 1},
                     "country": {"type": "string", "minLength": 1},
                     "address": {"type": "string", "minLength": 1},
                     "created_date": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}'::jsonb,
    '{"name": "Claire Gute", "email": "claire.gute@example.com", "segment": "Consumer", "country": "United States"}'::jsonb))
select annals.declare_entity('customer', 'a customer', fields, example,
           '{"email": {"old": "claire.gute@example.com", "new": "claire@example.com"}, "phone": {"old": null, "new": "+1-270-555-0142"}}'),
       annals.declare_event_type(
           'customer.registered', '"create"', array['user', 'staff', 'service'],
           'A customer signed up.', fields || '{"required": ["email", "name"]}',
           '{"email": "claire.gute@example.com", "name": "Claire Gute"}',
           requires => 'new'),
       annals.declare_event_type(
           'customer.profile_updated', '"merge"', array['user', 'staff', 'service'],
           'A customer gave new values for fields of the profile.', annals.partial_schema(fields),
           '{"phone": "+1-270-555-0199", "address": "12 Main Street, Henderson, Kentucky 42420"}',
           requires => 'existing')
  from customer;

-- No inverse: customer.profile_updated does not say what was before.
select annals.declare_entity_inverses('customer');
select annals.declare_inverse('customer.registered', '{"event_type": "customer.deleted"}');
