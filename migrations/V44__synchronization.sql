-- Events about synchronization with other systems, which other systems post. There is no state table, and no created, updated or deleted.
-- No inverse: sync.started, sync.completed and sync.failed report what happened elsewhere.

select annals.declare_event_type(
    'sync.started', '{"set": {"status": {"const": "running"}, "system": "/system", "direction": "/direction", "started_at": "/started_at"}}',
    '{staff,service,agent}', 'A system began to exchange data with another one.',
    '{"type": "object",
      "required": ["system"],
      "properties": {"system": {"type": "string", "minLength": 1, "maxLength": 100},
                     "direction": {"enum": ["in", "out", "both"]},
                     "started_at": {"type": "string", "format": "date-time"},
                     "entities": {"type": "array", "items": {"type": "string", "minLength": 1}}}}',
    '{"system": "shop", "direction": "in", "started_at": "2026-02-01T02:00:00Z", "entities": ["sale", "customer"]}');

select annals.declare_event_type(
    'sync.completed',
    '{"set": {"status": {"const": "completed"}, "records": "/records", "records_failed": "/records_failed", "completed_at": "/completed_at"}}',
    '{staff,service,agent}', 'It came to its end.',
    '{"type": "object",
      "required": ["records"],
      "properties": {"records": {"type": "integer", "minimum": 0},
                     "records_failed": {"type": "integer", "minimum": 0},
                     "completed_at": {"type": "string", "format": "date-time"}}}',
    '{"records": 1204, "records_failed": 2, "completed_at": "2026-02-01T02:03:11Z"}',
    requires => 'existing');

select annals.declare_event_type(
    'sync.failed', '{"set": {"status": {"const": "failed"}, "error": "/error", "records": "/records", "failed_at": "/failed_at"}}',
    '{staff,service,agent}', 'It was given up, with the reason.',
    '{"type": "object",
      "required": ["error"],
      "properties": {"error": {"type": "string", "minLength": 1, "maxLength": 2000},
                     "records": {"type": "integer", "minimum": 0},
                     "failed_at": {"type": "string", "format": "date-time"}}}',
    '{"error": "the shop did not answer", "records": 310, "failed_at": "2026-02-01T02:01:40Z"}',
    requires => 'existing');
