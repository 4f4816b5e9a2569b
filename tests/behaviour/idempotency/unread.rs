//! A key where nothing reads it: a client that retries with it counts on one effect, so it has to know that there may be two.

use axum::http::Method;
use serde_json::json;
use tests::{Person, World};

#[tokio::test]
async fn a_key_that_no_handler_reads_is_refused_and_nothing_happens() {
    let (world, staff) = (World::new().await, Person::staff());
    let event = world
        .append(&staff, "customer.created", "C-1", json!({"name": "N"}))
        .await;
    let processing = format!("/events/{}/processing", event["id"].as_str().unwrap());
    world.take_wake_ups().await;
    let before = world.log().await;
    let kind = json!({"event_type": "widget.made", "schema": {"type": "object"}, "example": {}});
    for (method, path, body) in [
        (Method::POST, "/data/uploads", json!({"dataset": "sales"})),
        (Method::POST, "/data/upload-sales-csv", json!({})),
        (Method::POST, "/data/upload-customers-csv", json!({})),
        (Method::POST, "/data/upload-expenses-csv", json!({})),
        (Method::POST, "/events/types", kind),
        (Method::PUT, &processing, json!({"action": "retry"})),
        (Method::POST, "/projector/sweep", json!({})),
        (Method::POST, "/projector/rebuild", json!({})),
        (Method::POST, "/entities/customer/C-1/snapshots", json!({"reason": "r"})),
    ] {
        let headers = [("idempotency-key", "k-1")];
        let answer = world.request(method, &staff, path, &headers, Some(body)).await;
        assert_eq!(answer.problem(400), "unexpected_idempotency_key", "{path}");
    }
    assert_eq!(world.log().await, before);
    assert!(world.take_wake_ups().await.is_empty());
    assert!(world.rows_of("annals.imports").await.is_empty());
    assert!(world.rows_of("annals.snapshots").await.is_empty());
    world.get(&staff, "/events/types/widget.made").await.problem(404);
}

/// Reading twice is reading once; what no resource is stays a 404.
#[tokio::test]
async fn a_request_that_reads_may_carry_one() {
    let (world, staff) = (World::new().await, Person::staff());
    let headers = [("idempotency-key", "k-1")];
    world
        .request(Method::GET, &staff, "/events", &headers, None)
        .await
        .expect(200);
    world
        .request(Method::POST, &staff, "/nothing", &headers, Some(json!({})))
        .await
        .problem(404);
}
