-- Module import: one stream per large file, from the request for its upload to its end.
--
-- There is no created, updated or deleted: an import is requested, started and ended, and generic CRUD answers 405. The events are a record
-- for people and for consumers that react to an import. The working state of an import is in annals.imports.

create table public.imports (
    like annals.state_row including all,
    dataset         text,
    status          text,
    size_bytes      bigint,
    file_sha256     text,
    rows_total      bigint,
    rows_accepted   bigint,
    rows_rejected   bigint,
    rows_duplicate  bigint,
    rows_updated    bigint,
    rows_rounded    bigint,
    events_appended bigint,
    code            text,
    detail          text,
    dry_run         boolean,
    constraint imports_status check (status in ('waiting', 'running', 'completed', 'failed'))
);
comment on table public.imports is 'State of import streams: one large file each. The id is that of the upload.';
comment on column public.imports.dataset is 'What the file contains: sales, customers or expenses.';
comment on column public.imports.status is 'waiting for its file, running, completed (rows may have been rejected) or failed.';
comment on column public.imports.size_bytes is 'Bytes of the file.';
comment on column public.imports.file_sha256 is 'SHA-256 of the file''s bytes, in hexadecimal digits.';
comment on column public.imports.rows_total is 'Rows that have been processed.';
comment on column public.imports.rows_accepted is 'Rows that created entities.';
comment on column public.imports.rows_rejected is 'Rows that were rejected.';
comment on column public.imports.rows_duplicate is 'Rows that contain nothing new.';
comment on column public.imports.rows_updated is 'Rows that changed existing entities.';
comment on column public.imports.rows_rounded is 'Rows with an amount that had to be rounded to a minor unit.';
comment on column public.imports.events_appended is 'Events that were appended.';
comment on column public.imports.code is 'Why it failed, as a code; null unless the file as a whole failed.';
comment on column public.imports.detail is 'Why it failed, in human-readable words.';
comment on column public.imports.dry_run is 'Whether it only reports what would happen to the rows; null for events of version 1.0, which did not have it.';
select annals.register_state_table('public.imports', 'import');

-- No inverse: import.requested, import.started, import.completed and import.failed are facts about the work of Annals itself.
select annals.declare_event_type(
    'import.requested', '{"set": {"status": {"const": "waiting"}, "dataset": "/dataset", "dry_run": "/dry_run"}}', array['staff', 'service'],
    'Somebody asked for an address to send a large file to.',
    '{"type": "object",
      "required": ["dataset"],
      "properties": {"dataset": {"type": "string", "minLength": 1, "maxLength": 50}, "options": {"type": "object"}}}',
    '{"dataset": "sales", "options": {"date_format": "%d.%m.%Y"}}',
    requires => 'new', appended_by => 'import');

select annals.declare_event_type(
    'import.started', '{"set": {"status": {"const": "running"}, "size_bytes": "/size_bytes"}}', array['staff', 'service'],
    'The file arrived and is being read.',
    '{"type": "object",
      "required": ["size_bytes"],
      "properties": {"size_bytes": {"type": "integer", "minimum": 0}}}',
    '{"size_bytes": 73400320}',
    requires => 'existing', appended_by => 'import');

select annals.declare_event_type(
    'import.completed', '{"set": {"status": {"const": "completed"}, "file_sha256": "/file_sha256", "rows_total": "/rows_total",
                                  "rows_accepted": "/rows_accepted", "rows_rejected": "/rows_rejected",
                                  "rows_duplicate": "/rows_duplicate", "rows_updated": "/rows_updated",
                                  "rows_rounded": "/rows_rounded", "events_appended": "/events_appended",
                                  "dry_run": "/dry_run"}}',
    array['staff', 'service'],
    'Every row of the file was dealt with.',
    '{"type": "object",
      "required": ["rows_total", "rows_accepted", "rows_rejected", "rows_duplicate", "rows_updated", "events_appended"],
      "properties": {"file_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                     "rows_total": {"type": "integer", "minimum": 0}, "rows_accepted": {"type": "integer", "minimum": 0},
                     "rows_rejected": {"type": "integer", "minimum": 0}, "rows_duplicate": {"type": "integer", "minimum": 0},
                     "rows_updated": {"type": "integer", "minimum": 0}, "rows_rounded": {"type": "integer", "minimum": 0},
                     "events_appended": {"type": "integer", "minimum": 0}}}',
    '{"file_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08", "rows_total": 1000000,
      "rows_accepted": 999990, "rows_rejected": 4, "rows_duplicate": 5, "rows_updated": 1, "rows_rounded": 0, "events_appended": 999991}',
    requires => 'existing', appended_by => 'import');

select annals.declare_event_type(
    'import.failed', '{"set": {"status": {"const": "failed"}, "code": "/code", "detail": "/detail", "rows_total": "/rows_total",
                               "rows_accepted": "/rows_accepted", "rows_rejected": "/rows_rejected",
                               "rows_duplicate": "/rows_duplicate", "rows_updated": "/rows_updated",
                               "events_appended": "/events_appended", "dry_run": "/dry_run"}}',
    array['staff', 'service'],
    'The import ended before the end of its file, or without appending what was all or nothing.',
    '{"type": "object",
      "required": ["code"],
      "properties": {"code": {"type": "string", "minLength": 1, "maxLength": 100}, "detail": {"type": "string", "maxLength": 1000},
                     "file_sha256": {"type": "string", "pattern": "^[0-9a-f]{64}$"},
                     "rows_total": {"type": "integer", "minimum": 0}, "rows_accepted": {"type": "integer", "minimum": 0},
                     "rows_rejected": {"type": "integer", "minimum": 0}, "rows_duplicate": {"type": "integer", "minimum": 0},
                     "rows_updated": {"type": "integer", "minimum": 0}, "rows_rounded": {"type": "integer", "minimum": 0},
                     "events_appended": {"type": "integer", "minimum": 0}}}',
    '{"code": "unclosed_quote", "detail": "line 17: a quote is opened in the record that begins here and never closed"}',
    requires => 'existing', appended_by => 'import');

-- Version 1.1 adds dry_run. Consumers of import.completed need it, because the numbers of a dry run count what would happen. It is a minor
-- version, because the other fields keep their meaning.
do $$
declare
    said   constant jsonb := '{"dry_run": {"type": "boolean"}}';
    action text;
    latest record;
begin
    foreach action in array array['requested', 'completed', 'failed'] loop
        select v.schema, v.example into strict latest
          from annals.event_type_versions v
         where v.event_type = 'import.' || action and v.version = '1.0' and v.tenant_id is null;
        perform annals.declare_version('import.' || action, '1.1',
            jsonb_set(latest.schema, '{properties}', latest.schema -> 'properties' || said), latest.example || '{"dry_run": false}', '[]');
    end loop;
end
$$;
