//! PostgreSQL goes away and comes back: meanwhile requests are answered 503, and the first one afterwards works without a restart.

use std::time::{Duration, Instant};

use annals_store::Access;
use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use local::cluster::DATABASE;
use serde_json::{Value, json};
use tests::{Answer, POOLER_FULL, Person, Proxy, Server, World};

fn event(id: &str) -> Value {
    json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": id, "data": {"phone": "1"}})
}

fn assert_unavailable(answer: &Answer) {
    assert_eq!(answer.problem(503), "unavailable");
    let seconds: u32 = answer.header("retry-after").unwrap().parse().unwrap();
    assert!(seconds > 0);
}

async fn health(world: &World) -> Value {
    let request = Request::get("/api/v1/health").body(Body::empty()).unwrap();
    world.send(request).await.expect(200).body
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_are_answered_503_while_postgres_is_gone_and_served_as_soon_as_it_is_back() {
    let server = Server::start(100).await;
    // Without PgBouncer, which reconnects to a server after a delay of its own and not at the first request. `faults::server` tests
    // outages through PgBouncer.
    let world = World::directly_at(DATABASE.to_owned(), &server.cluster.url());
    let staff = Person::staff();
    for mode in ["fast", "immediate"] {
        // Several pooled connections, so that more than one is dead.
        let before = join_all((0..4).map(|n| world.post(&staff, "/events", event(&format!("{mode}-{n}"))))).await;
        assert_eq!(health(&world).await["status"], "ok");

        server.control(&["stop", "-m", mode]);
        for _ in 0..3 {
            assert_unavailable(&world.post(&staff, "/events", event(mode)).await);
            assert_unavailable(
                &world
                    .post(&staff, "/events", json!({"events": [event(mode), event(mode)]}))
                    .await,
            );
            assert_unavailable(
                &world
                    .post(&staff, "/entities/customer", json!({"id": mode, "name": "Ada"}))
                    .await,
            );
            assert_unavailable(&world.get(&staff, "/events").await);
            assert_unavailable(&world.get(&staff, "/projector/status").await);
        }
        let degraded = health(&world).await;
        assert_eq!(
            (&degraded["status"], &degraded["features"]["database"]),
            (&json!("degraded"), &json!("degraded"))
        );
        let failed = world.deliver(vec![r#"{"sweep":{}}"#.to_owned()]).await;
        assert_eq!(failed, ["0"], "the failed message stays in the queue");

        server.control(&["start", "-l", "/dev/null"]);
        world.post(&staff, "/events", event(mode)).await.expect(201);
        assert_eq!(health(&world).await["status"], "ok");
        for acknowledged in before {
            let path = format!("/events/{}", acknowledged.expect(201).body["id"].as_str().unwrap());
            world.get(&staff, &path).await.expect(200);
        }
        let history = world
            .get(&staff, &format!("/events/aggregate/customer/{mode}/history"))
            .await
            .expect(200);
        assert_eq!(history.items().len(), 1, "what was answered 503 is not there");
    }
    world.project().await;
    server.cluster.stop().await.unwrap();
}

/// An administrator, a failover or the restart of a pooler ends pooled connections.
#[tokio::test]
async fn connections_that_the_server_ended_while_idle_fail_no_request() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    let administrator = world.superuser().await;
    for round in 0..3 {
        join_all((0..4).map(|n| world.post(&staff, "/events", event(&format!("C-{n}"))))).await;
        let ended = "select count(pg_terminate_backend(pid, 60000)) from pg_stat_activity where application_name = 'annals' and datname = current_database()";
        assert!(administrator.query_one(ended, &[]).await.unwrap().get::<_, i64>(0) > 0);
        if round % 2 == 0 {
            world.post(&staff, "/events", event("C-0")).await.expect(201);
        } else {
            world.get(&staff, "/events").await.expect(200);
        }
    }
}

/// A full pooler refuses logins. Supavisor uses one code for this and for all other errors.
#[tokio::test]
async fn requests_are_answered_503_while_a_pooler_refuses_logins() {
    let (plain, proxy, staff) = (
        World::without_requirements().await,
        Proxy::start().await,
        Person::staff(),
    );
    let world = proxy.before(&plain);
    proxy.refuse_logins(Some(POOLER_FULL));
    assert_unavailable(&world.post(&staff, "/events", event("C-1")).await);
    assert_unavailable(&world.get(&staff, "/events").await);
    assert_unavailable(
        &world
            .post(&staff, "/entities/customer", json!({"id": "C", "name": "Ada"}))
            .await,
    );
    assert_unavailable(&world.get(&staff, "/projector/status").await);
    assert_eq!(health(&world).await["status"], "degraded");
    proxy.refuse_logins(None);
    world.post(&staff, "/events", event("C-1")).await.expect(201);
    let stored = plain.get(&staff, "/events").await.expect(200);
    assert_eq!(stored.items().len(), 1, "what was answered 503 is not there");
}

/// A deployment sets the functions' password if their login is refused, but not if the server or pooler only has no room.
#[tokio::test]
async fn a_login_that_a_full_pooler_refuses_gets_no_new_password() {
    let (world, proxy) = (World::without_requirements().await, Proxy::start().await);
    let superuser = world.superuser().await;
    let hash = async || -> Option<String> {
        let sql = "select rolpassword from pg_authid where rolname = 'annals_api'";
        superuser.query_one(sql, &[]).await.unwrap().get(0)
    };
    let before = hash().await;
    let owner = Access::to(tests::cluster().url_of(&world.database));
    let api = Access::to(proxy.through(&world.url_as("annals_api")));
    for fields in [
        POOLER_FULL,
        "SFATAL\0CXX000\0MMaxClientsInSessionMode: max clients reached - in Session mode max clients are limited to pool_size\0\0",
        // PgBouncer 1.18 uses this code for a wrong password, too.
        "SFATAL\0C08P01\0Mno more connections allowed (max_client_conn)\0\0",
        "SFATAL\0C08P01\0Mserver login has been failing, try again later (server_login_retry)\0\0",
        "SFATAL\0C08P01\0Mclient_login_timeout (server down)\0\0",
        "SFATAL\0VFATAL\0C53300\0Msorry, too many clients already\0\0",
        "SFATAL\0VFATAL\0C57P03\0Mthe database system is starting up\0\0",
    ] {
        proxy.refuse_logins(Some(fields));
        let error = annals_store::ensure_api_login(&owner, &api).await.unwrap_err();
        assert!(
            !annals_store::redacted_error(&error).contains("refuses the login"),
            "{fields}"
        );
        assert_eq!(hash().await, before, "{fields}");
    }
    // From 1.19 on PgBouncer repeats the server's answer. Here the password is wrong, and is set.
    let refused = "SFATAL\0C08P01\0Mserver login has been failing, cached error: password authentication failed for user \"annals_api\" (server_login_retry)\0\0";
    proxy.refuse_logins(Some(refused));
    let _still_refused = annals_store::ensure_api_login(&owner, &api).await;
    assert_ne!(hash().await, before);
}

#[tokio::test]
async fn an_append_whose_session_is_ended_in_the_middle_is_repeated() {
    let (world, staff) = (World::without_requirements().await, Person::staff());
    world.post(&staff, "/events", event("C-1")).await.expect(201);
    let mut blocker = world.superuser().await;
    let administrator = world.superuser().await;
    let lock = blocker.transaction().await.unwrap();
    lock.execute("select from annals.heads for update", &[]).await.unwrap();
    let end_the_waiting = async {
        let deadline = Instant::now() + Duration::from_secs(60);
        let end = "select pg_terminate_backend(pid, 60000) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        while administrator.query(end, &[]).await.unwrap().is_empty() {
            assert!(Instant::now() < deadline, "no statement waits");
        }
        lock.commit().await.unwrap();
    };
    let appending = world.post(&staff, "/events", event("C-1"));
    let (answer, ()) = futures_util::future::join(appending, end_the_waiting).await;
    assert_eq!(answer.expect(201).body["aggregate_version"], 2);
    let history = world
        .get(&staff, "/events/aggregate/customer/C-1/history")
        .await
        .expect(200);
    assert_eq!(history.items().len(), 2);
}
