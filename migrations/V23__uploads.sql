-- Uploads, and the rows that they rejected, from which error reports are made.
--
-- Only annals_projector writes here, and the rows name the caller whose token the function has verified. A connection as `authenticated`
-- cannot write uploads, neither in its own name nor in another's.

create table annals.uploads (
    id              uuid not null,
    tenant_id       uuid not null,
    started_by      text collate "C" not null,
    dataset         text collate "C" not null,
    status          text collate "C" not null,
    dry_run         boolean not null,
    options         jsonb not null,
    file_sha256     bytea,
    header          text[],
    delimiter       text,
    ignored_columns text[],
    position        bigint not null default 0,
    failure         jsonb,
    rows_total      bigint not null default 0,
    rows_accepted   bigint not null default 0,
    rows_rejected   bigint not null default 0,
    rows_duplicate  bigint not null default 0,
    rows_updated    bigint not null default 0,
    rows_rounded    bigint not null default 0,
    rows_reported   bigint not null default 0,
    events_appended bigint not null default 0,
    errors_found    bigint not null default 0,
    created_at      timestamptz not null default clock_timestamp(),
    started_at      timestamptz,
    finished_at     timestamptz,
    constraint uploads_pkey primary key (id),
    constraint uploads_status check (status in ('waiting', 'running', 'completed', 'failed')),
    constraint uploads_times check (
        (status = 'failed' or (status = 'waiting') = (started_at is null))
        and (status in ('completed', 'failed')) = (finished_at is not null)),
    constraint uploads_failure check (failure is null or (status = 'failed' and jsonb_typeof(failure) = 'object')),
    constraint uploads_options_shape check (jsonb_typeof(options) = 'object'),
    constraint uploads_sha256_length check (length(file_sha256) = 32),
    constraint uploads_header_has_delimiter check ((header is null) = (delimiter is null)),
    constraint uploads_position check (position >= 0),
    constraint uploads_rows check (
        rows_total = rows_accepted + rows_rejected + rows_duplicate + rows_updated
        and least(rows_accepted, rows_rejected, rows_duplicate, rows_updated, rows_rounded, rows_reported, events_appended) >= 0
        and rows_rounded <= rows_total and rows_reported <= rows_rejected)
);
comment on table annals.uploads is 'Uploaded files, and the outcome of their rows.';
comment on column annals.uploads.id is 'UUID v7; the correlation_id of the upload''s events.';
comment on column annals.uploads.tenant_id is 'Tenant, from the token.';
comment on column annals.uploads.started_by is 'Actor of the token.';
comment on column annals.uploads.dataset is 'What the file contains: sales, customers or expenses.';
comment on column annals.uploads.status is 'waiting for its file, running, completed (rows may have been rejected) or failed.';
comment on column annals.uploads.dry_run is 'Whether it only reports what would happen to the rows.';
comment on column annals.uploads.options is 'The fields of the upload, as they were sent.';
comment on column annals.uploads.file_sha256 is 'SHA-256 of the file''s bytes.';
comment on column annals.uploads.header is 'The file''s header; null until it is read.';
comment on column annals.uploads.delimiter is 'Separator of fields; null until the header is read.';
comment on column annals.uploads.ignored_columns is 'Headers of columns that are not read; null until the header is read.';
comment on column annals.uploads.position is 'Number of bytes of the file that are processed, for showing progress. An interrupted import continues from annals.imports.place.';
comment on column annals.uploads.failure is 'Why the file as a whole was refused, {code, detail}; null otherwise.';
comment on column annals.uploads.rows_total is 'Rows that have been processed.';
comment on column annals.uploads.rows_accepted is 'Rows that created entities.';
comment on column annals.uploads.rows_rejected is 'Rows that were rejected.';
comment on column annals.uploads.rows_duplicate is 'Rows that contain nothing new.';
comment on column annals.uploads.rows_updated is 'Rows that changed existing entities.';
comment on column annals.uploads.rows_rounded is 'Rows with an amount that had to be rounded to a minor unit.';
comment on column annals.uploads.rows_reported is 'Rows in annals.rejected_rows. Fewer than were rejected if there were more than are stored; 0 once the report has been deleted.';
comment on column annals.uploads.events_appended is 'Events that were appended.';
comment on column annals.uploads.errors_found is 'Errors of rejected rows, stored or not.';
comment on column annals.uploads.created_at is 'When the upload was requested.';
comment on column annals.uploads.started_at is 'When the first row was read; null while it waits for its file, or if the file was never read.';
comment on column annals.uploads.finished_at is 'When it ended; null until then.';

create table annals.rejected_rows (
    upload_id  uuid not null,
    "row"      bigint not null,
    line       bigint not null,
    tenant_id  uuid not null,
    started_by text collate "C" not null,
    fields     text[] not null,
    errors     jsonb not null,
    constraint rejected_rows_pkey primary key (upload_id, "row"),
    constraint rejected_rows_upload_fkey foreign key (upload_id) references annals.uploads (id) on delete cascade,
    constraint rejected_rows_places check ("row" > 0 and line > 0),
    constraint rejected_rows_errors check (jsonb_typeof(errors) = 'array' and errors <> '[]')
);
comment on table annals.rejected_rows is 'Rows that uploads rejected, as they were sent, until their report is deleted.';
comment on column annals.rejected_rows.upload_id is 'The upload.';
comment on column annals.rejected_rows."row" is 'Number of the record in the file, from 1.';
comment on column annals.rejected_rows.line is 'Physical line on which it begins.';
comment on column annals.rejected_rows.tenant_id is 'Tenant of the upload, copied here so that the policy needs no second table.';
comment on column annals.rejected_rows.started_by is 'Actor of the upload, copied here like tenant_id.';
comment on column annals.rejected_rows.fields is 'The record''s fields, in the order of the file.';
comment on column annals.rejected_rows.errors is 'Its errors: [{column, code, message, value}], at least one.';

-- Finds unfinished uploads without reading finished ones.
create index uploads_under_way on annals.uploads (created_at) where status in ('waiting', 'running');

-- Finds the reports that are old enough to be deleted.
create index uploads_with_reports on annals.uploads (finished_at) where rows_reported > 0;

alter table annals.uploads enable row level security;
alter table annals.rejected_rows enable row level security;
create policy uploads_read on annals.uploads for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant()) or started_by = (select annals.caller_actor())));
create policy rejected_rows_read on annals.rejected_rows for select to authenticated using (
    tenant_id = (select annals.caller_tenant())
    and ((select annals.caller_sees_tenant()) or started_by = (select annals.caller_actor())));
create policy uploads_work on annals.uploads for all to annals_projector using (true) with check (true);
create policy rejected_rows_work on annals.rejected_rows for all to annals_projector using (true) with check (true);
grant select on annals.uploads, annals.rejected_rows to authenticated;
grant select, insert, update on annals.uploads to annals_projector;
grant select, insert, delete on annals.rejected_rows to annals_projector;
