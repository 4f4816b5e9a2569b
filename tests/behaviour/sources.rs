//! Everything that the first descriptions of the system show literally (statements, calls, fields) works as shown.

mod checkpoints;
mod correlation;
mod relations;
mod upcasters;

use axum::body::Body;
use axum::http::{Request, header};
use serde_json::{Value, json};
use tests::{Answer, Person, World};

async fn status_by(world: &World, authorization: Option<String>) -> Answer {
    let mut request = Request::get("/api/v1/status");
    if let Some(value) = authorization {
        request = request.header(header::AUTHORIZATION, value);
    }
    world.send(request.body(Body::empty()).unwrap()).await
}

/// "Verify Backend is Running" in the setup guide: a call without a token.
#[tokio::test]
async fn status_shows_features_without_a_token_and_figures_with_one() {
    let world = World::new().await;
    let features = json!({"auth": "active", "database": "active", "events": "active", "agents": "active"});
    let open = status_by(&world, None).await.expect(200).body;
    assert_eq!(open, json!({"status": "ok", "features": features}));
    let staff = world.get(&Person::staff(), "/status").await.expect(200).body;
    assert_eq!(staff["features"], features);
    assert_eq!(
        (
            &staff["health"]["event_store_healthy"],
            &staff["health"]["recent_activity"]
        ),
        (&json!(true), &json!(false))
    );
    // An invalid token is not ignored, because its bearer expects to be authenticated.
    for (wrong, code) in [
        ("Bearer not.a.token", "token_malformed"),
        ("Bearer ", "unauthorized"),
        ("Basic dTpw", "unauthorized"),
    ] {
        let refused = status_by(&world, Some(wrong.to_owned())).await;
        assert_eq!(refused.problem(401), code, "{wrong}");
    }
    assert_eq!(
        status_by(&world, None).await.header("cache-control"),
        Some("private, no-store")
    );
}

/// The body in the guide, unchanged.
pub(crate) const GUIDES_EVENT: &str = r#"{
        "event_type": "product.created",
        "aggregate_type": "product",
        "aggregate_id": "123e4567-e89b-12d3-a456-426614174000",
        "data": {
          "sku": "SUBM-05HP-DOM-SS-50LPM-20M",
          "name": "0.5HP Submersible Pump",
          "base_price": 5999.00
        },
        "created_by": "user:test"
      }"#;

fn guides_event() -> Value {
    serde_json::from_str(GUIDES_EVENT).unwrap()
}

/// "Test Event Posting" in the setup guide. A service may name the actor; for other callers the token decides.
#[tokio::test]
async fn the_first_event_of_the_guide_is_accepted_from_a_service_and_others_get_a_reason() {
    let world = World::new().await;
    let service = Person::service("shop");
    let posted = world.post(&service, "/events", guides_event()).await.expect(201).body;
    assert_eq!(
        (&posted["created_by"], &posted["data"]["base_price"].to_string()),
        (&json!("user:test"), &"5999.00".to_owned())
    );
    let log = world.log().await;
    let refused = world.post(&Person::staff(), "/events", guides_event()).await;
    assert_eq!(refused.problem(403), "actor_forged");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("created_by") && detail.contains("service"), "{detail}");
    world
        .post(&Person::user(), "/events", guides_event())
        .await
        .problem(403);
    assert_eq!(world.log().await, log);
    let mut own = guides_event();
    own.as_object_mut().unwrap().remove("created_by");
    own["aggregate_id"] = json!("PUMP-2");
    world.post(&Person::staff(), "/events", own).await.expect(201);
}

/// "Snapshot Management" in the documentation: `metadata={"created_by": "system", "reason": "periodic_snapshot"}`.
#[tokio::test]
async fn a_requested_snapshot_keeps_the_metadata_that_staff_sends() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    let path = "/entities/customer/C-1/snapshots";
    let amount: Value = serde_json::from_str("1.10").unwrap();
    let given = json!({"reason": "year end", "ticket": 7, "amount": amount});
    let taken = world.post(&staff, path, json!({ "metadata": given })).await.expect(201);
    let kept = json!({"created_by": staff.actor(), "reason": "year end", "ticket": 7, "amount": amount});
    assert_eq!(taken.body, json!({"version": 1, "metadata": kept}));
    let listed = world.get(&staff, path).await.expect(200);
    assert_eq!(listed.items()[0]["metadata"], kept);
    assert_eq!(listed.items()[0]["metadata"]["amount"].to_string(), "1.10");
    for same in [
        json!({"reason": "r", "metadata": {"reason": "r", "created_by": staff.actor()}}),
        json!({"metadata": {"reason": null, "created_by": null}}),
        json!({"metadata": null}),
    ] {
        world.post(&staff, path, same).await.expect(201);
    }
    let before = listed_metadata(&world, &staff, path).await;
    for (body, status, code) in [
        (json!({"metadata": {"created_by": "system"}}), 403, "actor_forged"),
        (json!({"metadata": {"created_by": 7}}), 403, "actor_forged"),
        (json!({"metadata": []}), 400, "malformed_request"),
        (json!({"metadata": {"reason": 7}}), 400, "malformed_request"),
        (json!({"metadata": {"reason": ""}}), 400, "malformed_request"),
        (
            json!({"metadata": {"reason": "x".repeat(1001)}}),
            400,
            "malformed_request",
        ),
        (json!({"reason": ""}), 400, "malformed_request"),
        (
            json!({"reason": "a", "metadata": {"reason": "b"}}),
            400,
            "malformed_request",
        ),
        (
            json!({"metadata": {"x": "x".repeat(16 * 1024)}}),
            422,
            "invalid_metadata",
        ),
        (
            json!({"metadata": {"$serde_json::private::Number": "1"}}),
            400,
            "reserved_key",
        ),
    ] {
        let refused = world.post(&staff, path, body.clone()).await;
        assert_eq!(refused.problem(status), code, "{:.200}", body.to_string());
    }
    assert_eq!(listed_metadata(&world, &staff, path).await, before);
}

async fn listed_metadata(world: &World, staff: &Person, path: &str) -> Vec<Value> {
    let listed = world.get(staff, path).await.expect(200);
    listed.items().iter().map(|item| item["metadata"].clone()).collect()
}
