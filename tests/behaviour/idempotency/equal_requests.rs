//! Two requests are the same if they mean the same, however they are written.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Person, World};

use super::{count_events, event, keyed, post_with_key, with};

/// Equal numbers, explicit defaults and a fulfilled expected version are no difference.
#[tokio::test]
async fn a_retry_with_the_same_meaning_in_another_notation_is_recognised() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let open = json!({"event_type": "customer.rated", "schema": {"type": "object"}, "example": {}, "effect": "merge"});
    world.post(&staff, "/events/types", open).await.expect(201);
    let text = |data: &str, rest: &str| {
        format!(
            r#"{{"event_type": "customer.rated", "aggregate_type": "customer", "aggregate_id": "C-1",
                 "idempotency_key": "k-1", "data": {data}{rest}}}"#
        )
    };
    let first = world
        .post_text(&staff, "/events", text(r#"{"credit": 44.00, "list": [1e2]}"#, ""))
        .await
        .expect(201);
    for (data, rest) in [
        (r#"{"credit": 44, "list": [100]}"#, String::new()),
        (
            r#"{"list": [100.0], "credit": 44.000}"#,
            r#", "source": "api""#.to_owned(),
        ),
        (
            r#"{"credit": 44.00, "list": [1e2]}"#,
            r#", "metadata": {}, "version": "1.0""#.to_owned(),
        ),
        (
            r#"{"credit": 44.00, "list": [100]}"#,
            format!(
                r#", "created_by": "{}", "user_id": "{}", "expected_version": 0"#,
                staff.actor(),
                staff.sub
            ),
        ),
        (
            r#"{"credit": 44.00, "list": [100]}"#,
            format!(r#", "timestamp": {}"#, first.body["timestamp"]),
        ),
    ] {
        let body = text(data, &rest);
        let retry = world.post_text(&staff, "/events", body.clone()).await;
        assert_eq!(
            (retry.status, &retry.body["id"]),
            (200, &first.body["id"]),
            "{body}: {}",
            retry.text
        );
        // Numbers keep the notation in which they were first written.
        assert!(retry.text.contains("44.00"), "{}", retry.text);
        let batch = format!(r#"{{"events": [{body}]}}"#);
        let batch = world.post_text(&staff, "/events", batch).await.expect(200);
        assert_eq!(batch.items()[0]["id"], first.body["id"]);
        let session = world.session_of(&staff).await;
        let by_sql = "select public.post_event($1::text::jsonb) ->> 'id'";
        let row = session.query_one(by_sql, &[&body]).await.unwrap();
        assert_eq!(Some(row.get::<_, &str>(0)), first.body["id"].as_str());
    }
    assert_eq!(count_events(&world).await, 1);
}

#[tokio::test]
async fn the_refusal_of_a_reused_key_names_every_different_field_and_no_value() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let secret = with(keyed("C-1", "555-0100", "k-1"), "correlation_id", "flow-secret");
    world.post(&staff, "/events", secret).await.expect(201);
    let other = with(
        with(keyed("C-2", "2", "k-1"), "source", "import"),
        "expected_version",
        7,
    );
    let single = world.post(&staff, "/events", other.clone()).await;
    assert_eq!(single.problem(422), "idempotency_key_reused");
    let expected = [
        "/aggregate_id",
        "/data",
        "/source",
        "/correlation_id",
        "/expected_version",
    ];
    assert_eq!(super::pointers(&single), expected);
    assert!(
        !single.text.contains("555-0100") && !single.text.contains("flow-secret"),
        "{}",
        single.text
    );
    let batch = json!({"events": [event("C-9", "1"), other]});
    let batch = world.post(&staff, "/events", batch).await;
    assert_eq!(batch.problem(422), "idempotency_key_reused");
    assert_eq!(
        super::pointers(&batch),
        expected.map(|field| format!("/events/1{field}"))
    );
    assert_eq!(count_events(&world).await, 1);
}

/// In the IETF's draft, the key is a string in quotes.
#[tokio::test]
async fn a_quoted_key_in_the_header_is_used_without_the_quotes() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for (bare, quoted) in [("k", r#""k""#), (r#"a "b" \ c"#, r#""a \"b\" \\ c""#)] {
        let id = format!("C-{}", bare.len());
        let first = world.post(&staff, "/events", keyed(&id, "1", bare)).await.expect(201);
        let again = post_with_key(&world, &staff, quoted, event(&id, "1")).await.expect(200);
        assert_eq!(again.body["id"], first.body["id"]);
        let both = post_with_key(&world, &staff, quoted, keyed(&id, "1", bare))
            .await
            .expect(200);
        assert_eq!(both.body["id"], first.body["id"]);
    }
    let create = async |key: &str| {
        let body = Some(json!({"id": "by CRUD", "name": "N"}));
        let headers = [("Idempotency-Key", key)];
        world
            .request(Method::POST, &staff, "/entities/customer", &headers, body)
            .await
    };
    create("entity").await.expect(201);
    create(r#""entity""#).await.expect(200);
    for malformed in [r#"""#, r#""k"#, r#""""#, r#""a"b"#, r#""a\b""#] {
        for answer in [
            post_with_key(&world, &staff, malformed, event("C-1", "1")).await,
            create(malformed).await,
        ] {
            assert_eq!(answer.problem(400), "invalid_idempotency_key", "{malformed}");
        }
    }
    assert_eq!(count_events(&world).await, 3);
}

/// A key is looked up before anything else is checked.
#[tokio::test]
async fn a_retry_returns_the_original_whatever_has_changed_in_the_catalog_and_the_stream() {
    let (world, staff, user) = (World::without_requirements().await, Person::staff(), Person::user());
    let first = json!({"event_type": "widget.made", "schema": {"type": "object"}, "example": {}, "effect": "merge", "posters": ["user", "staff"]});
    world.post(&staff, "/events/types", first).await.expect(201);
    let made = |id: &str, key: &str| {
        json!({"event_type": "widget.made", "aggregate_type": "widget", "aggregate_id": id, "data": {"colour": "red"},
               "expected_version": 0, "idempotency_key": key})
    };
    let single = world.post(&user, "/events", made("W-1", "k-1")).await.expect(201).body;
    let batch = json!({"events": [made("W-2", "k-2"), made("W-3", "k-3")]});
    let members = world.post(&user, "/events", batch.clone()).await.expect(201).body;
    // What was valid then is invalid now in every way: the data, the poster, the expected version.
    let second = json!({"event_type": "widget.made", "version": "2.0", "posters": ["service"], "example": {"size": 1},
                        "schema": {"type": "object", "required": ["size"], "additionalProperties": false, "properties": {"size": {"type": "integer"}}},
                        "upcasters": [{"from_version": "1.0", "steps": [{"default": {"size": 0}}, {"remove": ["/colour"]}]}]});
    let registered = world.post(&staff, "/events/types", second).await;
    assert_eq!(registered.status, 201, "{}", registered.text);
    assert!(world.post(&user, "/events", made("W-4", "k-4")).await.status >= 400);

    let elsewhere = world.elsewhere();
    for world in [&world, &elsewhere] {
        let again = world.post(&user, "/events", made("W-1", "k-1")).await.expect(200);
        assert_eq!(again.body["id"], single["id"]);
        let again = world.post(&user, "/events", batch.clone()).await.expect(200);
        let ids = |body: &Value| [body["items"][0]["id"].clone(), body["items"][1]["id"].clone()];
        assert_eq!(ids(&again.body), ids(&members));
    }
    let session = world.session_of(&user).await;
    let by_sql = "select public.post_event($1::text::jsonb) ->> 'id'";
    let row = session
        .query_one(by_sql, &[&made("W-1", "k-1").to_string()])
        .await
        .unwrap();
    assert_eq!(Some(row.get::<_, &str>(0)), single["id"].as_str());

    // Another body with the same key is still refused, and a new member of a batch with retries is checked.
    let mut other = made("W-1", "k-1");
    other["data"] = json!({"colour": "blue"});
    let other = world.post(&user, "/events", other).await;
    assert_eq!(
        (other.problem(422), super::pointers(&other)),
        ("idempotency_key_reused", vec!["/data"])
    );
    let mixed = json!({"events": [made("W-2", "k-2"), made("W-5", "k-5")]});
    let mixed = world.post(&user, "/events", mixed).await;
    assert_eq!(mixed.problem(422), "schema_violation");
    assert!(
        super::pointers(&mixed)
            .iter()
            .all(|pointer| pointer.starts_with("/events/1/")),
        "{}",
        mixed.text
    );
    assert_eq!(count_events(&world).await, 3);
}

/// The same for events that generic CRUD appends.
#[tokio::test]
async fn a_retried_creation_returns_the_first_one_after_the_type_has_changed() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let create = async |body: Value| {
        let headers = [("Idempotency-Key", "k-1")];
        world
            .request(Method::POST, &staff, "/entities/widget", &headers, Some(body))
            .await
    };
    let first = json!({"event_type": "widget.created", "schema": {"type": "object", "properties": {"colour": {"type": "string"}}},
                       "example": {}, "effect": "create"});
    world.post(&staff, "/events/types", first).await.expect(201);
    create(json!({"id": "W-1", "colour": "red"})).await.expect(201);
    let second = json!({"event_type": "widget.created", "version": "2.0", "example": {"size": 1}, "effect": "create",
                        "schema": {"type": "object", "required": ["size"], "properties": {"size": {"type": "integer"}, "colour": {"type": "string"}}},
                        "upcasters": [{"from_version": "1.0", "steps": [{"default": {"size": 0}}]}]});
    world.post(&staff, "/events/types", second).await.expect(201);
    create(json!({"id": "W-1", "colour": "red"})).await.expect(200);
    assert_eq!(
        create(json!({"id": "W-1", "colour": "blue"})).await.problem(422),
        "idempotency_key_reused"
    );
    assert_eq!(count_events(&world).await, 1);
}
