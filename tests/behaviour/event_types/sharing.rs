//! Event types across tenants and processes, and concurrent registrations.

use serde_json::json;
use tests::{Person, World};
use uuid::Uuid;

use super::{post_widget, widget, widget_with};

#[tokio::test]
async fn a_tenants_types_are_its_own() {
    let world = World::new().await;
    let (here, there) = (
        Person::staff().in_tenant(Uuid::new_v4()),
        Person::staff().in_tenant(Uuid::new_v4()),
    );
    world.post(&here, "/events/types", widget()).await.expect(201);
    assert_eq!(
        world.get(&there, "/events/types/widget.made").await.problem(404),
        "not_found"
    );
    assert!(
        world
            .all_pages(&there, "/events/types?aggregate_type=widget")
            .await
            .is_empty()
    );
    assert_eq!(
        post_widget(&world, &there, "W-1", json!({"colour": "red"}))
            .await
            .problem(422),
        "unknown_event_type"
    );
    world.get(&there, "/entities/widget").await.problem(404);
    // Another tenant may use the same name for something else, and a tenant may make a built-in type stricter for itself.
    let theirs = widget_with(
        json!({"schema": {"type": "object", "required": ["size"]}, "example": {"size": 1}, "effect": "merge"}),
    );
    world.post(&there, "/events/types", theirs).await.expect(201);
    post_widget(&world, &there, "W-1", json!({"size": 1})).await.expect(201);
    post_widget(&world, &here, "W-1", json!({"colour": "red"}))
        .await
        .expect(201);
    let strict = json!({"event_type": "customer.created", "version": "2.0", "example": {"name": "N", "vat": "1"},
                        "schema": {"type": "object", "required": ["name", "vat"]},
                        "upcasters": [{"from_version": "1.0", "steps": [{"default": {"vat": ""}}]}]});
    assert_eq!(
        world.post(&here, "/events/types", strict).await.expect(201).body["built_in"],
        false
    );
    let customer = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-1", "data": {"name": "N"}});
    assert_eq!(
        world.post(&here, "/events", customer.clone()).await.problem(422),
        "schema_violation"
    );
    assert_eq!(
        world.post(&there, "/events", customer.clone()).await.expect(201).body["version"],
        "1.0"
    );
    let mut old = customer;
    old["version"] = json!("1.0");
    world.post(&here, "/events", old).await.expect(201);
    world.project().await;
    let entity = world.get(&there, "/entities/widget/W-1").await.expect(200);
    assert_eq!(
        (&entity.body["state"], &entity.body["projected_version"]),
        (&json!({"size": 1}), &json!(1))
    );
}

#[tokio::test]
async fn another_process_uses_a_new_type_and_a_stricter_schema_immediately() {
    let world = World::new().await;
    let elsewhere = world.elsewhere();
    let staff = Person::staff();
    // Both processes have read the catalog now.
    for process in [&world, &elsewhere] {
        process
            .append(
                &staff,
                "customer.created",
                &Uuid::new_v4().to_string(),
                json!({"name": "N"}),
            )
            .await;
    }
    world.post(&staff, "/events/types", widget()).await.expect(201);
    post_widget(&elsewhere, &staff, "W-1", json!({"colour": "red"}))
        .await
        .expect(201);
    elsewhere.get(&staff, "/entities/widget/W-1").await.expect(200);
    elsewhere.project().await;
    // After a stricter version, the other process must refuse what its cached copy would accept.
    let stricter = json!({"event_type": "widget.made", "version": "2.0", "example": {"colour": "red", "size": 1},
                          "schema": {"type": "object", "required": ["colour", "size"]},
                          "upcasters": [{"from_version": "1.0", "steps": [{"default": {"size": 0}}]}]});
    world.post(&staff, "/events/types", stricter).await.expect(201);
    let before = world.log().await;
    for body in [json!({"colour": "red"}), json!({})] {
        assert_eq!(
            post_widget(&elsewhere, &staff, "W-2", body).await.problem(422),
            "schema_violation"
        );
    }
    assert_eq!(world.log().await, before);
    // After a looser version it must accept what its cached copy would refuse, also in a batch.
    let looser = json!({"event_type": "widget.made", "version": "3.0", "example": {}, "schema": {"type": "object"},
                        "upcasters": [{"from_version": "2.0", "steps": []}]});
    world.post(&staff, "/events/types", looser).await.expect(201);
    let event =
        json!({"event_type": "widget.made", "aggregate_type": "widget", "aggregate_id": "W-3", "data": {"weight": 1}});
    let answer = elsewhere
        .post(&staff, "/events", json!({"events": [event.clone(), event]}))
        .await
        .expect(201);
    assert_eq!(answer.items()[1]["version"], "3.0");
    // A change of the posters takes effect immediately, too.
    let closed = json!({"event_type": "widget.made", "version": "3.1", "example": {}, "schema": {"type": "object"}, "posters": ["staff"]});
    elsewhere.post(&staff, "/events/types", closed).await.expect(201);
    assert_eq!(
        post_widget(&world, &Person::user(), "W-4", json!({}))
            .await
            .problem(403),
        "event_type_forbidden"
    );
    let found = world.get(&staff, "/events?event_type=widget.*").await.expect(200);
    assert_eq!(found.items().len(), 3);
}

#[tokio::test]
async fn of_concurrent_registrations_of_one_version_one_wins() {
    let world = World::new().await;
    let staff = Person::staff();
    let tries = (0..8).map(|_| world.post(&staff, "/events/types", widget()));
    let mut statuses: Vec<u16> = futures_util::future::join_all(tries)
        .await
        .iter()
        .map(|a| a.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [201, 409, 409, 409, 409, 409, 409, 409]);
    assert_eq!(
        world.get(&staff, "/events/types/widget.made").await.expect(200).body["versions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}
