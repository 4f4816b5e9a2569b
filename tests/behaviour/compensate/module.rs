//! A module registered by staff, `widget`, with every effect that has an inverse. The updated and deleted types have no inverse at
//! version 1.0, because its type is registered only after them; at 1.1 they have one.

use serde_json::{Value, json};
use tests::{Person, World};

/// A world with the module, and a member of its staff.
pub async fn world() -> (World, Person) {
    let (world, staff) = (World::new().await, Person::staff());
    register_all(&world, &staff).await;
    (world, staff)
}

pub async fn register_all(world: &World, staff: &Person) {
    let object = |properties: Value| json!({"type": "object", "properties": properties, "additionalProperties": false});
    let fields = || {
        json!({"name": {"type": "string"}, "colour": {"type": ["string", "null"]}, "price": {"type": ["number", "null"]},
               "parts": {"type": "array"}})
    };
    let part =
        || json!({"id": {"type": "string"}, "no": {"type": ["string", "null"]}, "size": {"type": ["integer", "null"]}});
    let kinds = [
        ("created", json!("create"), object(fields()), Some("deleted")),
        (
            "updated",
            json!("changes"),
            json!({"type": "object", "required": ["changes"]}),
            Some("updated"),
        ),
        (
            "deleted",
            json!("delete"),
            json!({"type": "object", "required": ["deleted_at"], "additionalProperties": false,
                   "properties": {"deleted_at": {"type": "string"}, "name": {"type": "string"}, "reason": {"type": "string"}}}),
            Some("created"),
        ),
        (
            "part.added",
            json!({"add_child": "parts"}),
            object(part()),
            Some("part.removed"),
        ),
        (
            "part.updated",
            json!({"update_child": "parts"}),
            object(part()),
            Some("part.updated"),
        ),
        (
            "part.removed",
            json!({"remove_child": "parts"}),
            object(json!({"id": {"type": "string"}})),
            Some("part.added"),
        ),
        ("noted", json!("none"), json!({"type": "object"}), None),
    ];
    for (action, effect, schema, _) in &kinds {
        register(world, staff, action, "1.0", effect, schema, None).await;
    }
    for (action, effect, schema, inverse) in kinds {
        if let Some(inverse) = inverse {
            let inverse = json!({"event_type": format!("widget.{inverse}")});
            register(world, staff, action, "1.1", &effect, &schema, Some(inverse)).await;
        }
    }
    let moved =
        json!({"event_type": "widget.moved", "data": {"from": "/to", "to": "/from", "why": {"const": "a mistake"}}});
    let schema = json!({"type": "object", "required": ["from", "to"]});
    register(
        world,
        staff,
        "moved",
        "1.0",
        &json!({"set": {"place": "/to"}}),
        &schema,
        Some(moved),
    )
    .await;
}

pub async fn register(
    world: &World,
    staff: &Person,
    action: &str,
    version: &str,
    effect: &Value,
    schema: &Value,
    inverse: Option<Value>,
) {
    let example = match action {
        "updated" => json!({"changes": {}}),
        "deleted" => json!({"deleted_at": "2026-01-01T00:00:00Z"}),
        "moved" => json!({"from": "a", "to": "b"}),
        _ => json!({}),
    };
    let kind = json!({"event_type": format!("widget.{action}"), "aggregate_type": "widget", "version": version, "description": "Happened.",
                      "effect": effect, "posters": ["user", "staff", "service"], "starter_sees": true, "schema": schema, "example": example, "inverse": inverse});
    world.post(staff, "/events/types", kind).await.expect(201);
}

/// Posts an event of the module and returns its id.
pub async fn post_widget_event(world: &World, person: &Person, action: &str, data: Value) -> String {
    let event = world.append(person, &format!("widget.{action}"), "W-1", data).await;
    event["id"].as_str().expect("an id").to_owned()
}

/// Compensates an event, with a body.
pub async fn compensate(world: &World, person: &Person, id: &str, body: Value) -> tests::Answer {
    world.post(person, &format!("/events/{id}/compensate"), body).await
}

/// The state as the API returns it, and whether the entity is deleted.
pub async fn state(world: &World, person: &Person) -> (Value, bool) {
    let answer = world.get(person, "/entities/widget/W-1").await.expect(200).body;
    (answer["state"].clone(), answer["deleted"].as_bool().expect("a flag"))
}
