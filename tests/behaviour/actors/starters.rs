//! Who starts a stream does not thereby own what others write there: their events are the starter's to see where the catalog says
//! so, and the state only while none is hidden.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{registered, with};

const EMAIL: &str = "carla@example.com";

/// A user takes ids that the business is going to use, and the business then uses them: by a file, by events and by CRUD.
async fn squatted() -> (World, Person, Person) {
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
    // For a service that speaks for somebody else the same holds.
    let for_another = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "CUST-5004",
                             "data": phone, "created_by": Person::user().actor()});
    world
        .post(&Person::service("crm"), "/events", for_another)
        .await
        .expect(201);
    (world, mallory, staff)
}

#[tokio::test]
async fn the_starter_sees_neither_others_events_nor_the_state_they_lead_to() {
    let (world, mallory, staff) = squatted().await;
    for projected in [false, true] {
        for place in 1..=4 {
            let id = format!("CUST-500{place}");
            let history = world
                .get(&mallory, &format!("/events/aggregate/customer/{id}/history"))
                .await
                .expect(200);
            assert_eq!(history.items().len(), 1, "{}", history.text);
            assert_eq!(history.items()[0]["changes"], Value::Null, "half a fold is no state");
            assert_eq!(
                world.get(&mallory, &format!("/audit/count/{id}")).await.body["count"],
                1
            );
            for path in [
                format!("/entities/customer/{id}"),
                format!("/entities/customer/{id}?version=2"),
                format!("/entities/customer/{id}?at=2100-01-01T00:00:00Z"),
                format!("/entities/customer/{id}?valid_at=2100-01-01T00:00:00Z"),
                // What was when the stream was theirs alone is not to be told from what is hidden now.
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
async fn nor_does_sql_show_the_starter_any_of_it() {
    let (world, mallory, staff) = squatted().await;
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
    // At once, not when it is projected.
    assert_eq!(children().await, 0);
    world.project().await;
    assert_eq!(children().await, 0);
}

/// An agent is no person, and events of services name no person: that both have none must not make the event the agent's to see.
#[tokio::test]
async fn what_a_service_adds_is_hidden_from_the_agent_that_started_the_stream() {
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
    // What the service appends in the agent's name is the agent's own.
    let for_agent = json!({"event_type": "agent.decision_rejected", "aggregate_type": "agent", "aggregate_id": "D-0",
                           "data": {"reason": "told"}, "created_by": agent.actor()});
    world.post(&service, "/events", for_agent).await.expect(201);
    let seen = world.get(&agent, "/entities/agent/D-0").await.expect(200);
    assert_eq!(seen.body["state"]["answer"], "told");
}

#[tokio::test]
async fn where_the_catalog_says_so_the_starter_sees_what_others_add() {
    let world = World::new().await;
    let (ada, staff, service) = (Person::user(), Person::staff(), Person::service("shop"));
    world
        .append(&ada, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    world
        .append(&staff, "order.placed", "O-1", json!({"currency": "INR"}))
        .await;
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
async fn what_a_service_appends_in_the_starters_name_or_about_them_hides_nothing() {
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
    // A later version keeps it unless it says otherwise, and what is in the log stays as it was appended.
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

/// Staff register a type whose events hide the state from users: what users have done by then is answered, without the state.
#[tokio::test]
async fn a_retry_about_a_state_that_has_been_hidden_since_is_answered_without_it() {
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

/// Who has started the stream is not told that another has.
#[tokio::test]
async fn a_starter_whose_state_is_hidden_is_told_so_when_it_wants_to_correct_it() {
    let (world, mallory, _) = squatted().await;
    let own = world.get(&mallory, "/events?aggregate_id=CUST-5002").await.expect(200);
    let path = format!("/events/{}/compensate", own.items()[0]["id"].as_str().unwrap());
    let refused = world.post(&mallory, &path, json!({})).await;
    assert_eq!(refused.problem(403), "state_hidden");
    let detail = refused.body["detail"].as_str().unwrap();
    assert!(detail.contains("events that you may not see"), "{detail}");
}
