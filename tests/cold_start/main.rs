//! Cold starts (DESIGN §10): each function from spawn to its first answer, beside a hello-world function and a bare connect and
//! query, in one run; and what a function weighs when it is zipped.
//!
//! `cargo run --release -p tests --bin cold-start [-- ROUNDS] [as-built]` builds the functions, starts a PostgreSQL of its own and plays Lambda
//! to them: the Runtime API on the loopback interface, with the recorded events of `tests/events`. All take turns, round by
//! round, because the machine is rarely quiet. Figures are information: a run above a limit ends like any other.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a bench: what fails ends it with its place, what it finds it prints, and what it prints are ratios"
)]

mod binaries;
mod events;
mod runtime;

use std::time::{Duration, Instant};

use binaries::{Binaries, Build};
use events::{FUNCTIONS, Queue};
use local::cluster::{Cluster, Options};
use runtime::{Lambda, Start};
use tests::connect;

/// How often each is started, unless another number is given.
const ROUNDS: usize = 31;
/// A function's start, at most so many times its floor's.
const LIMIT: f64 = 1.5;
/// Bytes of a zipped function at most.
const MAX_ZIP: usize = 5 * 1024 * 1024;
/// Password of the runtime's login in the bench's own cluster.
const PASSWORD: &str = "only-for-the-bench";

#[tokio::main]
async fn main() {
    let asked = Asked::read();
    let rounds = asked.rounds;
    let binaries = Binaries::of(asked.build);
    let cluster = Cluster::start(Options::ephemeral()).await.expect("a private cluster");
    let url = prepare(&cluster).await;
    let lambda = Lambda::start(&url).await;
    let mut hello = Vec::new();
    let mut bare = Vec::new();
    let mut starts: Vec<Vec<Start>> = vec![Vec::new(); FUNCTIONS.len()];
    for round in 0..rounds {
        hello.push(
            lambda
                .invoke(&binaries.path("hello"), Queue::None, "{}".to_owned())
                .await,
        );
        bare.push(connect_and_query(&url).await);
        for (function, starts) in FUNCTIONS.iter().zip(&mut starts) {
            starts.push(
                lambda
                    .invoke(&binaries.path(function.binary), function.queue, function.event(round))
                    .await,
            );
        }
    }
    cluster.stop().await.expect("the cluster stops");
    let floor = median(hello.iter().map(|start| start.answered)) + median(bare.into_iter());
    println!("{rounds} rounds; medians in ms; from spawn\n");
    println!(
        "{:<34} {:>8} {:>8} {:>8} {:>10}",
        "", "asks", "answers", "of floor", "zip"
    );
    show("hello-world", &hello, floor, None);
    println!(
        "{:<34} {:>8} {:>8.1}",
        "and a bare connect and query: floor",
        "",
        milliseconds(floor)
    );
    for (function, starts) in FUNCTIONS.iter().zip(&starts) {
        show(function.name, starts, floor, Some(binaries.zipped(function.binary)));
    }
    println!("\nlimits: {LIMIT} of the floor, {:.1} MB zipped", megabytes(MAX_ZIP));
}

/// The command line.
struct Asked {
    rounds: usize,
    build: Build,
}

impl Asked {
    fn read() -> Self {
        let mut asked = Self {
            rounds: ROUNDS,
            build: Build::First,
        };
        for argument in std::env::args().skip(1) {
            match (argument.as_str(), argument.parse()) {
                ("as-built", _) => asked.build = Build::Never,
                (_, Ok(rounds @ 1..=1000)) => asked.rounds = rounds,
                _ => {
                    println!(
                        "usage: cold-start [1..1000] [as-built]   rounds, default {ROUNDS}; as-built: does not build"
                    );
                    std::process::exit(2)
                }
            }
        }
        asked
    }
}

/// A migrated database, and its address for the functions' login.
async fn prepare(cluster: &Cluster) -> String {
    annals::store::migrate(&cluster.url()).await.expect("migrations");
    let admin = connect(&cluster.url()).await;
    admin
        .batch_execute(&format!("alter role annals_api password '{PASSWORD}'"))
        .await
        .expect("a password");
    let database = local::cluster::DATABASE;
    format!(
        "postgresql://annals_api:{PASSWORD}@127.0.0.1:{}/{database}?sslmode=disable",
        cluster.port()
    )
}

async fn connect_and_query(url: &str) -> Duration {
    let began = Instant::now();
    let client = connect(url).await;
    client.simple_query("select 1").await.expect("an answer");
    began.elapsed()
}

fn show(name: &str, starts: &[Start], floor: Duration, zipped: Option<usize>) {
    let asked = median(starts.iter().map(|start| start.asked));
    let answered = median(starts.iter().map(|start| start.answered));
    let ratio = answered.as_secs_f64() / floor.as_secs_f64();
    let zipped = zipped.map_or_else(String::new, |bytes| format!("{:.2} MB", megabytes(bytes)));
    println!(
        "{name:<34} {:>8.1} {:>8.1} {ratio:>8.2} {zipped:>10}",
        milliseconds(asked),
        milliseconds(answered)
    );
}

fn median(durations: impl Iterator<Item = Duration>) -> Duration {
    let mut all: Vec<Duration> = durations.collect();
    all.sort();
    all.get(all.len() / 2).copied().unwrap_or_default()
}

fn milliseconds(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

#[expect(clippy::cast_precision_loss, reason = "a size is shown to two places")]
fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / f64::from(1024 * 1024)
}
