-- The events of a revert, in the stream of the import that is reverted. A small upload has no such stream before, so the request may be its
-- first event.
--
-- Only Annals appends them. Every role may cause that, because a revert needs the permission to compensate the upload's events.

alter table public.imports
    drop constraint imports_status,
    add constraint imports_status check (status in ('waiting', 'running', 'completed', 'failed', 'reverting', 'reverted')),
    add column events_compensated bigint,
    add column events_left bigint;
comment on column public.imports.status is
    'waiting for its file, running, completed (rows may have been rejected), failed, reverting (its events are being compensated) or reverted.';
comment on column public.imports.events_compensated is 'Events that a revert has compensated; null if the import was not reverted.';
comment on column public.imports.events_left is 'Events that a revert has left alone; null if the import was not reverted.';
select annals.make_state_writer('public.imports');

-- No inverse: import.revert_requested and import.revert_completed are facts about the work of Annals itself.
select annals.declare_event_type(
    'import.revert_requested', '{"set": {"status": {"const": "reverting"}, "dataset": "/dataset"}}', array['user', 'staff', 'agent', 'service'],
    'Somebody asked to compensate all that an upload appended.',
    '{"type": "object",
      "required": ["dataset", "events_total"],
      "properties": {"dataset": {"type": "string", "minLength": 1, "maxLength": 50}, "events_total": {"type": "integer", "minimum": 0},
                     "reason": {"type": "string", "minLength": 1, "maxLength": 1000}}}',
    '{"dataset": "sales", "events_total": 1000, "reason": "the wrong month"}',
    appended_by => 'import');

select annals.declare_event_type(
    'import.revert_completed', '{"set": {"status": {"const": "reverted"}, "events_compensated": "/events_compensated", "events_left": "/events_left"}}',
    array['user', 'staff', 'agent', 'service'],
    'Each event that the upload appended was compensated or, for the reasons given, left alone.',
    '{"type": "object",
      "required": ["events_total", "events_compensated", "events_left"],
      "properties": {"events_total": {"type": "integer", "minimum": 0}, "events_compensated": {"type": "integer", "minimum": 0},
                     "events_left": {"type": "integer", "minimum": 0},
                     "left_by_code": {"type": "object", "additionalProperties": {"type": "integer", "minimum": 1}}}}',
    '{"events_total": 1000, "events_compensated": 998, "events_left": 2, "left_by_code": {"changed_since": 2}}',
    requires => 'existing', appended_by => 'import');
