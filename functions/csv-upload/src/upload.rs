//! The upload: passes over a file, chunk by chunk.
//!
//! Rows are gathered into chunks; of each chunk the entities are looked up, the rows planned, and the events appended in one
//! transaction that expects the versions which the plan was made for. Whoever gets ahead of it makes the append fail as a
//! whole, and the chunk is looked up and planned again: a row is never half done. An upload that breaks off, with the database
//! gone or the function out of time, is finished by sending the file again: what was appended is found to be known.
//!
//! All-or-nothing uploads and dry runs go through the same code; they keep in mind what their events would have changed, as
//! the log does not show it. The events of the former are appended at the end in one transaction.

use annals::App;
use annals::domain::{Caller, NewEvent};
use annals::intake::{self, Framing, IntakeError};
use annals::store::{StoreError, UploadStatus};
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
use crate::options::Options;
use crate::plan::{self, ChunkRow, Entities, Frame, Plan, Refused, TRIES, Verdict};
use crate::reader::{ReadError, Reader};
use crate::records::Record;
use crate::report::Report;
use crate::row::Row;

/// Most rows of an upload that holds its events until the end of the file, which are kept in memory and appended by one statement.
const MOST_HELD_ROWS: u64 = 20_000;

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
    /// Somebody got ahead at some entity, or the catalog has moved on.
    Overtaken,
}

impl Upload<'_> {
    /// Reads a file to its end without doing anything, so that one that breaks off in the middle leaves nothing behind.
    ///
    /// # Errors
    /// Whatever makes it unreadable; no header of the dataset; no rows, or too many.
    pub(crate) async fn inspect<S>(&self, source: S) -> Result<(), ReadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let mut reader = Reader::new(source, self.options.format);
        reader.header(self.dataset, &self.options.mapping).await?;
        let mut rows = 0;
        while reader.next().await?.is_some() {
            rows += 1;
        }
        if rows == 0 {
            return Err(FileFault::no_rows().into());
        }
        if self.options.is_whole() && rows > MOST_HELD_ROWS {
            let message = format!(
                "the file has {rows} rows; with mode=all_or_nothing or dry_run=true this way takes at most {MOST_HELD_ROWS}: \
                 POST /data/uploads takes more"
            );
            return Err(FileFault::new("too_many_rows", message).into());
        }
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
            if self.options.is_refused(pass.tally.rejected()) {
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

    async fn pass<S>(&self, source: S) -> Result<Pass, UploadError>
    where
        S: Stream<Item = std::io::Result<Bytes>> + Unpin,
    {
        let mut reader = Reader::new(source, self.options.format);
        let layout = reader.header(self.dataset, &self.options.mapping).await?;
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
            let record = pass.layout.bare(record);
            chunk.push(self.read_row(number, &record, &mut pass), &record, &pass.layout);
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
        let read = facts::read(self.dataset, &row, &self.options.values);
        let read = read.and_then(|mut facts| match facts.id.take() {
            Some(id) => Ok((id, facts)),
            None => match pass.occurrences.identify(&facts.data) {
                Ok(id) => Ok((id, facts)),
                Err(fault) => Err(vec![fault]),
            },
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
        let (rows, mut refused) = (chunk.rows(), Refused::new());
        if self.options.is_whole() {
            // No append tells in time.
            self.refuse_taken(rows, pass, &mut refused).await?;
        }
        let mut catalog = self.app.store.catalog(self.caller).await?;
        let mut tries = 0;
        while tries < TRIES {
            let known = self.look_up(rows, &pass.pending).await?;
            let judge = (&*catalog, self.caller.tenant_id());
            let mut plan = pass.frame.plan_checked(rows, &known, &mut refused, judge)?;
            match self.commit(&mut plan, pass).await? {
                Commit::Done => {
                    self.count(chunk, &plan.verdicts, pass);
                    return Ok(());
                }
                Commit::Overtaken => {
                    let before = refused.len();
                    self.refuse_taken(rows, pass, &mut refused).await?;
                    catalog = self.app.store.fresh_catalog(self.caller).await?;
                    // What was learned keeps others from getting ahead by the same again.
                    tries += usize::from(refused.len() == before);
                }
            }
        }
        Err(UploadError::Overtaken)
    }

    /// Refuses rows whose entities are there and somebody else's.
    async fn refuse_taken(&self, rows: &[ChunkRow], pass: &Pass, refused: &mut Refused) -> Result<(), StoreError> {
        let (store, ids) = (&self.app.store, plan::ids(rows));
        let taken = store.find_taken(self.caller, self.dataset.aggregate_type, &ids).await?;
        pass.frame.refuse_taken(rows, &taken, refused);
        Ok(())
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
        let ids = plan::ids(chunk).into_iter();
        let (here, asked): (Vec<&str>, Vec<&str>) = ids.partition(|id| pending.contains_key(*id));
        let mut known: Entities = here
            .into_iter()
            .filter_map(|id| Some((id.to_owned(), pending.get(id)?.clone())))
            .collect();
        if !asked.is_empty() {
            let found = self
                .app
                .store
                .find_entities(self.caller, self.dataset.aggregate_type, &asked, |found| {
                    plan::known(found, self.dataset)
                })
                .await?;
            known.extend(found);
        }
        Ok(known)
    }

    async fn commit(&self, plan: &mut Plan, pass: &mut Pass) -> Result<Commit, UploadError> {
        if plan.events.is_empty() {
            return Ok(Commit::Done);
        }
        if self.options.is_whole() {
            pass.pending.extend(std::mem::take(&mut plan.changed));
            if !self.options.dry_run {
                pass.held.append(&mut plan.events);
            }
            return Ok(Commit::Done);
        }
        match self.append(&plan.events).await? {
            Some(events) => {
                pass.tally.add_appended(events);
                Ok(Commit::Done)
            }
            None => Ok(Commit::Overtaken),
        }
    }

    /// Appends what was held, in one transaction; answers with whether nobody got ahead.
    async fn append_held(&self, pass: &mut Pass) -> Result<bool, UploadError> {
        let appended = self.append(&pass.held).await?;
        pass.tally.add_appended(appended.unwrap_or_default());
        Ok(appended.is_some())
    }

    /// Appends events in one transaction; how many. None where somebody got ahead, or the catalog has changed since rows were
    /// checked against it: then they are to be planned again.
    async fn append(&self, events: &[NewEvent]) -> Result<Option<usize>, UploadError> {
        match intake::append(self.app, self.caller, events, self.context, Framing::Batch).await {
            Ok(appended) => Ok(Some(appended.len())),
            // What the caller may not post stays so; anything else has come with another catalog.
            Err(IntakeError::Checked { code, .. }) if code != "event_type_forbidden" => Ok(None),
            Err(IntakeError::Store(StoreError::Refused(refusal))) if plan::is_overtaken(&refusal) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}
