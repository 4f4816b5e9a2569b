//! Large files that are imported partition by partition. Progress is kept in the database, so an import continues after any kill.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use annals_domain::StreamId;
use annals_store::{ChunkOutcome, LeasedImport, PartitionProgress, StoreError};
use bytes::Bytes;
use futures_util::Stream;
use serde_json::json;
use tokio::sync::mpsc::channel;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::chunk::{Chunk, ReadRow};
use crate::dispatch::{ChunkSize, Extent, Slot, dispatch};
use crate::error::ImportError;
use crate::identity::Content;
use crate::job::Job;
use crate::message::Watermark;
use crate::partition::{Ledger, LookUp, Partition, PlannedChunk, RetryReason};
use crate::plan::{Entities, known};

/// Chunks are small in bytes, because the partitions hold several of them in memory.
const CHUNK: ChunkSize = ChunkSize {
    rows: 500,
    bytes: 64 * 1024,
};

/// Imports what is left of the file, each partition in a task of its own. Returns how far the file was dispatched and the progress of the
/// partitions.
///
/// # Errors
/// The file cannot be read, the database fails, or another worker has taken the import over.
pub(crate) async fn import<S>(
    job: &Arc<Job>,
    import: &Arc<LeasedImport>,
    source: S,
    deadline: Option<Instant>,
) -> Result<(Extent, Vec<PartitionProgress>), ImportError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let reader = job.reader(source)?;
    let mut tasks = JoinSet::new();
    let mut slots = Vec::new();
    for progress in &import.partitions {
        let (sender, receiver) = channel(1);
        let ledger = DatabaseLedger {
            import: Arc::clone(import),
            to_wake: BTreeSet::new(),
        };
        let (job, partition) = (Arc::clone(job), Partition::new(Arc::clone(job), *progress, ledger));
        tasks.spawn(async move {
            let partition = partition.run(receiver).await?;
            job.appends.wake(partition.ledger.to_wake).await;
            Ok::<_, ImportError>(partition.progress)
        });
        slots.push(Slot::new(sender, progress));
    }
    let extent = dispatch(job, reader, &mut slots, CHUNK, deadline).await;
    // Closes the channels: partitions finish what they have. If one of them failed, dispatching failed because of that.
    drop(slots);
    let mut ends = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        ends.push(ended.map_err(|e| ImportError::Unexpected(e.to_string()))??);
    }
    Ok((extent?, ends))
}

/// The progress of a partition in the database, written in the transactions that append.
struct DatabaseLedger {
    import: Arc<LeasedImport>,
    /// Streams whose projection is not woken yet.
    to_wake: BTreeSet<StreamId>,
}

impl Ledger for DatabaseLedger {
    fn policy(&self) -> LookUp {
        LookUp::WhenExpected
    }

    async fn open(&mut self, job: &Job, rows: Vec<ReadRow>) -> Result<Chunk, ImportError> {
        let keys: Vec<i64> = rows.iter().filter_map(ReadRow::content_key).collect();
        let earlier = match keys.is_empty() {
            true => HashMap::new(),
            false => {
                let counts = job.store.content_counts(&self.import, &keys).await?;
                counts.into_iter().collect()
            }
        };
        Ok(Chunk::new(rows, earlier))
    }

    /// This also marks rows whose id an earlier row of the file has. For an entity that the import has created, the import's own events in
    /// the log show this. For an entity that existed before, the id was recorded in `annals.import_contents` together with the chunk of the
    /// earlier row.
    async fn look_up(&self, job: &Job, chunk: &mut Chunk) -> Result<Entities, ImportError> {
        let (import, kind) = (&self.import, job.dataset.aggregate_type);
        let ids = chunk.ids();
        if ids.is_empty() {
            return Ok(Entities::new());
        }
        let found = job
            .store
            .find_entities(&job.caller, kind, &ids, |found| known(found, job.dataset));
        let found: Entities = found.await?.into_iter().collect();
        if job.layout.has(job.dataset.id) && !found.is_empty() {
            let keys: HashMap<i64, &str> = found.keys().map(|id| (key_of(id), id.as_str())).collect();
            let all: Vec<i64> = keys.keys().copied().collect();
            let recorded = job.store.content_counts(import, &all).await?;
            let mut seen: HashSet<String> = recorded.iter().map(|(key, _)| keys[key].to_owned()).collect();
            let others: Vec<&str> = found
                .keys()
                .map(String::as_str)
                .filter(|id| !seen.contains(*id))
                .collect();
            seen.extend(job.store.appended_by(import, kind, &others).await?);
            chunk.contents = all.into_iter().map(|key| (key, 1)).collect();
            chunk.mark_repeats(&seen);
        }
        Ok(found)
    }

    async fn append(
        &mut self,
        job: &Job,
        chunk: &Chunk,
        outcome: PlannedChunk,
    ) -> Result<Option<RetryReason>, StoreError> {
        let record = ChunkOutcome {
            from: outcome.from,
            to: outcome.to,
            events: outcome.plan.checked(outcome.revision),
            reported: &outcome.reported,
            contents: &chunk.contents,
        };
        if let Err(error) = job.store.append_chunk(&self.import, &record).await {
            return RetryReason::of(error).map(Some);
        }
        let events = &outcome.plan.events;
        job.appends
            .count_and_collect(&job.caller, events, &mut self.to_wake)
            .await;
        Ok(None)
    }

    async fn pass(&self, job: &Job, watermark: &Watermark) -> Result<(), StoreError> {
        let end = watermark.end;
        let point = (end.row, end.point.position());
        job.store.move_resume_point(&self.import, &json!(end), point).await
    }
}

/// The key of an id in `annals.import_contents`.
fn key_of(id: &str) -> i64 {
    Content::of_text(id).key().cast_signed()
}
