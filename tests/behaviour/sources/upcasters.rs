//! "Validate event migrations" in the documentation: one list of all upcasters.

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

fn keys(list: &[Value]) -> Vec<String> {
    let text = |item: &Value, name: &str| item[name].as_str().unwrap().to_owned();
    let key = |item: &Value| {
        format!(
            "{} {} → {}",
            text(item, "event_type"),
            text(item, "from_version"),
            text(item, "to_version")
        )
    };
    list.iter().map(key).collect()
}

#[tokio::test]
async fn all_upcasters_are_in_one_paged_list() {
    let (world, user) = (World::new().await, Person::user());
    let all = world.all_pages(&user, "/events/upcasters").await;
    let built_in = all
        .iter()
        .find(|item| item["event_type"] == "opportunity.created")
        .unwrap();
    assert_eq!(
        (
            &built_in["from_version"],
            &built_in["to_version"],
            &built_in["built_in"],
            &built_in["tenant_id"]
        ),
        (&json!("1.0"), &json!("2.0"), &json!(true), &Value::Null)
    );
    assert!(
        built_in["steps"].as_array().is_some_and(|steps| !steps.is_empty()),
        "{built_in}"
    );
    assert_eq!(world.all_pages(&user, "/events/upcasters?limit=2").await, all);
    let of_type = world
        .all_pages(&user, "/events/upcasters?event_type=opportunity.created")
        .await;
    assert!(!of_type.is_empty() && of_type.iter().all(|item| item["event_type"] == "opportunity.created"));
    // Upcasters that change something are counted in the figures.
    let changing = all.iter().filter(|item| item["steps"] != json!([])).count();
    let health = world.get(&user, "/status").await.expect(200).body;
    assert_eq!(health["health"]["upcasters_registered"], changing);
    for (query, code) in [("?nosuch=1", "invalid_parameter"), ("?cursor=x", "invalid_cursor")] {
        let refused = world.get(&user, &format!("/events/upcasters{query}")).await;
        assert_eq!(refused.problem(400), code);
    }
    let mut foreign = world.get(&user, "/events/types?limit=1").await.expect(200).body;
    let cursor = foreign["next_cursor"].take();
    let refused = world
        .get(&user, &format!("/events/upcasters?cursor={}", cursor.as_str().unwrap()))
        .await;
    assert_eq!(refused.problem(400), "invalid_cursor");
}

#[tokio::test]
async fn a_tenants_own_upcasters_are_listed_for_it_alone_in_numeric_order_of_versions() {
    let (world, staff) = (World::new().await, Person::staff());
    let other = Person::staff().in_tenant(Uuid::new_v4());
    let kind = |version: &str| {
        json!({"event_type": "widget.made", "aggregate_type": "widget", "version": version, "description": "Was made.", "effect": "create",
               "posters": ["staff"], "schema": {"type": "object"}, "example": {}})
    };
    for version in ["1.8", "1.9", "1.10", "1.11"] {
        world.post(&staff, "/events/types", kind(version)).await.expect(201);
    }
    let path = "/events/upcasters?event_type=widget.made";
    let own = world.all_pages(&staff, &format!("{path}&limit=1")).await;
    assert_eq!(
        keys(&own),
        [
            "widget.made 1.8 → 1.9",
            "widget.made 1.9 → 1.10",
            "widget.made 1.10 → 1.11"
        ]
    );
    for item in &own {
        assert_eq!(
            (
                &item["built_in"],
                &item["tenant_id"],
                &item["created_by"],
                &item["steps"]
            ),
            (&json!(false), &json!(staff.tenant), &json!(staff.actor()), &json!([]))
        );
    }
    assert_eq!(world.all_pages(&other, path).await, Vec::<Value>::new());
}
