//! `Idempotency-Key` on entities: a retry comes to the same end, whatever has become of the entity since.

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{ADA, ada, history, with_ada};

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
async fn of_simultaneous_tries_under_one_key_one_is_made_and_all_are_answered() {
    let (world, staff) = with_ada().await;
    let headers = |key: &'static str| [("idempotency-key", key)];
    let grace = || Some(json!({"name": "Grace"}));
    let creations = (0..8).map(|_| {
        let headers = headers("create");
        let (world, staff) = (&world, &staff);
        async move {
            world
                .request(Method::POST, staff, "/entities/customer", &headers, grace())
                .await
        }
    });
    let creations = join_all(creations).await;
    assert_eq!(creations.iter().filter(|answer| answer.status == 201).count(), 1);
    for answer in &creations {
        assert!([200, 201].contains(&answer.status), "{}", answer.text);
        assert_eq!(answer.body["aggregate_id"], creations[0].body["aggregate_id"]);
    }
    let changes = (0..16).map(|n| {
        let headers = headers("change");
        let (world, staff) = (&world, &staff);
        async move {
            if n % 2 == 0 {
                world
                    .request(Method::PATCH, staff, ADA, &headers, Some(json!({"phone": "1"})))
                    .await
            } else {
                world.patch(staff, ADA, json!({"segment": format!("S{n}")})).await
            }
        }
    });
    for answer in join_all(changes).await {
        answer.expect(200);
    }
    assert_eq!(history(&world, "C-1").await.len(), 1 + 1 + 8);
    assert_eq!(world.log().await.heads, 2);
}

#[tokio::test]
async fn a_key_that_comes_with_more_fields_or_fewer_belongs_to_another_request() {
    let (world, staff) = with_ada().await;
    let change = async |body: Value| {
        world
            .request(Method::PATCH, &staff, ADA, &[("idempotency-key", "k")], Some(body))
            .await
    };
    change(json!({"email": "new@example.com", "name": "Ada"}))
        .await
        .expect(200);
    for other in [
        json!({"email": "new@example.com"}),
        json!({"email": "new@example.com", "name": "Ada", "phone": "+1"}),
    ] {
        assert_eq!(change(other).await.problem(422), "idempotency_key_reused");
    }
}
