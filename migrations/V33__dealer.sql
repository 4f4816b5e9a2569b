-- Module dealer: resellers, from the application to their terms.

create table public.dealers (
    like annals.state_row including all,
    name             text,
    contact_name     text,
    email            text,
    phone            text,
    territory        text,
    status           text,
    pricing_tier     text,
    discount_percent numeric,
    constraint dealers_status check (status in ('submitted', 'approved', 'rejected', 'suspended')),
    constraint dealers_discount_percent check (discount_percent between 0 and 100)
);
comment on table public.dealers is 'State of dealer streams.';
comment on column public.dealers.name is 'Name of the business.';
comment on column public.dealers.contact_name is 'Name of the contact person.';
comment on column public.dealers.email is 'Email address.';
comment on column public.dealers.phone is 'Telephone number as given.';
comment on column public.dealers.territory is 'Where the dealer sells.';
comment on column public.dealers.status is 'submitted, approved, rejected or suspended.';
comment on column public.dealers.pricing_tier is 'Price list of the dealer, e.g. gold.';
comment on column public.dealers.discount_percent is 'Discount on base prices, in percent.';
select annals.register_state_table('public.dealers', 'dealer');

select annals.declare_entity('dealer', 'a dealer',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "contact_name": {"type": "string", "minLength": 1},
                     "email": {"type": "string", "format": "email"},
                     "phone": {"type": "string", "minLength": 1},
                     "territory": {"type": "string", "minLength": 1},
                     "status": {"enum": ["submitted", "approved", "rejected", "suspended"]},
                     "pricing_tier": {"type": "string", "minLength": 1},
                     "discount_percent": {"type": "number", "minimum": 0, "maximum": 100}}}',
    '{"name": "Kaveri Pumps & Motors", "email": "sales@kaveripumps.example", "territory": "Karnataka", "status": "approved", "pricing_tier": "silver"}',
    '{"territory": {"old": "Karnataka", "new": "Karnataka and Goa"}}', starter_sees => true);

-- Every user may apply. Only the named fields are set, so an application cannot set an approval or terms.
select annals.declare_event_type(
    'dealer.application_submitted', '{"set": {"status": {"const": "submitted"}, "name": "/name", "contact_name": "/contact_name",
                                              "email": "/email", "phone": "/phone", "territory": "/territory"}}',
    array['user', 'staff', 'service'],
    'Someone applied to become a dealer.',
    '{"type": "object",
      "required": ["name", "email"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "contact_name": {"type": "string", "minLength": 1},
                     "email": {"type": "string", "format": "email"},
                     "phone": {"type": "string", "minLength": 1},
                     "territory": {"type": "string", "minLength": 1}}}',
    '{"name": "Kaveri Pumps & Motors", "contact_name": "R. Shetty", "email": "sales@kaveripumps.example", "territory": "Karnataka"}',
    starter_sees => true);

select annals.declare_event_type(
    'dealer.approved', '{"set": {"status": {"const": "approved"}, "pricing_tier": "/pricing_tier", "discount_percent": "/discount_percent"}}',
    array['staff', 'service'],
    'A dealer''s application was approved, maybe with terms.',
    '{"type": "object",
      "minProperties": 1,
      "properties": {"approved_by": {"type": "string", "minLength": 1},
                     "reason": {"type": "string", "minLength": 1},
                     "pricing_tier": {"type": "string", "minLength": 1},
                     "discount_percent": {"type": "number", "minimum": 0, "maximum": 100}}}',
    '{"reason": "references checked", "pricing_tier": "silver", "discount_percent": 7.5}',
    requires => 'existing', starter_sees => true);

select annals.declare_event_type(
    'dealer.pricing_updated', '{"set": {"pricing_tier": "/pricing_tier", "discount_percent": "/discount_percent"}}',
    array['staff', 'service'],
    'A dealer got another price list or discount.',
    '{"type": "object",
      "anyOf": [{"required": ["pricing_tier"]}, {"required": ["discount_percent"]}],
      "properties": {"pricing_tier": {"type": "string", "minLength": 1},
                     "discount_percent": {"type": "number", "minimum": 0, "maximum": 100},
                     "effective_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "reason": {"type": "string", "minLength": 1}}}',
    '{"pricing_tier": "gold", "discount_percent": 10, "effective_date": "2026-01-01", "reason": "volume of 2025"}',
    requires => 'existing', starter_sees => true);

-- No inverse: dealer.approved and dealer.pricing_updated do not say what was before; dealer.application_submitted is answered by an update.
select annals.declare_entity_inverses('dealer');
