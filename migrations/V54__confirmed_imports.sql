-- Large files that are looked at before they are imported: an upload with start=confirmed waits until its options are confirmed, and may be
-- inspected meanwhile.

alter table annals.imports
    add column starts boolean not null default true,
    add column asked jsonb,
    add column inspection jsonb,
    add constraint imports_asked_shape check (jsonb_typeof(asked) = 'object'),
    add constraint imports_inspection_shape check (inspection is null or asked is not null and jsonb_typeof(inspection) = 'object');
comment on column annals.imports.starts is 'Whether the import begins when its file has arrived. Otherwise it waits until its options are confirmed.';
comment on column annals.imports.asked is 'The fields of the inspection that was asked for last; null: none was.';
comment on column annals.imports.inspection is 'The answer of that inspection, or why the file cannot be inspected; null until then.';

-- No inverse: import.confirmed is a fact about the work of Annals itself.
select annals.declare_event_type(
    'import.confirmed', '{"set": {"status": {"const": "waiting"}}}', array['staff', 'service'],
    'Somebody confirmed how a large file is to be read, so that its import may begin.',
    '{"type": "object",
      "required": ["options"],
      "properties": {"options": {"type": "object"}, "dry_run": {"type": "boolean"}}}',
    '{"options": {"date_format": "%d.%m.%Y"}, "dry_run": false}',
    requires => 'existing', appended_by => 'import');
