//! The crowd: many concurrent function processes with few database connections.
//!
//! `cargo run -p tests --bin crowd [-- PROCESSES]` starts that many real `post-event` processes (200 by default), as Lambda does when that
//! many requests arrive concurrently, behind PgBouncer in transaction mode with 20 connections to PostgreSQL. Each request appends. It
//! prints the durations of first and of later requests. It exits with 1 unless every request was answered 2xx, the server never had more
//! connections than the pooler may open, and the oracle finds every event.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: what fails ends it with its place, and what it finds it prints"
)]

use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use local::cluster::DATABASE;
use serde_json::{Value, json};
use tests::{Answer, Ledger, ONCE, Person, PgBouncer, Runtime, SERVER_CONNECTIONS, Server, World, recorded, url_at};
use tokio::process::Child;
use tokio::task::JoinSet;
use uuid::Uuid;

/// Requests that each client sends, one after the other.
const REQUESTS: usize = 10;
/// Default number of processes.
const PROCESSES: usize = 200;
/// Time limit of one request.
const PATIENCE: Duration = Duration::from_secs(300);

#[tokio::main]
async fn main() -> ExitCode {
    let asked = std::env::args().nth(1).map_or(Ok(PROCESSES), |number| number.parse());
    let Some(processes) = asked.ok().filter(|number| (1..=1_000).contains(number)) else {
        println!("usage: crowd [1..1000]   processes");
        return ExitCode::from(2);
    };
    let server = Server::start(100).await;
    let pooler = PgBouncer::start(server.cluster.port(), SERVER_CONNECTIONS);
    let runtime = Arc::new(Runtime::start().await);
    let url = url_at(pooler.port(), "annals_api", DATABASE);
    let crowd: Vec<Child> = (0..processes).map(|_| runtime.process("post-event", &url)).collect();

    let (world, ledger, over) = (
        server.world(),
        Arc::new(Ledger::default()),
        Arc::new(AtomicBool::new(false)),
    );
    let watching = tokio::spawn(most_connections(server.world(), Arc::clone(&over)));
    let mut clients = JoinSet::new();
    for _ in 0..processes {
        clients.spawn(ask(Arc::clone(&runtime), Arc::clone(&ledger)));
    }
    let (mut first, mut later, mut refused) = (Vec::new(), Vec::new(), 0);
    while let Some(client) = clients.join_next().await {
        let (times, failed) = client.expect("a client's end");
        first.extend(times.first().copied());
        later.extend(times.iter().skip(1).copied());
        refused += failed;
    }
    over.store(true, Ordering::SeqCst);
    let connections = watching.await.expect("a count");
    drop(crowd);

    println!(
        "{processes} processes, {SERVER_CONNECTIONS} pooled connections, {connections} seen at most, {refused} requests failed"
    );
    print("first requests (start of the process, catalog)", first);
    print("later requests", later);
    world.assert_valid(&ledger).await;
    println!("the oracle: {} events acknowledged, each stored once", ledger.len());
    let most = i64::try_from(SERVER_CONNECTIONS).expect("a small number");
    if refused == 0 && connections <= most {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Appends one event after the other; returns the duration of each, and how many were not answered 2xx.
async fn ask(runtime: Arc<Runtime>, ledger: Arc<Ledger>) -> (Vec<Duration>, usize) {
    let (staff, mut times, mut failed) = (Person::staff(), Vec::new(), 0);
    for place in 0..REQUESTS {
        let once = format!("{ONCE}{}", Uuid::new_v4());
        let stream = if place % 2 == 0 {
            once.clone()
        } else {
            "shared".to_owned()
        };
        let event = json!({"event_type": "customer.profile_updated", "aggregate_type": "customer", "aggregate_id": stream,
                           "data": {"phone": "1"}, "correlation_id": once, "idempotency_key": once});
        let request = recorded::post(&staff, "/events", "application/json", &event.to_string());
        let began = Instant::now();
        let answer = tokio::time::timeout(PATIENCE, runtime.invoke(request)).await;
        times.push(began.elapsed());
        let answer = answer.expect("an answer in time");
        match answer["statusCode"].as_u64() {
            Some(200..300) => ledger.acknowledge(&read(&answer)),
            _ => {
                println!("{answer}");
                failed += 1;
            }
        }
    }
    (times, failed)
}

fn read(answer: &Value) -> Answer {
    let text = answer["body"].as_str().expect("a body").to_owned();
    Answer {
        status: 201,
        headers: HeaderMap::new(),
        body: serde_json::from_str(&text).expect("JSON"),
        text,
    }
}

/// Polls the number of the functions' connections until the run is over; returns the largest.
async fn most_connections(world: World, over: Arc<AtomicBool>) -> i64 {
    let (superuser, mut most) = (world.superuser().await, 0);
    let count = "select count(*) from pg_stat_activity where usename = 'annals_api'";
    while !over.load(Ordering::SeqCst) {
        most = most.max(superuser.query_one(count, &[]).await.expect("a count").get(0));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    most
}

fn print(what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |percent: usize| times.get(times.len() * percent / 100).map_or(0, Duration::as_millis);
    println!("{what}: {} answered, p50 {} ms, p99 {} ms", times.len(), at(50), at(99));
}
