//! Small uploads: an import with one partition, whose file and progress are in memory.
//!
//! If the upload breaks off, because the database cannot be reached or the function's time is over, the caller sends the file again. Rows
//! that were appended then count as duplicates.
//!
//! Uploads that are all or nothing hold their events until the end of the file, and append them in one transaction. Until then the log does not
//! show the states after these events, and after a dry run it never does. So the entities are kept in memory, as text, because a dry run has as
//! many as a file has rows.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use annals_append::AppendService;
use annals_csv::{Dataset, FileFault};
use annals_domain::{Caller, NewEvent, RowCounts};
use annals_store::{
    CheckedEvents, FinishedUpload, NewUpload, PartitionProgress, RejectedRow, Store, StoreError, UploadStatus,
    redacted_error,
};
use annals_telemetry::metrics;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::chunk::{Chunk, ReadRow};
use crate::dispatch::{ChunkSize, Slot, dispatch};
use crate::error::ImportError;
use crate::inspect::{Inspected, inspect};
use crate::job::{Job, frame};
use crate::known::{SentFile, refuse_known};
use crate::options::{Mode, Options};
use crate::partition::{Ledger, LookUp, Partition, PlannedChunk, RetryReason, TRIES};
use crate::plan::{self, Entities, Known, Plan};
use crate::profile::remember;
use crate::report;
use crate::seen::Seen;
use crate::text::SmallFile;
use crate::warning::Warning;

/// Maximum number of rows of an upload that is all or nothing: its events are held in memory until the end of the file.
const MAX_HELD_ROWS: i64 = 20_000;
const CHUNK: ChunkSize = ChunkSize {
    rows: 400,
    bytes: 1024 * 1024,
};

/// A request to import a file that is held in memory.
pub struct SmallUpload {
    /// The store that events are appended to.
    pub store: Store,
    /// The service that appends them.
    pub appends: AppendService,
    /// The caller as whom they are appended.
    pub caller: Caller,
    /// What the server observed of the request.
    pub context: Value,
    /// What the rows describe.
    pub dataset: &'static Dataset,
    /// The upload's fields.
    pub options: Options,
}

impl SmallUpload {
    /// Imports a file and records the upload. `began` is when the request arrived.
    ///
    /// # Errors
    /// The file cannot be read, or the store fails. Some chunks may have been appended by then: the upload's record says how many events, and
    /// they can be reverted. If the same file is sent again, their rows count as duplicates.
    pub async fn run(self, file: &SmallFile, began: Instant) -> Result<FinishedUpload, ImportError> {
        let inspected = inspect(file.read(0), self.dataset, &file.text.options(&self.options)).await?;
        if self.options.mode == Mode::AllOrNothing && inspected.rows > MAX_HELD_ROWS {
            return Err(too_many_rows(inspected.rows).into());
        }
        let (file_sha256, left_out) = (inspected.file_sha256, inspected.warnings());
        let job = Arc::new(self.job(inspected)?);
        let known = refuse_other_readings(&job, &file_sha256, None).await?;
        let warnings: Vec<Warning> = known.into_iter().chain(left_out).chain(file.text.warnings()).collect();
        let upload = NewUpload {
            id: job.id,
            dataset: job.dataset.name,
            dry_run: job.options.dry_run,
            options: Value::Object(job.options.sent.clone()),
            file_sha256,
            header: job.layout.headers().to_vec(),
            delimiter: char::from(job.format.delimiter),
            ignored_columns: job.layout.ignored(),
            warnings: json!(warnings),
        };
        if !job.options.dry_run {
            job.store.begin_upload(&job.caller, &upload, began.elapsed()).await?;
        }
        match import_alone(&job, file, &file_sha256).await {
            Ok((status, counts, reported)) => {
                let finished = FinishedUpload {
                    upload,
                    status,
                    counts,
                    took: began.elapsed(),
                    reported,
                };
                finish(&job, &finished).await.map(|()| finished)
            }
            Err(error) => {
                let fault = match &error {
                    ImportError::File(fault) => fault,
                    _ => &interrupted(),
                };
                end(&job.store, (job.id, job.dataset), fault).await;
                Err(error)
            }
        }
    }

    fn job(mut self, inspected: Inspected) -> Result<Job, ImportError> {
        let id = Uuid::now_v7();
        self.options.read.values.decimal = inspected.format.decimal;
        Ok(Job {
            store: self.store,
            appends: self.appends,
            id,
            caller: self.caller,
            context: self.context,
            dataset: self.dataset,
            options: self.options,
            frame: frame(self.dataset, &inspected.layout, id)?,
            layout: inspected.layout,
            format: inspected.format,
            start: inspected.start,
            report_bytes: report::MAX_BYTES,
        })
    }
}

async fn finish(job: &Job, finished: &FinishedUpload) -> Result<(), ImportError> {
    if !job.options.dry_run {
        metrics::uploaded(&finished.counts);
    }
    // If this fails, the sweep ends the upload.
    job.store.record_upload(&job.caller, finished).await?;
    remember(job, &finished.counts).await;
    Ok(())
}

/// Why an upload has ended that broke off.
pub(crate) fn interrupted() -> FileFault {
    let message = "the upload broke off; send the same file again to continue it, or revert what it has appended";
    FileFault::new("upload_interrupted", message)
}

/// Ends an upload that has begun and has not come to its end. If that fails, the sweep does it later.
pub(crate) async fn end(store: &Store, (id, dataset): (Uuid, &Dataset), fault: &FileFault) {
    let failure = json!({"code": fault.code, "detail": fault.detail()});
    let event_types = [dataset.created, dataset.updated];
    if let Err(error) = store.end_interrupted(id, event_types, &failure).await {
        tracing::warn!(error = redacted_error(&error), upload.id = %id, "interrupted upload not ended");
    }
}

fn too_many_rows(rows: i64) -> FileFault {
    let message = format!(
        "the file has {rows} rows; with mode=all_or_nothing a small upload may have at most {MAX_HELD_ROWS}: \
         use POST /api/v1/data/uploads"
    );
    FileFault::new("too_many_rows", message)
}

/// Imports the rows, unless the same file is being imported in another way. Of two such uploads that begin at the same moment, both are refused.
async fn import_alone(
    job: &Arc<Job>,
    file: &SmallFile,
    sha256: &[u8; 32],
) -> Result<(UploadStatus, RowCounts, Vec<RejectedRow>), ImportError> {
    if !job.options.dry_run && job.layout.identity(job.dataset).is_none() {
        refuse_other_readings(job, sha256, Some(job.id)).await?;
    }
    import(job, file).await
}

/// Refuses a file that was imported in another way, by an upload other than `own`.
async fn refuse_other_readings(
    job: &Job,
    file_sha256: &[u8; 32],
    own: Option<Uuid>,
) -> Result<Option<Warning>, ImportError> {
    let sent = SentFile {
        dataset: job.dataset,
        file_sha256,
        layout: &job.layout,
        options: &job.options,
    };
    refuse_known((&job.store, &job.caller), sent, own).await
}

/// Imports the rows. If events were held and another caller's append came first, everything is done again.
async fn import(job: &Arc<Job>, file: &SmallFile) -> Result<(UploadStatus, RowCounts, Vec<RejectedRow>), ImportError> {
    for _ in 0..TRIES {
        let Partition { progress, ledger, .. } = pass(job, file).await?;
        let mut counts = progress.counts;
        if job.options.is_refused(counts.rejected) {
            return Ok((UploadStatus::Failed, counts.refused(), ledger.reported));
        }
        if job.options.dry_run {
            counts.appended = 0;
        }
        match ledger.append_held(job).await? {
            None => return Ok((UploadStatus::Completed, counts, ledger.reported)),
            Some(RetryReason::Catalog) => drop(job.store.fresh_catalog(&job.caller).await?),
            Some(RetryReason::Overtaken | RetryReason::Contended) => {}
        }
    }
    Err(ImportError::Overtaken)
}

/// Passes over the whole file once.
async fn pass(job: &Arc<Job>, file: &SmallFile) -> Result<Partition<MemoryLedger>, ImportError> {
    let reader = job.reader(file.read(job.start.point.offset))?;
    let start = PartitionProgress::default();
    let ledger = MemoryLedger {
        seen: Seen::default(),
        reported: Vec::new(),
        held: job.options.is_atomic().then(Held::default),
    };
    let mut slots = [Slot::new(Partition::new(Arc::clone(job), start, ledger), &start)];
    dispatch(job, reader, &mut slots, CHUNK, None).await?;
    let [Slot { outlet, .. }] = slots;
    Ok(outlet)
}

/// Appends events in one transaction; returns why they have to be planned again, if so.
async fn append(job: &Job, events: CheckedEvents<'_>) -> Result<Option<RetryReason>, StoreError> {
    if events.events.is_empty() {
        return Ok(None);
    }
    match job.appends.append_checked(&job.caller, events, &job.context).await {
        Ok(_) => Ok(None),
        // The store has repeated it as many times as makes sense.
        Err(error @ StoreError::Contention(_)) => Err(error),
        Err(error) => RetryReason::of(error).map(Some),
    }
}

/// Progress in memory.
struct MemoryLedger {
    seen: Seen,
    reported: Vec<RejectedRow>,
    /// `None` if each chunk is appended by itself.
    held: Option<Held>,
}

/// Events that wait for the end of the file.
#[derive(Default)]
struct Held {
    events: Vec<NewEvent>,
    /// Revision of the catalog that the first of them was checked against.
    revision: Option<i64>,
    /// Entities after these events, or after those that a dry run would append.
    entities: HashMap<Box<str>, Packed>,
}

/// An entity that exists, in less memory than [`Known`].
struct Packed {
    version: i32,
    bytes: usize,
    state: Box<[u8]>,
}

impl Packed {
    fn new(entity: &Known) -> Self {
        Self {
            version: entity.version,
            bytes: entity.bytes,
            state: serde_json::to_vec(&entity.state).unwrap_or_default().into(),
        }
    }

    fn known(&self) -> Known {
        Known {
            version: self.version,
            deleted: false,
            reverted: false,
            state: serde_json::from_slice(&self.state).unwrap_or_default(),
            bytes: self.bytes,
        }
    }
}

impl MemoryLedger {
    /// Appends the events that were held, in one transaction.
    async fn append_held(&self, job: &Job) -> Result<Option<RetryReason>, StoreError> {
        let Some(held) = &self.held else { return Ok(None) };
        let events = CheckedEvents {
            events: &held.events,
            catalog_revision: held.revision.unwrap_or_default(),
        };
        append(job, events).await
    }
}

impl Ledger for MemoryLedger {
    fn policy(&self) -> LookUp {
        match self.held {
            None => LookUp::WhenExpected,
            Some(_) => LookUp::WithOwners,
        }
    }

    async fn open(&mut self, job: &Job, rows: Vec<ReadRow>) -> Result<Chunk, ImportError> {
        Ok(self.seen.open(job, rows))
    }

    async fn look_up(&self, job: &Job, chunk: &mut Chunk) -> Result<Entities, ImportError> {
        let held = |id: &str| self.held.as_ref()?.entities.get(id);
        let (mut known, mut others) = (Entities::new(), Vec::new());
        for id in chunk.ids() {
            match held(id) {
                Some(entity) => drop(known.insert(id.to_owned(), entity.known())),
                None => others.push(id),
            }
        }
        if !others.is_empty() {
            let (kind, keep) = (job.dataset.aggregate_type, |found| plan::known(found, job.dataset));
            known.extend(job.store.find_entities(&job.caller, kind, &others, keep).await?);
        }
        Ok(known)
    }

    async fn append(&mut self, job: &Job, _: &Chunk, outcome: PlannedChunk) -> Result<Option<RetryReason>, StoreError> {
        if let Some(held) = &mut self.held {
            let Plan { events, changed, .. } = outcome.plan;
            // Without an id, each row has an entity of its own.
            if job.layout.identity(job.dataset).is_some() {
                let packed = changed
                    .iter()
                    .map(|(id, entity)| (id.as_str().into(), Packed::new(entity)));
                held.entities.extend(packed);
            }
            if !job.options.dry_run && !events.is_empty() {
                held.events.extend(events);
                held.revision.get_or_insert(outcome.revision);
            }
        } else if let Some(reason) = append(job, outcome.plan.checked(outcome.revision)).await? {
            return Ok(Some(reason));
        }
        self.reported.extend(outcome.reported);
        Ok(None)
    }
}
