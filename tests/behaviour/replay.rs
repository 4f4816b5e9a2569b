//! Replay: every committed event, or a selection, is delivered at least once and in order. The checkpoint stays right whatever happens to the
//! consumer.

mod checkpoints;
mod command;
mod killed;
mod queue;
mod streams;
mod types;

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use annals::replay::{Batch, BatchSize, Replay, ReplayError, Report, replay, replay_batches};
use annals_domain::{CheckpointName, Event, TenantId, Timestamp};
use futures_util::future::join;
use serde_json::{Value, json};
use tests::{Person, World};
use uuid::Uuid;

/// How long a test waits for what must become visible. Readers wait for open appends, and other tests of this cluster have some.
const PATIENCE: Duration = Duration::from_secs(60);

/// The error of a handler in these tests.
#[derive(Debug, PartialEq, Eq)]
struct GaveUp;

impl std::fmt::Display for GaveUp {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("the handler gave up")
    }
}

impl std::error::Error for GaveUp {}

fn everything() -> Replay {
    Replay {
        patience: PATIENCE,
        ..Replay::default()
    }
}

fn under(name: &str) -> Replay {
    Replay {
        checkpoint: Some(checkpoint(name)),
        ..everything()
    }
}

fn checkpoint(name: &str) -> CheckpointName {
    CheckpointName::try_from(name.to_owned()).unwrap()
}

fn in_batches_of(events: u16, replay: Replay) -> Replay {
    Replay {
        batch_size: BatchSize::new(events).unwrap(),
        ..replay
    }
}

fn of_types(types: &[&str], replay: Replay) -> Replay {
    Replay {
        event_types: types.iter().map(|name| (*name).to_owned()).collect(),
        ..replay
    }
}

/// Replays to the end; returns everything that was delivered, as JSON.
async fn delivered(world: &World, wanted: &Replay) -> Vec<Value> {
    let seen = Mutex::new(Vec::new());
    let report = replay(&world.app.store, wanted, async |event: Event| {
        seen.lock().unwrap().push(json!(event));
        Ok::<(), GaveUp>(())
    });
    let report = report.await.unwrap();
    let seen = seen.into_inner().unwrap();
    assert_eq!(report.events, u64::try_from(seen.len()).unwrap());
    seen
}

/// Replays with a handler that fails after so many events; returns their numbers and the result of the run.
async fn delivered_until(
    world: &World,
    wanted: &Replay,
    events: usize,
) -> (Vec<i64>, Result<Report, ReplayError<GaveUp>>) {
    let seen = Mutex::new(Vec::new());
    let report = replay(&world.app.store, wanted, async |event: Event| {
        let mut seen = seen.lock().unwrap();
        if seen.len() == events {
            return Err(GaveUp);
        }
        seen.push(event.event_number);
        Ok(())
    });
    let report = report.await;
    (seen.into_inner().unwrap(), report)
}

fn numbers(events: &[Value]) -> Vec<i64> {
    events
        .iter()
        .map(|event| event["event_number"].as_i64().unwrap())
        .collect()
}

/// Checks that each stream's versions rise by one from the first one present.
#[track_caller]
fn assert_streams_in_order(events: &[Value]) {
    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    for event in events {
        let stream = json!([event["tenant_id"], event["aggregate_type"], event["aggregate_id"]]).to_string();
        let version = event["aggregate_version"].as_i64().unwrap();
        let last = versions.insert(stream, version);
        assert!(last.is_none_or(|last| version == last + 1), "{event}");
    }
}

/// Appends a registered customer and a number of profile updates in one batch.
async fn customer(world: &World, person: &Person, id: &str, updates: usize) {
    let event = |name: &str, data: Value| json!({"event_type": name, "aggregate_type": "customer", "aggregate_id": id, "data": data});
    let mut events = vec![event(
        "customer.registered",
        json!({"name": id, "email": "a@example.com"}),
    )];
    events.extend((0..updates).map(|n| event("customer.profile_updated", json!({"phone": n.to_string()}))));
    world
        .post(person, "/events", json!({"events": events}))
        .await
        .expect(201);
}

#[tokio::test]
async fn every_event_of_every_tenant_is_delivered_in_order_and_in_the_form_of_the_api() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let other = Person::staff().in_tenant(Uuid::from_u128(7));
    customer(&world, &staff, "C-1", 3).await;
    world.project().await;
    customer(&world, &other, "C-1", 2).await;
    customer(&world, &staff, "C-2", 1).await;

    let all = delivered(&world, &in_batches_of(2, everything())).await;
    assert!(numbers(&all).is_sorted_by(|one, next| one < next));
    assert_streams_in_order(&all);
    let of_tenant = |tenant: Uuid| {
        all.iter()
            .filter(|e| e["tenant_id"] == json!(tenant))
            .cloned()
            .collect::<Vec<_>>()
    };
    for person in [&staff, &other] {
        let listed = world.all_pages(person, "/events?order=asc").await;
        assert_eq!(of_tenant(person.tenant), listed);
        let only = Replay {
            tenant: Some(TenantId::from(person.tenant)),
            ..everything()
        };
        assert_eq!(delivered(&world, &only).await, listed);
    }
    assert_eq!(all.len(), 9);
}

#[tokio::test]
async fn replays_select_by_types_patterns_and_recorded_time() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    customer(&world, &staff, "C-1", 2).await;
    let order = json!({"customer_id": "C-1", "items": [], "total_cents": 1, "currency": "USD"});
    world.append(&staff, "order.created", "O-1", order).await;
    customer(&world, &staff, "C-2", 1).await;
    let all = delivered(&world, &everything()).await;
    let tenant = |replay: Replay| Replay {
        tenant: Some(TenantId::from(Uuid::nil())),
        ..replay
    };
    let expect = async |places: &[usize], wanted: Replay| {
        let expected: Vec<i64> = places.iter().map(|place| numbers(&all)[*place]).collect();
        // With a tenant, types are read by another index. A full page and a page size of one must give the same.
        for wanted in [in_batches_of(1, wanted.clone()), tenant(wanted.clone()), wanted] {
            assert_eq!(numbers(&delivered(&world, &wanted).await), expected, "{wanted:?}");
        }
    };
    expect(&[3], of_types(&["order.created"], everything())).await;
    expect(&[3], of_types(&["order.*"], everything())).await;
    expect(
        &[0, 3, 4],
        of_types(&["order.*", "customer.registered", "order.created"], everything()),
    )
    .await;
    let time = |place: usize| Timestamp::parse(all[place]["created_at"].as_str().unwrap()).ok();
    let period = |from, to| Replay {
        from,
        to,
        ..everything()
    };
    expect(&[1, 2, 3, 4, 5], period(time(1), None)).await;
    expect(&[0, 1], period(None, time(2))).await;
    expect(&[2, 3, 4], period(time(2), time(5))).await;
    expect(&[4], of_types(&["customer.registered"], period(time(2), time(5)))).await;
}

#[tokio::test]
async fn invalid_selections_are_refused_before_anything_is_delivered() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    customer(&world, &staff, "C-1", 2).await;
    let refused = async |wanted: Replay| delivered_until(&world, &wanted, 0).await.1.unwrap_err().to_string();
    for name in ["customer.regstered", "custmer.*", "customer*", "*", ""] {
        let error = refused(of_types(&["customer.registered", name], under("typo"))).await;
        assert_eq!(error, format!("the catalog has no event type {name}"));
    }
    let now = Some(Timestamp::now());
    let period = Replay {
        from: now,
        to: now,
        ..under("typo")
    };
    assert_eq!(refused(period).await, "the period ends before it begins");
    // The mistyped run has not created a checkpoint of that name.
    assert_eq!(delivered(&world, &under("typo")).await.len(), 3);
    assert_eq!((BatchSize::new(0), BatchSize::new(10_001)), (None, None));
}

#[tokio::test]
async fn events_appended_meanwhile_are_delivered_by_the_next_run() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    customer(&world, &staff, "C-1", 2).await;
    let wanted = in_batches_of(1, under("meanwhile"));
    let first = replay(&world.app.store, &wanted, async |event: Event| {
        world
            .append(
                &staff,
                "customer.profile_updated",
                "C-1",
                json!({"phone": event.event_number.to_string()}),
            )
            .await;
        Ok::<(), GaveUp>(())
    });
    assert_eq!(first.await.unwrap().events, 3, "otherwise the run would never end");
    let next = delivered(&world, &wanted).await;
    let versions: Vec<&Value> = next.iter().map(|event| &event["aggregate_version"]).collect();
    assert_eq!(versions, [4, 5, 6]);
    assert_eq!(delivered(&world, &wanted).await, [] as [Value; 0]);
}

#[tokio::test]
async fn a_run_that_fails_repeats_the_unfinished_batch_and_nothing_else() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    customer(&world, &staff, "C-1", 9).await;
    let wanted = in_batches_of(3, under("fails"));
    let (first, failed) = delivered_until(&world, &wanted, 5).await;
    assert!(matches!(failed, Err(ReplayError::Handler(GaveUp))), "{failed:?}");
    let second = numbers(&delivered(&world, &wanted).await);
    assert_eq!((first.len(), second.len()), (5, 7));
    assert_eq!(first[3..], second[..2], "the events of the unfinished batch come again");
    assert!(second.is_sorted_by(|one, next| one < next));
}

#[tokio::test]
async fn an_open_append_is_waited_for_and_then_reported_but_never_passed_over() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let session = world.session_of(&staff).await;
    session.batch_execute("begin").await.unwrap();
    let event = json!({"event_type": "customer.registered", "aggregate_type": "customer", "aggregate_id": "behind",
                       "data": {"name": "N", "email": "n@example.com"}});
    session
        .query("select public.post_event($1::text::jsonb)", &[&event.to_string()])
        .await
        .unwrap();
    customer(&world, &staff, "ahead", 0).await;

    let impatient = Replay {
        patience: Duration::ZERO,
        ..under("patience")
    };
    let (seen, held) = delivered_until(&world, &impatient, 10).await;
    assert!(seen.is_empty());
    assert!(matches!(held, Err(ReplayError::HeldBack(Some(_)))), "{held:?}");
    let said = held.unwrap_err().to_string();
    assert!(
        said.starts_with("an append whose transaction is still open blocks the replay (server process "),
        "{said}"
    );

    // The checkpoint is created before the wait begins; while the run waits, the transaction ends.
    let owner = world.owner().await;
    let commit = async {
        let waits = "select from annals.checkpoints where name = 'waits'";
        while owner.query(waits, &[]).await.unwrap().is_empty() {}
        session.batch_execute("commit").await.unwrap();
    };
    let wanted = under("waits");
    let (all, ()) = join(delivered(&world, &wanted), commit).await;
    let ids: Vec<&Value> = all.iter().map(|event| &event["aggregate_id"]).collect();
    assert_eq!(ids, ["behind", "ahead"]);
}

/// Numbers that the selection leaves out, in between and at the end, are passed for good: the next run does not read them again.
#[tokio::test]
async fn the_checkpoint_passes_events_that_are_not_selected() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    customer(&world, &staff, "C-1", 4).await;
    let wanted = of_types(&["customer.deleted"], under("rare"));
    assert_eq!(delivered(&world, &wanted).await.len(), 0);
    let owner = world.owner().await;
    let behind =
        "select (select max(event_number) from annals.events) - position from annals.checkpoints where name = 'rare'";
    assert_eq!(owner.query_one(behind, &[]).await.unwrap().get::<_, i64>(0), 0);
    world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    assert_eq!(delivered(&world, &wanted).await.len(), 1);
}

/// Ten thousand events of the maximum size are some gigabytes, so a batch is also limited by size.
#[tokio::test]
async fn a_batch_of_large_events_is_cut_by_size() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let incompressible = || {
        (0..7_800)
            .map(|_| Uuid::new_v4().simple().to_string())
            .collect::<String>()
    };
    for batch in 0..8 {
        let event = |n: usize| {
            json!({"event_type": "customer.created", "aggregate_type": "customer", "aggregate_id": format!("{batch}-{n}"),
                                      "data": {"name": "n", "address": incompressible()}})
        };
        let events: Vec<Value> = (0..12).map(event).collect();
        world
            .post(&staff, "/events", json!({"events": events}))
            .await
            .expect(201);
    }
    let batches = Mutex::new(Vec::new());
    let wanted = in_batches_of(10_000, under("large"));
    let report = replay_batches(&world.app.store, &wanted, async |batch: Batch| {
        batches.lock().unwrap().push(batch.events.len());
        Ok::<(), GaveUp>(())
    });
    assert_eq!(report.await.unwrap().events, 96, "and no event is lost at the cut");
    let batches = batches.into_inner().unwrap();
    assert!(
        batches.len() > 1 && batches.iter().all(|events| *events < 96),
        "{batches:?}"
    );
}
