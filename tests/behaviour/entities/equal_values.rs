//! Equal numbers are not a change, even if they are written differently, and a null field counts as absent.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Person, World};

const PUMP: &str = "/entities/product/P-1";

fn value(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A product at 44.00.
async fn with_pump() -> (World, Person) {
    let (world, staff) = (World::new().await, Person::staff());
    let pump = r#"{"id": "P-1", "sku": "S", "name": "Pump", "base_price": 44.00, "stock": 100}"#;
    world.post(&staff, "/entities/product", value(pump)).await.expect(201);
    (world, staff)
}

async fn history(world: &World, staff: &Person) -> Vec<Value> {
    world.all_pages(staff, "/events/aggregate/product/P-1/history").await
}

async fn diff(world: &World, staff: &Person, from: i32, to: i32) -> Value {
    let path = format!("{PUMP}/diff?from={from}&to={to}");
    world.get(staff, &path).await.expect(200).body["changes"].clone()
}

#[tokio::test]
async fn a_patch_with_an_equal_number_changes_nothing_and_the_first_text_stays() {
    let (world, staff) = with_pump().await;
    let before = world.log().await;
    for body in [
        r#"{"base_price": 44}"#,
        r#"{"base_price": 4.4e1, "stock": 1e2}"#,
        r#"{"stock": 100.0}"#,
    ] {
        let answer = world.patch(&staff, PUMP, value(body)).await.expect(200);
        assert_eq!(answer.body["state"]["base_price"].to_string(), "44.00", "{body}");
    }
    assert_eq!(world.log().await, before);
    // Also if another field changes in the same request.
    world
        .patch(&staff, PUMP, value(r#"{"base_price": 44, "name": "P"}"#))
        .await
        .expect(200);
    let event = &history(&world, &staff).await[1];
    assert_eq!(event["data"], json!({"changes": {"name": {"old": "Pump", "new": "P"}}}));
}

#[tokio::test]
async fn a_retry_may_write_its_numbers_differently() {
    let (world, staff) = with_pump().await;
    let patch = async |body: &str| {
        let headers = [("idempotency-key", "k")];
        world
            .request(Method::PATCH, &staff, PUMP, &headers, Some(value(body)))
            .await
    };
    patch(r#"{"base_price": 50.0}"#).await.expect(200);
    assert_eq!(patch(r#"{"base_price": 50}"#).await.expect(200).body["version"], 2);
    assert_eq!(
        patch(r#"{"base_price": 51}"#).await.problem(422),
        "idempotency_key_reused"
    );
}

#[tokio::test]
async fn history_and_diff_show_no_change_if_only_the_notation_of_a_number_changes() {
    let (world, staff) = with_pump().await;
    for new in ["44", "44.000", "50"] {
        let data = json!({"changes": {"base_price": {"old": 1, "new": value(new)}}});
        world.append(&staff, "product.updated", "P-1", data).await;
    }
    let history = history(&world, &staff).await;
    assert_eq!(
        (&history[1]["changes"], &history[2]["changes"]),
        (&json!({}), &json!({}))
    );
    assert_eq!(history[3]["changes"]["base_price"]["new"], 50);
    assert_eq!(diff(&world, &staff, 1, 3).await, json!({}));
    assert_eq!(
        diff(&world, &staff, 1, 4).await.as_object().map(serde_json::Map::len),
        Some(1)
    );
}

#[tokio::test]
async fn a_number_rewritten_in_another_notation_does_not_block_a_compensation() {
    let (world, staff) = with_pump().await;
    let change = |new: &str| json!({"changes": {"base_price": {"old": null, "new": value(new)}}});
    let event = world.append(&staff, "product.updated", "P-1", change("50")).await;
    world.append(&staff, "product.updated", "P-1", change("5.00e1")).await;
    let path = format!("/events/{}/compensate", event["id"].as_str().unwrap());
    world.post(&staff, &path, json!({})).await.expect(201);
    let state = world.get(&staff, PUMP).await.expect(200).body["state"].clone();
    assert_eq!(state["base_price"].to_string(), "44.00");
}

#[tokio::test]
async fn a_change_from_absent_to_null_is_no_change() {
    let (world, staff) = with_pump().await;
    world
        .patch(&staff, PUMP, json!({"category": "pumps"}))
        .await
        .expect(200);
    world.patch(&staff, PUMP, json!({"category": null})).await.expect(200);
    assert_eq!(diff(&world, &staff, 1, 3).await, json!({}));
    let merged = json!({"changes": {"description": {"old": null, "new": null}}});
    world.append(&staff, "product.updated", "P-1", merged).await;
    assert_eq!(history(&world, &staff).await[3]["changes"], json!({}));
    assert_eq!(diff(&world, &staff, 1, 4).await, json!({}));
}

#[tokio::test]
async fn a_creation_accepts_null_for_an_optional_field() {
    let (world, staff) = (World::new().await, Person::staff());
    let body = json!({"id": "P-2", "sku": "S", "name": "Pump", "category": null, "base_price": null});
    let created = world.post(&staff, "/entities/product", body).await.expect(201);
    assert_eq!(created.body["state"], json!({"sku": "S", "name": "Pump"}));
    let answer = world
        .post(&staff, "/entities/product", json!({"sku": "S", "name": null}))
        .await;
    assert_eq!(answer.problem(422), "schema_violation");
    assert_eq!(answer.body["errors"][0]["pointer"], "/name");
}
