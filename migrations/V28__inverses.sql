-- How events of the modules before V19 are compensated; later modules say so themselves. Beside them the removed that the
-- collections of organizations lacked: without it, what was added by mistake would stay.
--
-- No inverse have: customer.profile_updated, dealer.approved, dealer.pricing_updated and order.payment_received, which do not say
-- what was before; order.fulfilled and a decision's rejection, which no other type takes back; a dealer's application, which is
-- answered by an update. What a declared inverse writes over a field that the event changed is taken from the state before, whatever
-- the event said was old ("/old_price" only tells which member takes it); null where there was none. Later modules': trade.cancelled, trade.settled, payment.refunded and payment.failed.

select annals.declare_child_removed('organization', c.collection, c.noun, v.schema, v.example)
  from (values ('gst', 'an organization''s GST registration'),
               ('bank_account', 'an organization''s bank account'),
               ('financial_year', 'an organization''s financial year'),
               ('document_series', 'an organization''s number series for a kind of document')) as c (collection, noun)
  join annals.event_type_versions v on v.event_type = 'organization.' || c.collection || '.added' and v.tenant_id is null;

select annals.declare_child_inverses('organization', collection) from unnest(array['gst', 'bank_account']) as collection;
select annals.declare_inverse('organization.' || collection || '.added', jsonb_build_object('event_type', 'organization.' || collection || '.removed')),
       annals.declare_inverse('organization.' || collection || '.removed', jsonb_build_object('event_type', 'organization.' || collection || '.added'))
  from unnest(array['financial_year', 'document_series']) as collection;

select annals.declare_entity_inverses(module)
  from unnest(array['organization', 'product', 'order', 'customer', 'dealer', 'sale', 'price']) as module;

select annals.declare_inverse(event_type, inverse)
  from (values
      ('product.price_changed', '{"event_type": "product.price_corrected", "data": {"old_price": "/new_price", "new_price": "/old_price"}}'::jsonb),
      ('product.price_corrected', '{"event_type": "product.price_corrected", "data": {"old_price": "/new_price", "new_price": "/old_price"}}'),
      ('product.stock_updated', '{"event_type": "product.stock_updated", "data": {"old_stock": "/new_stock", "new_stock": "/old_stock"}}'),
      -- The day becomes that of the price before, if it had one.
      ('price.changed', '{"event_type": "price.changed", "data": {"old_price": "/new_price", "new_price": "/old_price",
                          "reason": {"const": "changed in error"}, "effective_date": "/effective_date"}}'),
      ('order.placed', '{"event_type": "order.status_changed", "data": {"old_status": {"const": "placed"}, "new_status": {"const": "cancelled"},
                         "reason": {"const": "placed in error"}}}'),
      ('order.status_changed', '{"event_type": "order.status_changed", "data": {"old_status": "/new_status", "new_status": "/old_status"}}'),
      ('customer.registered', '{"event_type": "customer.deleted"}'),
      ('agent.decision_proposed', '{"event_type": "agent.decision_rejected", "data": {"reason": {"const": "proposed in error"}}}'),
      ('agent.decision_approved', '{"event_type": "agent.decision_rejected", "data": {"reason": {"const": "approved in error"}}}')
  ) as i (event_type, inverse);
