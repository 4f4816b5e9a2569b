//! Chunks: rows that are planned and appended together.

use std::collections::{HashMap, HashSet};

use annals_csv::{Facts, Record, Row, RowFault, facts};
use annals_domain::{AggregateId, Catalog};
use annals_store::{PartitionProgress, RejectedRow, StoreError};

use crate::identity::Content;
use crate::job::Job;
use crate::plan::{self, ChunkRow, Entities, Plan, Refused, Verdict};
use crate::report;

/// How a row is known: by its id, or by its content.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Identity {
    Id(AggregateId),
    Content(Content),
}

/// A row that was read and is not processed yet.
#[derive(Debug)]
pub(crate) struct ReadRow {
    /// Number of the record, from 1.
    pub(crate) number: i64,
    /// Physical line that it begins on.
    pub(crate) line: u64,
    /// Its fields, which the report needs if the row is rejected.
    pub(crate) record: Record,
    pub(crate) read: Result<(Identity, Facts), Vec<RowFault>>,
}

/// Rows of one partition in the order of the file.
pub(crate) struct Chunk {
    pub(crate) rows: Vec<ChunkRow>,
    records: Vec<Record>,
    /// Number of the last row.
    last: i64,
    /// How many times each content, or id, has occurred in the file up to and including this chunk, by its key.
    pub(crate) contents: Vec<(i64, i32)>,
    refused: Refused,
}

impl ReadRow {
    /// Reads a record as a row.
    pub(crate) fn new(job: &Job, number: i64, record: &Record) -> Self {
        let record = &*job.layout.bare(record);
        let row = Row {
            record,
            layout: &job.layout,
        };
        let read = facts::read(job.dataset, &row, &job.options.read.values);
        let read = read.map(|mut facts| match facts.id.take() {
            Some(id) => (Identity::Id(id), facts),
            None => (Identity::Content(Content::of(&facts.data)), facts),
        });
        Self {
            number,
            line: record.line(),
            record: record.copy(),
            read,
        }
    }

    /// The key that decides the row's partition: the same for all rows of an entity, in every process.
    pub(crate) fn partition_key(&self) -> u64 {
        match &self.read {
            Ok((Identity::Id(id), _)) => Content::of_text(id.as_str()).key(),
            Ok((Identity::Content(content), _)) => content.key(),
            Err(_) => self.number.unsigned_abs(),
        }
    }

    /// The key by which the database counts the row's content; `None` if the row has an id, or faults.
    pub(crate) fn content_key(&self) -> Option<i64> {
        match &self.read {
            Ok((Identity::Content(content), _)) => Some(content.key().cast_signed()),
            _ => None,
        }
    }
}

impl Chunk {
    /// A chunk of rows. `earlier` says how many times their contents have occurred in earlier rows of the file.
    pub(crate) fn new(rows: Vec<ReadRow>, mut earlier: HashMap<i64, i32>) -> Self {
        let last = rows.last().map_or(0, |row| row.number);
        let mut chunk = Self {
            rows: Vec::with_capacity(rows.len()),
            records: Vec::with_capacity(rows.len()),
            last,
            contents: Vec::new(),
            refused: Refused::new(),
        };
        let mut seen = HashSet::new();
        for row in rows {
            let read = row.read.and_then(|(identity, facts)| match identity {
                Identity::Id(id) => Ok((id, facts)),
                Identity::Content(content) => {
                    let key = content.key().cast_signed();
                    let count = earlier.entry(key).or_insert(0);
                    *count += 1;
                    seen.insert(key);
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
        chunk.contents = seen.into_iter().map(|key| (key, earlier[&key])).collect();
        chunk
    }

    /// Marks the rows whose id an earlier row has: a row of this chunk, or of an earlier one if `seen` has the id.
    pub(crate) fn mark_repeats(&mut self, seen: &HashSet<String>) {
        let mut here: HashSet<&str> = HashSet::new();
        for row in &mut self.rows {
            let Ok((id, _)) = &row.read else { continue };
            row.repeats = seen.contains(id.as_str()) || !here.insert(id.as_str());
        }
    }

    /// The ids of its entities.
    pub(crate) fn ids(&self) -> Vec<&str> {
        plan::ids(&self.rows)
    }

    /// Plans it. Rows that the catalog's schemas refuse are rejected.
    pub(crate) fn plan(&mut self, job: &Job, catalog: &Catalog, known: &Entities) -> Plan {
        let by = (catalog, &job.caller);
        job.frame.plan_checked(&self.rows, known, &mut self.refused, by)
    }

    /// Whether a plan has refused rows.
    pub(crate) fn has_refused(&self) -> bool {
        !self.refused.is_empty()
    }

    /// Forgets which rows were refused, because they are planned again with other knowledge.
    pub(crate) fn forget_refused(&mut self) {
        self.refused.clear();
    }

    /// Refuses the rows whose entities belong to other callers; returns whether it has refused any that it had not refused before.
    ///
    /// # Errors
    /// The database's.
    pub(crate) async fn refuse_taken(&mut self, job: &Job) -> Result<bool, StoreError> {
        let (before, ids) = (self.refused.len(), self.ids());
        let kind = job.dataset.aggregate_type;
        let taken = job.store.find_taken(&job.caller, kind, &ids).await?;
        job.frame.refuse_taken(&self.rows, &taken, &mut self.refused);
        Ok(self.refused.len() > before)
    }

    /// The partition's progress after this chunk, and the chunk's rejected rows for the report.
    pub(crate) fn outcome(
        &self,
        job: &Job,
        from: &PartitionProgress,
        plan: &Plan,
    ) -> (PartitionProgress, Vec<RejectedRow>) {
        let mut to = *from;
        let mut reported = Vec::new();
        to.done_row = self.last;
        let verdicts = plan.verdicts.iter().zip(&plan.rounded);
        for ((row, record), (verdict, is_rounded)) in self.rows.iter().zip(&self.records).zip(verdicts) {
            match verdict {
                Verdict::Accepted => to.counts.accepted += 1,
                Verdict::Updated => to.counts.updated += 1,
                Verdict::Duplicate => to.counts.duplicate += 1,
                Verdict::Rejected(faults) => {
                    to.counts.rejected += 1;
                    to.counts.errors += i64::try_from(faults.len()).unwrap_or(i64::MAX);
                    if keeps_more(job, &to) {
                        let fields = job.layout.originals(record).map(str::to_owned).collect();
                        let rejected = report::rejected_row(row, fields, faults, &job.layout);
                        to.counts.reported += 1;
                        to.reported_bytes += i64::try_from(report::memory(&rejected)).unwrap_or(i64::MAX);
                        reported.push(rejected);
                    }
                    continue;
                }
            }
            to.counts.rounded += i64::from(*is_rounded);
        }
        to.counts.appended += i64::try_from(plan.events.len()).unwrap_or(i64::MAX);
        (to, reported)
    }
}

/// Whether a partition may keep one more rejected row for the report.
fn keeps_more(job: &Job, progress: &PartitionProgress) -> bool {
    let is_below = |count: i64, most: usize| usize::try_from(count).is_ok_and(|count| count < most);
    is_below(progress.counts.reported, job.options.rows_kept()) && is_below(progress.reported_bytes, job.report_bytes)
}
