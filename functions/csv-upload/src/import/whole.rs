//! An import that is all or nothing, or only says what it would do: every row in one transaction, which is committed or rolled
//! back at the end of the file. Killed, it has done nothing, and the next attempt begins anew.

use std::collections::{HashMap, HashSet};

use annals::queue::STREAMS_PER_MESSAGE;
use annals::storage::Object;
use annals::store::{LaneProgress, RejectedRow, SettledRows, StoreError, WholeImport, told};
use annals::telemetry::metrics;
use tokio::time::Instant;

use super::deal::Dealt;
use super::settle::{CHUNK_ROWS, Chunk, Identity, Job, ReadRow, Setback, setback};
use super::{ImportError, Importer, has_time};
use crate::fault::FileFault;
use crate::identity::{Met, Occurrences};
use crate::plan::{Plan, TRIES, known};

/// Bytes of a chunk's records at which it is closed.
const CHUNK_BYTES: usize = 1024 * 1024;

/// What the transaction has come to.
struct Whole<'a> {
    job: &'a Job,
    transaction: WholeImport,
    progress: LaneProgress,
    reported: Vec<RejectedRow>,
    occurrences: Occurrences,
    met: Met,
}

impl Importer {
    /// Imports a file as a whole; where its one lane is then.
    pub(super) async fn import_whole(
        &self,
        job: &Job,
        object: &Object,
        deadline: Option<Instant>,
    ) -> Result<(Dealt, LaneProgress), ImportError> {
        let mut number = job.start.row;
        let lane = job.import.lanes.first().copied().unwrap_or_default();
        if lane.settled_row > 0 {
            return Ok((Dealt::All, lane));
        }
        let mut reader = job.reader(self.storage.read(job.import.id, object, job.start.place.offset))?;
        let mut whole = Whole {
            job,
            transaction: self.store.begin_whole(&job.import).await?,
            progress: lane,
            reported: Vec::new(),
            occurrences: Occurrences::default(),
            met: Met::default(),
        };
        let (mut rows, mut bytes) = (Vec::with_capacity(CHUNK_ROWS), 0);
        while let Some(record) = reader.next().await? {
            number += 1;
            bytes += record.memory();
            rows.push(ReadRow::of(job, number, record));
            if rows.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES {
                whole.settle(std::mem::take(&mut rows)).await?;
                bytes = 0;
                if !has_time(deadline) {
                    left_off(job)?;
                    return Ok((Dealt::Some, lane));
                }
            }
        }
        whole.settle(rows).await?;
        Ok((Dealt::All, self.end_whole(whole, lane).await?))
    }

    async fn end_whole(&self, whole: Whole<'_>, lane: LaneProgress) -> Result<LaneProgress, ImportError> {
        let Whole {
            job,
            transaction,
            progress,
            reported,
            ..
        } = whole;
        let is_refused = job.options.is_refused(progress.rejected.unsigned_abs());
        let mut settled = SettledRows {
            from: lane,
            to: progress,
            events: &[],
            reported: &reported,
            contents: &[],
        };
        if !job.options.dry_run && !is_refused {
            transaction.commit(&job.import, &settled).await?;
            metrics::appended(usize::try_from(progress.appended).unwrap_or_default());
            // Whoever is not woken is found by the sweep.
            if let Err(error) = wake_all(job).await {
                tracing::warn!(error = told(&error), upload.id = %job.import.id, "streams not woken");
            }
            return Ok(progress);
        }
        drop(transaction);
        settled.to.appended = 0;
        if is_refused {
            // What might have been appended shares the fate of the rows at fault.
            settled.to.rejected += settled.to.accepted + settled.to.updated;
            (settled.to.accepted, settled.to.updated, settled.to.rounded) = (0, 0, 0);
        }
        job.store.settle_rows(&job.import, 0, &settled).await?;
        Ok(settled.to)
    }
}

/// An import that begins anew each time has to come to its end within one invocation. The first one has read the file as well; where
/// one that had all of its time for the rows does not, none will.
fn left_off(job: &Job) -> Result<(), FileFault> {
    if job.import.attempts == 0 {
        return Ok(());
    }
    let message =
        "the file takes longer than there is time for one transaction: send it with mode=partial, or in parts";
    Err(FileFault::new("too_slow", message))
}

/// Wakes the projector for all that was appended, read back in pieces: names of a million streams are not kept meanwhile.
async fn wake_all(job: &Job) -> Result<(), StoreError> {
    let most = i64::try_from(STREAMS_PER_MESSAGE).unwrap_or(i64::MAX);
    let mut after = 0;
    while let (streams, Some(last)) = job.store.streams_of_import(&job.import, after, most).await? {
        job.queue.wake(streams).await;
        after = last;
    }
    Ok(())
}

impl Whole<'_> {
    async fn settle(&mut self, rows: Vec<ReadRow>) -> Result<(), ImportError> {
        if rows.is_empty() {
            return Ok(());
        }
        let job = self.job;
        let times = self.times(&rows);
        let mut chunk = Chunk::of(rows, times);
        if job.layout.has(job.dataset.id) {
            let ids = chunk.ids().into_iter();
            let met: HashSet<String> = ids.filter(|id| self.met.meets_again(id)).map(str::to_owned).collect();
            chunk.mark_repeats(&met);
        }
        let mut catalog = job.store.catalog(&job.import.caller).await?;
        let mut tries = 0;
        while tries < TRIES {
            let found = self
                .transaction
                .find_entities(job.dataset.aggregate_type, &chunk.ids(), |found| {
                    known(found, job.dataset)
                })
                .await?;
            let plan = chunk.plan(job, &catalog, &found.into_iter().collect())?;
            let Some(setback) = self.append(&plan, catalog.revision()).await? else {
                self.count(&chunk, &plan);
                return Ok(());
            };
            // What was learned keeps others from getting ahead by the same again.
            let learned = match setback {
                Setback::Catalog => {
                    catalog = job.store.fresh_catalog(&job.import.caller).await?;
                    false
                }
                Setback::Overtaken => chunk.refuse_taken(job).await?,
                Setback::Contended => false,
            };
            tries += usize::from(!learned);
        }
        Err(ImportError::Overtaken)
    }

    /// Appends; what was in the way otherwise.
    async fn append(&self, plan: &Plan, revision: i64) -> Result<Option<Setback>, StoreError> {
        if plan.events.is_empty() {
            return Ok(None);
        }
        let context = &self.job.import.context;
        let appended = self.transaction.append(&plan.events, context, revision).await;
        appended.map(|()| None).or_else(|error| setback(error).map(Some))
    }

    fn count(&mut self, chunk: &Chunk, plan: &Plan) {
        let (progress, reported) = chunk.outcome(self.job, &self.progress, plan);
        self.reported.extend(reported);
        self.progress = progress;
    }

    /// How often contents were met before these rows.
    fn times(&mut self, rows: &[ReadRow]) -> HashMap<i64, i32> {
        let mut before = HashMap::new();
        for row in rows {
            if let Ok((Identity::Content(content), _)) = &row.read {
                let times = self.occurrences.count(content.key());
                let times = i32::try_from(times).unwrap_or(i32::MAX);
                before.entry(content.key().cast_signed()).or_insert(times - 1);
            }
        }
        before
    }
}
