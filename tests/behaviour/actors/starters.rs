//! The actor that started a stream does not automatically see what others append to it. The starter sees those events where the catalog
//! says so (`starter_sees`), and the state only while no event is hidden.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{place_order, registered, with};

const EMAIL: &str = "carla@example.com";

/// A user starts streams under ids that the business uses later: by a file, by events and by CRUD.
async fn start_before_the_business() -> (World, Person, Person) {
    let world = World::new().await;
    let (mallory, staff) = (Person::user(), Person::staff());
    for id in ["CUST-5001", "CUST-5002", "CUST-5003", "CUST-5004"] {
        world.post(&mallory, "/events", registered(id)).await.expect(201);
    }
    world.project().await;
    let file = format!("customer_id,name,email,phone,segment\nCUST-5001,Carla,{EMAIL},+1-555-0100,Corporate\n");
    let upload = world.upload_file(&staff, "customers", &[], file).await.expect(200);
    assert_eq!(upload.body["rows_updated"], 1, "{}", upload.text);
    let phone = json!({"email": EMAIL});
    world
        .append(&staff, "customer.profile_updated", "CUST-5002", phone.clone())
        .await;
    world
        .patch(&staff, "/entities/customer/CUST-5003", phone.clone())
        .await
        .expect(200);
    // The same holds for a service that acts for another person.
    let for_another = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "CUST-5004",
                             "data": phone, "created_by": Person::user().actor()});
    world
        .post(&Person::service("crm"), "/events", for_another)
        .await
        .expect(201);
    (world, mallory, staff)
}

#[tokio::test]
async fn the_starter_sees_neither_events_of_others_nor_the_state_that_includes_them() {
    let (world, mallory, staff) = start_before_the_business().await;
    for projected in [false, true] {
        for place in 1..=4 {
            let id = format!("CUST-500{place}");
            let history = world
                .get(&mallory, &format!("/events/aggregate/customer/{id}/history"))
                .await
                .expect(200);
            assert_eq!(history.items().len(), 1, "{}", history.text);
            assert_eq!(
                history.items()[0]["changes"],
                Value::Null,
                "a state without hidden events would be wrong"
            );
            assert_eq!(
                world.get(&mallory, &format!("/audit/count/{id}")).await.body["count"],
                1
            );
            for path in [
                format!("/entities/customer/{id}"),
                format!("/entities/customer/{id}?version=2"),
                format!("/entities/customer/{id}?at=2100-01-01T00:00:00Z"),
                format!("/entities/customer/{id}?valid_at=2100-01-01T00:00:00Z"),
                // Older states are hidden too, because the answer must not depend on which later events are hidden.
                format!("/entities/customer/{id}?version=1"),
                format!("/entities/customer/{id}/diff?from=1&to=2"),
            ] {
                world.get(&mallory, &path).await.problem(404);
            }
            let patch = Some(json!({"name": "Mallory"}));
            world
                .request(Method::PATCH, &mallory, &format!("/entities/customer/{id}"), &[], patch)
                .await
                .problem(404);
            let seen = world.get(&staff, &format!("/entities/customer/{id}")).await.expect(200);
            assert_eq!(
                (&seen.body["state"]["email"], &seen.body["started_by"]),
                (&json!(EMAIL), &json!(mallory.actor()))
            );
        }
        for list in [
            "/events",
            "/audit/recent",
            "/events?aggregate_type=customer",
            &*format!("/audit/user/{}", mallory.sub),
        ] {
            let events = world.all_pages(&mallory, list).await;
            assert_eq!(events.len(), 4, "{list}");
            assert!(!json!(events).to_string().contains(EMAIL), "{list}");
        }
        assert_eq!(
            world.get(&mallory, "/events/stats").await.expect(200).body["total_events"],
            4
        );
        assert!(world.all_pages(&mallory, "/entities/customer").await.is_empty());
        world.project().await;
        assert!(projected || !world.all_pages(&staff, "/entities/customer").await.is_empty());
    }
}

#[tokio::test]
async fn the_starter_does_not_see_them_by_sql_either() {
    let (world, mallory, staff) = start_before_the_business().await;
    world.project().await;
    let snapshot = json!({"reason": "asked"});
    for place in 1..=4 {
        let path = format!("/entities/customer/CUST-500{place}/snapshots");
        let taken = world.post(&staff, &path, snapshot.clone()).await;
        assert!((200..300).contains(&taken.status), "{}", taken.text);
        assert!(
            world.get(&mallory, &path).await.body["items"]
                .as_array()
                .is_none_or(Vec::is_empty)
        );
    }
    let session = world.hostile(Some(&mallory)).await;
    for (question, expected) in [
        ("select count(*) from public.event_stream", 4),
        ("select count(*) from annals.events", 4),
        (
            "select count(*) from public.get_aggregate_events('customer', 'CUST-5001')",
            1,
        ),
        ("select count(*) from public.customers", 0),
        ("select count(*) from annals.entities", 0),
        ("select count(*) from annals.snapshots", 0),
    ] {
        let count: i64 = session.query_one(question, &[]).await.unwrap().get(0);
        assert_eq!(count, expected, "{question}");
    }
}

#[tokio::test]
async fn children_of_a_parent_with_hidden_events_are_hidden_too() {
    let world = World::new().await;
    let (mallory, staff, service) = (Person::user(), Person::staff(), Person::service("crm"));
    let begun = json!({"event_type": "organization.created", "aggregate_type": "organization", "aggregate_id": "ORG-1",
                       "data": {"name": "Theirs"}, "created_by": mallory.actor()});
    world.post(&service, "/events", begun).await.expect(201);
    let gst = |by: Value, id: &str| {
        json!({"event_type": "organization.gst.added", "aggregate_type": "organization", "aggregate_id": "ORG-1",
               "data": {"id": id, "gstin": "27AAPFU0939F1ZV"}, "created_by": by})
    };
    world
        .post(&service, "/events", gst(json!(mallory.actor()), "g-1"))
        .await
        .expect(201);
    world.project().await;
    let session = world.hostile(Some(&mallory)).await;
    let children = async || -> i64 {
        let count = "select count(*) from public.organization_gst_registrations";
        session.query_one(count, &[]).await.unwrap().get(0)
    };
    assert_eq!(children().await, 1);
    world.post(&staff, "/events", gst(Value::Null, "g-2")).await.expect(201);
    // Immediately, not only after projection.
    assert_eq!(children().await, 0);
    world.project().await;
    assert_eq!(children().await, 0);
}

/// Agents have no user id, and neither have events of services. Two missing user ids must not count as equal.
#[tokio::test]
async fn events_of_a_service_are_hidden_from_the_agent_that_started_the_stream() {
    let (world, agent, service) = (World::new().await, Person::agent("pricing"), Person::service("crm"));
    for id in ["D-0", "D-1"] {
        world
            .append(&agent, "agent.decision_proposed", id, json!({"decision": "sell"}))
            .await;
    }
    world.project().await;
    world
        .append(&service, "agent.decision_rejected", "D-1", json!({"reason": "secret"}))
        .await;
    for projected in [false, true] {
        for path in [
            "/entities/agent/D-1",
            "/entities/agent/D-1?version=2",
            "/entities/agent/D-1?version=1",
            "/entities/agent/D-1?at=2100-01-01T00:00:00Z",
            "/entities/agent/D-1?valid_at=2100-01-01T00:00:00Z",
            "/entities/agent/D-1/diff?from=1&to=2",
        ] {
            world.get(&agent, path).await.problem(404);
        }
        let listed = world.all_pages(&agent, "/entities/agent").await;
        let ids: Vec<&Value> = listed.iter().map(|entity| &entity["aggregate_id"]).collect();
        assert_eq!(ids, ["D-0"], "projected: {projected}");
        for path in ["/audit/entity/D-1", "/events/aggregate/agent/D-1/history"] {
            let events = world.all_pages(&agent, path).await;
            assert_eq!(events.len(), 1, "{path}");
            assert_eq!(events[0]["changes"], Value::Null, "{path}");
        }
        world.project().await;
    }
    let snapshots = "/entities/agent/D-1/snapshots";
    let taken = world
        .post(&Person::staff(), snapshots, json!({"reason": "asked"}))
        .await;
    assert!((200..300).contains(&taken.status), "{}", taken.text);
    let session = world.hostile(Some(&agent)).await;
    for (table, expected) in [
        ("public.agent_decisions", "D-0"),
        ("annals.entities", "D-0"),
        ("annals.snapshots", ""),
    ] {
        let column = if table.starts_with("public") {
            "id"
        } else {
            "aggregate_id"
        };
        let sql = format!("select coalesce(string_agg({column}, ','), '') from {table}");
        let ids: String = session.query_one(&sql, &[]).await.unwrap().get(0);
        assert_eq!(ids, expected, "{table}");
    }
    // The agent sees events that the service appends in the agent's name.
    let for_agent = json!({"event_type": "agent.decision_rejected", "aggregate_type": "agent", "aggregate_id": "D-0",
                           "data": {"reason": "told"}, "created_by": agent.actor()});
    world.post(&service, "/events", for_agent).await.expect(201);
    let seen = world.get(&agent, "/entities/agent/D-0").await.expect(200);
    assert_eq!(seen.body["state"]["answer"], "told");
}

#[tokio::test]
async fn the_starter_sees_events_of_others_if_their_type_says_so() {
    let world = World::new().await;
    let (ada, staff, service) = (Person::user(), Person::staff(), Person::service("shop"));
    place_order(&world, &ada, &staff).await;
    world
        .append(&service, "order.payment_received", "O-1", json!({"amount_cents": 5}))
        .await;
    let applied = json!({"name": "Kaveri", "email": "a@b.cd"});
    world.append(&ada, "dealer.application_submitted", "D-1", applied).await;
    world
        .append(&staff, "dealer.approved", "D-1", json!({"reason": "checked"}))
        .await;
    for projected in [0, 3] {
        let order = world.get(&ada, "/entities/order/O-1").await.expect(200);
        assert_eq!(
            (&order.body["version"], &order.body["started_by"]),
            (&json!(3), &json!(ada.actor()))
        );
        assert_eq!(order.body["projected_version"], projected);
        assert_eq!(world.all_pages(&ada, "/events?order=asc&limit=2").await.len(), 5);
        assert_eq!(
            world.get(&ada, "/entities/dealer/D-1").await.expect(200).body["state"]["status"],
            "approved"
        );
        assert_eq!(
            world.get(&ada, "/entities/order/O-1?version=2").await.expect(200).body["version"],
            2
        );
        world.project().await;
    }
    let kind = world.get(&ada, "/events/types/order.placed").await.expect(200);
    assert_eq!(kind.body["starter_sees"], true);
    assert_eq!(
        world.get(&ada, "/events/types/customer.updated").await.expect(200).body["starter_sees"],
        false
    );
}

#[tokio::test]
async fn events_that_a_service_appends_in_the_starters_name_or_about_them_hide_nothing() {
    let world = World::new().await;
    let (ada, service) = (Person::user(), Person::service("crm"));
    world.post(&ada, "/events", registered("C-1")).await.expect(201);
    for (by, user_id) in [(json!(ada.actor()), Value::Null), (Value::Null, json!(ada.sub))] {
        let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-1",
                           "data": {"phone": "1"}, "created_by": by, "user_id": user_id});
        world
            .post(&service, "/events", json!({"events": [event.clone()]}))
            .await
            .expect(201);
        world.post(&service, "/events", event).await.expect(201);
    }
    assert_eq!(
        world.get(&ada, "/entities/customer/C-1").await.expect(200).body["version"],
        5
    );
    let other = with(registered("C-1"), "event_type", "customer.profile_updated");
    world
        .post(
            &service,
            "/events",
            json!({"events": [with(other.clone(), "created_by", ada.actor()), other]}),
        )
        .await
        .expect(201);
    world.get(&ada, "/entities/customer/C-1").await.problem(404);
}

#[tokio::test]
async fn a_type_registered_at_run_time_says_whether_the_starter_sees_it() {
    let world = World::new().await;
    let (ada, staff) = (Person::user(), Person::staff());
    let kind = |version: &str, starter_sees: Value| {
        json!({"event_type": "customer.greeted", "version": version, "description": "Was greeted.", "schema": {"type": "object"},
               "example": {}, "starter_sees": starter_sees})
    };
    let registered_type = world
        .post(&staff, "/events/types", kind("1.0", json!(true)))
        .await
        .expect(201);
    assert_eq!(registered_type.body["starter_sees"], true);
    world.post(&ada, "/events", registered("C-1")).await.expect(201);
    world.append(&staff, "customer.greeted", "C-1", json!({})).await;
    assert_eq!(
        world.get(&ada, "/entities/customer/C-1").await.expect(200).body["version"],
        2
    );
    // A later version keeps the value unless it sets another one. Stored events keep the value they were appended with.
    let kept = world
        .post(&staff, "/events/types", kind("1.1", Value::Null))
        .await
        .expect(201);
    assert_eq!(kept.body["starter_sees"], true);
    world
        .post(&staff, "/events/types", kind("1.2", json!(false)))
        .await
        .expect(201);
    assert_eq!(
        world.get(&ada, "/entities/customer/C-1").await.expect(200).body["version"],
        2
    );
    world.append(&staff, "customer.greeted", "C-1", json!({})).await;
    world.get(&ada, "/entities/customer/C-1").await.problem(404);
    let history = world
        .get(&ada, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200);
    assert_eq!(history.items().len(), 2);
}

/// Staff registers a type whose events hide the state from users. A retry of what a user did before that is answered without the state.
#[tokio::test]
async fn a_retry_is_answered_without_the_state_if_that_has_been_hidden_since() {
    let world = World::new().await;
    let (user, staff) = (Person::user(), Person::staff());
    for (action, effect, example) in [
        ("created", "create", json!({})),
        ("updated", "changes", json!({"changes": {}})),
        ("deleted", "delete", json!({})),
    ] {
        let kind = json!({"event_type": format!("ticket.{action}"), "description": "A ticket.", "schema": {"type": "object"},
                          "example": example, "effect": effect, "posters": ["user", "staff"]});
        world.post(&staff, "/events/types", kind).await.expect(201);
    }
    let send = async |method: Method, path: &str, key: &str, body: Option<Value>| {
        world
            .request(method, &user, path, &[("idempotency-key", key)], body)
            .await
    };
    for id in ["T-1", "T-2"] {
        let path = format!("/entities/ticket/{id}");
        let ticket = Some(json!({"id": id, "title": "a"}));
        let title = Some(json!({"title": "b"}));
        let asked = [
            (Method::POST, "/entities/ticket", "create", ticket, json!(1)),
            (Method::PATCH, &*path, "change", title.clone(), json!(2)),
            (Method::PATCH, &*path, "nothing", title, Value::Null),
            (Method::DELETE, &*path, "delete", None, json!(3)),
        ];
        let asked = &asked[..if id == "T-1" { 3 } else { 4 }];
        for (method, path, key, body, _) in asked {
            let answer = send(method.clone(), path, &format!("{key}-{id}"), body.clone()).await;
            assert!(answer.status < 300, "{key}: {}", answer.text);
        }
        let hiding = json!({"event_type": "ticket.updated", "aggregate_type": "ticket", "aggregate_id": id,
                            "data": {"changes": {"answer": {"new": "secret"}}}});
        world.post(&staff, "/events", hiding).await.expect(201);
        let before = world.log().await;
        for (method, path, key, body, version) in asked {
            let answer = send(method.clone(), path, &format!("{key}-{id}"), body.clone())
                .await
                .expect(200);
            let hidden = json!({"aggregate_type": "ticket", "aggregate_id": id, "version": version, "state": null});
            assert_eq!(answer.body, hidden, "{key}");
        }
        assert_eq!(world.log().await, before);
    }
}

/// The starter does not learn that another actor has created the entity.
#[tokio::test]
async fn a_compensation_by_a_starter_whose_state_is_hidden_says_that_it_is_hidden() {
    let (world, mallory, _) = start_before_the_business().await;
    let own = world.get(&mallory, "/events?aggregate_id=CUST-5002").await.expect(200);
    let path = format!("/events/{}/compensate", own.items()[0]["id"].as_str().unwrap());
    let refused = world.post(&mallory, &path, json!({})).await;
    assert_eq!(refused.problem(403), "state_hidden");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("events that are hidden from you"), "{detail}");
}
