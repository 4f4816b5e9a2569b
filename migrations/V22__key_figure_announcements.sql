-- Announcing key figures: the event kpi.calculated, to which automation can react.
--
-- The sweep appends it as the service annals, by the append function that every service uses: one event for each day and currency when the
-- day is over, and one more each time a past day has been corrected. The stream is kpi/{currency}:{day}, so the stream's version is the
-- revision of the figures. No caller may post it, because a forged event would be taken for the figures. The append function refuses the
-- type unless its parameter `part` names the sweep (annals.event_types.appended_by), and only annals.announce_kpis passes that.

create function annals.announce_kpis(tenant uuid, new_ids uuid[], streams text[], datas jsonb[], causes uuid[], expected_versions int[])
returns bigint language plpgsql security definer set search_path = pg_catalog, pg_temp as $$
declare
    members int := cardinality(new_ids);
begin
    -- The expected version ensures that an announcement is made once. An idempotency key could not: a client could have used it before.
    return (select count(*)
              from annals.append_events(
                   jsonb_build_object('sub', tenant, 'app_metadata', jsonb_build_object('role', 'service', 'name', 'annals', 'tenant_id', tenant)),
                   new_ids, array_fill('kpi.calculated'::text, array[members]), array_fill('kpi'::text, array[members]), streams,
                   array_fill('1.0'::text, array[members]), datas, array_fill('{}'::jsonb, array[members]), '{}'::jsonb,
                   array_fill('system'::text, array[members]), array_fill(null::uuid, array[members]), array_fill('sweep'::text, array[members]),
                   array_fill(null::timestamptz, array[members]), array_fill(null::text, array[members]), causes,
                   array_fill(null::text, array[members]), array_fill(null::text, array[members]), expected_versions,
                   array_fill('sweep'::text, array[members]), (select r.revision from annals.catalog_revision r)));
end
$$;
comment on function annals.announce_kpis(uuid, uuid[], text[], jsonb[], uuid[], int[]) is
    'Appends a tenant''s announcements as its service annals; returns how many.';

grant execute on function annals.announce_kpis(uuid, uuid[], text[], jsonb[], uuid[], int[]) to annals_projector;

-- No inverse: kpi.calculated, because a correction is announced by a new one.
select annals.declare_event_type(
    'kpi.calculated', '"create"', '{service}', 'The key figures of a day that is over, in one currency: once, and again each time they have been corrected.',
    '{"type": "object",
      "required": ["day", "currency", "revision", "revenue_cents", "refunds_cents", "net_cents", "sales_count", "average_sale_cents",
                   "expenses_cents", "expenses_count", "profit_cents", "new_customers", "active_customers"],
      "additionalProperties": false,
      "properties": {"day": {"type": "string", "format": "date"},
                     "currency": {"type": "string", "pattern": "^[A-Z]{3}$"},
                     "revision": {"type": "integer", "minimum": 1},
                     "revenue_cents": {"type": "integer", "minimum": 0},
                     "refunds_cents": {"type": "integer", "minimum": 0},
                     "net_cents": {"type": "integer"},
                     "sales_count": {"type": "integer", "minimum": 0},
                     "average_sale_cents": {"type": ["integer", "null"]},
                     "expenses_cents": {"type": "integer"},
                     "expenses_count": {"type": "integer", "minimum": 0},
                     "profit_cents": {"type": "integer"},
                     "new_customers": {"type": "integer", "minimum": 0},
                     "active_customers": {"type": "integer", "minimum": 0}}}',
    '{"day": "2018-11-08", "currency": "USD", "revision": 1, "revenue_cents": 121958, "refunds_cents": 0, "net_cents": 121958, "sales_count": 2,
      "average_sale_cents": 60979, "expenses_cents": 4900, "expenses_count": 1, "profit_cents": 117058, "new_customers": 1, "active_customers": 1}',
    appended_by => 'sweep');

revoke execute on all functions in schema annals from public;
