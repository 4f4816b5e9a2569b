-- The high-water mark: how a reader across streams knows that no event will appear below its position.
--
-- Event numbers are drawn before transactions commit, so an event may become visible after an event with a higher number. An append locks
-- annals_locks.appends (ROW EXCLUSIVE, so appends do not wait for each other) before it draws its first number, and holds the lock until
-- its transaction ends. A reader does three things, in this order:
--   1. it reads the highest visible number M, the high-water mark;
--   2. it reads from pg_locks which transactions hold the lock, and waits until these have ended; it does not wait for later ones;
--   3. it takes a new snapshot and reads events up to M.
-- Every number up to M was drawn before M was, and the append of M had committed before step 1. The transaction that drew such a number
-- therefore took the lock before step 1. In step 2 it either still holds the lock, and the reader waits for it, or it has ended. PostgreSQL
-- makes a commit visible to new snapshots before it releases the locks of the transaction (CommitTransaction calls ProcArrayEndTransaction,
-- and ResourceOwnerRelease after it). When a reader finds the lock released, a new snapshot therefore contains the events. Each number up
-- to M is then visible or belongs to a transaction that was rolled back.
--
--   t0  append A locks, draws 7
--   t1  append B locks, draws 8, commits: 8 is visible, 7 is not
--   t2  reader: the highest visible number is 8. In pg_locks: A
--   t3  append C locks, draws 9
--   t4  A commits: 7 is visible, A's lock is released
--   t5  reader finds that A has ended (it does not wait for C), takes its snapshot, reads 7 and 8, and remembers 8
--
-- A reader that had read at t2 without waiting would have remembered 8 and never seen 7. Readers wait only for appends, not for every
-- transaction with an xid. `authenticated` has no USAGE on the schema of the table, so it can hold this lock only by appending. No
-- transaction id is stored, so this still works after a dump is restored into another cluster.
--
-- The high-water mark is not the sequence's value. A number that was drawn and rolled back may not be in the flushed WAL. After a crash of
-- the server the sequence could return it again, and a reader that had remembered it would never see its event. The commit of a visible
-- number is flushed.

create function annals.open_appends() returns text[] language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select coalesce(array_agg(l.virtualtransaction), '{}')
      from pg_locks l
     where l.locktype = 'relation' and l.relation = 'annals_locks.appends'::regclass and l.mode = 'RowExclusiveLock' and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
$$;
comment on function annals.open_appends() is
    'Virtual transaction ids of the transactions that have appended, or are about to, and have not ended. Prepared transactions are included.';

create function annals.high_water_mark(out event_number bigint, out open_appends text[])
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
begin
    -- Two statements, because the order matters: first the number, then the locks.
    event_number := (select coalesce(max(e.event_number), 0) from annals.events e);
    open_appends := annals.open_appends();
end
$$;
comment on function annals.high_water_mark() is
    'The highest visible event number, and the transactions that must end before a new snapshot contains every event up to it.';
grant execute on function annals.open_appends(), annals.high_water_mark() to authenticated, annals_projector;

create function annals.wait_for_high_water_mark(patience interval) returns bigint
language plpgsql volatile security definer set search_path = pg_catalog, pg_temp as $$
declare
    deadline constant timestamptz := clock_timestamp() + patience;
    mark     record := annals.high_water_mark();
    own      text;
begin
    select l.virtualtransaction into own from pg_locks l where l.pid = pg_backend_pid() limit 1;
    while mark.open_appends && annals.open_appends() loop
        -- A transaction that has appended itself would wait for itself.
        if own = any (mark.open_appends) or clock_timestamp() > deadline then
            return (select c.position from annals.checkpoints c where c.name = 'sweep');
        end if;
        perform pg_sleep(0.005);
    end loop;
    return mark.event_number;
end
$$;
comment on function annals.wait_for_high_water_mark(interval) is
    'A high-water mark: every snapshot that is taken from now on contains all events up to it. If an append stays open for longer than patience, it returns the position of the sweep, which is lower and for which the same holds.';
grant execute on function annals.wait_for_high_water_mark(interval) to authenticated, annals_projector;

-- Which append the readers wait for. With the owner's rights, because pg_stat_activity shows the start times of other roles' transactions
-- only to members of pg_read_all_stats. The migrating roles of Supabase and RDS are members; elsewhere the age may be null.
create function annals.oldest_open_append(out pid int, out prepared text, out age_seconds bigint)
language sql volatile security definer set search_path = pg_catalog, pg_temp as $$
    select a.pid, p.gid, extract(epoch from clock_timestamp() - coalesce(a.xact_start, p.prepared))::bigint
      from pg_locks l
      left join pg_stat_activity a on a.pid = l.pid
      left join pg_locks x on l.pid is null and x.locktype = 'transactionid' and x.virtualtransaction = l.virtualtransaction
      left join pg_prepared_xacts p on p.transaction = x.transactionid
     where l.locktype = 'relation' and l.relation = 'annals_locks.appends'::regclass and l.mode = 'RowExclusiveLock' and l.granted
       and l.database = (select d.oid from pg_database d where d.datname = current_database())
       and l.pid is distinct from pg_backend_pid()
     order by coalesce(a.xact_start, p.prepared) nulls last
     limit 1
$$;
comment on function annals.oldest_open_append() is
    'The oldest append whose transaction has not ended, for which readers across streams wait: its server process, or the name of its prepared transaction, and its age in seconds.';
grant execute on function annals.oldest_open_append() to authenticated, annals_projector;

revoke execute on all functions in schema annals from public;
