//! `If-Match` makes a change conditional on the version that its author has read.

use axum::http::Method;
use serde_json::{Value, json};
use tests::{Answer, Person, World};

use super::{ADA, history, with_ada};

async fn patch_if(world: &World, person: &Person, tag: &str, body: Value) -> Answer {
    world
        .request(Method::PATCH, person, ADA, &[("if-match", tag)], Some(body))
        .await
}

#[tokio::test]
async fn if_match_allows_a_change_only_at_the_version_that_it_names() {
    let (world, staff) = with_ada().await;
    let before = world.log().await;
    for tag in ["\"0\"", "\"2\"", "\"99\""] {
        assert_eq!(
            patch_if(&world, &staff, tag, json!({"name": "Eve"})).await.problem(412),
            "version_mismatch",
            "{tag}"
        );
        let answer = world
            .request(Method::DELETE, &staff, ADA, &[("if-match", tag)], None)
            .await;
        assert_eq!(answer.problem(412), "version_mismatch", "{tag}");
        // Also if the change would have no effect.
        assert_eq!(
            patch_if(&world, &staff, tag, json!({"name": "Ada"})).await.problem(412),
            "version_mismatch"
        );
    }
    for tag in ["1", "\"one\"", "\"\"", "", "\"1", "W/\"1", "\"99999999999\""] {
        assert_eq!(
            patch_if(&world, &staff, tag, json!({"name": "Eve"})).await.problem(400),
            "invalid_if_match",
            "{tag}"
        );
    }
    assert_eq!(world.log().await, before);
    patch_if(&world, &staff, "\"1\"", json!({"name": "Eve"}))
        .await
        .expect(200);
    patch_if(&world, &staff, "*", json!({"name": "Ada"})).await.expect(200);
    assert_eq!(
        patch_if(&world, &staff, "\"1\"", json!({"name": "Eve"}))
            .await
            .problem(412),
        "version_mismatch"
    );
    world
        .request(Method::DELETE, &staff, ADA, &[("if-match", "\"3\"")], None)
        .await
        .expect(200);
}

#[tokio::test]
async fn of_concurrent_updates_with_one_version_one_wins_and_without_a_version_all_do() {
    let (world, staff) = with_ada().await;
    let tied = (0..8).map(|n| patch_if(&world, &staff, "\"1\"", json!({"phone": n.to_string()})));
    let mut statuses: Vec<u16> = futures_util::future::join_all(tied.collect::<Vec<_>>())
        .await
        .iter()
        .map(|a| a.status)
        .collect();
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 412, 412, 412, 412, 412, 412, 412]);
    let free = (0..8).map(|n| world.patch(&staff, ADA, json!({"segment": format!("S{n}")})));
    for answer in futures_util::future::join_all(free.collect::<Vec<_>>()).await {
        answer.expect(200);
    }
    let events = history(&world, "C-1").await;
    assert_eq!(events.len(), 10);
    // Each event names as old the value that it found.
    for pair in events[2..].windows(2) {
        assert_eq!(
            pair[1]["data"]["changes"]["segment"]["old"],
            pair[0]["data"]["changes"]["segment"]["new"]
        );
    }
}
