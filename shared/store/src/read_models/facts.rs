//! Reads the events that a fold needs from rows: the list of columns, and how a row becomes such an event.

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

/// Columns of an event `e` of `annals.events`, with the revision of the catalog to fold it by.
macro_rules! fact_columns {
    () => {
        concat!(
            "e.aggregate_version, e.event_type, e.version as schema_version, e.created_at, e.data::text,
       ",
            skipped!(),
            ",
       (select r.revision from annals.catalog_revision r) as revision"
        )
    };
}

pub(crate) use {fact_columns, skipped};

/// The event data in a row with these columns. The result of [`fact_from`] borrows it.
pub(crate) fn data_from(row: &Row) -> Result<Map<String, Value>, StoreError> {
    parse_object(row.try_get("data")?)
}

/// The event in a row with these columns, as a fold needs it.
pub(crate) fn fact_from<'a>(row: &'a Row, data: &'a Map<String, Value>) -> Result<StoredFact<'a>, StoreError> {
    Ok(StoredFact {
        event_type: row.try_get("event_type")?,
        schema_version: row.try_get("schema_version")?,
        version: row.try_get("aggregate_version")?,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("created_at")?),
        data,
        skipped: row.try_get("skipped")?,
    })
}
