//! Concurrent writers: an event is compensated at most once, and never at the cost of a fact that came first. The tests hold the
//! stream's lock to make each interleaving post_widget_event.

use std::sync::Arc;

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Person, World};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

use super::module::{compensate, post_widget_event, state, world};

/// Holds the stream's lock, as an open append does.
async fn hold(owner: &Client) {
    let lock = "begin; select from annals.heads where aggregate_id = 'W-1' for update";
    owner.batch_execute(lock).await.expect("the lock");
}

fn spawn(world: &Arc<World>, person: &Person, id: &str, key: Option<&'static str>) -> JoinHandle<Answer> {
    let (world, person, path) = (Arc::clone(world), person.clone(), format!("/events/{id}/compensate"));
    tokio::spawn(async move {
        let headers: Vec<(&str, &str)> = key.map(|key| ("idempotency-key", key)).into_iter().collect();
        world.request(Method::POST, &person, &path, &headers, None).await
    })
}

async fn changed() -> (Arc<World>, Person, String) {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let id = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    (Arc::new(world), staff, id)
}

#[tokio::test]
async fn of_many_concurrent_compensations_of_an_event_one_succeeds() {
    let (world, staff, id) = changed().await;
    let owner = world.owner().await;
    hold(&owner).await;
    // Different persons, so that no idempotency key is shared.
    let people = [staff.clone(), Person::staff(), Person::service("crm"), Person::staff()];
    let all: Vec<_> = people.iter().map(|person| spawn(&world, person, &id, None)).collect();
    world.until_waiting(4).await;
    owner.batch_execute("rollback").await.expect("the end");
    let mut answers = Vec::new();
    for answer in all {
        let answer = answer.await.expect("an answer");
        answers.push((answer.status, answer.body["code"].clone()));
    }
    answers.sort_by_key(|(status, _)| *status);
    let refused = || (409, json!("already_compensated"));
    assert_eq!(answers, [(201, Value::Null), refused(), refused(), refused()]);
    assert_eq!(state(&world, &staff).await.0, json!({"name": "A"}));
    assert_eq!(world.log().await.versions, 3);
}

#[tokio::test]
async fn two_equal_requests_with_one_key_get_one_answer() {
    let (world, staff, id) = changed().await;
    let owner = world.owner().await;
    hold(&owner).await;
    let calls = [
        spawn(&world, &staff, &id, Some("k")),
        spawn(&world, &staff, &id, Some("k")),
    ];
    world.until_waiting(2).await;
    owner.batch_execute("rollback").await.expect("the end");
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.expect("an answer"));
    }
    answers.sort_by_key(|answer| answer.status);
    assert_eq!(
        (answers[0].status, answers[1].status),
        (200, 201),
        "{}",
        answers[1].text
    );
    assert_eq!(answers[0].body["id"], answers[1].body["id"]);
}

/// The change is appended after the compensation has read the stream and before its append.
#[tokio::test]
async fn a_fact_that_comes_first_is_not_reverted() {
    let (world, staff, id) = changed().await;
    let other = world.session_of(&staff).await;
    let change = |name: &str| json!({"event_type": "widget.updated", "aggregate_type": "widget", "aggregate_id": "W-1", "data": {"changes": {"name": {"new": name}}}});
    other.batch_execute("begin").await.expect("a transaction");
    other
        .execute("select public.post_event($1)", &[&change("C")])
        .await
        .expect("an append");
    let late = spawn(&world, &staff, &id, None);
    world.until_waiting(1).await;
    other.batch_execute("commit").await.expect("a commit");
    let late = late.await.expect("an answer");
    assert_eq!(late.problem(409), "changed_since");
    assert_eq!(state(&world, &staff).await.0, json!({"name": "C"}));
}

/// After a change of another field, the compensation computes the inverse again at the new version.
#[tokio::test]
async fn a_concurrent_change_of_another_field_is_kept() {
    let (world, staff, id) = changed().await;
    let other = world.session_of(&staff).await;
    other.batch_execute("begin").await.expect("a transaction");
    let elsewhere = json!({"event_type": "widget.updated", "aggregate_type": "widget", "aggregate_id": "W-1",
                           "data": {"changes": {"colour": {"new": "red"}}}});
    other
        .execute("select public.post_event($1)", &[&elsewhere])
        .await
        .expect("an append");
    let late = spawn(&world, &staff, &id, None);
    world.until_waiting(1).await;
    other.batch_execute("commit").await.expect("a commit");
    assert_eq!(late.await.expect("an answer").expect(201).body["aggregate_version"], 4);
    assert_eq!(state(&world, &staff).await.0, json!({"name": "A", "colour": "red"}));
    assert_eq!(
        compensate(&world, &staff, &id, json!({})).await.problem(409),
        "already_compensated"
    );
}
