//! The projector: brings read models up to the log, one transaction for many streams and their progress.
//!
//! It is told which streams have work ([`Projector::handle`] with SQS messages) and, by a schedule, goes along the log to find
//! those that no message reached ([`Projector::sweep`]). What it reads decides what it does, never the message: doubled,
//! reordered or lost wake-ups change nothing but the time.
//!
//! Architecture invariant: an event that cannot be applied parks its stream and nothing else; nothing is skipped unless staff
//! has said so, in the log.

mod invocation;
mod kpis;
mod plan;
mod rebuild;
mod sweep;
mod turns;

use std::collections::VecDeque;
use std::num::NonZeroI32;
use std::sync::Arc;

use annals::domain::{Catalog, StreamId};
use annals::queue::Queue;
use annals::store::{EntityText, Parked, StateTables, Store, StoreError, StreamWork, WorkEvent};
use tokio::sync::RwLock;

pub use invocation::{Answer, Invocation};
pub use kpis::Pace;
pub use rebuild::{CONNECTIONS, Progress, RebuildError, Rebuilt, Verified, WORKERS};
pub use sweep::Swept;

/// Streams that one transaction takes on at most.
const STREAMS_AT_ONCE: usize = 250;
/// Events of one stream that one transaction takes on at most.
const EVENTS_PER_STREAM: i64 = 100;
/// How often a batch that another projector got ahead of is read again.
const TRIES: usize = 20;

/// Projects. One per process; any number of processes.
#[derive(Clone)]
pub struct Projector {
    store: Store,
    tables: Arc<RwLock<Option<KnownTables>>>,
    snapshot_every: Option<NonZeroI32>,
    pace: Pace,
    /// Where it asks for the next sweep, if one leaves work.
    queue: Queue,
}

/// The modules' tables as they were when the catalog had this revision: a module comes with event types, so a new table is
/// never overlooked.
#[derive(Clone)]
struct KnownTables {
    revision: i64,
    tables: Arc<StateTables>,
}

/// What a batch of work is projected by: all of it as it was when the work was read.
struct Batch {
    revision: i64,
    catalog: Arc<Catalog>,
    tables: Arc<StateTables>,
}

/// What came of one look at a chunk.
struct Turn {
    /// Streams that were freed.
    freed: Vec<StreamId>,
    /// Whether the chunk may have more.
    is_to_go_on: bool,
}

/// What a transaction has written.
struct Written {
    freed: Vec<StreamId>,
    /// Whether it has left some of the work.
    is_cut: bool,
    /// Where the work is of one stream: the version that it came to, and the entity.
    entity: Option<(i32, EntityText)>,
}

/// How work went into read models.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Went {
    /// In one transaction.
    AtOnce,
    /// As far as it could: some of it may be parked, or another projector's by now.
    InParts,
}

impl Projector {
    /// A projector of this log. It takes a snapshot of a stream every so many events; none: never.
    pub fn new(store: Store, snapshot_every: Option<NonZeroI32>) -> Self {
        Self {
            store,
            tables: Arc::default(),
            snapshot_every,
            pace: Pace::default(),
            queue: Queue::Nowhere,
        }
    }

    /// The same, able to ask for the next sweep.
    #[must_use]
    pub fn with_queue(mut self, queue: Queue) -> Self {
        self.queue = queue;
        self
    }

    /// Projects all that these streams have left. A stream with an event that cannot be applied is parked; the others go on. Chunks take
    /// turns, and so do tenants within them: much work of some is no wait for others.
    ///
    /// # Errors
    /// The database is away, or fails for reasons that no single event explains: nothing is lost, call again.
    pub async fn project(&self, streams: &[StreamId]) -> Result<(), StoreError> {
        let mut chunks = VecDeque::from(turns::chunks(streams, STREAMS_AT_ONCE));
        let mut freed = Vec::new();
        while let Some(chunk) = chunks.pop_front() {
            let turn = self.project_once(&chunk).await?;
            freed.extend(turn.freed);
            if turn.is_to_go_on {
                chunks.push_back(chunk);
            }
            if chunks.is_empty() {
                // Instructions met on the way have freed parked streams, which now have work.
                chunks.extend(turns::chunks(&std::mem::take(&mut freed), STREAMS_AT_ONCE));
            }
        }
        Ok(())
    }

    /// Projects what one read of the chunk gives. If all of it was written in one transaction, there is no need to read again: events
    /// that are appended meanwhile have wake-ups of their own.
    async fn project_once(&self, chunk: &[StreamId]) -> Result<Turn, StoreError> {
        let (mut freed, mut contended) = (Vec::new(), 0);
        loop {
            let work = self.store.read_work(chunk, EVENTS_PER_STREAM).await?;
            if work.streams.is_empty() {
                return Ok(Turn {
                    freed,
                    is_to_go_on: false,
                });
            }
            let (revision, found, is_cut) = (work.revision, work.streams.len(), work.is_cut);
            let work = decisions_first(work.streams);
            let is_all = !is_cut && work.len() == found;
            let batch = Batch {
                revision,
                catalog: self.store.projector_outline(revision).await?,
                tables: self.state_tables(revision).await?,
            };
            let mut locked = None;
            match self.project_work(&batch, &work, &mut locked).await {
                Ok((more, went)) => {
                    freed.extend(more);
                    // All others are projected. Where the lock outlasts the tries, the stream is left to a later call.
                    match locked {
                        Some(error) if contended >= TRIES => return Err(error),
                        Some(_) => contended += 1,
                        None => {
                            let is_to_go_on = !(is_all && went == Went::AtOnce);
                            return Ok(Turn { freed, is_to_go_on });
                        }
                    }
                }
                Err(StoreError::Contention(_) | StoreError::Outdated) if contended < TRIES => contended += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Projects this work in one transaction, or, where that fails because of some event or because somebody keeps a stream's head
    /// locked, in halves, so that all but the stream at fault go on. A stream that stays locked is left, with the error in `locked`.
    async fn project_work(
        &self,
        batch: &Batch,
        work: &[StreamWork],
        locked: &mut Option<StoreError>,
    ) -> Result<(Vec<StreamId>, Went), StoreError> {
        let error = match self.write(batch, work).await {
            Ok(written) if written.is_cut => return Ok((written.freed, Went::InParts)),
            Ok(written) => return Ok((written.freed, Went::AtOnce)),
            Err(error) => error,
        };
        if error.poison().is_none() && !error.is_locked_out() {
            return Err(error);
        }
        let freed = match work {
            [stream] => {
                let done = match error.is_locked_out() {
                    true => Err(error),
                    false => self.project_stream(batch, stream).await,
                };
                match done {
                    Err(error) if error.is_locked_out() => {
                        *locked = Some(error);
                        Vec::new()
                    }
                    done => done?,
                }
            }
            several => {
                let (first, second) = several.split_at(several.len() / 2);
                let (mut freed, _) = Box::pin(self.project_work(batch, first, locked)).await?;
                freed.extend(Box::pin(self.project_work(batch, second, locked)).await?.0);
                freed
            }
        };
        Ok((freed, Went::InParts))
    }

    /// Projects a stream up to the event that cannot be applied, and parks it there. The event is found by halving: a large state is not
    /// written once for every event before it.
    async fn project_stream(&self, batch: &Batch, work: &StreamWork) -> Result<Vec<StreamId>, StoreError> {
        let (mut freed, mut base) = (Vec::new(), work.base.clone());
        let (mut left, mut at_once) = (work.events.as_slice(), work.events.len().div_ceil(2));
        while let Some(event) = left.first() {
            let next = plan::stretch(work, &left[..at_once.min(left.len())], base.clone());
            let error = match self.write(batch, std::slice::from_ref(&next)).await {
                Ok(written) => {
                    let reached = written.entity.map_or(i32::MAX, |(version, entity)| {
                        base = Some(entity);
                        version
                    });
                    freed.extend(written.freed);
                    left = &left[left.partition_point(|event| event.version <= reached)..];
                    continue;
                }
                Err(error) => error,
            };
            match error.poison() {
                None => return Err(error),
                Some((code, message)) if next.events.len() == 1 => {
                    self.park(&work.stream, event, code, &message).await?;
                    return Ok(freed);
                }
                Some(_) => at_once = next.events.len() / 2,
            }
        }
        Ok(freed)
    }

    async fn park(&self, stream: &StreamId, event: &WorkEvent, code: &str, message: &str) -> Result<(), StoreError> {
        let parked = Parked {
            stream,
            event_id: event.id,
            event_number: event.event_number,
            version: event.version,
            error_code: code,
            error: message,
        };
        if let Some(correlation_id) = self.store.park(&parked).await? {
            // The event's own: one batch of work belongs to many requests.
            tracing::error_span!("parked", correlation.id = correlation_id).in_scope(|| {
                tracing::warn!(event.id = %event.id, event.number = event.event_number, error.code = code, "stream parked");
            });
        }
        Ok(())
    }

    async fn write(&self, batch: &Batch, work: &[StreamWork]) -> Result<Written, StoreError> {
        let plan = plan::plan(&batch.catalog, &batch.tables, self.snapshot_every, work)?;
        let freed = self
            .store
            .write_projection(batch.revision, &batch.tables, &plan.write)
            .await?;
        let entity = match (work, plan.write.entities.as_slice()) {
            // Only a stream by itself goes on from here.
            ([_], [write]) => Some((write.entity.version, EntityText::from(&write.entity))),
            _ => None,
        };
        Ok(Written {
            freed,
            is_cut: plan.is_cut,
            entity,
        })
    }

    async fn state_tables(&self, revision: i64) -> Result<Arc<StateTables>, StoreError> {
        if let Some(known) = self
            .tables
            .read()
            .await
            .as_ref()
            .filter(|known| known.revision >= revision)
        {
            return Ok(Arc::clone(&known.tables));
        }
        let tables = Arc::new(self.store.state_tables().await?);
        *self.tables.write().await = Some(KnownTables {
            revision,
            tables: Arc::clone(&tables),
        });
        Ok(tables)
    }
}

/// Decisions about parked streams alone, where there are any: work that was read before a decision is carried out does not know
/// of it, and a transaction that held both would refuse itself, every time.
fn decisions_first(work: Vec<StreamWork>) -> Vec<StreamWork> {
    let (decisions, others): (Vec<_>, Vec<_>) = work.into_iter().partition(plan::decides);
    if decisions.is_empty() { others } else { decisions }
}
