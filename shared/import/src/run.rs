//! A large import, from the arrival of its file to its end, or as far as there is time.

use std::sync::Arc;
use std::time::Duration;

use annals_csv::{Dataset, FileFault};
use annals_domain::RowCounts;
use annals_inspect::Inspection as Proposed;
use annals_storage::{MAX_FILE_BYTES, Object, StorageError};
use annals_store::{
    AcquireOutcome, CheckedEvents, ImportEnd, Inspection, LEASE_SECONDS, LeasedImport, Refusal, RefusalKind,
    StoreError, TAKEN_OVER, UploadStatus, redacted_error,
};
use annals_telemetry::metrics;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use crate::auto::{Completed, Fields, uncertain};
use crate::dispatch::Extent;
use crate::error::ImportError;
use crate::importer::{Importer, PARTITIONS};
use crate::inspect::inspect;
use crate::job::Job;
use crate::known::{SentFile, refuse_known};
use crate::options::Options;
use crate::profile::remember;
use crate::text::{Source, Text, TextLimits};
use crate::warning::Warning;
use crate::{auto, events, partitioned, transaction};

/// Attempts without progress after which an import fails as `import_stuck`. The file is the cause then, or a bug.
const MAX_ATTEMPTS: i32 = 30;

/// Attempts at one inspection after which it fails as `import_stuck`.
const MAX_INSPECTIONS: i32 = 5;

/// What became of an import in this invocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ImportOutcome {
    /// It has ended, now or before.
    Ended,
    /// It continues at the next tick of the schedule.
    GoesOn,
    /// Its file has not arrived.
    Waits,
    /// Its file has arrived, and its options are not confirmed.
    Unconfirmed,
    /// Another worker holds its lease, or as many other imports are running as may run at the same time.
    Busy,
    /// There is no such upload.
    Unknown,
}

/// Why an import ends before the end of its file.
struct Failure {
    code: String,
    detail: String,
}

impl Importer {
    /// Works on an import until it ends or the deadline comes.
    ///
    /// # Errors
    /// Why the import made no progress. Its lease is released, and it is due at the next tick of the schedule.
    pub async fn import(&self, id: Uuid, deadline: Option<Instant>) -> Result<ImportOutcome, ImportError> {
        // The file is looked for before the lease is acquired, because acquiring counts as an attempt.
        let object = self.storage.find(id).await?;
        let import = match self.store.acquire_lease(id).await? {
            AcquireOutcome::Acquired(import) => *import,
            AcquireOutcome::Busy => return Ok(ImportOutcome::Busy),
            AcquireOutcome::Unknown => return Ok(ImportOutcome::Unknown),
            AcquireOutcome::Ended => {
                if object.is_some() {
                    self.delete_file(id).await;
                }
                return Ok(ImportOutcome::Ended);
            }
        };
        let worked = tokio::select! {
            worked = self.work(&import, object, deadline).boxed() => worked,
            lost = self.renew(&import) => Err(lost.into()),
        };
        match worked.map_err(Failure::of) {
            Ok(ImportOutcome::Ended) => Ok(ImportOutcome::Ended),
            Ok(other) => {
                let did_all = matches!(other, ImportOutcome::Waits | ImportOutcome::Unconfirmed);
                self.release(&import, did_all).await.map(|()| other)
            }
            Err(Ok(failure)) => self.fail(&import, &failure).await.map(|()| ImportOutcome::Ended),
            Err(Err(error)) => {
                self.release(&import, false).await?;
                Err(error)
            }
        }
    }

    async fn release(&self, import: &LeasedImport, did_all: bool) -> Result<(), ImportError> {
        Ok(self.store.release_lease(import.id, import.holder, did_all).await?)
    }

    /// Renews the lease at regular intervals. Returns only if another worker has taken the import over.
    async fn renew(&self, import: &LeasedImport) -> StoreError {
        let pause = Duration::from_secs(u64::from(LEASE_SECONDS.unsigned_abs()) / 5);
        loop {
            tokio::time::sleep(pause).await;
            match self.store.renew_lease(import.id, import.holder).await {
                Err(StoreError::Refused(refusal)) if refusal.code == TAKEN_OVER => return StoreError::Refused(refusal),
                // The import itself will fail in the same way and return the error.
                Err(error) => {
                    tracing::warn!(error = redacted_error(&error), upload.id = %import.id, "lease not renewed")
                }
                Ok(()) => {}
            }
        }
    }

    async fn work(
        &self,
        import: &LeasedImport,
        found: Option<Object>,
        deadline: Option<Instant>,
    ) -> Result<ImportOutcome, ImportError> {
        let object = match found {
            Some(object) => object,
            // Looked for again: before this process held the lease, another worker may have begun or ended the import.
            None => match self.storage.find(import.id).await? {
                Some(object) => object,
                None if import.is_running => {
                    return Err(FileFault::new("file_changed", "the file was deleted while it was read").into());
                }
                None if import.is_over => {
                    let message = "no file was sent in time: request another upload";
                    return Err(FileFault::new("file_missing", message).into());
                }
                None => return Ok(ImportOutcome::Waits),
            },
        };
        if import.is_running && import.attempts > MAX_ATTEMPTS {
            let message = "the import made no progress; the logs say why";
            return Err(FileFault::new("import_stuck", message).into());
        }
        let dataset = Dataset::named(&import.dataset);
        let dataset = dataset.ok_or_else(|| ImportError::Unexpected(format!("no dataset {}", import.dataset)))?;
        if !import.starts {
            return self.attend(import, (&object, dataset), deadline).await;
        }
        let options = recorded(&import.options, dataset)?;
        self.begin(import, &object).await?;
        let source = self.storage.read(import.id, &object, 0);
        let text = Text::of(source, &options, TextLimits::LARGE).await?;
        let file = (&object, &text);
        if import.reader.is_none() {
            self.inspect_file(import, file, dataset).await?;
        }
        let import = Arc::new(self.store.leased_import(import).await?);
        let options = recorded(&import.options, dataset)?;
        let job = Job::of_import(self.store.clone(), self.appends.clone(), &import, dataset, options)?;
        self.process(&Arc::new(job), &import, file, deadline).await
    }

    /// Checks that the file is the one that the import began with; begins the import if it has not begun.
    async fn begin(&self, import: &LeasedImport, object: &Object) -> Result<(), ImportError> {
        if object.size > MAX_FILE_BYTES {
            let message = format!("the file has {} bytes; the maximum is {MAX_FILE_BYTES}", object.size);
            return Err(FileFault::new("file_too_large", message).into());
        }
        let is_another = |tag: &String| *tag != object.tag;
        if [&import.object_tag, &import.inspected_tag]
            .into_iter()
            .flatten()
            .any(is_another)
        {
            let message = "another file was sent to the same address: request another upload";
            return Err(FileFault::new("file_changed", message).into());
        }
        if import.object_tag.is_some() {
            return Ok(());
        }
        let size = i64::try_from(object.size).unwrap_or(i64::MAX);
        let data = Map::from_iter([("size_bytes".to_owned(), json!(size))]);
        // Without an expected version: others may have posted to the import's stream. The row of the import makes sure that it begins only
        // once.
        let event = events::event(import.id, "started", None, data)?;
        let what = (object.tag.as_str(), size);
        let start = |checked| self.store.start_import(import, checked, what);
        let started = self
            .appends
            .append_with(&import.caller, std::slice::from_ref(&event), start)
            .await;
        Ok(started.map_err(|error| events::refusal(error, &event))?)
    }

    /// Answers the inspection that is asked for, of a file whose import is not confirmed.
    async fn attend(
        &self,
        import: &LeasedImport,
        (object, dataset): (&Object, &'static Dataset),
        deadline: Option<Instant>,
    ) -> Result<ImportOutcome, ImportError> {
        if import.is_over {
            let message = "the options of the upload were not confirmed in time: request another upload";
            return Err(FileFault::new("not_confirmed", message).into());
        }
        if let Some(asked) = &import.asked {
            let inspection = self.inspect_asked(import, (object, asked), dataset);
            let answer = match in_time(inspection, (import.attempts, deadline)).await {
                Ok(inspection) => json!({"inspection": inspection, "object_tag": object.tag}),
                Err(ImportError::File(fault)) => json!({"failure": {"code": fault.code, "detail": fault.detail()}}),
                Err(other) => return Err(other),
            };
            self.store.answer_inspection(import, asked, &answer).await?;
        }
        Ok(ImportOutcome::Unconfirmed)
    }

    async fn inspect_asked(
        &self,
        import: &LeasedImport,
        (object, asked): (&Object, &Value),
        dataset: &'static Dataset,
    ) -> Result<Proposed, ImportError> {
        let (fields, options) = (fields_of(asked), recorded(asked, dataset)?);
        let source = self.storage.read(import.id, object, 0);
        let text = Text::of(source, &options, TextLimits::LARGE).await?;
        let open = || self.read(import.id, (object, &text), 0);
        let file = (text.written(), annals_inspect::Extent::Whole);
        auto::inspect((&self.store, &import.caller), dataset, &fields, file, open).await
    }

    /// The text of a file from an offset on.
    fn read(&self, id: Uuid, (object, text): (&Object, &Text), offset: u64) -> Source {
        text.read(offset, |offset| self.storage.read(id, object, offset))
    }

    /// Completes the upload's fields by its file, inspects it and records the result.
    async fn inspect_file(
        &self,
        import: &LeasedImport,
        file: (&Object, &Text),
        dataset: &'static Dataset,
    ) -> Result<(), ImportError> {
        let text = file.1;
        let open = || self.read(import.id, file, 0);
        let by = (&self.store, &import.caller);
        let completed = auto::complete(by, dataset, fields_of(&import.options), text.written(), open).await?;
        let fields = match completed {
            Completed::Fields(fields) => fields,
            Completed::Uncertain(inspection) => return Err(uncertain(&inspection).into()),
        };
        let options = &Options::parse(fields, None, dataset).map_err(|_| unreadable_options())?;
        let inspected = inspect(open(), dataset, &text.options(options)).await?;
        let file = SentFile {
            dataset,
            file_sha256: &inspected.file_sha256,
            layout: &inspected.layout,
            options,
        };
        let known = refuse_known(by, file, Some(import.id)).await?;
        let warnings: Vec<Warning> = known
            .into_iter()
            .chain(inspected.warnings())
            .chain(text.warning())
            .collect();
        let is_atomic = options.is_atomic();
        if is_atomic && inspected.rows > transaction::MAX_ROWS {
            return Err(too_many_rows(inspected.rows).into());
        }
        let found = Inspection {
            file_sha256: &inspected.file_sha256,
            header: inspected.layout.headers(),
            delimiter: char::from(inspected.format.delimiter),
            ignored_columns: &inspected.layout.ignored(),
            options: &Value::Object(options.sent.clone()),
            warnings: &json!(warnings),
            rows: inspected.rows,
            reader: &json!(inspected.format),
            resume_point: &json!(inspected.start),
            partitions: if is_atomic { 1 } else { PARTITIONS },
        };
        Ok(self.store.record_inspection(import, &found).await?)
    }

    /// Processes the rows that are left.
    async fn process(
        &self,
        job: &Arc<Job>,
        import: &Arc<LeasedImport>,
        file: (&Object, &Text),
        deadline: Option<Instant>,
    ) -> Result<ImportOutcome, ImportError> {
        let source = self.read(import.id, file, job.start.point.offset);
        let (extent, counts) = match job.options.is_atomic() {
            true => {
                let (extent, progress) = transaction::import(job, import, source, deadline).await?;
                (extent, progress.counts)
            }
            false => {
                let (extent, ends) = partitioned::import(job, import, source, deadline).await?;
                (extent, ends.iter().map(|end| end.counts).sum())
            }
        };
        if extent == Extent::Deadline {
            return Ok(ImportOutcome::GoesOn);
        }
        self.complete(job, import, &counts).await?;
        Ok(ImportOutcome::Ended)
    }

    async fn complete(&self, job: &Job, import: &LeasedImport, counts: &RowCounts) -> Result<(), ImportError> {
        let mut data = events::counts(counts, job.options.dry_run);
        if let Some(digest) = &import.file_sha256 {
            let digest = annals_domain::hex::encode(digest);
            data.insert("file_sha256".to_owned(), Value::String(digest));
        }
        let mut end = ImportEnd {
            status: UploadStatus::Completed,
            failure: None,
            rows_kept: i64::try_from(job.options.rows_kept()).unwrap_or(i64::MAX),
        };
        if job.options.is_refused(counts.rejected) {
            end.status = UploadStatus::Failed;
            data.insert("code".to_owned(), json!("rows_rejected"));
        }
        self.end(import, data, &end).await?;
        remember(job, counts).await;
        if !job.options.dry_run {
            metrics::uploaded(counts);
        }
        Ok(())
    }

    /// Ends an import for which another attempt would fail again.
    async fn fail(&self, import: &LeasedImport, why: &Failure) -> Result<(), ImportError> {
        let import = self.store.leased_import(import).await?;
        let counts = import.partitions.iter().map(|partition| partition.counts).sum();
        let mut data = events::counts(&counts, import.dry_run);
        data.insert("code".to_owned(), json!(why.code));
        data.insert("detail".to_owned(), json!(why.detail));
        let failure = json!({"code": why.code, "detail": why.detail});
        let end = ImportEnd {
            status: UploadStatus::Failed,
            failure: Some(&failure),
            // All that the partitions have kept: the upload's fields may be unreadable.
            rows_kept: i64::MAX,
        };
        self.end(&import, data, &end).await
    }

    async fn end(
        &self,
        import: &LeasedImport,
        data: Map<String, Value>,
        end: &ImportEnd<'_>,
    ) -> Result<(), ImportError> {
        if let Err(error) = self.append_end(import, data, end).await {
            let StoreError::Refused(refusal) = &error else {
                return Err(error.into());
            };
            if !is_final(refusal) {
                return Err(error.into());
            }
            // The caller may not post events of imports any more. The upload ends nevertheless.
            tracing::warn!(error = redacted_error(&error), upload.id = %import.id, "the import ends without an event");
            self.store.finish_import(import, CheckedEvents::NONE, end).await?;
        }
        tracing::info!(upload.id = %import.id, upload.status = end.status.as_str(), "import ended");
        if end.status == UploadStatus::Failed {
            metrics::import_failed();
        }
        // What is not deleted now is deleted by the bucket's own rule.
        self.delete_file(import.id).await;
        Ok(())
    }

    async fn append_end(
        &self,
        import: &LeasedImport,
        data: Map<String, Value>,
        end: &ImportEnd<'_>,
    ) -> Result<(), StoreError> {
        let event = events::event(import.id, end.status.as_str(), None, data)?;
        let finish = |checked| self.store.finish_import(import, checked, end);
        let finished = self
            .appends
            .append_with(&import.caller, std::slice::from_ref(&event), finish)
            .await;
        finished.map_err(|error| events::refusal(error, &event))
    }

    async fn delete_file(&self, id: Uuid) {
        match self.storage.delete(id).await {
            Ok(()) | Err(StorageError::Unconfigured) => {}
            Err(error) => tracing::warn!(error = redacted_error(&error), upload.id = %id, "file not deleted"),
        }
    }
}

/// An inspection, if it ends before the deadline and has not been tried too often. The file is the cause then.
async fn in_time(
    inspection: impl Future<Output = Result<Proposed, ImportError>>,
    (attempts, deadline): (i32, Option<Instant>),
) -> Result<Proposed, ImportError> {
    if attempts > MAX_INSPECTIONS {
        return Err(FileFault::new("import_stuck", "the file cannot be inspected; the logs say why").into());
    }
    let Some(deadline) = deadline else {
        return inspection.await;
    };
    let too_slow = || {
        let message =
            "the inspection takes longer than a function may run: inspect the beginning of the file with partial=true";
        FileFault::new("too_slow", message)
    };
    tokio::time::timeout_at(deadline, inspection)
        .await
        .map_err(|_| too_slow())?
}

/// The options of recorded fields.
fn recorded(fields: &Value, dataset: &Dataset) -> Result<Options, ImportError> {
    Options::recorded(fields, dataset).ok_or_else(unreadable_options)
}

fn unreadable_options() -> ImportError {
    ImportError::Unexpected("options that cannot be read any more".to_owned())
}

/// Recorded fields as text.
fn fields_of(recorded: &Value) -> Fields {
    let members = recorded.as_object().into_iter().flatten();
    members
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

impl Failure {
    /// The failure that an error means if another attempt would fail again; the error itself if another attempt may succeed.
    fn of(error: ImportError) -> Result<Self, ImportError> {
        let (code, detail) = match error {
            ImportError::File(fault) => (fault.code.to_owned(), fault.detail()),
            ImportError::Store(StoreError::Refused(refusal)) if is_final(&refusal) => (refusal.code, refusal.message),
            other => return Err(other),
        };
        let detail = detail.chars().take(500).collect();
        Ok(Self { code, detail })
    }
}

/// Whether the same append would be refused again: the caller has no permission, or the catalog refuses the event.
pub(crate) fn is_final(refusal: &Refusal) -> bool {
    matches!(
        refusal.kind,
        RefusalKind::Malformed | RefusalKind::Forbidden | RefusalKind::TooLarge | RefusalKind::Unprocessable
    )
}

fn too_many_rows(rows: i64) -> FileFault {
    let most = transaction::MAX_ROWS;
    let message = format!(
        "the file has {rows} rows; with mode=all_or_nothing or dry_run=true a large upload may have at most {most}"
    );
    FileFault::new("too_many_rows", message)
}
