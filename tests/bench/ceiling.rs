//! How fast the same rows can be written to the same table, with its constraints and indexes, without any checks: as the table's owner,
//! without catalog, claims, streams or policies.

use std::path::PathBuf;
use std::pin::pin;
use std::time::Duration;

use bytes::Bytes;
use futures_util::SinkExt;
use tests::{Person, connect};
use tokio::process::Command;
use tokio::task::JoinSet;
use tokio_postgres::Client;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

use crate::measure::{Figure, Phase, repeat};
use crate::rows::{DATA, EVENT_TYPE, METADATA, Writer, new_stream};
use crate::site::Site;

/// A row of the log as pgbench writes it. Everything that a client would send is a parameter. Ids rise, as UUIDs of version 7 do.
const SCRIPT: &str = r"\set stream random(1, 9999999999999999)
insert into annals.events (event_number, created_at, timestamp, id, tenant_id, user_id, aggregate_version, event_type, aggregate_type, aggregate_id, version, created_by, posted_by, started_by, source, data, metadata) values (nextval('annals.event_numbers'), clock_timestamp(), clock_timestamp(), ('0198c0de-0000-7000-8000-' || lpad(to_hex(currval('annals.event_numbers')), 12, '0'))::uuid, '00000000-0000-0000-0000-000000000000', :user_id, 1, :event_type, 'sale', 'S-' || lpad(:stream::text, 16, '0'), '1.0', :created_by, :posted_by, :started_by, 'api', :data, :metadata);
";
/// Rows of a multi-row INSERT.
const ROWS: usize = 100;
/// First event number of copied rows, far above the sequence.
const COPIED_FROM: u64 = 1_000_000_000_000;

/// Measures the ceilings.
pub struct Ceiling<'a> {
    site: &'a Site,
    phase: Duration,
    writer: Writer,
    script: Script,
}

impl<'a> Ceiling<'a> {
    /// Ceilings at this site; each phase takes this long.
    pub async fn new(site: &'a Site, phase: Duration) -> Self {
        Self {
            site,
            phase,
            writer: Writer::of(&Person::staff()),
            script: Script::write(),
        }
    }

    /// Single rows by pgbench, with a prepared statement.
    pub async fn insert(&self, clients: usize) -> Figure {
        let mut command = Command::new(&self.site.pgbench);
        command
            .args(["--no-vacuum", "--protocol=prepared", "--jobs=2"])
            .arg(format!("--client={clients}"))
            .arg(format!("--time={}", self.phase.as_secs()))
            .arg("--file")
            .arg(&self.script.0);
        let user_id = self.writer.user_id.to_string();
        let actor = &self.writer.actor;
        for (name, value) in [
            ("user_id", user_id.as_str()),
            ("event_type", EVENT_TYPE),
            ("created_by", actor),
            ("posted_by", actor),
            ("started_by", actor),
            ("data", DATA),
            ("metadata", METADATA),
        ] {
            command.arg(format!("--define={name}={value}"));
        }
        let phase = Phase::start(self.site.postmaster);
        let output = command
            .arg(self.site.ceiling_url())
            .output()
            .await
            .expect("pgbench beside postgres");
        let text = String::from_utf8_lossy(&output.stdout);
        let number = |label: &str| -> Option<f64> {
            let (_, rest) = text.split_once(label)?;
            rest.split_whitespace().next()?.parse().ok()
        };
        match (number("actually processed: "), number("tps = ")) {
            (Some(count), Some(rate)) if output.status.success() => phase.end_with_rate(count as usize, rate),
            _ => panic!("pgbench: {text}{}", String::from_utf8_lossy(&output.stderr)),
        }
    }

    /// Hundreds of rows by one prepared statement each. pgbench cannot do it, because it sends at most 255 parameters.
    pub async fn insert_hundreds(&self, clients: usize) -> Figure {
        let sql = insert_of(ROWS);
        let mut connections = Vec::new();
        for _ in 0..clients {
            let client = connect(&self.site.ceiling_url()).await;
            let statement = client.prepare(&sql).await.expect("an INSERT");
            connections.push((client, statement));
        }
        let phase = Phase::start(self.site.postmaster);
        let mut writers = JoinSet::new();
        for (client, statement) in connections {
            let (actor, user_id, time) = (self.writer.actor.clone(), self.writer.user_id, self.phase);
            writers.spawn(async move { repeat(time, || insert_rows(&client, &statement, &actor, user_id)).await });
        }
        phase.end(writers.join_all().await.into_iter().sum())
    }

    /// One COPY stream.
    pub async fn copy(&self) -> Figure {
        let client = connect(&self.site.ceiling_url()).await;
        let last: Option<i64> = client
            .query_one("select max(event_number) from annals.events", &[])
            .await
            .expect("the last number")
            .get(0);
        let first = last
            .and_then(|n| u64::try_from(n).ok())
            .unwrap_or_default()
            .max(COPIED_FROM);
        let phase = Phase::start(self.site.postmaster);
        let sink = client
            .copy_in(
                "copy annals.events (event_number, created_at, timestamp, id, tenant_id, user_id, aggregate_version, event_type, \
                 aggregate_type, aggregate_id, version, created_by, posted_by, started_by, source, data, metadata) from stdin",
            )
            .await
            .expect("COPY");
        let mut sink = pin!(sink);
        let deadline = std::time::Instant::now() + self.phase;
        let mut number = first;
        while std::time::Instant::now() < deadline {
            let rows: String = (1..=500).map(|place| self.copied_row(number + place)).collect();
            number += 500;
            sink.send(Bytes::from(rows)).await.expect("COPY takes rows");
        }
        let copied = sink.finish().await.expect("COPY ends");
        phase.end(copied as usize)
    }

    fn copied_row(&self, number: u64) -> String {
        let now = chrono::Utc::now().format("%Y-%m-%d %H:%M:%S%.6f+00");
        let Writer { actor, user_id } = &self.writer;
        let (id, stream) = (Uuid::now_v7(), new_stream());
        format!(
            "{number}\t{now}\t{now}\t{id}\t{}\t{user_id}\t1\t{EVENT_TYPE}\tsale\t{stream}\t1.0\t{actor}\t{actor}\t{actor}\tapi\t{DATA}\t{METADATA}\n",
            Uuid::nil()
        )
    }
}

/// `insert … values (…), (…)` with separate parameters for each row.
fn insert_of(rows: usize) -> String {
    let row = |place: usize| {
        let p = |n: usize| format!("${}", place * PARAMETERS + n);
        format!(
            "(nextval('annals.event_numbers'), clock_timestamp(), clock_timestamp(), {}, {}, {}, 1, {}, {}, {}, {}, {}, {}, {}, {}, {}::text::jsonb, {}::text::jsonb)",
            p(1),
            p(2),
            p(3),
            p(4),
            p(5),
            p(6),
            p(7),
            p(8),
            p(9),
            p(10),
            p(11),
            p(12),
            p(13)
        )
    };
    let rows: Vec<String> = (0..rows).map(row).collect();
    format!(
        "insert into annals.events (event_number, created_at, timestamp, id, tenant_id, user_id, aggregate_version, event_type, \
         aggregate_type, aggregate_id, version, created_by, posted_by, started_by, source, data, metadata) values {}",
        rows.join(", ")
    )
}

/// Number of parameters of a row.
const PARAMETERS: usize = 13;

async fn insert_rows(client: &Client, statement: &tokio_postgres::Statement, actor: &str, user_id: Uuid) -> usize {
    let keys: Vec<(Uuid, String)> = (0..ROWS).map(|_| (Uuid::now_v7(), new_stream())).collect();
    let tenant = Uuid::nil();
    let mut params: Vec<&(dyn ToSql + Sync)> = Vec::with_capacity(ROWS * PARAMETERS);
    for (id, stream) in &keys {
        let row: [&(dyn ToSql + Sync); PARAMETERS] = [
            id,
            &tenant,
            &user_id,
            &EVENT_TYPE,
            &"sale",
            stream,
            &"1.0",
            &actor,
            &actor,
            &actor,
            &"api",
            &DATA,
            &METADATA,
        ];
        params.extend(row);
    }
    client.execute(statement, &params).await.expect("rows");
    ROWS
}

/// pgbench's script, in a file that is deleted with this value.
struct Script(PathBuf);

impl Script {
    fn write() -> Self {
        let path = std::env::temp_dir().join(format!("annals-bench-{}.sql", Uuid::new_v4()));
        std::fs::write(&path, SCRIPT).expect("a temporary file");
        Self(path)
    }
}

impl Drop for Script {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}
