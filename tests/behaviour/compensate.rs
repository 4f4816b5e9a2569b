//! `POST /events/{id}/compensate` appends the declared inverse of an event to its stream, with that event as its cause.

mod module;
mod previous_state;
mod races;
mod refusals;

use axum::http::Method;
use module::{compensate, post_widget_event, register, state, world};
use serde_json::{Value, json};
use tests::{Person, World, redacted};

#[tokio::test]
async fn a_compensation_is_an_event_of_the_stream_with_its_cause_and_reason() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A", "colour": "red"})).await;
    let event = json!({"event_type": "widget.updated", "aggregate_type": "widget", "aggregate_id": "W-1", "correlation_id": "flow-1",
                       "data": {"changes": {"colour": {"new": "blue"}, "price": {"new": 5.50}}}});
    let id = world.post(&staff, "/events", event).await.expect(201).body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let body = json!({"reason": "the wrong colour", "metadata": {"ticket": 7}});
    let answer = compensate(&world, &staff, &id, body).await.expect(201);
    let location = answer.header("location").expect("a location").to_owned();
    assert_eq!(
        location,
        format!("/api/v1/events/{}", answer.body["id"].as_str().unwrap())
    );
    let stored = world
        .get(&staff, location.trim_start_matches("/api/v1"))
        .await
        .expect(200);
    assert_eq!(answer.body, stored.body);
    assert_eq!(answer.body["causation_id"], json!(id));
    assert_eq!(answer.body["created_by"], json!(staff.actor()));
    assert_eq!(
        (
            &answer.body["event_type"],
            &answer.body["aggregate_version"],
            &answer.body["correlation_id"]
        ),
        (&json!("widget.updated"), &json!(3), &json!("flow-1"))
    );
    assert_eq!(
        answer.body["data"],
        json!({"changes": {"colour": {"old": "blue", "new": "red"}, "price": {"old": 5.50, "new": null}}})
    );
    assert_eq!(
        (&answer.body["metadata"]["reason"], &answer.body["metadata"]["ticket"]),
        (&json!("the wrong colour"), &json!(7))
    );
    assert_eq!(
        state(&world, &staff).await.0,
        json!({"name": "A", "colour": "red", "price": null})
    );
    let caused = world
        .get(&staff, &format!("/events?causation_id={id}"))
        .await
        .expect(200);
    assert_eq!(caused.items().len(), 1);
    // A wake-up is sent as for any other event.
    world.project().await;
    assert!(
        world
            .get(&staff, "/events/unprocessed")
            .await
            .expect(200)
            .items()
            .is_empty()
    );
    let shown = redacted(&world.get(&staff, "/entities/widget/W-1").await.expect(200).body);
    assert!(shown.contains("\"projected_version\": 3"), "{shown}");
}

/// For every effect that has an inverse, the state after the compensation equals the state before the event.
#[tokio::test]
async fn every_effect_is_reverted_by_its_inverse() {
    let table = [
        (
            "updated",
            json!({"changes": {"colour": {"new": "blue"}}}),
            "widget.updated",
        ),
        ("part.added", json!({"id": "9", "no": "x"}), "widget.part.removed"),
        ("part.updated", json!({"id": "1", "no": "y"}), "widget.part.updated"),
        ("part.removed", json!({"id": "2"}), "widget.part.added"),
        (
            "deleted",
            json!({"deleted_at": "2026-01-01T00:00:00Z"}),
            "widget.created",
        ),
    ];
    for (action, data, inverse) in table {
        let (world, staff) = world().await;
        let created =
            json!({"name": "A", "colour": "red", "parts": [{"id": "1", "no": "a", "size": 1}, {"id": "2", "no": "b"}]});
        post_widget_event(&world, &staff, "created", created).await;
        let before = state(&world, &staff).await;
        let id = post_widget_event(&world, &staff, action, data).await;
        assert_ne!(state(&world, &staff).await, before, "{action}");
        let answer = compensate(&world, &staff, &id, json!({})).await.expect(201);
        assert_eq!(answer.body["event_type"], inverse);
        assert_eq!(state(&world, &staff).await, before, "{action}");
        world.project().await;
        assert_eq!(state(&world, &staff).await, before, "{action}, projected");
    }
}

#[tokio::test]
async fn a_created_event_is_compensated_by_a_deletion_that_has_the_reason_if_its_schema_allows_one() {
    let (world, staff) = world().await;
    let id = post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let answer = compensate(&world, &staff, &id, json!({"reason": "entered twice"}))
        .await
        .expect(201)
        .body;
    let data = &answer["data"];
    assert_eq!((&data["name"], &data["reason"]), (&json!("A"), &json!("entered twice")));
    assert!(annals_domain::Timestamp::parse(data["deleted_at"].as_str().unwrap()).is_ok());
    assert_eq!(state(&world, &staff).await, (json!({"name": "A"}), true));
    // The schema of a removed child has no field for the reason.
    let other = World::new().await;
    module::register_all(&other, &staff).await;
    post_widget_event(&other, &staff, "created", json!({"name": "A"})).await;
    let id = post_widget_event(&other, &staff, "part.added", json!({"id": "1"})).await;
    let answer = compensate(&other, &staff, &id, json!({"reason": "not ours"}))
        .await
        .expect(201)
        .body;
    assert_eq!(
        (&answer["data"], &answer["metadata"]["reason"]),
        (&json!({"id": "1"}), &json!("not ours"))
    );
}

#[tokio::test]
async fn a_compensation_is_compensated_like_any_event() {
    let (world, staff) = world().await;
    let created = post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let deletion = compensate(&world, &staff, &created, json!({})).await.expect(201).body;
    let again = compensate(&world, &staff, deletion["id"].as_str().unwrap(), json!({}))
        .await
        .expect(201)
        .body;
    assert_eq!(
        (&again["event_type"], &again["data"]),
        (&json!("widget.created"), &json!({"name": "A"}))
    );
    assert_eq!(state(&world, &staff).await, (json!({"name": "A"}), false));
    assert_eq!(
        compensate(&world, &staff, &created, json!({})).await.problem(409),
        "already_compensated"
    );
}

#[tokio::test]
async fn declared_data_are_taken_from_the_event_in_its_current_version() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "moved", json!({"from": "nowhere", "to": "a"})).await;
    let old = post_widget_event(&world, &staff, "moved", json!({"from": "a", "to": "b"})).await;
    let answer = compensate(&world, &staff, &old, json!({})).await.expect(201).body;
    assert_eq!(answer["data"], json!({"from": "b", "to": "a", "why": "a mistake"}));
    // From 2.0 on the fields have other names, so the stored event is upcast first.
    let old = post_widget_event(&world, &staff, "moved", json!({"from": "a", "to": "c"})).await;
    let kind = json!({"event_type": "widget.moved", "aggregate_type": "widget", "version": "2.0", "description": "Was moved.",
                      "effect": {"set": {"place": "/to"}}, "posters": ["staff"], "example": {"source": "a", "to": "b"},
                      "schema": {"type": "object", "required": ["source", "to"], "properties": {"from": false}},
                      "inverse": {"event_type": "widget.moved", "data": {"source": "/to", "to": "/source"}},
                      "upcasters": [{"from_version": "1.0", "to_version": "2.0", "steps": [{"rename": {"from": "source"}}]}]});
    world.post(&staff, "/events/types", kind).await.expect(201);
    let answer = compensate(&world, &staff, &old, json!({})).await.expect(201).body;
    assert_eq!(
        (&answer["version"], &answer["data"]),
        (&json!("2.0"), &json!({"source": "c", "to": "a"}))
    );
    assert_eq!(state(&world, &staff).await.0["place"], "a");
}

#[tokio::test]
async fn an_empty_body_is_accepted_and_a_retry_with_the_same_key_returns_the_first_answer() {
    let (world, staff) = world().await;
    let id = post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let path = format!("/events/{id}/compensate");
    let ask = async |key: &str, body: Option<Value>| {
        world
            .request(Method::POST, &staff, &path, &[("idempotency-key", key)], body)
            .await
    };
    let first = ask("k-1", None).await.expect(201);
    let again = ask("k-1", None).await.expect(200);
    assert_eq!(first.body, again.body);
    assert_eq!(ask("k-1", Some(json!({}))).await.expect(200).body, first.body);
    assert_eq!(
        ask("k-1", Some(json!({"reason": "other"}))).await.problem(422),
        "idempotency_key_reused"
    );
    assert_eq!(ask("k-2", None).await.problem(409), "already_compensated");
    assert_eq!(
        world.post_text(&staff, &path, "").await.problem(409),
        "already_compensated"
    );
    let deletion = first.body["id"].as_str().unwrap();
    let other = world
        .request(
            Method::POST,
            &staff,
            &format!("/events/{deletion}/compensate"),
            &[("idempotency-key", "k-1")],
            None,
        )
        .await;
    assert_eq!(other.problem(422), "idempotency_key_reused");
}

#[tokio::test]
async fn users_compensate_in_streams_that_they_started() {
    let (world, staff) = world().await;
    let user = Person::user();
    post_widget_event(&world, &user, "created", json!({"name": "A"})).await;
    let id = post_widget_event(&world, &user, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    let answer = compensate(&world, &user, &id, json!({"reason": "a slip"}))
        .await
        .expect(201)
        .body;
    assert_eq!(answer["created_by"], json!(user.actor()));
    assert_eq!(state(&world, &staff).await.0, json!({"name": "A"}));
}

/// A compensation that staff skipped has corrected nothing, so the event may be compensated again.
#[tokio::test]
async fn a_skipped_compensation_does_not_count() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let id = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    let first = compensate(&world, &staff, &id, json!({})).await.expect(201).body;
    let skip = "insert into annals.skipped_events (tenant_id, event_id, instruction_id, aggregate_version, aggregate_type, aggregate_id)
                select tenant_id, id, id, aggregate_version, aggregate_type, aggregate_id from annals.events where id = $1";
    let skipped: uuid::Uuid = first["id"].as_str().unwrap().parse().unwrap();
    world.owner().await.execute(skip, &[&skipped]).await.unwrap();
    assert_eq!(state(&world, &staff).await.0, json!({"name": "B"}));
    let second = compensate(&world, &staff, &id, json!({})).await.expect(201).body;
    assert_ne!(second["id"], first["id"]);
    assert_eq!(state(&world, &staff).await.0, json!({"name": "A"}));
    assert_eq!(
        compensate(&world, &staff, &id, json!({})).await.problem(409),
        "already_compensated"
    );
}

#[tokio::test]
async fn events_can_be_compensated_as_soon_as_their_type_declares_an_inverse() {
    let (world, staff) = world().await;
    let elsewhere = world.elsewhere();
    let id = post_widget_event(&world, &staff, "noted", json!({"text": "t"})).await;
    assert_eq!(
        compensate(&elsewhere, &staff, &id, json!({})).await.problem(422),
        "no_inverse"
    );
    let inverse = json!({"event_type": "widget.noted", "data": {"text": {"const": "never mind"}}});
    register(
        &world,
        &staff,
        "noted",
        "1.1",
        &json!("none"),
        &json!({"type": "object"}),
        Some(inverse),
    )
    .await;
    let answer = compensate(&elsewhere, &staff, &id, json!({})).await.expect(201).body;
    assert_eq!(answer["data"], json!({"text": "never mind"}));
}
