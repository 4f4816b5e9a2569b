//! An import that is all or nothing, or only says what it would do: every row in one transaction, which is committed or rolled
//! back at the end of the file. Killed, it has done nothing, and the next attempt begins anew.

use std::collections::{HashMap, HashSet};

use annals::domain::StreamId;
use annals::storage::Object;
use annals::store::{LaneProgress, RejectedRow, SettledRows, WholeImport};
use annals::telemetry::metrics;
use tokio::time::Instant;

use super::deal::{Dealt, goes_on_at};
use super::settle::{Chunk, Identity, Job, ReadRow, Refused, TRIES, catalog, known, refusal};
use super::{ImportError, Importer, has_time};
use crate::identity::{Met, Occurrences};
use crate::options::Mode;
use crate::plan::Plan;
use crate::reader::Reader;

/// Rows of a chunk.
const CHUNK_ROWS: usize = 500;
/// Bytes of a chunk's records at which it is closed.
const CHUNK_BYTES: usize = 1024 * 1024;

/// Bytes of refused rows that are kept until the end.
const REPORTED_BYTES: usize = 8 * 1024 * 1024;

/// What the transaction has come to.
struct Whole<'a> {
    job: &'a Job,
    transaction: WholeImport,
    progress: LaneProgress,
    reported: Vec<RejectedRow>,
    reported_bytes: usize,
    occurrences: Occurrences,
    met: Met,
    streams: Vec<StreamId>,
}

impl Importer {
    /// Imports a file as a whole; where its one lane is then.
    pub(super) async fn import_whole(
        &self,
        job: &Job,
        object: &Object,
        deadline: Option<Instant>,
    ) -> Result<(Dealt, LaneProgress), ImportError> {
        let (encoding, delimiter, place, mut number) = goes_on_at(job)?;
        let lane = job.import.lanes.first().copied().unwrap_or_default();
        if lane.settled_row > 0 {
            return Ok((Dealt::All, lane));
        }
        let source = self.storage.read(job.import.id, object, place.offset);
        let mut reader = Reader::at(source, encoding, delimiter, place);
        let mut whole = Whole {
            job,
            transaction: self.store.begin_whole(&job.import).await?,
            progress: lane,
            reported: Vec::new(),
            reported_bytes: 0,
            occurrences: Occurrences::default(),
            met: Met::default(),
            streams: Vec::new(),
        };
        let (mut rows, mut bytes) = (Vec::with_capacity(CHUNK_ROWS), 0);
        while let Some(record) = reader.next().await? {
            number += 1;
            bytes += record.size();
            rows.push(ReadRow::of(job, number, record));
            if rows.len() == CHUNK_ROWS || bytes >= CHUNK_BYTES {
                whole.settle(std::mem::take(&mut rows)).await?;
                bytes = 0;
                if !has_time(deadline) {
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
            streams,
            ..
        } = whole;
        let is_refused = !job.options.dry_run && job.options.mode == Mode::AllOrNothing && progress.rejected > 0;
        let mut settled = SettledRows {
            from: lane,
            to: progress,
            events: &[],
            reported: &reported,
            contents: &[],
        };
        if !job.options.dry_run && !is_refused {
            transaction.commit(&job.import, &settled).await?;
            metrics::appended(streams.len());
            job.queue.wake(streams).await;
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
        let mut catalog = catalog(job).await?;
        let mut overtaken = None;
        for _ in 0..TRIES {
            let ids = chunk.ids();
            let found = self.transaction.find_entities(job.dataset.aggregate_type, &ids).await?;
            let found = known(found);
            if let Some(id) = overtaken
                .take()
                .filter(|id: &annals::domain::AggregateId| !found.contains_key(id.as_str()))
            {
                chunk.refuse_taken(job, &id);
            }
            let plan = chunk.plan(job, &catalog, &found)?;
            match self.append(&plan, catalog.revision()).await? {
                None => {
                    self.count(&chunk, &plan);
                    return Ok(());
                }
                Some(Refused::Catalog) => catalog = job.store.fresh_catalog(&job.import.caller).await?,
                Some(Refused::Overtaken(id)) => overtaken = id,
                Some(Refused::Contended) => {}
            }
        }
        Err(ImportError::Overtaken)
    }

    /// Appends; what refused it otherwise.
    async fn append(&self, plan: &Plan, revision: i64) -> Result<Option<Refused>, ImportError> {
        if plan.events.is_empty() {
            return Ok(None);
        }
        let context = &self.job.import.context;
        match self.transaction.append(&plan.events, context, revision).await {
            Ok(()) => Ok(None),
            Err(error) => Ok(Some(refusal(error, plan)?)),
        }
    }

    fn count(&mut self, chunk: &Chunk, plan: &Plan) {
        let (mut progress, reported) = chunk.outcome(self.job, &self.progress, plan);
        for row in reported {
            // A row may have a megabyte.
            self.reported_bytes += row.fields.iter().map(String::len).sum::<usize>();
            match self.reported_bytes > REPORTED_BYTES {
                true => progress.reported -= 1,
                false => self.reported.push(row),
            }
        }
        self.progress = progress;
        if !self.job.options.dry_run {
            let tenant = self.job.import.caller.tenant_id();
            self.streams
                .extend(plan.events.iter().map(|event| event.stream(tenant)));
        }
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
