//! The soak: mixed traffic with kills, and then the oracle.
//!
//! `cargo run -p tests --bin soak [-- --seconds N] [--seed S]` starts a PostgreSQL of its own. For N seconds clients, projectors, rebuilds and
//! new versions of types use it, while connections, processes and the server itself are killed. Then it prints rates, latencies and the
//! verdict: whether every acknowledged event is stored once and every state table is a fold of the log from zero. It exits with 1 if
//! anything was lost, duplicated or different, or answered by an unexpected error; only 503 is expected during faults.
//!
//! The seed decides which requests are sent and what is killed, but not how they interleave: the same seed repeats the same soak, but not
//! the same run.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a tool: what fails ends it with its place, and what it finds it prints"
)]

mod chaos;
mod client;
mod dice;
mod journal;
mod site;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;

use client::Client;
use journal::Journal;
use site::Site;

/// Number of concurrent clients.
const CLIENTS: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let (seconds, seed) = parse_arguments();
    println!("soak of {seconds} s, seed {seed}");
    let site = Arc::new(Site::start().await);
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(Client::new(Arc::clone(&site), number, seed).work(end));
    }
    let mut others = JoinSet::new();
    others.spawn(chaos::project(Arc::clone(&site), end));
    others.spawn(chaos::rebuild(Arc::clone(&site), end));
    others.spawn(chaos::evolve(Arc::clone(&site), end));
    let kills = tokio::spawn(chaos::kill(Arc::clone(&site), seed, seconds, end));
    let mut journal = Journal::default();
    while let Some(client) = clients.join_next().await {
        journal.add(client.expect("a client's end"));
    }
    while let Some(other) = others.join_next().await {
        other.expect("an end");
    }
    let kills = kills.await.expect("an end of killing");
    journal.print(seconds);
    println!("{kills}");
    // In a task of its own, because the oracle panics if it finds a difference.
    let verdict = tokio::spawn({
        let site = Arc::clone(&site);
        async move { site.judge().await }
    });
    let outcome = match verdict.await {
        Ok(found) => found,
        Err(_) => Err("the oracle has found a difference (above)".to_owned()),
    };
    match outcome.and_then(|found| journal.complaint().map_or(Ok(found), Err)) {
        Ok(found) => {
            println!("verdict: correct. {found}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            println!("verdict: NOT CORRECT, seed {seed}. {complaint}");
            ExitCode::FAILURE
        }
    }
}

/// Parsed by hand, because a parser for two options is not worth a dependency.
fn parse_arguments() -> (u64, u64) {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (mut seconds, mut seed) = (60, 1);
    let mut usable = arguments.len().is_multiple_of(2);
    for pair in arguments.chunks_exact(2) {
        match (pair[0].as_str(), pair[1].parse::<u64>()) {
            ("--seconds", Ok(number)) if (1..=600).contains(&number) => seconds = number,
            ("--seed", Ok(number)) => seed = number,
            _ => usable = false,
        }
    }
    if !usable {
        println!("usage: soak [--seconds 1..600] [--seed NUMBER]");
        std::process::exit(2);
    }
    (seconds, seed)
}
