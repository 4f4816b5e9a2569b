//! The upload: passes over a file, chunk by chunk.
//!
//! Rows are gathered into chunks; of each chunk the entities are looked up, the rows planned, and the events appended in one
//! transaction that expects the versions which the plan was made for. Whoever gets ahead of it makes the append fail as a
//! whole, and the chunk is looked up and planned again: a row is never half done. An upload that breaks off, with the database
//! gone or the function out of time, is finished by sending the file again: what was appended is found to be known.
//!
//! All-or-nothing uploads and dry runs go through the same code; they keep in mind what their events would have changed, as
//! the log does not show it. The events of the former are appended at the end in one transaction.

use std::collections::{HashMap, HashSet};

use annals::App;
use annals::domain::{AggregateId, Caller, NewEvent};
use annals::intake::{self, Framing, IntakeError};
use annals::store::{StoreError, StoredEntity, UploadStatus};
use annals::telemetry::metrics;
use bytes::Bytes;
use futures_util::Stream;
use serde_json::Value;
use uuid::Uuid;

use crate::answer::Tally;
use crate::chunk::Chunk;
use crate::dataset::Dataset;
use crate::facts;
use crate::fault::FileFault;
use crate::identity::{Met, Occurrences};
use crate::layout::Layout;
use crate::options::{Mode, Options};
use crate::plan::{ChunkRow, Entities, Frame, Known, Plan, Verdict};
use crate::reader::{ReadError, Reader};
use crate::records::Record;
use crate::report::Report;
use crate::row::{Row, RowFault};

/// How often a chunk that others get ahead of is planned again.
const TRIES: usize = 20;

/// Why an upload did not come to an answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UploadError {
    /// Nothing readable as the dataset.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The store.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The append.
    #[error(transparent)]
    Intake(#[from] IntakeError),
    /// Others kept getting ahead.
    #[error("others kept changing the same entities")]
    Overtaken,
    /// A fault of ours.
    #[error("{0}")]
    Unexpected(&'static str),
}

impl From<FileFault> for UploadError {
    fn from(fault: FileFault) -> Self {
        Self::Read(fault.into())
    }
}

/// An upload of a dataset.
pub(crate) struct Upload<'a> {
    pub(crate) app: &'a App,
    pub(crate) caller: &'a Caller,
    /// What the server knows of the request.
    pub(crate) context: &'a Value,
    pub(crate) dataset: &'static Dataset,
    pub(crate) options: &'a Options,
    pub(crate) id: Uuid,
}

/// What a pass over the file carries along.
struct Pass {
    layout: Layout,
    delimiter: char,
    frame: Frame,
    tally: Tally,
    report: Report,
    occurrences: Occurrences,
    ids: Met,
    /// Entities as events that are not in the log (yet) leave them.
    pending: Entities,
    /// Events that wait for the end of the file.
    held: Vec<NewEvent>,
}

/// What an upload came to.
pub(crate) struct Outcome {
    pub(crate) status: UploadStatus,
    pub(crate) tally: Tally,
    pub(crate) report: Report,
    /// The file's own header, and what separates its fields.
    pub(crate) header: Vec<String>,
    pub(crate) delimiter: char,
    /// Headers of columns that are not read.
    pub(crate) ignored_columns: Vec<String>,
}

/// What became of a chunk's events.
enum Commit {
    Done,
    /// The catalog's schemas refuse some: the places of their rows.
    Refused(HashMap<usize, RowFault>),
    /// Somebody got ahead at this entity.
    Overtaken(Option<AggregateId>),
}

impl Upload<'_> {
    /// Reads a file to its end without doing anything, so that one that breaks off in the middle leaves nothing behind.
    ///
    /// # Errors
    /// Whatever makes it unreadable; no header of the dataset; no rows.
    pub(crate) async fn inspect<S>(&self, source: S) -> Result<(), ReadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let mut reader = Reader::new(source, self.options.format);
        self.read_header(&mut reader).await?;
        if reader.next().await?.is_none() {
            return Err(FileFault::new("no_rows", "the file has a header and no rows").into());
        }
        while reader.next().await?.is_some() {}
        Ok(())
    }

    /// Uploads a file that `open` gives from its beginning, as often as is needed.
    ///
    /// # Errors
    /// An unreadable file, or a store that fails. Then chunks may have been appended; sending the file again goes on.
    pub(crate) async fn run<S>(&self, open: impl Fn() -> S) -> Result<Outcome, UploadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        for _ in 0..TRIES {
            let mut pass = self.pass(open()).await?;
            let mut status = UploadStatus::Completed;
            if self.options.mode == Mode::AllOrNothing && pass.tally.rejected() > 0 {
                pass.tally = pass.tally.refused();
                status = UploadStatus::Failed;
            } else if !self.append_held(&mut pass).await? {
                continue;
            }
            if !self.options.dry_run {
                metrics::uploaded(pass.tally.rows());
            }
            return Ok(Outcome {
                status,
                tally: pass.tally,
                report: pass.report,
                header: pass.layout.headers().to_vec(),
                delimiter: pass.delimiter,
                ignored_columns: pass.layout.ignored(),
            });
        }
        Err(UploadError::Overtaken)
    }

    /// Whether nothing is appended before the end of the file, if at all.
    fn holds(&self) -> bool {
        self.options.dry_run || self.options.mode == Mode::AllOrNothing
    }

    async fn read_header<S>(&self, reader: &mut Reader<S>) -> Result<Layout, ReadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let header = reader
            .next()
            .await?
            .ok_or_else(|| FileFault::new("empty_file", "the file is empty"))?;
        Ok(Layout::find(self.dataset, &self.options.mapping, header)?)
    }

    async fn pass<S>(&self, source: S) -> Result<Pass, UploadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let mut reader = Reader::new(source, self.options.format);
        let layout = self.read_header(&mut reader).await?;
        let frame = Frame::new(self.dataset, &layout, self.id)
            .map_err(|_| UploadError::Unexpected("a dataset with unusable names"))?;
        let mut pass = Pass {
            layout,
            delimiter: reader.delimiter(),
            frame,
            tally: Tally::default(),
            report: Report::default(),
            occurrences: Occurrences::default(),
            ids: Met::default(),
            pending: Entities::new(),
            held: Vec::new(),
        };
        let mut chunk = Chunk::default();
        let mut number = 0;
        while let Some(record) = reader.next().await? {
            number += 1;
            chunk.push(self.read_row(number, record, &mut pass), record, &pass.layout);
            if chunk.is_full() {
                self.settle(&chunk, &mut pass).await?;
                chunk.clear();
            }
        }
        self.settle(&chunk, &mut pass).await?;
        Ok(pass)
    }

    fn read_row(&self, number: u64, record: &Record, pass: &mut Pass) -> ChunkRow {
        let row = Row {
            record,
            layout: &pass.layout,
        };
        let read = row
            .check()
            .map_err(|fault| vec![fault])
            .and_then(|()| facts::read(self.dataset, &row, &self.options.values));
        let read = read.and_then(|mut facts| match facts.id.take() {
            Some(id) => Ok((id, facts)),
            None => pass
                .occurrences
                .identify(&facts.data)
                .map(|id| (id, facts))
                .map_err(|fault| vec![RowFault::of_row("invalid_id", format!("the row's identity {fault}"))]),
        });
        let repeats =
            pass.layout.has(self.dataset.id) && read.as_ref().is_ok_and(|(id, _)| pass.ids.meets_again(id.as_str()));
        ChunkRow {
            row: number,
            line: record.line(),
            read,
            repeats,
        }
    }

    /// Brings a chunk to its end: every row appended, known or refused.
    async fn settle(&self, chunk: &Chunk, pass: &mut Pass) -> Result<(), UploadError> {
        let mut refused = HashMap::new();
        let mut overtaken: Option<AggregateId> = None;
        for _ in 0..TRIES {
            let known = self.look_up(chunk.rows(), &pass.pending).await?;
            if let Some(id) = overtaken.take().filter(|id| !known.contains_key(id.as_str())) {
                // Somebody was ahead and is not to be seen: the stream is another's.
                let message = "this id belongs to an entity of somebody else";
                let rows = chunk
                    .rows()
                    .iter()
                    .enumerate()
                    .filter(|(_, row)| row.read.as_ref().is_ok_and(|(other, _)| *other == id));
                refused.extend(rows.map(|(place, _)| (place, pass.frame.fault(&id, "id_taken", message))));
            }
            let mut plan = pass.frame.plan(chunk.rows(), &known, &refused);
            match self.commit(&mut plan, pass).await? {
                Commit::Done => {
                    self.count(chunk, &plan.verdicts, pass);
                    return Ok(());
                }
                Commit::Refused(rows) => refused.extend(rows),
                Commit::Overtaken(id) => overtaken = id,
            }
        }
        Err(UploadError::Overtaken)
    }

    fn count(&self, chunk: &Chunk, verdicts: &[Verdict], pass: &mut Pass) {
        for (place, (row, verdict)) in chunk.rows().iter().zip(verdicts).enumerate() {
            pass.tally.count(row, verdict);
            if let Verdict::Rejected(faults) = verdict {
                let most = self.options.rows_kept();
                pass.report.add(row, faults, &pass.layout, || chunk.fields(place), most);
            }
        }
    }

    /// What is known of the chunk's entities.
    async fn look_up(&self, chunk: &[ChunkRow], pending: &Entities) -> Result<Entities, StoreError> {
        let ids: HashSet<&str> = chunk
            .iter()
            .filter_map(|row| row.read.as_ref().ok())
            .map(|(id, _)| id.as_str())
            .collect();
        let (here, asked): (Vec<&str>, Vec<&str>) = ids.into_iter().partition(|id| pending.contains_key(*id));
        let mut known: Entities = here
            .into_iter()
            .filter_map(|id| Some((id.to_owned(), pending.get(id)?.clone())))
            .collect();
        if !asked.is_empty() {
            let found = self
                .app
                .store
                .find_entities(self.caller, self.dataset.aggregate_type, &asked)
                .await?;
            known.extend(found.into_iter().map(known_from));
        }
        Ok(known)
    }

    async fn commit(&self, plan: &mut Plan, pass: &mut Pass) -> Result<Commit, UploadError> {
        if plan.events.is_empty() {
            return Ok(Commit::Done);
        }
        if self.holds() {
            let refused = self.refused_by_schema(plan).await?;
            if !refused.is_empty() {
                return Ok(Commit::Refused(refused));
            }
            pass.pending.extend(std::mem::take(&mut plan.changed));
            if !self.options.dry_run {
                pass.held.append(&mut plan.events);
            }
            return Ok(Commit::Done);
        }
        match intake::append(self.app, self.caller, &plan.events, self.context, Framing::Batch).await {
            Ok(appended) => {
                pass.tally.add_appended(appended.len());
                Ok(Commit::Done)
            }
            Err(IntakeError::Checked { code, faults }) => {
                let refused = self.refused_by_schema(plan).await?;
                if refused.is_empty() {
                    Err(IntakeError::Checked { code, faults }.into())
                } else {
                    Ok(Commit::Refused(refused))
                }
            }
            Err(IntakeError::Store(StoreError::Refused(refusal)))
                if matches!(refusal.code.as_str(), "version_conflict" | "stream_of_another") =>
            {
                let event = refusal.member.and_then(|member| plan.events.get(member));
                Ok(Commit::Overtaken(event.map(|event| event.aggregate_id.clone())))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Appends what was held, in one transaction; answers with whether nobody got ahead.
    async fn append_held(&self, pass: &mut Pass) -> Result<bool, UploadError> {
        match intake::append(self.app, self.caller, &pass.held, self.context, Framing::Batch).await {
            Ok(appended) => {
                pass.tally.add_appended(appended.len());
                Ok(true)
            }
            Err(IntakeError::Store(StoreError::Refused(refusal))) if refusal.code == "version_conflict" => Ok(false),
            // The catalog has changed since the rows were checked against it.
            Err(IntakeError::Checked { .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Rows whose events a schema refuses: a tenant may ask for more than we do.
    async fn refused_by_schema(&self, plan: &Plan) -> Result<HashMap<usize, RowFault>, StoreError> {
        let catalog = self.app.store.catalog(self.caller).await?;
        let mut refused = HashMap::new();
        for (event, row) in plan.events.iter().zip(&plan.rows) {
            let kind = catalog.find(self.caller.tenant_id(), event.event_type.as_str());
            let schema = kind.and_then(|kind| kind.versions.get(kind.current_version.as_str()));
            let fault = schema
                .and_then(|schema| schema.check(&event.data).err())
                .and_then(|faults| faults.into_iter().next());
            if let Some(fault) = fault {
                refused.insert(*row, self.dataset.schema_violation(fault));
            }
        }
        Ok(refused)
    }
}

fn known_from(found: StoredEntity) -> (String, Known) {
    let entity = found.entity;
    (
        found.aggregate_id,
        Known {
            version: entity.version,
            deleted: entity.deleted_at.is_some(),
            state: entity.state,
        },
    )
}
