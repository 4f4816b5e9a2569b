//! `cargo run -- replay`: delivers the events of the log to standard output, as lines of JSON, or to a queue, as messages.
//!
//! The checkpoint moves after a batch is delivered: when the reader of the pipe, the file system or the queue has taken all of it. A run
//! that is killed has therefore delivered everything up to its checkpoint, and perhaps a part of the next batch, whose last line may be
//! incomplete.

use crate::database::Database;
use crate::environment::Environment;
use crate::{Error, output};
use annals::replay::{Batch, BatchSize, Replay, ReplayError, Report, partition_by_stream, replay_batches};
use annals_domain::event::MAX_METADATA_BYTES;
use annals_domain::{CheckpointName, Event, TenantId, Timestamp, json};
use annals_queue::Queue;
use annals_store::Store;
use aws_config::BehaviorVersion;
use clap::Args;
use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::time::Duration;
use uuid::Uuid;

/// One connection is enough: reading and moving the checkpoint never happen at the same time.
const CONNECTIONS: usize = 1;
const BAR_STYLE: &str = "{bar:32} {percent:>3} %  {msg}  {elapsed} elapsed, {eta} left";

/// Arguments of `replay`.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Keep progress under this name and continue from there; the name can be used only with the filters of its first run
    #[arg(long, value_name = "NAME", value_parser = checkpoint_name)]
    checkpoint: Option<CheckpointName>,
    /// JSON object about the consumer, stored with the checkpoint [default: the one that is stored]
    #[arg(long, value_name = "JSON", requires = "checkpoint", value_parser = metadata)]
    metadata: Option<Map<String, Value>>,
    /// Only events recorded at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Only events recorded before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// Only events of this type, or of all types of a pattern such as order.*; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Events per batch, 1 to 10000; the checkpoint moves after each batch
    #[arg(long, value_name = "N", default_value = "500", value_parser = batch_size)]
    batch_size: BatchSize,
    /// Only events of this tenant [default: all tenants]
    #[arg(long, value_name = "UUID")]
    tenant: Option<Uuid>,
    /// Send each event as a message to this SQS queue instead of printing it
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// Number of batches of messages that are sent concurrently; the events of one stream stay in order
    #[arg(long, value_name = "N", default_value = "1", requires = "queue")]
    workers: NonZeroUsize,
}

fn checkpoint_name(text: &str) -> Result<CheckpointName, String> {
    CheckpointName::try_from(text.to_owned()).map_err(|fault| fault.to_string())
}

fn metadata(text: &str) -> Result<Map<String, Value>, String> {
    match json::parse(text.as_bytes()) {
        Ok(Value::Object(members)) if text.len() <= MAX_METADATA_BYTES => Ok(members),
        Ok(Value::Object(_)) => Err(format!("must be at most {MAX_METADATA_BYTES} bytes of JSON")),
        Ok(_) => Err("must be a JSON object, such as {\"owner\": \"reporting\"}".to_owned()),
        Err(fault) => Err(format!("must be a JSON object: {}", fault.message)),
    }
}

fn batch_size(text: &str) -> Result<BatchSize, String> {
    let size = text.parse().ok().and_then(BatchSize::new);
    size.ok_or_else(|| format!("must be a whole number from 1 to {}", BatchSize::MAX))
}

/// Runs the command. At its end it prints a summary on standard error.
pub async fn run(environment: &Environment, arguments: Arguments) -> Result<(), Error> {
    let database = Database::open(environment).await?;
    let store = database.store(CONNECTIONS)?;
    database.run(deliver(&store, arguments)).await
}

async fn deliver(store: &Store, arguments: Arguments) -> Result<(), Error> {
    let Arguments { queue, workers, .. } = &arguments;
    let (queue, workers) = (queue.clone(), *workers);
    let replay = Replay {
        from: arguments.from,
        to: arguments.to,
        event_types: arguments.types,
        tenant: arguments.tenant.map(TenantId::from),
        checkpoint: arguments.checkpoint,
        metadata: arguments.metadata,
        batch_size: arguments.batch_size,
        ..Replay::default()
    };
    let progress = &Progress::new();
    let report = match queue {
        None => {
            replay_batches(store, &replay, |batch| async move {
                let reached = progress.at(&batch);
                print(batch.events).await?;
                progress.show(reached);
                Ok(())
            })
            .await
        }
        Some(url) => {
            let settings = aws_config::load_defaults(BehaviorVersion::latest()).await;
            let queue = &Queue::with_settings(&settings, url);
            replay_batches(store, &replay, |batch| async move {
                let reached = progress.at(&batch);
                send(queue, partition_by_stream(batch.events, workers)).await?;
                progress.show(reached);
                Ok(())
            })
            .await
        }
    };
    progress.bar.finish_and_clear();
    summarise(&report.map_err(failure)?);
    Ok(())
}

/// Writes the lines of a batch together and waits until the reader has taken them.
pub async fn print(events: Vec<Event>) -> Result<(), Error> {
    let mut lines = Vec::new();
    for event in &events {
        serde_json::to_writer(&mut lines, event).map_err(|source| Error::Replay(Box::new(source)))?;
        lines.push(b'\n');
    }
    output::lines(lines).await
}

/// Sends the partitions of a batch concurrently, each in order.
async fn send(queue: &Queue, partitions: Vec<Vec<Event>>) -> Result<(), Error> {
    let sent = join_all(partitions.iter().map(|events| queue.send_events(events))).await;
    let all = sent.into_iter().collect::<Result<(), _>>();
    all.map_err(|source| Error::Replay(Box::new(source)))
}

/// An error of our own handler is returned as it is; every other one is wrapped.
fn failure(error: ReplayError<Error>) -> Error {
    match error {
        ReplayError::Handler(error) => error,
        other => Error::Replay(Box::new(other)),
    }
}

/// A progress bar on standard error if that is a terminal, otherwise nothing.
struct Progress {
    bar: ProgressBar,
    events: Cell<usize>,
}

/// The progress after a batch.
struct Reached {
    events: usize,
    position: u64,
    end: u64,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template(BAR_STYLE);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            events: Cell::default(),
        }
    }

    /// The progress to show once the batch is delivered, counted from where this run began.
    fn at(&self, batch: &Batch) -> Reached {
        let since_start = |number: i64| u64::try_from(number - batch.start).unwrap_or_default();
        Reached {
            events: batch.events.len(),
            position: since_start(batch.position),
            end: since_start(batch.end),
        }
    }

    fn show(&self, reached: Reached) {
        self.events.set(self.events.get() + reached.events);
        self.bar.set_length(reached.end);
        let events = u64::try_from(self.events.get()).unwrap_or(u64::MAX);
        let rate = per_second(events, self.bar.elapsed());
        self.bar.set_message(format!("{events} events ({rate} per second)"));
        self.bar.set_position(reached.position);
    }
}

fn summarise(report: &Report) {
    let milliseconds = report.elapsed.as_millis();
    eprintln!(
        "{} events in {}.{:03} s ({} per second), up to event number {}",
        report.events,
        milliseconds / 1000,
        milliseconds % 1000,
        per_second(report.events, report.elapsed),
        report.position
    );
}

fn per_second(events: u64, elapsed: Duration) -> u128 {
    u128::from(events) * 1000 / elapsed.as_millis().max(1)
}
