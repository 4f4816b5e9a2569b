//! Unknown fields are refused at creation as well as at a change, and answers about deleted entities say that they are deleted.

use serde_json::{Value, json};
use tests::{Person, World};

use super::{ADA, ada, history, with_ada};

#[tokio::test]
async fn the_refusal_of_an_unknown_field_lists_the_known_fields() {
    let (world, staff) = (World::new().await, Person::staff());
    let pump = json!({"id": "P-1", "sku": "S", "name": "Pump"});
    world.post(&staff, "/entities/product", pump).await.expect(201);
    let before = world.log().await;
    let created = json!({"sku": "T", "name": "Pump", "colr": "red", "nmae": null});
    let answers = [
        world.post(&staff, "/entities/product", created).await,
        world
            .patch(
                &staff,
                "/entities/product/P-1",
                json!({"colr": "red", "nmae": null, "name": "P"}),
            )
            .await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(422), "schema_violation");
        let errors = answer.body["errors"].as_array().unwrap();
        let faults: Vec<(&Value, &Value)> = errors.iter().map(|e| (&e["pointer"], &e["code"])).collect();
        let unknown = json!("unknown_field");
        assert_eq!(faults, [(&json!("/colr"), &unknown), (&json!("/nmae"), &unknown)]);
        let detail = errors[0]["detail"].as_str().unwrap();
        assert!(
            detail.contains("no field colr") && detail.contains("base_price, category"),
            "{detail}"
        );
    }
    assert_eq!(world.log().await, before);
}

/// Every module with generic edits.
#[tokio::test]
async fn every_module_checks_creations_as_strictly_as_changes() {
    let (world, staff) = (World::new().await, Person::staff());
    let types = world.get(&staff, "/events/types").await.expect(200);
    let mut modules = 0;
    for kind in types.items() {
        let name = kind["event_type"].as_str().unwrap();
        let Some(module) = name.strip_suffix(".created") else {
            continue;
        };
        let mut body = kind["example"].clone();
        body["nosuchfield"] = json!(1);
        let answer = world.post(&staff, &format!("/entities/{module}"), body).await;
        assert_eq!(answer.problem(422), "schema_violation", "{module}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/nosuchfield", "{module}");
        let created = world
            .post(&staff, &format!("/entities/{module}"), kind["example"].clone())
            .await;
        assert_eq!(created.status, 201, "{module}: {}", created.text);
        modules += 1;
    }
    assert!(modules >= 10, "{modules}");
}

/// Every type whose effect stores each field of its data, at every version, by a single event, a batch and SQL.
#[tokio::test]
async fn an_event_with_a_field_that_its_schema_does_not_list_is_refused_over_http_and_sql() {
    let (world, service) = (World::new().await, Person::service("crm"));
    let session = world.session_of(&service).await;
    let before = world.log().await;
    let types = world.all_pages(&service, "/events/types").await;
    let stores_all = |effect: &Value| {
        let of_child = |keyword| effect.get(keyword).is_some();
        effect == "create" || effect == "merge" || of_child("add_child") || of_child("update_child")
    };
    let open = types
        .iter()
        .filter(|kind| stores_all(&kind["effect"]) && kind["closed"] == false);
    let mut tried = 0;
    for kind in open {
        for version in kind["versions"].as_array().unwrap() {
            let mut data = version["example"].clone();
            data["nosuchfield"] = json!(1);
            let what = format!("{} {}", kind["event_type"], version["version"]);
            let event = json!({"event_type": kind["event_type"], "aggregate_type": kind["aggregate_type"], "aggregate_id": "X",
                               "version": version["version"], "data": data});
            for body in [event.clone(), json!({"events": [event]})] {
                let answer = world.post(&service, "/events", body).await;
                assert_eq!(answer.problem(422), "schema_violation", "{what}");
            }
            let by_sql = session
                .execute("select public.post_event($1::text::jsonb)", &[&event.to_string()])
                .await
                .unwrap_err();
            assert_eq!(
                by_sql.as_db_error().unwrap().constraint(),
                Some("schema_violation"),
                "{what}"
            );
            tried += 1;
        }
    }
    assert!(tried >= 40, "{tried}");
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn a_module_with_open_schemas_accepts_any_field() {
    let (world, staff) = (World::new().await, Person::staff());
    for (action, effect, example) in [
        ("created", "create", json!({})),
        ("updated", "changes", json!({"changes": {}})),
    ] {
        let kind = json!({"event_type": format!("gadget.{action}"), "aggregate_type": "gadget", "description": "Happened.",
                          "effect": effect, "schema": {"type": "object"}, "example": example});
        world.post(&staff, "/events/types", kind).await.expect(201);
    }
    let body = json!({"id": "G-1", "colr": "red", "none": null});
    let created = world.post(&staff, "/entities/gadget", body).await.expect(201);
    assert_eq!(created.body["state"], json!({"colr": "red"}));
    let patched = world
        .patch(&staff, "/entities/gadget/G-1", json!({"size": 1}))
        .await
        .expect(200);
    assert_eq!(patched.body["state"]["size"], 1);
}

#[tokio::test]
async fn a_field_of_a_version_registered_by_another_process_is_known_immediately() {
    let (world, staff) = (World::new().await, Person::staff());
    let elsewhere = world.elsewhere();
    elsewhere.post(&staff, "/entities/customer", ada()).await.expect(201);
    let types = world
        .get(&staff, "/events/types/customer.created")
        .await
        .expect(200)
        .body;
    let mut schema = types["schema"].clone();
    schema["properties"]["colour"] = json!({"type": "string"});
    let kind =
        json!({"event_type": "customer.created", "version": "1.1", "schema": schema, "example": types["example"]});
    world.post(&staff, "/events/types", kind).await.expect(201);
    let body = json!({"name": "N", "colour": "red"});
    elsewhere.post(&staff, "/entities/customer", body).await.expect(201);
}

#[tokio::test]
async fn creating_a_deleted_entity_is_refused_with_the_deletion_and_how_to_restore_it() {
    let (world, staff) = with_ada().await;
    let taken = world.post(&staff, "/entities/customer", ada()).await;
    assert_eq!(taken.problem(409), "already_exists");
    assert!(!taken.text.contains("deleted"), "{}", taken.text);
    world.delete(&staff, ADA).await.expect(200);
    let deletion = &history(&world, "C-1").await[1];
    let (id, at) = (
        deletion["id"].as_str().unwrap(),
        deletion["created_at"].as_str().unwrap(),
    );
    let answers = [
        (world.post(&staff, "/entities/customer", ada()).await, "already_exists"),
        (world.patch(&staff, ADA, json!({"name": "Eve"})).await, "entity_deleted"),
        (world.delete(&staff, ADA).await, "entity_deleted"),
    ];
    for (answer, code) in &answers {
        assert_eq!(answer.problem(409), *code);
        let detail = answer.body["detail"].as_str().unwrap();
        let way_back = format!("/api/v1/events/{id}/compensate");
        assert!(
            detail.contains("was deleted at") && detail.contains(at) && detail.contains(&way_back),
            "{detail}"
        );
    }
    assert_eq!(answers[0].0.body["errors"][0]["code"], "entity_deleted");
    world
        .post(&staff, &format!("/events/{id}/compensate"), json!({}))
        .await
        .expect(201);
    assert_eq!(world.get(&staff, ADA).await.expect(200).body["deleted"], false);
}
