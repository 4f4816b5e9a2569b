//! Who may post which events, in whose name, and to which stream.

mod starters;
mod visibility;
mod withheld_context;

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use crate::sources::GUIDES_EVENT;

fn registered(id: &str) -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": id,
           "data": {"name": "Ada", "email": "ada@example.com"}})
}

fn with(mut event: Value, name: &str, value: impl Into<Value>) -> Value {
    event[name] = value.into();
    event
}

/// Every built-in type that plain users or agents may post.
const USERS: [&str; 5] = [
    "customer.profile_updated",
    "customer.registered",
    "dealer.application_submitted",
    "opportunity.created",
    "order.created",
];
const AGENTS: [&str; 5] = [
    "agent.decision_proposed",
    "opportunity.created",
    "sync.completed",
    "sync.failed",
    "sync.started",
];

/// An order O-1 that one actor starts and another one places.
async fn place_order(world: &World, starter: &Person, other: &Person) {
    world
        .append(starter, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    world
        .append(other, "order.placed", "O-1", json!({"currency": "INR"}))
        .await;
}

/// Posts the catalog's own example of a type to a new stream.
async fn post_example(world: &World, person: &Person, kind: &Value) -> tests::Answer {
    let event = json!({"event_type": kind["event_type"], "aggregate_type": kind["aggregate_type"],
                       "aggregate_id": Uuid::new_v4().to_string(), "data": kind["example"]});
    world.post(person, "/events", event).await
}

#[tokio::test]
async fn roles_post_the_types_that_the_catalog_lets_them() {
    let world = World::without_requirements().await;
    let (staff, user, agent, service) = (
        Person::staff(),
        Person::user(),
        Person::agent("pricing"),
        Person::service("crm"),
    );
    let kinds = world.all_pages(&staff, "/events/types").await;
    assert!(kinds.len() > 30, "{}", kinds.len());
    for kind in &kinds {
        let name = kind["event_type"].as_str().unwrap();
        for (person, allowed) in [
            // Types that only Annals itself appends are tested in event_types/closed.rs.
            (&staff, kind["closed"] == false),
            (&service, kind["closed"] == false),
            (&user, USERS.contains(&name)),
            (&agent, AGENTS.contains(&name)),
        ] {
            let before = world.log().await;
            let answer = post_example(&world, person, kind).await;
            if allowed {
                assert_eq!(answer.status, 201, "{name} by {:?}: {}", person.role, answer.text);
            } else {
                assert_eq!(
                    answer.problem(403),
                    "event_type_forbidden",
                    "{name} by {:?}",
                    person.role
                );
                assert_eq!(world.log().await, before);
            }
        }
    }
}

#[tokio::test]
async fn events_name_the_actor_of_the_token() {
    let world = World::new().await;
    let ada = json!({"name": "Ada", "email": "ada@example.com"});
    for (person, event_type, data) in [
        (Person::staff(), "customer.registered", &ada),
        (Person::user(), "customer.registered", &ada),
        (Person::service("crm"), "customer.registered", &ada),
        (
            Person::agent("pricing"),
            "agent.decision_proposed",
            &json!({"decision": "none"}),
        ),
    ] {
        let event = world
            .append(&person, event_type, &Uuid::new_v4().to_string(), data.clone())
            .await;
        assert_eq!(event["created_by"], person.actor());
        let is_person = person.actor().starts_with("user:");
        assert_eq!(
            event["user_id"],
            if is_person { json!(person.sub) } else { Value::Null }
        );
        assert_eq!(event["metadata"], json!({}));
        assert_eq!(event["recorded"]["posted_by"], person.actor());
    }
}

#[tokio::test]
async fn actor_user_and_tenant_cannot_be_forged() {
    let world = World::new().await;
    let other = Uuid::new_v4();
    for person in [Person::staff(), Person::user(), Person::agent("pricing")] {
        let mut event = registered(&person.sub.to_string());
        if person.actor().starts_with("agent:") {
            event = json!({"event_type": "agent.decision_proposed", "aggregate_type": "agent", "aggregate_id": "D-1", "data": {"decision": "x"}});
        }
        let before = world.log().await;
        for (field, value) in [
            ("created_by", format!("user:{other}")),
            ("created_by", "agent:other".to_owned()),
            ("created_by", "service:crm".to_owned()),
            ("created_by", "system".to_owned()),
            ("created_by", format!("{}x", person.actor())),
            ("user_id", other.to_string()),
        ] {
            let answer = world
                .post(&person, "/events", with(event.clone(), field, value.clone()))
                .await;
            assert_eq!(answer.problem(403), "actor_forged", "{value} by {:?}", person.role);
            let batch = json!({"events": [with(event.clone(), field, value.clone())]});
            assert_eq!(
                world.post(&person, "/events", batch).await.problem(403),
                "actor_forged",
                "{value} by {:?}",
                person.role
            );
        }
        let answer = world
            .post(&person, "/events", with(event.clone(), "tenant_id", other.to_string()))
            .await;
        assert_eq!(answer.problem(403), "tenant_forged");
        assert_eq!(world.log().await, before);
        let honest = with(
            with(event, "created_by", person.actor()),
            "tenant_id",
            person.tenant.to_string(),
        );
        world.post(&person, "/events", honest).await.expect(201);
    }
}

#[tokio::test]
async fn a_service_cannot_name_another_tenant_either() {
    let world = World::new().await;
    let service = Person::service("crm");
    let answer = world
        .post(
            &service,
            "/events",
            with(registered("C-1"), "tenant_id", Uuid::new_v4().to_string()),
        )
        .await;
    assert_eq!(answer.problem(403), "tenant_forged");
    assert_eq!(world.log().await.events, 0);
}

#[tokio::test]
async fn a_service_may_name_another_actor_and_that_actors_user() {
    let world = World::new().await;
    let service = Person::service("crm");
    let ada = Person::user();
    for (place, (created_by, user_id, stored_user)) in [
        (ada.actor(), Some(ada.sub), Some(ada.sub)),
        (ada.actor(), None, Some(ada.sub)),
        ("agent:pricing".to_owned(), Some(ada.sub), Some(ada.sub)),
        ("agent:pricing".to_owned(), None, None),
        ("system".to_owned(), None, None),
        ("user:test".to_owned(), None, None),
        (service.actor(), Some(ada.sub), Some(ada.sub)),
    ]
    .into_iter()
    .enumerate()
    {
        for (batch, framed) in [(false, "S"), (true, "B")] {
            let event = with(
                registered(&format!("{framed}-{place}")),
                "created_by",
                created_by.clone(),
            );
            let event = with(event, "user_id", json!(user_id));
            let stored = if batch {
                world
                    .post(&service, "/events", json!({"events": [event]}))
                    .await
                    .expect(201)
                    .items()[0]
                    .clone()
            } else {
                world.post(&service, "/events", event).await.expect(201).body
            };
            assert_eq!(stored["created_by"], created_by);
            assert_eq!(stored["user_id"], json!(stored_user), "{created_by}");
            assert_eq!(stored["recorded"]["posted_by"], service.actor());
            let read = world
                .get(&service, &format!("/events/{}", stored["id"].as_str().unwrap()))
                .await
                .expect(200);
            assert_eq!(read.body, stored, "the answer is not what was stored");
        }
    }
    // Ada sees what was done in her name, and she may append to that stream.
    assert_eq!(world.all_pages(&ada, "/events").await.len(), 8);
    world
        .append(&ada, "customer.profile_updated", "S-0", json!({"phone": "1"}))
        .await;
}

#[tokio::test]
async fn a_service_cannot_name_two_people() {
    let world = World::new().await;
    let event = with(registered("C-1"), "created_by", Person::user().actor());
    let answer = world
        .post(
            &Person::service("crm"),
            "/events",
            with(event, "user_id", Uuid::new_v4().to_string()),
        )
        .await;
    assert_eq!(answer.problem(422), "user_is_not_actor");
    assert_eq!(world.log().await.heads, 0);
}

#[tokio::test]
async fn users_and_agents_post_only_to_new_streams_and_their_own() {
    let world = World::new().await;
    let (ada, eve, staff) = (Person::user(), Person::user(), Person::staff());
    world.post(&ada, "/events", registered("C-1")).await.expect(201);
    world.post(&staff, "/events", registered("C-2")).await.expect(201);
    let before = world.log().await;
    for (person, id) in [(&eve, "C-1"), (&eve, "C-2"), (&ada, "C-2")] {
        let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}});
        for body in [event.clone(), json!({"events": [registered("C-3"), event]})] {
            assert_eq!(
                world.post(person, "/events", body).await.problem(403),
                "stream_of_another"
            );
        }
    }
    assert_eq!(world.log().await, before);
    world
        .append(&ada, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "2"}))
        .await;
    // The same id with another aggregate type or in another tenant is another stream.
    world
        .append(&eve, "order.created", "C-1", json!({"customer_id": "C-1"}))
        .await;
    world
        .post(&eve.clone().in_tenant(Uuid::new_v4()), "/events", registered("C-1"))
        .await
        .expect(201);
    let (one, two) = (Person::agent("one"), Person::agent("two"));
    world
        .append(&one, "agent.decision_proposed", "D-1", json!({"decision": "x"}))
        .await;
    let again = json!({"event_type": "agent.decision_proposed", "aggregate_type": "agent", "aggregate_id": "D-1", "data": {"decision": "y"}});
    assert_eq!(
        world.post(&two, "/events", again.clone()).await.problem(403),
        "stream_of_another"
    );
    // An agent is identified by its name, so another token of the same agent may continue.
    world.post(&Person::agent("one"), "/events", again).await.expect(201);
}

#[tokio::test]
async fn the_version_of_another_actors_stream_is_not_revealed() {
    let world = World::new().await;
    world
        .post(&Person::staff(), "/events", registered("C-1"))
        .await
        .expect(201);
    let eve = Person::user();
    for guess in [0, 1, 2] {
        let event = with(registered("C-1"), "expected_version", guess);
        for body in [event.clone(), json!({"events": [event]})] {
            let answer = world.post(&eve, "/events", body).await;
            assert_eq!(answer.problem(403), "stream_of_another", "{}", answer.text);
        }
    }
}

/// The expected version must not reveal whether another caller's stream exists.
#[tokio::test]
async fn another_actors_stream_and_a_missing_one_get_the_same_refusal() {
    let world = World::without_requirements().await;
    world
        .post(&Person::staff(), "/events", registered("theirs"))
        .await
        .expect(201);
    let before = world.log().await;
    for person in [Person::user(), Person::agent("pricing")] {
        let event = |id: &str, version: i32| match &person.name {
            None => with(registered(id), "expected_version", version),
            Some(_) => {
                json!({"event_type": "agent.decision_proposed", "aggregate_type": "agent", "aggregate_id": id, "data": {"decision": "x"}, "expected_version": version})
            }
        };
        let session = world.session_of(&person).await;
        for version in [1, 2, 99] {
            let mut refusals = std::collections::BTreeSet::new();
            for id in ["theirs", "nowhere"] {
                let single = world.post(&person, "/events", event(id, version)).await;
                assert_eq!(single.problem(403), "stream_of_another", "{}", single.text);
                let batch = json!({"events": [event(id, version)]});
                let batch = world.post(&person, "/events", batch).await;
                assert_eq!(batch.problem(403), "stream_of_another", "{}", batch.text);
                let by_sql = "select public.post_event($1::text::jsonb)";
                let refused = session
                    .execute(by_sql, &[&event(id, version).to_string()])
                    .await
                    .unwrap_err();
                let refused = refused.as_db_error().unwrap();
                let parts = [
                    refused.code().code(),
                    refused.message(),
                    refused.detail().unwrap_or_default(),
                ];
                refusals.insert((
                    single.body["detail"].to_string(),
                    batch.body["errors"].to_string(),
                    parts.join(" "),
                ));
            }
            assert_eq!(refusals.len(), 1, "{refusals:?}");
        }
    }
    assert_eq!(world.log().await, before);
    // The version of one's own stream is answered, and a new stream is created.
    let user = Person::user();
    let later = json!({"events": [with(registered("own"), "expected_version", 0), with(registered("own"), "expected_version", 1)]});
    world.post(&user, "/events", later).await.expect(201);
    let stale = world
        .post(&user, "/events", with(registered("own"), "expected_version", 1))
        .await;
    assert_eq!(stale.problem(409), "version_conflict");
}

#[tokio::test]
async fn the_example_events_of_the_first_descriptions_can_be_posted_unchanged() {
    let world = World::new().await;
    // event-sourcing-setup-guide.md, "Testing"; the actor is not the token's, so a service posts it.
    let stored = world
        .post_text(&Person::service("test"), "/events", GUIDES_EVENT)
        .await
        .expect(201);
    assert_eq!(stored.body["created_by"], "user:test");
    let mut own: Value = serde_json::from_str(GUIDES_EVENT).unwrap();
    own["created_by"] = Value::Null;
    own["aggregate_id"] = json!(Uuid::new_v4());
    world.post(&Person::staff(), "/events", own).await.expect(201);
    // From "Event Format" on the same page, with the placeholders filled in, and "Good" from its best practices.
    let full = json!({"event_type": "product.created", "aggregate_type": "product", "aggregate_id": Uuid::new_v4(),
        "data": {"sku": "SUBM-05HP-DOM-SS-50LPM-20M", "name": "0.5HP Submersible Pump", "base_price": 5999.00},
        "metadata": {"ip_address": "192.168.1.1", "user_agent": "Mozilla/5.0...", "source": "web_ui"},
        "created_by": "agent:category_agent", "correlation_id": "order-flow-123", "causation_id": stored.body["id"], "idempotency_key": "unique-key"});
    let stored = world
        .post(&Person::service("test"), "/events", full)
        .await
        .expect(201)
        .body;
    assert_eq!(stored["metadata"]["ip_address"], "192.168.1.1");
    let good = json!({"event_type": "price.changed", "aggregate_type": "price", "aggregate_id": "P-1",
        "data": {"old_price": 5999.00, "new_price": 5499.00, "reason": "competitor_match", "effective_date": "2025-10-27"}});
    world.post(&Person::staff(), "/events", good.clone()).await.expect(201);
    let bad = with(good, "data", json!({"new_price": 5499.00}));
    assert_eq!(
        world.post(&Person::staff(), "/events", bad).await.problem(422),
        "schema_violation"
    );
}
