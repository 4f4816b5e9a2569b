//! An idempotency key on a request that does not support it: a client that retries relies on a single effect, so the request is refused.

use axum::http::Method;
use serde_json::json;
use tests::{Person, World};

#[tokio::test]
async fn a_key_on_a_request_that_does_not_support_it_is_refused() {
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
        (
            Method::POST,
            "/data/uploads/00000000-0000-0000-0000-000000000000/revert",
            json!({}),
        ),
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

/// Reads may be repeated, so a key is allowed. Unknown resources are still answered 404.
#[tokio::test]
async fn a_read_request_may_have_a_key() {
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

/// A method that a resource does not support is answered 405, whatever else is wrong with the request.
#[tokio::test]
async fn a_method_that_is_not_supported_is_405_even_with_a_key_or_a_body() {
    let (world, staff) = (World::new().await, Person::staff());
    let key = [("idempotency-key", "k-1")];
    for (method, path, supported) in [
        (Method::PUT, "/events", "GET,HEAD,POST"),
        (Method::GET, "/data/uploads", "POST"),
        (Method::GET, "/projector/sweep", "POST"),
        (Method::TRACE, "/events/types", "GET,HEAD,POST"),
    ] {
        let answer = world.request(method, &staff, path, &key, Some(json!({"a": 1}))).await;
        assert_eq!(answer.problem(405), "method_not_allowed", "{path}");
        let mut allowed: Vec<&str> = answer.header("allow").unwrap().split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed.join(","), supported, "{path}");
    }
    let answer = world
        .request(Method::GET, &staff, "/nothing", &key, Some(json!({})))
        .await;
    assert_eq!(answer.problem(404), "not_found");
    let answer = world
        .request(Method::GET, &staff, "/events", &key, Some(json!({})))
        .await;
    assert_eq!(answer.problem(400), "unexpected_body");
}
