//! Connections that break around a commit: the client's answer is true in every case, and no event is duplicated or lost.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tests::{Fault, Passed, Person, World};

use crate::behind_proxy::BehindProxy;

const FAULTS: [Fault; 9] = [
    Fault::CutBeforeAppend,
    Fault::CutBeforeCommit,
    Fault::CutAfterCommit,
    Fault::CrashAfterCommit,
    Fault::PoolerFull,
    Fault::PoolerLostServer,
    Fault::CutWhileRunning,
    Fault::ArrivesBeforeRetry,
    Fault::ArrivesLast,
];

/// A world behind a proxy. The connection that will break comes from the pool, and the catalog is cached.
async fn warm() -> BehindProxy {
    let scene = BehindProxy::new().await;
    scene
        .proxied
        .append(&scene.staff, "customer.deleted", "warm-up", json!({}))
        .await;
    scene
}

impl BehindProxy {
    async fn history(&self, id: &str) -> Vec<Value> {
        self.plain
            .all_pages(&self.staff, &format!("/events/aggregate/customer/{id}/history"))
            .await
    }

    async fn post_through(&self, fault: Fault, body: Value) -> tests::Answer {
        self.proxy.arm(fault);
        let answer = self.proxied.post(&self.staff, "/events", body).await;
        assert!(self.proxy.has_struck(), "{fault:?} did not strike");
        self.proxy.deliver_late().await;
        answer
    }

    async fn assert_no_transaction_is_open(&self) {
        let observer = self.plain.superuser().await;
        let deadline = Instant::now() + Duration::from_secs(60);
        loop {
            let open: i64 = observer
                .query_one(
                    "select count(*) from pg_stat_activity
                      where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()",
                    &[],
                )
                .await
                .unwrap()
                .get(0);
            if open == 0 {
                return;
            }
            assert!(Instant::now() < deadline, "{open} transactions are still open");
            tokio::task::yield_now().await;
        }
    }
}

fn event(id: &str, phone: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": phone}})
}

fn with(mut event: Value, field: &str, value: impl Into<Value>) -> Value {
    event[field] = value.into();
    event
}

/// Checks that versions and ids of the history are those of the answers.
#[track_caller]
fn assert_same_events(history: &[Value], answered: &[&Value]) {
    let of = |event: &Value| {
        (
            event["id"].clone(),
            event["aggregate_version"].clone(),
            event["event_number"].clone(),
        )
    };
    let stored: Vec<_> = history.iter().map(of).collect();
    assert_eq!(stored, answered.iter().map(|event| of(event)).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_single_append_is_acknowledged_and_stored_once_whatever_breaks() {
    let scene = warm().await;
    for fault in FAULTS {
        let id = format!("{fault:?}");
        let answer = scene.post_through(fault, event(&id, "1")).await;
        let stored = answer.expect(201).body;
        assert_same_events(&scene.history(&id).await, &[&stored]);
        // The following connection works as before.
        let next = scene
            .proxied
            .post(&scene.staff, "/events", event(&id, "2"))
            .await
            .expect(201)
            .body;
        assert_same_events(&scene.history(&id).await, &[&stored, &next]);
    }
    scene.assert_no_transaction_is_open().await;
}

/// The stream has moved when the append is tried again, but only because of the same append.
#[tokio::test]
async fn an_append_with_an_expected_version_is_not_refused_because_of_its_own_event() {
    let scene = warm().await;
    for fault in FAULTS {
        let id = format!("{fault:?}");
        let expecting = with(event(&id, "1"), "expected_version", 0);
        let stored = scene.post_through(fault, expecting).await.expect(201).body;
        assert_same_events(&scene.history(&id).await, &[&stored]);
    }
}

#[tokio::test]
async fn an_append_with_a_key_is_acknowledged_once_as_new_and_then_as_a_retry() {
    let scene = warm().await;
    for fault in FAULTS {
        let id = format!("{fault:?}");
        let keyed = with(
            with(event(&id, "1"), "expected_version", 0),
            "idempotency_key",
            id.as_str(),
        );
        let stored = scene.post_through(fault, keyed.clone()).await.expect(201).body;
        let again = scene
            .proxied
            .post(&scene.staff, "/events", keyed)
            .await
            .expect(200)
            .body;
        assert_eq!(stored["id"], again["id"]);
        assert_same_events(&scene.history(&id).await, &[&again]);
    }
}

#[tokio::test]
async fn a_batch_is_acknowledged_and_stored_once_whatever_breaks() {
    let scene = warm().await;
    for fault in FAULTS {
        let (one, two) = (format!("{fault:?}-1"), format!("{fault:?}-2"));
        let batch =
            json!({"events": [event(&two, "1"), with(event(&one, "2"), "expected_version", 0), event(&two, "3")]});
        let answer = scene.post_through(fault, batch).await.expect(201);
        let items = answer.items();
        assert_same_events(&scene.history(&one).await, &[&items[1]]);
        assert_same_events(&scene.history(&two).await, &[&items[0], &items[2]]);
    }
    scene.assert_no_transaction_is_open().await;
}

#[tokio::test]
async fn a_batch_with_retried_members_is_answered_completely_whatever_breaks() {
    let scene = warm().await;
    for fault in FAULTS {
        let (old, new) = (format!("{fault:?}-old"), format!("{fault:?}-new"));
        let first = with(event(&old, "0"), "idempotency_key", format!("{old}/0"));
        let second = with(event(&old, "1"), "idempotency_key", format!("{old}/1"));
        let known = scene
            .plain
            .post(&scene.staff, "/events", first.clone())
            .await
            .expect(201)
            .body;
        let batch = json!({"events": [event(&new, "2"), first, second, with(event(&new, "3"), "expected_version", 1)]});
        let answer = scene.post_through(fault, batch).await.expect(201);
        let items = answer.items();
        assert_eq!(items[1]["id"], known["id"]);
        assert_same_events(&scene.history(&old).await, &[&known, &items[2]]);
        assert_same_events(&scene.history(&new).await, &[&items[0], &items[3]]);
    }
}

#[tokio::test]
async fn a_batch_of_retries_only_is_answered_as_such_whatever_breaks() {
    let scene = warm().await;
    for fault in FAULTS {
        let id = format!("{fault:?}");
        let members = [0, 1].map(|place| with(event(&id, "1"), "idempotency_key", format!("{id}/{place}")));
        let batch = json!({"events": members});
        let known = scene
            .plain
            .post(&scene.staff, "/events", batch.clone())
            .await
            .expect(201);
        let again = scene.post_through(fault, batch).await.expect(200);
        let ids = |items: &[Value]| items.iter().map(|item| item["id"].clone()).collect::<Vec<_>>();
        assert_eq!(ids(again.items()), ids(known.items()));
        assert_eq!(scene.history(&id).await.len(), 2);
    }
}

#[tokio::test]
async fn a_refusal_stays_a_refusal_whatever_breaks() {
    let scene = warm().await;
    for fault in FAULTS {
        let id = format!("{fault:?}");
        let known = scene
            .plain
            .append(&scene.staff, "customer.profile_updated", &id, json!({"phone": "1"}))
            .await;
        let late = with(event(&id, "2"), "expected_version", 0);
        let answer = scene.post_through(fault, late).await;
        assert_eq!(answer.problem(409), "version_conflict");
        assert_same_events(&scene.history(&id).await, &[&known]);
    }
}

#[tokio::test]
async fn every_event_whose_acknowledgement_was_lost_wakes_the_projector() {
    let scene = warm().await;
    scene.proxied.take_wake_ups().await;
    for fault in FAULTS {
        scene
            .post_through(fault, event(&format!("{fault:?}"), "1"))
            .await
            .expect(201);
        assert_eq!(scene.proxied.take_wake_ups().await.len(), 1, "{fault:?}");
    }
}

/// Before the original append is over, its outcome can only be guessed. If the retry were refused for another reason (a changed catalog, say),
/// the client would be told so although the original commits.
#[tokio::test]
async fn the_lookup_of_an_append_waits_until_the_original_is_over() {
    let scene = warm().await;
    for batch in [false, true] {
        scene
            .plain
            .append(&scene.staff, "customer.deleted", "C-1", json!({}))
            .await;
        scene.proxy.take_record();
        scene.proxy.hold_cut();
        let mut blocker = scene.plain.superuser().await;
        let lock = blocker.transaction().await.unwrap();
        lock.execute("select from annals.heads for update", &[]).await.unwrap();
        let release = async {
            // The original comes first, and then the lookup of its outcome.
            scene.plain.until_waiting(1).await;
            scene.proxy.cut();
            scene.plain.until_waiting(2).await;
            lock.commit().await.unwrap();
        };
        let body = if batch {
            json!({"events": [event("C-1", "1"), event("C-1", "2")]})
        } else {
            event("C-1", "1")
        };
        let posting = scene.post_through(Fault::CutWhileRunning, body);
        let (answer, ()) = futures_util::future::join(posting, release).await;
        answer.expect(201);
        let record = scene.proxy.take_record();
        let is_append =
            |passed: &&Passed| matches!(passed, Passed::Parse { sql, .. } if sql.starts_with("-- append_event"));
        assert_eq!(
            record.iter().filter(is_append).count(),
            1,
            "the append was found, and not tried again"
        );
    }
    assert_eq!(scene.history("C-1").await.len(), 5);
}

/// The other direction: the client disconnects. What it began must be finished or rolled back, not left open.
#[tokio::test]
async fn a_request_that_is_dropped_in_the_middle_leaves_no_transaction_open() {
    let world = std::sync::Arc::new(World::without_requirements().await);
    let staff = Person::staff();
    world.append(&staff, "customer.deleted", "C-1", json!({})).await;
    let mut blocker = world.superuser().await;
    for round in 2.. {
        let lock = blocker.transaction().await.unwrap();
        lock.execute("select from annals.heads where aggregate_id = 'C-1' for update", &[])
            .await
            .unwrap();
        let waiting = tokio::spawn({
            let (world, staff) = (world.clone(), staff.clone());
            async move { world.post(&staff, "/events", event("C-1", "2")).await }
        });
        world.until_waiting(1).await;
        waiting.abort();
        assert!(waiting.await.unwrap_err().is_cancelled());
        lock.commit().await.unwrap();
        await_count(
            &blocker,
            "select count(*) from pg_stat_activity
              where datname = current_database() and xact_start is not null and pid <> pg_backend_pid()",
            0,
        )
        .await;
        // The append had been sent completely, so it took effect, and the connection serves the next request.
        let history = world
            .get(&staff, "/events/aggregate/customer/C-1/history")
            .await
            .expect(200);
        assert_eq!(history.items().len(), round);
        if round == 4 {
            return;
        }
    }
}

async fn await_count(observer: &tokio_postgres::Client, sql: &str, wanted: i64) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let count: i64 = observer.query_one(sql, &[]).await.unwrap().get(0);
        if count == wanted {
            return;
        }
        assert!(Instant::now() < deadline, "{count}, not {wanted}: {sql}");
        tokio::task::yield_now().await;
    }
}
