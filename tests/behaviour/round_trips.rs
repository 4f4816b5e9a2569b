//! One append is one round trip to PostgreSQL, without named statements, so that transaction poolers work.

use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Passed, Person, Pooler, Proxy, World};

/// Only a client that waits where it should not takes this long.
const LIMIT: Duration = Duration::from_secs(60);

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

/// A world behind a proxy that has already served requests: one live connection, and the catalog is cached.
async fn warm_world(proxy: &Proxy, staff: &Person) -> World {
    let world = proxy.before(&World::without_requirements().await);
    world.append(staff, "customer.deleted", "C-1", json!({})).await;
    world.project().await;
    proxy.take_record();
    world
}

/// How often the direction of the traffic changed, including the first request.
fn flights(record: &[Passed]) -> usize {
    1 + record
        .windows(2)
        .filter(|pair| pair[0].is_from_client() != pair[1].is_from_client())
        .count()
}

fn statements(record: &[Passed]) -> Vec<&str> {
    record
        .iter()
        .filter_map(|passed| match passed {
            Passed::Query(sql) | Passed::Parse { sql, .. } => sql.lines().next(),
            _ => None,
        })
        .collect()
}

#[tokio::test]
async fn one_append_on_a_live_connection_is_one_round_trip() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    proxy.hold_answers_until_commit();
    let appends = [
        (event("C-1"), "-- append_event"),
        (event("new"), "-- append_event"),
        (
            json!({"events": [event("C-1"), event("C-2"), event("C-1")]}),
            "-- append_events",
        ),
    ];
    for (body, name) in appends {
        let answer = tokio::time::timeout(LIMIT, world.post(&staff, "/events", body)).await;
        answer.expect("no wait before the commit").expect(201);
        let record = proxy.take_record();
        assert_eq!(
            statements(&record),
            [name],
            "one statement, which is its own transaction"
        );
        assert_eq!(flights(&record), 2, "{record:?}");
    }
}

#[tokio::test]
async fn one_read_on_a_live_connection_is_one_round_trip() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    let event = world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    proxy.take_record();
    proxy.hold_answers_until_commit();
    let id = event["id"].as_str().unwrap();
    let reads = [
        (format!("/events/{id}"), "-- find_events"),
        ("/events".to_owned(), "-- list_events"),
        // These read behind the sweep's checkpoint and in parked streams, never the whole log.
        ("/events?processed=false".to_owned(), "-- list_events_unprocessed"),
        (
            "/events?event_type=customer.deleted".to_owned(),
            "-- list_events_of_types",
        ),
        ("/events/aggregate/customer/C-1/history".to_owned(), "-- list_history"),
        ("/audit/count/C-1".to_owned(), "-- count_entity_events"),
    ];
    for (path, name) in reads {
        let answer = tokio::time::timeout(LIMIT, world.get(&staff, &path)).await;
        answer.expect("no wait before the commit").expect(200);
        let record = proxy.take_record();
        assert_eq!(
            statements(&record),
            [
                "begin isolation level repeatable read read only; set local role authenticated",
                "-- set_claims",
                name,
                "commit"
            ]
        );
        assert_eq!(flights(&record), 2, "{path}: {record:?}");
    }
}

/// The process remembers the state after a page. A page that it has not read the beginning of needs two more: where the fold begins, and the
/// events up to the page.
#[tokio::test]
async fn the_next_page_of_a_history_is_one_round_trip() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    for _ in 0..3 {
        world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    }
    let path = "/events/aggregate/customer/C-1/history?limit=2";
    let first = world.get(&staff, path).await.expect(200).body;
    proxy.take_record();
    let next = format!("{path}&cursor={}", first["next_cursor"].as_str().unwrap());
    let second = world.get(&staff, &next).await.expect(200);
    let record = proxy.take_record();
    assert_eq!(flights(&record), 2, "{record:?}");
    let restarted = proxy.before(&world);
    proxy.take_record();
    assert_eq!(restarted.get(&staff, &next).await.expect(200).body, second.body);
}

/// The mark must be taken before the snapshot of the read, so it has a transaction of its own.
#[tokio::test]
async fn an_ascending_page_takes_a_mark_before_it_reads() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    proxy.take_record();
    proxy.hold_answers_until_commit();
    for (path, name) in [
        (
            "/events?event_type=customer.deleted&order=asc",
            "-- list_events_of_types",
        ),
        ("/events/feed?limit=1", "-- list_events"),
        ("/events/unprocessed", "-- list_events_unprocessed"),
    ] {
        let answer = tokio::time::timeout(LIMIT, world.get(&staff, path)).await;
        answer.expect("no wait before the commits").expect(200);
        let record = proxy.take_record();
        assert_eq!(
            statements(&record),
            [
                "begin isolation level repeatable read read only; set local role annals_projector; set local statement_timeout = 0; set local jit = off",
                "-- take_high_water_mark",
                "commit",
                "begin isolation level repeatable read read only; set local role authenticated",
                "-- set_claims",
                name,
                "commit"
            ]
        );
        assert_eq!(flights(&record), 4, "{path}: {record:?}");
    }
}

/// There are no snapshots by business time, so all events are read: by one statement that sorts them once, however many there are.
#[tokio::test]
async fn the_state_at_a_business_time_is_read_by_one_statement() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    for _ in 0..2 {
        let events: Vec<Value> = (0..400).map(|_| event("C-2")).collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
    }
    proxy.take_record();
    proxy.hold_answers_until_commit();
    let path = "/entities/customer/C-2?valid_at=2100-01-01T00:00:00Z";
    let answer = tokio::time::timeout(LIMIT, world.get(&staff, path)).await;
    let answer = answer.expect("no wait before the commit").expect(200);
    assert_eq!(answer.body["version"], 800);
    let record = proxy.take_record();
    let passes = statements(&record)
        .into_iter()
        .filter(|name| *name == "-- list_true_facts");
    assert_eq!(passes.count(), 1, "{record:?}");
}

/// Requests of every kind, and the work of the projector.
async fn work(world: &World, staff: &Person) {
    let key = [("Idempotency-Key", "k-1")];
    for _ in 0..2 {
        world
            .request(Method::POST, staff, "/events", &key, Some(event("C-7")))
            .await;
    }
    let batch = json!({"events": [event("C-8"), event("C-9"), event("C-8")]});
    world.post(staff, "/events", batch).await.expect(201);
    let mut stale = event("C-8");
    stale["expected_version"] = json!(0);
    world.post(staff, "/events", stale).await.expect(409);
    world.project().await;
    let mut behind = event("C-9");
    behind["event_type"] = json!("customer.deleted");
    behind["data"] = json!({});
    world.post(staff, "/events", behind).await.expect(201);
    for path in [
        "/events",
        "/events?data.sku=PUMP",
        "/events/types",
        "/events/stats",
        "/events/unprocessed",
        "/audit/entity/C-8",
        "/audit/recent",
        "/audit/count/C-8",
        "/entities/customer/C-9",
        "/entities/customer",
        "/projector/status",
        "/status",
    ] {
        world.get(staff, path).await.expect(200);
    }
    world.projector.sweep().await.unwrap();
    world.project().await;
    world.app.store.high_water_mark(LIMIT).await.unwrap().unwrap();
}

#[tokio::test]
async fn every_statement_begins_with_its_functions_name_and_none_is_a_named_statement() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = proxy.before(&World::without_requirements().await);
    work(&world, &staff).await;
    let record = proxy.take_record();
    let transaction = [
        "begin",
        "begin;",
        "set local role",
        "commit",
        "rollback",
        "start transaction",
    ];
    let mut names = std::collections::BTreeSet::new();
    for passed in &record {
        match passed {
            Passed::Query(sql) => {
                let sql = sql.to_lowercase();
                assert!(transaction.iter().any(|start| sql.starts_with(start)), "{sql}");
            }
            Passed::Parse { name, sql } => {
                assert_eq!(name, "", "{sql}");
                let function = sql
                    .strip_prefix("-- ")
                    .and_then(|rest| rest.lines().next())
                    .unwrap_or_default();
                let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
                assert!(!function.is_empty() && function.chars().all(is_name), "{sql}");
                names.insert(function.to_owned());
            }
            _ => {}
        }
    }
    assert!(names.len() > 15, "the requests use most of the store: {names:?}");
}

#[tokio::test]
async fn everything_works_through_a_pooler_that_switches_connections_with_each_transaction() {
    let (pooler, staff) = (Pooler::start().await, Person::staff());
    let world = pooler.before(&World::without_requirements().await);
    // Several concurrent clients, so that there are server connections to switch between.
    join_all((0..4).map(|n| world.post(&staff, "/events", event(&format!("C-{n}"))))).await;
    assert!(pooler.logins() > 1);
    for _ in 0..3 {
        work(&world, &staff).await;
    }
    assert!(pooler.switches() > 30, "{}", pooler.switches());
    let history = world
        .get(&staff, "/events/aggregate/customer/C-8/history")
        .await
        .expect(200);
    assert_eq!(history.items().len(), 6);
}

#[tokio::test]
async fn a_wake_up_reads_work_once_unless_there_may_be_more() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    let looks = |record: &[Passed]| {
        statements(record)
            .into_iter()
            .filter(|sql| *sql == "-- read_work")
            .count()
    };
    world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    proxy.take_record();
    world.project().await;
    assert_eq!(looks(&proxy.take_record()), 1);
    // More events of a stream than one transaction projects.
    let events: Vec<Value> = (0..250).map(|_| event("C-long")).collect();
    world
        .post(&staff, "/events", json!({"events": events}))
        .await
        .expect(201);
    proxy.take_record();
    world.project().await;
    assert_eq!(looks(&proxy.take_record()), 3, "100, 100 and 50");
    let left = world.all_pages(&staff, "/events/unprocessed").await;
    assert!(left.is_empty(), "{left:?}");
}

/// In one process, reads and appends share the cached catalog.
#[tokio::test]
async fn a_read_without_schemas_does_not_drop_cached_schemas() {
    let (proxy, staff) = (Proxy::start().await, Person::staff());
    let world = warm_world(&proxy, &staff).await;
    world.get(&staff, "/events?event_type=customer.*").await.expect(200);
    proxy.take_record();
    world.append(&staff, "customer.deleted", "C-2", json!({})).await;
    assert_eq!(statements(&proxy.take_record()), ["-- append_event"]);
}
