//! The OpenAPI document: what it holds, and that it names exactly the problem codes that the code base has. `support/contract.rs` holds every
//! request and answer of all tests against it, and `deployed_routes.rs` the routes.

mod codes;
mod refusals;
mod tenant;

use std::collections::BTreeSet;

use annals_openapi::document;
use axum::http::{Request, Uri};
use serde_json::{Value, json};
use tests::{Person, World, compiled};

/// Every object of the document that is reached from `value`.
fn walk(value: &Value, visit: &mut impl FnMut(&Value)) {
    visit(value);
    match value {
        Value::Object(members) => members.values().for_each(|member| walk(member, visit)),
        Value::Array(items) => items.iter().for_each(|item| walk(item, visit)),
        _ => {}
    }
}

fn operations() -> impl Iterator<Item = &'static Value> {
    let paths = document()["paths"].as_object().unwrap();
    paths.values().flat_map(|item| item.as_object().unwrap().values())
}

#[tokio::test]
async fn the_document_is_answered_without_a_token() {
    let world = World::new().await;
    let request = Request::get(Uri::from_static("/api/v1/openapi.json")).body(axum::body::Body::empty());
    let answer = world.send(request.unwrap()).await.expect(200);
    assert_eq!(answer.body, *document());
    assert_eq!(answer.body["openapi"], "3.1.0");
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_used() {
    let mut used = BTreeSet::new();
    walk(document(), &mut |value| {
        if let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            assert!(document().pointer(&reference[1..]).is_some(), "{reference}");
            used.insert(reference.to_owned());
        }
    });
    for section in ["schemas", "parameters", "headers", "responses"] {
        for name in document()["components"][section].as_object().unwrap().keys() {
            let reference = format!("#/components/{section}/{name}");
            assert!(used.contains(&reference), "{reference} is not used");
        }
    }
}

#[test]
fn operations_have_ids_of_their_own_and_declared_tags() {
    let names = |list: &'static Value, member: &str| -> BTreeSet<&'static str> {
        let entries = list.as_array().unwrap().iter();
        entries.map(|entry| entry[member].as_str().unwrap()).collect()
    };
    let tags = names(&document()["tags"], "name");
    let mut ids = BTreeSet::new();
    for operation in operations() {
        assert!(
            ids.insert(operation["operationId"].as_str().unwrap()),
            "{}",
            operation["operationId"]
        );
        assert!(
            tags.contains(operation["tags"][0].as_str().unwrap()),
            "{}",
            operation["tags"]
        );
    }
}

#[test]
fn every_schema_compiles_and_every_example_matches_its_schema() {
    for schema in document()["components"]["schemas"].as_object().unwrap().values() {
        compiled(schema, document());
    }
    let mut examples = 0;
    walk(document(), &mut |value| {
        let Some(schema) = value
            .get("schema")
            .filter(|_| value.get("description").is_some() || value.get("in").is_none())
        else {
            return;
        };
        let named = value
            .get("examples")
            .and_then(Value::as_object)
            .into_iter()
            .flat_map(|named| named.values());
        for example in named.map(|named| &named["value"]).chain(value.get("example")) {
            // An example of an event type has members of these names, too.
            if !schema.is_object() || value.get("event_type").is_some() {
                continue;
            }
            let faults: Vec<String> = compiled(schema, document())
                .iter_errors(example)
                .map(|e| e.to_string())
                .collect();
            assert!(faults.is_empty(), "{example}: {faults:?}");
            examples += 1;
        }
    });
    assert!(examples > 8, "only {examples} examples");
}

/// In the order of their names they can be posted one after the other.
#[tokio::test]
async fn the_examples_of_events_are_the_catalogs_and_can_be_posted() {
    let (world, staff) = (World::new().await, Person::staff());
    let media = &document()["paths"]["/api/v1/events"]["post"]["requestBody"]["content"]["application/json"];
    for name in ["created", "changed", "batch"] {
        let example = &media["examples"][name]["value"];
        let events = example["events"]
            .as_array()
            .cloned()
            .unwrap_or_else(|| vec![example.clone()]);
        for event in events {
            let path = format!("/events/types/{}", event["event_type"].as_str().unwrap());
            assert_eq!(
                event["data"],
                world.get(&staff, &path).await.expect(200).body["example"]
            );
        }
        world.post(&staff, "/events", example.clone()).await.expect(201);
    }
    let found = world
        .get(&staff, "/audit/entity/PUMP-05HP?field=base_price&limit=1")
        .await
        .expect(200);
    let media =
        &document()["paths"]["/api/v1/audit/entity/{id}"]["get"]["responses"]["200"]["content"]["application/json"];
    assert_eq!(found.items()[0]["changes"], media["example"]["items"][0]["changes"]);
    assert_eq!(found.items()[0]["version"], media["example"]["items"][0]["version"]);
    assert_eq!(
        found.items()[0]["metadata"],
        json!({"reason": "Acme sells it for 5,499"})
    );
}
