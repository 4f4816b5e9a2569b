//! Behind a pooler that ends a client's turn with the transaction and loses what was sent after it: nothing is ever sent there, whatever
//! fails or is cancelled.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tests::{Person, Pooler, World};
use tokio::time::timeout;

/// Only a request that waits for a lost answer takes this long.
const LIMIT: Duration = Duration::from_secs(60);

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

#[tokio::test]
async fn requests_projection_and_the_sweep_are_answered() {
    let (pooler, staff) = (Pooler::start_strict().await, Person::staff());
    let world = pooler.before(&World::without_requirements().await);
    timeout(LIMIT, async {
        for round in 0..3 {
            let one = event(&format!("C-{round}"));
            world.post(&staff, "/events", one.clone()).await.expect(201);
            let batch = json!({"events": [one.clone(), event("C-9"), one.clone()]});
            world.post(&staff, "/events", batch).await.expect(201);
            let mut stale = one;
            stale["expected_version"] = json!(0);
            world.post(&staff, "/events", stale).await.expect(409);
            world.project().await;
            for path in [
                "/events",
                "/events/stats",
                "/entities/customer/C-9",
                "/projector/status",
            ] {
                world.get(&staff, path).await.expect(200);
            }
            world.projector.sweep().await.unwrap();
        }
    })
    .await
    .expect("everything is answered");
    assert_eq!(pooler.lost(), 0);
}

/// A transaction that fails is rolled back before its connection serves another request.
#[tokio::test]
async fn a_transaction_that_fails_leaves_nothing_behind_it() {
    let (pooler, staff) = (Pooler::start_strict().await, Person::staff());
    let plain = World::without_requirements().await;
    let world = pooler.before(&plain);
    let refuse = "alter table public.customers add constraint not_7 check (phone is distinct from '7')";
    plain.superuser().await.batch_execute(refuse).await.unwrap();
    timeout(LIMIT, async {
        for round in 0..3 {
            let mut refused = event(&format!("C-{round}"));
            refused["data"]["phone"] = json!("7");
            let batch = json!({"events": [event("valid"), refused, event("valid")]});
            world.post(&staff, "/events", batch).await.expect(201);
            world.project().await;
            world.get(&staff, "/entities/customer/valid").await.expect(200);
        }
    })
    .await
    .expect("everything is answered");
    assert_eq!(pooler.lost(), 0);
    let status = plain.get(&staff, "/projector/status").await.expect(200).body;
    assert_eq!(status["parked_count"], 3, "{status}");
}

/// When a client disconnects, its request is dropped. Its connection has unread answers and is not used again.
#[tokio::test]
async fn a_cancelled_request_leaves_nothing_behind_it() {
    let (pooler, staff) = (Pooler::start_strict().await, Person::staff());
    let plain = World::without_requirements().await;
    let world = pooler.before(&plain);
    world.post(&staff, "/events", event("C-0")).await.expect(201);
    let mut given_up = 0;
    timeout(LIMIT, async {
        for round in 0..20 {
            // Each with a longer delay, so that some are cancelled before they are sent, and some when they are nearly answered.
            let patience = Duration::from_micros(500 * round);
            let requests = ["/events", "/projector/status", "/events/stats"].map(|path| world.get(&staff, path));
            given_up += usize::from(timeout(patience, join_all(requests)).await.is_err());
            let posted = timeout(patience, world.post(&staff, "/events", event("C-1"))).await;
            given_up += usize::from(posted.is_err());
            world.post(&staff, "/events", event("C-2")).await.expect(201);
            world.get(&staff, "/events").await.expect(200);
        }
    })
    .await
    .expect("everything is answered");
    assert_eq!(pooler.lost(), 0);
    assert!(given_up > 5, "{given_up}");
    let history = plain
        .get(&staff, "/events/aggregate/customer/C-2/history")
        .await
        .expect(200);
    assert_eq!(history.items().len(), 20);
}
