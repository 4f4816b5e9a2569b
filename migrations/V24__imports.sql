-- Imports: the progress of large uploads. An import continues in the next invocation after any interruption.
--
-- A file is read from beginning to end. Its rows are dispatched to partitions by the hash of their entities' ids, so the rows of one entity
-- stay in the order of the file. Each partition stores its watermark, the number of the last row that it has processed, in the transaction
-- that appends the events of these rows, so the watermark is exact. The resume point is a position in the file that all partitions have
-- passed. An import that continues reads from the resume point, and each partition skips the rows up to its watermark.
--
-- A worker takes a lease on an import and renews it while it works. The lease only decides who begins. The watermarks ensure that no two
-- workers process the same rows: a transaction moves a watermark only if it is still where this worker has left it.
--
-- Only annals_projector reads or writes here. The claims of the caller who requested the import are stored, to append in their name; a
-- token is never stored.

create table annals.imports (
    upload_id    uuid not null,
    expires_at   timestamptz not null,
    held_until   timestamptz,
    holder       uuid,
    size_bytes   bigint,
    rows_found   bigint,
    attempts     int not null default 0,
    partitions   int,
    object_tag   text,
    claims       jsonb not null,
    context      jsonb not null,
    reader       jsonb,
    resume_point jsonb,
    constraint imports_pkey primary key (upload_id),
    constraint imports_upload_fkey foreign key (upload_id) references annals.uploads (id) on delete cascade,
    constraint imports_held check ((holder is null) = (held_until is null)),
    constraint imports_object check ((size_bytes is null) = (object_tag is null)),
    constraint imports_inspected check ((rows_found is null) = (reader is null) and (resume_point is null) = (reader is null))
);
comment on table annals.imports is 'Large uploads: for whom they are imported, which worker has the lease, and how far they are.';
comment on column annals.imports.upload_id is 'The upload; also the name of its object in the storage.';
comment on column annals.imports.expires_at is 'Until when the file may be sent.';
comment on column annals.imports.held_until is 'End of the lease: the worker counts as dead after it unless it renews the lease.';
comment on column annals.imports.holder is 'Worker that has the lease; a new id for each attempt.';
comment on column annals.imports.size_bytes is 'Bytes of the file; null until it has arrived.';
comment on column annals.imports.rows_found is 'Rows of the file, counted before any is processed.';
comment on column annals.imports.attempts is 'How many times a worker has begun since the last progress.';
comment on column annals.imports.partitions is 'Number of partitions, fixed when it begins; null before, and again once it has ended and its temporary data are deleted.';
comment on column annals.imports.object_tag is 'The storage''s tag (ETag) of the object: an object of the same name with another tag is refused.';
comment on column annals.imports.claims is 'Claims of the caller who requested it. Its events are appended in their name.';
comment on column annals.imports.context is 'What the server observed of that request; becomes recorded of each event.';
comment on column annals.imports.reader is 'How the file is decoded: its encoding.';
comment on column annals.imports.resume_point is 'Where reading continues; every row before it is processed. offset: the byte of the file at which decoding begins; skip: bytes of decoded text after it; line and row: the numbers reached there; after_return: whether the text before it ends with a carriage return.';

create table annals.import_partitions (
    upload_id       uuid not null,
    partition       int not null,
    processed_row   bigint not null default 0,
    rows_accepted   bigint not null default 0,
    rows_rejected   bigint not null default 0,
    rows_duplicate  bigint not null default 0,
    rows_updated    bigint not null default 0,
    rows_rounded    bigint not null default 0,
    rows_reported   bigint not null default 0,
    events_appended bigint not null default 0,
    reported_bytes  bigint not null default 0,
    errors_found    bigint not null default 0,
    constraint import_partitions_pkey primary key (upload_id, partition),
    constraint import_partitions_import_fkey foreign key (upload_id) references annals.imports (upload_id) on delete cascade
) with (fillfactor = 20);
comment on table annals.import_partitions is 'Progress of each partition of an import, moved in the transaction that appends its events.';
comment on column annals.import_partitions.upload_id is 'The upload.';
comment on column annals.import_partitions.partition is 'Number of the partition, from 0.';
comment on column annals.import_partitions.processed_row is 'Watermark: of the rows of this partition, those up to this number are processed.';
comment on column annals.import_partitions.rows_accepted is 'Rows of the partition that created entities.';
comment on column annals.import_partitions.rows_rejected is 'Rows of the partition that were rejected.';
comment on column annals.import_partitions.rows_duplicate is 'Rows of the partition that contain nothing new.';
comment on column annals.import_partitions.rows_updated is 'Rows of the partition that changed existing entities.';
comment on column annals.import_partitions.rows_rounded is 'Rows of the partition with an amount that had to be rounded to a minor unit.';
comment on column annals.import_partitions.rows_reported is 'Rows of the partition in annals.rejected_rows.';
comment on column annals.import_partitions.events_appended is 'Events that the partition has appended.';
comment on column annals.import_partitions.reported_bytes is 'Bytes that the partition''s rows in annals.rejected_rows take. Beyond a limit no more rows are stored.';
comment on column annals.import_partitions.errors_found is 'Errors of the partition''s rejected rows, stored or not.';

create table annals.import_contents (
    upload_id uuid not null,
    content   bigint not null,
    times     int not null,
    constraint import_contents_pkey primary key (upload_id, content)
);
comment on table annals.import_contents is
    'How many rows with the same content an import has read, if rows have no ids: equal rows are distinguished by a counter. Deleted when the import ends.';
comment on column annals.import_contents.upload_id is 'The upload.';
comment on column annals.import_contents.content is 'The first 64 bits of the content''s hash.';
comment on column annals.import_contents.times is 'Number of processed rows with this content.';

alter table annals.imports enable row level security;
alter table annals.import_partitions enable row level security;
alter table annals.import_contents enable row level security;
create policy imports_work on annals.imports for all to annals_projector using (true) with check (true);
create policy import_partitions_work on annals.import_partitions for all to annals_projector using (true) with check (true);
create policy import_contents_work on annals.import_contents for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.imports, annals.import_partitions to annals_projector;
grant select, insert, update, delete on annals.import_contents to annals_projector;

-- Finds ended imports whose temporary data are not deleted yet: partitions is set to null then.
create index imports_to_purge on annals.imports (upload_id) where partitions is not null;
create index imports_held on annals.imports (held_until) where holder is not null;

-- An importer needs five connections, and every user may request imports. Therefore the number of imports that run at the same time is
-- limited here, under a lock, so that one worker at a time counts them.
create table annals_locks.imports ();
comment on table annals_locks.imports is
    'A worker that takes a lease on an import locks it EXCLUSIVE, so that one at a time counts how many have one.';
grant update on annals_locks.imports to annals_projector;

create function annals.acquire_import_lease(import_id uuid, worker uuid, seconds float8, most int) returns boolean
language plpgsql set search_path = pg_catalog, pg_temp as $$
begin
    lock table annals_locks.imports in exclusive mode;
    if (select count(*) from annals.imports i
         where i.holder is not null and i.held_until >= clock_timestamp() and i.upload_id <> import_id) >= most then
        return false;
    end if;
    update annals.imports i
       set holder = worker, held_until = clock_timestamp() + make_interval(secs => seconds), attempts = i.attempts + 1
      from annals.uploads u
     where i.upload_id = import_id and u.id = i.upload_id and u.status in ('waiting', 'running')
       and (i.held_until is null or i.held_until < clock_timestamp());
    return found;
end
$$;
comment on function annals.acquire_import_lease(uuid, uuid, float8, int) is
    'Takes the lease on an import for a worker, unless another worker has it or as many other imports have one. Returns whether it did.';
grant execute on function annals.acquire_import_lease(uuid, uuid, float8, int) to annals_projector;

revoke execute on all functions in schema annals from public;
