//! The queue on its bad days: it refuses to take wake-ups, and gives them twice, in any order, or days late.

use annals::queue::Queue;
use serde_json::json;
use tests::{Ledger, Person, World};
use tokio::sync::mpsc::unbounded_channel;

use super::{meant_once, phone};

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
    let (mut world, staff, ledger) = (World::new().await, Person::staff(), Ledger::default());
    let (sender, receiver) = unbounded_channel();
    drop(receiver);
    world.app.queue = Queue::Channel(sender);
    world.router = local::engine::router(world.app.clone());
    append_some(&world, &staff, &ledger).await;
    let nothing = world.rows_of("annals.entities").await;
    assert!(nothing.is_empty(), "no message came through");
    world.assert_sound(&ledger).await;
}

#[tokio::test]
async fn wake_ups_twice_in_any_order_and_days_late_change_nothing() {
    let (world, staff, ledger) = (World::new().await, Person::staff(), Ledger::default());
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
