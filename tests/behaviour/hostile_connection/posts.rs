//! `post_event`, the only way to append that a request's SQL can reach: a rollback of any kind leaves no gap, and claims about the caller or
//! the server inside an event are ignored or refused.

use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use crate::policies::rows_of;

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

fn post(event: &Value) -> String {
    format!("select public.post_event('{event}')")
}

#[tokio::test]
async fn a_post_that_is_rolled_back_in_any_way_leaves_no_gap() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.hostile(Some(&user)).await;
    for function in ["public.post_event", "annals.post_event"] {
        let append = post(&event("theirs")).replace("public.post_event", function);
        let perform = append.replacen("select", "perform", 1);
        for undone in [
            format!("begin; {append}; rollback"),
            format!(
                "begin; savepoint s; {append}; rollback to s; {append}; savepoint t; {append}; rollback to t; commit"
            ),
            format!(
                "do $do$ begin begin {perform}; raise exception 'undone'; exception when others then null; end; {perform}; end $do$"
            ),
            format!("begin; declare c cursor for {append}; close c; commit"),
            format!("{append} limit 0"),
        ] {
            hostile.batch_execute(&undone).await.unwrap();
        }
        let failing = format!("begin; {append}; select 1/0; commit");
        assert_eq!(super::refusal(&hostile, &failing).await, "22012");
        hostile.batch_execute("rollback").await.unwrap();
    }
    super::assert_whole(&owner).await;
}

#[tokio::test]
async fn claims_inside_an_event_are_not_trusted() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let hostile = world.hostile(Some(&user)).await;
    let before = super::everything(&owner).await;
    for (field, value) in [
        ("created_by", json!("system")),
        ("created_by", json!("service:billing")),
        ("user_id", json!(Uuid::new_v4())),
        ("tenant_id", json!(Uuid::new_v4())),
        ("posted_by", json!("service:billing")),
        ("recorded", json!({"posted_by": "service:billing"})),
        ("id", json!(Uuid::new_v4())),
        ("event_number", json!(1)),
        ("aggregate_version", json!(1)),
        ("created_at", json!("2020-01-01T00:00:00Z")),
        ("started_by", json!("system")),
    ] {
        let mut forged = event("new");
        forged[field] = value;
        let code = super::refusal(&hostile, &post(&forged)).await;
        assert!(["PT400", "PT403"].contains(&code.as_str()), "{forged}: {code}");
    }
    super::assert_untouched(&owner, &before).await;
    let mut claimed = event("mine");
    claimed["metadata"] = json!({"posted_by": "service:billing", "ip_address": "192.0.2.7"});
    hostile.batch_execute(&post(&claimed)).await.unwrap();
    let events = rows_of(&owner, "annals.events").await;
    let stored = events.iter().find(|event| event["aggregate_id"] == "mine").unwrap();
    assert_eq!(
        (&stored["posted_by"], &stored["recorded"]),
        (&json!(user.actor()), &json!({"posted_by": user.actor()}))
    );
    assert_eq!(stored["metadata"], claimed["metadata"]);
}

/// Requests cannot reach the functions that accept any claims and unchecked data, nor those that look up an append after a lost connection.
#[tokio::test]
async fn requests_cannot_reach_the_append_functions() {
    let user = Person::user();
    let world = super::world_of(&user).await;
    let owner = world.owner().await;
    let before = super::everything(&owner).await;
    for person in [
        Person::user(),
        Person::staff(),
        Person::agent("pricing"),
        Person::service("crm"),
    ] {
        let hostile = world.hostile(Some(&person)).await;
        let claims = super::appends::CLAIMS;
        for sql in [
            super::appends::one("new", &[]),
            super::appends::many("new", &[]),
            format!("select * from annals.find_appended({claims}, '{{customer}}', '{{theirs}}', '{{}}')"),
            format!("select annals.known_keys({claims}, '{{k}}')"),
            format!("select annals.caller_of({claims})"),
        ] {
            assert_eq!(super::refusal(&hostile, &sql).await, "42501", "{sql}");
        }
    }
    super::assert_untouched(&owner, &before).await;
}

/// Ids are assigned by the server and unique per tenant, so no other tenant can take the id that a compensation will have.
#[tokio::test]
async fn an_id_used_by_another_tenant_can_be_used() {
    let elsewhere = Person::staff().in_tenant(Uuid::new_v4());
    let world = World::without_requirements().await;
    let owner = world.owner().await;
    let staff = Person::staff();
    let created = world
        .append(&staff, "product.created", "P-1", json!({"sku": "S", "name": "N"}))
        .await;
    let changed = json!({"changes": {"name": {"old": "N", "new": "M"}}});
    let changed = world.append(&staff, "product.updated", "P-1", changed).await;
    let id = annals_domain::EventId::from(changed["id"].as_str().unwrap().parse::<Uuid>().unwrap());
    let taken = format!("'{}'", id.of_compensation(0).as_uuid());
    let appender = world.appender(Some(&elsewhere)).await;
    let sql = super::appends::one("C-1", &[("new_id", &taken)]);
    appender.batch_execute(&sql).await.unwrap();
    let path = format!("/events/{}/compensate", changed["id"].as_str().unwrap());
    let compensation = world.post(&staff, &path, json!({"reason": "typo"})).await.expect(201);
    assert_eq!(format!("'{}'", compensation.body["id"].as_str().unwrap()), taken);
    // Each tenant finds its own event.
    let path = format!("/events/{}", compensation.body["id"].as_str().unwrap());
    assert_eq!(
        world.get(&staff, &path).await.expect(200).body["event_type"],
        "product.updated"
    );
    assert_eq!(
        world.get(&elsewhere, &path).await.expect(200).body["event_type"],
        "customer.registered"
    );
    let path = format!("/events/{}", created["id"].as_str().unwrap());
    world.get(&elsewhere, &path).await.expect(404);
    super::assert_whole(&owner).await;
}
