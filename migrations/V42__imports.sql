-- Imports: what a large upload goes on by, invocation after invocation, whatever ends one.
--
-- A file is read from one end to the other and its rows are dealt to lanes by the hash of their entities' ids, so that the rows of
-- one entity stay in the file's order. What a lane has settled is noted in the transaction that appends the events of those rows: the
-- row's number says exactly what is done. The place is where every lane has come to, and is written when they have; an import
-- that goes on reads from there and passes over, lane by lane, what is settled already.
--
-- Whoever works on an import holds it for a while, and goes on holding it as long as it works. The time only decides who begins:
-- that no two work at once on a lane is certain, because a lane moves only from where its worker has left it.
--
-- Nobody but annals_projector reads or writes here: claims are stored to append as the caller who asked, a token never is.

create table annals.imports (
    upload_id   uuid not null,
    expires_at  timestamptz not null,
    held_until  timestamptz,
    holder      uuid,
    size_bytes  bigint,
    rows_found  bigint,
    attempts    int not null default 0,
    lanes       int,
    object_tag  text,
    claims      jsonb not null,
    context     jsonb not null,
    reader      jsonb,
    place       jsonb,
    constraint imports_pkey primary key (upload_id),
    constraint imports_upload_fkey foreign key (upload_id) references annals.uploads (id) on delete cascade,
    constraint imports_held check ((holder is null) = (held_until is null)),
    constraint imports_object check ((size_bytes is null) = (object_tag is null)),
    constraint imports_inspected check ((rows_found is null) = (reader is null) and (place is null) = (reader is null))
);
comment on table annals.imports is 'Large uploads: for whom they are imported, who works on each, and how far it is.';
comment on column annals.imports.upload_id is 'The upload, and the name of its object.';
comment on column annals.imports.expires_at is 'Until when the file may be sent.';
comment on column annals.imports.held_until is 'When its worker counts as dead unless it has been heard of.';
comment on column annals.imports.holder is 'Who works on it; made anew for each attempt.';
comment on column annals.imports.size_bytes is 'Bytes of the file; null until it has arrived.';
comment on column annals.imports.rows_found is 'Rows of the file, counted before any is dealt with.';
comment on column annals.imports.attempts is 'How often somebody has begun since it last got further.';
comment on column annals.imports.lanes is 'How many lanes its rows are dealt to, fixed when it begins; null before, and once it has ended and nothing is left to delete.';
comment on column annals.imports.object_tag is 'Which of the objects of that name it is, in the store''s words: another one is refused.';
comment on column annals.imports.claims is 'Who asked for it, as the policies read it: its events are appended in this name.';
comment on column annals.imports.context is 'What the server observed of that request, which every event''s recorded holds.';
comment on column annals.imports.reader is 'How the file is written: encoding.';
comment on column annals.imports.place is 'Where every row before is settled: offset, skip, line, after_return, row.';

create table annals.import_lanes (
    upload_id       uuid not null,
    lane            int not null,
    settled_row     bigint not null default 0,
    rows_accepted   bigint not null default 0,
    rows_rejected   bigint not null default 0,
    rows_duplicate  bigint not null default 0,
    rows_updated    bigint not null default 0,
    rows_rounded    bigint not null default 0,
    rows_reported   bigint not null default 0,
    events_appended bigint not null default 0,
    constraint import_lanes_pkey primary key (upload_id, lane),
    constraint import_lanes_import_fkey foreign key (upload_id) references annals.imports (upload_id) on delete cascade
) with (fillfactor = 20);
comment on table annals.import_lanes is 'How far each lane of an import is, moved in the transaction that appends its events.';
comment on column annals.import_lanes.upload_id is 'The upload.';
comment on column annals.import_lanes.lane is 'The lane, from 0.';
comment on column annals.import_lanes.settled_row is 'Of the rows dealt to this lane, those up to this number are settled.';
comment on column annals.import_lanes.rows_accepted is 'Rows of the lane that became new entities.';
comment on column annals.import_lanes.rows_rejected is 'Rows of the lane that were refused.';
comment on column annals.import_lanes.rows_duplicate is 'Rows of the lane that say nothing new.';
comment on column annals.import_lanes.rows_updated is 'Rows of the lane that changed known entities.';
comment on column annals.import_lanes.rows_rounded is 'Rows of the lane with an amount that was finer than a minor unit.';
comment on column annals.import_lanes.rows_reported is 'Rows of the lane in annals.rejected_rows.';
comment on column annals.import_lanes.events_appended is 'Events that the lane has appended.';

create table annals.import_contents (
    upload_id uuid not null,
    content   bigint not null,
    times     int not null,
    constraint import_contents_pkey primary key (upload_id, content)
);
comment on table annals.import_contents is 'How often an import has met which content, where rows bring no ids: equal rows are told apart by their number. Deleted at the import''s end.';
comment on column annals.import_contents.upload_id is 'The upload.';
comment on column annals.import_contents.content is 'The first 64 bits of the content''s hash.';
comment on column annals.import_contents.times is 'How many rows with it are settled.';

alter table annals.imports enable row level security;
alter table annals.import_lanes enable row level security;
alter table annals.import_contents enable row level security;
create policy imports_work on annals.imports for all to annals_projector using (true) with check (true);
create policy import_lanes_work on annals.import_lanes for all to annals_projector using (true) with check (true);
create policy import_contents_work on annals.import_contents for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.imports, annals.import_lanes to annals_projector;
grant select, insert, update, delete on annals.import_contents to annals_projector;

-- What is waited for or worked on is found without reading what is done.
create index uploads_under_way on annals.uploads (created_at) where status in ('waiting', 'running');
-- Lanes are null again once an import that has ended has been tidied up after.
create index imports_to_tidy on annals.imports (upload_id) where lanes is not null;
