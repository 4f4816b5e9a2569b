//! `replay`: the log to standard output, a line of JSON per event, or to a queue, a message per event.
//!
//! A batch counts as delivered when the reader of the pipe, the file system or the queue has taken all of it; only then does
//! the checkpoint move. A run that is killed has thus delivered everything up to its checkpoint, and perhaps some of the next
//! batch, whose last line may be cut short.

use crate::cli::Environment;
use crate::database::Database;
use crate::{Error, output};
use annals::domain::event::MAX_METADATA_BYTES;
use annals::domain::{CheckpointName, Event, TenantId, Timestamp, json};
use annals::queue::Queue;
use annals::replay::{Batch, BatchSize, Replay, ReplayError, Report, lanes, replay_batches};
use annals::store::Store;
use aws_config::BehaviorVersion;
use clap::Args;
use futures_util::future::join_all;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::num::NonZeroUsize;
use std::time::Duration;
use uuid::Uuid;

/// One to read; another for the checkpoint would never be used at the same time.
const CONNECTIONS: usize = 1;
const STYLE: &str = "{bar:32} {percent:>3} %  {msg}  {elapsed} elapsed, {eta} left";

/// What of the log to replay, and where to.
#[derive(Args, Debug)]
pub struct Arguments {
    /// Remember progress under this name and go on from there; the name belongs to what is read under it first
    #[arg(long, value_name = "NAME", value_parser = checkpoint_name)]
    checkpoint: Option<CheckpointName>,
    /// What to keep with the checkpoint about its consumer, a JSON object [default: what was given last]
    #[arg(long, value_name = "JSON", requires = "checkpoint", value_parser = metadata)]
    metadata: Option<Map<String, Value>>,
    /// Only events recorded at this time or later (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    from: Option<Timestamp>,
    /// Only events recorded before this time (RFC 3339)
    #[arg(long, value_name = "TIME", value_parser = Timestamp::parse)]
    to: Option<Timestamp>,
    /// Only events of this type, or of types like order.*; repeatable
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// Events between two moves of the checkpoint, 1 to 10000
    #[arg(long, value_name = "N", default_value = "500", value_parser = batch_size)]
    batch_size: BatchSize,
    /// Only events of this tenant [default: all tenants]
    #[arg(long, value_name = "UUID")]
    tenant: Option<Uuid>,
    /// Send each event as a message to this SQS queue instead of printing it
    #[arg(long, value_name = "URL")]
    queue: Option<String>,
    /// Send so many batches of messages at once, each stream in order within one of them
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

/// Replays, and says in one line on standard error how much it was.
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
            let queue = &Queue::by(&settings, url);
            replay_batches(store, &replay, |batch| async move {
                let reached = progress.at(&batch);
                send(queue, lanes(batch.events, workers)).await?;
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

/// Writes the batch's lines at once and waits until they are taken.
async fn print(events: Vec<Event>) -> Result<(), Error> {
    let mut lines = Vec::new();
    for event in &events {
        serde_json::to_writer(&mut lines, event).map_err(|source| Error::Replay(Box::new(source)))?;
        lines.push(b'\n');
    }
    output::lines(lines).await
}

async fn send(queue: &Queue, lanes: Vec<Vec<Event>>) -> Result<(), Error> {
    let sent = join_all(lanes.iter().map(|lane| queue.send_events(lane))).await;
    let all = sent.into_iter().collect::<Result<(), _>>();
    all.map_err(|source| Error::Replay(Box::new(source)))
}

/// What the handler failed with stands for itself; the rest is told as the library tells it.
fn failure(error: ReplayError<Error>) -> Error {
    match error {
        ReplayError::Handler(error) => error,
        other => Error::Replay(Box::new(other)),
    }
}

/// A bar on standard error, where that is a terminal; nothing elsewhere.
struct Progress {
    bar: ProgressBar,
    events: Cell<usize>,
}

/// How far a batch leads.
struct Reached {
    events: usize,
    position: u64,
    end: u64,
}

impl Progress {
    fn new() -> Self {
        let style = ProgressStyle::with_template(STYLE);
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        Self {
            bar: bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())),
            events: Cell::default(),
        }
    }

    /// What to show once the batch is delivered. What was there before the run is no part of its rate.
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
