//! The sweep finds streams that no wake-up reached, moves its checkpoint only past events that are visible and projected or parked, and
//! counts every event once.
//!
//! Open transactions of other tests in the same cluster may hold a single sweep back. So tests sweep until everything is done
//! (`World::sweep`), or check what must not have happened.

use std::sync::Arc;

use futures_util::future::join_all;
use projector::Projector;
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

async fn append_customers(world: &World, person: &Person, prefix: &str, count: usize) {
    let event = |place: usize| {
        json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": format!("{prefix}-{place}"),
               "data": {"name": "N"}})
    };
    let events: Vec<Value> = (0..count).map(event).collect();
    world
        .post(person, "/events", json!({"events": events}))
        .await
        .expect(201);
}

async fn position(world: &World) -> i64 {
    world.app.store.sweep_position().await.unwrap()
}

/// (the counts by type, the events in the log behind the checkpoint, the checkpoint's own count). The counts by minute must add up to the
/// same, because no test takes 25 hours.
async fn counts(world: &World) -> (i64, i64, i64) {
    let by_minute = "select (select coalesce(sum(events), 0) from annals.event_rates) = (select coalesce(sum(events), 0) from annals.event_counts)";
    let same: bool = world.superuser().await.query_one(by_minute, &[]).await.unwrap().get(0);
    assert!(same, "the counts by minute and by type differ");
    let counts = "select (select coalesce(sum(events), 0)::bigint from annals.event_counts),
        (select count(*) from annals.events e where e.event_number <= c.position), c.event_count
        from annals.checkpoints c where name = 'sweep'";
    let row = world.superuser().await.query_one(counts, &[]).await.unwrap();
    (row.get(0), row.get(1), row.get(2))
}

#[tokio::test]
async fn a_sweep_reaches_the_end_and_returns_its_position() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_customers(&world, &staff, "C", 7).await;
    assert_eq!(world.sweep().await, 7);
    assert_eq!(position(&world).await, world.last_event_number().await);
    let status = world.get(&staff, "/projector/status").await.expect(200);
    assert_eq!(status.body["sweep_position"], world.last_event_number().await);
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn a_sweep_requested_over_http_arrives_as_a_message() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_customers(&world, &staff, "C", 3).await;
    drop(world.take_wake_ups().await);
    assert_eq!(
        world
            .post(&Person::user(), "/projector/sweep", json!({}))
            .await
            .problem(403),
        "staff_only"
    );
    world.post(&staff, "/projector/sweep", json!({})).await.expect(202);
    let asked = world.take_wake_ups().await;
    assert_eq!(asked, [r#"{"sweep":{}}"#]);
    while position(&world).await < world.last_event_number().await {
        assert!(world.deliver(asked.clone()).await.is_empty());
    }
    world.assert_read_models_are_the_fold().await;
}

#[tokio::test]
async fn an_open_append_holds_the_sweep_back_so_that_it_skips_nothing() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_customers(&world, &staff, "before", 2).await;
    world.sweep().await;
    let before = position(&world).await;

    let session = world.session_of(&staff).await;
    session.batch_execute("begin").await.unwrap();
    let event = r#"{"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "late", "data": {"name": "L"}}"#;
    session
        .query("select public.post_event($1::text::jsonb)", &[&event])
        .await
        .unwrap();
    append_customers(&world, &staff, "after", 2).await;
    drop(world.take_wake_ups().await);

    let swept = world.projector.sweep().await.unwrap();
    assert_eq!(
        (swept.position, position(&world).await),
        (before, before),
        "an event may still become visible before those that are"
    );
    session.batch_execute("commit").await.unwrap();
    assert_eq!(world.sweep().await, 3);
    assert_eq!(world.rows_of("public.customers").await.len(), 5);
    assert_eq!(counts(&world).await, (5, 5, 5));
}

#[tokio::test]
async fn the_sweep_passes_the_gap_of_a_rolled_back_append() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.session_of(&staff).await;
    session.batch_execute("begin").await.unwrap();
    let event = r#"{"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": "never", "data": {"name": "L"}}"#;
    session
        .query("select public.post_event($1::text::jsonb)", &[&event])
        .await
        .unwrap();
    session.batch_execute("rollback").await.unwrap();
    append_customers(&world, &staff, "C", 2).await;
    world.sweep().await;
    assert_eq!(counts(&world).await, (2, 2, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_sweeps_count_every_event_once() {
    let world = Arc::new(World::without_requirements().await);
    let people = [Person::staff(), Person::staff().in_tenant(Uuid::new_v4())];
    let appending = people.clone().into_iter().map(|person| {
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            for round in 0..8 {
                append_customers(&world, &person, &format!("R{round}"), 25).await;
            }
        })
    });
    let appending: Vec<_> = appending.collect();
    let sweeping: Vec<_> = (0..4)
        .map(|_| {
            let projector = Projector::new(world.app.store.clone(), None);
            tokio::spawn(async move {
                for _ in 0..6 {
                    projector.sweep().await.expect("a sweep");
                }
            })
        })
        .collect();
    for done in join_all(appending.into_iter().chain(sweeping)).await {
        done.unwrap();
    }
    let (counted, behind, own) = counts(&world).await;
    assert_eq!(
        (counted, own),
        (behind, behind),
        "at any position, the counts are those of the log up to it"
    );
    world.sweep().await;
    assert_eq!(counts(&world).await, (400, 400, 400));
    world.assert_read_models_are_the_fold().await;
    for person in &people {
        let stats = world.get(person, "/events/stats").await.expect(200);
        assert_eq!(
            (&stats.body["total_events"], &stats.body["unprocessed_events"]),
            (&json!(200), &json!(0))
        );
    }
}

#[tokio::test]
async fn figures_are_exact_wherever_the_sweeps_checkpoint_is() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    for swept in [false, true, false] {
        append_customers(&world, &staff, &Uuid::new_v4().to_string(), 4).await;
        if swept {
            world.sweep().await;
        }
        let stats = world.get(&staff, "/events/stats").await.expect(200).body;
        let log: i64 = world
            .superuser()
            .await
            .query_one("select count(*) from annals.events", &[])
            .await
            .unwrap()
            .get(0);
        assert_eq!(
            (&stats["total_events"], &stats["events_by_type"]["customer.created"]),
            (&json!(log), &json!(log))
        );
    }
}

#[tokio::test]
async fn a_sweep_that_fails_keeps_its_last_safe_position() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    append_customers(&world, &staff, "C", 2).await;
    world.begin_outage("public.customers").await;
    while world.projector.sweep().await.is_ok() {
        assert_eq!(position(&world).await, 0, "held back by an open append, or not at all");
    }
    assert_eq!(position(&world).await, 0);
    assert!(
        world.rows_of("annals.parked_streams").await.is_empty(),
        "an outage parks no stream"
    );
    world.end_outage("public.customers").await;
    assert_eq!(world.sweep().await, 2);
}

#[tokio::test]
async fn the_sweep_passes_parked_streams_without_retrying_them() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let year = json!({"id": "fy", "start_date": "2026-03-31", "end_date": "2025-04-01"});
    world
        .append(&staff, "organization.financial_year.added", "O", year)
        .await;
    world.sweep().await;
    append_customers(&world, &staff, "C", 1).await;
    world.sweep().await;
    let parked = world.rows_of("annals.parked_streams").await;
    assert_eq!((parked.len(), &parked[0]["attempts"]), (1, &json!(1)));
    assert_eq!(position(&world).await, world.last_event_number().await);
}
