//! Streams side by side: as many at once as there are workers, each in its own order, and nothing remembered before all are done.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering as Atomic};

use annals::domain::Event;
use annals::replay::{Order, Replay, ReplayError, replay};
use serde_json::json;
use tests::{Person, World};
use tokio::sync::{Barrier, Notify};

use super::{GaveUp, PATIENCE, customer, delivered, delivered_until, everything, in_batches_of, numbers, under};

fn by_stream(workers: usize, wanted: Replay) -> Replay {
    Replay {
        order: Order::ByStream {
            workers: NonZeroUsize::new(workers).unwrap(),
        },
        ..wanted
    }
}

/// The barrier opens only when four events are under way at the same time.
#[tokio::test]
async fn four_workers_handle_four_streams_at_once_and_each_in_its_order() {
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
        .expect("four at once")
        .unwrap();
    assert_eq!(report.events, 24);
    assert_eq!(
        seen.into_inner().unwrap().into_values().collect::<Vec<_>>(),
        vec![(1..=6).collect::<Vec<_>>(); 4]
    );
}

#[tokio::test]
async fn no_more_events_than_workers_are_under_way_and_one_of_a_stream() {
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
        assert_ne!(before, Some(true), "two events of {} at once", event.aggregate_id);
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

/// One stream fails while another is in the middle of an event: that event comes to its end, and the batch comes again.
#[tokio::test]
async fn when_one_stream_fails_the_others_come_to_an_end_and_the_batch_comes_again() {
    let (world, staff) = (World::new().await, Person::staff());
    customer(&world, &staff, "fails", 2).await;
    customer(&world, &staff, "goes on", 2).await;
    let wanted = by_stream(2, under("lanes"));
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
    let failed = tokio::time::timeout(PATIENCE, run).await.expect("both at once");
    assert!(matches!(failed, Err(ReplayError::Handler(GaveUp))), "{failed:?}");
    assert_eq!(
        seen.into_inner().unwrap(),
        [1],
        "what was under way is finished, what was not is not begun"
    );
    assert_eq!(delivered(&world, &wanted).await.len(), 6);
}

#[tokio::test]
async fn a_checkpoint_goes_on_in_either_order() {
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

/// Every step of a replay can run in a task of its own: on a server beside others, for instance.
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
