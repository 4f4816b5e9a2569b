//! An inverse is computed from the state before the event, never from the old values that its poster sent.

use serde_json::{Value, json};
use tests::{Person, World};

use super::module::{compensate, post_widget_event, state, world};

/// Creates an entity with this field, appends an event that changes it and names another old value, and compensates that event.
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

/// Every declared inverse of the built-in modules that needs old values from the event.
#[tokio::test]
async fn old_values_sent_by_the_poster_are_not_used() {
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
async fn old_values_are_restored_even_if_the_poster_left_them_out() {
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

/// Null means that there is no value, so it is equal to an absent field.
#[tokio::test]
async fn an_absent_field_is_absent_again_after_the_compensation() {
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

/// The same holds for types that staff registers.
#[tokio::test]
async fn the_inverse_of_a_registered_type_does_not_use_old_values_of_the_poster_either() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    post_widget_event(&world, &staff, "moved", json!({"from": "nowhere", "to": "a"})).await;
    let id = post_widget_event(&world, &staff, "moved", json!({"from": "a lie", "to": "b"})).await;
    let answer = compensate(&world, &staff, &id, json!({})).await.expect(201).body;
    assert_eq!(answer["data"], json!({"from": "b", "to": "a", "why": "a mistake"}));
    assert_eq!(state(&world, &staff).await.0["place"], "a");
}

/// If the schema of the inverse cannot say that there was no value, the compensation is refused.
#[tokio::test]
async fn a_compensation_is_refused_if_the_inverse_cannot_express_the_state_before() {
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

/// Inverses of built-in types must not refund a later payment, cancel an order that existed before, or keep a wrong date.
#[tokio::test]
async fn built_in_inverses_restore_everything_that_an_event_changed_or_refuse() {
    let (world, staff) = (World::new().await, Person::staff());
    let append = async |event_type: &str, id: &str, data: Value| {
        let event = world.append(&staff, event_type, id, data).await;
        event["id"].as_str().unwrap().to_owned()
    };
    let paid = |cents: i64| json!({"amount_cents": cents, "currency": "USD"});
    let first = append("payment.received", "PA-1", paid(10_000)).await;
    append("payment.received", "PA-1", paid(25_000)).await;
    let refused = compensate(&world, &staff, &first, json!({})).await;
    assert_eq!(refused.problem(409), "changed_since");

    let placed = |cents: i64| json!({"customer_id": "C", "items": [{"sku": "A", "quantity": 1}], "currency": "USD", "total_cents": cents});
    append("order.placed", "O-1", placed(1_000)).await;
    let second = append("order.placed", "O-1", placed(7)).await;
    let refused = compensate(&world, &staff, &second, json!({})).await;
    assert_eq!(refused.problem(422), "no_inverse");

    let product = json!({"sku": "S", "name": "Pump", "stock": 3});
    append("product.created", "P-1", product).await;
    let stock = append("product.stock_updated", "P-1", json!({"old_stock": 3, "new_stock": 3})).await;
    let refused = compensate(&world, &staff, &stock, json!({})).await;
    assert_eq!(refused.problem(409), "not_applied");

    append(
        "price.created",
        "PR-1",
        json!({"price": 100, "effective_date": "2026-01-01"}),
    )
    .await;
    let changed = json!({"old_price": 100, "new_price": 90, "reason": "x", "effective_date": "2026-06-01"});
    let changed = append("price.changed", "PR-1", changed).await;
    compensate(&world, &staff, &changed, json!({})).await.expect(201);
    let diff = world
        .get(&staff, "/entities/price/PR-1/diff?from=1&to=3")
        .await
        .expect(200)
        .body;
    let fields: Vec<&String> = diff["changes"].as_object().unwrap().keys().collect();
    assert_eq!(fields, ["reason"]);
}

#[tokio::test]
async fn a_deleted_entity_can_be_restored_whatever_events_have_followed() {
    let (world, staff) = (World::new().await, Person::staff());
    for twice in [false, true] {
        let id = format!("C-{twice}");
        let customer = json!({"name": "Ada", "email": "ada@example.com"});
        world.append(&staff, "customer.registered", &id, customer).await;
        let deleted = json!({"deleted_at": "2026-01-01T00:00:00Z"});
        let first = world.append(&staff, "customer.deleted", &id, deleted.clone()).await;
        let last = match twice {
            true => world.append(&staff, "customer.deleted", &id, deleted).await,
            false => first.clone(),
        };
        world
            .append(&staff, "customer.profile_updated", &id, json!({"phone": "1"}))
            .await;
        if twice {
            let refused = compensate(&world, &staff, first["id"].as_str().unwrap(), json!({})).await;
            assert_eq!(refused.problem(409), "changed_since");
        }
        compensate(&world, &staff, last["id"].as_str().unwrap(), json!({}))
            .await
            .expect(201);
        let entity = world
            .get(&staff, &format!("/entities/customer/{id}"))
            .await
            .expect(200)
            .body;
        assert_eq!(
            (&entity["state"]["phone"], &entity["deleted_at"]),
            (&json!("1"), &Value::Null)
        );
    }
}

/// The state of an entity may hold what a `created` event may not contain: a status, children, null.
#[tokio::test]
async fn a_deleted_entity_is_restored_whatever_its_state_holds() {
    let (world, staff) = (World::new().await, Person::staff());
    let append = async |event_type: &str, id: &str, data: Value| {
        world.append(&staff, event_type, id, data).await;
    };
    append("order.placed", "O-1", json!({"customer_id": "C-1"})).await;
    append(
        "order.status_changed",
        "O-1",
        json!({"old_status": "placed", "new_status": "shipped"}),
    )
    .await;
    append("organization.created", "G-1", json!({"name": "One"})).await;
    append(
        "organization.gst.added",
        "G-1",
        json!({"id": "g1", "gstin": "27AAPFU0939F1ZV"}),
    )
    .await;
    let customer = json!({"name": "Ada", "email": "ada@example.com", "phone": "1"});
    append("customer.created", "C-1", customer).await;
    let without = json!({"phone": null});
    world.patch(&staff, "/entities/customer/C-1", without).await.expect(200);
    for (kind, id) in [("order", "O-1"), ("organization", "G-1"), ("customer", "C-1")] {
        let path = format!("/entities/{kind}/{id}");
        let before = world.get(&staff, &path).await.expect(200).body["state"].clone();
        world.delete(&staff, &path).await.expect(200);
        let history = world
            .all_pages(&staff, &format!("/events/aggregate/{kind}/{id}/history"))
            .await;
        let deleted = history.last().unwrap()["id"].as_str().unwrap().to_owned();
        compensate(&world, &staff, &deleted, json!({})).await.expect(201);
        world.project().await;
        let after = world.get(&staff, &path).await.expect(200).body;
        let mut expected = before;
        expected.as_object_mut().unwrap().retain(|_, value| !value.is_null());
        assert_eq!(
            (&after["state"], &after["deleted"]),
            (&expected, &json!(false)),
            "{path}"
        );
    }
    world.assert_read_models_are_the_fold().await;
}
