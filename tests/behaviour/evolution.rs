//! An event that was stored under an old version of its type reads, folds and projects like one of the current version, and the log
//! keeps it as it was posted. The built-in types are tested with the sources' own examples; types that evolve at run time are
//! tested in the folder.

mod built_in;
mod hostile;
mod late_module;
mod refused;
mod registered;
mod tenants;

use serde_json::{Value, json};
use tests::{Answer, Person, World};

fn event(event_type: &str, id: &str, version: &str, data: &Value) -> Value {
    let aggregate_type = event_type.split('.').next().unwrap();
    json!({"event_type": event_type, "aggregate_type": aggregate_type, "aggregate_id": id, "version": version, "data": data})
}

/// Posts an event of this version and returns its id.
async fn post(world: &World, person: &Person, event_type: &str, id: &str, version: &str, data: &Value) -> String {
    let posted = world
        .post(person, "/events", event(event_type, id, version, data))
        .await
        .expect(201);
    posted.body["id"].as_str().unwrap().to_owned()
}

async fn state(world: &World, person: &Person, aggregate_type: &str, id: &str) -> Value {
    let path = format!("/entities/{aggregate_type}/{id}");
    world.get(person, &path).await.expect(200).body["state"].clone()
}

/// The event as the log stores it, read by SQL.
async fn stored(world: &World, id: &str) -> Value {
    let row = format!("(select * from annals.events where id = '{id}')");
    world.rows_of(&row).await.remove(0)
}

/// The event reads in the current version and says so: by itself, in lists and in its history.
async fn assert_reads_as(world: &World, person: &Person, id: &str, version: &str, migration: &str, data: &Value) {
    let one = world.get(person, &format!("/events/{id}")).await.expect(200).body;
    assert_eq!((&one["data"], &one["version"]), (data, &json!(version)), "{one}");
    assert_eq!(one["metadata"]["migration_applied"], migration, "{one}");
    assert_eq!(one["recorded"]["migration_applied"], migration, "{one}");
    let (kind, stream) = (
        one["aggregate_type"].as_str().unwrap(),
        one["aggregate_id"].as_str().unwrap(),
    );
    let lists = [
        format!("/events?aggregate_type={kind}&aggregate_id={stream}"),
        format!("/events?event_type={}", one["event_type"].as_str().unwrap()),
        format!("/events/aggregate/{kind}/{stream}/history"),
    ];
    for path in lists {
        let listed = world.all_pages(person, &path).await;
        let found = listed.iter().find(|event| event["id"] == id).unwrap();
        for member in ["data", "version", "metadata"] {
            assert_eq!(found[member], one[member], "{path}: {member}");
        }
    }
}

/// A type that is registered at run time: `gauge.read` 1.0, which sets state to its data.
fn gauge() -> Value {
    json!({"event_type": "gauge.read", "effect": "create", "description": "A gauge was read.",
           "schema": {"type": "object", "required": ["value"], "properties": {"value": {"type": "number"}, "unit": {"type": "string"}}},
           "example": {"value": 21.5, "unit": "C"}})
}

/// A later version of it, in which the value is called temperature.
fn gauge_2(version: &str, upcasters: &Value) -> Value {
    json!({"event_type": "gauge.read", "version": version, "upcasters": upcasters,
           "schema": {"type": "object", "required": ["temperature"],
                      "properties": {"temperature": {"type": "number"}, "unit": {"type": "string"}}},
           "example": {"temperature": 21.5, "unit": "C"}})
}

/// The steps from `gauge` to `gauge_2`.
fn renamed() -> Value {
    json!([{"from_version": "1.0", "steps": [{"rename": {"value": "temperature"}}]}])
}

async fn register(world: &World, staff: &Person, body: Value) -> Answer {
    world.post(staff, "/events/types", body).await
}
