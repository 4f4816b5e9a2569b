//! Imports that are due: those that ran out of time, whose worker was killed, or whose file has arrived although its event was lost.

use annals_csv::Dataset;
use annals_store::{DueImport, redacted_error};
use annals_telemetry::metrics;
use tokio::time::Instant;
use uuid::Uuid;

use crate::deadline::{has_time, last_start};
use crate::error::ImportError;
use crate::importer::Importer;
use crate::run::ImportOutcome;
use crate::small::{end, interrupted};

/// Maximum numbers of due imports, and of due reverts, that one invocation works on, one after the other.
const MAX_DUE: i64 = 20;
/// Attempts without progress after which an import or a revert counts as stuck.
const STUCK_AFTER: i32 = 5;

impl Importer {
    /// Imports a file that has arrived, and logs the outcome.
    ///
    /// # Errors
    /// Why the import made no progress. It is due at the next tick of the schedule.
    pub async fn import_file(&self, id: Uuid, deadline: Option<Instant>) -> Result<(), ImportError> {
        match self.import(id, deadline).await? {
            ImportOutcome::Unknown => {
                tracing::warn!(upload.id = %id, "an object of an upload that was never requested; it stays where it is")
            }
            ImportOutcome::Waits => tracing::warn!(upload.id = %id, "the file that arrived is gone"),
            ImportOutcome::Unconfirmed => {
                tracing::info!(upload.id = %id, "the file waits until its options are confirmed")
            }
            outcome => tracing::info!(upload.id = %id, ?outcome, "import left"),
        }
        Ok(())
    }

    /// Deletes those of these files whose imports have ended or were never requested.
    ///
    /// # Errors
    /// The database's, or the storage's.
    pub async fn delete_ended(&self, files: &[Uuid]) -> Result<(), ImportError> {
        let open = self.store.open_imports(files).await?;
        for id in files.iter().filter(|id| !open.contains(id)) {
            self.storage.delete(*id).await?;
        }
        Ok(())
    }

    /// Continues all imports and reverts that are due, one after the other. One that fails does not stop the others; its error is logged.
    ///
    /// # Errors
    /// The database's, if the list of what is due cannot be read or what finished imports have left cannot be purged.
    pub async fn import_due(&self, deadline: Option<Instant>) -> Result<(), ImportError> {
        let due = self.store.due_imports(MAX_DUE).await?;
        let reverts = self.store.due_reverts(MAX_DUE).await?;
        let attempts = due.iter().map(|import| import.attempts);
        let attempts = attempts.chain(reverts.iter().map(|revert| revert.attempts));
        metrics::imports_stuck(attempts.filter(|attempts| *attempts >= STUCK_AFTER).count());
        for DueImport { id, .. } in due {
            if !has_time(deadline) {
                break;
            }
            if let Err(error) = self.import(id, deadline).await {
                log_stalled(&error, id);
            }
        }
        self.revert_all(&reverts, last_start(deadline)).await;
        for (id, dataset) in self.store.interrupted_uploads().await? {
            if let Some(dataset) = Dataset::named(&dataset) {
                end(&self.store, (id, dataset), &interrupted()).await;
            }
        }
        self.store.purge_finished(last_start(deadline)).await?;
        Ok(self.store.delete_old_reports(last_start(deadline)).await?)
    }
}

/// Logs why an import made no progress.
pub fn log_stalled(error: &ImportError, id: Uuid) {
    tracing::warn!(error = redacted_error(error), upload.id = %id, "import stalled");
}
