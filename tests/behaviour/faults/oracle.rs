//! Tests of the oracle itself: each plants a fault and checks that the oracle reports it.

use serde_json::json;
use tests::{Answer, Ledger, Person, World};
use uuid::Uuid;

use super::{meant_once, phone};

async fn world() -> (World, Ledger, Answer) {
    let (world, staff, ledger) = (World::without_requirements().await, Person::staff(), Ledger::default());
    let answer = world.post(&staff, "/events", phone("C-1")).await.expect(201);
    ledger.acknowledge(&answer);
    world.assert_valid(&ledger).await;
    (world, ledger, answer)
}

/// Heads can only be changed with their triggers disabled, even by a superuser.
async fn plant(world: &World, sql: &str) {
    let planted =
        format!("alter table annals.heads disable trigger all; {sql}; alter table annals.heads enable trigger all");
    world.superuser().await.batch_execute(&planted).await.unwrap();
}

#[tokio::test]
#[should_panic(expected = "acknowledged but not stored")]
async fn the_oracle_reports_a_lost_event() {
    let (world, ledger, mut answer) = world().await;
    answer.body["id"] = json!(Uuid::new_v4());
    ledger.acknowledge(&answer);
    world.assert_valid(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "2 events")]
async fn the_oracle_reports_a_duplicate_event() {
    let (world, ledger, answer) = world().await;
    let mut again = meant_once("customer.profile_updated", "C-1", json!({"phone": "1"}));
    again["correlation_id"] = answer.body["correlation_id"].clone();
    world.post(&Person::staff(), "/events", again).await.expect(201);
    world.assert_valid(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "refused but stored")]
async fn the_oracle_reports_a_refused_event_that_is_stored() {
    let (world, ledger, answer) = world().await;
    ledger.refuse(answer.body["correlation_id"].as_str().unwrap());
    world.assert_valid(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "public.customers is not the fold")]
async fn the_oracle_reports_a_row_that_is_not_the_fold() {
    let (world, ledger, _) = world().await;
    plant(&world, "update public.customers set phone = '2'").await;
    world.assert_valid(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "its head says 2")]
async fn the_oracle_reports_a_gap() {
    let (world, ledger, _) = world().await;
    plant(&world, "update annals.heads set version = 2").await;
    world.assert_valid(&ledger).await;
}

#[tokio::test]
#[should_panic(expected = "the index of the field")]
async fn the_oracle_reports_a_value_that_is_not_in_the_index() {
    let (world, ledger, _) = world().await;
    let declare = "select annals.declare_indexed('customer.profile_updated', 'phone')";
    world.owner().await.batch_execute(declare).await.unwrap();
    world.assert_valid(&ledger).await;
    plant(&world, "delete from annals.field_values").await;
    world.assert_valid(&ledger).await;
}
