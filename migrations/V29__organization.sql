-- Module organization: companies, with their GST registrations, bank accounts, financial years and document series.

create table public.organizations (
    like annals.state_row including all,
    name       text,
    legal_name text,
    type       text,
    email      text,
    phone      text,
    website    text,
    address    text,
    country    text
);
comment on table public.organizations is 'State of organization streams.';
comment on column public.organizations.name is 'Name in daily use.';
comment on column public.organizations.legal_name is 'Name in the register of companies.';
comment on column public.organizations.type is 'Legal form, e.g. corporation.';
comment on column public.organizations.email is 'Email address for general mail.';
comment on column public.organizations.phone is 'Telephone number as given.';
comment on column public.organizations.website is 'Address of the website.';
comment on column public.organizations.address is 'Postal address, in lines.';
comment on column public.organizations.country is 'Country, as given.';
select annals.register_state_table('public.organizations', 'organization');

create table public.organization_gst_registrations (
    like annals.child_row including all,
    organization_id text collate "C" not null,
    gstin           text,
    legal_name      text,
    state           text,
    registered_on   date,
    is_primary      boolean,
    constraint organization_gst_registrations_pkey primary key (tenant_id, organization_id, id),
    constraint organization_gst_registrations_gstin check (gstin ~ '^[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]$')
);
comment on table public.organization_gst_registrations is 'GST registrations of organizations: collection gst.';
comment on column public.organization_gst_registrations.gstin is 'GST identification number: state code, PAN, entity number, Z, check digit.';
comment on column public.organization_gst_registrations.legal_name is 'Name that the registration is held under.';
comment on column public.organization_gst_registrations.state is 'Indian state of the registration.';
comment on column public.organization_gst_registrations.registered_on is 'Day from which the registration is valid.';
comment on column public.organization_gst_registrations.is_primary is 'Whether invoices use it by default.';
select annals.register_state_table('public.organization_gst_registrations', 'organization', 'gst');

create table public.organization_bank_accounts (
    like annals.child_row including all,
    organization_id text collate "C" not null,
    bank_name       text,
    account_number  text,
    account_holder  text,
    ifsc            text,
    branch          text,
    currency        text,
    is_primary      boolean,
    constraint organization_bank_accounts_pkey primary key (tenant_id, organization_id, id),
    constraint organization_bank_accounts_ifsc check (ifsc ~ '^[A-Z]{4}0[A-Z0-9]{6}$'),
    constraint organization_bank_accounts_currency check (currency ~ '^[A-Z]{3}$')
);
comment on table public.organization_bank_accounts is 'Bank accounts of organizations: collection bank_account.';
comment on column public.organization_bank_accounts.bank_name is 'Name of the bank.';
comment on column public.organization_bank_accounts.account_number is 'Account number or IBAN, as the bank writes it.';
comment on column public.organization_bank_accounts.account_holder is 'Name that the account is held under.';
comment on column public.organization_bank_accounts.ifsc is 'Indian Financial System Code of the branch.';
comment on column public.organization_bank_accounts.branch is 'Name of the branch.';
comment on column public.organization_bank_accounts.currency is 'Currency of the account, ISO 4217.';
comment on column public.organization_bank_accounts.is_primary is 'Whether payments use it by default.';
select annals.register_state_table('public.organization_bank_accounts', 'organization', 'bank_account');

create table public.organization_financial_years (
    like annals.child_row including all,
    organization_id text collate "C" not null,
    name            text,
    start_date      date,
    end_date        date,
    is_current      boolean,
    constraint organization_financial_years_pkey primary key (tenant_id, organization_id, id),
    -- No JSON Schema can refuse this, so such an event parks its stream until staff decides about it.
    constraint organization_financial_years_order check (start_date < end_date)
);
comment on table public.organization_financial_years is 'Financial years of organizations: collection financial_year.';
comment on column public.organization_financial_years.name is 'Name in daily use, e.g. FY 2025-26.';
comment on column public.organization_financial_years.start_date is 'First day.';
comment on column public.organization_financial_years.end_date is 'Last day.';
comment on column public.organization_financial_years.is_current is 'Whether it is the current year of the books.';
select annals.register_state_table('public.organization_financial_years', 'organization', 'financial_year');

create table public.organization_document_series (
    like annals.child_row including all,
    organization_id   text collate "C" not null,
    document_type     text,
    prefix            text,
    next_number       bigint,
    financial_year_id text,
    constraint organization_document_series_pkey primary key (tenant_id, organization_id, id),
    constraint organization_document_series_next_number check (next_number >= 1)
);
comment on table public.organization_document_series is 'Number series of organizations'' documents: collection document_series.';
comment on column public.organization_document_series.document_type is 'Kind of document, e.g. invoice.';
comment on column public.organization_document_series.prefix is 'Text before the number.';
comment on column public.organization_document_series.next_number is 'Number of the next document.';
comment on column public.organization_document_series.financial_year_id is 'Financial year (a child of the same organization) that the series is for.';
select annals.register_state_table('public.organization_document_series', 'organization', 'document_series');

-- Children have events of their own, so created and updated refuse the collections.
select annals.declare_entity('organization', 'an organization',
    '{"type": "object",
      "required": ["name"],
      "properties": {"name": {"type": "string", "minLength": 1},
                     "legal_name": {"type": "string", "minLength": 1},
                     "type": {"type": "string", "minLength": 1},
                     "email": {"type": "string", "format": "email"},
                     "phone": {"type": "string", "minLength": 1},
                     "website": {"type": "string", "minLength": 1},
                     "address": {"type": "string", "minLength": 1},
                     "country": {"type": "string", "minLength": 1},
                     "gst": false,
                     "bank_account": false,
                     "financial_year": false,
                     "document_series": false}}',
    '{"name": "Commodity Trading Ltd", "type": "corporation", "email": "contact@commoditytrading.com"}',
    '{"email": {"old": "old@example.com", "new": "new@example.com"},
      "phone": {"old": "+91-1234567890", "new": "+91-9876543210"}}');

select annals.declare_entity_inverses('organization');

select annals.declare_child('organization', 'gst', 'an organization''s GST registration',
    '{"type": "object",
      "required": ["gstin"],
      "properties": {"gstin": {"type": "string", "pattern": "^[0-9]{2}[A-Z]{5}[0-9]{4}[A-Z][1-9A-Z]Z[0-9A-Z]$"},
                     "legal_name": {"type": "string", "minLength": 1},
                     "state": {"type": "string", "minLength": 1},
                     "registered_on": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                     "is_primary": {"type": "boolean"}}}',
    '{"id": "gst-mh", "gstin": "27AAPFU0939F1ZV", "state": "Maharashtra", "registered_on": "2017-07-01", "is_primary": true}',
    '{"legal_name": "Commodity Trading Limited"}');

select annals.declare_child('organization', 'bank_account', 'an organization''s bank account',
    '{"type": "object",
      "required": ["account_number"],
      "properties": {"bank_name": {"type": "string", "minLength": 1},
                     "account_number": {"type": "string", "minLength": 4, "maxLength": 34},
                     "account_holder": {"type": "string", "minLength": 1},
                     "ifsc": {"type": "string", "pattern": "^[A-Z]{4}0[A-Z0-9]{6}$"},
                     "branch": {"type": "string", "minLength": 1},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "is_primary": {"type": "boolean"}}}',
    '{"id": "bank-1", "bank_name": "HDFC Bank", "account_number": "50100012345678", "ifsc": "HDFC0000123", "currency": "INR"}',
    '{"branch": "Fort, Mumbai", "is_primary": true}');

-- The sources have no updated for these two collections: a wrong entry is removed and added again.
with child (collection, noun, fields, example) as (values
    ('financial_year', 'an organization''s financial year',
     '{"type": "object",
       "required": ["id", "start_date", "end_date"],
       "properties": {"id": {"type": "string", "minLength": 1, "maxLength": 128},
                      "name": {"type": "string", "minLength": 1},
                      "start_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                      "end_date": {"type": "string", "format": "date", "pattern": "^[1-9]"},
                      "is_current": {"type": "boolean"}}}'::jsonb,
     '{"id": "fy-2025", "name": "FY 2025-26", "start_date": "2025-04-01", "end_date": "2026-03-31", "is_current": true}'::jsonb),
    ('document_series', 'an organization''s number series for a kind of document',
     '{"type": "object",
       "required": ["id", "document_type"],
       "properties": {"id": {"type": "string", "minLength": 1, "maxLength": 128},
                      "document_type": {"type": "string", "minLength": 1},
                      "prefix": {"type": "string"},
                      "next_number": {"type": "integer", "minimum": 1, "maximum": 999999999999},
                      "financial_year_id": {"type": "string", "minLength": 1, "maxLength": 128}}}',
     '{"id": "inv-2025", "document_type": "invoice", "prefix": "INV/25-26/", "next_number": 1, "financial_year_id": "fy-2025"}'))
select annals.declare_event_type('organization.' || collection || '.added', jsonb_build_object('add_child', collection),
                                 array['staff', 'service'], format('%s was added.', 'A' || substr(noun, 2)), fields, example,
                                 requires => 'existing'),
       annals.declare_child_removed('organization', collection, noun, fields, example),
       annals.declare_inverse('organization.' || collection || '.added', jsonb_build_object('event_type', 'organization.' || collection || '.removed')),
       annals.declare_inverse('organization.' || collection || '.removed', jsonb_build_object('event_type', 'organization.' || collection || '.added'))
  from child;
