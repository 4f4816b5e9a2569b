//! One import, from whatever it was left in to its end, or as far as there is time.

use std::sync::Arc;
use std::time::Duration;

use annals::domain::NewEvent;
use annals::storage::{MAX_FILE_BYTES, Object, StorageError};
use annals::store::{
    HELD_SECONDS, HeldImport, ImportEnd, LaneProgress, Refusal, StoreError, TAKEN_OVER, Taking, UploadStatus, told,
};
use annals::telemetry::metrics;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::deal::Dealt;
use super::settle::Job;
use super::written::noted;
use super::{ImportError, Importer, notes, until};
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::layout::Layout;
use crate::options::Options;
use crate::plan::Frame;
use crate::records::Record;

/// How often somebody may begin without getting any further. Beyond that it is the file, or we.
const MAX_ATTEMPTS: i32 = 30;

/// What became of an import by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It has come to its end, now or before.
    Ended,
    /// It goes on at the next look.
    GoesOn,
    /// Its file has not come.
    Waits,
    /// Somebody else works on it, or on as many others as may be worked on at once.
    Busy,
    /// There is no such upload.
    Unknown,
}

/// What it means that an upload's file is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Absence {
    /// It may still come.
    IsAwaited,
    /// It has not come in time.
    IsTheEnd,
}

/// Why an import ends before the end of its file.
struct Failure {
    code: String,
    detail: String,
}

impl Importer {
    /// Gets on with an import until it ends or the time does.
    ///
    /// # Errors
    /// What kept it from getting on. It is let go of, and goes on at the next look.
    pub async fn import(&self, id: Uuid, deadline: Option<Instant>) -> Result<Outcome, ImportError> {
        self.go_on(id, Absence::IsAwaited, deadline).await
    }

    /// The same with an import whose file should have come by now: one that has is imported, however late it is looked for.
    ///
    /// # Errors
    /// Likewise.
    pub async fn import_or_end(&self, id: Uuid, deadline: Option<Instant>) -> Result<Outcome, ImportError> {
        self.go_on(id, Absence::IsTheEnd, deadline).await
    }

    async fn go_on(&self, id: Uuid, absence: Absence, deadline: Option<Instant>) -> Result<Outcome, ImportError> {
        // Looked for first: to take an import counts as an attempt.
        let object = self.storage.find(id).await?;
        let import = match self.store.take_import(id).await? {
            Taking::Held(import) => *import,
            Taking::Busy => return Ok(Outcome::Busy),
            Taking::Unknown => return Ok(Outcome::Unknown),
            Taking::Ended => {
                if object.is_some() {
                    self.delete_file(id).await;
                }
                return Ok(Outcome::Ended);
            }
        };
        let worked = tokio::select! {
            worked = self.work(&import, object, absence, deadline).boxed() => worked,
            lost = self.keep(&import) => Err(lost.into()),
        };
        match worked.map_err(Failure::of) {
            Ok(Outcome::Ended) => Ok(Outcome::Ended),
            Ok(other) => self.release(&import).await.map(|()| other),
            Err(Ok(failure)) => self.fail(&import, &failure, deadline).await.map(|()| Outcome::Ended),
            Err(Err(error)) => {
                self.release(&import).await?;
                Err(error)
            }
        }
    }

    async fn release(&self, import: &HeldImport) -> Result<(), ImportError> {
        Ok(self.store.release_import(import.id, import.holder).await?)
    }

    /// Says again and again that it is worked on; ends only when somebody else does.
    async fn keep(&self, import: &HeldImport) -> StoreError {
        let pause = Duration::from_secs(u64::from(HELD_SECONDS.unsigned_abs()) / 5);
        loop {
            tokio::time::sleep(pause).await;
            match self.store.keep_import(import.id, import.holder).await {
                Err(StoreError::Refused(refusal)) if refusal.code == TAKEN_OVER => return StoreError::Refused(refusal),
                // The work itself will meet the same and say so.
                Err(error) => tracing::warn!(error = told(&error), upload.id = %import.id, "import not kept"),
                Ok(()) => {}
            }
        }
    }

    async fn work(
        &self,
        import: &HeldImport,
        found: Option<Object>,
        absence: Absence,
        deadline: Option<Instant>,
    ) -> Result<Outcome, ImportError> {
        let object = match found {
            Some(object) => object,
            // Only now nobody else can have begun or ended it since.
            None => match (self.storage.find(import.id).await?, import.is_running, absence) {
                (Some(object), _, _) => object,
                (None, true, _) => {
                    return Err(FileFault::new("file_changed", "the file was deleted while it was read").into());
                }
                (None, false, Absence::IsTheEnd) => {
                    let message = "no file was sent in time: ask for another upload";
                    return Err(FileFault::new("file_missing", message).into());
                }
                (None, false, Absence::IsAwaited) => return Ok(Outcome::Waits),
            },
        };
        if import.is_running && import.attempts > MAX_ATTEMPTS {
            let message = "the import does not get on; the logs tell why";
            return Err(FileFault::new("import_stuck", message).into());
        }
        let dataset = Dataset::named(&import.dataset);
        let dataset = dataset.ok_or_else(|| ImportError::Unexpected(format!("no dataset {}", import.dataset)))?;
        let options = Options::recorded(&import.options, dataset);
        let options =
            options.ok_or_else(|| ImportError::Unexpected("options that cannot be read any more".to_owned()))?;
        let import = self.begin(import, &object, dataset, &options).await?;
        let job = Arc::new(job(self, import, dataset, options)?);
        let (dealt, lanes) = match job.options.is_whole() {
            true => {
                let (dealt, lane) = self.import_whole(&job, &object, deadline).await?;
                (dealt, vec![lane])
            }
            false => self.deal(&job, &object, deadline).await?,
        };
        if dealt == Dealt::Some {
            return Ok(Outcome::GoesOn);
        }
        self.complete(&job, &lanes, deadline).await?;
        Ok(Outcome::Ended)
    }

    /// Begins the import where that has not been done, and reads its file a first time.
    async fn begin(
        &self,
        import: &HeldImport,
        object: &Object,
        dataset: &'static Dataset,
        options: &Options,
    ) -> Result<HeldImport, ImportError> {
        if object.size > MAX_FILE_BYTES {
            let message = format!("the file has {} bytes, {MAX_FILE_BYTES} are allowed", object.size);
            return Err(FileFault::new("file_too_large", message).into());
        }
        let size = i64::try_from(object.size).unwrap_or(i64::MAX);
        match &import.object_tag {
            Some(tag) if *tag != object.tag => {
                let message = "another file was sent to the same address: ask for another upload";
                return Err(FileFault::new("file_changed", message).into());
            }
            Some(_) => {}
            None => {
                let data = Map::from_iter([("size_bytes".to_owned(), json!(size))]);
                // Whatever others have posted to its stream meanwhile: that it begins once, its own row sees to.
                let event = notes::event(import.id, "started", None, data)?;
                let revision = notes::judged(&self.store, &import.caller, &event).await?;
                let what = (object.tag.as_str(), size);
                self.store.start_import(import, &event, revision, what).await?;
                self.wake(import, event).await;
            }
        }
        if import.reader.is_none() {
            self.inspect(import, object, dataset, options).await?;
        }
        Ok(self.store.held_import(import).await?)
    }

    async fn complete(&self, job: &Job, lanes: &[LaneProgress], deadline: Option<Instant>) -> Result<(), ImportError> {
        let sum = notes::sum(lanes);
        let mut data = notes::figures(&sum, job.options.dry_run);
        if let Some(digest) = &job.import.file_sha256 {
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            data.insert("file_sha256".to_owned(), Value::String(digest));
        }
        let mut end = ImportEnd {
            status: UploadStatus::Completed,
            failure: None,
            rows_kept: i64::try_from(job.options.rows_kept()).unwrap_or(i64::MAX),
        };
        if job.options.is_refused(sum.rejected.unsigned_abs()) {
            end.status = UploadStatus::Failed;
            data.insert("code".to_owned(), json!("rows_rejected"));
        }
        self.end(&job.import, data, &end, deadline).await?;
        if !job.options.dry_run {
            metrics::uploaded(metrics::Rows {
                accepted: sum.accepted.unsigned_abs(),
                rejected: sum.rejected.unsigned_abs(),
                duplicate: sum.duplicate.unsigned_abs(),
                updated: sum.updated.unsigned_abs(),
            });
        }
        Ok(())
    }

    /// Ends an import that no other attempt would get on with.
    async fn fail(&self, import: &HeldImport, why: &Failure, deadline: Option<Instant>) -> Result<(), ImportError> {
        let import = self.store.held_import(import).await?;
        let mut data = notes::figures(&notes::sum(&import.lanes), import.dry_run);
        data.insert("code".to_owned(), json!(why.code));
        data.insert("detail".to_owned(), json!(why.detail));
        let failure = json!({"code": why.code, "detail": why.detail});
        let end = ImportEnd {
            status: UploadStatus::Failed,
            failure: Some(&failure),
            // Whatever lanes have kept: perhaps not even the upload's fields can be read.
            rows_kept: i64::MAX,
        };
        self.end(&import, data, &end, deadline).await
    }

    async fn end(
        &self,
        import: &HeldImport,
        data: Map<String, Value>,
        end: &ImportEnd<'_>,
        deadline: Option<Instant>,
    ) -> Result<(), ImportError> {
        if let Err(error) = self.tell_end(import, data, end).await {
            let StoreError::Refused(refusal) = &error else {
                return Err(error.into());
            };
            if !is_final(refusal) {
                return Err(error.into());
            }
            // Whoever asked may say nothing of imports any more. The upload ends all the same.
            tracing::warn!(error = told(&error), upload.id = %import.id, "the import's end is in no event");
            self.store.finish_import(import, None, end).await?;
        }
        tracing::info!(upload.id = %import.id, upload.status = end.status.as_str(), "import ended");
        if end.status == UploadStatus::Failed {
            metrics::import_failed();
        }
        // What is left over now is deleted by a later look, or by the bucket's own rule.
        self.delete_file(import.id).await;
        if let Err(error) = self.store.tidy_imports(until(deadline)).await {
            tracing::warn!(error = told(&error), "imports not tidied up after");
        }
        Ok(())
    }

    async fn tell_end(
        &self,
        import: &HeldImport,
        data: Map<String, Value>,
        end: &ImportEnd<'_>,
    ) -> Result<(), StoreError> {
        let event = notes::event(import.id, end.status.as_str(), None, data)?;
        let revision = notes::judged(&self.store, &import.caller, &event).await?;
        self.store.finish_import(import, Some((&event, revision)), end).await?;
        self.wake(import, event).await;
        Ok(())
    }

    async fn delete_file(&self, id: Uuid) {
        match self.storage.delete(id).await {
            Ok(()) | Err(StorageError::Nowhere) => {}
            Err(error) => tracing::warn!(error = told(&error), upload.id = %id, "file not deleted"),
        }
    }

    async fn wake(&self, import: &HeldImport, event: NewEvent) {
        self.queue.wake([event.stream(import.caller.tenant_id())]).await;
    }
}

impl Failure {
    /// What an error means where no other attempt would fare better; the error itself where one may.
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

/// Whether the same would be refused again: what the caller may not do, or the catalog does not take.
fn is_final(refusal: &Refusal) -> bool {
    matches!(refusal.status, 400 | 403 | 413 | 422)
}

fn job(
    importer: &Importer,
    import: HeldImport,
    dataset: &'static Dataset,
    options: Options,
) -> Result<Job, ImportError> {
    let (written, start) = noted(&import)?;
    let layout = Layout::find(dataset, &options.mapping, &Record::of(&written.header))?;
    let frame = Frame::new(dataset, &layout, import.id);
    let frame = frame.map_err(|fault| ImportError::Unexpected(fault.to_string()))?;
    Ok(Job {
        store: importer.store.clone(),
        queue: importer.queue.clone(),
        import,
        dataset,
        options,
        layout,
        frame,
        written,
        start,
    })
}
