//! A reason is read from the body. A body that would not be read is refused.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

use super::{ADA, history, with_ada};

async fn delete(world: &World, person: &Person, path: &str, body: Value) -> Answer {
    world.request(Method::DELETE, person, path, &[], Some(body)).await
}

#[tokio::test]
async fn a_deletion_reads_its_reason_from_the_body() {
    let (world, staff) = with_ada().await;
    delete(&world, &staff, ADA, json!({"reason": "typo"})).await.expect(200);
    assert_eq!(history(&world, "C-1").await[1]["metadata"]["reason"], "typo");
}

#[tokio::test]
async fn a_deletion_refuses_members_that_it_would_ignore() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    for body in [
        json!({"why": "typo"}),
        json!({"reason": 1}),
        json!({"reason": ""}),
        json!({"reason": "r".repeat(1_001)}),
        json!([]),
        json!("typo"),
    ] {
        assert_eq!(
            delete(&world, &staff, ADA, body).await.problem(400),
            "malformed_request"
        );
    }
    let two = delete(&world, &staff, &format!("{ADA}?reason=gdpr"), json!({"reason": "typo"})).await;
    assert_eq!(two.problem(400), "malformed_request");
    assert_eq!(world.log().await, before);
    for body in [json!({}), json!({"reason": "gdpr"})] {
        let (world, staff) = with_ada().await;
        delete(&world, &staff, &format!("{ADA}?reason=gdpr"), body)
            .await
            .expect(200);
        assert_eq!(history(&world, "C-1").await[1]["metadata"]["reason"], "gdpr");
    }
}

#[tokio::test]
async fn a_retried_deletion_must_have_the_same_reason() {
    let (world, staff) = with_ada().await;
    let delete = async |body: Value| {
        let headers = [("idempotency-key", "k")];
        world.request(Method::DELETE, &staff, ADA, &headers, Some(body)).await
    };
    delete(json!({"reason": "typo"})).await.expect(200);
    delete(json!({"reason": "typo"})).await.expect(200);
    assert_eq!(
        delete(json!({"reason": "gdpr"})).await.problem(422),
        "idempotency_key_reused"
    );
}

#[tokio::test]
async fn a_body_where_none_belongs_is_refused() {
    let (world, staff) = with_ada().await;
    let reason = json!({"reason": "why not"});
    for path in [
        ADA,
        "/events",
        "/projector/status",
        "/entities/customer/C-1/diff?from=1",
    ] {
        let answer = world
            .request(Method::GET, &staff, path, &[], Some(reason.clone()))
            .await;
        assert_eq!(answer.problem(400), "unexpected_body", "{path}");
    }
    let sweep = world.post(&staff, "/projector/sweep", reason.clone()).await;
    assert_eq!(sweep.problem(400), "unexpected_body");
    world
        .request(Method::POST, &staff, "/projector/sweep", &[], None)
        .await
        .expect(202);
    world.post(&staff, "/projector/sweep", json!({})).await.expect(202);
    let rebuild = world.post(&staff, "/projector/rebuild", reason).await;
    assert_eq!(rebuild.problem(400), "malformed_request");
}
