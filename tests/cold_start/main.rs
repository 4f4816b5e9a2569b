//! Cold starts: each function from its start as a process to its first answer, compared in one run with a hello-world function and a bare
//! connect and query; and the zipped size of each function.
//!
//! `cargo run --release -p tests --bin cold-start [-- ROUNDS] [as-built] [--json FILE]` builds the functions, starts a PostgreSQL of its own with
//! PgBouncer before it, and plays Lambda: the Runtime API on the loopback interface, with the recorded events of `tests/events`. All
//! functions are measured alternately, round by round, because other processes disturb the machine. They are measured in three ways:
//! behind a pooler, as they are deployed, where connections to PostgreSQL are warm; directly, where each start also waits for a new
//! backend to read its catalogs; and directly by TLS, as every deployed function connects, which is compared with a floor by TLS. The
//! figures are information: a run above a limit does not fail.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    clippy::float_arithmetic,
    reason = "a bench: what fails ends it with its place, what it finds it prints, and what it prints are ratios"
)]

mod binaries;
mod events;
mod runtime;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use annals_store::{Access, Store};
use binaries::{Binaries, Build};
use events::{FUNCTIONS, Login, Queue};
use local::cluster::{Cluster, DATABASE, Options};
use runtime::{Lambda, Start};
use tests::{
    Authority, Figure, Line, PgBouncer, Phase, SERVER_CONNECTIONS, SecuredServer, Target, connect, parent_of,
    set_api_password, url_at, write_json,
};

/// Default number of starts of each function.
const ROUNDS: usize = 31;
/// The host name in the server's certificate.
const HOST: &str = "db.example.com";
/// Maximum size of a zipped function, in bytes.
const MAX_ZIP: usize = 5 * 1024 * 1024;

/// A way to connect to the database.
struct Way {
    name: &'static str,
    url: String,
    /// The migrating role's address, which does not use the pooler.
    owner_url: Option<String>,
    /// For an encrypted connection, the only authorities that may sign the server's certificate.
    authorities: Option<String>,
    /// Durations of the bare connect and query.
    bare: Vec<Duration>,
    /// Starts of each function.
    starts: Vec<Vec<Start>>,
    /// What each start cost in processor time.
    costs: Vec<Vec<Figure>>,
}

impl Way {
    fn by(name: &'static str, port: u16, owner_url: Option<String>) -> Self {
        Self {
            name,
            url: url_at(port, "annals_api", DATABASE),
            owner_url,
            authorities: None,
            bare: Vec::new(),
            starts: vec![Vec::new(); FUNCTIONS.len()],
            costs: vec![Vec::new(); FUNCTIONS.len()],
        }
    }

    /// The median of the bare connect and query.
    fn bare(&self) -> Duration {
        median(self.bare.iter().copied())
    }

    /// The line of each function that connects in this way.
    fn lines(&self, floor: Duration) -> Vec<Line> {
        let measured = FUNCTIONS.iter().zip(&self.starts).zip(&self.costs);
        measured
            .filter(|((_, starts), _)| !starts.is_empty())
            .map(|((function, starts), costs)| {
                let work = format!("cold start {}, {}", self.name, function.name);
                let answered = median(starts.iter().map(|start| start.answered));
                let figure = Figure {
                    rate: milliseconds(answered),
                    ..mean(costs)
                };
                let ceiling = Figure {
                    rate: milliseconds(floor),
                    ..Figure::default()
                };
                Line::cost(work, "ms", ceiling, figure).with_target(function.target)
            })
            .collect()
    }
}

/// The same server under a host name, with a certificate for it.
async fn encrypted(cluster: Cluster) -> (Way, SecuredServer) {
    let (server, authority) = (SecuredServer { cluster }, Authority::new());
    server.show(&authority.sign(HOST, 2100)).await;
    let login = url_at(server.cluster.port(), "annals_api", DATABASE).replace("127.0.0.1", HOST);
    let way = Way {
        url: login.replace("sslmode=disable", "hostaddr=127.0.0.1&sslmode=require"),
        authorities: Some(authority.pem()),
        ..Way::by("directly, by TLS", server.cluster.port(), None)
    };
    (way, server)
}

#[tokio::main]
async fn main() {
    let asked = Asked::read();
    let binaries = Binaries::of(asked.build);
    let cluster = Cluster::start(Options::ephemeral()).await.expect("a private cluster");
    annals_store::migrate(&cluster.url()).await.expect("migrations");
    set_api_password(&cluster).await;
    let postmaster = postmaster(&cluster).await;
    let pooler = PgBouncer::start_with(&hash_of_password(&cluster).await, cluster.port(), SERVER_CONNECTIONS);
    let lambda = Lambda::start().await;
    let mut hello = Vec::new();
    let plain = [
        Way::by("directly", cluster.port(), Some(cluster.url())),
        Way::by("through PgBouncer", pooler.port(), None),
    ];
    let (secured, _server) = encrypted(cluster).await;
    let mut ways: Vec<Way> = plain.into_iter().chain([secured]).collect();
    for round in 0..asked.rounds {
        let program = binaries.path("hello");
        hello.push(lambda.invoke(&program, ("", ""), Queue::None, "{}".to_owned()).await);
        for (place, way) in ways.iter_mut().enumerate() {
            way.bare.push(connect_and_query(way).await);
            let measured = way.starts.iter_mut().zip(&mut way.costs);
            for (function, (starts, costs)) in FUNCTIONS.iter().zip(measured) {
                let url = match function.login {
                    Login::Api => Some(&way.url),
                    Login::Owner => way.owner_url.as_ref(),
                };
                if let Some(url) = url {
                    let event = function.event(round * 3 + place);
                    let program = binaries.path(function.binary);
                    let database = (&**url, way.authorities.as_deref().unwrap_or_default());
                    let phase = Phase::start(postmaster);
                    starts.push(lambda.invoke(&program, database, function.queue, event).await);
                    costs.push(phase.end(1));
                }
            }
        }
    }
    let hello = median(hello.iter().map(|start| start.answered));
    let floors = [0, 2].map(|place: usize| hello + ways[place].bare());
    report(hello, floors, &ways, &binaries);
    if let Some(file) = &asked.json {
        let lines: Vec<Line> = ways.iter().flat_map(|way| way.lines(floor_of(way, floors))).collect();
        write_json(file, &lines).expect("the file can be written");
    }
}

/// A way by TLS has the floor by TLS.
fn floor_of(way: &Way, floors: [Duration; 2]) -> Duration {
    floors[usize::from(way.authorities.is_some())]
}

fn report(hello: Duration, floors: [Duration; 2], ways: &[Way], binaries: &Binaries) {
    println!("{} rounds; medians in ms, from spawn\n", ways[0].bare.len());
    println!("hello-world {:.1}", milliseconds(hello));
    for way in ways {
        println!("bare connect and query, {}: {:.1}", way.name, milliseconds(way.bare()));
    }
    println!(
        "floor: hello-world, and the query directly: {:.1}",
        milliseconds(floors[0])
    );
    println!("floor by TLS: {:.1}", milliseconds(floors[1]));
    for (place, way) in ways.iter().enumerate() {
        println!(
            "\n{:<34} {:>8} {:>8} {:>8} {:>10}",
            way.name, "asks", "answers", "of floor", "zip"
        );
        for (function, starts) in FUNCTIONS.iter().zip(&way.starts) {
            let zipped = (place == 0).then(|| binaries.zipped(function.binary));
            if !starts.is_empty() {
                show(function.name, starts, floor_of(way, floors), zipped);
            }
        }
    }
    let limit = 1.0 / Target::COLD_START.floor;
    println!("\nlimits: {limit:.1} of the floor, {:.1} MB zipped", megabytes(MAX_ZIP));
}

/// The parsed command line.
struct Asked {
    rounds: usize,
    build: Build,
    json: Option<PathBuf>,
}

impl Asked {
    fn read() -> Self {
        Self::of(std::env::args().skip(1)).unwrap_or_else(|| {
            println!(
                "usage: cold-start [1..1000] [as-built] [--json FILE]   rounds, default {ROUNDS}; as-built: does not build"
            );
            std::process::exit(2)
        })
    }

    fn of(mut arguments: impl Iterator<Item = String>) -> Option<Self> {
        let mut asked = Self {
            rounds: ROUNDS,
            build: Build::First,
            json: None,
        };
        while let Some(argument) = arguments.next() {
            match (argument.as_str(), argument.parse()) {
                ("as-built", _) => asked.build = Build::Never,
                ("--json", _) => asked.json = Some(PathBuf::from(arguments.next()?)),
                (_, Ok(rounds @ 1..=1000)) => asked.rounds = rounds,
                _ => return None,
            }
        }
        Some(asked)
    }
}

/// The process id of the server.
async fn postmaster(cluster: &Cluster) -> u32 {
    let backend = "select pg_backend_pid()";
    let row = connect(&cluster.url())
        .await
        .query_one(backend, &[])
        .await
        .expect("a backend");
    parent_of(row.get(0)).unwrap_or_default()
}

/// The hash of the functions' password that the server stores.
async fn hash_of_password(cluster: &Cluster) -> String {
    let superuser = connect(&cluster.superuser_url()).await;
    let hash = "select rolpassword from pg_authid where rolname = 'annals_api'";
    superuser.query_one(hash, &[]).await.expect("a login").get(0)
}

async fn connect_and_query(way: &Way) -> Duration {
    let began = Instant::now();
    match &way.authorities {
        None => {
            let client = connect(&way.url).await;
            client.simple_query("select 1").await.expect("an answer");
        }
        // The minimum of every function: a connection by TLS and one query.
        Some(_) => {
            let access = Access {
                authorities: way.authorities.clone(),
                ..Access::to(&way.url)
            };
            let store = Store::open(access, 1).expect("an address");
            store.connect_early().await.expect("an answer");
        }
    }
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

/// Mean processor times; one start is shorter than the clock of processor time.
fn mean(costs: &[Figure]) -> Figure {
    let mean = |of: fn(&Figure) -> Option<f64>| {
        let all: Vec<f64> = costs.iter().filter_map(of).collect();
        (!all.is_empty()).then(|| all.iter().sum::<f64>() / all.len() as f64)
    };
    Figure {
        rate: 0.0,
        server_us: mean(|cost| cost.server_us),
        client_us: mean(|cost| cost.client_us),
    }
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
