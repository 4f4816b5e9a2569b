//! The feed: each committed event exactly once, in an order that agrees with every stream's own, in whatever order transactions commit.

mod following;
mod interleavings;
mod marks;
mod restore;

use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals_domain::{Event, TenantId};
use annals_store::Feed;
use futures_util::future::{join, join_all};
use serde_json::{Value, json};
use tests::{Person, World};
use tokio_postgres::Client;

/// How long a test waits for what must become visible. Only a failure takes that long, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Appends by SQL in the session's current transaction, and returns the event's number.
async fn append(session: &Client, id: &str) -> i64 {
    let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}});
    let row = session
        .query_one(
            "select (public.post_event($1::text::jsonb) ->> 'event_number')::bigint",
            &[&event.to_string()],
        )
        .await;
    row.unwrap().get(0)
}

/// The next events up to the mark. A new mark is taken once the last one is reached; if that is not possible, there are no events.
async fn next_page(feed: &mut Feed, limit: i64, patience: Duration) -> Vec<Event> {
    if feed.position() >= feed.high_water_mark() && !feed.advance_mark(patience).await.unwrap() {
        return Vec::new();
    }
    feed.next_page(limit).await.unwrap()
}

/// All remaining events, page by page.
async fn read_all(feed: &mut Feed) -> Vec<Event> {
    let mut all = Vec::new();
    loop {
        let page = next_page(feed, 7, PATIENCE).await;
        if page.is_empty() {
            return all;
        }
        all.extend(page);
    }
}

fn numbers(events: &[Event]) -> Vec<i64> {
    events.iter().map(|event| event.event_number).collect()
}

fn stream_of(event: &Event) -> (TenantId, &str, &str) {
    (event.tenant_id, &event.aggregate_type, &event.aggregate_id)
}

/// Checks that numbers rise, and that each stream's versions rise by one.
#[track_caller]
fn assert_in_order(events: &[Event]) {
    let mut versions = HashMap::new();
    for event in events {
        let version = versions.entry(stream_of(event)).or_insert(0);
        assert_eq!(event.aggregate_version, *version + 1, "{event:?}");
        *version = event.aggregate_version;
    }
    assert!(numbers(events).is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn an_event_that_commits_behind_a_later_number_is_not_missed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (slow, quick) = (world.session_of(&staff).await, world.session_of(&staff).await);
    let naive = world.owner().await;
    let naive_read = async |last: i64| -> Vec<i64> {
        let rows = naive
            .query(
                "select event_number from annals.events where event_number > $1 order by event_number",
                &[&last],
            )
            .await
            .unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    let mut feed = Feed::after(world.app.store.clone(), 0);

    slow.batch_execute("begin").await.unwrap();
    let behind = append(&slow, "slow").await;
    let ahead = append(&quick, "quick").await;
    assert!(behind < ahead);
    assert_eq!(naive_read(0).await, [ahead]);
    assert!(
        next_page(&mut feed, 10, Duration::ZERO).await.is_empty(),
        "the high-water mark waits while the append is open"
    );

    slow.batch_execute("commit").await.unwrap();
    assert_eq!(
        naive_read(ahead).await,
        [] as [i64; 0],
        "so the naive reader never sees {behind}"
    );
    assert_eq!(numbers(&read_all(&mut feed).await), [behind, ahead]);
    assert_eq!(feed.position(), ahead);
}

/// The same within one page: transactions that begin later do not affect a high-water mark that was taken.
#[tokio::test]
async fn events_below_a_high_water_mark_are_read_while_later_transactions_are_open() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (slow, quick) = (world.session_of(&staff).await, world.session_of(&staff).await);
    let visible = [append(&quick, "quick").await, append(&quick, "quick").await];
    let mut feed = Feed::after(world.app.store.clone(), 0);
    let first = next_page(&mut feed, 1, PATIENCE).await;
    slow.batch_execute("begin").await.unwrap();
    let open = append(&slow, "slow").await;
    let second = next_page(&mut feed, 1, Duration::ZERO).await;
    assert_eq!([numbers(&first), numbers(&second)].concat(), visible);
    slow.batch_execute("commit").await.unwrap();
    assert_eq!(numbers(&read_all(&mut feed).await), [open]);
}

#[tokio::test]
async fn rolled_back_events_are_never_seen_and_hold_no_reader_back() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.session_of(&staff).await;
    session.batch_execute("begin").await.unwrap();
    append(&session, "undone").await;
    session.batch_execute("rollback; begin").await.unwrap();
    let kept = append(&session, "kept").await;
    session.batch_execute("savepoint one").await.unwrap();
    append(&session, "kept").await;
    append(&session, "undone").await;
    session
        .batch_execute("rollback to savepoint one; savepoint two")
        .await
        .unwrap();
    let also_kept = append(&session, "kept").await;
    session.batch_execute("release savepoint two; commit").await.unwrap();
    let events = read_all(&mut Feed::after(world.app.store.clone(), 0)).await;
    assert_eq!(numbers(&events), [kept, also_kept]);
    assert_in_order(&events);
}

#[tokio::test]
async fn readers_concurrent_with_many_writers_see_each_event_once_and_in_order() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let writing = AtomicBool::new(true);
    let write = async |writer: usize| {
        let session = world.session_of(&staff).await;
        let mut committed = Vec::new();
        for round in 0..12 {
            session.batch_execute("begin").await.unwrap();
            // All writers take the shared streams in the same order, so there is no deadlock.
            let mut numbers = vec![append(&session, &format!("shared-{}", round % 3)).await];
            session.batch_execute("savepoint here").await.unwrap();
            let inner = append(&session, &format!("writer-{writer}")).await;
            match (writer + round) % 4 {
                0 => session.batch_execute("rollback to savepoint here").await.unwrap(),
                _ => numbers.push(inner),
            }
            match (writer + round) % 5 {
                0 => session.batch_execute("rollback").await.unwrap(),
                _ => {
                    session.batch_execute("commit").await.unwrap();
                    committed.extend(numbers);
                }
            }
        }
        committed
    };
    let write_all = async {
        let committed: BTreeSet<i64> = join_all((0..8).map(write)).await.into_iter().flatten().collect();
        writing.store(false, Ordering::SeqCst);
        committed
    };
    let read = async || {
        let mut feed = Feed::after(world.app.store.clone(), 0);
        let mut seen = Vec::new();
        while writing.load(Ordering::SeqCst) {
            seen.extend(next_page(&mut feed, 7, Duration::from_millis(20)).await);
            // A new reader that starts from the stored number misses nothing and repeats nothing.
            feed = Feed::after(world.app.store.clone(), feed.position());
        }
        seen.extend(read_all(&mut feed).await);
        seen
    };
    let (committed, (one, two)) = join(write_all, join(read(), read())).await;
    for seen in [one, two] {
        assert_in_order(&seen);
        assert_eq!(numbers(&seen), committed.iter().copied().collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn an_append_that_is_left_open_is_reported() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let forgotten = world.session_of(&staff).await;
    forgotten.batch_execute("begin").await.unwrap();
    let number = append(&forgotten, "C-1").await;
    let pid: i32 = forgotten
        .query_one("select pg_backend_pid()", &[])
        .await
        .unwrap()
        .get(0);

    assert_eq!(world.app.store.high_water_mark(Duration::ZERO).await.unwrap(), None);
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    assert_eq!(status["oldest_append"]["pid"], pid, "{status}");
    // From PostgreSQL 16 on only members of pg_read_all_stats see the age; the migrating role of a managed database is a member.
    let age = &status["oldest_append"]["age_seconds"];
    assert!(age.is_null() || age.as_i64().is_some_and(|age| age >= 0), "{age}");
    forgotten.batch_execute("commit").await.unwrap();
    assert_eq!(world.app.store.high_water_mark(PATIENCE).await.unwrap(), Some(number));
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    assert_eq!(status["oldest_append"], Value::Null);
}

/// If there is nothing new, the position does not move past numbers that were drawn and rolled back.
#[tokio::test]
async fn a_reader_at_the_end_continues_with_the_next_events() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.session_of(&staff).await;
    let mut feed = Feed::after(world.app.store.clone(), 0);
    assert!(next_page(&mut feed, 10, PATIENCE).await.is_empty());
    for _ in 0..3 {
        let number = append(&session, "C-1").await;
        session.batch_execute("begin").await.unwrap();
        append(&session, "C-1").await;
        session.batch_execute("rollback").await.unwrap();
        assert_eq!(numbers(&next_page(&mut feed, 10, PATIENCE).await), [number]);
    }
}
