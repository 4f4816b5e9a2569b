//! `Idempotency-Key` on entities: a retry has no further effect, even if the entity has changed meanwhile.

use axum::http::Method;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{ADA, ada, history, with_ada};

#[tokio::test]
async fn a_retried_creation_returns_the_first_one() {
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
    // Another actor has changed the entity meanwhile; the retry must not overwrite that.
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
async fn of_concurrent_requests_with_one_key_one_takes_effect_and_all_are_answered() {
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
async fn a_key_reused_with_more_or_fewer_fields_is_refused() {
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

/// The reason and the correlation id are part of the request, for each of the three verbs.
#[tokio::test]
async fn a_key_reused_with_another_reason_or_correlation_id_is_refused() {
    let (world, staff) = with_ada().await;
    let send = async |method: Method, query: &str, key: &str, body: Option<Value>| {
        let path = match method == Method::POST {
            true => format!("/entities/customer?{query}"),
            false => format!("{ADA}?{query}"),
        };
        world
            .request(method, &staff, &path, &[("idempotency-key", key)], body)
            .await
    };
    let cause = history(&world, "C-1").await[0]["id"].as_str().unwrap().to_owned();
    let same = format!("reason=a&correlation_id=flow&causation_id={cause}");
    let grace = || Some(json!({"id": "C-2", "name": "Grace"}));
    let phone = || Some(json!({"phone": "1"}));
    let unchanged = || Some(json!({"name": "Ada"}));
    let others = [
        (format!("reason=b&correlation_id=flow&causation_id={cause}"), "/reason"),
        (format!("correlation_id=flow&causation_id={cause}"), "/reason"),
        (
            format!("reason=a&correlation_id=other&causation_id={cause}"),
            "/correlation_id",
        ),
        ("reason=a&correlation_id=flow".to_owned(), "/causation_id"),
    ];
    for (method, key, body, first, again) in [
        (Method::POST, "create", grace(), 201, 200),
        (Method::PATCH, "change", phone(), 200, 200),
        (Method::PATCH, "nothing", unchanged(), 200, 200),
        (Method::DELETE, "delete", None, 200, 200),
        (Method::DELETE, "deleted", None, 409, 409),
    ] {
        let answer = send(method.clone(), &same, key, body.clone()).await;
        assert_eq!(answer.status, first, "{key}: {}", answer.text);
        let answer = send(method.clone(), &same, key, body.clone()).await;
        assert_eq!(answer.status, again, "{key}: {}", answer.text);
        for (query, pointer) in &others {
            let answer = send(method.clone(), query, key, body.clone()).await;
            assert_eq!(answer.problem(422), "idempotency_key_reused", "{key} {query}");
            // A key that is kept without an event is compared with the whole request, too.
            if !["nothing", "deleted"].contains(&key) {
                assert_eq!(answer.body["errors"][0]["pointer"], *pointer, "{key} {query}");
                assert_eq!(answer.body["errors"].as_array().unwrap().len(), 1, "{}", answer.text);
            }
        }
    }
    let other = send(
        Method::POST,
        &same,
        "create",
        Some(json!({"id": "C-3", "name": "Grace"})),
    )
    .await;
    assert_eq!(
        (other.problem(422), &other.body["errors"][0]["pointer"]),
        ("idempotency_key_reused", &json!("/aggregate_id"))
    );
    let other = send(Method::PATCH, &same, "change", Some(json!({"phone": "2"}))).await;
    assert_eq!(
        (other.problem(422), &other.body["errors"][0]["pointer"]),
        ("idempotency_key_reused", &json!(""))
    );
    let events = history(&world, "C-1").await;
    assert_eq!(events.len(), 3);
    assert_eq!(events[1]["metadata"]["reason"], "a");
}

/// The event of a creation depends on the schema, because nulls of optional fields are left out. So retries are compared by request.
#[tokio::test]
async fn a_retried_creation_with_a_null_returns_the_first_one_after_the_type_has_changed() {
    let (world, staff) = (World::new().await, Person::staff());
    let kind = |version: &str, schema: Value, example: Value, upcasters: Value| {
        json!({"event_type": "widget.created", "version": version, "description": "Was created.", "effect": "create",
               "schema": schema, "example": example, "upcasters": upcasters})
    };
    let create = async |body: Value| {
        let headers = [("idempotency-key", "k")];
        world
            .request(Method::POST, &staff, "/entities/widget", &headers, Some(body))
            .await
    };
    let wish = || json!({"id": "W", "colour": null, "size": 1.0});
    let open = kind("1.0", json!({"type": "object"}), json!({}), json!([]));
    world.post(&staff, "/events/types", open).await.expect(201);
    let first = create(wish()).await.expect(201);
    assert_eq!(first.body["state"], json!({"size": 1.0}));
    let required = kind(
        "2.0",
        json!({"type": "object", "required": ["colour"]}),
        json!({"colour": "red"}),
        json!([{"from_version": "1.0", "to_version": "2.0", "steps": [{"default": {"colour": "none"}}]}]),
    );
    let closed = kind(
        "3.0",
        json!({"type": "object", "properties": {"name": {}}, "additionalProperties": false}),
        json!({}),
        json!([{"from_version": "2.0", "to_version": "3.0", "steps": [{"remove": ["colour", "size"]}]}]),
    );
    for later in [required, closed] {
        world.post(&staff, "/events/types", later).await.expect(201);
        let again = create(wish()).await.expect(200);
        assert_eq!(
            (&again.body["version"], again.header("location")),
            (&json!(1), first.header("location"))
        );
        let other = create(json!({"id": "W", "colour": null, "size": 2})).await;
        assert_eq!(other.problem(422), "idempotency_key_reused");
    }
    assert_eq!(world.log().await.events, 1);
}
