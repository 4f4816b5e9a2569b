//! An event in answers: it is the same from every resource, and equal to what is stored.

use serde_json::{Value, json};
use tests::{Person, World, redacted};
use uuid::Uuid;

#[tokio::test]
async fn an_event_is_answered_with_all_fields_and_equally_by_every_resource() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    let event = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "C-1", "version": "1.0",
        "data": {"name": "Ada", "email": "ada@example.com"}, "metadata": {"reason": "asked"}, "source": "web", "timestamp": "2020-02-29T12:00:00+05:30",
        "correlation_id": "flow-1", "command_id": "cmd-1", "causation_id": Uuid::new_v4(), "idempotency_key": "key-1", "expected_version": 0});
    let headers = [("user-agent", "curl/8"), ("x-forwarded-for", "10.0.0.1, 192.0.2.7")];
    let posted = world
        .request(axum::http::Method::POST, &staff, "/events", &headers, Some(event))
        .await
        .expect(201);
    insta::assert_snapshot!(redacted(&posted.body), @r#"
    {
      "aggregate_id": "C-1",
      "aggregate_type": "customer",
      "aggregate_version": 1,
      "causation_id": "[uuid]",
      "command_id": "cmd-1",
      "correlation_id": "flow-1",
      "created_at": "[time]",
      "created_by": "user:[uuid]",
      "data": {
        "email": "ada@example.com",
        "name": "Ada"
      },
      "event_number": 1,
      "event_type": "customer.registered",
      "id": "[uuid]",
      "idempotency_key": "key-1",
      "metadata": {
        "reason": "asked"
      },
      "processed": false,
      "recorded": {
        "ip_address": "192.0.2.7",
        "posted_by": "user:[uuid]",
        "request_id": "[uuid]",
        "user_agent": "curl/8"
      },
      "source": "web",
      "tenant_id": "00000000-0000-0000-0000-000000000000",
      "timestamp": "[time]",
      "user_id": "[uuid]",
      "version": "1.0"
    }
    "#);
    assert_eq!(posted.body["timestamp"], "2020-02-29T06:30:00.000000Z");
    let location = posted.header("location").unwrap().strip_prefix("/api/v1").unwrap();
    assert_eq!(world.get(&staff, location).await.expect(200).body, posted.body);
    let list = world.get(&staff, "/events").await.expect(200);
    assert_eq!(list.body, json!({"items": [posted.body], "next_cursor": null}));
}

#[tokio::test]
async fn a_batch_is_answered_as_stored() {
    let world = World::without_requirements().await;
    let staff = Person::staff();
    let event = |id: &str| json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": id, "data": {"name": "N"}});
    let posted = world
        .post(
            &staff,
            "/events",
            json!({"events": [event("B"), event("A"), event("B")]}),
        )
        .await
        .expect(201);
    let ids: Vec<(&Value, &Value)> = posted
        .items()
        .iter()
        .map(|e| (&e["aggregate_id"], &e["aggregate_version"]))
        .collect();
    assert_eq!(
        ids,
        [
            (&json!("B"), &json!(1)),
            (&json!("A"), &json!(1)),
            (&json!("B"), &json!(2))
        ]
    );
    for item in posted.items() {
        let path = format!("/events/{}", item["id"].as_str().unwrap());
        assert_eq!(&world.get(&staff, &path).await.expect(200).body, item);
    }
}
