//! `ETag` and `If-None-Match`: an answer that the reader already has is not sent again, and tags differ if and only if bytes differ.

use axum::http::Method;
use serde_json::json;
use tests::{Answer, Person, World};

use super::{ADA, with_ada};

async fn get_unless(world: &World, person: &Person, tag: &str) -> Answer {
    world
        .request(Method::GET, person, ADA, &[("if-none-match", tag)], None)
        .await
}

fn tag(answer: &Answer) -> String {
    answer.header("etag").expect("a tag").to_owned()
}

#[tokio::test]
async fn a_request_with_the_current_tag_is_answered_304() {
    let (world, staff) = with_ada().await;
    let current = tag(&world.get(&staff, ADA).await.expect(200));
    for known in [
        current.clone(),
        format!("W/{current}"),
        format!("\"other\", {current}"),
        format!("W/\"other\" , W/{current}"),
        "*".to_owned(),
    ] {
        let answer = get_unless(&world, &staff, &known).await;
        assert_eq!((answer.status, &*answer.text), (304, ""), "{known}");
        assert_eq!(tag(&answer), current);
    }
    for unknown in ["\"other\"", "\"2\"", "W/\"2\"", "nonsense", ""] {
        assert_eq!(get_unless(&world, &staff, unknown).await.status, 200, "{unknown}");
    }
    world.patch(&staff, ADA, json!({"phone": "1"})).await.expect(200);
    assert_eq!(
        get_unless(&world, &staff, &current).await.expect(200).body["version"],
        2
    );
    let missing = world
        .request(
            Method::GET,
            &staff,
            "/entities/customer/C-9",
            &[("if-none-match", "*")],
            None,
        )
        .await;
    assert_eq!(missing.problem(404), "not_found");
}

#[tokio::test]
async fn tags_differ_if_and_only_if_bytes_differ() {
    let (world, staff) = with_ada().await;
    let waiting = world.get(&staff, ADA).await.expect(200);
    assert_eq!(tag(&world.get(&staff, ADA).await.expect(200)), tag(&waiting));
    world.project().await;
    let projected = world.get(&staff, ADA).await.expect(200);
    assert_ne!(projected.text, waiting.text);
    assert_ne!(tag(&projected), tag(&waiting));
    assert_eq!(get_unless(&world, &staff, &tag(&waiting)).await.status, 200);
    assert_eq!(get_unless(&world, &staff, &tag(&projected)).await.status, 304);
    // A later schema changes how old events read, at the same version.
    let types = world
        .get(&staff, "/events/types/customer.created")
        .await
        .expect(200)
        .body;
    let kind = json!({"event_type": "customer.created", "version": "2.0", "schema": types["schema"], "example": types["example"],
                      "upcasters": [{"from_version": "1.0", "steps": [{"default": {"segment": "none"}}]}]});
    world.post(&staff, "/events/types", kind).await.expect(201);
    let upcast = world.get(&staff, ADA).await.expect(200);
    assert_eq!(
        (&upcast.body["version"], &upcast.body["state"]["segment"]),
        (&json!(1), &json!("none"))
    );
    assert_ne!(tag(&upcast), tag(&projected));
}

#[tokio::test]
async fn the_tag_of_a_write_or_a_read_can_be_used_for_the_next_write() {
    let (world, staff) = with_ada().await;
    let patch_if = async |tag: &str, phone: &str| {
        let body = Some(json!({"phone": phone}));
        world
            .request(Method::PATCH, &staff, ADA, &[("if-match", tag)], body)
            .await
    };
    let read = tag(&world.get(&staff, ADA).await.expect(200));
    world.project().await;
    // It has been projected meanwhile, but not changed.
    let written = tag(&patch_if(&read, "1").await.expect(200));
    assert_eq!(written, "\"2\"");
    assert_eq!(patch_if(&read, "2").await.problem(412), "version_mismatch");
    patch_if(&format!("\"1\", {written}"), "2").await.expect(200);
    assert_eq!(patch_if("W/\"3\"", "3").await.problem(412), "version_mismatch");
}

/// A client that continues from the answer to its write already has that state.
#[tokio::test]
async fn the_tag_of_a_write_answers_304_until_the_write_is_projected() {
    let (world, staff) = with_ada().await;
    let written = world.patch(&staff, ADA, json!({"phone": "1"})).await.expect(200);
    assert_eq!(get_unless(&world, &staff, &tag(&written)).await.status, 304);
    world.project().await;
    let read = get_unless(&world, &staff, &tag(&written)).await.expect(200);
    assert_ne!(read.text, written.text);
}
