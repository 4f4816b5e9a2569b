-- Files that were imported before, and what callers should know of an upload.

alter table annals.uploads add column warnings jsonb not null default '[]'
    constraint uploads_warnings_shape check (jsonb_typeof(warnings) = 'array');
comment on column annals.uploads.warnings is 'What the caller should know of the file, {code, message} each, although it is imported.';

-- Finds the uploads of the same file that have appended events, or may be appending them.
create index uploads_by_file on annals.uploads (tenant_id, file_sha256)
    where file_sha256 is not null and (events_appended > 0 or status = 'running');
