-- Reverts of uploads: each event that the upload appended is compensated, newest first.
--
-- A revert walks down the numbers of the upload's events. It stores its position, the number of the last event that it has finished, in the
-- transaction that appends the compensating events, so the position is exact. A revert that was killed continues from it.
--
-- A worker takes a lease on a revert and renews it with each step. The lease only decides who begins. A transaction moves the position only
-- if it is still where this worker has left it, so no two workers compensate the same events.
--
-- Only annals_projector reads or writes here. The claims of the caller who requested the revert are stored, to append in their name; a token
-- is never stored. The status of an upload that is being reverted, or has been, follows from these rows: annals.uploads does not change.

create table annals.reverts (
    upload_id          uuid not null,
    tenant_id          uuid not null,
    requested_by       text collate "C" not null,
    reason             text,
    claims             jsonb not null,
    context            jsonb not null,
    position           bigint,
    events_total       bigint not null,
    events_compensated bigint not null default 0,
    events_left        bigint not null default 0,
    held_until         timestamptz,
    holder             uuid,
    attempts           int not null default 0,
    created_at         timestamptz not null default clock_timestamp(),
    finished_at        timestamptz,
    constraint reverts_pkey primary key (upload_id),
    constraint reverts_upload_fkey foreign key (upload_id) references annals.uploads (id) on delete cascade,
    constraint reverts_held check ((holder is null) = (held_until is null)),
    constraint reverts_finished check (finished_at is null or holder is null),
    constraint reverts_counts check (least(events_total, events_compensated, events_left) >= 0)
);
comment on table annals.reverts is 'Reverts of uploads, at most one for each: who requested it, which worker has the lease, and how far it is.';
comment on column annals.reverts.upload_id is 'The upload.';
comment on column annals.reverts.tenant_id is 'Tenant of the upload.';
comment on column annals.reverts.requested_by is 'Actor who requested the revert.';
comment on column annals.reverts.reason is 'The reason that the request gave; null: none.';
comment on column annals.reverts.claims is 'Claims of the caller who requested it. The compensating events are appended in their name.';
comment on column annals.reverts.context is 'What the server observed of that request; becomes recorded of each event.';
comment on column annals.reverts.position is 'Of the upload''s events, those with this number or a higher one are finished; null: none.';
comment on column annals.reverts.events_total is 'Events that the upload appended.';
comment on column annals.reverts.events_compensated is 'Events that the revert has compensated.';
comment on column annals.reverts.events_left is 'Events that the revert has left alone; annals.events_left_alone has them.';
comment on column annals.reverts.held_until is 'End of the lease: the worker counts as dead after it unless it renews the lease.';
comment on column annals.reverts.holder is 'Worker that has the lease; a new id for each attempt.';
comment on column annals.reverts.attempts is 'How many times a worker has begun since the last progress.';
comment on column annals.reverts.created_at is 'When it was requested.';
comment on column annals.reverts.finished_at is 'When it ended; null until then.';

create table annals.events_left_alone (
    upload_id      uuid not null,
    event_number   bigint not null,
    event_id       uuid not null,
    aggregate_type text collate "C" not null,
    aggregate_id   text collate "C" not null,
    code           text collate "C" not null,
    detail         text not null,
    constraint events_left_alone_pkey primary key (upload_id, event_number),
    constraint events_left_alone_revert_fkey foreign key (upload_id) references annals.reverts (upload_id) on delete cascade
);
comment on table annals.events_left_alone is 'Events of reverted uploads that were not compensated, each with the reason.';
comment on column annals.events_left_alone.upload_id is 'The upload.';
comment on column annals.events_left_alone.event_number is 'Number of the event.';
comment on column annals.events_left_alone.event_id is 'Id of the event.';
comment on column annals.events_left_alone.aggregate_type is 'Type of its entity.';
comment on column annals.events_left_alone.aggregate_id is 'Id of its entity.';
comment on column annals.events_left_alone.code is 'Why, as a code: changed_since, already_compensated, not_applied …';
comment on column annals.events_left_alone.detail is 'Why, in human-readable words.';

-- Finds unfinished reverts without reading finished ones.
create index reverts_under_way on annals.reverts (created_at) where finished_at is null;

alter table annals.reverts enable row level security;
alter table annals.events_left_alone enable row level security;
create policy reverts_work on annals.reverts for all to annals_projector using (true) with check (true);
create policy events_left_alone_work on annals.events_left_alone for all to annals_projector using (true) with check (true);
grant select, insert, update on annals.reverts to annals_projector;
grant select, insert on annals.events_left_alone to annals_projector;
