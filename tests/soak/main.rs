//! The soak: mixed traffic, with kills in the middle of it, and then the oracle.
//!
//! `cargo run -p tests --bin soak [-- --seconds N] [--seed S]` starts a PostgreSQL of its own, lets clients, projectors, rebuilds and
//! evolutions at it for so long while connections, processes and the server itself are killed, and prints rates, latencies and
//! the verdict: whether every acknowledged event is there once and every state table is a fold of the log from zero. It exits
//! with 1 where anything was lost, doubled, different, or answered by anything but what a bad day allows (503).
//!
//! The seed decides what is asked and what is killed, not how the machine weaves it: the same seed is the same soak, not the
//! same run.

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

/// Clients at once.
const CLIENTS: usize = 8;

#[tokio::main]
async fn main() -> ExitCode {
    let (seconds, seed) = asked();
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
    // In a task of its own: the oracle panics with what it has found.
    let verdict = tokio::spawn({
        let site = Arc::clone(&site);
        async move { site.judge().await }
    });
    let told = match verdict.await {
        Ok(found) => found,
        Err(_) => Err("the oracle has found a difference (above)".to_owned()),
    };
    match told.and_then(|found| journal.complaint().map_or(Ok(found), Err)) {
        Ok(found) => {
            println!("verdict: sound. {found}");
            ExitCode::SUCCESS
        }
        Err(complaint) => {
            println!("verdict: NOT SOUND, seed {seed}. {complaint}");
            ExitCode::FAILURE
        }
    }
}

/// Two options do not need a parser.
fn asked() -> (u64, u64) {
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
