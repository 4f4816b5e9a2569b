//! An inverse is worked out from the state before the event, never from what its poster said was old.

use serde_json::{Value, json};
use tests::{Person, World};

use super::module::{compensate, happen, state, world};

/// An entity with this field, an event that changes it and says something else was there before, and its compensation.
async fn restored(world: &World, staff: &Person, created: (&str, Value), event: (&str, Value), field: &str) -> Value {
    let id = event.0;
    let kind = created.0.split('.').next().unwrap();
    world.append(staff, created.0, id, created.1).await;
    let event = world.append(staff, event.0, id, event.1).await;
    let answer = compensate(world, staff, event["id"].as_str().unwrap(), json!({})).await;
    assert_eq!(answer.status, 201, "{}: {}", event["event_type"], answer.text);
    let entity = world.get(staff, &format!("/entities/{kind}/{id}")).await.expect(200);
    entity.body["state"][field].clone()
}

fn product(more: Value) -> (&'static str, Value) {
    let mut data = json!({"sku": "S", "name": "Pump"});
    data.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    ("product.created", data)
}

/// Every declared inverse of the modules that takes something old from the event.
#[tokio::test]
async fn what_the_poster_said_was_old_is_not_believed() {
    let (world, staff) = (World::new().await, Person::staff());
    let day = "2025-10-27";
    for (created, event, field, before) in [
        (
            product(json!({"base_price": 100})),
            (
                "product.price_changed",
                json!({"old_price": 1, "new_price": 90, "reason": "x"}),
            ),
            "base_price",
            json!(100),
        ),
        (
            product(json!({"base_price": 100})),
            ("product.price_corrected", json!({"old_price": 1, "new_price": 90})),
            "base_price",
            json!(100),
        ),
        (
            product(json!({"stock": 7})),
            ("product.stock_updated", json!({"old_stock": 1, "new_stock": 90})),
            "stock",
            json!(7),
        ),
        (
            ("price.created", json!({"price": 100})),
            (
                "price.changed",
                json!({"old_price": 1, "new_price": 90, "reason": "x", "effective_date": day}),
            ),
            "price",
            json!(100),
        ),
        (
            ("order.placed", json!({"customer_id": "C-1"})),
            (
                "order.status_changed",
                json!({"old_status": "lost", "new_status": "shipped"}),
            ),
            "status",
            json!("placed"),
        ),
        (
            product(json!({})),
            (
                "product.updated",
                json!({"changes": {"name": {"old": "Lie", "new": "P"}}}),
            ),
            "name",
            json!("Pump"),
        ),
    ] {
        let name = event.0;
        assert_eq!(restored(&world, &staff, created, event, field).await, before, "{name}");
    }
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn what_the_poster_left_out_is_restored_all_the_same() {
    let (world, staff) = (World::new().await, Person::staff());
    for (created, event, field, before) in [
        (
            product(json!({"base_price": 100})),
            ("product.price_corrected", json!({"new_price": 90})),
            "base_price",
            json!(100),
        ),
        (
            product(json!({"stock": 7})),
            ("product.stock_updated", json!({"new_stock": 90})),
            "stock",
            json!(7),
        ),
        (
            ("order.placed", json!({"customer_id": "C-1"})),
            ("order.status_changed", json!({"new_status": "shipped"})),
            "status",
            json!("placed"),
        ),
    ] {
        let name = event.0;
        assert_eq!(restored(&world, &staff, created, event, field).await, before, "{name}");
    }
}

/// Null says that there is none, and is as good as absent (E7).
#[tokio::test]
async fn what_was_absent_is_absent_again() {
    let (world, staff) = (World::new().await, Person::staff());
    for (created, event, field) in [
        (
            product(json!({})),
            (
                "product.price_changed",
                json!({"old_price": 5, "new_price": 90, "reason": "x"}),
            ),
            "base_price",
        ),
        (
            product(json!({})),
            ("product.price_corrected", json!({"old_price": 5, "new_price": 90})),
            "base_price",
        ),
        (
            product(json!({})),
            ("product.stock_updated", json!({"old_stock": 5, "new_stock": 90})),
            "stock",
        ),
        (
            ("order.created", json!({"customer_id": "C-1"})),
            (
                "order.status_changed",
                json!({"old_status": "lost", "new_status": "shipped"}),
            ),
            "status",
        ),
        (
            product(json!({})),
            (
                "product.updated",
                json!({"changes": {"category": {"old": "Lie", "new": "P"}}}),
            ),
            "category",
        ),
    ] {
        let name = event.0;
        assert_eq!(
            restored(&world, &staff, created, event, field).await,
            Value::Null,
            "{name}"
        );
    }
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

/// Types that staff registers are no different.
#[tokio::test]
async fn a_registered_inverse_believes_the_poster_no_more() {
    let (world, staff) = world().await;
    happen(&world, &staff, "created", json!({"name": "A"})).await;
    happen(&world, &staff, "moved", json!({"from": "nowhere", "to": "a"})).await;
    let id = happen(&world, &staff, "moved", json!({"from": "a lie", "to": "b"})).await;
    let answer = compensate(&world, &staff, &id, json!({})).await.expect(201).body;
    assert_eq!(answer["data"], json!({"from": "b", "to": "a", "why": "a mistake"}));
    assert_eq!(state(&world, &staff).await.0["place"], "a");
}

/// A schema that has no word for "there was none" is not made to lie.
#[tokio::test]
async fn where_the_inverse_cannot_say_what_was_before_there_is_no_compensation() {
    let (world, staff) = (World::new().await, Person::staff());
    let schema = json!({"type": "object", "properties": {"to": {"type": "string"}, "from": {"type": "string"}}, "required": ["to"]});
    for (action, effect, schema, inverse) in [
        ("created", json!("create"), json!({"type": "object"}), Value::Null),
        (
            "moved",
            json!({"set": {"place": "/to"}}),
            schema,
            json!({"event_type": "gadget.moved", "data": {"to": "/from", "from": "/to"}}),
        ),
    ] {
        let example = json!({"from": "a", "to": "b"});
        let mut kind = json!({"event_type": format!("gadget.{action}"), "aggregate_type": "gadget", "description": "Happened.",
                              "effect": effect, "schema": schema, "example": example});
        if !inverse.is_null() {
            kind["inverse"] = inverse;
        }
        world.post(&staff, "/events/types", kind).await.expect(201);
    }
    world
        .append(&staff, "gadget.created", "G-1", json!({"name": "G"}))
        .await;
    let event = json!({"from": "a lie", "to": "b"});
    let event = world.append(&staff, "gadget.moved", "G-1", event).await;
    let before = world.log().await;
    let answer = compensate(&world, &staff, event["id"].as_str().unwrap(), json!({})).await;
    assert_eq!(answer.problem(422), "no_inverse");
    assert_eq!(world.log().await, before);
}
