//! The function projector: projects events into read models. One transaction writes the states of many streams and their progress.
//!
//! SQS messages name the streams that have work ([`Projector::handle`]). A schedule runs the sweep, which reads the log to find streams
//! that no message named ([`Projector::sweep`]). A message only says where to look; what is projected follows from the database. Duplicate,
//! reordered or lost wake-ups therefore change the delay, never the result.
//!
//! Architecture invariant: an event that cannot be applied parks its stream, and no other. No event is skipped unless staff decided it, by
//! an event in the log.

mod chunks;
mod invocation;
mod kpi_settings;
mod kpis;
mod plan;
mod rebuild;
mod sweep;

use std::collections::VecDeque;
use std::num::NonZeroI32;
use std::sync::Arc;

use annals_domain::{Catalog, StreamId};
use annals_queue::Queue;
use annals_store::{EntityText, Parked, StateTables, Store, StoreError, StreamWork, WorkEvent};
use tokio::sync::RwLock;

use chunks::chunks;

pub use invocation::{Answer, Invocation};
pub use kpi_settings::KpiSettings;
pub use rebuild::{CONNECTIONS, Progress, RebuildError, Rebuilt, Verified, WORKERS};
pub use sweep::Swept;

/// Maximum number of streams that one transaction projects.
const STREAMS_PER_BATCH: usize = 250;
/// Maximum number of events of one stream that one transaction projects.
const EVENTS_PER_STREAM: i64 = 100;
/// How many times a chunk is read again because another projector was faster or a stream is locked.
const MAX_RETRIES: usize = 20;

/// Projects streams, sweeps and rebuilds. One per process is enough; any number of processes may project concurrently.
#[derive(Clone)]
pub struct Projector {
    store: Store,
    tables: Arc<RwLock<Option<KnownTables>>>,
    snapshot_every: Option<NonZeroI32>,
    kpis: KpiSettings,
    /// Where a sweep that leaves work asks for the next one.
    queue: Queue,
}

/// The state tables of all modules, cached for a revision of the catalog. A module registers event types together with its tables, so a new
/// table always comes with a new revision.
#[derive(Clone)]
struct KnownTables {
    revision: i64,
    tables: Arc<StateTables>,
}

/// What a batch of work is projected with: the catalog and the tables as they were when the work was read.
struct Batch {
    revision: i64,
    catalog: Arc<Catalog>,
    tables: Arc<StateTables>,
}

/// The result of projecting a chunk once.
struct ProjectedChunk {
    /// Parked streams that decisions in the chunk have freed.
    freed: Vec<StreamId>,
    /// Whether the chunk may have more work.
    has_more: bool,
}

/// The result of a write transaction.
struct Written {
    freed: Vec<StreamId>,
    /// Whether the transaction left some of the work.
    is_partial: bool,
    /// If the work is of one stream: the version that it reached, and the entity at that version.
    entity: Option<(i32, EntityText)>,
}

/// How a batch was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BatchOutcome {
    /// All of it in one transaction.
    Single,
    /// In several transactions, or not all of it: some streams may be parked, locked, or projected by another projector.
    Split,
}

impl Projector {
    /// A projector for this database. It takes a snapshot of a stream every `snapshot_every` events, or never if that is `None`.
    pub fn new(store: Store, snapshot_every: Option<NonZeroI32>) -> Self {
        Self {
            store,
            tables: Arc::default(),
            snapshot_every,
            kpis: KpiSettings::default(),
            queue: Queue::Unconfigured,
        }
    }

    /// The same projector with a queue through which it asks for the next sweep.
    #[must_use]
    pub fn with_queue(mut self, queue: Queue) -> Self {
        self.queue = queue;
        self
    }

    /// Projects all unprojected events of these streams. A stream with an event that cannot be applied is parked, and the others continue.
    /// Chunks take turns, and so do tenants within a chunk, so much work of one tenant does not delay the others.
    ///
    /// # Errors
    /// The database cannot be reached, or fails for a reason that is not the fault of a single event. Nothing is lost, and the call can be
    /// repeated.
    pub async fn project(&self, streams: &[StreamId]) -> Result<(), StoreError> {
        let mut waiting = VecDeque::from(chunks(streams, STREAMS_PER_BATCH));
        let mut freed = Vec::new();
        while let Some(chunk) = waiting.pop_front() {
            let outcome = self.project_once(&chunk).await?;
            freed.extend(outcome.freed);
            if outcome.has_more {
                waiting.push_back(chunk);
            }
            if waiting.is_empty() {
                // Decisions among the projected events have freed parked streams. Those have work now.
                waiting.extend(chunks(&std::mem::take(&mut freed), STREAMS_PER_BATCH));
            }
        }
        Ok(())
    }

    /// Projects the work that one read of the chunk returns. If one transaction wrote all of it, the chunk need not be read again: events
    /// that were appended meanwhile have their own wake-ups.
    async fn project_once(&self, chunk: &[StreamId]) -> Result<ProjectedChunk, StoreError> {
        let (mut freed, mut contended) = (Vec::new(), 0);
        loop {
            let work = self.store.read_work(chunk, EVENTS_PER_STREAM).await?;
            if work.streams.is_empty() {
                return Ok(ProjectedChunk { freed, has_more: false });
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
                Ok((more, outcome)) => {
                    freed.extend(more);
                    // All streams except the locked one are projected. If it stays locked through all retries, it is left to a later call.
                    match locked {
                        Some(error) if contended >= MAX_RETRIES => return Err(error),
                        Some(_) => contended += 1,
                        None => {
                            let has_more = !(is_all && outcome == BatchOutcome::Single);
                            return Ok(ProjectedChunk { freed, has_more });
                        }
                    }
                }
                Err(StoreError::Contention(_) | StoreError::Outdated) if contended < MAX_RETRIES => contended += 1,
                Err(error) => return Err(error),
            }
        }
    }

    /// Projects this work in one transaction. If that fails because of an event, or because another session keeps a stream's head locked,
    /// the work is halved until the stream at fault is alone; all others are projected. A stream that is locked is left, with the error in
    /// `locked`.
    async fn project_work(
        &self,
        batch: &Batch,
        work: &[StreamWork],
        locked: &mut Option<StoreError>,
    ) -> Result<(Vec<StreamId>, BatchOutcome), StoreError> {
        let error = match self.write(batch, work).await {
            Ok(written) if written.is_partial => return Ok((written.freed, BatchOutcome::Split)),
            Ok(written) => return Ok((written.freed, BatchOutcome::Single)),
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
        Ok((freed, BatchOutcome::Split))
    }

    /// Projects a stream up to the event that cannot be applied, and parks the stream there. It projects several events at a time, and
    /// halves their number after each failure until the event at fault is alone. If it projected one event at a time, a large state would
    /// be written once for each of them.
    async fn project_stream(&self, batch: &Batch, work: &StreamWork) -> Result<Vec<StreamId>, StoreError> {
        let (mut freed, mut base) = (Vec::new(), work.base.clone());
        let (mut left, mut step) = (work.events.as_slice(), work.events.len().div_ceil(2));
        while let Some(event) = left.first() {
            let next = plan::part_of(work, &left[..step.min(left.len())], base.clone());
            let error = match self.write(batch, std::slice::from_ref(&next)).await {
                Ok(written) => {
                    let reached = written.entity.map_or(i32::MAX, |(version, entity)| {
                        base = Some(entity);
                        version
                    });
                    freed.extend(written.freed);
                    left = &left[left.partition_point(|event| event.text.version <= reached)..];
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
                Some(_) => step = next.events.len() / 2,
            }
        }
        Ok(freed)
    }

    async fn park(&self, stream: &StreamId, event: &WorkEvent, code: &str, message: &str) -> Result<(), StoreError> {
        let parked = Parked {
            stream,
            event_id: event.id,
            event_number: event.event_number,
            version: event.text.version,
            error_code: code,
            error: message,
        };
        if let Some(correlation_id) = self.store.park(&parked).await? {
            // The correlation id of the event's own request, because a batch has events of many requests.
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
            // Needed only by `project_stream`, which continues from here.
            ([_], [write]) => Some((write.entity.version, EntityText::from(&write.entity))),
            _ => None,
        };
        Ok(Written {
            freed,
            is_partial: plan.is_partial,
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

/// If some of the work holds decisions about parked events, only that work. The rest was read before the decisions took effect: a
/// transaction with both would find that the rest is outdated and fail, every time.
fn decisions_first(work: Vec<StreamWork>) -> Vec<StreamWork> {
    let (decisions, others): (Vec<_>, Vec<_>) = work.into_iter().partition(plan::decides);
    if decisions.is_empty() { others } else { decisions }
}
