//! What a type requires of its stream in the catalog: that it exists, or that it does not.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{WRITERS, acknowledged, checked_log, expecting};

fn event(event_type: &str, id: &str, data: Value) -> Value {
    json!({"event_type": event_type, "aggregate_type": event_type.split('.').next(), "aggregate_id": id, "data": data})
}

fn created(id: &str) -> Value {
    event(
        "product.created",
        id,
        json!({"sku": "S", "name": "Pump", "base_price": 5}),
    )
}

fn price(id: &str) -> Value {
    event(
        "product.price_changed",
        id,
        json!({"old_price": 5, "new_price": 4, "reason": "sale"}),
    )
}

async fn refused_by_sql(world: &World, person: &Person, event: &Value) -> (String, String) {
    let session = world.session_of(person).await;
    let posted = session
        .query("select public.post_event($1::text::jsonb)", &[&event.to_string()])
        .await;
    let error = posted.expect_err("a refusal");
    let error = error.as_db_error().expect("a refusal");
    (
        error.code().code().to_owned(),
        error.constraint().unwrap_or_default().to_owned(),
    )
}

#[tokio::test]
async fn an_event_that_requires_a_stream_is_refused_if_there_is_none() {
    let world = World::new().await;
    let (staff, service) = (Person::staff(), Person::service("crm"));
    let before = world.log().await;
    for lonely in [
        price("P-1"),
        event("product.stock_updated", "P-1", json!({"new_stock": 1})),
        event(
            "product.updated",
            "P-1",
            json!({"changes": {"name": {"old": "a", "new": "b"}}}),
        ),
        event("sale.deleted", "S-1", json!({})),
        event("customer.profile_updated", "C-1", json!({"phone": "1"})),
        event("order.payment_received", "O-1", json!({"amount_cents": 5})),
        event(
            "organization.gst.added",
            "ORG-1",
            json!({"id": "g", "gstin": "27AAPFU0939F1ZV"}),
        ),
        event("commodity.variety.removed", "COM-1", json!({"id": "v"})),
        event(
            "trade.settled",
            "T-1",
            json!({"settled_on": "2026-01-01", "amount_cents": 5, "currency": "INR"}),
        ),
    ] {
        let answer = world.post(&staff, "/events", lonely.clone()).await;
        assert_eq!(answer.problem(409), "stream_missing", "{lonely}");
        let batch = json!({"events": [created("P-2"), lonely]});
        let answer = world.post(&staff, "/events", batch).await;
        assert_eq!(answer.problem(409), "stream_missing", "{lonely}");
        assert_eq!(answer.body["errors"][0]["pointer"], "/events/1", "{}", answer.text);
        let refused = refused_by_sql(&world, &service, &lonely).await;
        assert_eq!(
            (refused.0.as_str(), refused.1.as_str()),
            ("PT409", "stream_missing"),
            "{lonely}"
        );
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn an_event_that_creates_a_stream_is_refused_if_there_is_one() {
    let world = World::new().await;
    let (staff, service) = (Person::staff(), Person::service("crm"));
    world.post(&staff, "/events", created("P-1")).await.expect(201);
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "Ada"}))
        .await;
    let before = world.log().await;
    let again = event("customer.registered", "C-1", json!({"name": "Ada", "email": "a@b.cd"}));
    for twice in [created("P-1"), again] {
        let answer = world.post(&staff, "/events", twice.clone()).await;
        assert_eq!(answer.problem(409), "stream_exists", "{twice}");
        let answer = world
            .post(&staff, "/events", json!({"events": [created("P-2"), twice]}))
            .await;
        assert_eq!(answer.problem(409), "stream_exists", "{twice}");
        assert_eq!(
            refused_by_sql(&world, &service, &twice).await.1,
            "stream_exists",
            "{twice}"
        );
    }
    let within = json!({"events": [created("P-3"), created("P-3")]});
    assert_eq!(
        world.post(&staff, "/events", within).await.problem(409),
        "stream_exists"
    );
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn earlier_members_of_a_batch_count() {
    let world = World::new().await;
    let staff = Person::staff();
    let batch = json!({"events": [created("P-1"), price("P-1"), created("P-2"), price("P-1"), price("P-2")]});
    let items = world.post(&staff, "/events", batch).await.expect(201);
    let versions: Vec<i64> = items
        .items()
        .iter()
        .filter_map(|e| e["aggregate_version"].as_i64())
        .collect();
    assert_eq!(versions, [1, 2, 1, 3, 2]);
    let before = world.log().await;
    let batch = json!({"events": [price("P-3"), created("P-3")]});
    assert_eq!(
        world.post(&staff, "/events", batch).await.problem(409),
        "stream_missing"
    );
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn a_retry_is_known_before_anything_is_required() {
    let world = World::new().await;
    let staff = Person::staff();
    let mut first = created("P-1");
    first["idempotency_key"] = json!("pump");
    let original = world.post(&staff, "/events", first.clone()).await.expect(201);
    world.post(&staff, "/events", price("P-1")).await.expect(201);
    let again = world.post(&staff, "/events", first.clone()).await.expect(200);
    assert_eq!(again.body["id"], original.body["id"]);
    world
        .post(&staff, "/events", json!({"events": [first, price("P-1")]}))
        .await
        .expect(201);
}

#[tokio::test]
async fn entities_are_deleted_and_restored_as_before() {
    let world = World::new().await;
    let staff = Person::staff();
    let ada = json!({"id": "C-1", "name": "Ada"});
    world.post(&staff, "/entities/customer", ada.clone()).await.expect(201);
    assert_eq!(world.post(&staff, "/entities/customer", ada).await.status, 409);
    world.delete(&staff, "/entities/customer/C-1").await.expect(200);
    // The stream of a deleted entity still has its events.
    let raw = event("customer.created", "C-1", json!({"name": "Ada"}));
    assert_eq!(world.post(&staff, "/events", raw).await.problem(409), "stream_exists");
    let deleted = world.get(&staff, "/audit/entity/C-1?limit=1").await.expect(200);
    let path = format!("/events/{}/compensate", deleted.items()[0]["id"].as_str().unwrap());
    let back = world
        .post(&staff, &path, json!({"reason": "deleted by mistake"}))
        .await
        .expect(201);
    assert_eq!(back.body["event_type"], "customer.created");
    assert_eq!(
        world.get(&staff, "/entities/customer/C-1").await.expect(200).body["deleted"],
        false
    );
}

#[tokio::test]
async fn a_user_does_not_learn_whether_another_actors_stream_exists() {
    let world = World::new().await;
    let (ada, eve) = (Person::user(), Person::user());
    world
        .append(
            &ada,
            "customer.registered",
            "C-1",
            json!({"name": "Ada", "email": "a@b.cd"}),
        )
        .await;
    let mut answers = Vec::new();
    for id in ["C-1", "C-2"] {
        let update = event("customer.profile_updated", id, json!({"phone": "1"}));
        for body in [update.clone(), json!({"events": [update]})] {
            let answer = world.post(&eve, "/events", body).await;
            answers.push((answer.problem(403).to_owned(), answer.body["detail"].clone()));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_type_registered_at_run_time_can_have_a_requirement() {
    let world = World::new().await;
    let staff = Person::staff();
    let kind = |version: &str, requires: Option<Value>| {
        let mut kind = json!({"event_type": "customer.greeted", "version": version, "description": "Was greeted.",
                              "schema": {"type": "object"}, "example": {}});
        if let Some(requires) = requires {
            kind["requires"] = requires;
        }
        kind
    };
    let asked = world
        .post(&staff, "/events/types", kind("1.0", Some(json!("existing"))))
        .await
        .expect(201);
    assert_eq!(asked.body["requires"], "existing");
    let greeted = event("customer.greeted", "C-1", json!({}));
    assert_eq!(
        world.post(&staff, "/events", greeted.clone()).await.problem(409),
        "stream_missing"
    );
    let kept = world.post(&staff, "/events/types", kind("1.1", None)).await.expect(201);
    assert_eq!(kept.body["requires"], "existing");
    let answer = world
        .post(&staff, "/events/types", kind("1.2", Some(json!("old"))))
        .await;
    assert_eq!(answer.problem(422), "invalid_event_type");
    let freed = world
        .post(&staff, "/events/types", kind("1.2", Some(Value::Null)))
        .await
        .expect(201);
    assert_eq!(freed.body["requires"], Value::Null);
    world.post(&staff, "/events", greeted).await.expect(201);
    let shown = world.get(&staff, "/events/types/product.created").await.expect(200);
    assert_eq!(
        (&shown.body["requires"], &shown.body["closed"]),
        (&json!("new"), &json!(false))
    );
}

/// The tests of `streams.rs` without requirements, once more with the catalog as deployed.
#[tokio::test]
async fn of_many_writers_one_creates_the_stream_and_one_wins_each_version() {
    let (world, staff) = (World::new().await, Person::staff());
    let data = json!({"name": "Ada", "email": "a@b.cd"});
    let create = |_| world.post(&staff, "/events", event("customer.registered", "C-1", data.clone()));
    let answers = join_all((0..WRITERS).map(create)).await;
    let (created, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|a| a.status == 201);
    assert_eq!(created.len(), 1);
    assert!(refused.iter().all(|answer| answer.problem(409) == "stream_exists"));
    let mut won = BTreeSet::from([acknowledged(&created[0].body)]);
    for version in 1..4 {
        let posts = (0..WRITERS).map(|_| world.post(&staff, "/events", expecting("C-1", version)));
        let (winners, losers): (Vec<_>, Vec<_>) = join_all(posts).await.into_iter().partition(|a| a.status == 201);
        assert_eq!(winners.len(), 1);
        assert!(losers.iter().all(|loser| loser.problem(409) == "version_conflict"));
        won.insert(acknowledged(&winners[0].body));
    }
    let phone = json!({"phone": "1"});
    let change = |_| {
        world.post(
            &staff,
            "/events",
            event("customer.profile_updated", "C-1", phone.clone()),
        )
    };
    for answer in join_all((0..WRITERS).map(change)).await {
        won.insert(acknowledged(&answer.expect(201).body));
    }
    assert_eq!(won.len(), 4 + WRITERS);
    assert_eq!(checked_log(&world).await, won);
}
