//! Staff's decisions about a parked event: `PUT /events/{id}/processing`.

use annals_append::AppendError;
use annals_domain::NewEvent;
use annals_domain::event::Part;
use annals_store::{RefusalKind, StoreError};
use serde_json::{Value, json};
use tests::{Answer, Person, World};

use super::{backwards_year, gst, outcome, post_history};

/// A world in which O-1 is parked at version 3; returns the poison event's id too.
async fn parked() -> (World, Person, String) {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let poison = post_history(&world, &staff, async |_| ()).await;
    world.project().await;
    let id = poison["id"].as_str().unwrap().to_owned();
    (world, staff, id)
}

async fn decide(world: &World, who: &Person, id: &str, decision: Value) -> Answer {
    world.put(who, &format!("/events/{id}/processing"), decision).await
}

async fn repair(world: &World) {
    let repair = "alter table public.organization_financial_years drop constraint organization_financial_years_order";
    world.owner().await.batch_execute(repair).await.unwrap();
}

async fn ids(world: &World, table: &str) -> Vec<String> {
    world
        .rows_of(table)
        .await
        .iter()
        .map(|row| row["id"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_retry_after_the_cause_is_corrected_projects_the_whole_stream() {
    let (world, staff, id) = parked().await;
    repair(&world).await;
    let event = decide(&world, &staff, &id, json!({"action": "retry", "reason": "corrected"}))
        .await
        .expect(200)
        .body;
    assert_eq!(event["event_type"], "projection.retried");
    assert_eq!(
        (&event["causation_id"], &event["data"]),
        (&json!(id), &json!({"event_id": id, "reason": "corrected"}))
    );
    assert_eq!(event["created_by"], staff.actor());
    assert_eq!(
        world.rows_of("annals.parked_streams").await.len(),
        1,
        "nothing changes before the projector runs"
    );
    world.project().await;
    world.assert_read_models_are_the_fold().await;
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    assert_eq!(ids(&world, "public.organization_financial_years").await, ["fy"]);
    let again = decide(&world, &staff, &id, json!({"action": "retry"})).await;
    assert_eq!(again.problem(409), "not_parked");
}

#[tokio::test]
async fn a_retry_without_a_correction_parks_again_and_counts_the_attempt() {
    let (world, staff, id) = parked().await;
    for attempts in 2..4 {
        decide(&world, &staff, &id, json!({"action": "retry"}))
            .await
            .expect(200);
        world.project().await;
        let parked = &world.rows_of("annals.parked_streams").await[0];
        assert_eq!(
            (&parked["attempts"], &parked["retrying"]),
            (&json!(attempts), &json!(false))
        );
    }
    assert!(outcome(&world).await.contains(&"head O-1 4 2".to_owned()));
}

#[tokio::test]
async fn a_skip_leaves_the_event_out_of_state_and_is_recorded_in_the_log() {
    let (world, staff, id) = parked().await;
    assert_eq!(
        decide(&world, &staff, &id, json!({"action": "skip"}))
            .await
            .problem(422),
        "reason_required"
    );
    let event = decide(&world, &staff, &id, json!({"action": "skip", "reason": "typing error"}))
        .await
        .expect(200)
        .body;
    assert_eq!(event["event_type"], "projection.skipped");
    world.project().await;
    assert_eq!(
        ids(&world, "public.organization_gst_registrations").await,
        ["g1", "g1", "g2"]
    );
    assert!(ids(&world, "public.organization_financial_years").await.is_empty());
    let all = outcome(&world).await;
    assert!(all.contains(&"head O-1 4 4".to_owned()), "{all:?}");
    assert!(
        !all.iter()
            .any(|line| line.starts_with("parked") || line.contains("start_date")),
        "{all:?}"
    );
    let skipped = &world.rows_of("annals.skipped_events").await[0];
    assert_eq!(
        (&skipped["event_id"], &skipped["instruction_id"]),
        (&json!(id), &event["id"])
    );
    let entity = world.get(&staff, "/entities/organization/O-1").await.expect(200);
    assert_eq!(entity.body["projected_version"], 4);
    assert!(entity.body["state"].get("financial_year").is_none(), "{}", entity.text);

    // A fold from zero gives the same, because the decision is in the log.
    let live = world.read_models().await;
    world.delete_read_models().await;
    world.sweep().await;
    assert_eq!(world.read_models().await, live);
}

/// The process remembers the state after the page with the poison event.
#[tokio::test]
async fn a_history_is_read_on_after_a_skip() {
    let (world, staff, id) = parked().await;
    let year = json!({"id": "fy", "start_date": "2026-04-01", "end_date": "2027-03-31"});
    world
        .append(&staff, "organization.financial_year.added", "O-1", year.clone())
        .await;
    let path = "/events/aggregate/organization/O-1/history?limit=3";
    let first = world.get(&staff, path).await.expect(200).body;
    let next = format!("{path}&cursor={}", first["next_cursor"].as_str().unwrap());
    let change = async || world.get(&staff, &next).await.expect(200).body["items"][1]["changes"].clone();
    let added = json!({"financial_year": {"old": null, "new": [year]}});
    assert_ne!(change().await, added, "the poison event has added it before");
    let skip = json!({"action": "skip", "reason": "typing error"});
    decide(&world, &staff, &id, skip).await.expect(200);
    world.project().await;
    assert_eq!(change().await, added);
}

#[tokio::test]
async fn only_staff_may_decide_and_only_about_parked_events() {
    let (world, staff, id) = parked().await;
    let retry = || json!({"action": "retry"});
    for other in [Person::user(), Person::agent("a"), Person::service("s")] {
        assert_eq!(decide(&world, &other, &id, retry()).await.problem(403), "staff_only");
    }
    let stranger = Person::staff().in_tenant(uuid::Uuid::new_v4());
    assert_eq!(decide(&world, &stranger, &id, retry()).await.problem(404), "not_found");
    let unknown = uuid::Uuid::now_v7().to_string();
    assert_eq!(
        decide(&world, &staff, &unknown, retry()).await.problem(404),
        "not_found"
    );
    assert_eq!(
        decide(&world, &staff, "not-a-uuid", retry()).await.problem(404),
        "not_found"
    );
    let fine = world
        .append(&staff, "customer.created", "C", json!({"name": "N"}))
        .await;
    let fine = fine["id"].as_str().unwrap();
    assert_eq!(decide(&world, &staff, fine, retry()).await.problem(409), "not_parked");
    for nonsense in [
        json!({}),
        json!({"action": "forget"}),
        json!({"action": "retry", "more": 1}),
        json!([]),
    ] {
        decide(&world, &staff, &id, nonsense).await.problem(400);
    }
    for reason in ["x".repeat(1001), String::new()] {
        for action in ["skip", "retry"] {
            let refused = decide(&world, &staff, &id, json!({"action": action, "reason": reason})).await;
            assert_eq!(refused.problem(400), "malformed_request");
            assert_eq!(refused.body["errors"][0]["pointer"], "/reason");
        }
    }
    let decisions = world.get(&staff, "/events?event_type=projection.*").await.expect(200);
    assert!(decisions.items().is_empty(), "a refused decision stores nothing");
}

#[tokio::test]
async fn two_poison_events_in_a_row_need_two_decisions() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let mut poison = Vec::new();
    world
        .append(&staff, "organization.created", "O", json!({"name": "One"}))
        .await;
    for id in ["fy1", "fy2"] {
        let event = world
            .append(&staff, "organization.financial_year.added", "O", backwards_year(id))
            .await;
        poison.push(event["id"].as_str().unwrap().to_owned());
    }
    world.append(&staff, "organization.gst.added", "O", gst("g")).await;
    world.project().await;
    for (place, id) in poison.iter().enumerate() {
        let parked = world.rows_of("annals.parked_streams").await;
        assert_eq!(
            (parked.len(), &parked[0]["event_id"], &parked[0]["attempts"]),
            (1, &json!(id), &json!(1))
        );
        assert_eq!(parked[0]["aggregate_version"], place + 2);
        decide(&world, &staff, id, json!({"action": "skip", "reason": "wrong"}))
            .await
            .expect(200);
        world.project().await;
    }
    assert!(world.rows_of("annals.parked_streams").await.is_empty());
    assert_eq!(ids(&world, "public.organization_gst_registrations").await, ["g"]);
    assert_eq!(world.rows_of("annals.skipped_events").await.len(), 2);
}

/// Two concurrent requests, or one sent twice: the log must not say that one event was both skipped and retried.
#[tokio::test]
async fn a_second_decision_is_refused_and_stores_nothing() {
    for second in ["skip", "retry"] {
        let (world, staff, id) = parked().await;
        let skipped = decide(&world, &staff, &id, json!({"action": "skip", "reason": "wrong"}))
            .await
            .expect(200);
        let again = json!({"action": second, "reason": "otherwise"});
        assert_eq!(
            decide(&world, &staff, &id, again.clone()).await.problem(409),
            "not_parked"
        );
        world.project().await;
        assert_eq!(decide(&world, &staff, &id, again).await.problem(409), "not_parked");
        assert!(world.rows_of("annals.parked_streams").await.is_empty(), "{second}");
        assert_eq!(world.rows_of("annals.skipped_events").await.len(), 1);
        assert!(outcome(&world).await.contains(&"head O-1 4 4".to_owned()));
        let decisions = world.all_pages(&staff, "/events?event_type=projection.*").await;
        assert_eq!(decisions.len(), 1);
        assert_eq!(decisions[0]["id"], skipped.body["id"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_concurrent_decisions_one_is_taken() {
    let (world, staff, id) = parked().await;
    let world = std::sync::Arc::new(world);
    let deciding: Vec<_> = (0..8)
        .map(|n| {
            let (world, staff, id) = (std::sync::Arc::clone(&world), staff.clone(), id.clone());
            let action = if n % 2 == 0 { "skip" } else { "retry" };
            tokio::spawn(async move {
                let decision = json!({"action": action, "reason": "so it is"});
                decide(&world, &staff, &id, decision).await.status
            })
        })
        .collect();
    let mut statuses = Vec::new();
    for task in deciding {
        statuses.push(task.await.unwrap());
    }
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409, 409, 409, 409, 409, 409, 409]);
    let decisions = world.all_pages(&staff, "/events?event_type=projection.*").await;
    assert_eq!(decisions.len(), 1);
}

/// If an attempt fails that began before the decision, a second decision must not become possible.
#[tokio::test]
async fn a_decision_stays_in_force_until_a_retry_has_failed() {
    let (world, staff, id) = parked().await;
    decide(&world, &staff, &id, json!({"action": "retry"}))
        .await
        .expect(200);
    let row = &world.rows_of("annals.parked_streams").await[0];
    let stream = annals_domain::StreamId {
        tenant_id: annals_domain::TenantId::DEFAULT,
        aggregate_type: "organization".to_owned().try_into().unwrap(),
        aggregate_id: "O-1".to_owned().try_into().unwrap(),
    };
    let late = annals_store::Parked {
        stream: &stream,
        event_id: id.parse().unwrap(),
        event_number: row["event_number"].as_i64().unwrap(),
        version: 3,
        error_code: "23514",
        error: "late",
    };
    world.app.store.park(&late).await.unwrap();
    assert_eq!(
        decide(&world, &staff, &id, json!({"action": "retry"}))
            .await
            .problem(409),
        "not_parked"
    );
    world.project().await;
    decide(&world, &staff, &id, json!({"action": "retry"}))
        .await
        .expect(200);
}

/// If the event was applied before the skip, the skip must be refused, because the event was not left out.
#[tokio::test]
async fn a_skip_of_an_event_that_was_applied_is_refused() {
    let (world, staff, id) = parked().await;
    repair(&world).await;
    decide(&world, &staff, &id, json!({"action": "retry"}))
        .await
        .expect(200);
    world.project().await;
    let late = json!({"event_type": "projection.skipped", "aggregate_type": "projection", "aggregate_id": id,
                      "data": {"event_id": id, "reason": "late"}});
    assert_eq!(
        world.post(&staff, "/events", late.clone()).await.problem(403),
        "event_type_forbidden"
    );
    // Appended as the endpoint does it if the stream was freed in between.
    let (mut late, _) = NewEvent::from_json(late, "").unwrap();
    late.part = Some(Part::Processing);
    let before = world.log().await;
    let refused = world.app.appends().append(&staff.caller(), &[late], &json!({})).await;
    let Err(AppendError::Store(StoreError::Refused(refusal))) = refused else {
        panic!("{refused:?}")
    };
    assert_eq!(
        (refusal.kind, refusal.code.as_str()),
        (RefusalKind::Conflict, "not_parked")
    );
    assert_eq!(world.log().await, before);
    world.project().await;
    assert!(world.rows_of("annals.skipped_events").await.is_empty());
    world.assert_read_models_are_the_fold().await;
}
