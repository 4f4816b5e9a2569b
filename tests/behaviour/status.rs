//! Figures and health: what `/events/stats`, `/projector/status`, `/status` and `/health` show to which callers.

mod cost;
mod figures;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tests::{Person, World, redacted};
use uuid::Uuid;

async fn world_with_events() -> (World, Person) {
    let world = World::new().await;
    let staff = Person::staff();
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "N"}))
        .await;
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "1"}))
        .await;
    world
        .append(&staff, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    world
        .append(
            &staff.clone().in_tenant(Uuid::new_v4()),
            "customer.created",
            "C-1",
            json!({"name": "N"}),
        )
        .await;
    (world, staff)
}

#[tokio::test]
async fn statistics_count_what_the_caller_sees() {
    let (world, staff) = world_with_events().await;
    let user = Person::user();
    world
        .append(&user, "order.created", "O-2", json!({"customer_id": "C-1"}))
        .await;
    let staff_sees = async |person: &Person, unprocessed: i64| {
        let mut body = world.get(person, "/events/stats").await.expect(200).body;
        let rates = body["storage_rate"].take();
        assert_eq!(
            (&rates["last_minute"]["events"], &rates["last_hour"]["events"]),
            (&json!(4), &json!(4))
        );
        let upcasting = body["upcasting"].take();
        assert_eq!((&upcasting["succeeded"], &upcasting["failed"]), (&json!(0), &json!(0)));
        assert_eq!(
            body,
            json!({"total_events": 4, "events_last_24_hours": 4, "unprocessed_events": unprocessed, "parked_events": 0,
                   "events_by_type": {"customer.created": 1, "customer.profile_updated": 1, "order.created": 2},
                   "snapshots": {"hits": 0, "misses": 0, "corrupt": 0, "hit_rate": null}, "storage_rate": null, "upcasting": null,
                   "last_replay": null})
        );
    };
    // The same before the projector has run, after it, and after its sweep has counted the events.
    staff_sees(&staff, 4).await;
    world.project().await;
    staff_sees(&staff, 0).await;
    world.sweep().await;
    staff_sees(&Person::service("crm"), 0).await;
    let own = world.get(&user, "/events/stats").await.expect(200);
    assert_eq!(
        own.body,
        json!({"total_events": 1, "events_last_24_hours": 1, "unprocessed_events": null, "events_by_type": {"order.created": 1}})
    );
    let nothing = world.get(&Person::agent("pricing"), "/events/stats").await.expect(200);
    assert_eq!(
        nothing.body,
        json!({"total_events": 0, "events_last_24_hours": 0, "unprocessed_events": null, "events_by_type": {}})
    );
}

#[tokio::test]
async fn the_projectors_status_shows_lag_and_rates_of_the_tenant() {
    let (world, staff) = world_with_events().await;
    let before = world.get(&staff, "/projector/status").await.expect(200);
    assert!((0..60).contains(&before.body["lag_seconds"].as_i64().unwrap()));
    let still = |mut body: Value| {
        body["lag_seconds"] = json!("[seconds]");
        redacted(&body)
    };
    insta::assert_snapshot!(still(before.body), @r#"
    {
      "kpis": {
        "changes_pending": 0,
        "changes_pending_exact": true,
        "lag_seconds": 0
      },
      "lag_events": 3,
      "lag_seconds": "[seconds]",
      "oldest_append": null,
      "parked_count": 0,
      "parked_events": 0,
      "parked_streams": [],
      "rates": {
        "appended": 3,
        "projected": 0,
        "window_seconds": 60
      },
      "rebuilds": [],
      "replays": [],
      "sweep_position": 0,
      "swept_at": "[time]",
      "unprocessed_events": 3
    }
    "#);
    world.project().await;
    world.sweep().await;
    let after = world.get(&staff, "/projector/status").await.expect(200).body;
    assert_eq!((&after["lag_events"], &after["lag_seconds"]), (&json!(0), &json!(0)));
    assert_eq!(
        after["rates"],
        json!({"window_seconds": 60, "appended": 3, "projected": 3})
    );
    assert_eq!(after["sweep_position"], 4);
    for person in [Person::user(), Person::agent("pricing")] {
        assert_eq!(
            world.get(&person, "/projector/status").await.problem(403),
            "staff_or_service_only"
        );
    }
    world
        .get(&Person::service("crm"), "/projector/status")
        .await
        .expect(200);
}

#[tokio::test]
async fn parked_streams_are_in_the_status_but_do_not_count_as_lag() {
    let (world, staff) = world_with_events().await;
    world
        .owner()
        .await
        .batch_execute("alter table public.customers add constraint broken check (phone is null)")
        .await
        .unwrap();
    world.project().await;
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    assert_eq!((&status["parked_count"], &status["lag_events"]), (&json!(1), &json!(0)));
    // Events after the one at fault wait with it, both behind the sweep's checkpoint and after it.
    let waiting = async |events: i64, appended: i64| {
        let status = world.get(&staff, "/projector/status").await.expect(200).body;
        assert_eq!((&status["lag_events"], &status["lag_seconds"]), (&json!(0), &json!(0)));
        assert_eq!(status["parked_events"], events);
        assert_eq!(status["unprocessed_events"], events);
        let listed = world.get(&staff, "/events/unprocessed").await.expect(200);
        let filtered = world.get(&staff, "/events?processed=false").await.expect(200);
        for list in [listed, filtered] {
            assert_eq!(list.items().len(), usize::try_from(events).unwrap());
        }
        let rates = json!({"window_seconds": 60, "appended": appended, "projected": appended - events});
        assert_eq!(status["rates"], rates);
        let stats = world.get(&staff, "/events/stats").await.expect(200).body;
        assert_eq!(
            (&stats["parked_events"], &stats["unprocessed_events"]),
            (&json!(events), &json!(events))
        );
    };
    waiting(1, 3).await;
    world.sweep().await;
    waiting(1, 3).await;
    for phone in ["2", "3"] {
        world
            .append(&staff, "customer.profile_updated", "C-1", json!({"phone": phone}))
            .await;
        world.project().await;
    }
    waiting(3, 5).await;
    world.sweep().await;
    waiting(3, 5).await;
    let parked = &status["parked_streams"][0];
    assert_eq!(
        (
            &parked["aggregate_type"],
            &parked["aggregate_id"],
            &parked["aggregate_version"]
        ),
        (&json!("customer"), &json!("C-1"), &json!(2))
    );
    assert_eq!(parked["error_code"], "23514");
    let unprocessed = world.get(&staff, "/events/unprocessed").await.expect(200);
    assert_eq!(unprocessed.items()[0]["id"], parked["event_id"]);
    let stranger = staff.in_tenant(Uuid::new_v4());
    assert_eq!(
        world.get(&stranger, "/projector/status").await.expect(200).body["parked_count"],
        0
    );
}

#[tokio::test]
async fn unprocessed_events_are_listed_oldest_first_until_they_are_projected() {
    let (world, staff) = world_with_events().await;
    let items = world
        .get(&staff, "/events/unprocessed")
        .await
        .expect(200)
        .items()
        .clone();
    let types: Vec<&str> = items.iter().map(|e| e["event_type"].as_str().unwrap()).collect();
    assert_eq!(types, ["customer.created", "customer.profile_updated", "order.created"]);
    assert!(items.iter().all(|e| e["processed"] == false));
    world.project().await;
    assert!(
        world
            .get(&staff, "/events/unprocessed")
            .await
            .expect(200)
            .items()
            .is_empty()
    );
    world
        .append(&staff, "customer.profile_updated", "C-1", json!({"phone": "2"}))
        .await;
    let left = world.get(&staff, "/events/unprocessed").await.expect(200);
    assert_eq!(
        left.items().iter().map(|e| &e["aggregate_version"]).collect::<Vec<_>>(),
        [3]
    );
}

#[tokio::test]
async fn features_are_shown_to_callers_and_health_to_everyone() {
    let world = World::new().await;
    let features = json!({"auth": "active", "database": "active", "events": "active", "agents": "active"});
    let (user, staff) = (Person::user(), Person::staff());
    let health_of = async |person: &Person| {
        let status = world.get(person, "/status").await.expect(200).body;
        assert_eq!((&status["status"], &status["features"]), (&json!("ok"), &features));
        assert_eq!(status["health"]["event_store_healthy"], true);
        assert!(status["health"]["upcasters_registered"].is_i64());
        status["health"]["recent_activity"].as_bool().unwrap()
    };
    assert!(!health_of(&staff).await && !health_of(&user).await);
    world
        .append(&staff, "customer.created", "C-1", json!({"name": "N"}))
        .await;
    assert!(health_of(&staff).await && !health_of(&user).await);
    world
        .append(&user, "order.created", "O-1", json!({"customer_id": "C-1"}))
        .await;
    assert!(health_of(&user).await && !health_of(&staff.clone().in_tenant(Uuid::new_v4())).await);
    let health = world
        .send(Request::get("/api/v1/health").body(Body::empty()).unwrap())
        .await
        .expect(200);
    assert_eq!(health.body, json!({"status": "ok", "features": features}));
}

#[tokio::test]
async fn answers_carry_a_request_id_which_is_the_clients_own_if_usable() {
    let world = World::new().await;
    let get = async |id: &str| {
        let request = Request::get("/api/v1/nothing").header("x-request-id", id);
        world.send(request.body(Body::empty()).unwrap()).await
    };
    let own = get("abc-123_X").await;
    assert_eq!(
        (own.header("x-request-id"), own.body["request_id"].as_str()),
        (Some("abc-123_X"), Some("abc-123_X"))
    );
    let too_long = "x".repeat(65);
    for unusable in ["", "a b", "a\"b", too_long.as_str()] {
        let answer = get(unusable).await;
        let given = answer.header("x-request-id").unwrap();
        assert!(Uuid::try_parse(given).is_ok(), "{given}");
        assert_eq!(answer.body["request_id"], given);
    }
}
