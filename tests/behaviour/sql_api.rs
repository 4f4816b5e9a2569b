//! `post_event`, `event_stream` and `get_aggregate_events`: the log for SQL and PostgREST, under the same rules as the HTTP API.

mod schemas;
mod unreadable;

use serde_json::{Value, json};
use tests::{Person, World, redacted};
use tokio_postgres::Client;
use tokio_postgres::error::DbError;
use uuid::Uuid;

fn event() -> Value {
    json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "C-1",
           "data": {"name": "Ada", "email": "ada@example.com"}})
}

fn event_with(changes: Value) -> Value {
    let mut event = event();
    for (name, value) in changes.as_object().unwrap() {
        match value {
            Value::String(text) if text == "(absent)" => drop(event.as_object_mut().unwrap().remove(name)),
            value => event[name] = value.clone(),
        }
    }
    event
}

async fn post(session: &Client, event: &str) -> Result<Value, Box<DbError>> {
    match session
        .query_one("select public.post_event($1::text::jsonb)::text", &[&event])
        .await
    {
        Ok(row) => Ok(serde_json::from_str(row.get(0)).unwrap()),
        Err(error) => Err(Box::new(
            error.as_db_error().unwrap_or_else(|| panic!("{error:?}")).clone(),
        )),
    }
}

/// SQLSTATE (`PT` plus the HTTP status) and code of a refusal.
async fn refused(world: &World, person: &Person, event: &Value) -> (String, String) {
    let before = world.log().await;
    let session = world.session_of(person).await;
    let error = post(&session, &event.to_string()).await.expect_err(&event.to_string());
    assert_eq!(world.log().await, before, "{event}");
    (
        error.code().code().to_owned(),
        error.constraint().unwrap_or_default().to_owned(),
    )
}

fn pair(status: &str, code: &str) -> (String, String) {
    (status.to_owned(), code.to_owned())
}

#[tokio::test]
async fn an_event_posted_by_sql_equals_one_posted_over_http() {
    let world = World::new().await;
    let staff = Person::staff();
    let full = event_with(
        json!({"metadata": {"reason": "asked"}, "source": "psql", "timestamp": "2020-02-29T12:00:00+05:30", "version": "1.0",
        "correlation_id": "flow-1", "command_id": "cmd-1", "causation_id": Uuid::nil(), "idempotency_key": "key-1", "expected_version": 0,
        "created_by": staff.actor(), "user_id": staff.sub, "tenant_id": Uuid::nil()}),
    );
    let session = world.session_of(&staff).await;
    let posted = post(&session, &full.to_string()).await.unwrap();
    insta::assert_snapshot!(redacted(&posted), @r#"
    {
      "aggregate_id": "C-1",
      "aggregate_type": "customer",
      "aggregate_version": 1,
      "causation_id": "00000000-0000-0000-0000-000000000000",
      "command_id": "cmd-1",
      "correlation_id": "flow-1",
      "created_at": "[time]",
      "created_by": "user:[uuid]",
      "data": {
        "email": "ada@example.com",
        "name": "Ada"
      },
      "event_number": 1,
      "event_type": "customer.registered",
      "id": "[uuid]",
      "idempotency_key": "key-1",
      "metadata": {
        "reason": "asked"
      },
      "processed": false,
      "recorded": {
        "posted_by": "user:[uuid]"
      },
      "source": "psql",
      "tenant_id": "00000000-0000-0000-0000-000000000000",
      "timestamp": "[time]",
      "user_id": "[uuid]",
      "version": "1.0"
    }
    "#);
    let read = world
        .get(&staff, &format!("/events/{}", posted["id"].as_str().unwrap()))
        .await
        .expect(200)
        .body;
    for (name, value) in posted.as_object().unwrap() {
        if !["created_at", "timestamp"].contains(&name.as_str()) {
            assert_eq!(&read[name], value, "{name}");
        }
    }
    assert_eq!(read["timestamp"], "2020-02-29T06:30:00.000000Z");
    assert_eq!(posted.as_object().unwrap().len(), read.as_object().unwrap().len());
    // A retry over either interface returns the original; another body with its key is refused.
    assert_eq!(post(&session, &full.to_string()).await.unwrap()["id"], posted["id"]);
    assert_eq!(
        world.post(&staff, "/events", full).await.expect(200).body["id"],
        posted["id"]
    );
    assert_eq!(
        refused(&world, &staff, &event_with(json!({"idempotency_key": "key-1"}))).await,
        pair("PT422", "idempotency_key_reused")
    );
    // The projector projects it like any other event.
    world.projector.sweep().await.unwrap();
    assert_eq!(
        world.get(&staff, "/entities/customer/C-1").await.expect(200).body["projected_version"],
        1
    );
}

#[tokio::test]
async fn sql_refuses_what_http_refuses() {
    let world = World::new().await;
    let staff = Person::staff();
    let deep = serde_json::from_str::<Value>(&format!("{}{}", "[".repeat(63), "]".repeat(63))).unwrap();
    let long: Value = serde_json::from_str(&"1".repeat(1001)).unwrap();
    for changes in [
        json!({"colour": "red"}),
        json!({"event_number": 1}),
        json!({"aggregate_version": 1}),
        json!({"created_at": "2020-01-01T00:00:00Z"}),
        json!({"event_type": "(absent)"}),
        json!({"aggregate_type": "(absent)"}),
        json!({"aggregate_id": "(absent)"}),
        json!({"data": "(absent)"}),
        json!({"event_type": null}),
        json!({"aggregate_type": null}),
        json!({"aggregate_id": null}),
        json!({"data": null}),
        json!({"event_type": 1}),
        json!({"aggregate_id": 1}),
        json!({"data": []}),
        json!({"metadata": []}),
        json!({"correlation_id": {}}),
        json!({"expected_version": -1}),
        json!({"expected_version": "1"}),
        json!({"expected_version": 1.5}),
        json!({"expected_version": 2147483647}),
        json!({"aggregate_id": ""}),
        json!({"aggregate_id": "x".repeat(129)}),
        json!({"aggregate_id": "a\nb"}),
        json!({"aggregate_id": "a\u{200b}b"}),
        json!({"aggregate_id": "\u{202e}a"}),
        json!({"aggregate_id": "\u{85}"}),
        json!({"source": ""}),
        json!({"source": "x".repeat(101)}),
        json!({"source": "a\nb"}),
        json!({"correlation_id": "x".repeat(129)}),
        json!({"correlation_id": "a\u{200b}"}),
        json!({"command_id": ""}),
        json!({"idempotency_key": "x".repeat(256)}),
        json!({"causation_id": "one"}),
        json!({"user_id": "one"}),
        json!({"tenant_id": "one"}),
        json!({"created_by": "ada"}),
        json!({"created_by": "user:"}),
        json!({"timestamp": "infinity"}),
        json!({"timestamp": "-infinity"}),
        json!({"timestamp": "now"}),
        json!({"timestamp": "2026-01-01"}),
        json!({"timestamp": "294276-01-01T00:00:00Z"}),
        json!({"timestamp": "2026-01-01T00:00:00"}),
        json!({"timestamp": "4713-01-01 BC"}),
        json!({"timestamp": "0000-01-01T00:00:00Z"}),
        json!({"timestamp": "2026-02-30T00:00:00Z"}),
        json!({"timestamp": "9999-12-31T23:59:59-01:00"}),
        json!({"data": {"name": "N", "email": "a@b.cd", "x": deep}}),
        json!({"metadata": {"x": deep}}),
        json!({"data": {"name": "N", "email": "a@b.cd", "x": [long]}}),
    ] {
        let body = event_with(changes);
        let answer = world.post(&staff, "/events", body.clone()).await;
        assert_eq!(answer.status, 400, "{}", answer.text);
        let (status, code) = refused(&world, &staff, &body).await;
        assert_eq!(
            (status.as_str(), code.as_str()),
            ("PT400", "malformed_event"),
            "{:.200}",
            body.to_string()
        );
    }
    for not_object in [json!([]), json!("event"), json!(null), json!(1)] {
        assert_eq!(
            refused(&world, &staff, &not_object).await,
            pair("PT400", "malformed_event")
        );
    }
    assert_eq!(world.log().await.events, 0);
}

#[tokio::test]
async fn names_that_http_refuses_in_a_token_cannot_post_in_sql() {
    let world = World::new().await;
    let session = world.session_of(&Person::service("crm")).await;
    for name in ["", "a b", "a\u{200b}", "Zoe\u{308}", &"a".repeat(95)] {
        let mut claims = Person::service("crm").claims();
        claims["app_metadata"]["name"] = json!(name);
        let claims = claims.to_string();
        session
            .execute("select set_config('request.jwt.claims', $1, false)", &[&claims])
            .await
            .unwrap();
        let error = post(&session, &event().to_string()).await.expect_err(name);
        assert_eq!(
            (error.code().code(), error.constraint()),
            ("PT401", Some("caller_unknown")),
            "{name}"
        );
    }
    assert_eq!(world.log().await.events, 0);
}

#[tokio::test]
async fn null_counts_as_absent_in_sql_as_over_http() {
    let world = World::new().await;
    let staff = Person::staff();
    let mut nulls = event_with(
        json!({"metadata": null, "version": null, "created_by": null, "user_id": null, "tenant_id": null, "source": null,
        "timestamp": null, "correlation_id": null, "causation_id": null, "command_id": null, "idempotency_key": null, "expected_version": null}),
    );
    world.post(&staff, "/events", nulls.clone()).await.expect(201);
    nulls["aggregate_id"] = json!("C-2");
    let posted = post(&world.session_of(&staff).await, &nulls.to_string()).await.unwrap();
    assert_eq!((&posted["metadata"], &posted["source"]), (&json!({}), &json!("api")));
}

#[tokio::test]
async fn rules_of_the_catalog_actors_and_streams_apply_to_sql() {
    let world = World::new().await;
    let (staff, user, service) = (Person::staff(), Person::user(), Person::service("crm"));
    for (changes, status, code) in [
        (
            json!({"event_type": "customer.vanished"}),
            "PT422",
            "unknown_event_type",
        ),
        (json!({"aggregate_type": "order"}), "PT422", "aggregate_type_mismatch"),
        (json!({"version": "7.0"}), "PT422", "unknown_version"),
        (json!({"data": {"name": "Ada"}}), "PT422", "schema_violation"),
        (
            json!({"data": {"name": 1, "email": "a@b.cd"}}),
            "PT422",
            "schema_violation",
        ),
        (json!({"expected_version": 1}), "PT409", "version_conflict"),
        (json!({"created_by": "system"}), "PT403", "actor_forged"),
        (json!({"user_id": Uuid::new_v4()}), "PT403", "actor_forged"),
        (json!({"tenant_id": Uuid::new_v4()}), "PT403", "tenant_forged"),
    ] {
        assert_eq!(
            refused(&world, &staff, &event_with(changes.clone())).await,
            pair(status, code),
            "{changes}"
        );
    }
    let updated = json!({"event_type": "customer.updated", "data": {"changes": {"name": {"old": null, "new": "B"}}}});
    assert_eq!(
        refused(&world, &user, &event_with(updated)).await,
        pair("PT403", "event_type_forbidden")
    );
    assert_eq!(
        refused(&world, &Person::agent("pricing"), &event()).await,
        pair("PT403", "event_type_forbidden")
    );
    post(&world.session_of(&staff).await, &event().to_string())
        .await
        .unwrap();
    assert_eq!(
        refused(&world, &user, &event()).await,
        pair("PT403", "stream_of_another")
    );
    assert_eq!(
        refused(&world, &user, &event_with(json!({"expected_version": 0}))).await,
        pair("PT403", "stream_of_another")
    );
    let named = event_with(json!({"created_by": user.actor(), "aggregate_id": "C-2"}));
    let posted = post(&world.session_of(&service).await, &named.to_string())
        .await
        .unwrap();
    assert_eq!(
        (
            &posted["created_by"],
            &posted["user_id"],
            &posted["recorded"]["posted_by"]
        ),
        (&json!(user.actor()), &json!(user.sub), &json!("service:crm"))
    );
}

#[tokio::test]
async fn views_and_functions_show_what_http_shows() {
    let world = World::new().await;
    let (staff, ada, eve) = (Person::staff(), Person::user(), Person::user());
    let stranger = Person::staff().in_tenant(Uuid::new_v4());
    world.post(&ada, "/events", event()).await.expect(201);
    world
        .append(&ada, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world.project().await;
    world
        .append(&ada, "customer.profile_updated", "C-1", json!({"phone": "2"}))
        .await;
    world
        .append(&staff, "order.created", "C-1", json!({"customer_id": "C-1"}))
        .await;
    for (person, events, versions) in [
        (&staff, 4, vec![1, 2, 3]),
        (&ada, 3, vec![1, 2, 3]),
        (&eve, 0, vec![]),
        (&stranger, 0, vec![]),
    ] {
        let session = world.session_of(person).await;
        let count: i64 = session
            .query_one("select count(*) from public.event_stream", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(count, events);
        let rows = session
            .query(
                "select aggregate_version, processed from public.get_aggregate_events('customer', 'C-1')",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(
            rows.iter().map(|row| row.get::<_, i32>(0)).collect::<Vec<_>>(),
            versions
        );
        assert!(
            rows.iter()
                .all(|row| row.get::<_, bool>(1) == (row.get::<_, i32>(0) <= 2))
        );
        let later = session
            .query(
                "select aggregate_version from public.get_aggregate_events('customer', 'C-1', 3)",
                &[],
            )
            .await
            .unwrap();
        assert_eq!(later.len(), usize::from(!versions.is_empty()));
    }
}

#[tokio::test]
async fn without_claims_or_as_anon_nothing_is_visible() {
    let world = World::new().await;
    world.post(&Person::staff(), "/events", event()).await.expect(201);
    let session = world.api_login().await;
    session.batch_execute("set role authenticated").await.unwrap();
    let count: i64 = session
        .query_one("select count(*) from public.event_stream", &[])
        .await
        .unwrap()
        .get(0);
    assert_eq!(count, 0);
    let error = post(&session, &event_with(json!({"aggregate_id": "C-2"})).to_string())
        .await
        .expect_err("no caller");
    assert_eq!(
        (error.code().code(), error.constraint()),
        ("PT401", Some("caller_unknown"))
    );
    let superuser = world.superuser().await;
    superuser.batch_execute("set role anon").await.unwrap();
    for sql in [
        "select * from public.event_stream",
        "select public.post_event('{}')",
        "select * from public.get_aggregate_events('a', 'b')",
        "select * from public.customers",
    ] {
        let error = superuser.batch_execute(sql).await.expect_err(sql);
        assert_eq!(
            error.code().map(|c| c.code().to_owned()).as_deref(),
            Some("42501"),
            "{sql}"
        );
    }
    assert_eq!(world.log().await.events, 1);
}
