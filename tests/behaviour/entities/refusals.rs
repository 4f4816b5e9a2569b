//! What generic CRUD refuses, and with which codes.

use serde_json::json;
use tests::{Answer, Person, World};

use super::{ADA, ada, with_ada};

#[tokio::test]
async fn modules_without_generic_events_answer_405() {
    let world = World::new().await;
    let staff = Person::staff();
    world
        .append(&staff, "agent.decision_proposed", "D-1", json!({"decision": "x"}))
        .await;
    let before = world.log().await;
    let answers = [
        world.post(&staff, "/entities/agent", json!({"decision": "y"})).await,
        world
            .patch(&staff, "/entities/agent/D-1", json!({"decision": "y"}))
            .await,
        world.delete(&staff, "/entities/agent/D-1").await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(405), "no_generic_edit");
    }
    assert_eq!(world.log().await, before);
    let entity = world.get(&staff, "/entities/agent/D-1").await.expect(200);
    assert_eq!(entity.body["state"], json!({"decision": "x", "status": "proposed"}));
}

#[tokio::test]
async fn crud_is_allowed_only_to_the_posters_of_its_event_types() {
    let (world, _) = with_ada().await;
    let user = Person::user();
    let before = world.log().await;
    assert_eq!(
        world
            .post(&user, "/entities/customer", json!({"name": "N"}))
            .await
            .problem(403),
        "event_type_forbidden"
    );
    assert_eq!(world.log().await, before);
    let order = world
        .post(&user, "/entities/order", json!({"id": "O-1", "customer_id": "C-1"}))
        .await
        .expect(201);
    assert_eq!(order.body["version"], 1);
    assert_eq!(
        world
            .patch(&user, "/entities/order/O-1", json!({"notes": "x"}))
            .await
            .problem(403),
        "event_type_forbidden"
    );
    assert_eq!(
        world.delete(&user, "/entities/order/O-1").await.problem(403),
        "event_type_forbidden"
    );
    let paid = json!({"id": "O-2", "customer_id": "C-1", "payment_status": "received"});
    assert_eq!(
        world.post(&user, "/entities/order", paid).await.problem(422),
        "schema_violation"
    );
}

#[tokio::test]
async fn unknown_entities_types_and_parameters_are_refused() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    assert_eq!(
        world.post(&staff, "/entities/customer", ada()).await.problem(409),
        "already_exists"
    );
    assert_eq!(
        world
            .patch(&staff, "/entities/customer/C-9", json!({"name": "N"}))
            .await
            .problem(404),
        "not_found"
    );
    assert_eq!(
        world.delete(&staff, "/entities/customer/C-9").await.problem(404),
        "not_found"
    );
    for kind in ["nothing", "Customer", "customer.created", "a%0Ab"] {
        assert_eq!(
            world
                .post(&staff, &format!("/entities/{kind}"), json!({"name": "N"}))
                .await
                .problem(404),
            "not_found",
            "{kind}"
        );
        assert_eq!(
            world
                .patch(&staff, &format!("/entities/{kind}/C-1"), json!({"name": "N"}))
                .await
                .problem(404),
            "not_found",
            "{kind}"
        );
    }
    let long = "r".repeat(1001);
    for query in [
        "colour=red",
        &*format!("reason={long}"),
        "reason=",
        "correlation_id=",
        "causation_id=1",
        "expected_version=1",
        "reason=a&reason=b",
    ] {
        assert_eq!(
            world
                .patch(&staff, &format!("{ADA}?{query}"), json!({"name": "N"}))
                .await
                .problem(400),
            "invalid_parameter",
            "{query}"
        );
        assert_eq!(
            world.delete(&staff, &format!("{ADA}?{query}")).await.problem(400),
            "invalid_parameter",
            "{query}"
        );
        assert_eq!(
            world
                .post(&staff, &format!("/entities/customer?{query}"), json!({"name": "N"}))
                .await
                .problem(400),
            "invalid_parameter"
        );
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn bad_fields_are_named_as_the_client_sent_them() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    let pointer = |answer: &Answer| answer.body["errors"][0]["pointer"].as_str().unwrap().to_owned();
    for (body, status, code, at) in [
        (json!({"id": "C-2", "name": 1}), 422, "schema_violation", "/name"),
        (json!({"id": "C-2"}), 422, "schema_violation", ""),
        (json!({"id": 1, "name": "N"}), 400, "malformed_request", "/id"),
        (json!({"id": "", "name": "N"}), 400, "malformed_request", "/id"),
        (json!({"id": "a\nb", "name": "N"}), 400, "malformed_request", "/id"),
        (
            json!({"id": "x".repeat(129), "name": "N"}),
            400,
            "malformed_request",
            "/id",
        ),
        (json!([]), 400, "malformed_request", ""),
    ] {
        let answer = world.post(&staff, "/entities/customer", body).await;
        assert_eq!(
            (answer.problem(status), pointer(&answer).as_str()),
            (code, at),
            "{}",
            answer.text
        );
    }
    for (body, status, code, at) in [
        (json!({"email": "nobody"}), 422, "schema_violation", "/email"),
        (json!({"name": null}), 422, "schema_violation", "/name"),
        (json!("Ada"), 400, "malformed_request", ""),
    ] {
        let answer = world.patch(&staff, ADA, body).await;
        assert_eq!(
            (answer.problem(status), pointer(&answer).as_str()),
            (code, at),
            "{}",
            answer.text
        );
    }
    let answer = world.patch(&staff, ADA, json!({"colour": "red"})).await;
    assert_eq!(answer.problem(422), "schema_violation");
    assert!(!pointer(&answer).starts_with("/data"), "{}", answer.text);
    assert_eq!(world.log().await, before);
}

/// A refusal must not advise a compensation that is impossible.
#[tokio::test]
async fn a_refusal_does_not_advise_to_compensate_a_deletion_without_an_inverse() {
    let (world, staff) = (World::new().await, Person::staff());
    for (verb, effect) in [("created", "create"), ("deleted", "delete")] {
        let kind = json!({"event_type": format!("crate.{verb}"), "effect": effect, "description": "d", "posters": ["staff"],
                          "schema": {"type": "object"}, "example": {}});
        world.post(&staff, "/events/types", kind).await.expect(201);
    }
    world
        .post(&staff, "/entities/crate", json!({"id": "C-1", "size": 1}))
        .await
        .expect(201);
    world.delete(&staff, "/entities/crate/C-1").await.expect(200);
    let again = world.delete(&staff, "/entities/crate/C-1").await;
    assert_eq!(again.problem(409), "entity_deleted");
    let detail = again.body["detail"].as_str().unwrap();
    assert!(
        detail.ends_with("it cannot be restored, because crate.deleted has no inverse"),
        "{detail}"
    );
}
