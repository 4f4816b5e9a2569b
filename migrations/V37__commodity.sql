-- Module commodity: traded goods, with their varieties, quality parameters, taxes, units, terms, kinds of bargain and commissions.
--
-- annals.declare_child declares the ten child collections. Rates, quantities and limits are decimals (numeric), exactly as given.

create table public.commodities (
    like annals.state_row including all,
    name        text,
    code        text,
    category    text,
    hsn_code    text,
    description text,
    is_active   boolean,
    constraint commodities_hsn_code check (hsn_code ~ '^([0-9]{2}){1,4}$')
);
comment on table public.commodities is 'State of commodity streams.';
comment on column public.commodities.name is 'Name in the trade, e.g. Raw Cotton.';
comment on column public.commodities.code is 'Short name in contracts and lists.';
comment on column public.commodities.category is 'Category, as given.';
comment on column public.commodities.hsn_code is 'Code in the Harmonized System of Nomenclature: chapter, heading, subheading, tariff item, two digits each.';
comment on column public.commodities.description is 'Human-readable description.';
comment on column public.commodities.is_active is 'Whether it is traded at present.';
select annals.register_state_table('public.commodities', 'commodity');

create table public.commodity_varieties (
    like annals.child_row including all,
    commodity_id text collate "C" not null,
    name         text,
    code         text,
    description  text,
    is_active    boolean,
    constraint commodity_varieties_pkey primary key (tenant_id, commodity_id, id)
);
comment on table public.commodity_varieties is 'Varieties of commodities: collection variety.';
comment on column public.commodity_varieties.name is 'Name, e.g. Shankar-6.';
comment on column public.commodity_varieties.code is 'Short name in contracts and lists.';
comment on column public.commodity_varieties.description is 'What distinguishes it from others.';
comment on column public.commodity_varieties.is_active is 'Whether it is traded at present.';
select annals.register_state_table('public.commodity_varieties', 'commodity', 'variety');

create table public.commodity_parameters (
    like annals.child_row including all,
    commodity_id text collate "C" not null,
    name         text,
    unit         text,
    min_value    numeric,
    max_value    numeric,
    is_mandatory boolean,
    constraint commodity_parameters_pkey primary key (tenant_id, commodity_id, id)
);
comment on table public.commodity_parameters is 'Quality parameters of commodities: collection parameter.';
comment on column public.commodity_parameters.name is 'What is measured, e.g. staple length.';
comment on column public.commodity_parameters.unit is 'Unit of the values, e.g. mm or %.';
comment on column public.commodity_parameters.min_value is 'Least value that passes.';
comment on column public.commodity_parameters.max_value is 'Greatest value that passes.';
comment on column public.commodity_parameters.is_mandatory is 'Whether a contract must agree on it.';
select annals.register_state_table('public.commodity_parameters', 'commodity', 'parameter');

create table public.commodity_tax_rates (
    like annals.child_row including all,
    commodity_id   text collate "C" not null,
    name           text,
    rate           numeric,
    effective_from date,
    effective_to   date,
    constraint commodity_tax_rates_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_tax_rates_rate check (rate between 0 and 1000)
);
comment on table public.commodity_tax_rates is 'Taxes on commodities: collection tax_rate.';
comment on column public.commodity_tax_rates.name is 'The tax, e.g. GST.';
comment on column public.commodity_tax_rates.rate is 'Rate in percent.';
comment on column public.commodity_tax_rates.effective_from is 'First day on which it applies.';
comment on column public.commodity_tax_rates.effective_to is 'Last day on which it applies; null: until further notice.';
select annals.register_state_table('public.commodity_tax_rates', 'commodity', 'tax_rate');

create table public.commodity_units (
    like annals.child_row including all,
    commodity_id      text collate "C" not null,
    name              text,
    symbol            text,
    base_unit         text,
    conversion_factor numeric,
    constraint commodity_units_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_units_conversion_factor check (conversion_factor > 0)
);
comment on table public.commodity_units is 'Units that commodities are traded in: collection unit.';
comment on column public.commodity_units.name is 'Name, e.g. candy.';
comment on column public.commodity_units.symbol is 'Abbreviation in documents.';
comment on column public.commodity_units.base_unit is 'Unit into which the factor converts, e.g. kg.';
comment on column public.commodity_units.conversion_factor is 'Number of base units in one unit.';
select annals.register_state_table('public.commodity_units', 'commodity', 'unit');

create table public.commodity_payment_terms (
    like annals.child_row including all,
    commodity_id    text collate "C" not null,
    name            text,
    days            integer,
    advance_percent numeric,
    description     text,
    constraint commodity_payment_terms_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_payment_terms_days check (days between 0 and 3660),
    constraint commodity_payment_terms_advance_percent check (advance_percent between 0 and 100)
);
comment on table public.commodity_payment_terms is 'When commodities are paid: collection payment_term.';
comment on column public.commodity_payment_terms.name is 'Name in contracts, e.g. Net 15.';
comment on column public.commodity_payment_terms.days is 'Days from delivery until payment is due.';
comment on column public.commodity_payment_terms.advance_percent is 'Share that is paid before delivery, in percent.';
comment on column public.commodity_payment_terms.description is 'The term in words.';
select annals.register_state_table('public.commodity_payment_terms', 'commodity', 'payment_term');

create table public.commodity_delivery_terms (
    like annals.child_row including all,
    commodity_id text collate "C" not null,
    name         text,
    place        text,
    days         integer,
    description  text,
    constraint commodity_delivery_terms_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_delivery_terms_days check (days between 0 and 3660)
);
comment on table public.commodity_delivery_terms is 'How commodities are delivered: collection delivery_term.';
comment on column public.commodity_delivery_terms.name is 'Name in contracts, e.g. ex gin or CIF.';
comment on column public.commodity_delivery_terms.place is 'Where the goods change hands.';
comment on column public.commodity_delivery_terms.days is 'Days from the bargain until delivery is due.';
comment on column public.commodity_delivery_terms.description is 'The term in words.';
select annals.register_state_table('public.commodity_delivery_terms', 'commodity', 'delivery_term');

create table public.commodity_passing_terms (
    like annals.child_row including all,
    commodity_id text collate "C" not null,
    name         text,
    place        text,
    days         integer,
    description  text,
    constraint commodity_passing_terms_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_passing_terms_days check (days between 0 and 3660)
);
comment on table public.commodity_passing_terms is 'How the buyer inspects and passes commodities: collection passing_term.';
comment on column public.commodity_passing_terms.name is 'Name in contracts, e.g. passing at gin.';
comment on column public.commodity_passing_terms.place is 'Where it is done.';
comment on column public.commodity_passing_terms.days is 'Days within which it is done.';
comment on column public.commodity_passing_terms.description is 'The term in words.';
select annals.register_state_table('public.commodity_passing_terms', 'commodity', 'passing_term');

create table public.commodity_weightment_terms (
    like annals.child_row including all,
    commodity_id      text collate "C" not null,
    name              text,
    place             text,
    allowance_percent numeric,
    description       text,
    constraint commodity_weightment_terms_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_weightment_terms_allowance_percent check (allowance_percent between 0 and 100)
);
comment on table public.commodity_weightment_terms is 'Whose weighing of commodities counts: collection weightment_term.';
comment on column public.commodity_weightment_terms.name is 'Name in contracts, e.g. weight at mill.';
comment on column public.commodity_weightment_terms.place is 'Where it is weighed.';
comment on column public.commodity_weightment_terms.allowance_percent is 'Difference that neither side claims, in percent.';
comment on column public.commodity_weightment_terms.description is 'The term in words.';
select annals.register_state_table('public.commodity_weightment_terms', 'commodity', 'weightment_term');

create table public.commodity_bargain_types (
    like annals.child_row including all,
    commodity_id text collate "C" not null,
    name         text,
    description  text,
    is_active    boolean,
    constraint commodity_bargain_types_pkey primary key (tenant_id, commodity_id, id)
);
comment on table public.commodity_bargain_types is 'Kinds of bargain that commodities are traded by: collection bargain_type.';
comment on column public.commodity_bargain_types.name is 'Name, e.g. spot or forward.';
comment on column public.commodity_bargain_types.description is 'The kind in words.';
comment on column public.commodity_bargain_types.is_active is 'Whether it is in use at present.';
select annals.register_state_table('public.commodity_bargain_types', 'commodity', 'bargain_type');

create table public.commodity_commission_structures (
    like annals.child_row including all,
    commodity_id text collate "C" not null,
    name         text,
    basis        text,
    rate         numeric,
    currency     text,
    paid_by      text,
    constraint commodity_commission_structures_pkey primary key (tenant_id, commodity_id, id),
    constraint commodity_commission_structures_rate check (rate >= 0),
    constraint commodity_commission_structures_currency check (currency ~ '^[A-Z]{3}$')
);
comment on table public.commodity_commission_structures is 'What brokers of commodities earn: collection commission_structure.';
comment on column public.commodity_commission_structures.name is 'Name in contracts.';
comment on column public.commodity_commission_structures.basis is 'What the rate counts: percent, per_unit or flat.';
comment on column public.commodity_commission_structures.rate is 'In percent, or in units of the currency, exactly as given.';
comment on column public.commodity_commission_structures.currency is 'Currency of a rate that is no percentage, ISO 4217.';
comment on column public.commodity_commission_structures.paid_by is 'buyer, seller or both.';
select annals.register_state_table('public.commodity_commission_structures', 'commodity', 'commission_structure');

select annals.declare_entity('commodity', 'a commodity',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "code": {"type": "string", "minLength": 1},
                     "category": {"type": "string", "minLength": 1},
                     "hsn_code": {"type": "string", "pattern": "^([0-9]{2}){1,4}$"},
                     "description": {"type": "string"},
                     "is_active": {"type": "boolean"},
                     "variety": false,
                     "parameter": false,
                     "tax_rate": false,
                     "unit": false,
                     "payment_term": false,
                     "delivery_term": false,
                     "passing_term": false,
                     "weightment_term": false,
                     "bargain_type": false,
                     "commission_structure": false}}',
    '{"name": "Raw Cotton", "category": "fibres", "hsn_code": "520100"}',
    '{"hsn_code": {"old": "520100", "new": "52010015"}, "is_active": {"old": null, "new": true}}');
select annals.declare_entity_inverses('commodity');

select annals.declare_child('commodity', 'variety', 'a commodity''s variety',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "code": {"type": "string", "minLength": 1},
                     "description": {"type": "string"},
                     "is_active": {"type": "boolean"}}}',
    '{"id": "shankar-6", "name": "Shankar-6", "code": "S6", "is_active": true}',
    '{"description": "Long staple, from Gujarat."}');

select annals.declare_child('commodity', 'parameter', 'a commodity''s quality parameter',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "unit": {"type": "string", "minLength": 1},
                     "min_value": {"type": "number"},
                     "max_value": {"type": "number"},
                     "is_mandatory": {"type": "boolean"}}}',
    '{"id": "staple", "name": "staple length", "unit": "mm", "min_value": 28.5, "max_value": 29.5, "is_mandatory": true}',
    '{"min_value": 28.75}');

select annals.declare_child('commodity', 'tax_rate', 'a commodity''s tax rate',
    '{"type": "object",
      "required": ["rate"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "rate": {"type": "number", "minimum": 0, "maximum": 1000},
                     "effective_from": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "effective_to": {"type": "string", "format": "date", "pattern": "^[1-9]"}}}',
    '{"id": "gst", "name": "GST", "rate": 5.00, "effective_from": "2017-07-01"}',
    '{"effective_to": "2026-03-31"}');

select annals.declare_child('commodity', 'unit', 'a commodity''s unit',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "symbol": {"type": "string", "minLength": 1},
                     "base_unit": {"type": "string", "minLength": 1},
                     "conversion_factor": {"type": "number", "exclusiveMinimum": 0}}}',
    '{"id": "candy", "name": "candy", "base_unit": "kg", "conversion_factor": 355.62}',
    '{"symbol": "cdy"}');

select annals.declare_child('commodity', 'payment_term', 'a commodity''s payment term',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "days": {"type": "integer", "minimum": 0, "maximum": 3660},
                     "advance_percent": {"type": "number", "minimum": 0, "maximum": 100},
                     "description": {"type": "string"}}}',
    '{"id": "net-15", "name": "Net 15", "days": 15, "advance_percent": 12.5}',
    '{"advance_percent": 10}');

select annals.declare_child('commodity', 'delivery_term', 'a commodity''s delivery term',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "place": {"type": "string", "minLength": 1},
                     "days": {"type": "integer", "minimum": 0, "maximum": 3660},
                     "description": {"type": "string"}}}',
    '{"id": "ex-gin", "name": "ex gin", "place": "Rajkot", "days": 10}',
    '{"days": 7}');

select annals.declare_child('commodity', 'passing_term', 'a commodity''s passing term',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "place": {"type": "string", "minLength": 1},
                     "days": {"type": "integer", "minimum": 0, "maximum": 3660},
                     "description": {"type": "string"}}}',
    '{"id": "at-gin", "name": "passing at gin", "place": "Rajkot", "days": 2}',
    '{"description": "The buyer''s surveyor draws samples from a tenth of the bales."}');

select annals.declare_child('commodity', 'weightment_term', 'a commodity''s weightment term',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "place": {"type": "string", "minLength": 1},
                     "allowance_percent": {"type": "number", "minimum": 0, "maximum": 100},
                     "description": {"type": "string"}}}',
    '{"id": "at-mill", "name": "weight at mill", "place": "Coimbatore", "allowance_percent": 0.25}',
    '{"allowance_percent": 0.5}');

select annals.declare_child('commodity', 'bargain_type', 'a commodity''s kind of bargain',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "description": {"type": "string"},
                     "is_active": {"type": "boolean"}}}',
    '{"id": "forward", "name": "forward", "description": "Delivery in a later month at a price agreed now."}',
    '{"is_active": false}');

select annals.declare_child('commodity', 'commission_structure', 'a commodity''s commission structure',
    '{"type": "object",
      "required": ["rate"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "basis": {"enum": ["percent", "per_unit", "flat"]},
                     "rate": {"type": "number", "minimum": 0},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "paid_by": {"enum": ["buyer", "seller", "both"]}}}',
    '{"id": "brokerage", "name": "brokerage", "basis": "percent", "rate": 0.5, "paid_by": "seller"}',
    '{"paid_by": "both"}');
