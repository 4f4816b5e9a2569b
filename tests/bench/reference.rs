//! The ceiling: how fast plain prepared statements write and read the *reference table*, which has the columns and indexes that an event
//! store of this kind usually has, and none of Annals' checks. It is always in a database of its own, so Annals' schema cannot slow the
//! ceiling down.

use std::process::Stdio;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tests::{Figure, Person, Phase, connect, repeat};
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_postgres::{Client, Statement};
use uuid::Uuid;

use crate::rows::{BATCH, DATA, EVENT_TYPE, METADATA, Writer};
use crate::site::Site;

/// The reference table.
pub const TABLE: &str = "
create table events (
    id uuid primary key,
    event_number bigserial unique,
    event_type varchar(100),
    aggregate_type varchar(50),
    aggregate_id uuid,
    aggregate_version int,
    data jsonb,
    metadata jsonb,
    created_by varchar(100),
    user_id uuid,
    timestamp timestamptz,
    created_at timestamptz default now(),
    correlation_id uuid,
    causation_id uuid,
    idempotency_key varchar(255),
    unique (aggregate_type, aggregate_id, aggregate_version)
);
create index on events (event_type);
create index on events (aggregate_id);
create index on events (aggregate_type);
create index on events (user_id);
create index on events (timestamp);
create index on events (aggregate_id, aggregate_type, timestamp);
create unique index on events (idempotency_key) where idempotency_key is not null;
";

/// An event as pgbench writes it. The client chooses the id; ids rise, as UUIDs of version 7 do. pgbench cannot choose a random UUID, so the
/// server does that for the stream.
const SCRIPT: &str = r"\set turn :turn + 1
insert into events (id, event_type, aggregate_type, aggregate_id, aggregate_version, data, metadata, created_by, user_id, timestamp) values (('0198c0de-' || :round || '-7000-8000-' || lpad(to_hex(:turn::bigint * 64 + :client_id::bigint), 12, '0'))::uuid, :event_type, 'sale', gen_random_uuid(), 1, :data, :metadata, :created_by, :user_id, clock_timestamp());
";
/// Many events from arrays. The JSON is sent as text, which PostgreSQL parses as it does for pgbench.
const INSERT_MANY: &str = "
insert into events (id, event_type, aggregate_type, aggregate_id, aggregate_version, data, metadata, created_by, user_id, timestamp)
select r.id, r.event_type, r.aggregate_type, r.aggregate_id, r.aggregate_version, r.data::jsonb, r.metadata::jsonb, r.created_by, r.user_id, r.at
  from unnest($1::uuid[], $2::text[], $3::text[], $4::uuid[], $5::int[], $6::text[], $7::text[], $8::text[], $9::uuid[], $10::timestamptz[])
    as r (id, event_type, aggregate_type, aggregate_id, aggregate_version, data, metadata, created_by, user_id, at)";

/// Shortest run of pgbench. Its time includes connecting.
const SHORTEST: Duration = Duration::from_secs(2);

/// Measures how fast the reference table is written.
pub struct Reference<'a> {
    site: &'a Site,
    phase: Duration,
    url: String,
    writer: Writer,
    rounds: AtomicU16,
}

impl<'a> Reference<'a> {
    /// An empty reference table at this site; each phase takes this long.
    pub async fn new(site: &'a Site, phase: Duration) -> Self {
        Self {
            site,
            phase,
            url: site.reference_database("reference").await,
            writer: Writer::of(&Person::staff()),
            rounds: AtomicU16::new(0),
        }
    }

    /// Single events by pgbench, with a prepared statement.
    pub async fn insert(&self, clients: usize) -> Figure {
        let mut command = Command::new(&self.site.pgbench);
        command
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", self.phase.max(SHORTEST).as_secs()))
            .args(["--file", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, value) in [
            ("turn", "0"),
            ("round", &format!("{:04x}", self.rounds.fetch_add(1, Ordering::Relaxed))),
            ("user_id", &self.writer.user_id.to_string()),
            ("event_type", EVENT_TYPE),
            ("created_by", &self.writer.actor),
            ("data", DATA),
            ("metadata", METADATA),
        ] {
            command.arg(format!("--define={name}={value}"));
        }
        let phase = Phase::start(self.site.postmaster);
        let mut pgbench = command.arg(&self.url).spawn().expect("pgbench beside postgres");
        let mut input = pgbench.stdin.take().expect("its input");
        input.write_all(SCRIPT.as_bytes()).await.expect("it reads the script");
        drop(input);
        let output = pgbench.wait_with_output().await.expect("pgbench ends");
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |label: &str| -> Option<f64> {
            let (_, rest) = text.split_once(label)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        let processed = number("actually processed: ").filter(|_| output.status.success());
        let count = processed.unwrap_or_else(|| panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)));
        // If connecting took all the time, there is no rate.
        phase.end_with_rate(count as usize, number("tps = ").unwrap_or_default())
    }

    /// A hundred events by each statement, from arrays.
    pub async fn insert_hundreds(&self, clients: usize) -> Figure {
        let mut connections = Vec::new();
        for _ in 0..clients {
            connections.push(Batches::prepare(connect(&self.url).await).await);
        }
        let phase = Phase::start(self.site.postmaster);
        let mut writers = JoinSet::new();
        for batches in connections {
            let time = self.phase;
            writers.spawn(async move { repeat(time, || batches.insert()).await });
        }
        phase.end(writers.join_all().await.into_iter().sum())
    }
}

/// A connection that inserts batches.
pub struct Batches {
    client: Client,
    statement: Statement,
    writer: Writer,
}

impl Batches {
    /// Prepares the statement on this connection.
    pub async fn prepare(client: Client) -> Self {
        Self {
            statement: client.prepare(INSERT_MANY).await.expect("an INSERT"),
            client,
            writer: Writer::of(&Person::staff()),
        }
    }

    /// Inserts a batch in which each event starts a new stream.
    pub async fn insert(&self) -> usize {
        let ids: Vec<Uuid> = (0..BATCH).map(|_| Uuid::now_v7()).collect();
        let streams: Vec<Uuid> = (0..BATCH).map(|_| Uuid::new_v4()).collect();
        let times: Vec<DateTime<Utc>> = vec![Utc::now(); BATCH];
        let all = |text: &'static str| vec![text; BATCH];
        let inserted = self
            .client
            .execute(
                &self.statement,
                &[
                    &ids,
                    &all(EVENT_TYPE),
                    &all("sale"),
                    &streams,
                    &vec![1; BATCH],
                    &all(DATA),
                    &all(METADATA),
                    &vec![self.writer.actor.as_str(); BATCH],
                    &vec![self.writer.user_id; BATCH],
                    &times,
                ],
            )
            .await;
        assert_eq!(inserted.expect("rows"), BATCH as u64);
        BATCH
    }
}
