//! The queue on its bad days: it refuses to take wake-ups, and gives them twice, in any order, or days late.

use std::time::{Duration, Instant};

use annals::domain::{AggregateId, AggregateType, StreamId, TenantId};
use annals::queue::{Queue, STREAMS_PER_MESSAGE};
use axum::Router;
use axum::http::StatusCode;
use serde_json::{Value, json};
use tests::{Ledger, Person, World, sqs_at};
use tokio::net::TcpListener;
use tokio::sync::mpsc::unbounded_channel;

use super::{meant_once, phone};

/// Longer than an answer waits for the queue on a slow machine, and shorter than a client of AWS tries.
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
async fn a_queue_that_takes_nothing_costs_no_append_and_the_schedule_projects() {
    let (mut world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
    let (sender, receiver) = unbounded_channel();
    drop(receiver);
    world.app.queue = Queue::Channel(sender);
    world.router = local::engine::router(world.app.clone());
    append_some(&world, &staff, &ledger).await;
    let nothing = world.rows_of("annals.entities").await;
    assert!(nothing.is_empty(), "no message came through");
    world.assert_sound(&ledger).await;
}

/// A queue that accepts connections and never says a word; one that is not there; and one that is out of order.
#[tokio::test]
async fn a_queue_that_is_silent_away_or_out_of_order_holds_no_answer_up() {
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
        // A queue that does not take one message is not asked to take four more.
        let began = Instant::now();
        world.app.queue.wake(streams(4 * STREAMS_PER_MESSAGE + 1)).await;
        assert!(began.elapsed() < PATIENCE, "{:?}", began.elapsed());
        world.assert_sound(&ledger).await;
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
async fn wake_ups_twice_in_any_order_and_days_late_change_nothing() {
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
    world.assert_sound(&ledger).await;
    // Days later: streams have gone on, been projected, and their read models been made anew.
    let before = world.read_models().await;
    assert!(world.deliver([old.clone(), old].concat()).await.is_empty());
    assert_eq!(world.read_models().await, before);
    world.assert_sound(&ledger).await;
}
