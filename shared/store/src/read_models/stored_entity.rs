//! An entity as it is read: the projected state and the events after it.

use annals_domain::fold::SizeBound;
use annals_domain::{Entity, FoldError, Timestamp};
use chrono::{DateTime, Utc};
use tokio_postgres::Row;

use super::json_text::parse_object;
use crate::StoreError;

/// An entity with the progress of its projection.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredEntity {
    /// Aggregate type.
    pub aggregate_type: String,
    /// Aggregate id.
    pub aggregate_id: String,
    /// Version up to which the read models hold it.
    pub projected_version: i32,
    /// Actor of its first event.
    pub started_by: String,
    /// The entity at the last version of its stream, or as far as it can be folded.
    pub entity: Entity,
    /// The event that could not be folded, if there is one.
    pub stopped: Option<Stopped>,
    /// Whether a list was cut after this entity because it was full.
    pub ends_read: bool,
}

/// An event that is too large to be folded. Its stream stops before it until staff decides to leave it out.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Stopped {
    /// Version of the event.
    pub version: i32,
    /// `state_too_large` or `lifted_too_large`.
    pub code: &'static str,
}

impl Stopped {
    /// Stops at this event if the error is about size. Other errors are faults of the catalog and are returned.
    pub(crate) fn by(version: i32, error: FoldError) -> Result<Self, FoldError> {
        match error.is_about_size() {
            true => Ok(Self {
                version,
                code: error.code(),
            }),
            false => Err(error),
        }
    }
}

/// The projected entity in a row with columns `entity_version`, `entity_created_at`, `entity_updated_at`, `deleted_at`, `state`.
pub(crate) fn base_entity(row: &Row) -> Result<Option<Entity>, StoreError> {
    let Some(version) = row.try_get::<_, Option<i32>>("entity_version")? else {
        return Ok(None);
    };
    let state: Option<&str> = row.try_get("state")?;
    let state = state.ok_or_else(|| StoreError::Unexpected("a stream with a gap".to_owned()))?;
    Ok(Some(Entity {
        version,
        created_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("entity_created_at")?),
        updated_at: Timestamp::from(row.try_get::<_, DateTime<Utc>>("entity_updated_at")?),
        deleted_at: row
            .try_get::<_, Option<DateTime<Utc>>>("deleted_at")?
            .map(Timestamp::from),
        state: parse_object(state)?,
        size: SizeBound::default(),
    }))
}
