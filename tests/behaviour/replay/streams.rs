//! Concurrent streams: as many events in progress as there are workers, each stream in order, and the checkpoint moves only after all are done.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};

use annals::replay::{Replay, ReplayError, ReplayOrder, replay};
use annals_domain::Event;
use serde_json::json;
use tests::{Person, World};
use tokio::sync::{Barrier, Notify};

use super::{GaveUp, PATIENCE, customer, delivered, delivered_until, everything, in_batches_of, numbers, under};

fn by_stream(workers: usize, wanted: Replay) -> Replay {
    Replay {
        order: ReplayOrder::ByStream {
            workers: NonZeroUsize::new(workers).unwrap(),
        },
        ..wanted
    }
}

/// The barrier opens only when four events are in progress at the same time.
#[tokio::test]
async fn four_workers_handle_four_streams_concurrently_and_each_in_order() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..4 {
        customer(&world, &staff, &format!("C-{stream}"), 5).await;
    }
    let barrier = Barrier::new(4);
    let seen = Mutex::new(BTreeMap::<String, Vec<i32>>::new());
    let wanted = by_stream(4, everything());
    let store = world.app.store.clone();
    let run = replay(&store, &wanted, async |event: Event| {
        barrier.wait().await;
        let mut seen = seen.lock().unwrap();
        seen.entry(event.aggregate_id.clone())
            .or_default()
            .push(event.aggregate_version);
        Ok::<(), GaveUp>(())
    });
    let report = tokio::time::timeout(PATIENCE, run)
        .await
        .expect("four events in progress")
        .unwrap();
    assert_eq!(report.events, 24);
    assert_eq!(
        seen.into_inner().unwrap().into_values().collect::<Vec<_>>(),
        vec![(1..=6).collect::<Vec<_>>(); 4]
    );
}

#[tokio::test]
async fn at_most_one_event_per_worker_and_per_stream_is_in_progress() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..5 {
        customer(&world, &staff, &format!("C-{stream}"), 5).await;
    }
    let (under_way, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let streams = Mutex::new(BTreeMap::<String, bool>::new());
    let wanted = by_stream(3, everything());
    let report = replay(&world.app.store, &wanted, async |event: Event| {
        most.fetch_max(under_way.fetch_add(1, Atomic::SeqCst) + 1, Atomic::SeqCst);
        let before = streams.lock().unwrap().insert(event.aggregate_id.clone(), true);
        assert_ne!(before, Some(true), "two events of {} in progress", event.aggregate_id);
        for _ in 0..10 {
            tokio::task::yield_now().await;
        }
        streams.lock().unwrap().insert(event.aggregate_id.clone(), false);
        under_way.fetch_sub(1, Atomic::SeqCst);
        Ok::<(), GaveUp>(())
    });
    assert_eq!(report.await.unwrap().events, 30);
    assert_eq!(most.into_inner(), 3);
}

/// One stream fails while an event of another one is in progress: that event is finished, and the batch is delivered again.
#[tokio::test]
async fn when_one_stream_fails_events_in_progress_are_finished_and_the_batch_is_repeated() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "fails", 2).await;
    customer(&world, &staff, "goes on", 2).await;
    let wanted = by_stream(2, under("order"));
    let (begun, failing, seen) = (Notify::new(), Notify::new(), Mutex::new(Vec::new()));
    let run = replay(&world.app.store, &wanted, async |event: Event| {
        if event.aggregate_id == "fails" {
            begun.notified().await;
            failing.notify_one();
            return Err(GaveUp);
        }
        begun.notify_one();
        failing.notified().await;
        seen.lock().unwrap().push(event.aggregate_version);
        Ok(())
    });
    let failed = tokio::time::timeout(PATIENCE, run)
        .await
        .expect("both events in progress");
    assert!(matches!(failed, Err(ReplayError::Handler(GaveUp))), "{failed:?}");
    assert_eq!(
        seen.into_inner().unwrap(),
        [1],
        "events in progress are finished, and no other is begun"
    );
    assert_eq!(delivered(&world, &wanted).await.len(), 6);
}

#[tokio::test]
async fn a_checkpoint_can_be_continued_in_either_order() {
    let (world, staff) = (World::new().await, Person::staff());
    for stream in 0..4 {
        customer(&world, &staff, &format!("C-{stream}"), 2).await;
    }
    let wanted = in_batches_of(4, under("either"));
    let (first, _) = delivered_until(&world, &by_stream(3, wanted.clone()), 4).await;
    let mut all = first;
    all.sort_unstable();
    let rest = numbers(&delivered(&world, &wanted).await);
    assert_eq!([all, rest].concat(), numbers(&delivered(&world, &everything()).await));
}

/// Every step of a replay can run in a task of its own, for instance inside a server.
#[tokio::test]
async fn a_replay_can_be_spawned() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "C-1", 2).await;
    let store = world.app.store.clone();
    let task = tokio::spawn(async move {
        let wanted = by_stream(2, everything());
        replay(&store, &wanted, async |event: Event| {
            tokio::task::yield_now().await;
            if json!(event).is_object() { Ok(()) } else { Err(GaveUp) }
        })
        .await
    });
    assert_eq!(task.await.unwrap().unwrap().events, 3);
}
