//! The events that a fold needs, and how a row becomes one.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};
use tokio_postgres::Row;

use crate::StoreError;
use crate::read_models::json_text::parse_object;
use annals_domain::{StoredFact, Timestamp};

/// Whether staff decided to leave the event `e` out of the state.
macro_rules! skipped {
    () => {
        "exists (select from annals.skipped_events s
                where s.tenant_id = e.tenant_id and s.aggregate_type = e.aggregate_type and s.aggregate_id = e.aggregate_id
                  and s.aggregate_version = e.aggregate_version) as skipped"
    };
}

pub(crate) use skipped;

/// An event as a fold needs it, with its data as JSON text, which is parsed only when the event is folded.
#[derive(Debug, Clone)]
pub struct EventText {
    /// Position in the stream.
    pub version: i32,
    /// Event type, e.g. `order.placed`.
    pub event_type: String,
    /// Schema version of the data.
    pub schema_version: String,
    /// Time of recording.
    pub created_at: Timestamp,
    /// Whether staff decided to leave the event out of the state.
    pub skipped: bool,
    data: String,
}

impl EventText {
    /// The event in a row with the columns of `annals.list_facts`.
    pub(crate) fn from_row(row: &Row) -> Result<Self, StoreError> {
        Ok(Self {
            version: row.try_get("aggregate_version")?,
            event_type: row.try_get("event_type")?,
            schema_version: row.try_get("schema_version")?,
            created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
            skipped: row.try_get("skipped")?,
            data: row.try_get("data")?,
        })
    }

    /// Parses the data.
    ///
    /// # Errors
    /// The text is not a JSON object. The log does not hold such a text.
    pub fn data(&self) -> Result<Map<String, Value>, StoreError> {
        parse_object(&self.data)
    }

    /// The event with its parsed data.
    pub fn fact<'a>(&'a self, data: &'a Map<String, Value>) -> StoredFact<'a> {
        StoredFact {
            event_type: &self.event_type,
            schema_version: &self.schema_version,
            version: self.version,
            created_at: self.created_at,
            data,
            skipped: self.skipped,
        }
    }
}
