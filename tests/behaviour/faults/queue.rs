//! Faults of the queue: it refuses wake-ups, or delivers them twice, in another order, or days late.

use std::time::{Duration, Instant};

use annals_domain::{AggregateId, AggregateType, StreamId, TenantId};
use annals_queue::{Queue, STREAMS_PER_MESSAGE};
use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tests::{Ledger, Person, World, sqs_at};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use super::{meant_once, phone};

/// Longer than an answer waits for the queue on a slow machine, and shorter than an AWS client retries.
const PATIENCE: Duration = Duration::from_secs(8);

async fn append_some(world: &World, staff: &Person, ledger: &Ledger) {
    for n in 0..6 {
        let id = format!("C-{}", n % 3);
        let events = json!({"events": [phone(&id), phone("shared"), meant_once("organization.created", &format!("O-{n}"), json!({"name": "One"}))]});
        let answer = match n % 2 {
            0 => world.post(staff, "/events", events).await,
            _ => world.post(staff, "/events", phone(&id)).await,
        };
        ledger.acknowledge(&answer.expect(201));
    }
}

#[tokio::test]
async fn if_the_queue_refuses_messages_appends_succeed_and_the_sweep_projects() {
    let (mut world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
    let (sender, receiver) = unbounded_channel();
    drop(receiver);
    world.app.queue = Queue::Channel(sender);
    world.router = local::engine::router(world.app.clone());
    append_some(&world, &staff, &ledger).await;
    let nothing = world.rows_of("annals.entities").await;
    assert!(nothing.is_empty(), "no message was sent");
    world.assert_valid(&ledger).await;
}

/// Queues that accept connections and never answer, that are not reachable, and that answer with errors.
#[tokio::test]
async fn a_queue_that_is_silent_unreachable_or_failing_does_not_delay_answers() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let broken = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let ports = [&silent, &away, &broken].map(|listener| listener.local_addr().unwrap().port());
    drop(away);
    let refuse = Router::new().fallback(|| async { StatusCode::SERVICE_UNAVAILABLE });
    tokio::spawn(async move { axum::serve(broken, refuse).await });
    for port in ports {
        let (mut world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
        world.app.queue = sqs_at(port);
        world.router = local::engine::router(world.app.clone());
        let events: Vec<Value> = (0..20).map(|n| phone(&format!("C-{n}"))).collect();
        let began = Instant::now();
        let answer = world.post(&staff, "/events", json!({"events": events})).await;
        ledger.acknowledge(&answer.expect(201));
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        // If one message fails, the other four are not attempted.
        let began = Instant::now();
        world.app.queue.wake(streams(4 * STREAMS_PER_MESSAGE + 1)).await;
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        world.assert_valid(&ledger).await;
    }
}

fn streams(number: usize) -> impl Iterator<Item = StreamId> {
    (0..number).map(|n| StreamId {
        tenant_id: TenantId::from(uuid::Uuid::nil()),
        aggregate_type: AggregateType::try_from("customer".to_owned()).unwrap(),
        aggregate_id: AggregateId::try_from(format!("C-{n}")).unwrap(),
    })
}

#[tokio::test]
async fn duplicate_reordered_and_late_wake_ups_change_nothing() {
    let (world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
    append_some(&world, &staff, &ledger).await;
    let old = world.take_wake_ups().await;
    let mut order: Vec<String> = old.iter().chain(&old).cloned().collect();
    order.reverse();
    order.rotate_left(3);
    for message in order {
        assert!(world.deliver(vec![message]).await.is_empty());
    }
    append_some(&world, &staff, &ledger).await;
    world.assert_valid(&ledger).await;
    // Days later: the streams have new events, have been projected, and their read models have been rebuilt.
    let before = world.read_models().await;
    assert!(world.deliver([old.clone(), old].concat()).await.is_empty());
    assert_eq!(world.read_models().await, before);
    world.assert_valid(&ledger).await;
}
