//! What an importer is invoked with: events of the bucket, or a tick of the schedule.
//!
//! An event of the bucket is a hint that a file has come, no more: it may come twice, late, or never, and may tell of objects that
//! are nobody's upload. The tick looks for whatever is due, so that no event is needed.

use annals::storage::Uploaded;
use annals::store::{DueImport, told};
use annals::telemetry::metrics;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::Instant;
use uuid::Uuid;

use super::run::Outcome;
use super::{DUE_AT_ONCE, ImportError, Importer, STUCK_AFTER, has_time, until};

/// An invocation.
#[derive(Debug)]
pub enum Invocation {
    /// The schedule's.
    Tick,
    /// The bucket's, unless it is something else's.
    Event(Value),
}

/// By hand, because numbers do not survive serde's untagged enums where they are read exactly.
impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(match value.get("imports") {
            Some(_) => Self::Tick,
            None => Self::Event(value),
        })
    }
}

impl Importer {
    /// Handles an invocation that ends by the deadline.
    ///
    /// What keeps an import from getting on is logged, and goes on with the next tick: to invoke once more with an event would not
    /// get it any further.
    ///
    /// # Errors
    /// The database's, where a tick could not even find out what is due.
    pub async fn handle(&self, invocation: Invocation, deadline: Option<Instant>) -> Result<(), ImportError> {
        let event = match invocation {
            Invocation::Tick => return self.import_due(deadline).await,
            Invocation::Event(event) => event,
        };
        let told = self.storage.told_by(&event);
        if told.is_empty() {
            tracing::warn!("an invocation that is neither the schedule's nor the bucket's");
        }
        for uploaded in told {
            match uploaded {
                Uploaded::File(id) => {
                    if let Err(error) = self.import_file(id, deadline).await {
                        not_getting_on(&error, id);
                    }
                }
                Uploaded::Foreign => tracing::warn!("an object that is no upload's; it stays where it is"),
            }
        }
        Ok(())
    }

    /// Imports a file that is said to have come.
    ///
    /// # Errors
    /// What kept it from getting on.
    pub async fn import_file(&self, id: Uuid, deadline: Option<Instant>) -> Result<(), ImportError> {
        match self.import(id, deadline).await? {
            Outcome::Unknown => {
                tracing::warn!(upload.id = %id, "an object of an upload that nobody asked for; it stays where it is")
            }
            Outcome::Waits => tracing::warn!(upload.id = %id, "the file that came is gone"),
            outcome => tracing::info!(upload.id = %id, ?outcome, "import left"),
        }
        Ok(())
    }

    /// Deletes those of these files whose imports have ended, or were never asked for.
    ///
    /// # Errors
    /// The database's, and that of the store of files.
    pub async fn delete_ended(&self, files: &[Uuid]) -> Result<(), ImportError> {
        let open = self.store.open_imports(files).await?;
        for id in files.iter().filter(|id| !open.contains(id)) {
            self.storage.delete(*id).await?;
        }
        Ok(())
    }

    /// Goes on with whatever is due, one after the other. What does not get on does not keep the others from it.
    ///
    /// # Errors
    /// The database's, where not even the list could be read.
    pub async fn import_due(&self, deadline: Option<Instant>) -> Result<(), ImportError> {
        let due = self.store.due_imports(DUE_AT_ONCE).await?;
        metrics::imports_stuck(due.iter().filter(|import| import.attempts >= STUCK_AFTER).count());
        for DueImport { id, is_over, .. } in due {
            if !has_time(deadline) {
                break;
            }
            let done = match is_over {
                true => self.import_or_end(id, deadline).await,
                false => self.import(id, deadline).await,
            };
            if let Err(error) = done {
                not_getting_on(&error, id);
            }
        }
        self.store.tidy_imports(until(deadline)).await?;
        Ok(self.store.delete_old_reports().await?)
    }
}

fn not_getting_on(error: &ImportError, id: Uuid) {
    tracing::warn!(error = told(error), upload.id = %id, "import does not get on");
}
