//! Checkpoints: a name belongs to one consumer, two processes never both move it, and only those who see the tenant see it.

use std::sync::Mutex;

use annals::replay::{Batch, Replay, ReplayError, replay, replay_batches};
use annals_domain::{CheckpointName, Event, TenantId, Timestamp};
use annals_store::RefusalKind;
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

use super::{GaveUp, customer, delivered, delivered_until, in_batches_of, numbers, of_types, under};

#[tokio::test]
async fn a_name_used_with_another_selection_is_refused() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 3).await;
    let own = of_types(&["order.*", "customer.registered"], under("daily"));
    assert_eq!(delivered(&world, &own).await.len(), 1);
    let now = Some(Timestamp::now());
    for other in [
        under("daily"),
        of_types(&["order.*"], under("daily")),
        of_types(&["order.created", "customer.registered"], under("daily")),
        Replay {
            tenant: Some(TenantId::from(Uuid::nil())),
            ..own.clone()
        },
        Replay { to: now, ..own.clone() },
    ] {
        let (seen, refused) = delivered_until(&world, &other, 0).await;
        let Err(ReplayError::Checkpoint(refusal)) = refused else {
            panic!("{other:?} was accepted: {refused:?}");
        };
        assert_eq!(
            (refusal.code.as_str(), refusal.kind, seen),
            ("checkpoint_taken", RefusalKind::Conflict, vec![])
        );
        assert!(
            refusal
                .message
                .contains(r#""event_types": ["customer.registered", "order.*"]"#),
            "{}",
            refusal.message
        );
    }
    // The same selection written differently, or with options that do not change what is delivered, is the same consumer.
    customer(&world, &staff, "C-2", 0).await;
    let same = of_types(
        &["customer.registered", "order.*", "order.*"],
        in_batches_of(1, under("daily")),
    );
    assert_eq!(delivered(&world, &same).await.len(), 1);
}

/// A job that replays the last day's events every day: a later start selects nothing that the checkpoint has already passed.
#[tokio::test]
async fn the_same_name_may_continue_with_a_later_start_but_not_with_an_earlier_one() {
    let (world, staff) = (World::new().await, Person::staff());
    let since = |ago: i64| Replay {
        from: Some(Timestamp::from(chrono::Utc::now() - chrono::TimeDelta::hours(ago))),
        ..under("daily")
    };
    customer(&world, &staff, "C-1", 1).await;
    assert_eq!(delivered(&world, &since(24)).await.len(), 2);
    customer(&world, &staff, "C-2", 0).await;
    assert_eq!(delivered(&world, &since(23)).await.len(), 1);
    for earlier in [since(25), under("daily")] {
        let (seen, refused) = delivered_until(&world, &earlier, 0).await;
        assert!(matches!(refused, Err(ReplayError::Checkpoint(_))), "{refused:?}");
        assert!(seen.is_empty());
    }
}

#[tokio::test]
async fn names_are_one_to_a_hundred_printable_characters_and_sweep_is_reserved() {
    let name = |text: &str| CheckpointName::try_from(text.to_owned());
    let world = World::new().await;
    let owner = world.owner().await;
    for bad in ["", "two\nlines", "hid\u{200B}den", &"x".repeat(101)] {
        assert!(name(bad).is_err(), "{bad:?}");
        let insert = "insert into annals.checkpoints (name, consumer) values ($1, '{}')";
        let error = owner.execute(insert, &[&bad]).await.unwrap_err();
        assert_eq!(error.code().unwrap().code(), "23514", "{bad:?}: {error}");
    }
    assert_eq!(
        name("sweep").unwrap_err().to_string(),
        "must not be sweep: the projector uses that name"
    );
    assert!(name(&"ü".repeat(100)).is_ok());
}

/// The second process begins while the first one handles its first batch, and finishes before it.
#[tokio::test]
async fn of_two_processes_with_one_name_one_moves_the_checkpoint_and_the_other_stops() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 9).await;
    let wanted = in_batches_of(4, under("twice"));
    let second = Mutex::new(None);
    let batches = replay_batches(&world.app.store, &wanted, async |batch: Batch| {
        let all = numbers(&delivered(&world.elsewhere(), &wanted).await);
        let before = second.lock().unwrap().replace(all);
        assert!(before.is_none(), "the other process continued: {:?}", batch.events);
        Ok::<(), GaveUp>(())
    });
    let error = batches.await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "checkpoint_moved: another process is using the checkpoint twice"
    );
    assert_eq!(second.into_inner().unwrap().unwrap().len(), 10);
    assert_eq!(delivered(&world, &wanted).await, [] as [Value; 0]);
    assert_eq!(figures(&world, "twice").await["event_count"], 10, "counted once");
}

async fn figures(world: &World, name: &str) -> Value {
    let sql = "select to_jsonb(c)::text from annals.checkpoints c where name = $1";
    let row = world.owner().await.query_one(sql, &[&name]).await.unwrap();
    serde_json::from_str(row.get(0)).unwrap()
}

#[tokio::test]
async fn figures_of_the_last_run_are_stored_with_the_position() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 9).await;
    let wanted = in_batches_of(3, under("figures"));
    delivered_until(&world, &wanted, 5).await.1.unwrap_err();
    let failed = figures(&world, "figures").await;
    assert_eq!(
        (&failed["event_count"], &failed["run_event_count"]),
        (&json!(3), &json!(3))
    );
    assert!(
        failed["run_started_at"].is_string() && failed["run_ended_at"].is_null(),
        "{failed}"
    );

    delivered(&world, &wanted).await;
    let ended = figures(&world, "figures").await;
    assert_eq!(
        (&ended["event_count"], &ended["run_event_count"]),
        (&json!(10), &json!(7))
    );
    let times = ["run_started_at", "updated_at", "run_ended_at"].map(|name| ended[name].as_str().unwrap());
    assert!(
        failed["updated_at"].as_str().unwrap() < times[0] && times.is_sorted(),
        "{ended}"
    );
    assert_eq!(
        ended["consumer"],
        json!({"tenant_id": null, "event_types": null, "from": null, "to": null})
    );

    // A run with nothing to do counts as a run, and does not move the position.
    delivered(&world, &wanted).await;
    let idle = figures(&world, "figures").await;
    assert_eq!(
        (&idle["event_count"], &idle["run_event_count"]),
        (&json!(10), &json!(0))
    );
    assert_eq!(idle["updated_at"], ended["updated_at"]);
    assert!(idle["run_ended_at"].as_str() > ended["run_ended_at"].as_str());
}

#[tokio::test]
async fn only_callers_who_see_the_tenant_see_its_replays() {
    let (world, tenant) = (World::new().await, Uuid::from_u128(7));
    let staff = Person::staff().in_tenant(tenant);
    let user = Person::user().in_tenant(tenant);
    customer(&world, &staff, "C-1", 1).await;
    let own = Replay {
        tenant: Some(TenantId::from(tenant)),
        ..under("own")
    };
    delivered(&world, &own).await;
    delivered(&world, &under("operators")).await;
    let seen_by = async |person: &Person| -> Vec<String> {
        let sql = "select name from annals.checkpoints order by name";
        let rows = world.session_of(person).await.query(sql, &[]).await.unwrap();
        rows.iter().map(|row| row.get(0)).collect()
    };
    for knows in [staff.clone(), Person::service("billing").in_tenant(tenant)] {
        assert_eq!(seen_by(&knows).await, ["own", "sweep"]);
    }
    for stranger in [
        user.clone(),
        Person::agent("a").in_tenant(tenant),
        Person::staff(),
        Person::service("billing"),
    ] {
        assert_eq!(seen_by(&stranger).await, ["sweep"], "{stranger:?}");
    }
    // All callers see the sweep's checkpoint, so answers that depend on it are right for users, too.
    customer(&world, &user, "C-2", 1).await;
    let left = world.get(&user, "/events/unprocessed").await.expect(200);
    assert_eq!(left.items().len(), 2);
    world.project().await;
    world.projector.sweep().await.unwrap();
    let left = world.get(&user, "/events/unprocessed").await.expect(200);
    assert_eq!(left.items().len(), 0);
    assert_eq!(
        world.get(&staff, "/events/stats").await.expect(200).body["total_events"],
        4
    );
}

/// Most installations have only the default tenant and replay without naming it.
#[tokio::test]
async fn staff_of_the_default_tenant_see_replays_of_all_tenants_with_their_own_counts() {
    let (world, staff) = (World::new().await, Person::staff());
    let elsewhere = Person::staff().in_tenant(Uuid::from_u128(7));
    customer(&world, &staff, "C-1", 2).await;
    customer(&world, &elsewhere, "C-1", 5).await;
    delivered(&world, &in_batches_of(2, under("nightly"))).await;
    let status = world.get(&staff, "/projector/status").await.expect(200).body;
    let shown = &status["replays"][0];
    assert_eq!(
        (&shown["checkpoint"], &shown["event_count"], &shown["run_events"]),
        (&json!("nightly"), &json!(3), &json!(3)),
        "{status}"
    );
    let stats = world.get(&staff, "/events/stats").await.expect(200).body;
    assert_eq!(stats["last_replay"], *shown);
    assert!(!stats["last_replay"]["run_events_per_second"].is_null());
    let theirs = world.get(&elsewhere, "/projector/status").await.expect(200).body;
    assert_eq!(theirs["replays"], json!([]), "the operator's, of all tenants");
    let service = world
        .get(&Person::service("billing"), "/events/stats")
        .await
        .expect(200)
        .body;
    assert_eq!(service["last_replay"], *shown);
    assert_eq!(
        world
            .get(&Person::user(), "/events/stats")
            .await
            .expect(200)
            .body
            .get("last_replay"),
        None
    );
}

/// A handler may read the checkpoint: it is at the beginning of the batch that is being handled.
#[tokio::test]
async fn the_checkpoint_moves_only_after_the_batch() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 6).await;
    let wanted = in_batches_of(2, under("after"));
    let report = replay(&world.app.store, &wanted, async |event: Event| {
        let position = figures(&world, "after").await["position"].as_i64().unwrap();
        if position < event.event_number {
            Ok(())
        } else {
            Err(GaveUp)
        }
    });
    assert_eq!(report.await.unwrap().events, 7);
}
