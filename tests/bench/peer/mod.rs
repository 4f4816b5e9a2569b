//! `bench peer ITEM` speaks the protocol by which event stores are measured side by side. It measures one item in an existing database and
//! prints one JSON line: `{"events": n, "seconds": s, "p50_ms": x, "p99_ms": y}`.
//!
//! Every request passes the whole handler in process: token, policies, schema, database. It reads
//! * `DATABASE_URL`: the database, owned by a role that may create roles;
//! * `BENCH_SECONDS`: how long an item is measured, after half a second to warm up;
//! * `BENCH_PAYLOAD`: a file with the JSON object that is every event's data. `setup` registers an event type whose schema has its fields.

mod database;
mod events;
mod items;
mod load;

use std::time::Duration;

use serde_json::json;

use crate::api::Api;
use database::Database;
use load::Measured;

/// What to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Item {
    /// Migrates an empty database, makes the login and registers the event type.
    Setup,
    /// Appends until the database has 200,000 events.
    Fill,
    /// One event per request, each to a new stream, by this number of writers.
    Append(usize),
    /// One event per request with `expected_version`, in 1,000 streams; each of 16 writers has a sixteenth of them.
    Expecting,
    /// 100 events per request to the writer's own stream, by this number of writers.
    Hundreds(usize),
    /// Reads a stream of 1,000 events over and over.
    Stream,
    /// Reads the first 200,000 events of the feed once.
    Feed,
}

impl Item {
    /// The item of this name.
    pub fn of(name: &str) -> Option<Self> {
        Some(match name {
            "setup" => Self::Setup,
            "fill" => Self::Fill,
            "a1" => Self::Append(1),
            "a16" => Self::Append(16),
            "b16" => Self::Expecting,
            "c1" => Self::Hundreds(1),
            "c4" => Self::Hundreds(4),
            "d" => Self::Stream,
            "e" => Self::Feed,
            _ => return None,
        })
    }
}

/// An API in front of the database, and what its events are made of.
struct Peer {
    database: Database,
    api: Api,
    payload: String,
    seconds: Duration,
}

/// Does an item and prints its line.
pub async fn run(item: Item) {
    let database = Database::of(&variable("DATABASE_URL"));
    if item == Item::Setup {
        database.set_up().await;
    }
    let payload = std::fs::read_to_string(variable("BENCH_PAYLOAD")).expect("the file that BENCH_PAYLOAD names");
    let seconds: f64 = variable("BENCH_SECONDS").parse().expect("BENCH_SECONDS is a number");
    let peer = Peer {
        api: Api::before(database.functions().await),
        database,
        payload: payload.trim().to_owned(),
        seconds: Duration::from_secs_f64(seconds.clamp(0.1, 3_600.0)),
    };
    println!("{}", peer.measure(item).await.to_json());
}

impl Peer {
    async fn measure(&self, item: Item) -> Measured {
        match item {
            Item::Setup => self.register_type().await,
            Item::Fill => self.fill().await,
            Item::Append(writers) => self.append(writers).await,
            Item::Expecting => self.append_expecting().await,
            Item::Hundreds(writers) => self.append_hundreds(writers).await,
            Item::Stream => self.read_stream().await,
            Item::Feed => self.read_feed().await,
        }
    }
}

impl Measured {
    fn to_json(&self) -> serde_json::Value {
        json!({
            "events": self.events,
            "seconds": self.elapsed.as_secs_f64(),
            "p50_ms": self.percentile(50),
            "p99_ms": self.percentile(99),
        })
    }
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("the environment variable {name} is needed"))
}
