//! Events name the actor beside the id, if the log or a token has given a name.

use serde_json::{Value, json};
use tests::{Person, World};

fn name_of(event: &Value) -> &Value {
    &event["created_by_name"]
}

/// Every way to read one event of `C-1`.
async fn readings(world: &World, person: &Person, id: &str) -> Vec<Value> {
    let mut found = vec![world.get(person, &format!("/events/{id}")).await.expect(200).body];
    for path in [
        "/events",
        "/events?event_type=customer.created",
        "/events?order=asc&event_type=customer.*",
        "/events/unprocessed",
        "/events/aggregate/customer/C-1/history",
        "/audit/entity/C-1",
        "/audit/recent",
        &format!("/audit/user/{}", person.actor()),
    ] {
        let items = world.all_pages(person, path).await;
        found.extend(items.into_iter().find(|event| event["id"] == id));
    }
    found
}

#[tokio::test]
async fn an_actor_has_the_name_that_the_user_module_stores() {
    let world = World::new().await;
    let (staff, other) = (Person::staff(), Person::staff().in_tenant(uuid::Uuid::new_v4()));
    let event = world
        .append(&staff, "customer.created", "C-1", json!({"name": "C"}))
        .await;
    let id = event["id"].as_str().unwrap();
    for reading in readings(&world, &staff, id).await {
        assert_eq!(name_of(&reading), &Value::Null);
    }
    // A user with the same id in another tenant has no effect.
    for (person, name) in [(&other, "Mallory"), (&staff, "Ada Lovelace")] {
        let user = json!({"email": "a@example.com", "name": name});
        let posted = world.append(person, "user.created", &staff.sub.to_string(), user).await;
        world.project().await;
        assert_eq!(name_of(&posted), &Value::Null, "the answer to a post has no name");
    }
    let found = readings(&world, &staff, id).await;
    assert_eq!(found.len(), 8);
    for reading in found {
        assert_eq!(name_of(&reading), "Ada Lovelace", "{reading}");
        assert_eq!(reading["created_by"], staff.actor());
    }
    let renamed = json!({"changes": {"name": {"old": "Ada Lovelace", "new": "Ada King"}}});
    world
        .append(&staff, "user.updated", &staff.sub.to_string(), renamed)
        .await;
    world.project().await;
    let read = world.get(&staff, &format!("/events/{id}")).await.expect(200).body;
    assert_eq!(name_of(&read), "Ada King");
}

#[tokio::test]
async fn agents_and_services_have_the_name_in_their_tokens() {
    let world = World::new().await;
    let (staff, agent, service) = (Person::staff(), Person::agent("pricing"), Person::service("crm"));
    world
        .append(&agent, "agent.decision_proposed", "D-1", json!({"decision": "D"}))
        .await;
    world
        .append(&service, "customer.created", "C-1", json!({"name": "C"}))
        .await;
    let found = world.get(&staff, "/events?order=asc").await.expect(200);
    let names: Vec<&Value> = found.items().iter().map(name_of).collect();
    assert_eq!(names, ["pricing", "crm"]);
}

/// A user sees the names of the users that it may see, and no others.
#[tokio::test]
async fn a_name_is_shown_only_to_callers_who_may_see_that_user() {
    let world = World::new().await;
    let (staff, user) = (Person::staff(), Person::user());
    let created = json!({"email": "u@example.com", "name": "Eve"});
    world
        .append(&staff, "user.created", &user.sub.to_string(), created)
        .await;
    let registered = json!({"name": "C", "email": "c@example.com"});
    let event = world.append(&user, "customer.registered", "C-1", registered).await;
    world.project().await;
    let path = format!("/events/{}", event["id"].as_str().unwrap());
    assert_eq!(name_of(&world.get(&user, &path).await.expect(200).body), &Value::Null);
    assert_eq!(name_of(&world.get(&staff, &path).await.expect(200).body), "Eve");
}

/// A person's token may contain a name, if the identity provider's server has set it.
#[tokio::test]
async fn a_person_has_the_name_in_the_token() {
    let (world, service) = (World::new().await, Person::service("crm"));
    let ada = Person {
        name: Some("Ada Lovelace".to_owned()),
        ..Person::staff()
    };
    let event = world
        .append(&ada, "customer.created", "C-1", json!({"name": "C"}))
        .await;
    assert_eq!(name_of(&event), "Ada Lovelace");
    let found = readings(&world, &ada, event["id"].as_str().unwrap()).await;
    assert_eq!(found.len(), 9);
    for reading in found {
        assert_eq!(name_of(&reading), "Ada Lovelace", "{reading}");
        assert_eq!(reading["recorded"]["posted_by_name"], "Ada Lovelace");
    }
    // A service acts in her name; its token does not contain her name.
    let spoken = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-2", "data": {"name": "C"},
                        "created_by": ada.actor()});
    let spoken = world.post(&service, "/events", spoken).await.expect(201).body;
    assert_eq!(name_of(&spoken), &Value::Null);
    // A name that callers write about themselves is not used.
    let mut claims = ada.claims();
    claims["app_metadata"]["name"] = Value::Null;
    claims["user_metadata"] = json!({"name": "Charles", "full_name": "Charles Babbage"});
    let body = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-3", "data": {"name": "C"},
                      "metadata": {"posted_by_name": "Charles"}});
    let request = axum::http::Request::post("/api/v1/events")
        .header(
            "authorization",
            format!("Bearer {}", tests::sign(&claims, tests::SECRET)),
        )
        .header("content-type", "application/json");
    let own_word = world
        .send(request.body(body.to_string().into()).unwrap())
        .await
        .expect(201)
        .body;
    assert_eq!(name_of(&own_word), &Value::Null);
    assert_eq!(own_word["recorded"]["posted_by_name"], Value::Null);
    // The name that the tenant stores has priority.
    let user = json!({"email": "a@example.com", "name": "Ada King"});
    world.append(&service, "user.created", &ada.sub.to_string(), user).await;
    world.project().await;
    let read = world.get(&ada, "/audit/entity/C-1").await.expect(200);
    assert_eq!(name_of(&read.items()[0]), "Ada King");
}

/// The importer has the claims of the request, not the token.
#[tokio::test]
async fn events_of_a_large_upload_have_the_name_of_the_person_who_requested_it() {
    let world = World::new().await;
    let ada = Person {
        name: Some("Ada Lovelace".to_owned()),
        ..Person::staff()
    };
    let file = "sale_id,sale_date,amount\nIM-1,2026-01-01,5\n";
    world.import(&ada, json!({"dataset": "sales"}), file).await;
    for path in ["/events?aggregate_type=sale", "/events?aggregate_type=import"] {
        let events = world.all_pages(&ada, path).await;
        assert!(!events.is_empty());
        for event in events {
            assert_eq!(name_of(&event), "Ada Lovelace", "{event}");
            assert_eq!(event["recorded"]["posted_by_name"], "Ada Lovelace");
        }
    }
}
