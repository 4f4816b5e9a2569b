//! Generic CRUD: what comes in as fields goes into the log as created, updated and deleted, and comes back as state.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Person, World, redacted};

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

async fn patch_if(world: &World, person: &Person, tag: &str, body: Value) -> Answer {
    world
        .request(Method::PATCH, person, ADA, &[("if-match", tag)], Some(body))
        .await
}

#[tokio::test]
async fn what_is_created_is_answered_with_its_state_and_tag() {
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
        assert_eq!(
            (read.header("etag"), &read.body["projected_version"]),
            (Some("\"1\""), &json!(projected))
        );
        assert_eq!(read.body["state"], created.body["state"]);
        world.project().await;
    }
}

#[tokio::test]
async fn an_entity_without_an_id_is_given_one_and_odd_ids_come_back_in_the_location() {
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
async fn an_update_records_old_and_new_of_what_changes_and_nothing_else() {
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
    // A field goes by null.
    world.patch(&staff, ADA, json!({"phone": null})).await.expect(200);
    assert_eq!(
        history(&world, "C-1").await[2]["data"],
        json!({"changes": {"phone": {"old": "1", "new": null}}})
    );
}

#[tokio::test]
async fn an_update_that_changes_nothing_is_no_event() {
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
async fn if_match_lets_only_the_version_through_that_it_names() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    for tag in ["\"0\"", "\"2\"", "\"99\""] {
        assert_eq!(
            patch_if(&world, &staff, tag, json!({"name": "Eve"})).await.problem(412),
            "version_mismatch",
            "{tag}"
        );
        let answer = world
            .request(Method::DELETE, &staff, ADA, &[("if-match", tag)], None)
            .await;
        assert_eq!(answer.problem(412), "version_mismatch", "{tag}");
        // Not even where nothing would change.
        assert_eq!(
            patch_if(&world, &staff, tag, json!({"name": "Ada"})).await.problem(412),
            "version_mismatch"
        );
    }
    for tag in ["1", "\"one\"", "\"\"", "", "\"1", "W/\"1", "\"99999999999\""] {
        assert_eq!(
            patch_if(&world, &staff, tag, json!({"name": "Eve"})).await.problem(400),
            "invalid_if_match",
            "{tag}"
        );
    }
    assert_eq!(world.log().await, before);
    patch_if(&world, &staff, "\"1\"", json!({"name": "Eve"}))
        .await
        .expect(200);
    patch_if(&world, &staff, "*", json!({"name": "Ada"})).await.expect(200);
    assert_eq!(
        patch_if(&world, &staff, "\"1\"", json!({"name": "Eve"}))
            .await
            .problem(412),
        "version_mismatch"
    );
    world
        .request(Method::DELETE, &staff, ADA, &[("if-match", "\"3\"")], None)
        .await
        .expect(200);
}

#[tokio::test]
async fn of_simultaneous_updates_of_one_version_one_wins_and_without_a_version_all_do() {
    let (world, staff) = with_ada().await;
    let tied = (0..8).map(|n| patch_if(&world, &staff, "\"1\"", json!({"phone": n.to_string()})));
    let mut statuses: Vec<u16> = futures_util::future::join_all(tied.collect::<Vec<_>>())
        .await
        .iter()
        .map(|a| a.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    let free = (0..8).map(|n| world.patch(&staff, ADA, json!({"segment": format!("S{n}")})));
    for answer in futures_util::future::join_all(free.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    let events = history(&world, "C-1").await;
    assert_eq!(events.len(), 10);
    // Each says truly what it found.
    for pair in events[2..].windows(2) {
        assert_eq!(
            pair[1]["data"]["changes"]["segment"]["old"],
            pair[0]["data"]["changes"]["segment"]["new"]
        );
    }
}

#[tokio::test]
async fn deletion_marks_and_keeps() {
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
async fn bad_fields_are_named_as_the_client_sent_them() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    let pointer = |answer: &Answer| answer.body["errors"][0]["pointer"].as_str().unwrap().to_owned();
    for (body, status, code, at) in [
        (json!({"id": "C-2", "name": 1}), 422, "schema_violation", "/name"),
        (json!({"id": "C-2"}), 422, "schema_violation", ""),
        (json!({"id": 1, "name": "N"}), 400, "malformed_request", "/id"),
        (json!({"id": "", "name": "N"}), 400, "malformed_request", "/id"),
        (json!({"id": "a\nb", "name": "N"}), 400, "malformed_request", "/id"),
        (
            json!({"id": "x".repeat(129), "name": "N"}),
            400,
            "malformed_request",
            "/id",
        ),
        (json!([]), 400, "malformed_request", ""),
    ] {
        let answer = world.post(&staff, "/entities/customer", body).await;
        assert_eq!(
            (answer.problem(status), pointer(&answer).as_str()),
            (code, at),
            "{}",
            answer.text
        );
    }
    for (body, status, code, at) in [
        (json!({"email": "nobody"}), 422, "schema_violation", "/email"),
        (json!({"name": null}), 422, "schema_violation", "/name"),
        (json!("Ada"), 400, "malformed_request", ""),
    ] {
        let answer = world.patch(&staff, ADA, body).await;
        assert_eq!(
            (answer.problem(status), pointer(&answer).as_str()),
            (code, at),
            "{}",
            answer.text
        );
    }
    let answer = world.patch(&staff, ADA, json!({"colour": "red"})).await;
    assert_eq!(answer.problem(422), "schema_violation");
    assert!(!pointer(&answer).starts_with("/data"), "{}", answer.text);
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn unknown_entities_types_and_parameters_are_refused() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    assert_eq!(
        world.post(&staff, "/entities/customer", ada()).await.problem(409),
        "already_exists"
    );
    assert_eq!(
        world
            .patch(&staff, "/entities/customer/C-9", json!({"name": "N"}))
            .await
            .problem(404),
        "not_found"
    );
    assert_eq!(
        world.delete(&staff, "/entities/customer/C-9").await.problem(404),
        "not_found"
    );
    for kind in ["nothing", "Customer", "customer.created", "a%0Ab"] {
        assert_eq!(
            world
                .post(&staff, &format!("/entities/{kind}"), json!({"name": "N"}))
                .await
                .problem(404),
            "not_found",
            "{kind}"
        );
        assert_eq!(
            world
                .patch(&staff, &format!("/entities/{kind}/C-1"), json!({"name": "N"}))
                .await
                .problem(404),
            "not_found",
            "{kind}"
        );
    }
    let long = "r".repeat(1001);
    for query in [
        "colour=red",
        &*format!("reason={long}"),
        "correlation_id=",
        "causation_id=1",
        "expected_version=1",
        "reason=a&reason=b",
    ] {
        assert_eq!(
            world
                .patch(&staff, &format!("{ADA}?{query}"), json!({"name": "N"}))
                .await
                .problem(400),
            "invalid_parameter",
            "{query}"
        );
        assert_eq!(
            world.delete(&staff, &format!("{ADA}?{query}")).await.problem(400),
            "invalid_parameter",
            "{query}"
        );
        assert_eq!(
            world
                .post(&staff, &format!("/entities/customer?{query}"), json!({"name": "N"}))
                .await
                .problem(400),
            "invalid_parameter"
        );
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn modules_with_verbs_of_their_own_are_not_edited_generically() {
    let world = World::new().await;
    let staff = Person::staff();
    world
        .append(&staff, "agent.decision_proposed", "D-1", json!({"decision": "x"}))
        .await;
    let before = world.log().await;
    let answers = [
        world.post(&staff, "/entities/agent", json!({"decision": "y"})).await,
        world
            .patch(&staff, "/entities/agent/D-1", json!({"decision": "y"}))
            .await,
        world.delete(&staff, "/entities/agent/D-1").await,
    ];
    for answer in answers {
        assert_eq!(answer.problem(405), "no_generic_edit");
    }
    assert_eq!(world.log().await, before);
    let entity = world.get(&staff, "/entities/agent/D-1").await.expect(200);
    assert_eq!(entity.body["state"], json!({"decision": "x", "status": "proposed"}));
}

#[tokio::test]
async fn crud_keeps_to_the_posters_of_its_events() {
    let (world, _) = with_ada().await;
    let user = Person::user();
    let before = world.log().await;
    assert_eq!(
        world
            .post(&user, "/entities/customer", json!({"name": "N"}))
            .await
            .problem(403),
        "event_type_forbidden"
    );
    assert_eq!(world.log().await, before);
    let order = world
        .post(&user, "/entities/order", json!({"id": "O-1", "customer_id": "C-1"}))
        .await
        .expect(201);
    assert_eq!(order.body["version"], 1);
    assert_eq!(
        world
            .patch(&user, "/entities/order/O-1", json!({"notes": "x"}))
            .await
            .problem(403),
        "event_type_forbidden"
    );
    assert_eq!(
        world.delete(&user, "/entities/order/O-1").await.problem(403),
        "event_type_forbidden"
    );
    let paid = json!({"id": "O-2", "customer_id": "C-1", "payment_status": "received"});
    assert_eq!(
        world.post(&user, "/entities/order", paid).await.problem(422),
        "schema_violation"
    );
}

#[tokio::test]
async fn a_retried_creation_returns_what_the_first_one_made() {
    let world = World::new().await;
    let staff = Person::staff();
    let create = async |key: &str, body: Value| {
        world
            .request(
                Method::POST,
                &staff,
                "/entities/customer",
                &[("idempotency-key", key)],
                Some(body),
            )
            .await
    };
    for (key, body) in [("named", ada()), ("unnamed", json!({"name": "Grace"}))] {
        let first = create(key, body.clone()).await.expect(201);
        let again = create(key, body).await.expect(200);
        assert_eq!(again.body, first.body);
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(
            create(key, json!({"name": "Somebody else"})).await.problem(422),
            "idempotency_key_reused"
        );
    }
    assert_eq!(world.log().await.events, 2);
    assert_eq!(create("", ada()).await.problem(400), "invalid_idempotency_key");
}

#[tokio::test]
async fn a_retried_change_changes_nothing_more() {
    let (world, staff) = with_ada().await;
    let change = async |method: Method, key: &str, tag: &str, body: Option<Value>| {
        world
            .request(
                method,
                &staff,
                ADA,
                &[("idempotency-key", key), ("if-match", tag)],
                body,
            )
            .await
    };
    let moved = Some(json!({"email": "new@example.com", "name": "Ada"}));
    change(Method::PATCH, "k-1", "\"1\"", moved.clone()).await.expect(200);
    // Somebody else has been there meanwhile: the retry must not take that back.
    world
        .patch(&staff, ADA, json!({"email": "newer@example.com"}))
        .await
        .expect(200);
    let again = change(Method::PATCH, "k-1", "\"1\"", moved).await.expect(200);
    assert_eq!(
        (&again.body["version"], &again.body["state"]["email"]),
        (&json!(3), &json!("newer@example.com"))
    );
    let other = Some(json!({"email": "other@example.com"}));
    assert_eq!(
        change(Method::PATCH, "k-1", "*", other).await.problem(422),
        "idempotency_key_reused"
    );
    assert_eq!(
        change(Method::DELETE, "k-1", "*", None).await.problem(422),
        "idempotency_key_reused"
    );
    change(Method::DELETE, "k-2", "\"3\"", None).await.expect(200);
    let again = change(Method::DELETE, "k-2", "\"3\"", None).await.expect(200);
    assert_eq!(
        (&again.body["version"], &again.body["deleted"]),
        (&json!(4), &json!(true))
    );
    assert_eq!(world.log().await.events, 4);
}

#[tokio::test]
async fn lists_hold_the_entities_of_a_kind_with_their_latest_state() {
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
