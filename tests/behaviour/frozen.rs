//! Lambda freezes a function's environment between requests. Its connection may die meanwhile; the next request must neither fail nor wait
//! for it. And a transaction that a frozen function has left open must not block the database.

use std::time::{Duration, Instant};

use annals_store::Access;
use serde_json::{Value, json};
use tests::{Passed, Person, Proxy, SilentProxy, World};
use tokio::time::timeout;

/// Only a request that waits for a dead connection takes this long.
const LIMIT: Duration = Duration::from_secs(60);

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

/// A world that treats connections as possibly dead whenever they were not in use.
fn sleepy(world: &World, url: &str) -> World {
    let access = Access {
        probe_after: Duration::ZERO,
        ..Access::to(url)
    };
    World::by(world.database.clone(), access)
}

#[tokio::test]
async fn a_connection_that_died_while_idle_fails_no_request() {
    let (plain, line, staff) = (
        World::without_requirements().await,
        SilentProxy::start().await,
        Person::staff(),
    );
    let world = sleepy(&plain, &line.through(&plain.url_as("annals_api")));
    let created = json!({"id": "C-2", "name": "Ada", "email": "ada@example.com"});
    timeout(LIMIT, async {
        world.post(&staff, "/events", event("C-1")).await.expect(201);
        line.silence();
        world.post(&staff, "/events", event("C-1")).await.expect(201);
        line.silence();
        world.get(&staff, "/events").await.expect(200);
        line.silence();
        world.post(&staff, "/entities/customer", created).await.expect(201);
        line.silence();
        world.project().await;
        line.silence();
        world.projector.sweep().await.unwrap();
    })
    .await
    .expect("no request waits for a dead connection");
    let history = plain
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200);
    assert_eq!(history.items().len(), 2);
}

#[tokio::test]
async fn a_connection_is_tested_only_after_it_was_idle_for_long() {
    let (plain, proxy, staff) = (
        World::without_requirements().await,
        Proxy::start().await,
        Person::staff(),
    );
    let awake = proxy.before(&plain);
    let sleepy = sleepy(&plain, &proxy.through(&plain.url_as("annals_api")));
    for (world, tried) in [(awake, 0), (sleepy, 1)] {
        world.post(&staff, "/events", event("C-1")).await.expect(201);
        proxy.take_record();
        world.post(&staff, "/events", event("C-1")).await.expect(201);
        let tries = |passed: &&Passed| matches!(passed, Passed::Query(sql) if sql.starts_with("-- still_there"));
        assert_eq!(proxy.take_record().iter().filter(tries).count(), tried);
    }
}

#[tokio::test]
async fn a_transaction_left_open_by_a_request_is_ended_by_a_time_limit() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let login = world.api_login().await;
    let limit = async |name: &str| -> String { login.query_one(&format!("show {name}"), &[]).await.unwrap().get(0) };
    assert_eq!(
        limit("statement_timeout").await,
        "10s",
        "less than the timeout of every function"
    );
    assert_eq!(limit("idle_in_transaction_session_timeout").await, "30s");

    // The same with a short time limit, to keep the test fast.
    let superuser = world.superuser().await;
    let shorter = format!(
        "alter role annals_api in database {} set statement_timeout = '300ms'",
        world.database
    );
    superuser.batch_execute(&shorter).await.unwrap();
    let function = World::by(world.database.clone(), Access::to(world.url_as("annals_api")));
    function.post(&staff, "/events", event("C-1")).await.expect(201);
    let mut blocker = world.superuser().await;
    let lock = blocker.transaction().await.unwrap();
    lock.execute("select from annals.heads for update", &[]).await.unwrap();
    let refused = timeout(LIMIT, function.post(&staff, "/events", event("C-1")))
        .await
        .expect("an answer");
    assert_eq!(refused.problem(503), "unavailable");

    // The projector's limit is the timeout of its function.
    let release = async {
        let deadline = Instant::now() + LIMIT;
        let waiting =
            "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'
                          and clock_timestamp() - query_start > interval '1 second'";
        while superuser.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
            assert!(Instant::now() < deadline, "the next request does not wait");
        }
        lock.commit().await.unwrap();
    };
    futures_util::future::join(function.project(), release).await;
    let history = world
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200);
    assert_eq!(
        history.items().len(),
        1,
        "the append that was answered 503 is not stored"
    );
}
