//! `indexed`: fields by which events of a type can be found. What lists do with them is in `lists/fields.rs`.

use annals_domain::catalog::has_scalar_field;
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::widget_with;

fn widget_indexed(version: &str, fields: Value) -> Value {
    let properties = json!({"colour": {"type": "string"}, "size": {"type": ["integer", "null"]}, "kind": {"enum": ["a", 1, null]},
        "a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}, "d": {"type": "string"}, "tags": {"type": "array"},
        "mixed": {"type": ["string", "object"]}, "odd": {"enum": [[1], "a"]}, "any": true, "été": {"type": "string"}});
    widget_with(
        json!({"version": version, "schema": {"type": "object", "required": ["colour"], "properties": properties}, "indexed": fields}),
    )
}

async fn indexed(world: &World, person: &Person, event_type: &str) -> Value {
    let answer = world.get(person, &format!("/events/types/{event_type}")).await;
    answer.expect(200).body["indexed"].clone()
}

#[tokio::test]
async fn indexed_fields_are_shown_and_belong_to_the_tenant() {
    let (world, staff) = (World::new().await, Person::staff());
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    world
        .post(&staff, "/events/types", widget_with(json!({})))
        .await
        .expect(201);
    assert_eq!(indexed(&world, &staff, "widget.made").await, json!([]));
    for (version, fields, expected) in [
        (
            "1.1",
            json!(["size", "colour", "kind"]),
            json!(["colour", "kind", "size"]),
        ),
        ("1.2", Value::Null, json!(["colour", "kind", "size"])),
        ("1.3", json!(["a", "size"]), json!(["a", "size"])),
        ("1.4", json!([]), json!([])),
        ("1.5", json!(["colour"]), json!(["colour"])),
    ] {
        let mut body = widget_indexed(version, fields);
        body["schema"]["additionalProperties"] = json!(false);
        let answer = world.post(&staff, "/events/types", body).await.expect(201);
        assert_eq!(answer.body["indexed"], expected, "{version}");
        assert_eq!(
            indexed(&world, &Person::user(), "widget.made").await,
            expected,
            "{version}"
        );
    }
    world
        .post(&elsewhere, "/events/types", widget_with(json!({})))
        .await
        .expect(201);
    assert_eq!(indexed(&world, &elsewhere, "widget.made").await, json!([]));
    let listed = world
        .get(&staff, "/events/types?aggregate_type=widget")
        .await
        .expect(200);
    assert_eq!(listed.items()[0]["indexed"], json!(["colour"]));
}

#[tokio::test]
async fn a_tenant_adds_fields_to_those_of_a_built_in_type() {
    let (world, staff) = (World::new().await, Person::staff());
    assert_eq!(indexed(&world, &staff, "product.created").await, json!(["sku"]));
    let built_in = world
        .get(&staff, "/events/types/product.created")
        .await
        .expect(200)
        .body;
    let register = async |version: &str, fields: Value| {
        let body = json!({"event_type": "product.created", "version": version, "schema": built_in["schema"], "example": built_in["example"],
                          "effect": "create", "indexed": fields});
        world.post(&staff, "/events/types", body).await
    };
    let next = |minor: u32| format!("1.{}", 7 + minor);
    for (minor, fields, expected) in [
        (0, json!(["name"]), json!(["name", "sku"])),
        (1, json!(["sku", "category"]), json!(["category", "sku"])),
        (2, json!([]), json!(["sku"])),
    ] {
        let answer = register(&next(minor), fields).await.expect(201);
        assert_eq!(answer.body["indexed"], expected);
    }
    let five = json!(["name", "category", "description", "currency", "base_price"]);
    let answer = register(&next(3), five).await;
    assert_eq!(answer.problem(422), "too_many_indexed_fields");
    let four = json!(["name", "category", "description", "currency", "sku"]);
    register(&next(3), four).await.expect(201);
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    assert_eq!(indexed(&world, &elsewhere, "product.created").await, json!(["sku"]));
}

#[tokio::test]
async fn only_names_of_scalar_fields_are_accepted_and_each_fault_is_named() {
    let (world, staff) = (World::new().await, Person::staff());
    for (fields, faults) in [
        (json!(["tags"]), &["/indexed/0"][..]),
        (
            json!(["colour", "mixed", "odd", "any", "missing"]),
            &["/indexed/1", "/indexed/2", "/indexed/3", "/indexed/4"],
        ),
        (json!(["colour", "colour"]), &["/indexed/1"]),
        (
            json!(["été", "", "1", "a.b"]),
            &["/indexed/0", "/indexed/1", "/indexed/2", "/indexed/3"],
        ),
        (json!(["colour", "size", "a", "b", "c", "d"]), &["/indexed"]),
    ] {
        let answer = world.post(&staff, "/events/types", widget_indexed("1.0", fields)).await;
        assert_eq!(answer.problem(422), "invalid_event_type");
        let errors = answer.body["errors"].as_array().unwrap();
        let pointers: Vec<&str> = errors.iter().map(|e| e["pointer"].as_str().unwrap()).collect();
        assert_eq!(pointers, faults);
    }
    for fields in [json!("colour"), json!([1]), json!({"colour": true})] {
        let answer = world.post(&staff, "/events/types", widget_indexed("1.0", fields)).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
    }
    // A field of an earlier version is in events that are stored at that version.
    world
        .post(&staff, "/events/types", widget_indexed("1.0", json!(["colour"])))
        .await
        .expect(201);
    let renamed = widget_with(
        json!({"version": "2.0", "indexed": ["colour", "paint"], "example": {"paint": "red"},
        "schema": {"type": "object", "required": ["paint"], "properties": {"paint": {"type": "string"}}},
        "upcasters": [{"from_version": "1.0", "steps": [{"rename": {"colour": "paint"}}]}]}),
    );
    let answer = world.post(&staff, "/events/types", renamed).await.expect(201);
    assert_eq!(answer.body["indexed"], json!(["colour", "paint"]));
}

/// A tenant cannot make the sweep work without bounds, not even by declaring and dropping fields again and again.
#[tokio::test]
async fn a_tenant_has_at_most_a_hundred_indexed_fields() {
    let (world, staff) = (World::new().await, Person::staff());
    world
        .post(&staff, "/events/types", widget_indexed("1.0", json!(["a"])))
        .await
        .expect(201);
    let more = "insert into annals.indexed_fields (tenant_id, event_type, field, is_dropped, created_by)
        select '00000000-0000-0000-0000-000000000000', 'other.type', 'f' || n, n > 50, 'system' from generate_series(1, 99) as n";
    world.superuser().await.batch_execute(more).await.unwrap();
    let answer = world
        .post(&staff, "/events/types", widget_indexed("1.1", json!(["a", "b"])))
        .await;
    assert_eq!(answer.problem(422), "too_many_indexed_fields");
    assert_eq!(indexed(&world, &staff, "widget.made").await, json!(["a"]));
    world.projector.sweep().await.unwrap();
    world
        .post(&staff, "/events/types", widget_indexed("1.1", json!(["a", "b"])))
        .await
        .expect(201);
}

/// Migrations are checked only for the names of fields.
#[tokio::test]
async fn indexed_fields_of_built_in_types_are_scalars() {
    let world = World::new().await;
    let mut fields = 0;
    for kind in world.all_pages(&Person::staff(), "/events/types?limit=1000").await {
        for field in kind["indexed"].as_array().unwrap() {
            let field = field.as_str().unwrap();
            let versions = kind["versions"].as_array().unwrap();
            assert!(
                versions
                    .iter()
                    .any(|version| has_scalar_field(&version["schema"], field)),
                "{field}"
            );
            fields += 1;
        }
    }
    assert!(fields > 0);
    let unknown = "select annals.declare_indexed('product.created', 'colour')";
    let error = world.owner().await.batch_execute(unknown).await.unwrap_err();
    assert!(
        error
            .as_db_error()
            .unwrap()
            .message()
            .contains("no version of product.created has a field colour")
    );
}
