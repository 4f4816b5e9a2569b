//! Who may revert, and uploads of which nothing can be reverted.

use serde_json::json;
use tests::{Person, World};
use uuid::Uuid;

use super::{counts, dry_run, revert, rows, scalar, status, uploaded};

/// Lets agents post what an upload of sales appends, and with `inverses` what compensates it.
async fn world_of_agents(inverses: bool) -> World {
    let world = World::new().await;
    let deleted = if inverses { ", 'sale.deleted'" } else { "" };
    let sql = format!(
        "update annals.event_types set posters = '{{user,agent,staff,service}}' where event_type in ('sale.created', 'sale.updated'{deleted})"
    );
    world.owner().await.batch_execute(&sql).await.unwrap();
    world
}

#[tokio::test]
async fn only_who_may_compensate_the_events_may_revert_the_upload() {
    let agent = Person::agent("buyer");
    let world = world_of_agents(false).await;
    let upload = uploaded(&world, &agent, &rows(0..3)).await;
    let before = world.log().await;
    for answer in [
        revert(&world, &agent, &upload).await,
        dry_run(&world, &agent, &upload).await,
    ] {
        assert_eq!(answer.problem(403), "event_type_forbidden");
        assert!(
            answer.body["detail"].as_str().unwrap().contains("sale.deleted"),
            "{}",
            answer.body
        );
    }
    assert_eq!(world.log().await, before);
    assert!(world.rows_of("annals.reverts").await.is_empty());
    // Staff may compensate any event of the tenant. The agent then sees that it was done, and not the reason.
    let done = revert(&world, &Person::staff(), &upload).await.expect(200).body;
    assert_eq!(counts(&done["revert"]), [3, 3, 0]);
    let seen = status(&world, &agent, &upload).await.expect(200).body;
    assert_eq!(
        (&seen["status"], &seen["revert"]["reason"]),
        (&json!("reverted"), &json!(null))
    );

    let world = world_of_agents(true).await;
    let upload = uploaded(&world, &agent, &rows(0..3)).await;
    revert(&world, &Person::agent("other"), &upload).await.problem(404);
    let done = revert(&world, &agent, &upload).await.expect(200).body;
    assert_eq!(counts(&done["revert"]), [3, 3, 0]);
}

/// An agent does not see the state of an entity that others have changed since.
#[tokio::test]
async fn entities_that_the_caller_does_not_see_are_left_alone() {
    let (world, agent) = (world_of_agents(true).await, Person::agent("buyer"));
    let upload = uploaded(&world, &agent, &rows(0..4)).await;
    world
        .patch(&Person::staff(), "/entities/sale/S-2", json!({"product": "Lamp"}))
        .await
        .expect(200);
    let done = revert(&world, &agent, &upload).await.expect(200).body;
    assert_eq!(counts(&done["revert"]), [4, 3, 1]);
    assert_eq!(done["revert"]["left_by_code"], json!({"state_hidden": 1}));
}

#[tokio::test]
async fn unknown_uploads_and_those_of_others_are_not_found() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..2)).await;
    let elsewhere = Person::staff().in_tenant(Uuid::now_v7());
    for (person, id) in [
        (&staff, Uuid::now_v7().to_string()),
        (&staff, "no-uuid".to_owned()),
        (&elsewhere, upload.clone()),
        (&Person::user(), upload.clone()),
    ] {
        assert_eq!(revert(&world, person, &id).await.problem(404), "not_found");
        let path = format!("/data/uploads/{id}/revert");
        assert_eq!(world.get(person, &path).await.problem(404), "not_found");
    }
    assert_eq!(
        world
            .all_pages(&staff, &format!("/data/uploads/{upload}/revert"))
            .await
            .len(),
        0
    );
}

#[tokio::test]
async fn uploads_that_have_not_ended_or_appended_nothing_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    let waiting = revert(&world, &staff, &asked.id.to_string()).await;
    assert_eq!(waiting.problem(409), "upload_not_ended");
    world.put_file(&asked, rows(0..9_000)).await;
    world.import_a_little(&asked).await.unwrap();
    let running = revert(&world, &staff, &asked.id.to_string()).await;
    assert_eq!(running.problem(409), "upload_not_ended");

    let dry = world
        .upload_sales(&staff, &[("dry_run", "true")], rows(20_000..20_005))
        .await
        .expect(200)
        .body;
    let answer = revert(&world, &staff, dry["upload_id"].as_str().unwrap()).await;
    assert_eq!(answer.problem(409), "nothing_to_revert");
    assert!(
        answer.body["detail"].as_str().unwrap().contains("dry run"),
        "{}",
        answer.body
    );
    uploaded(&world, &staff, &rows(20_000..20_005)).await;
    let duplicates = uploaded(&world, &staff, &rows(20_000..20_005)).await;
    assert_eq!(
        revert(&world, &staff, &duplicates).await.problem(409),
        "nothing_to_revert"
    );
    let refused = world
        .upload_sales(
            &staff,
            &[("mode", "all_or_nothing")],
            "sale_id,sale_date,amount\nX-1,2026-01-31,1.00\nX-2,never,1.00\n",
        )
        .await
        .expect(200)
        .body;
    assert_eq!(refused["status"], "failed");
    let answer = revert(&world, &staff, refused["upload_id"].as_str().unwrap()).await;
    assert_eq!(answer.problem(409), "nothing_to_revert");
    assert!(world.rows_of("annals.reverts").await.is_empty());
}

/// A failed import leaves what it had appended. That can be reverted.
#[tokio::test]
async fn what_a_failed_import_had_appended_is_reverted() {
    let (world, staff) = (World::new().await, Person::staff());
    let asked = world.ask_for_upload(&staff, json!({"dataset": "sales"})).await;
    world.put_file(&asked, rows(0..9_000)).await;
    world.import_a_little(&asked).await.unwrap();
    std::fs::remove_file(world.files.0.join(asked.id.to_string())).unwrap();
    world.importer().import(asked.id, None).await.unwrap();
    let failed = world.upload(&staff, &asked).await.expect(200).body;
    let appended = failed["events_appended"].as_i64().unwrap();
    assert_eq!(failed["status"], "failed");
    assert!(appended > 0, "{failed}");
    let answer = revert(&world, &staff, &asked.id.to_string()).await;
    assert!([200, 202].contains(&answer.status), "{}", answer.body);
    world.importer().import_due(None).await.unwrap();
    let done = world.upload(&staff, &asked).await.expect(200).body;
    assert_eq!(
        (&done["status"], &done["failure"]["code"]),
        (&json!("reverted"), &json!("file_changed"))
    );
    assert_eq!(counts(&done["revert"]), [appended, appended, 0]);
    world.sweep().await;
    assert_eq!(
        scalar(&world, "select count(*) from public.sales where deleted_at is null").await,
        0
    );
}

#[tokio::test]
async fn faulty_requests_are_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    let upload = uploaded(&world, &staff, &rows(0..2)).await;
    let path = format!("/data/uploads/{upload}/revert");
    for (path, body, code) in [
        (path.clone(), json!({"reason": ""}), "malformed_request"),
        (path.clone(), json!({"reason": "r", "colour": 1}), "malformed_request"),
        (format!("{path}?dry_run=maybe"), json!({}), "invalid_parameter"),
        (format!("{path}?colour=1"), json!({}), "invalid_parameter"),
    ] {
        let answer = world.post(&staff, &path, body).await;
        assert_eq!(answer.problem(400), code, "{}", answer.body);
    }
    assert!(world.rows_of("annals.reverts").await.is_empty());
    // The body is optional.
    world
        .request(axum::http::Method::POST, &staff, &path, &[], None)
        .await
        .expect(200);
}
