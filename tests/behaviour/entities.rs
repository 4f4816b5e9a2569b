//! Generic CRUD: writes become created, updated and deleted events in the log, and reads return the state.

mod conditions;
mod equal_values;
mod etags;
mod kept_keys;
mod merge_patch;
mod reasons;
mod refusals;
mod retries;
mod strict;

use serde_json::{Value, json};
use tests::{Person, World, redacted};

const ADA: &str = "/entities/customer/C-1";

fn ada() -> Value {
    json!({"id": "C-1", "name": "Ada", "email": "ada@example.com"})
}

/// A world in which staff has created Ada.
async fn with_ada() -> (World, Person) {
    let world = World::new().await;
    let staff = Person::staff();
    world.post(&staff, "/entities/customer", ada()).await.expect(201);
    (world, staff)
}

async fn history(world: &World, id: &str) -> Vec<Value> {
    world
        .all_pages(&Person::staff(), &format!("/events/aggregate/customer/{id}/history"))
        .await
}

#[tokio::test]
async fn a_created_entity_is_answered_with_its_state_and_etag() {
    let world = World::new().await;
    let staff = Person::staff();
    let created = world.post(&staff, "/entities/customer", ada()).await.expect(201);
    insta::assert_snapshot!(redacted(&created.body), @r#"
    {
      "aggregate_id": "C-1",
      "aggregate_type": "customer",
      "created_at": "[time]",
      "deleted": false,
      "projected_version": 0,
      "started_by": "user:[uuid]",
      "state": {
        "email": "ada@example.com",
        "name": "Ada"
      },
      "updated_at": "[time]",
      "version": 1
    }
    "#);
    assert_eq!(created.header("etag"), Some("\"1\""));
    assert_eq!(created.header("location"), Some("/api/v1/entities/customer/C-1"));
    let events = history(&world, "C-1").await;
    assert_eq!(
        (&events[0]["event_type"], &events[0]["data"]),
        (
            &json!("customer.created"),
            &json!({"name": "Ada", "email": "ada@example.com"})
        )
    );
    for projected in [0, 1] {
        let read = world.get(&staff, ADA).await.expect(200);
        assert!(read.header("etag").is_some_and(|tag| tag.starts_with("\"1-")));
        assert_eq!(read.body["projected_version"], projected);
        assert_eq!(read.body["state"], created.body["state"]);
        world.project().await;
    }
}

#[tokio::test]
async fn an_entity_without_an_id_gets_one_and_unusual_ids_are_escaped_in_the_location() {
    let world = World::new().await;
    let staff = Person::staff();
    for (body, id) in [
        (json!({"name": "N"}), None),
        (json!({"id": null, "name": "N"}), None),
        (json!({"id": "a/b ü%?#", "name": "N"}), Some("a/b ü%?#")),
    ] {
        let created = world.post(&staff, "/entities/customer", body).await.expect(201);
        if let Some(id) = id {
            assert_eq!(created.body["aggregate_id"], id);
        }
        let location = created
            .header("location")
            .unwrap()
            .strip_prefix("/api/v1")
            .unwrap()
            .to_owned();
        let found = world.get(&staff, &location).await.expect(200);
        assert_eq!(found.body["aggregate_id"], created.body["aggregate_id"]);
    }
}

#[tokio::test]
async fn an_update_records_old_and_new_values_of_changed_fields_only() {
    let (world, staff) = with_ada().await;
    let body = json!({"email": "countess@example.com", "phone": "1", "name": "Ada"});
    let answer = world
        .patch(&staff, &format!("{ADA}?reason=moved&correlation_id=flow-1"), body)
        .await
        .expect(200);
    assert_eq!(answer.header("etag"), Some("\"2\""));
    assert_eq!(
        answer.body["state"],
        json!({"name": "Ada", "email": "countess@example.com", "phone": "1"})
    );
    let event = &history(&world, "C-1").await[1];
    assert_eq!(event["event_type"], "customer.updated");
    assert_eq!(
        event["data"],
        json!({"changes": {"email": {"old": "ada@example.com", "new": "countess@example.com"}, "phone": {"old": null, "new": "1"}}})
    );
    assert_eq!(
        (&event["metadata"]["reason"], &event["correlation_id"]),
        (&json!("moved"), &json!("flow-1"))
    );
    // Null removes a field.
    world.patch(&staff, ADA, json!({"phone": null})).await.expect(200);
    assert_eq!(
        history(&world, "C-1").await[2]["data"],
        json!({"changes": {"phone": {"old": "1", "new": null}}})
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_appends_no_event() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    for body in [
        json!({}),
        json!({"name": "Ada"}),
        json!({"phone": null}),
        json!({"name": "Ada", "email": "ada@example.com"}),
    ] {
        let answer = world.patch(&staff, ADA, body).await.expect(200);
        assert_eq!(answer.header("etag"), Some("\"1\""));
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn a_deletion_marks_the_entity_and_keeps_its_state() {
    let (world, staff) = with_ada().await;
    world.project().await;
    let deleted = world.delete(&staff, &format!("{ADA}?reason=gdpr")).await.expect(200);
    assert_eq!(
        (&deleted.body["deleted"], deleted.header("etag")),
        (&json!(true), Some("\"2\""))
    );
    let event = &history(&world, "C-1").await[1];
    assert_eq!(
        (
            &event["event_type"],
            &event["data"]["name"],
            &event["metadata"]["reason"]
        ),
        (&json!("customer.deleted"), &json!("Ada"), &json!("gdpr"))
    );
    assert!(event["data"]["deleted_at"].is_string());
    let before = world.log().await;
    for _ in 0..2 {
        assert_eq!(world.get(&staff, ADA).await.expect(200).body["state"]["name"], "Ada");
        assert!(world.all_pages(&staff, "/entities/customer").await.is_empty());
        assert_eq!(
            world.all_pages(&staff, "/entities/customer?deleted=true").await.len(),
            1
        );
        assert_eq!(
            world.patch(&staff, ADA, json!({"name": "Eve"})).await.problem(409),
            "entity_deleted"
        );
        assert_eq!(world.delete(&staff, ADA).await.problem(409), "entity_deleted");
        assert_eq!(
            world.post(&staff, "/entities/customer", ada()).await.problem(409),
            "already_exists"
        );
        world.project().await;
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn a_list_has_all_entities_of_a_type_with_their_latest_state() {
    let (world, staff) = with_ada().await;
    world.project().await;
    world.patch(&staff, ADA, json!({"phone": "1"})).await.expect(200);
    world
        .post(&staff, "/entities/customer", json!({"id": "C-0", "name": "Grace"}))
        .await
        .expect(201);
    world
        .post(&staff, "/entities/dealer", json!({"id": "C-2", "name": "D"}))
        .await
        .expect(201);
    let list = world.get(&staff, "/entities/customer").await.expect(200);
    insta::assert_snapshot!(redacted(&list.body), @r#"
    {
      "items": [
        {
          "aggregate_id": "C-0",
          "aggregate_type": "customer",
          "created_at": "[time]",
          "deleted": false,
          "projected_version": 0,
          "started_by": "user:[uuid]",
          "state": {
            "name": "Grace"
          },
          "updated_at": "[time]",
          "version": 1
        },
        {
          "aggregate_id": "C-1",
          "aggregate_type": "customer",
          "created_at": "[time]",
          "deleted": false,
          "projected_version": 1,
          "started_by": "user:[uuid]",
          "state": {
            "email": "ada@example.com",
            "name": "Ada",
            "phone": "1"
          },
          "updated_at": "[time]",
          "version": 2
        }
      ],
      "next_cursor": null
    }
    "#);
    for bad in ["deleted=yes", "colour=red", "at=2026-01-01T00:00:00Z&version=x"] {
        assert_eq!(
            world
                .get(&staff, &format!("/entities/customer?{bad}"))
                .await
                .problem(400),
            "invalid_parameter",
            "{bad}"
        );
    }
}
