//! What lanes and whole imports have in common: rows become a chunk, a chunk becomes a plan, and a plan's outcome becomes figures.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use annals::domain::{AggregateId, Catalog};
use annals::queue::Queue;
use annals::store::{HeldImport, LaneProgress, RejectedRow, Store, StoreError, StoredEntity};

use super::ImportError;
use crate::dataset::Dataset;
use crate::facts::{self, Facts};
use crate::identity::Content;
use crate::layout::Layout;
use crate::options::Options;
use crate::plan::{ChunkRow, Entities, Frame, Known, Plan, Verdict};
use crate::records::Record;
use crate::report;
use crate::row::{Row, RowFault};

/// How often a chunk that others get ahead of is planned again.
pub(super) const TRIES: usize = 20;

/// What is the same for all rows of an import.
pub(super) struct Job {
    pub(super) store: Store,
    pub(super) queue: Queue,
    pub(super) import: HeldImport,
    pub(super) dataset: &'static Dataset,
    pub(super) options: Options,
    pub(super) layout: Layout,
    pub(super) frame: Frame,
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
    pub(super) refused: HashMap<usize, RowFault>,
}

impl ReadRow {
    /// Reads a record as a row.
    pub(super) fn of(job: &Job, number: i64, record: &Record) -> Self {
        let row = Row {
            record,
            layout: &job.layout,
        };
        let read = row.check().map_err(|fault| vec![fault]);
        let read = read
            .and_then(|()| facts::read(job.dataset, &row, &job.options.values))
            .map(|mut facts| match facts.id.take() {
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
            refused: HashMap::new(),
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
                    let id = content.id(count.unsigned_abs());
                    let id = id
                        .map_err(|fault| vec![RowFault::of_row("invalid_id", format!("the row's identity {fault}"))])?;
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
        let ids = self.rows.iter().filter_map(|row| row.read.as_ref().ok());
        let ids: HashSet<&str> = ids.map(|(id, _)| id.as_str()).collect();
        ids.into_iter().collect()
    }

    /// Plans it, rows refused that the catalog's schemas refuse: a tenant may ask for more than we do.
    pub(super) fn plan(&mut self, job: &Job, catalog: &Catalog, known: &Entities) -> Result<Plan, ImportError> {
        loop {
            let plan = job.frame.plan(&self.rows, known, &self.refused);
            let before = self.refused.len();
            for (event, row) in plan.events.iter().zip(&plan.rows) {
                let kind = catalog.find(job.import.caller.tenant_id(), event.event_type.as_str());
                let schema = kind.and_then(|kind| kind.versions.get(kind.current_version.as_str()));
                let schema = schema.ok_or_else(|| ImportError::Unexpected(format!("no type {}", event.event_type)))?;
                if let Err(faults) = schema.check(&event.data) {
                    let fault = faults.into_iter().next();
                    let fault = fault.map(|fault| job.dataset.schema_violation(fault));
                    let fault =
                        fault.unwrap_or_else(|| RowFault::of_row("schema_violation", "a schema refuses the row"));
                    self.refused.insert(*row, fault);
                }
            }
            if self.refused.len() == before {
                return Ok(plan);
            }
        }
    }

    /// Refuses the rows of an entity that is there and that the caller may not see.
    pub(super) fn refuse_taken(&mut self, job: &Job, id: &AggregateId) {
        let message = "this id belongs to an entity of somebody else";
        for (place, row) in self.rows.iter().enumerate() {
            if row.read.as_ref().is_ok_and(|(other, _)| other == id) {
                self.refused.insert(place, job.frame.fault(id, "id_taken", message));
            }
        }
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
                    if usize::try_from(to.reported).is_ok_and(|kept| kept < job.options.rows_kept()) {
                        to.reported += 1;
                        reported.push(report(job, row, record, faults));
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

fn report(job: &Job, row: &ChunkRow, record: &Record, faults: &[RowFault]) -> RejectedRow {
    let number = |n: u64| i64::try_from(n).unwrap_or(i64::MAX);
    RejectedRow {
        row: number(row.row),
        line: number(row.line),
        fields: job.layout.originals(record).map(str::to_owned).collect(),
        errors: faults.iter().map(|fault| report::cell(fault, &job.layout)).collect(),
    }
}

/// What is known of entities that were found.
pub(super) fn known(found: Vec<StoredEntity>) -> Entities {
    let known = |found: StoredEntity| {
        let entity = found.entity;
        let known = Known {
            version: entity.version,
            deleted: entity.deleted_at.is_some(),
            state: entity.state,
        };
        (found.aggregate_id, known)
    };
    found.into_iter().map(known).collect()
}

/// What an append's refusal means for a chunk.
pub(super) enum Refused {
    /// The catalog has moved on.
    Catalog,
    /// Somebody got ahead at this entity.
    Overtaken(Option<AggregateId>),
    /// Locks were in the way.
    Contended,
}

/// What a failed append means; what it does not explain is the import's end, for now.
pub(super) fn refusal(error: StoreError, plan: &Plan) -> Result<Refused, StoreError> {
    match error {
        StoreError::Refused(refusal) if refusal.code == "catalog_changed" => Ok(Refused::Catalog),
        StoreError::Refused(refusal) if matches!(refusal.code.as_str(), "version_conflict" | "stream_of_another") => {
            let event = refusal.member.and_then(|member| plan.events.get(member));
            Ok(Refused::Overtaken(event.map(|event| event.aggregate_id.clone())))
        }
        StoreError::Contention(_) => Ok(Refused::Contended),
        other => Err(other),
    }
}

/// The catalog for an import's caller.
pub(super) async fn catalog(job: &Job) -> Result<Arc<Catalog>, StoreError> {
    job.store.catalog(&job.import.caller).await
}
