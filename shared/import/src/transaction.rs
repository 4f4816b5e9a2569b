//! Large files that are all or nothing, or dry runs: every row in one transaction, which is committed or rolled back at the end of the
//! file. A killed import has done nothing, and the next attempt begins at the first row.

use std::sync::Arc;

use annals_csv::FileFault;
use annals_queue::STREAMS_PER_MESSAGE;
use annals_store::{
    CheckedEvents, ChunkOutcome, ImportTransaction, LeasedImport, PartitionProgress, RejectedRow, StoreError,
    redacted_error,
};
use annals_telemetry::metrics;
use bytes::Bytes;
use futures_util::Stream;
use tokio::time::Instant;

use crate::chunk::{Chunk, ReadRow};
use crate::dispatch::{ChunkSize, Extent, Slot, dispatch};
use crate::error::ImportError;
use crate::job::Job;
use crate::partition::{Ledger, LookUp, Partition, PlannedChunk, RetryReason};
use crate::plan::{Entities, known};
use crate::seen::Seen;

/// Maximum number of rows of such an import. While its transaction is open, readers across streams do not see what is appended after its
/// beginning.
pub(crate) const MAX_ROWS: i64 = 1_000_000;
const CHUNK: ChunkSize = ChunkSize {
    rows: 500,
    bytes: 1024 * 1024,
};

/// Imports a file in one transaction. Returns how far the file was read and the progress of the one partition.
///
/// # Errors
/// The file cannot be read, or takes longer than an invocation; the database fails; another worker has taken the import over.
pub(crate) async fn import<S>(
    job: &Arc<Job>,
    import: &Arc<LeasedImport>,
    source: S,
    deadline: Option<Instant>,
) -> Result<(Extent, PartitionProgress), ImportError>
where
    S: Stream<Item = std::io::Result<Bytes>> + Unpin,
{
    let start = import.partitions.first().copied().unwrap_or_default();
    // An earlier attempt has committed.
    if start.done_row > 0 {
        return Ok((Extent::EndOfFile, start));
    }
    let reader = job.reader(source)?;
    let ledger = TransactionLedger {
        transaction: job.store.begin_import(import).await?,
        seen: Seen::default(),
        reported: Vec::new(),
    };
    let partition = Partition::new(Arc::clone(job), start, ledger);
    let mut slots = [Slot::new(partition, &start)];
    if dispatch(job, reader, &mut slots, CHUNK, deadline).await? == Extent::Deadline {
        check_attempt(import)?;
        return Ok((Extent::Deadline, start));
    }
    let [Slot { outlet, .. }] = slots;
    Ok((Extent::EndOfFile, finish(job, import, start, outlet).await?))
}

/// Commits. If it is a dry run, or if rejected rows make the upload fail, it rolls back. In both cases the outcome is recorded.
async fn finish(
    job: &Job,
    import: &LeasedImport,
    from: PartitionProgress,
    partition: Partition<TransactionLedger>,
) -> Result<PartitionProgress, ImportError> {
    let Partition { progress, ledger, .. } = partition;
    let is_refused = job.options.is_refused(progress.counts.rejected);
    let mut outcome = ChunkOutcome {
        from,
        to: progress,
        events: CheckedEvents::NONE,
        reported: &ledger.reported,
        contents: &[],
    };
    if !job.options.dry_run && !is_refused {
        ledger.transaction.commit(import, &outcome).await?;
        metrics::appended(usize::try_from(progress.counts.appended).unwrap_or_default());
        // The sweep finds streams that are not woken.
        if let Err(error) = wake_all(job, import).await {
            tracing::warn!(error = redacted_error(&error), upload.id = %import.id, "streams not woken");
        }
        return Ok(progress);
    }
    drop(ledger.transaction);
    outcome.to.counts.appended = 0;
    if is_refused {
        outcome.to.counts = outcome.to.counts.refused();
    }
    job.store.append_chunk(import, &outcome).await?;
    Ok(outcome.to)
}

/// Fails if an attempt had too little time and no later one can succeed. Each attempt begins at the first row. The first attempt also
/// inspects the file; the second one has all its time for the rows. If the second one does not finish, no later one will.
fn check_attempt(import: &LeasedImport) -> Result<(), FileFault> {
    if import.attempts == 0 {
        return Ok(());
    }
    let message = "importing the file takes longer than a transaction may last: send it with mode=partial, or in parts";
    Err(FileFault::new("too_slow", message))
}

/// Wakes the projector for all streams of the import. They are read back in pages, because the names of a million streams are not kept in
/// memory.
async fn wake_all(job: &Job, import: &LeasedImport) -> Result<(), StoreError> {
    let most = i64::try_from(STREAMS_PER_MESSAGE).unwrap_or(i64::MAX);
    let mut after = 0;
    while let (streams, Some(last)) = job.store.streams_of_import(import, after, most).await? {
        job.appends.wake(streams).await;
        after = last;
    }
    Ok(())
}

/// One open transaction; the progress is recorded when it ends.
struct TransactionLedger {
    transaction: ImportTransaction,
    seen: Seen,
    reported: Vec<RejectedRow>,
}

impl Ledger for TransactionLedger {
    fn policy(&self) -> LookUp {
        LookUp::Always
    }

    async fn open(&mut self, job: &Job, rows: Vec<ReadRow>) -> Result<Chunk, ImportError> {
        Ok(self.seen.open(job, rows))
    }

    async fn look_up(&self, job: &Job, chunk: &mut Chunk) -> Result<Entities, ImportError> {
        let kind = job.dataset.aggregate_type;
        let found = self
            .transaction
            .find_entities(kind, &chunk.ids(), |found| known(found, job.dataset))
            .await?;
        Ok(found.into_iter().collect())
    }

    async fn append(&mut self, job: &Job, _: &Chunk, outcome: PlannedChunk) -> Result<Option<RetryReason>, StoreError> {
        if !outcome.plan.events.is_empty() {
            let events = outcome.plan.checked(outcome.revision);
            if let Err(error) = self.transaction.append(events, &job.context).await {
                return RetryReason::of(error).map(Some);
            }
        }
        self.reported.extend(outcome.reported);
        Ok(None)
    }
}
