//! PostgreSQL is killed, restarted, failed over and filled up, while clients write and the projector projects without being informed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use tests::{Cutter, Ledger, PATIENCE, Person, Server, World};
use tokio::task::JoinSet;

use super::{meant_once, phone};

/// Concurrent writers.
const WRITERS: usize = 4;
/// Events acknowledged before the fault, and after it.
const SOME: usize = 60;
/// How long a client waits after a 503.
const PAUSE: Duration = Duration::from_millis(20);

/// Concurrent clients, and the projector.
struct Traffic {
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
    tasks: JoinSet<()>,
}

impl Traffic {
    fn start(world: &Arc<World>) -> Self {
        let (ledger, stop) = (Arc::<Ledger>::default(), Arc::<AtomicBool>::default());
        let mut tasks = JoinSet::new();
        for writer in 0..WRITERS {
            tasks.spawn(write(Arc::clone(world), writer, Arc::clone(&ledger), Arc::clone(&stop)));
        }
        tasks.spawn({
            let (world, stop) = (Arc::clone(world), Arc::clone(&stop));
            async move {
                while !stop.load(Ordering::SeqCst) {
                    world.deliver(world.take_wake_ups().await).await;
                    tokio::time::sleep(PAUSE).await;
                }
            }
        });
        Self { ledger, stop, tasks }
    }

    /// Waits until `SOME` more events are acknowledged.
    async fn some_more(&self) {
        let (began, wanted) = (Instant::now(), self.ledger.len() + SOME);
        while self.ledger.len() < wanted {
            assert!(
                began.elapsed() < PATIENCE,
                "{} of {wanted} acknowledged",
                self.ledger.len()
            );
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn end(mut self) -> Arc<Ledger> {
        self.stop.store(true, Ordering::SeqCst);
        while let Some(ended) = self.tasks.join_next().await {
            ended.unwrap();
        }
        self.ledger
    }
}

/// Posts to streams of its own and to a shared one, and repeats each event until it is acknowledged.
async fn write(world: Arc<World>, writer: usize, ledger: Arc<Ledger>, stop: Arc<AtomicBool>) {
    let staff = Person::staff();
    for round in 0.. {
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let own = format!("C-{writer}-{}", round % 5);
        let body = match round % 3 {
            0 => phone("shared"),
            1 => phone(&own),
            _ => {
                json!({"events": [phone(&own), meant_once("organization.created", &format!("O-{writer}-{round}"), json!({"name": "One"}))]})
            }
        };
        loop {
            let answer = world.post(&staff, "/events", body.clone()).await;
            if answer.status == 503 {
                assert_eq!(answer.problem(503), "unavailable");
                assert!(answer.header("retry-after").is_some(), "{}", answer.text);
                tokio::time::sleep(PAUSE).await;
                continue;
            }
            assert!([200, 201].contains(&answer.status), "{}", answer.text);
            ledger.acknowledge(&answer);
            break;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_lost_when_the_postmaster_is_killed_or_restarted_under_load() {
    let server = Server::start(100).await;
    let base = server.world();
    let cutter = Cutter::before_server(server.functions_port()).await;
    let world = Arc::new(cutter.before(&base));
    let traffic = Traffic::start(&world);
    for round in 0..3 {
        traffic.some_more().await;
        match round {
            0 => {
                server.kill();
                server.start_again();
            }
            1 => server.control(&["restart", "-m", "fast", "-l", "/dev/null"]),
            _ => server.control(&["restart", "-m", "immediate", "-l", "/dev/null"]),
        }
    }
    traffic.some_more().await;
    let ledger = traffic.end().await;
    world.assert_valid(&ledger).await;
    server.cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_promoted_standby_has_every_acknowledged_event_and_accepts_new_ones() {
    let server = Server::start(100).await;
    let standby = server.standby().await;
    let base = server.world();
    let cutter = Cutter::before_server(server.functions_port()).await;
    let world = Arc::new(cutter.before(&base));
    let traffic = Traffic::start(&world);
    traffic.some_more().await;
    server.kill();
    standby.promote();
    cutter.redirect_to(standby.functions_port());
    traffic.some_more().await;
    let ledger = traffic.end().await;
    let there = cutter.before(&base.seen_from(&standby.superuser_url()));
    there.assert_valid(&ledger).await;
    drop(standby);
    server.cluster.stop().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_a_free_connection_leads_to_503_until_there_is_one() {
    let server = Server::start(12).await;
    let (base, staff, ledger) = (server.world(), Person::staff(), Ledger::default());
    // Foreign sessions take all connections.
    let mut taken = Vec::new();
    while let Ok((client, connection)) = tokio_postgres::connect(&server.cluster.url(), tokio_postgres::NoTls).await {
        tokio::spawn(connection);
        taken.push(client);
    }
    assert!(taken.len() > 5);
    let cutter = Cutter::before_server(server.functions_port()).await;
    let world = cutter.before(&base);
    for _ in 0..2 {
        let answer = world.post(&staff, "/events", phone("C-1")).await;
        assert_eq!(answer.problem(503), "unavailable");
        assert!(answer.header("retry-after").is_some());
        assert_eq!(world.deliver(vec![r#"{"sweep":{}}"#.to_owned()]).await, ["0"]);
    }
    drop(taken);
    let (began, event) = (Instant::now(), phone("C-1"));
    let answer = loop {
        let answer = world.post(&staff, "/events", event.clone()).await;
        if answer.status != 503 {
            break answer;
        }
        assert!(began.elapsed() < PATIENCE, "{}", answer.text);
        tokio::time::sleep(PAUSE).await;
    };
    ledger.acknowledge(&answer.expect(201));
    world.assert_valid(&ledger).await;
    server.cluster.stop().await.unwrap();
}
