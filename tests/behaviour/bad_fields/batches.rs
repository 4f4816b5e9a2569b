//! Batches are atomic: one bad member refuses the whole batch, and the refusal names it.

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::{event, event_with, pointers, refused};

/// A batch of five events, the fourth of which is invalid.
fn batch_with(changes: Value) -> Value {
    let member = |place: usize| event_with(json!({"aggregate_id": format!("B-{place}")}));
    let mut events: Vec<Value> = (0..5).map(member).collect();
    for (name, value) in changes.as_object().unwrap() {
        events[3][name] = value.clone();
    }
    json!({ "events": events })
}

#[tokio::test]
async fn one_bad_member_refuses_the_batch_and_is_named() {
    let world = World::new().await;
    let staff = Person::staff();
    world
        .post(&staff, "/events", event_with(json!({"idempotency_key": "taken"})))
        .await
        .expect(201);
    world.take_wake_ups().await;
    for (changes, status, code) in [
        (json!({"event_type": 1}), 400, "malformed_request"),
        (json!({"aggregate_id": "a\nb"}), 400, "malformed_request"),
        (json!({"colour": "red"}), 400, "malformed_request"),
        (json!({"event_type": "customer.vanished"}), 422, "unknown_event_type"),
        (json!({"aggregate_type": "order"}), 422, "aggregate_type_mismatch"),
        (json!({"version": "7.0"}), 422, "unknown_version"),
        (json!({"data": {}}), 422, "schema_violation"),
        (json!({"created_by": "system"}), 403, "actor_forged"),
        (json!({"user_id": Uuid::new_v4()}), 403, "actor_forged"),
        (json!({"tenant_id": Uuid::new_v4()}), 403, "tenant_forged"),
        (json!({"expected_version": 1}), 409, "version_conflict"),
        (json!({"idempotency_key": "taken"}), 422, "idempotency_key_reused"),
    ] {
        let answer = refused(&world, &staff, batch_with(changes)).await;
        assert_eq!(answer.problem(status), code, "{}", answer.text);
        assert!(
            pointers(&answer).iter().all(|p| p.starts_with("/events/3")),
            "{}",
            answer.text
        );
    }
    let service = Person::service("crm");
    let two_people = json!({"created_by": format!("user:{}", Uuid::new_v4()), "user_id": Uuid::new_v4()});
    let answer = refused(&world, &service, batch_with(two_people)).await;
    assert_eq!(
        (answer.problem(422), pointers(&answer)),
        ("user_is_not_actor", vec!["/events/3/user_id"])
    );
    let user = Person::user();
    for (changes, code, pointer) in [
        (
            json!({"event_type": "customer.updated", "data": {"changes": {"name": {"old": null, "new": "B"}}}}),
            "event_type_forbidden",
            "/events/3/event_type",
        ),
        (json!({"aggregate_id": "C-1"}), "stream_of_another", "/events/3"),
    ] {
        let answer = refused(&world, &user, batch_with(changes)).await;
        assert_eq!((answer.problem(403), pointers(&answer)), (code, vec![pointer]));
    }
}

#[tokio::test]
async fn a_batch_is_a_list_of_one_to_five_hundred_events_without_other_members() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    let many = |n: usize| json!({"events": (0..n).map(|i| event_with(json!({"aggregate_id": format!("B-{}", i % 7)}))).collect::<Vec<_>>()});
    for (body, status, code) in [
        (many(0), 422, "batch_size"),
        (many(501), 422, "batch_size"),
        (json!({"events": {}}), 400, "malformed_request"),
        (json!({"events": null}), 400, "malformed_request"),
        (json!({"events": [event()], "events2": []}), 400, "malformed_request"),
        (json!({"events": [event(), 1]}), 400, "malformed_request"),
        (json!({"events": [event(), {"events": []}]}), 400, "malformed_request"),
    ] {
        assert_eq!(refused(&world, &staff, body).await.problem(status), code);
    }
    let twice =
        json!({"events": [event_with(json!({"idempotency_key": "k"})), event_with(json!({"idempotency_key": "k"}))]});
    let answer = refused(&world, &staff, twice).await;
    assert_eq!(
        (answer.problem(422), pointers(&answer)),
        ("idempotency_key_repeated", vec!["/events/1/idempotency_key"])
    );
    let stored = world.post(&staff, "/events", many(500)).await.expect(201);
    assert_eq!(stored.items().len(), 500);
}

/// A client that corrects a batch wants to know all faults of every kind in one answer.
#[tokio::test]
async fn every_fault_of_every_kind_is_named_for_every_member() {
    let world = World::new().await;
    let user = Person::user();
    world
        .post(&user, "/events", event_with(json!({"idempotency_key": "k"})))
        .await
        .expect(201);
    world.take_wake_ups().await;
    let forbidden = json!({"event_type": "customer.updated", "data": {"changes": {"name": {"old": null, "new": "B"}}}});
    let members = [
        event_with(json!({"aggregate_id": "B-0"})),
        event_with(json!({"aggregate_id": "B-1", "event_type": "customer.vanished"})),
        event_with(json!({"aggregate_id": "B-2", "data": {"name": 1}})),
        event_with(forbidden),
        event_with(json!({"aggregate_id": "B-4", "created_by": "system"})),
        event_with(json!({"aggregate_id": "B-5", "data": {"x": "x".repeat(256 * 1024)}})),
        // A retry among the members is not a fault.
        event_with(json!({"idempotency_key": "k"})),
    ];
    let answer = refused(&world, &user, json!({"events": members})).await;
    assert_eq!(answer.problem(422), "unknown_event_type");
    let expected = [
        "/events/1/event_type",
        "/events/2/data",
        "/events/2/data/name",
        "/events/3/event_type",
        "/events/4/created_by",
        "/events/5/data",
    ];
    let mut named = pointers(&answer);
    named.sort_unstable();
    assert_eq!(named, expected, "{:.2000}", answer.text);
    // If one member cannot even be parsed, the faults of the others are still named.
    let mut members = members.to_vec();
    members[0]["colour"] = json!("red");
    members[6]["tenant_id"] = json!(Uuid::new_v4());
    let answer = refused(&world, &user, json!({"events": members})).await;
    assert_eq!(answer.problem(400), "malformed_request");
    let named = pointers(&answer);
    assert_eq!(
        (named[0], *named.last().unwrap(), named.len()),
        ("/events/0/colour", "/events/6/tenant_id", 8)
    );
}
