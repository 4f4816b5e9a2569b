//! `application/merge-patch+json` (RFC 7396). Its events record old and new values, so state, rebuild and compensation agree.

use axum::body::Body;
use axum::http::{Method, Request, header};
use serde_json::{Value, json};
use tests::{Answer, Person, World};

const USER: &str = "/entities/user/U-1";

async fn patch_as(world: &World, person: &Person, content_type: &str, body: &Value) -> Answer {
    let request = Request::builder()
        .method(Method::PATCH)
        .uri(format!("/api/v1{USER}"))
        .header(header::AUTHORIZATION, format!("Bearer {}", person.token()))
        .header(header::CONTENT_TYPE, content_type);
    world.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn merge(world: &World, person: &Person, body: Value) -> Answer {
    patch_as(world, person, "application/merge-patch+json", &body).await
}

fn settings() -> Value {
    json!({"frequency": "immediate", "channels": ["email"], "quiet_hours": {"enabled": false}})
}

async fn with_user() -> (World, Person) {
    let (world, staff) = (World::new().await, Person::staff());
    let user = json!({"id": "U-1", "email": "u@example.com", "name": "U", "notification_settings": settings()});
    world.post(&staff, "/entities/user", user).await.expect(201);
    (world, staff)
}

#[tokio::test]
async fn members_are_merged_and_null_removes_them() {
    let (world, staff) = with_user().await;
    let patch = json!({"notification_settings": {"frequency": "daily", "channels": null}, "name": null});
    let answer = merge(&world, &staff, patch).await.expect(200);
    let merged = json!({"frequency": "daily", "quiet_hours": {"enabled": false}});
    assert_eq!(
        answer.body["state"],
        json!({"email": "u@example.com", "notification_settings": merged})
    );
    let history = world.all_pages(&staff, "/events/aggregate/user/U-1/history").await;
    assert_eq!(
        history[1]["data"],
        json!({"changes": {"notification_settings": {"old": settings(), "new": merged},
                           "name": {"old": "U", "new": null, "removed": true}}})
    );
    world.project().await;
    world.assert_read_models_are_the_fold().await;
    // A compensation restores the removed members.
    let path = format!("/events/{}/compensate", history[1]["id"].as_str().unwrap());
    world.post(&staff, &path, json!({})).await.expect(201);
    let state = world.get(&staff, USER).await.expect(200).body["state"].clone();
    assert_eq!(
        state,
        json!({"email": "u@example.com", "name": "U", "notification_settings": settings()})
    );
    world.project().await;
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn a_merge_without_an_effect_appends_no_event() {
    let (world, staff) = with_user().await;
    let before = world.log().await;
    for patch in [
        json!({}),
        json!({"expertise_domains": null}),
        json!({"notification_settings": {}}),
        json!({"notification_settings": {"quiet_hours": {"enabled": false, "from": null}}}),
    ] {
        merge(&world, &staff, patch).await.expect(200);
    }
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn the_result_of_a_merge_must_match_the_schema() {
    let (world, staff) = with_user().await;
    let before = world.log().await;
    for (patch, pointer) in [
        (json!({"email": null}), "/email"),
        (
            json!({"notification_settings": {"quiet_hours": {"enabled": null}}}),
            "/notification_settings/quiet_hours",
        ),
        (json!({"colour": {"a": null}}), "/colour"),
    ] {
        let answer = merge(&world, &staff, patch).await;
        assert_eq!(answer.problem(422), "schema_violation");
        assert_eq!(answer.body["errors"][0]["pointer"], pointer, "{}", answer.text);
    }
    assert_eq!(merge(&world, &staff, json!([])).await.problem(400), "malformed_request");
    assert_eq!(world.log().await, before);
}

#[tokio::test]
async fn plain_json_replaces_whole_fields_and_other_json_types_are_refused() {
    let (world, staff) = with_user().await;
    let patch = json!({"notification_settings": {"frequency": "daily"}, "name": null});
    let before = world.log().await;
    for content_type in [
        "application/json-patch+json",
        "application/vnd.api+json",
        "application/cloudevents+json",
        "text/plain",
    ] {
        let answer = patch_as(&world, &staff, content_type, &patch).await;
        assert_eq!(answer.problem(415), "unsupported_media_type", "{content_type}");
    }
    // A merge patch has no meaning for requests that do not patch.
    for content_type in ["application/merge-patch+json", "application/json-patch+json"] {
        let request = Request::post("/api/v1/entities/user")
            .header(header::AUTHORIZATION, format!("Bearer {}", staff.token()))
            .header(header::CONTENT_TYPE, content_type);
        let body = Body::from(json!({"email": "v@example.com"}).to_string());
        let answer = world.send(request.body(body).unwrap()).await;
        assert_eq!(answer.problem(415), "unsupported_media_type", "{content_type}");
    }
    assert_eq!(world.log().await, before);
    let answer = patch_as(&world, &staff, "application/json; charset=utf-8", &patch)
        .await
        .expect(200);
    assert_eq!(
        answer.body["state"],
        json!({"email": "u@example.com", "name": null, "notification_settings": {"frequency": "daily"}})
    );
}

#[tokio::test]
async fn a_merge_and_a_replacement_under_one_key_are_two_requests() {
    let (world, staff) = with_user().await;
    let patch = |content_type: &'static str| {
        let request = Request::builder()
            .method(Method::PATCH)
            .uri(format!("/api/v1{USER}"))
            .header(header::AUTHORIZATION, format!("Bearer {}", staff.token()))
            .header(header::CONTENT_TYPE, content_type)
            .header("idempotency-key", "k");
        world.send(request.body(Body::from(json!({"name": "V"}).to_string())).unwrap())
    };
    patch("application/merge-patch+json").await.expect(200);
    patch("application/merge-patch+json").await.expect(200);
    assert_eq!(patch("application/json").await.problem(422), "idempotency_key_reused");
}
