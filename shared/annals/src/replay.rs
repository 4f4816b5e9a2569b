//! Replay: delivers the log, or a selection of it, to a handler again, from a checkpoint that survives the process.
//!
//! Every committed event up to the end of the run is delivered at least once, each stream in its own order. The end is a high-water
//! mark that is taken when the run begins. Events appended later are delivered by the next run. The checkpoint moves only after a
//! batch has been handled, so a failure or a kill at any point repeats the unfinished batch and loses nothing.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Map, Value};

use annals_domain::event::EventUpcastError;
use annals_domain::{Catalog, CheckpointName, Event, TenantId, Timestamp, UpcastError};
use annals_store::{CheckpointMove, Feed, OldestAppend, Refusal, Run, Selection, Store, StoreError};

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Events recorded at or after this time.
    pub from: Option<Timestamp>,
    /// Events recorded before this time.
    pub to: Option<Timestamp>,
    /// Event types, or patterns (`order.*`). Empty: all types.
    pub event_types: Vec<String>,
    /// Tenant of the events. `None`: all tenants.
    pub tenant: Option<TenantId>,
    /// Checkpoint at which the run begins and which it moves. `None`: the run begins at the start of the log.
    pub checkpoint: Option<CheckpointName>,
    /// What the consumer says about itself, stored with the checkpoint. `None`: the stored value is kept.
    pub metadata: Option<Map<String, Value>>,
    /// Number of events that are handled between two moves of the checkpoint.
    pub batch_size: BatchSize,
    /// Which events may be handled concurrently.
    pub order: ReplayOrder,
    /// How long to wait for open appends before the run fails.
    pub patience: Duration,
}

impl Default for Replay {
    /// All events, in global order, without a checkpoint.
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            event_types: Vec::new(),
            tenant: None,
            checkpoint: None,
            metadata: None,
            batch_size: BatchSize::DEFAULT,
            order: ReplayOrder::Global,
            patience: Duration::from_secs(30),
        }
    }
}

/// Number of events in a batch: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u16);

impl BatchSize {
    /// The default size.
    pub const DEFAULT: Self = Self(500);
    /// The largest size.
    pub const MAX: u16 = 10_000;

    /// A size. `None` if it is out of range.
    pub fn new(events: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&events).then_some(Self(events))
    }
}

/// The order in which events are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplayOrder {
    /// One after the other, by event number.
    Global,
    /// Each stream in its own order, several streams concurrently.
    ByStream {
        /// Maximum number of events handled concurrently.
        workers: NonZeroUsize,
    },
}

/// A batch for a handler: events in order of their numbers, and the position after them. Long parts of the log may contain no
/// selected event. A batch may then have no events, and still moves the checkpoint.
#[derive(Debug)]
pub struct Batch {
    /// The events, in order of their numbers.
    pub events: Vec<Event>,
    /// Event number after which the run began.
    pub start: i64,
    /// Event number up to which everything has been delivered with this batch.
    pub position: i64,
    /// Event number at which the run ends.
    pub end: i64,
}

/// The result of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Number of events delivered.
    pub events: u64,
    /// Duration of the run.
    pub elapsed: Duration,
    /// Event number up to which everything has been delivered, in this run or before.
    pub position: i64,
}

/// Why a run ended early. Everything before the checkpoint has nevertheless been handled.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError<E> {
    /// `from` is not before `to`.
    #[error("the period ends before it begins")]
    Period,
    /// The catalog has no such type, or no type that matches the pattern.
    #[error("the catalog has no event type {0}")]
    UnknownType(String),
    /// An append stays open, so the end of the log is not known.
    #[error("an append whose transaction is still open blocks the replay{}", .0.as_ref().map(described).unwrap_or_default())]
    HeldBack(Option<OldestAppend>),
    /// The checkpoint belongs to another consumer (`checkpoint_taken`), or another process moved it (`checkpoint_moved`).
    #[error("{}: {}", .0.code, .0.message)]
    Checkpoint(Refusal),
    /// The event cannot be upcast to the current version of its type.
    #[error("event number {0} cannot be upcast to the current version of its type")]
    Upcast(i64, #[source] EventUpcastError),
    /// The database failed.
    #[error("the log cannot be read")]
    Store(#[source] StoreError),
    /// The handler failed.
    #[error("an event was not handled")]
    Handler(#[source] E),
}

impl<E> From<StoreError> for ReplayError<E> {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Refused(refusal) => Self::Checkpoint(refusal),
            other => Self::Store(other),
        }
    }
}

fn described(append: &OldestAppend) -> String {
    let age = append
        .age_seconds
        .map(|seconds| format!(", open for {seconds} s"))
        .unwrap_or_default();
    match (append.pid, &append.prepared) {
        (Some(pid), _) => format!(" (server process {pid}{age})"),
        (None, Some(name)) => format!(" (prepared transaction {name}{age})"),
        (None, None) => String::new(),
    }
}

/// Delivers events one by one.
///
/// With [`ReplayOrder::ByStream`], events of several streams are handled concurrently. When one fails, those in progress are completed
/// and no further ones are begun.
///
/// # Errors
/// [`ReplayError`], including the handler's own error.
pub async fn replay<E, F>(
    store: &Store,
    replay: &Replay,
    handler: impl Fn(Event) -> F,
) -> Result<Report, ReplayError<E>>
where
    // The bound is not `AsyncFn(&Event)`, because the compiler could then not prove that such a replay may be spawned.
    F: Future<Output = Result<(), E>>,
{
    let workers = match replay.order {
        ReplayOrder::Global => NonZeroUsize::MIN,
        ReplayOrder::ByStream { workers } => workers,
    };
    let (handler, failed) = (&handler, &AtomicBool::new(false));
    replay_batches(store, replay, move |batch| async move {
        let partitions = partition_by_stream(batch.events, workers).into_iter();
        let handled = join_all(partitions.map(|partition| handle(partition, handler, failed))).await;
        handled.into_iter().collect()
    })
    .await
}

/// Handles the events of a partition one after the other, until one fails in this or another partition.
async fn handle<E, F>(partition: Vec<Event>, handler: &impl Fn(Event) -> F, failed: &AtomicBool) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    for event in partition {
        if failed.load(Ordering::SeqCst) {
            break;
        }
        let handled = handler(event).await;
        handled.inspect_err(|_| failed.store(true, Ordering::SeqCst))?;
    }
    Ok(())
}

/// Delivers events batch by batch, for handlers that are faster with batches. The checkpoint moves after each batch.
///
/// # Errors
/// [`ReplayError`], including the handler's own error.
pub async fn replay_batches<E, F>(
    store: &Store,
    replay: &Replay,
    mut handler: impl FnMut(Batch) -> F,
) -> Result<Report, ReplayError<E>>
where
    F: Future<Output = Result<(), E>>,
{
    let began = Instant::now();
    let Opened { mut feed, catalog } = open(store, replay).await?;
    let (start, end) = (feed.position(), feed.high_water_mark());
    let mut events = 0;
    loop {
        let from = feed.position();
        let mut page = feed.next_page(i64::from(replay.batch_size.0)).await?;
        page.iter_mut().try_for_each(|event| upcast(&catalog, event))?;
        let (position, count) = (feed.position(), page.len());
        let of_default_tenant = page.iter().filter(|event| event.tenant_id.is_default()).count();
        let last_event = page.last().map(|event| event.id);
        let batch = Batch {
            events: page,
            start,
            position,
            end,
        };
        handler(batch).await.map_err(ReplayError::Handler)?;
        events += count;
        let ends = position >= end;
        if let Some(name) = &replay.checkpoint {
            let moved = CheckpointMove {
                from,
                to: position,
                events: i64::try_from(count).unwrap_or(i64::MAX),
                of_default_tenant: i64::try_from(of_default_tenant).unwrap_or(i64::MAX),
                last_event,
                run: if ends { Run::Ended } else { Run::Continues },
            };
            store.move_checkpoint(name, moved).await?;
        }
        if ends {
            return Ok(Report {
                events: u64::try_from(events).unwrap_or(u64::MAX),
                elapsed: began.elapsed(),
                position,
            });
        }
    }
}

/// A feed that begins at the checkpoint and ends at a high-water mark, and a catalog with every type and version up to that end.
struct Opened {
    feed: Feed,
    catalog: Arc<Catalog>,
}

async fn open<E>(store: &Store, replay: &Replay) -> Result<Opened, ReplayError<E>> {
    if replay.from.zip(replay.to).is_some_and(|(from, to)| from >= to) {
        return Err(ReplayError::Period);
    }
    // The checkpoint stores the patterns, not the types that they match today: `order.*` may match more types later, and the
    // consumer is still the same.
    let mut event_types = replay.event_types.clone();
    event_types.sort();
    event_types.dedup();
    let selection = Selection {
        tenant_id: replay.tenant,
        event_types: Some(event_types).filter(|patterns| !patterns.is_empty()),
        from: replay.from,
        to: replay.to,
    };
    let catalog = store.fresh_projector_outline().await?;
    resolve(&catalog, &selection).map_err(ReplayError::UnknownType)?;
    let start = match &replay.checkpoint {
        Some(name) => {
            store
                .claim_checkpoint(name, &selection, replay.metadata.as_ref())
                .await?
        }
        None => 0,
    };
    let mut feed = Feed::after(store.clone(), start);
    if !feed.advance_mark(replay.patience).await? {
        return Err(ReplayError::HeldBack(store.oldest_append().await?));
    }
    // The catalog is read again, after the end was determined: a type registered in between may have events before the end. Once
    // the checkpoint has passed them, they would never be delivered.
    let catalog = store.fresh_projector_outline().await?;
    let resolved = resolve(&catalog, &selection).map_err(ReplayError::UnknownType)?;
    let feed = feed.of(resolved);
    Ok(Opened { feed, catalog })
}

/// Upcasts the event to the current version of its type, so that a handler needs to know only that version.
pub(crate) fn upcast<E>(catalog: &Catalog, event: &mut Event) -> Result<(), ReplayError<E>> {
    match catalog.find(event.tenant_id, &event.event_type) {
        Some(kind) => match event.upcast(kind) {
            // An event that would be too large is delivered as stored, with `not_lifted`. One tenant's events must not stop the
            // replay of the others'.
            Ok(_) | Err(EventUpcastError::Upcast(UpcastError::TooLarge)) => Ok(()),
            Err(error) => Err(ReplayError::Upcast(event.event_number, error)),
        },
        None => Err(ReplayError::UnknownType(event.event_type.clone())),
    }
}

/// The selection with every pattern replaced by the types that it matches; or the first name or pattern that matches none.
pub(crate) fn resolve(catalog: &Catalog, asked: &Selection) -> Result<Selection, String> {
    let resolved = asked
        .event_types
        .as_ref()
        .map(|asked_types| catalog.resolve(asked.tenant_id, asked_types));
    match resolved.as_ref().and_then(|resolved| resolved.unmatched.first()) {
        Some(unmatched) => Err(unmatched.clone()),
        None => Ok(Selection {
            event_types: resolved.map(|resolved| resolved.types),
            ..asked.clone()
        }),
    }
}

/// Distributes events over at most `count` partitions. All events of a stream go to the same partition, in the order of the log.
pub fn partition_by_stream(events: Vec<Event>, count: NonZeroUsize) -> Vec<Vec<Event>> {
    let mut partitions: Vec<Vec<Event>> = Vec::new();
    let mut partition_of = HashMap::new();
    for event in events {
        let next = partition_of.len() % count;
        let stream = (
            event.tenant_id,
            event.aggregate_type.clone(),
            event.aggregate_id.clone(),
        );
        let index = *partition_of.entry(stream).or_insert(next);
        match partitions.get_mut(index) {
            Some(partition) => partition.push(event),
            None => partitions.push(vec![event]),
        }
    }
    partitions
}
