//! A partition: processes the rows that it is sent, chunk by chunk, in their order. The same code runs for small uploads, large files and
//! imports in one transaction. They differ in their ledger.

use std::sync::Arc;

use annals_store::{PartitionProgress, RejectedRow, StoreError};
use tokio::sync::mpsc::Receiver;

use crate::chunk::{Chunk, ReadRow};
use crate::error::ImportError;
use crate::job::Job;
use crate::message::{Message, Outlet, Watermark};
use crate::plan::{Entities, Plan};

/// Maximum number of failed attempts at a chunk that taught nothing for the next plan. An attempt fails because another caller's append
/// came first, the catalog changed, or the append could not get its locks.
pub(crate) const TRIES: usize = 20;

/// Where a partition appends the events of its chunks and records its progress.
pub(crate) trait Ledger: Send {
    /// When a chunk's entities are looked up and its ids are checked.
    fn policy(&self) -> LookUp;

    /// Makes a chunk of rows: counts equal contents, and marks repeated ids if they are known without the database.
    fn open(&mut self, job: &Job, rows: Vec<ReadRow>) -> impl Future<Output = Result<Chunk, ImportError>> + Send;

    /// The known states of the chunk's entities.
    fn look_up(&self, job: &Job, chunk: &mut Chunk) -> impl Future<Output = Result<Entities, ImportError>> + Send;

    /// Appends a chunk's events and records its outcome, both or neither. Returns why the chunk has to be planned again, if so.
    fn append(
        &mut self,
        job: &Job,
        chunk: &Chunk,
        outcome: PlannedChunk,
    ) -> impl Future<Output = Result<Option<RetryReason>, StoreError>> + Send;

    /// Records that all partitions have passed the watermark, if the import can continue there.
    fn pass(&self, _: &Job, _: &Watermark) -> impl Future<Output = Result<(), StoreError>> + Send {
        std::future::ready(Ok(()))
    }
}

/// When entities are looked up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LookUp {
    /// Only if the last chunk had known entities. The append refuses a chunk whose entities exist after all, and they are looked up then.
    WhenExpected,
    /// For every chunk.
    Always,
    /// For every chunk, and ids are checked for other callers' entities as well. Without that, only the append at the end of the file would
    /// find them, and a dry run never would.
    WithOwners,
}

/// What a planned chunk becomes.
pub(crate) struct PlannedChunk {
    /// The partition's progress before the chunk.
    pub(crate) from: PartitionProgress,
    /// Its progress after the chunk.
    pub(crate) to: PartitionProgress,
    pub(crate) plan: Plan,
    /// Rejected rows for the report.
    pub(crate) reported: Vec<RejectedRow>,
    /// Revision of the catalog that the events were checked against.
    pub(crate) revision: i64,
}

/// Why a chunk has to be planned again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RetryReason {
    /// The catalog has changed.
    Catalog,
    /// Another caller's append to one of the entities came first. The caller may see the entity, or not.
    Overtaken,
    /// The append could not get its locks.
    Contended,
}

impl RetryReason {
    /// The reason in a failed append.
    ///
    /// # Errors
    /// The error itself if planning again would not help.
    pub(crate) fn of(error: StoreError) -> Result<Self, StoreError> {
        match error {
            StoreError::Refused(refusal) => match refusal.code.as_str() {
                "catalog_changed" => Ok(Self::Catalog),
                "version_conflict" | "stream_of_another" => Ok(Self::Overtaken),
                _ => Err(StoreError::Refused(refusal)),
            },
            StoreError::Contention(_) => Ok(Self::Contended),
            other => Err(other),
        }
    }
}

/// A part of the file's rows, its progress, and the ledger that appends its events.
pub(crate) struct Partition<L> {
    job: Arc<Job>,
    pub(crate) progress: PartitionProgress,
    pub(crate) ledger: L,
    /// Whether entities of the last chunk were known before.
    expects_known: bool,
}

impl<L: Ledger> Partition<L> {
    /// A partition with this progress.
    pub(crate) fn new(job: Arc<Job>, progress: PartitionProgress, ledger: L) -> Self {
        Self {
            job,
            progress,
            ledger,
            expects_known: true,
        }
    }

    /// Processes all messages until the channel is closed.
    ///
    /// # Errors
    /// The database's, or [`ImportError::Overtaken`].
    pub(crate) async fn run(mut self, mut messages: Receiver<Message>) -> Result<Self, ImportError> {
        while let Some(message) = messages.recv().await {
            self.send(message).await?;
        }
        Ok(self)
    }

    /// The known states of the chunk's entities. For those that are deleted, it is looked up whether an upload was reverted.
    async fn look_up(&self, chunk: &mut Chunk) -> Result<Entities, ImportError> {
        let job = &self.job;
        let mut entities = self.ledger.look_up(job, chunk).await?;
        let deleted = entities.iter().filter(|(_, entity)| entity.deleted);
        let deleted: Vec<&str> = deleted.map(|(id, _)| id.as_str()).collect();
        let kind = job.dataset.aggregate_type;
        for id in job.store.find_reverted(&job.caller, kind, &deleted).await? {
            if let Some(entity) = entities.get_mut(&id) {
                entity.reverted = true;
            }
        }
        Ok(entities)
    }

    /// Plans a chunk and appends its events. If another append came first, the chunk is planned again: no row is ever half done.
    async fn process(&mut self, rows: Vec<ReadRow>) -> Result<(), ImportError> {
        let job = Arc::clone(&self.job);
        let mut chunk = self.ledger.open(&job, rows).await?;
        let policy = self.ledger.policy();
        if policy == LookUp::WithOwners {
            chunk.refuse_taken(&job).await?;
        }
        let mut entities = match self.expects_known || policy != LookUp::WhenExpected {
            true => Some(self.look_up(&mut chunk).await?),
            false => None,
        };
        let mut catalog = job.store.catalog(&job.caller).await?;
        let mut tries = 0;
        while tries < TRIES {
            let none = Entities::new();
            let plan = chunk.plan(&job, &catalog, entities.as_ref().unwrap_or(&none));
            if entities.is_none() && chunk.has_refused() {
                // Without a look-up, rows of known entities are planned as new entities, which a schema may refuse. They are planned again
                // before a row is rejected.
                chunk.forget_refused();
                entities = Some(self.look_up(&mut chunk).await?);
                continue;
            }
            let (to, reported) = chunk.outcome(&job, &self.progress, &plan);
            let outcome = PlannedChunk {
                from: self.progress,
                to,
                plan,
                reported,
                revision: catalog.revision(),
            };
            // An attempt counts only if it taught nothing. If it showed that entities are known or belong to other callers, the next plan
            // allows for that, so the same append of another caller cannot make it fail again.
            let learned = match self.ledger.append(&job, &chunk, outcome).await? {
                None => {
                    self.expects_known = entities.is_some_and(|entities| !entities.is_empty());
                    self.progress = to;
                    return Ok(());
                }
                Some(RetryReason::Catalog) => {
                    catalog = job.store.fresh_catalog(&job.caller).await?;
                    false
                }
                Some(RetryReason::Contended) => false,
                Some(RetryReason::Overtaken) => {
                    let is_first_look_up = entities.is_none();
                    entities = Some(self.look_up(&mut chunk).await?);
                    chunk.refuse_taken(&job).await? || is_first_look_up
                }
            };
            tries += usize::from(!learned);
        }
        Err(ImportError::Overtaken)
    }
}

impl<L: Ledger> Outlet for Partition<L> {
    async fn send(&mut self, message: Message) -> Result<(), ImportError> {
        match message {
            Message::Rows(rows) => self.process(rows).await,
            Message::Watermark(watermark) if watermark.pass() => Ok(self.ledger.pass(&self.job, &watermark).await?),
            Message::Watermark(_) => Ok(()),
        }
    }
}
