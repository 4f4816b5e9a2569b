//! Which compensations are refused, and why. A refusal stores nothing.

use annals_domain::NewEvent;
use annals_domain::event::Part;
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::module::{compensate, post_widget_event, register, world};

async fn places(world: &World, staff: &Person, id: &str) -> Vec<String> {
    let before = world.log().await;
    let answer = compensate(world, staff, id, json!({})).await;
    assert_eq!(answer.problem(409), "changed_since");
    assert_eq!(world.log().await, before);
    let errors = answer.body["errors"].as_array().expect("places");
    assert!(errors.iter().all(|e| e["code"] == "changed_since"));
    errors
        .iter()
        .map(|e| e["pointer"].as_str().expect("a pointer").to_owned())
        .collect()
}

#[tokio::test]
async fn a_compensation_that_would_revert_a_later_fact_is_refused_with_its_fields() {
    let (world, staff) = world().await;
    let created = post_widget_event(
        &world,
        &staff,
        "created",
        json!({"name": "A", "colour": "red", "parts": [{"id": "1", "no": "a"}]}),
    )
    .await;
    let blue = post_widget_event(
        &world,
        &staff,
        "updated",
        json!({"changes": {"colour": {"new": "blue"}, "price": {"new": 1}}}),
    )
    .await;
    assert_eq!(places(&world, &staff, &created).await, ["/colour", "/price"]);
    post_widget_event(
        &world,
        &staff,
        "updated",
        json!({"changes": {"colour": {"new": "green"}}}),
    )
    .await;
    assert_eq!(places(&world, &staff, &blue).await, ["/colour"]);
    let part = post_widget_event(&world, &staff, "part.updated", json!({"id": "1", "no": "b", "size": 1})).await;
    post_widget_event(&world, &staff, "part.updated", json!({"id": "1", "size": 2})).await;
    assert_eq!(places(&world, &staff, &part).await, ["/parts/1/size"]);
    post_widget_event(&world, &staff, "part.removed", json!({"id": "1"})).await;
    assert_eq!(places(&world, &staff, &part).await, ["/parts/1"]);
    let moved = post_widget_event(&world, &staff, "moved", json!({"from": "a", "to": "b"})).await;
    post_widget_event(&world, &staff, "moved", json!({"from": "b", "to": "c"})).await;
    assert_eq!(places(&world, &staff, &moved).await, ["/place"]);
    let late = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    post_widget_event(&world, &staff, "deleted", json!({"deleted_at": "2026-01-01T00:00:00Z"})).await;
    assert_eq!(places(&world, &staff, &late).await, ["/deleted"]);
}

#[tokio::test]
async fn an_event_without_an_inverse_cannot_be_compensated() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A", "parts": [{"id": "1"}]})).await;
    let noted = post_widget_event(&world, &staff, "noted", json!({})).await;
    assert_eq!(
        compensate(&world, &staff, &noted, json!({})).await.problem(422),
        "no_inverse"
    );
    // An inverse is declared, but does not apply: the child existed before and was replaced.
    let replaced = post_widget_event(&world, &staff, "part.added", json!({"id": "1", "no": "x"})).await;
    assert_eq!(
        compensate(&world, &staff, &replaced, json!({})).await.problem(422),
        "no_inverse"
    );
    let again = post_widget_event(&world, &staff, "created", json!({"name": "B"})).await;
    assert_eq!(
        compensate(&world, &staff, &again, json!({})).await.problem(422),
        "no_inverse"
    );
}

#[tokio::test]
async fn an_event_without_an_effect_on_state_cannot_be_compensated() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let same = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "A"}}})).await;
    assert_eq!(
        compensate(&world, &staff, &same, json!({})).await.problem(409),
        "not_applied"
    );
    let skipped = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    let parked = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "C"}}})).await;
    let owner = world.owner().await;
    let skip = "insert into annals.skipped_events (tenant_id, event_id, instruction_id, aggregate_version, aggregate_type, aggregate_id)
                select tenant_id, id, id, aggregate_version, aggregate_type, aggregate_id from annals.events where id = $1";
    owner.execute(skip, &[&skipped.parse::<Uuid>().unwrap()]).await.unwrap();
    assert_eq!(
        compensate(&world, &staff, &skipped, json!({})).await.problem(409),
        "not_applied"
    );
    let park = "insert into annals.parked_streams (tenant_id, event_id, event_number, aggregate_version, aggregate_type, aggregate_id, error_code, error)
                select tenant_id, id, event_number, aggregate_version, aggregate_type, aggregate_id, '23514', 'broken' from annals.events where id = $1";
    owner.execute(park, &[&parked.parse::<Uuid>().unwrap()]).await.unwrap();
    assert_eq!(
        compensate(&world, &staff, &parked, json!({})).await.problem(409),
        "not_applied"
    );
}

#[tokio::test]
async fn hidden_events_are_not_found_and_an_inverse_that_the_caller_may_not_post_is_refused() {
    let (world, staff) = world().await;
    let (user, other, service) = (Person::user(), Person::user(), Person::service("crm"));
    post_widget_event(&world, &user, "created", json!({"name": "A"})).await;
    let id = post_widget_event(&world, &user, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    let before = world.log().await;
    let elsewhere = staff.clone().in_tenant(Uuid::new_v4());
    for stranger in [&other, &elsewhere, &Person::agent("pricing")] {
        assert_eq!(
            compensate(&world, stranger, &id, json!({})).await.problem(404),
            "not_found"
        );
    }
    for nothing in [Uuid::new_v4().to_string(), "nothing".to_owned(), "%20".to_owned()] {
        assert_eq!(
            compensate(&world, &staff, &nothing, json!({})).await.problem(404),
            "not_found"
        );
    }
    // The caller's own event in another actor's stream: the caller sees the event, but not the entity's state.
    let theirs = json!({"event_type": "widget.updated", "aggregate_type": "widget", "aggregate_id": "W-1", "created_by": other.actor(),
                        "user_id": other.sub, "data": {"changes": {"colour": {"new": "red"}}}});
    let theirs = world.post(&service, "/events", theirs).await.expect(201).body["id"]
        .as_str()
        .unwrap()
        .to_owned();
    assert_eq!(
        compensate(&world, &other, &theirs, json!({})).await.problem(403),
        "state_hidden"
    );
    // A caller who may not post the inverse.
    let kind = json!({"event_type": "widget.updated", "aggregate_type": "widget", "version": "1.2", "description": "Was updated.",
                      "effect": "changes", "posters": ["staff"], "schema": {"type": "object", "required": ["changes"]},
                      "example": {"changes": {}}, "inverse": {"event_type": "widget.updated"}});
    world.post(&staff, "/events/types", kind).await.expect(201);
    assert_eq!(
        compensate(&world, &user, &id, json!({})).await.problem(403),
        "event_type_forbidden"
    );
    assert_eq!(world.log().await.events, before.events + 1);
    compensate(&world, &staff, &id, json!({})).await.expect(201);
}

#[tokio::test]
async fn the_projectors_own_events_are_not_compensated() {
    let (world, staff) = world().await;
    let parked = Uuid::new_v4();
    // A parked event, about which a decision can be taken.
    let park = format!(
        "insert into annals.parked_streams (tenant_id, event_id, event_number, aggregate_version, aggregate_type, aggregate_id, error_code, error)
         values ('{}', '{parked}', 1, 1, 'widget', 'W-9', '23514', 'by hand')",
        staff.tenant
    );
    world.owner().await.batch_execute(&park).await.unwrap();
    let decision = json!({"event_type": "projection.retried", "aggregate_type": "projection", "aggregate_id": parked,
                          "data": {"event_id": parked, "reason": "so it is"}});
    let (mut decision, _) = NewEvent::from_json(decision, "").unwrap();
    decision.part = Some(Part::Processing);
    let appends = world.app.appends();
    let appended = appends
        .append_one(&staff.caller(), &decision, &json!({}))
        .await
        .unwrap();
    let id = appended.id.to_string();
    assert_eq!(
        compensate(&world, &staff, &id, json!({})).await.problem(422),
        "no_inverse"
    );
}

#[tokio::test]
async fn the_inverse_is_checked_against_its_schema_like_any_event() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    post_widget_event(&world, &staff, "moved", json!({"from": "a", "to": "b"})).await;
    let deleted = post_widget_event(&world, &staff, "deleted", json!({"deleted_at": "2026-01-01T00:00:00Z"})).await;
    // A deleted entity is restored as it was, even if the schema for new entities does not allow that.
    let back = compensate(&world, &staff, &deleted, json!({})).await.expect(201).body;
    assert_eq!(back["data"], json!({"name": "A", "place": "b"}));
    // Declared data whose pointers find nothing are left out, and then a required field is missing.
    let inverse = json!({"event_type": "widget.moved", "data": {"from": "/nowhere", "to": "/from"}});
    let schema = json!({"type": "object"});
    register(&world, &staff, "noted", "1.1", &json!("none"), &schema, Some(inverse)).await;
    let noted = post_widget_event(&world, &staff, "noted", json!({"from": "x"})).await;
    assert_eq!(
        compensate(&world, &staff, &noted, json!({})).await.problem(422),
        "schema_violation"
    );
}

#[tokio::test]
async fn a_body_may_contain_only_the_reason() {
    let (world, staff) = world().await;
    let id = post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let before = world.log().await;
    let long = "x".repeat(1001);
    for (body, code) in [
        (json!({"data": {}}), "malformed_request"),
        (json!({"expected_version": 1}), "malformed_request"),
        (json!({"reason": 5}), "malformed_request"),
        (json!({"reason": ""}), "malformed_request"),
        (json!({"reason": long}), "malformed_request"),
        (json!({"metadata": []}), "malformed_request"),
        (json!([]), "malformed_request"),
        (Value::Null, "malformed_request"),
    ] {
        let answer = compensate(&world, &staff, &id, body.clone()).await;
        assert_eq!(answer.problem(400), code, "{body}");
    }
    let fat = json!({"metadata": {"x": "y".repeat(17_000)}});
    let fat = compensate(&world, &staff, &id, fat).await;
    assert_eq!(fat.problem(413), "metadata_too_large");
    let path = format!("/events/{id}/compensate");
    assert_eq!(world.post_text(&staff, &path, "{").await.status, 400);
    assert_eq!(world.post_text(&staff, &path, " ").await.status, 400);
    assert_eq!(
        world
            .post(&staff, &format!("{path}?force=yes"), json!({}))
            .await
            .problem(400),
        "invalid_parameter"
    );
    assert_eq!(world.log().await, before);
}

/// An event whose metadata or cause claim that it compensates another one does not count as a compensation.
#[tokio::test]
async fn an_event_that_only_looks_like_a_compensation_does_not_count_as_one() {
    let (world, staff) = world().await;
    post_widget_event(&world, &staff, "created", json!({"name": "A"})).await;
    let id = post_widget_event(&world, &staff, "updated", json!({"changes": {"name": {"new": "B"}}})).await;
    let forged = json!({"event_type": "widget.updated", "aggregate_type": "widget", "aggregate_id": "W-1", "causation_id": id,
                        "metadata": {"compensates": id, "request_digest": "x"}, "data": {"changes": {"colour": {"new": "red"}}}});
    world.post(&staff, "/events", forged.clone()).await.expect(201);
    let session = world.session_of(&staff).await;
    session
        .execute("select public.post_event($1)", &[&forged])
        .await
        .unwrap();
    compensate(&world, &staff, &id, json!({})).await.expect(201);
}
