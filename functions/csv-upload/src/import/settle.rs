//! What lanes and whole imports have in common: rows become a chunk, a chunk becomes a plan, and a plan's outcome becomes figures.

use std::collections::{HashMap, HashSet};

use annals::domain::{AggregateId, Catalog};
use annals::queue::Queue;
use annals::store::{HeldImport, LaneProgress, RejectedRow, Store, StoreError};
use bytes::Bytes;
use futures_util::Stream;

use super::ImportError;
use super::written::{RowPlace, Written};
use crate::dataset::Dataset;
use crate::facts::{self, Facts};
use crate::identity::Content;
use crate::layout::Layout;
use crate::options::Options;
use crate::plan::{self, ChunkRow, Entities, Frame, Plan, Refused, Verdict};
use crate::reader::Reader;
use crate::records::Record;
use crate::report;
use crate::row::{Row, RowFault};

/// Rows of a chunk.
pub(super) const CHUNK_ROWS: usize = 500;

/// What is the same for all rows of an import.
pub(super) struct Job {
    pub(super) store: Store,
    pub(super) queue: Queue,
    pub(super) import: HeldImport,
    pub(super) dataset: &'static Dataset,
    pub(super) options: Options,
    pub(super) layout: Layout,
    pub(super) frame: Frame,
    /// How the file is written.
    pub(super) written: Written,
    /// Where it goes on.
    pub(super) start: RowPlace,
}

/// Whose row it is: as the file says, or as its content does.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Identity {
    Named(AggregateId),
    Content(Content),
}

/// A row that was read and has not been dealt with.
#[derive(Debug)]
pub(super) struct ReadRow {
    pub(super) number: i64,
    pub(super) line: u64,
    /// Its cells, for the report of errors.
    pub(super) record: Record,
    pub(super) read: Result<(Identity, Facts), Vec<RowFault>>,
}

/// A chunk with all that is needed to settle it.
pub(super) struct Chunk {
    pub(super) rows: Vec<ChunkRow>,
    pub(super) records: Vec<Record>,
    pub(super) last: i64,
    /// How often contents have been met with this chunk.
    pub(super) contents: Vec<(i64, i32)>,
    /// What is known against rows that read well.
    pub(super) refused: Refused,
}

impl ReadRow {
    /// Reads a record as a row.
    pub(super) fn of(job: &Job, number: i64, record: &Record) -> Self {
        let record = &*job.layout.bare(record);
        let row = Row {
            record,
            layout: &job.layout,
        };
        let read = facts::read(job.dataset, &row, &job.options.values);
        let read = read.map(|mut facts| match facts.id.take() {
            Some(id) => (Identity::Named(id), facts),
            None => (Identity::Content(Content::of(&facts.data)), facts),
        });
        Self {
            number,
            line: record.line(),
            record: record.copy(),
            read,
        }
    }

    /// What decides its lane: the same for all rows of an entity, in every process.
    pub(super) fn key(&self) -> u64 {
        match &self.read {
            Ok((Identity::Named(id), _)) => Content::of_text(id.as_str()).key(),
            Ok((Identity::Content(content), _)) => content.key(),
            Err(_) => self.number.unsigned_abs(),
        }
    }
}

impl Chunk {
    /// Makes a chunk of rows; `times` is how often contents have been met before.
    pub(super) fn of(rows: Vec<ReadRow>, mut times: HashMap<i64, i32>) -> Self {
        let last = rows.last().map_or(0, |row| row.number);
        let mut chunk = Self {
            rows: Vec::with_capacity(rows.len()),
            records: Vec::with_capacity(rows.len()),
            last,
            contents: Vec::new(),
            refused: Refused::new(),
        };
        let mut met = HashSet::new();
        for row in rows {
            let read = row.read.and_then(|(identity, facts)| match identity {
                Identity::Named(id) => Ok((id, facts)),
                Identity::Content(content) => {
                    let key = content.key().cast_signed();
                    let count = times.entry(key).or_insert(0);
                    *count += 1;
                    met.insert(key);
                    let id = content.id(count.unsigned_abs()).map_err(|fault| vec![fault])?;
                    Ok((id, facts))
                }
            });
            chunk.rows.push(ChunkRow {
                row: row.number.unsigned_abs(),
                line: row.line,
                read,
                repeats: false,
            });
            chunk.records.push(row.record);
        }
        chunk.mark_repeats(&HashSet::new());
        chunk.contents = met.into_iter().map(|key| (key, times[&key])).collect();
        chunk
    }

    /// Marks the rows whose id an earlier row of the file has brought: one of this chunk, or of those before it, as `met` has it.
    pub(super) fn mark_repeats(&mut self, met: &HashSet<String>) {
        let mut here: HashSet<&str> = HashSet::new();
        for row in &mut self.rows {
            let Ok((id, _)) = &row.read else { continue };
            row.repeats = met.contains(id.as_str()) || !here.insert(id.as_str());
        }
    }

    /// The ids of its entities.
    pub(super) fn ids(&self) -> Vec<&str> {
        plan::ids(&self.rows)
    }

    /// Plans it, rows refused that the catalog's schemas refuse.
    pub(super) fn plan(&mut self, job: &Job, catalog: &Catalog, known: &Entities) -> Result<Plan, StoreError> {
        let judge = (catalog, job.import.caller.tenant_id());
        job.frame.plan_checked(&self.rows, known, &mut self.refused, judge)
    }

    /// Refuses the rows of entities that are there and somebody else's; whether there were any that had not been refused.
    pub(super) async fn refuse_taken(&mut self, job: &Job) -> Result<bool, StoreError> {
        let (before, ids) = (self.refused.len(), self.ids());
        let caller = &job.import.caller;
        let taken = job.store.find_taken(caller, job.dataset.aggregate_type, &ids).await?;
        job.frame.refuse_taken(&self.rows, &taken, &mut self.refused);
        Ok(self.refused.len() > before)
    }

    /// Figures with this chunk, and those of its refused rows that are to be kept.
    pub(super) fn outcome(&self, job: &Job, from: &LaneProgress, plan: &Plan) -> (LaneProgress, Vec<RejectedRow>) {
        let mut to = *from;
        let mut reported = Vec::new();
        to.settled_row = self.last;
        for ((row, record), verdict) in self.rows.iter().zip(&self.records).zip(&plan.verdicts) {
            match verdict {
                Verdict::Accepted => to.accepted += 1,
                Verdict::Updated => to.updated += 1,
                Verdict::Duplicate => to.duplicate += 1,
                Verdict::Rejected(faults) => {
                    to.rejected += 1;
                    to.errors += i64::try_from(faults.len()).unwrap_or(i64::MAX);
                    if job.keeps_more(&to) {
                        let fields = job.layout.originals(record).map(str::to_owned).collect();
                        let rejected = report::rejected_row(row, fields, faults, &job.layout);
                        to.reported += 1;
                        to.reported_bytes += i64::try_from(report::memory(&rejected)).unwrap_or(i64::MAX);
                        reported.push(rejected);
                    }
                    continue;
                }
            }
            to.rounded += i64::from(row.read.as_ref().is_ok_and(|(_, facts)| facts.rounded));
        }
        to.appended += i64::try_from(plan.events.len()).unwrap_or(i64::MAX);
        (to, reported)
    }
}

impl Job {
    /// A reader that goes on where the import does, of a source that begins there.
    pub(super) fn reader<S>(&self, source: S) -> Result<Reader<S>, ImportError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let encoding = self.written.encoding()?;
        Ok(Reader::at(source, encoding, self.written.delimiter, self.start.place))
    }

    /// Whether a lane that has come here keeps one more refused row. Each has its part of the bytes: a row may have a megabyte.
    fn keeps_more(&self, lane: &LaneProgress) -> bool {
        let bytes = report::MOST_BYTES / self.import.lanes.len().max(1);
        let is_below = |figure: i64, most: usize| usize::try_from(figure).is_ok_and(|figure| figure < most);
        is_below(lane.reported, self.options.rows_kept()) && is_below(lane.reported_bytes, bytes)
    }
}

/// What an append's refusal means for a chunk.
pub(super) enum Setback {
    /// The catalog has moved on.
    Catalog,
    /// Somebody got ahead at some entity.
    Overtaken,
    /// Locks were in the way.
    Contended,
}

/// What a failed append means; what it does not explain is the import's end, for now.
pub(super) fn setback(error: StoreError) -> Result<Setback, StoreError> {
    match error {
        StoreError::Refused(refusal) if refusal.code == "catalog_changed" => Ok(Setback::Catalog),
        StoreError::Refused(refusal) if plan::is_overtaken(&refusal) => Ok(Setback::Overtaken),
        StoreError::Contention(_) => Ok(Setback::Contended),
        other => Err(other),
    }
}
