//! `EventMetadata(correlation_id=…)` of the event system is found by `?correlation_id=`, like the field itself.

use serde_json::{Value, json};
use tests::{Person, World};

fn event(id: &str, correlation_id: Value, in_metadata: Value) -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": id,
           "data": {"name": "Ada", "email": "ada@example.com"}, "correlation_id": correlation_id,
           "metadata": {"reason": "compliance review", "correlation_id": in_metadata}})
}

async fn found(world: &World, staff: &Person, correlation_id: &str) -> Vec<Value> {
    let path = format!("/events?order=asc&correlation_id={correlation_id}");
    let listed = world.all_pages(staff, &path).await;
    listed.iter().map(|event| event["aggregate_id"].clone()).collect()
}

#[tokio::test]
async fn a_correlation_id_in_metadata_is_found_like_one_in_the_field() {
    let (world, staff) = (World::new().await, Person::staff());
    let id = "trade-123-update";
    let posted = world
        .post(&staff, "/events", event("C-1", Value::Null, json!(id)))
        .await
        .expect(201)
        .body;
    assert_eq!(
        (&posted["correlation_id"], &posted["metadata"]["correlation_id"]),
        (&json!(id), &json!(id))
    );
    let batch = json!({"events": [event("C-2", Value::Null, json!(id)), event("C-3", json!(id), json!(id)), event("C-4", json!(id), Value::Null)]});
    world.post(&staff, "/events", batch).await.expect(201);
    let sql = world.session_of(&staff).await;
    let by_sql = event("C-5", Value::Null, json!(id)).to_string();
    let row = sql
        .query_one("select public.post_event($1::text::jsonb)::text", &[&by_sql])
        .await
        .unwrap();
    let by_sql: Value = serde_json::from_str(row.get(0)).unwrap();
    assert_eq!(
        (&by_sql["correlation_id"], &by_sql["metadata"]["correlation_id"]),
        (&json!(id), &json!(id))
    );
    assert_eq!(found(&world, &staff, id).await, ["C-1", "C-2", "C-3", "C-4", "C-5"]);
    // Metadata are kept as sent.
    let stored = world
        .get(&staff, &format!("/events/{}", posted["id"].as_str().unwrap()))
        .await
        .expect(200)
        .body;
    assert_eq!(stored["metadata"]["correlation_id"], id);
}

#[tokio::test]
async fn different_and_invalid_correlation_ids_are_refused_over_http_and_sql() {
    let (world, staff) = (World::new().await, Person::staff());
    let sql = world.session_of(&staff).await;
    let before = world.log().await;
    for (field, in_metadata, code) in [
        (json!("a"), json!("b"), "correlation_id_differs"),
        (Value::Null, json!(7), "wrong_type"),
        (json!("a"), json!(["a"]), "wrong_type"),
        (Value::Null, json!(""), "invalid_value"),
        (Value::Null, json!("x".repeat(129)), "invalid_value"),
        (Value::Null, json!("a\u{200b}b"), "invalid_value"),
    ] {
        let body = event("C-1", field, in_metadata);
        let refused = world.post(&staff, "/events", body.clone()).await;
        assert_eq!(refused.problem(400), "malformed_request", "{body}");
        let fault = &refused.body["errors"][0];
        assert_eq!(
            (&fault["pointer"], &fault["code"]),
            (&json!("/metadata/correlation_id"), &json!(code))
        );
        let batch = json!({"events": [event("C-2", Value::Null, Value::Null), body.clone()]});
        let refused = world.post(&staff, "/events", batch).await;
        refused.problem(400);
        assert_eq!(
            refused.body["errors"][0]["pointer"],
            "/events/1/metadata/correlation_id"
        );
        let call = "select public.post_event($1::text::jsonb)::text";
        let error = sql.query_one(call, &[&body.to_string()]).await.expect_err("refused");
        assert_eq!(error.code().unwrap().code(), "PT400", "{body}");
    }
    assert_eq!(world.log().await, before);
}

/// Where the id was written does not matter to a retry.
#[tokio::test]
async fn a_retry_with_the_id_in_the_other_place_or_over_the_other_interface_is_recognised() {
    let (world, staff) = (World::new().await, Person::staff());
    let mut keyed = event("C-1", Value::Null, json!("flow-1"));
    keyed["idempotency_key"] = json!("k");
    let first = world.post(&staff, "/events", keyed.clone()).await.expect(201).body;
    assert_eq!(
        world.post(&staff, "/events", keyed.clone()).await.expect(200).body["id"],
        first["id"]
    );
    let sql = world.session_of(&staff).await;
    let call = "select public.post_event($1::text::jsonb) ->> 'id'";
    let again: String = sql.query_one(call, &[&keyed.to_string()]).await.unwrap().get(0);
    assert_eq!(first["id"], again.as_str());
    keyed["correlation_id"] = json!("flow-1");
    assert_eq!(
        world.post(&staff, "/events", keyed.clone()).await.expect(200).body["id"],
        first["id"]
    );
    keyed["metadata"]["correlation_id"] = json!("flow-2");
    keyed["correlation_id"] = Value::Null;
    assert_eq!(
        world.post(&staff, "/events", keyed).await.problem(422),
        "idempotency_key_reused"
    );
    assert_eq!(world.log().await.events, 1);
}
