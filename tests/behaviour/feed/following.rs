//! Following the log over HTTP and in SQL: a reader that continues from its cursor sees every committed event exactly once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{PATIENCE, Person, Server, World};
use uuid::Uuid;

use super::append;

fn numbers(items: &[Value]) -> Vec<i64> {
    items
        .iter()
        .map(|event| event["event_number"].as_i64().unwrap())
        .collect()
}

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

/// A reader of pages: its path, the name of its cursor parameter, its cursor, and the events it has seen.
struct Reader {
    path: &'static str,
    parameter: &'static str,
    cursor: Option<String>,
    seen: Vec<i64>,
}

impl Reader {
    fn of(path: &'static str, parameter: &'static str) -> Self {
        Self {
            path,
            parameter,
            cursor: None,
            seen: Vec::new(),
        }
    }

    /// Reads the page after the cursor and returns the number of its events.
    async fn read(&mut self, world: &World, person: &Person) -> usize {
        let after = self.cursor.as_ref();
        let after = after.map_or_else(String::new, |cursor| format!("&{}={cursor}", self.parameter));
        let page = world.get(person, &format!("{}{after}", self.path)).await.expect(200);
        self.cursor = Some(page.body["cursor"].as_str().expect("a cursor on every page").to_owned());
        let found = numbers(page.items());
        self.seen.extend(&found);
        found.len()
    }
}

const LIST: (&str, &str) = ("/events?order=asc&limit=10", "cursor");
const FEED: (&str, &str) = ("/events/feed?limit=50", "after");

/// A case from the field: one client that posts batches, two that post single events, and concurrent readers by each interface.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn readers_concurrent_with_batches_and_single_appends_see_every_event_exactly_once() {
    let world = Arc::new(World::without_requirements().await);
    let staff = Person::staff();
    let writers = Arc::new(AtomicUsize::new(3));
    let mut writing = tokio::task::JoinSet::new();
    for writer in 0..3 {
        let (world, staff, writers) = (Arc::clone(&world), staff.clone(), Arc::clone(&writers));
        writing.spawn(async move {
            let mut posted = Vec::new();
            for round in 0..(if writer == 0 { 3 } else { 60 }) {
                if writer == 0 {
                    let events: Vec<Value> = (0..500)
                        .map(|place| event(&format!("B-{}", place % 90 + round)))
                        .collect();
                    let answer = world
                        .post(&staff, "/events", json!({"events": events}))
                        .await
                        .expect(201);
                    posted.extend(numbers(answer.items()));
                } else {
                    let answer = world
                        .post(&staff, "/events", event(&format!("S-{writer}-{round}")))
                        .await
                        .expect(201);
                    posted.push(answer.body["event_number"].as_i64().unwrap());
                }
            }
            writers.fetch_sub(1, Ordering::SeqCst);
            posted
        });
    }
    let mut reading = tokio::task::JoinSet::new();
    for (path, parameter) in [LIST, FEED] {
        let (world, staff, writers) = (Arc::clone(&world), staff.clone(), Arc::clone(&writers));
        reading.spawn(async move {
            let mut reader = Reader::of(path, parameter);
            loop {
                // Read before the page: an empty page is the end only if all writers had finished before it was requested.
                let is_over = writers.load(Ordering::SeqCst) == 0;
                if reader.read(&world, &staff).await == 0 && is_over {
                    return reader.seen;
                }
            }
        });
    }
    {
        let (world, staff, writers) = (Arc::clone(&world), staff.clone(), Arc::clone(&writers));
        reading.spawn(async move {
            let session = world.session_of(&staff).await;
            let mut seen: Vec<i64> = Vec::new();
            loop {
                let is_over = writers.load(Ordering::SeqCst) == 0;
                let last = seen.last().copied().unwrap_or(0);
                let sql = "select event_number from public.read_events($1, 100)";
                let rows = session.query(sql, &[&last]).await.unwrap();
                seen.extend(rows.iter().map(|row| row.get::<_, i64>(0)));
                if rows.is_empty() && is_over {
                    return seen;
                }
            }
        });
    }
    let mut posted: Vec<i64> = writing.join_all().await.into_iter().flatten().collect();
    posted.sort_unstable();
    assert_eq!(posted.len(), 1_620);
    for seen in reading.join_all().await {
        assert_eq!(seen, posted);
    }
}

/// Without the mark, each of these readers would return the later event first, continue after it, and never see the earlier one.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_commits_behind_a_later_number_is_not_missed_by_lists_and_feed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (slow, quick) = (world.session_of(&staff).await, world.session_of(&staff).await);
    slow.batch_execute("begin").await.unwrap();
    let behind = append(&slow, "slow").await;
    let ahead = append(&quick, "quick").await;
    let mut readers = [
        LIST,
        FEED,
        ("/events?order=asc&event_type=customer.*", "cursor"),
        (
            "/events?order=asc&from=2020-01-01T00:00:00Z&to=2999-01-01T00:00:00Z",
            "cursor",
        ),
        ("/events/feed?event_type=customer.*", "after"),
        ("/events/unprocessed?limit=10", "cursor"),
    ]
    .map(|(path, parameter)| Reader::of(path, parameter));
    for reader in &mut readers {
        assert_eq!(reader.read(&world, &staff).await, 0, "{}", reader.path);
    }
    let sql = "select event_number from public.read_events()";
    assert_eq!(quick.query(sql, &[]).await.unwrap().len(), 0);
    // A list with the newest first promises nothing to readers that continue.
    assert_eq!(numbers(world.get(&staff, "/events").await.expect(200).items()), [ahead]);
    slow.batch_execute("commit").await.unwrap();
    for reader in &mut readers {
        reader.read(&world, &staff).await;
        assert_eq!(reader.seen, [behind, ahead], "{}", reader.path);
    }
    let rows = quick.query(sql, &[]).await.unwrap();
    assert_eq!(rows.iter().map(|row| row.get(0)).collect::<Vec<i64>>(), [behind, ahead]);
}

/// An append that stays open delays readers. They still get what the sweep has passed, and miss nothing later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_append_stays_open_readers_get_the_events_that_the_sweep_has_passed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let (slow, quick) = (world.session_of(&staff).await, world.session_of(&staff).await);
    let before = append(&quick, "C-1").await;
    world.sweep().await;
    slow.batch_execute("begin").await.unwrap();
    let behind = append(&slow, "slow").await;
    let ahead = append(&quick, "quick").await;
    let mut readers = [LIST, FEED].map(|(path, parameter)| Reader::of(path, parameter));
    for reader in &mut readers {
        reader.read(&world, &staff).await;
        assert_eq!(reader.seen, [before], "{}", reader.path);
        assert_eq!(reader.read(&world, &staff).await, 0, "the cursor does not move back");
    }
    let now = world.get(&staff, "/events/feed?after=now").await.expect(200).body["cursor"].clone();
    slow.batch_execute("rollback").await.unwrap();
    for reader in &mut readers {
        reader.read(&world, &staff).await;
        assert_eq!(
            reader.seen,
            [before, ahead],
            "{}: {behind} was rolled back",
            reader.path
        );
    }
    let since = format!("/events/feed?after={}", now.as_str().unwrap());
    assert_eq!(numbers(world.get(&staff, &since).await.expect(200).items()), [ahead]);
}

/// A reader that continues from a cursor would miss events that become processed later, so there is no cursor. Paging works as usual.
#[tokio::test]
async fn a_list_of_processed_events_has_no_cursor_to_continue_from_later() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for id in ["C-1", "C-1", "C-1"] {
        world.post(&staff, "/events", event(id)).await.expect(201);
    }
    world.project().await;
    world.post(&staff, "/events", event("C-2")).await.expect(201);
    for (list, count) in [
        ("/events?order=asc&processed=true", 3),
        ("/audit/recent?order=asc&processed=true", 3),
        (&format!("/audit/user/{}?order=asc&processed=true", staff.sub), 3),
        ("/audit/entity/C-1?order=asc&processed=true", 3),
        ("/audit/entity/C-2?order=asc&processed=true", 0),
    ] {
        let page = world.get(&staff, list).await.expect(200).body;
        assert_eq!(page.get("cursor"), Some(&Value::Null), "{list}: {page}");
        assert_eq!(
            world.all_pages(&staff, &format!("{list}&limit=2")).await.len(),
            count,
            "{list}"
        );
        let open = world
            .get(&staff, &list.replace("processed=true", "processed=false"))
            .await;
        assert!(open.expect(200).body["cursor"].is_string(), "{list}");
    }
}

#[tokio::test]
async fn ascending_lists_have_a_cursor_to_continue_from_which_the_feed_accepts() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    for path in ["/events?order=asc", "/events/feed", "/events/unprocessed"] {
        let page = world.get(&staff, path).await.expect(200).body;
        assert!(
            page["cursor"].is_string() && page["next_cursor"].is_null(),
            "{path}: {page}"
        );
    }
    assert_eq!(world.get(&staff, "/events").await.expect(200).body.get("cursor"), None);
    for place in 0..3 {
        world
            .post(&staff, "/events", event(&format!("C-{place}")))
            .await
            .expect(201);
    }
    // If the filter matches nothing, the cursor is the end of the log: a later page does not search that part again.
    let rare = "event_type=order.*";
    let empty = world
        .get(&staff, &format!("/events?order=asc&{rare}"))
        .await
        .expect(200)
        .body;
    let order = json!({"event_type": "order.created", "aggregate_type": "order", "aggregate_id": "O-1", "data": {"customer_id": "C-1"}});
    let order = world.post(&staff, "/events", order).await.expect(201).body;
    let after = format!("/events/feed?{rare}&after={}", empty["cursor"].as_str().unwrap());
    assert_eq!(
        numbers(world.get(&staff, &after).await.expect(200).items()),
        numbers(&[order])
    );

    // A page that has a next page has the same cursor in both members. At the end, the feed continues from the list's cursor.
    let first = world.get(&staff, "/events?order=asc&limit=2").await.expect(200).body;
    assert_eq!(first["cursor"], first["next_cursor"]);
    let from = format!("/events/feed?limit=2&after={}", first["cursor"].as_str().unwrap());
    let second = world.get(&staff, &from).await.expect(200);
    assert_eq!(second.items().len(), 2);
    let end = second.body["cursor"].as_str().unwrap();
    let list = world
        .get(&staff, &format!("/events?order=asc&limit=2&cursor={end}"))
        .await
        .expect(200);
    assert_eq!(
        (list.items().len(), &list.body["cursor"]),
        (0, &json!(end)),
        "the same cursor"
    );

    // Cursors of other filters and tenants are refused, and so are parameters that the feed does not know.
    for (person, path) in [
        (&staff, format!("/events/feed?{rare}&after={end}")),
        (&stranger, format!("/events/feed?after={end}")),
        (&staff, "/events/feed?after=yesterday".to_owned()),
        (&staff, "/events/feed?wait=21".to_owned()),
        (&staff, "/events/feed?wait=-1".to_owned()),
        (&staff, "/events/feed?processed=false".to_owned()),
        (&staff, "/events/feed?order=desc".to_owned()),
        (&staff, format!("/events/feed?cursor={end}")),
    ] {
        world.get(person, &path).await.problem(400);
    }
    let history = world
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200)
        .body;
    world.post(&staff, "/events", event("C-1")).await.expect(201);
    let on = format!(
        "/events/aggregate/customer/C-1/history?cursor={}",
        history["cursor"].as_str().unwrap()
    );
    assert_eq!(
        world.get(&staff, &on).await.expect(200).items()[0]["aggregate_version"],
        2
    );
}

/// Users may follow the feed, and see what the policies allow.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_feed_waits_for_events_that_the_caller_may_see() {
    let world = Arc::new(World::without_requirements().await);
    let (user, other) = (Person::user(), Person::user());
    let start = world.get(&user, "/events/feed?after=now").await.expect(200).body["cursor"].clone();
    let waiting = tokio::spawn({
        let (world, user, start) = (Arc::clone(&world), user.clone(), start.clone());
        async move {
            let path = format!("/events/feed?wait=20&after={}", start.as_str().unwrap());
            world.get(&user, &path).await.expect(200)
        }
    });
    world
        .append(
            &other,
            "customer.registered",
            "C-1",
            json!({"name": "A", "email": "a@example.com"}),
        )
        .await;
    tokio::time::sleep(Duration::from_millis(700)).await;
    assert!(!waiting.is_finished(), "an event of another user does not end the wait");
    let own = world
        .append(
            &user,
            "customer.registered",
            "C-2",
            json!({"name": "B", "email": "b@example.com"}),
        )
        .await;
    let answer = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_eq!(numbers(answer.items()), numbers(&[own]));

    let started = Instant::now();
    let path = format!("/events/feed?wait=1&after={}", answer.body["cursor"].as_str().unwrap());
    let nothing = world.get(&user, &path).await.expect(200);
    assert!(started.elapsed() >= Duration::from_secs(1), "the request waited");
    assert_eq!((nothing.items().len(), nothing.body["cursor"].is_string()), (0, true));
}

/// On a separate server, where no other session takes transaction ids.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn polling_with_nothing_new_takes_no_transaction_id_and_holds_no_connection() {
    let server = Server::start(20).await;
    let (world, staff) = (server.world(), Person::staff());
    world.post(&staff, "/events", event("C-1")).await.expect(201);
    let now = world.get(&staff, "/events/feed?after=now").await.expect(200).body["cursor"].clone();
    let path = format!("/events/feed?wait=2&after={}", now.as_str().unwrap());
    let watcher = world.superuser().await;
    let figure = async |sql: &str| -> i64 { watcher.query_one(sql, &[]).await.unwrap().get(0) };
    let next_xid = "select pg_snapshot_xmax(pg_current_snapshot())::text::bigint";
    let in_transaction = "select count(*) from pg_stat_activity where state like 'idle in transaction%'";
    let before = figure(next_xid).await;
    let (answer, ()) = tokio::join!(world.get(&staff, &path), async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            assert_eq!(figure(in_transaction).await, 0);
        }
    });
    assert_eq!(answer.expect(200).items().len(), 0);
    assert_eq!(figure(next_xid).await, before);
    server.cluster.stop().await.unwrap();
}
