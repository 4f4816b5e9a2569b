//! Idempotency keys of requests without an effect are kept: if such a request is sent again, it does not overwrite later changes of others.

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

use super::{ADA, history, with_ada};

async fn send(world: &World, person: &Person, method: Method, key: &str, body: Option<Value>) -> Answer {
    world
        .request(method, person, ADA, &[("idempotency-key", key)], body)
        .await
}

async fn patch(world: &World, person: &Person, key: &str, body: Value) -> Answer {
    send(world, person, Method::PATCH, key, Some(body)).await
}

#[tokio::test]
async fn a_patch_without_an_effect_has_none_when_it_is_retried_later() {
    let (world, staff) = with_ada().await;
    let wish = || json!({"email": "ada@example.com"});
    let first = patch(&world, &staff, "k", wish()).await.expect(200);
    assert_eq!(first.body["version"], 1);
    let newer = json!({"email": "newer@example.com"});
    world.patch(&staff, ADA, newer.clone()).await.expect(200);
    for _ in 0..2 {
        let again = patch(&world, &staff, "k", wish()).await.expect(200);
        assert_eq!(
            (&again.body["version"], &again.body["state"]["email"]),
            (&json!(2), &newer["email"])
        );
    }
    // The same key of another actor is another key.
    let other = Person::staff();
    assert_eq!(patch(&world, &other, "k", wish()).await.expect(200).body["version"], 3);
    assert_eq!(history(&world, "C-1").await.len(), 3);
}

#[tokio::test]
async fn a_kept_key_is_refused_for_any_other_kind_of_request() {
    let (world, staff) = with_ada().await;
    patch(&world, &staff, "k", json!({"name": "Ada"})).await.expect(200);
    let before = world.log().await;
    let reused = "idempotency_key_reused";
    assert_eq!(
        patch(&world, &staff, "k", json!({"name": "Eve"})).await.problem(422),
        reused
    );
    assert_eq!(patch(&world, &staff, "k", json!({})).await.problem(422), reused);
    assert_eq!(
        send(&world, &staff, Method::DELETE, "k", None).await.problem(422),
        reused
    );
    let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": "C-1",
                       "data": {"phone": "1"}, "idempotency_key": "k"});
    assert_eq!(world.post(&staff, "/events", event.clone()).await.problem(422), reused);
    let other = json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "C-2", "data": {"name": "N"},
                       "idempotency_key": "k-2"});
    let batch = world.post(&staff, "/events", json!({"events": [other, event]})).await;
    assert_eq!(batch.problem(422), reused);
    assert_eq!(batch.body["errors"][0]["pointer"], "/events/1");
    assert_eq!(batch.body["errors"].as_array().unwrap().len(), 1, "{}", batch.text);
    let by_sql = world.session_of(&staff).await;
    let by_sql = by_sql
        .query("select public.post_event($1::text::jsonb)", &[&event.to_string()])
        .await
        .expect_err("a refusal");
    assert_eq!(by_sql.as_db_error().unwrap().constraint(), Some(reused));
    let created = history(&world, "C-1").await[0]["id"].as_str().unwrap().to_owned();
    let compensation = world
        .request(
            Method::POST,
            &staff,
            &format!("/events/{created}/compensate"),
            &[("idempotency-key", "k")],
            Some(json!({})),
        )
        .await;
    assert_eq!(compensation.problem(422), reused);
    for answer in [&batch, &compensation] {
        let detail = answer.body["detail"].as_str().unwrap();
        assert!(detail.contains("changed nothing"), "{detail}");
    }
    let create = world
        .request(
            Method::POST,
            &staff,
            "/entities/customer",
            &[("idempotency-key", "k")],
            Some(json!({"name": "N"})),
        )
        .await;
    assert_eq!(create.problem(422), reused);
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn a_retried_deletion_without_an_effect_does_not_delete_a_restored_entity() {
    let (world, staff) = with_ada().await;
    let deleted = world.delete(&staff, ADA).await.expect(200);
    assert_eq!(deleted.body["version"], 2);
    assert_eq!(
        send(&world, &staff, Method::DELETE, "k", None).await.problem(409),
        "entity_deleted"
    );
    let deletion = history(&world, "C-1").await[1]["id"].as_str().unwrap().to_owned();
    world
        .post(&staff, &format!("/events/{deletion}/compensate"), json!({}))
        .await
        .expect(201);
    assert_eq!(
        send(&world, &staff, Method::DELETE, "k", None).await.problem(409),
        "entity_deleted"
    );
    assert_eq!(world.get(&staff, ADA).await.expect(200).body["deleted"], false);
    send(&world, &staff, Method::DELETE, "k-2", None).await.expect(200);
}

/// Sixteen equal requests with one key, while another actor keeps changing the field: the request takes effect once or never.
#[tokio::test]
async fn a_request_under_one_key_takes_effect_at_most_once_while_others_write() {
    let (world, staff) = with_ada().await;
    for round in 0..4 {
        let key = format!("k-{round}");
        let tries = (0..12).map(|n| {
            let (world, staff, key) = (&world, &staff, &key);
            async move {
                if n % 3 == 0 {
                    world.patch(staff, ADA, json!({"phone": format!("{}", n % 2)})).await
                } else {
                    patch(world, staff, key, json!({"phone": "1"})).await
                }
            }
        });
        for answer in join_all(tries.collect::<Vec<_>>()).await {
            answer.expect(200);
        }
        let owner = world.owner().await;
        let kept = "select (select count(*) from annals.kept_keys where idempotency_key = $1)
                         + (select count(*) from annals.events where idempotency_key = $1)";
        let kept: i64 = owner.query_one(kept, &[&key]).await.unwrap().get(0);
        assert_eq!(kept, 1, "{key} is stored once, with an event or without");
    }
}

#[tokio::test]
async fn keys_are_kept_for_thirty_days() {
    let (world, staff) = with_ada().await;
    for key in ["old", "new"] {
        patch(&world, &staff, key, json!({"name": "Ada"})).await.expect(200);
    }
    let owner = world.owner().await;
    owner
        .batch_execute(
            "update annals.kept_keys set kept_at = now() - interval '30 days 1 second' where idempotency_key = 'old'",
        )
        .await
        .unwrap();
    world.projector.sweep().await.unwrap();
    let left = owner
        .query("select idempotency_key from annals.kept_keys", &[])
        .await
        .unwrap();
    let left: Vec<&str> = left.iter().map(|row| row.get(0)).collect();
    assert_eq!(left, ["new"]);
}
