//! The oracle itself: what it is asked about is planted, and it says so.

use serde_json::json;
use tests::{Answer, Ledger, Person, World};
use uuid::Uuid;

use super::{meant_once, phone};

async fn world() -> (World, Ledger, Answer) {
    let (world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
    let answer = world.post(&staff, "/events", phone("C-1")).await.expect(201);
    ledger.acknowledge(&answer);
    world.assert_sound(&ledger).await;
    (world, ledger, answer)
}

/// Not even a superuser changes heads while their triggers stand.
async fn plant(world: &World, sql: &str) {
    let planted =
        format!("alter table annals.heads disable trigger all; {sql}; alter table annals.heads enable trigger all");
    world.superuser().await.batch_execute(&planted).await.unwrap();
}

#[tokio::test]
#[should_panic(expected = "acknowledged and not there")]
async fn a_lost_event_is_missed() {
    let (world, ledger, mut answer) = world().await;
    answer.body["id"] = json!(Uuid::new_v4());
    ledger.acknowledge(&answer);
    world.assert_sound(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "2 events")]
async fn a_doubled_event_is_noticed() {
    let (world, ledger, answer) = world().await;
    let mut again = meant_once("customer.profile_updated", "C-1", json!({"phone": "1"}));
    again["correlation_id"] = answer.body["correlation_id"].clone();
    world.post(&Person::staff(), "/events", again).await.expect(201);
    world.assert_sound(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "refused and there")]
async fn a_refused_event_that_is_there_is_noticed() {
    let (world, ledger, answer) = world().await;
    ledger.refuse(answer.body["correlation_id"].as_str().unwrap());
    world.assert_sound(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "public.customers is not the fold")]
async fn a_row_that_is_not_the_fold_is_noticed() {
    let (world, ledger, _) = world().await;
    plant(&world, "update public.customers set phone = '2'").await;
    world.assert_sound(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "its head says 2")]
async fn a_gap_is_noticed() {
    let (world, ledger, _) = world().await;
    plant(&world, "update annals.heads set version = 2").await;
    world.assert_sound(&ledger).await;
}
