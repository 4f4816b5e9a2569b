//! Invocations: events of the bucket, and ticks of the schedule.

use annals_import::{ImportError, Importer, log_stalled};
use annals_storage::Uploaded;
use serde::{Deserialize, Deserializer};
use serde_json::Value;
use tokio::time::Instant;

/// The input of an invocation.
#[derive(Debug)]
pub enum Invocation {
    /// A tick of the schedule: an object with the member `imports`, as in `{"imports":{}}`.
    Tick,
    /// Any other input. Normally it is an event of the bucket.
    Event(Value),
}

/// Not derived: serde's untagged enums lose the exact digits of numbers.
impl<'de> Deserialize<'de> for Invocation {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        Ok(match value.get("imports") {
            Some(_) => Self::Tick,
            None => Self::Event(value),
        })
    }
}

/// Handles an invocation.
///
/// If an import of an event fails, the error is logged and the import continues at the next tick. The invocation does not fail, because a
/// retry with the same event would not help.
///
/// # Errors
/// The database's, if a tick cannot find out what is due.
pub async fn handle(importer: &Importer, invocation: Invocation, deadline: Option<Instant>) -> Result<(), ImportError> {
    let event = match invocation {
        Invocation::Tick => return importer.import_due(deadline).await,
        Invocation::Event(event) => event,
    };
    let uploaded = importer.uploaded(&event);
    if uploaded.is_empty() {
        tracing::warn!("an invocation that is neither the schedule's nor the bucket's");
    }
    for object in uploaded {
        match object {
            Uploaded::File(id) => {
                if let Err(error) = importer.import_file(id, deadline).await {
                    log_stalled(&error, id);
                }
            }
            Uploaded::Foreign => tracing::warn!("an object of no upload; it stays where it is"),
        }
    }
    Ok(())
}
