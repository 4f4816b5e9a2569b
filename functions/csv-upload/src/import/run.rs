//! One import, from whatever it was left in to its end, or as far as there is time.

use std::sync::Arc;
use std::time::Duration;

use annals::domain::NewEvent;
use annals::storage::{MAX_FILE_BYTES, Object, StorageError};
use annals::store::{HELD_SECONDS, HeldImport, ImportEnd, LaneProgress, StoreError, TAKEN_OVER, Taking, told};
use annals::telemetry::metrics;
use futures_util::FutureExt;
use serde_json::{Map, Value, json};
use tokio::time::Instant;
use uuid::Uuid;

use super::deal::Dealt;
use super::settle::Job;
use super::{ImportError, Importer, notes};
use crate::dataset::Dataset;
use crate::fault::FileFault;
use crate::layout::Layout;
use crate::options::{Mode, Options};
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
    /// Somebody else works on it.
    Busy,
    /// There is no such upload.
    Unknown,
}

impl Importer {
    /// Gets on with an import until it ends or the time does.
    ///
    /// # Errors
    /// What kept it from getting on. It is let go of, and goes on at the next look.
    pub async fn import(&self, id: Uuid, deadline: Option<Instant>) -> Result<Outcome, ImportError> {
        // Looked for first: to take an import counts as an attempt.
        let object = self.storage.find(id).await?;
        let import = match self.store.take_import(id).await? {
            Taking::Held(import) => *import,
            Taking::Busy => return Ok(Outcome::Busy),
            Taking::Ended => return Ok(Outcome::Ended),
            Taking::Unknown => return Ok(Outcome::Unknown),
        };
        let worked = tokio::select! {
            worked = self.work(&import, object, deadline).boxed() => worked,
            lost = self.keep(&import) => Err(lost.into()),
        };
        match worked {
            Err(ImportError::File(fault)) => self.fail(&import, &fault).await.map(|()| Outcome::Ended),
            Ok(Outcome::Ended) => Ok(Outcome::Ended),
            other => {
                self.store.release_import(import.id, import.holder).await?;
                other
            }
        }
    }

    /// Ends an import whose file has not come in time.
    ///
    /// # Errors
    /// The database's.
    pub async fn give_up(&self, id: Uuid) -> Result<(), ImportError> {
        if let Taking::Held(import) = self.store.take_import(id).await? {
            let fault = FileFault::new("file_missing", "no file was sent in time: ask for another upload");
            self.fail(&import, &fault).await?;
        }
        Ok(())
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
        object: Option<Object>,
        deadline: Option<Instant>,
    ) -> Result<Outcome, ImportError> {
        let Some(object) = object else {
            return match import.is_running {
                false => Ok(Outcome::Waits),
                true => Err(FileFault::new("file_changed", "the file was deleted while it was read").into()),
            };
        };
        if import.is_running && import.attempts > MAX_ATTEMPTS {
            let message = "the import does not get on; the logs tell why";
            return Err(FileFault::new("import_stuck", message).into());
        }
        let dataset = Dataset::named(&import.dataset);
        let dataset = dataset.ok_or_else(|| ImportError::Unexpected(format!("no dataset {}", import.dataset)))?;
        let options = options_of(import, dataset)?;
        let import = self.begin(import, &object, dataset, &options).await?;
        let job = Arc::new(job(self, import, dataset, options)?);
        let (dealt, lanes) = match job.options.dry_run || job.options.mode == Mode::AllOrNothing {
            true => {
                let (dealt, lane) = self.import_whole(&job, &object, deadline).await?;
                (dealt, vec![lane])
            }
            false => self.deal(&job, &object, deadline).await?,
        };
        if dealt == Dealt::Some {
            return Ok(Outcome::GoesOn);
        }
        self.complete(&job, &lanes).await?;
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
                let event = notes::event(import.id, "started", Some(1), data)?;
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

    async fn complete(&self, job: &Job, lanes: &[LaneProgress]) -> Result<(), ImportError> {
        let sum = notes::sum(lanes);
        let is_refused = !job.options.dry_run && job.options.mode == Mode::AllOrNothing && sum.rejected > 0;
        let mut data = notes::figures(&sum);
        if let Some(digest) = &job.import.file_sha256 {
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            data.insert("file_sha256".to_owned(), Value::String(digest));
        }
        let (status, action) = if is_refused {
            ("failed", "failed")
        } else {
            ("completed", "completed")
        };
        if is_refused {
            data.insert("code".to_owned(), json!("rows_rejected"));
        }
        self.end(
            &job.import,
            action,
            data,
            &ImportEnd {
                status,
                failure: None,
                rows_kept: i64::try_from(job.options.rows_kept()).unwrap_or(i64::MAX),
            },
        )
        .await?;
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

    /// Ends an import whose file cannot be imported.
    async fn fail(&self, import: &HeldImport, fault: &FileFault) -> Result<(), ImportError> {
        let import = self.store.held_import(import).await?;
        let detail: String = fault.detail().chars().take(500).collect();
        let mut data = notes::figures(&notes::sum(&import.lanes));
        data.insert("code".to_owned(), json!(fault.code));
        data.insert("detail".to_owned(), json!(detail));
        let failure = json!({"code": fault.code, "detail": detail});
        let end = ImportEnd {
            status: "failed",
            failure: Some(&failure),
            // Whatever lanes have kept: perhaps not even the upload's fields can be read.
            rows_kept: i64::MAX,
        };
        self.end(&import, "failed", data, &end).await
    }

    async fn end(
        &self,
        import: &HeldImport,
        action: &str,
        data: Map<String, Value>,
        end: &ImportEnd<'_>,
    ) -> Result<(), ImportError> {
        let event = notes::event(import.id, action, None, data)?;
        let revision = notes::judged(&self.store, &import.caller, &event).await?;
        self.store.finish_import(import, &event, revision, end).await?;
        self.wake(import, event).await;
        tracing::info!(upload.id = %import.id, upload.status = end.status, "import ended");
        // What is left over now is deleted by a later look, or by the bucket's own rule.
        if let Err(error) = self.store.tidy_imports().await {
            tracing::warn!(error = told(&error), "imports not tidied up after");
        }
        match self.storage.delete(import.id).await {
            Ok(()) | Err(StorageError::Nowhere) => {}
            Err(error) => tracing::warn!(error = told(&error), upload.id = %import.id, "file not deleted"),
        }
        Ok(())
    }

    async fn wake(&self, import: &HeldImport, event: NewEvent) {
        self.queue.wake([event.stream(import.caller.tenant_id())]).await;
    }
}

fn options_of(import: &HeldImport, dataset: &'static Dataset) -> Result<Options, ImportError> {
    let fields = import.options.as_object().into_iter().flatten();
    let fields = fields.filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())));
    // They were read when the upload was asked for.
    Options::parse(fields.collect(), None, dataset)
        .map_err(|_| ImportError::Unexpected("options that cannot be read any more".to_owned()))
}

fn job(
    importer: &Importer,
    import: HeldImport,
    dataset: &'static Dataset,
    options: Options,
) -> Result<Job, ImportError> {
    let header = import
        .reader
        .as_ref()
        .map(|reader| reader["header"].clone())
        .unwrap_or_default();
    let header: Vec<String> = serde_json::from_value(header).map_err(|e| ImportError::Unexpected(e.to_string()))?;
    let header = Record::of(&header);
    let layout = Layout::find(dataset, &options.mapping, &header)?;
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
    })
}
