//! A lane: settles the rows that are dealt to it, chunk by chunk, in their order.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use annals::domain::StreamId;
use annals::queue::STREAMS_PER_MESSAGE;
use annals::store::{LaneProgress, SettledRows};
use annals::telemetry::metrics;
use serde_json::Value;
use tokio::sync::mpsc::Receiver;

use super::ImportError;
use super::settle::{Chunk, Identity, Job, ReadRow, Setback, setback};
use crate::identity::Content;
use crate::plan::{Entities, Plan, TRIES, known};

/// What is dealt to a lane.
pub(super) enum Parcel {
    /// Rows, in the file's order.
    Rows(Vec<ReadRow>),
    /// Everything before this place has been dealt.
    Mark(Arc<Mark>),
}

/// A place of the file that lanes come to one after the other.
pub(super) struct Mark {
    pub(super) place: Value,
    pub(super) row: i64,
    pub(super) position: i64,
    /// Lanes that have not come to it.
    pub(super) left: AtomicUsize,
}

/// A lane.
pub(super) struct Lane {
    job: Arc<Job>,
    progress: LaneProgress,
    /// Whether the last chunk held an entity that was there before. Where none is, looking is left out: the append itself says
    /// so when that was wrong.
    meets_known: bool,
    woken: BTreeSet<StreamId>,
}

impl Lane {
    /// A lane, where it was left.
    pub(super) fn new(job: Arc<Job>, progress: LaneProgress) -> Self {
        Self {
            job,
            progress,
            meets_known: true,
            woken: BTreeSet::new(),
        }
    }

    /// Settles all that comes; where it has come to then.
    pub(super) async fn run(mut self, mut parcels: Receiver<Parcel>) -> Result<LaneProgress, ImportError> {
        while let Some(parcel) = parcels.recv().await {
            match parcel {
                Parcel::Rows(rows) => self.settle(rows).await?,
                Parcel::Mark(mark) => self.pass(&mark).await?,
            }
        }
        self.wake().await;
        Ok(self.progress)
    }

    /// Comes to a mark; the last lane to do so notes the place.
    async fn pass(&self, mark: &Mark) -> Result<(), ImportError> {
        if mark.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let job = &self.job;
            job.store
                .move_place(&job.import, &mark.place, (mark.row, mark.position))
                .await?;
        }
        Ok(())
    }

    async fn settle(&mut self, rows: Vec<ReadRow>) -> Result<(), ImportError> {
        let times = self.times(&rows).await?;
        let mut chunk = Chunk::of(rows, times);
        let mut entities = match self.meets_known {
            true => Some(self.look_up(&mut chunk).await?),
            false => None,
        };
        let job = Arc::clone(&self.job);
        let mut catalog = job.store.catalog(&job.import.caller).await?;
        let mut tries = 0;
        while tries < TRIES {
            let nobody = Entities::new();
            let plan = chunk.plan(&job, &catalog, entities.as_ref().unwrap_or(&nobody))?;
            let (to, reported) = chunk.outcome(&job, &self.progress, &plan);
            let settled = SettledRows {
                from: self.progress,
                to,
                events: &plan.events,
                reported: &reported,
                contents: &chunk.contents,
            };
            let setback = match job.store.settle_rows(&job.import, catalog.revision(), &settled).await {
                Ok(()) => {
                    self.meets_known = entities.is_some_and(|entities| !entities.is_empty());
                    self.progress = to;
                    return self.settled(&plan).await;
                }
                Err(error) => setback(error)?,
            };
            // What was learned keeps others from getting ahead by the same again.
            let learned = match setback {
                Setback::Catalog => {
                    catalog = job.store.fresh_catalog(&job.import.caller).await?;
                    false
                }
                Setback::Contended => false,
                Setback::Overtaken => {
                    let looks_first = entities.is_none();
                    entities = Some(self.look_up(&mut chunk).await?);
                    chunk.refuse_taken(&job).await? || looks_first
                }
            };
            tries += usize::from(!learned);
        }
        Err(ImportError::Overtaken)
    }

    /// What is known of the chunk's entities. Of ids that are known it also finds out, and notes, whether an earlier row of the
    /// file has brought them: those that none knew are found by what that row appended.
    async fn look_up(&self, chunk: &mut Chunk) -> Result<Entities, ImportError> {
        let job = &self.job;
        let (import, kind) = (&job.import, job.dataset.aggregate_type);
        let ids = chunk.ids();
        if ids.is_empty() {
            return Ok(Entities::new());
        }
        let found = job
            .store
            .find_entities(&import.caller, kind, &ids, |found| known(found, job.dataset));
        let found: Entities = found.await?.into_iter().collect();
        if job.layout.has(job.dataset.id) && !found.is_empty() {
            let keys: HashMap<i64, &str> = found.keys().map(|id| (key_of(id), id.as_str())).collect();
            let all: Vec<i64> = keys.keys().copied().collect();
            let noted = job.store.content_times(import, &all).await?;
            let mut met: HashSet<String> = noted.iter().map(|(key, _)| keys[key].to_owned()).collect();
            let others: Vec<&str> = found
                .keys()
                .map(String::as_str)
                .filter(|id| !met.contains(*id))
                .collect();
            met.extend(job.store.appended_by(import, kind, &others).await?);
            chunk.contents = all.into_iter().map(|key| (key, 1)).collect();
            chunk.mark_repeats(&met);
        }
        Ok(found)
    }

    /// How often the import has met the contents that stand for ids.
    async fn times(&self, rows: &[ReadRow]) -> Result<HashMap<i64, i32>, ImportError> {
        let keys = rows.iter().filter_map(|row| match &row.read {
            Ok((Identity::Content(content), _)) => Some(content.key().cast_signed()),
            _ => None,
        });
        let keys: Vec<i64> = keys.collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let job = &self.job;
        Ok(job.store.content_times(&job.import, &keys).await?.into_iter().collect())
    }

    async fn settled(&mut self, plan: &Plan) -> Result<(), ImportError> {
        metrics::appended(plan.events.len());
        let tenant = self.job.import.caller.tenant_id();
        self.woken.extend(plan.events.iter().map(|event| event.stream(tenant)));
        if self.woken.len() >= STREAMS_PER_MESSAGE {
            self.wake().await;
        }
        Ok(())
    }

    async fn wake(&mut self) {
        self.job.queue.wake(std::mem::take(&mut self.woken)).await;
    }
}

/// Stands for an id where those that were met are noted.
fn key_of(id: &str) -> i64 {
    Content::of_text(id).key().cast_signed()
}
