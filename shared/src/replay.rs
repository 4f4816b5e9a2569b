//! Replay: the log, or what is selected of it, once more to a handler, from a checkpoint that outlives the process.
//!
//! Every committed event up to the settled end of the log is delivered at least once, each stream in its own order. What the
//! checkpoint says has been handled, has been: it moves after a batch and never before, so that a failure or a kill at any point
//! repeats the unfinished batch and loses nothing. The end is taken when the run begins; what is appended meanwhile is the next
//! run's.

use std::collections::{BTreeSet, HashMap};
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures_util::future::join_all;
use serde_json::{Map, Value};

use crate::domain::event::LiftError;
use crate::domain::{Catalog, CheckpointName, Event, TenantId, Timestamp, UpcastError};
use crate::store::{CheckpointMove, Feed, OldestAppend, Refusal, Run, Selection, Store, StoreError};

/// What to replay, and how.
#[derive(Debug, Clone)]
pub struct Replay {
    /// Recorded then or later.
    pub from: Option<Timestamp>,
    /// Recorded before then.
    pub to: Option<Timestamp>,
    /// Of one of these types, or of those that a pattern (`order.*`) stands for; of any, when there are none.
    pub event_types: Vec<String>,
    /// Of this tenant.
    pub tenant: Option<TenantId>,
    /// Where a run goes on and what it leaves for the next; without one, every run begins at the beginning.
    pub checkpoint: Option<CheckpointName>,
    /// What the consumer says about itself, kept with the checkpoint; none leaves it as it was said last.
    pub metadata: Option<Map<String, Value>>,
    /// Events that are handled between two moves of the checkpoint.
    pub batch_size: BatchSize,
    /// What may be handled at once.
    pub order: Order,
    /// How long to wait for appends that are still open, before they are reported.
    pub patience: Duration,
}

impl Default for Replay {
    /// Everything, in one order, without a checkpoint.
    fn default() -> Self {
        Self {
            from: None,
            to: None,
            event_types: Vec::new(),
            tenant: None,
            checkpoint: None,
            metadata: None,
            batch_size: BatchSize::DEFAULT,
            order: Order::Global,
            patience: Duration::from_secs(30),
        }
    }
}

/// How many events make a batch: 1 to 10,000.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSize(u16);

impl BatchSize {
    /// When nobody asks for another.
    pub const DEFAULT: Self = Self(500);
    /// The largest.
    pub const MAX: u16 = 10_000;

    /// A size, where it is one.
    pub fn new(events: u16) -> Option<Self> {
        (1..=Self::MAX).contains(&events).then_some(Self(events))
    }
}

/// In which order events are handled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// One after the other, by event number.
    Global,
    /// Each stream in its own order, so many streams at once.
    ByStream {
        /// Events handled at once at most.
        workers: NonZeroUsize,
    },
}

/// What comes to a handler of batches: events by number, and how far they lead. Between events that nobody selected it may have
/// none, and still leads on.
#[derive(Debug)]
pub struct Batch {
    /// The events.
    pub events: Vec<Event>,
    /// Number after which the run began.
    pub start: i64,
    /// Number up to which everything has been delivered with this batch.
    pub position: i64,
    /// Number at which the run ends.
    pub end: i64,
}

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Report {
    /// Events delivered.
    pub events: u64,
    /// How long it took.
    pub elapsed: Duration,
    /// Number up to which everything has been delivered, now or before.
    pub position: i64,
}

/// Why a run ended early. What the checkpoint says has been handled all the same.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError<E> {
    /// The period begins where it ends, or later.
    #[error("the period ends before it begins")]
    Period,
    /// A type, or a pattern, that the catalog has nothing for.
    #[error("the catalog has no event type {0}")]
    UnknownType(String),
    /// An append stays open, so the end of the log cannot be known.
    #[error("an append whose transaction is still open holds the log back{}", .0.as_ref().map(described).unwrap_or_default())]
    HeldBack(Option<OldestAppend>),
    /// The checkpoint is another consumer's (`checkpoint_taken`), or another process moves it (`checkpoint_moved`).
    #[error("{}: {}", .0.code, .0.message)]
    Checkpoint(Refusal),
    /// An event that the catalog cannot bring to the current version of its type.
    #[error("event number {0} cannot be lifted to the current version of its type")]
    Lift(i64, #[source] LiftError),
    /// The database's.
    #[error("the log cannot be read")]
    Store(#[source] StoreError),
    /// The handler's.
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
/// With [`Order::ByStream`] events of several streams are under way at once; when one fails, those come to their end and no
/// further ones begin.
///
/// # Errors
/// [`ReplayError`]; the handler's own failure among them.
pub async fn replay<E, F>(
    store: &Store,
    replay: &Replay,
    handler: impl Fn(Event) -> F,
) -> Result<Report, ReplayError<E>>
where
    // No `AsyncFn(&Event)`: the compiler could not tell that such a replay may be spawned.
    F: Future<Output = Result<(), E>>,
{
    let workers = match replay.order {
        Order::Global => NonZeroUsize::MIN,
        Order::ByStream { workers } => workers,
    };
    let (handler, failed) = (&handler, &AtomicBool::new(false));
    replay_batches(store, replay, move |batch| async move {
        let lanes = lanes(batch.events, workers).into_iter();
        let handled = join_all(lanes.map(|lane| handle(lane, handler, failed))).await;
        handled.into_iter().collect()
    })
    .await
}

/// Hands a lane's events over one after the other, until one fails here or in another lane.
async fn handle<E, F>(lane: Vec<Event>, handler: &impl Fn(Event) -> F, failed: &AtomicBool) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    for event in lane {
        if failed.load(Ordering::SeqCst) {
            break;
        }
        let handled = handler(event).await;
        handled.inspect_err(|_| failed.store(true, Ordering::SeqCst))?;
    }
    Ok(())
}

/// Delivers events batch by batch, for handlers that have something to gain by it. A batch that was handled is remembered.
///
/// # Errors
/// [`ReplayError`]; the handler's own failure among them.
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
    let (start, end) = (feed.position(), feed.settled_to());
    let mut events = 0;
    loop {
        let from = feed.position();
        let mut page = feed.next_page(i64::from(replay.batch_size.0)).await?;
        page.iter_mut().try_for_each(|event| lift(&catalog, event))?;
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
                run: if ends { Run::Ends } else { Run::GoesOn },
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

/// A reader at the checkpoint, its end settled, and the catalog that knows every type and version up to there.
struct Opened {
    feed: Feed,
    catalog: Arc<Catalog>,
}

async fn open<E>(store: &Store, replay: &Replay) -> Result<Opened, ReplayError<E>> {
    if replay.from.zip(replay.to).is_some_and(|(from, to)| from >= to) {
        return Err(ReplayError::Period);
    }
    // What was asked for, not what it stands for today: `order.*` may come to mean more, and is the same consumer still.
    let mut asked = replay.event_types.clone();
    asked.sort();
    asked.dedup();
    let selection = Selection {
        tenant_id: replay.tenant,
        event_types: Some(asked).filter(|asked| !asked.is_empty()),
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
    if !feed.settle(replay.patience).await? {
        return Err(ReplayError::HeldBack(store.oldest_append().await?));
    }
    // Again, and only now: a type that was registered before the end was taken may have events before the end, and once the
    // checkpoint has passed them nobody would come back.
    let catalog = store.fresh_projector_outline().await?;
    let resolved = resolve(&catalog, &selection).map_err(ReplayError::UnknownType)?;
    let feed = feed.of(resolved);
    Ok(Opened { feed, catalog })
}

/// The event as the current version of its type has it: a handler knows one version, whatever was stored.
fn lift<E>(catalog: &Catalog, event: &mut Event) -> Result<(), ReplayError<E>> {
    match catalog.find(event.tenant_id, &event.event_type) {
        Some(kind) => match event.lift(kind) {
            // What would be too large is delivered as it is stored, and says so: one tenant's events must not stop the replay of the others'.
            Ok(_) | Err(LiftError::Upcast(UpcastError::TooLarge)) => Ok(()),
            Err(error) => Err(ReplayError::Lift(event.event_number, error)),
        },
        None => Err(ReplayError::UnknownType(event.event_type.clone())),
    }
}

/// The selection with every pattern replaced by the types that it stands for; or the pattern that stands for none.
fn resolve(catalog: &Catalog, asked: &Selection) -> Result<Selection, String> {
    let types_of = |pattern: &String| match catalog.matching(asked.tenant_id, pattern) {
        found if found.is_empty() => Err(pattern.clone()),
        found => Ok(found),
    };
    let all_of = |patterns: &Vec<String>| -> Result<Vec<String>, String> {
        let found: Vec<Vec<&str>> = patterns.iter().map(types_of).collect::<Result<_, _>>()?;
        // A type that two patterns stand for is delivered once.
        let distinct: BTreeSet<&str> = found.into_iter().flatten().collect();
        Ok(distinct.into_iter().map(str::to_owned).collect())
    };
    Ok(Selection {
        event_types: asked.event_types.as_ref().map(all_of).transpose()?,
        ..asked.clone()
    })
}

/// Deals events out to so many lanes, all of a stream to one, each lane in the order of the log.
pub fn lanes(events: Vec<Event>, count: NonZeroUsize) -> Vec<Vec<Event>> {
    let mut lanes: Vec<Vec<Event>> = Vec::new();
    let mut lane_of = HashMap::new();
    for event in events {
        let next = lane_of.len() % count;
        let stream = (
            event.tenant_id,
            event.aggregate_type.clone(),
            event.aggregate_id.clone(),
        );
        let place = *lane_of.entry(stream).or_insert(next);
        match lanes.get_mut(place) {
            Some(lane) => lane.push(event),
            None => lanes.push(vec![event]),
        }
    }
    lanes
}
