//! Idempotency keys: a retry returns the original, and another body is refused, also under concurrency.

mod equal_requests;
mod simultaneous;
mod unsupported;

use std::collections::BTreeSet;

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Answer, Person, World};
use uuid::Uuid;

const TASKS: usize = 32;

fn event(id: &str, phone: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": phone}})
}

fn with(mut event: Value, field: &str, value: impl Into<Value>) -> Value {
    event[field] = value.into();
    event
}

fn keyed(id: &str, phone: &str, key: &str) -> Value {
    with(event(id, phone), "idempotency_key", key)
}

async fn post_with_key(world: &World, person: &Person, key: &str, body: Value) -> Answer {
    world
        .request(Method::POST, person, "/events", &[("Idempotency-Key", key)], Some(body))
        .await
}

fn pointers(answer: &Answer) -> Vec<&str> {
    let errors = answer.body["errors"]
        .as_array()
        .unwrap_or_else(|| panic!("no errors: {}", answer.text));
    errors.iter().map(|error| error["pointer"].as_str().unwrap()).collect()
}

async fn count_events(world: &World) -> i64 {
    let count = "select count(*) from annals.events";
    world.owner().await.query_one(count, &[]).await.unwrap().get(0)
}

/// Checks that one request appended and all others returned its event.
#[track_caller]
fn assert_one_new(answers: &[Answer]) {
    let new = answers.iter().filter(|a| a.status == 201).count();
    let retried = answers.iter().filter(|a| a.status == 200).count();
    let others: Vec<&str> = answers
        .iter()
        .filter(|a| a.status > 201)
        .map(|a| a.text.as_str())
        .collect();
    assert_eq!((new, retried), (1, answers.len() - 1), "{others:?}");
    let ids: BTreeSet<String> = answers.iter().map(ids_of).collect();
    assert_eq!(ids.len(), 1, "{ids:?}");
}

fn ids_of(answer: &Answer) -> String {
    match answer.body["items"].as_array() {
        None => answer.body["id"].to_string(),
        Some(items) => items.iter().map(|item| item["id"].to_string()).collect(),
    }
}

async fn post_concurrently(world: &World, person: &Person, body: &Value) -> Vec<Answer> {
    join_all((0..TASKS).map(|_| world.post(person, "/events", body.clone()))).await
}

#[tokio::test]
async fn the_same_key_from_thirty_two_tasks_appends_once() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    assert_one_new(&post_concurrently(&world, &staff, &keyed("C-1", "1", "k-1")).await);
    // For the other tasks the stream has moved, but only because of the same event.
    let expecting = with(keyed("C-1", "2", "k-2"), "expected_version", 1);
    assert_one_new(&post_concurrently(&world, &staff, &expecting).await);
    let creating = with(keyed("C-2", "1", "k-3"), "expected_version", 0);
    assert_one_new(&post_concurrently(&world, &staff, &creating).await);
    assert_eq!(count_events(&world).await, 3);
}

#[tokio::test]
async fn the_same_batch_from_thirty_two_tasks_appends_once() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let batch = json!({"events": [keyed("C-1", "1", "k-1"), keyed("C-2", "1", "k-2"), keyed("C-1", "2", "k-3")]});
    assert_one_new(&post_concurrently(&world, &staff, &batch).await);
    assert_eq!(count_events(&world).await, 3);
}

#[tokio::test]
async fn the_same_batch_with_expected_versions_from_thirty_two_tasks_appends_once() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for round in 0..4 {
        let id = format!("C-{round}");
        let first = with(event(&id, "1"), "expected_version", 0);
        let second = with(event(&id, "2"), "expected_version", 1);
        let batch = json!({"events": [first, second]});
        let key = format!("k-{round}");
        let answers = join_all((0..TASKS).map(|_| post_with_key(&world, &staff, &key, batch.clone()))).await;
        assert_one_new(&answers);
    }
    assert_eq!(count_events(&world).await, 8);
}

/// Each batch has an event of its own beside the shared one, so each batch is new and no event may be lost.
#[tokio::test]
async fn batches_that_share_one_key_append_its_event_once_and_their_own_each() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for round in 0..8 {
        let shared = format!("shared-{round}");
        let posts = (0..TASKS).map(|task| {
            let own = event(&format!("own-{round}-{task}"), "1");
            world.post(&staff, "/events", json!({"events": [own, keyed("C-1", "1", &shared)]}))
        });
        let mut ids = BTreeSet::new();
        for answer in join_all(posts).await {
            let answer = answer.expect(201);
            ids.insert(answer.items()[1]["id"].to_string());
        }
        assert_eq!(ids.len(), 1);
    }
    let events = 8 * (i64::try_from(TASKS).unwrap() + 1);
    assert_eq!(count_events(&world).await, events);
}

#[tokio::test]
async fn of_thirty_two_bodies_with_one_key_one_is_appended() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let same_stream = |task: usize| keyed("C-1", &task.to_string(), "k-1");
    let other_streams = |task: usize| keyed(&format!("D-{task}"), "1", "k-2");
    let bodies: [&dyn Fn(usize) -> Value; 2] = [&same_stream, &other_streams];
    for body in bodies {
        let answers = join_all((0..TASKS).map(|task| world.post(&staff, "/events", body(task)))).await;
        assert_eq!(answers.iter().filter(|a| a.status == 201).count(), 1);
        let refused = answers.iter().filter(|a| a.status != 201);
        assert!(refused.into_iter().all(|a| a.problem(422) == "idempotency_key_reused"));
    }
    assert_eq!(count_events(&world).await, 2);
}

/// Two transactions that need each other's keys are a deadlock in PostgreSQL. One batch is appended, the other is refused.
#[tokio::test]
async fn batches_with_the_same_keys_in_opposite_order_end_with_one_winner() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let keys: Vec<String> = (0..40).map(|key| format!("k-{key}")).collect();
    let batch = |name: &str, keys: Vec<&String>| {
        let member = |key: &&String| keyed(&format!("{name}-{key}"), "1", key);
        json!({"events": keys.iter().map(member).collect::<Vec<_>>()})
    };
    let answers = join_all([
        world.post(&staff, "/events", batch("up", keys.iter().collect())),
        world.post(&staff, "/events", batch("down", keys.iter().rev().collect())),
    ])
    .await;
    let mut statuses: Vec<u16> = answers.iter().map(|a| a.status).collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 422], "{} {}", answers[0].text, answers[1].text);
    assert_eq!(count_events(&world).await, 40);
}

#[tokio::test]
async fn a_retry_returns_the_original_as_stored() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let body = with(keyed("C-1", "1", "k-1"), "metadata", json!({"reason": "call"}));
    let original = world.post(&staff, "/events", body.clone()).await.expect(201);
    world.post(&staff, "/events", event("C-1", "2")).await.expect(201);
    // From another process and with another order of fields it is still the same request.
    let text = format!(
        r#"{{"idempotency_key": "k-1", "metadata": {}, "data": {{"phone": "1"}}, "aggregate_id": "C-1", "aggregate_type": "customer", "event_type": "customer.profile_updated"}}"#,
        body["metadata"]
    );
    let retry = world.post_text(&staff, "/events", text).await.expect(200);
    assert_eq!(retry.body, original.body);
    assert_eq!(retry.header("location"), original.header("location"));
    let by_header = post_with_key(&world, &staff, "k-1", with(body, "idempotency_key", Value::Null))
        .await
        .expect(200);
    assert_eq!(by_header.body, original.body);
    assert_eq!(count_events(&world).await, 2);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused_whatever_differs() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world
        .post(&staff, "/events", keyed("C-1", "1", "k-1"))
        .await
        .expect(201);
    let differences = [
        ("data", json!({"phone": "2"})),
        ("metadata", json!({"reason": "other"})),
        ("aggregate_id", json!("C-2")),
        ("event_type", json!("customer.deleted")),
        ("version", json!("1.1")),
        ("source", json!("import")),
        ("timestamp", json!("2025-01-01T00:00:00Z")),
        ("correlation_id", json!("flow")),
        ("command_id", json!("command")),
        ("causation_id", json!(Uuid::new_v4())),
        ("expected_version", json!(1)),
    ];
    for (field, value) in differences {
        let other = with(keyed("C-1", "1", "k-1"), field, value);
        let single = world.post(&staff, "/events", other.clone()).await;
        assert_eq!(single.problem(422), "idempotency_key_reused", "{field}");
        assert_eq!(single.body["errors"][0]["pointer"], format!("/{field}"));
        let batch = world
            .post(&staff, "/events", json!({"events": [event("C-9", "1"), other]}))
            .await;
        assert_eq!(batch.problem(422), "idempotency_key_reused", "{field}");
        assert_eq!(batch.body["errors"][0]["pointer"], format!("/events/1/{field}"));
    }
    assert_eq!(count_events(&world).await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_the_tenant_and_to_the_actor_of_the_token() {
    let world = World::without_requirements().await;
    let (one, two) = (Person::staff(), Person::staff());
    let elsewhere = one.clone().in_tenant(Uuid::new_v4());
    let mut ids = BTreeSet::new();
    for person in [
        &one,
        &two,
        &elsewhere,
        &Person::service("crm"),
        &Person::service("shop"),
    ] {
        let event = world
            .post(person, "/events", keyed("C-1", "1", "k-1"))
            .await
            .expect(201)
            .body;
        ids.insert(event["id"].to_string());
        let retry = world
            .post(person, "/events", keyed("C-1", "1", "k-1"))
            .await
            .expect(200)
            .body;
        assert_eq!(retry["id"], event["id"]);
    }
    assert_eq!(ids.len(), 5);
    // A service that acts for others has a single set of keys, its own.
    let service = Person::service("desk");
    let spoken_for = |person: &Person| with(keyed("C-1", "1", "k-2"), "created_by", person.actor());
    world.post(&service, "/events", spoken_for(&one)).await.expect(201);
    world.post(&service, "/events", spoken_for(&one)).await.expect(200);
    assert_eq!(
        world.post(&service, "/events", spoken_for(&two)).await.problem(422),
        "idempotency_key_reused"
    );
    world.post(&one, "/events", keyed("C-1", "1", "k-2")).await.expect(201);
}

#[tokio::test]
async fn retried_members_of_a_batch_are_returned_as_stored_together_with_the_new_ones() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let old = world
        .post(&staff, "/events", keyed("C-1", "1", "k-1"))
        .await
        .expect(201)
        .body;
    let batch = json!({"events": [keyed("C-1", "2", "k-2"), keyed("C-1", "1", "k-1"), event("C-1", "3")]});
    let answer = world.post(&staff, "/events", batch).await.expect(201);
    assert_eq!(answer.items()[1], old);
    let versions: Vec<&Value> = answer.items().iter().map(|item| &item["aggregate_version"]).collect();
    assert_eq!(versions, [2, 1, 3]);
    let retries = json!({"events": [keyed("C-1", "1", "k-1"), keyed("C-1", "2", "k-2")]});
    let retries = world.post(&staff, "/events", retries).await.expect(200);
    assert_eq!(retries.items()[0], old);
    assert_eq!(retries.items()[1]["id"], answer.items()[0]["id"]);
    assert_eq!(count_events(&world).await, 3);
}

#[tokio::test]
async fn a_key_in_the_header_applies_to_the_whole_batch() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let batch = |last: &str| json!({"events": [event("C-1", "1"), event("C-2", "2"), event("C-1", last)]});
    let first = post_with_key(&world, &staff, "b-1", batch("3")).await.expect(201);
    let again = post_with_key(&world, &staff, "b-1", batch("3")).await.expect(200);
    assert_eq!(again.body, first.body);
    let other = post_with_key(&world, &staff, "b-1", batch("4")).await;
    assert_eq!(other.problem(422), "idempotency_key_reused");
    assert_eq!(other.body["errors"][0]["pointer"], "/events/2/data");
    assert_eq!(count_events(&world).await, 3);
}

#[tokio::test]
async fn different_keys_in_header_and_body_are_refused() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let differing = post_with_key(&world, &staff, "k-1", keyed("C-1", "1", "k-2")).await;
    assert_eq!(differing.problem(400), "idempotency_keys_differ");
    let twice = json!({"events": [keyed("C-1", "1", "k-1"), keyed("C-1", "1", "k-1")]});
    let twice = world.post(&staff, "/events", twice).await;
    assert_eq!(twice.problem(422), "idempotency_key_repeated");
    assert_eq!(twice.body["errors"][0]["pointer"], "/events/1/idempotency_key");
    for key in ["", &"k".repeat(256)] {
        let answer = post_with_key(&world, &staff, key, event("C-1", "1")).await;
        assert_eq!(answer.problem(400), "invalid_idempotency_key");
    }
    assert_eq!(count_events(&world).await, 0);
}

#[tokio::test]
async fn a_refused_request_leaves_its_key_unused() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let early = with(keyed("C-1", "2", "k-1"), "expected_version", 1);
    assert_eq!(
        world.post(&staff, "/events", early.clone()).await.problem(409),
        "version_conflict"
    );
    world.post(&staff, "/events", event("C-1", "1")).await.expect(201);
    world.post(&staff, "/events", early.clone()).await.expect(201);
    world.post(&staff, "/events", early).await.expect(200);
}
