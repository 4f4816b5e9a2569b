//! Event types that change during a replay: old versions are upcast, and events of a newly registered type are delivered.

use futures_util::future::join;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{delivered, everything, of_types, under};

/// A version of an event type with one field, reached by these upcasters.
fn version(event_type: &str, version: &str, field: &str, upcasters: Value) -> Value {
    json!({"event_type": event_type, "version": version, "description": "A widget.", "effect": "create", "posters": ["staff"],
           "upcasters": upcasters, "example": {field: "1"},
           "schema": {"type": "object", "required": [field], "properties": {field: {"type": "string"}}, "additionalProperties": false}})
}

async fn register(world: &World, staff: &Person, body: Value) {
    world.post(staff, "/events/types", body).await.expect(201);
}

/// Events of old versions are delivered in the current version, so a handler needs to know only one.
#[tokio::test]
async fn events_of_old_versions_are_upcast() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, version("widget.made", "1.0", "size", json!([]))).await;
    world.append(&staff, "widget.made", "W-1", json!({"size": "7"})).await;
    let renamed = json!([{"from_version": "1.0", "steps": [{"rename": {"size": "width"}}]}]);
    register(&world, &staff, version("widget.made", "2.0", "width", renamed)).await;
    world.append(&staff, "widget.made", "W-2", json!({"width": "8"})).await;

    let all = delivered(&world, &of_types(&["widget.*"], everything())).await;
    assert_eq!(all, world.all_pages(&staff, "/events?order=asc").await);
    let event_at = |place: usize| {
        (
            &all[place]["version"],
            &all[place]["data"],
            &all[place]["metadata"]["migration_applied"],
        )
    };
    assert_eq!(
        event_at(0),
        (&json!("2.0"), &json!({"width": "7"}), &json!("1.0_to_2.0"))
    );
    assert_eq!(event_at(1), (&json!("2.0"), &json!({"width": "8"}), &Value::Null));
}

/// The replay is held while it creates its checkpoint, after its first read of the catalog. Then a type is registered and used. When the
/// replay continues, it takes the end of the log, which includes that event.
#[tokio::test]
async fn a_type_that_is_registered_while_a_replay_begins_is_delivered() {
    let (world, staff) = (World::new().await, Person::staff());
    register(&world, &staff, version("widget.made", "1.0", "size", json!([]))).await;
    world.append(&staff, "widget.made", "W-1", json!({"size": "1"})).await;
    let wanted = of_types(&["widget.*"], under("widgets"));
    assert_eq!(delivered(&world, &wanted).await.len(), 1);

    let holder = world.owner().await;
    holder
        .batch_execute("begin; select from annals.checkpoints where name = 'widgets' for update")
        .await
        .unwrap();
    let meanwhile = async {
        world.until_waiting(1).await;
        register(&world, &staff, version("widget.sold", "1.0", "price", json!([]))).await;
        world.append(&staff, "widget.sold", "W-1", json!({"price": "9"})).await;
        holder.batch_execute("rollback").await.unwrap();
    };
    let (next, ()) = join(delivered(&world, &wanted), meanwhile).await;
    let types: Vec<&Value> = next.iter().map(|event| &event["event_type"]).collect();
    assert_eq!(types, ["widget.sold"]);
}
